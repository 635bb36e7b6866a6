// The opaque token that tells which siblings a client has seen: exactly the dots whose effect the state it read
// reflects, never per-id maxima. Bound to its bucket and partition, with a checksum, printable (base64url).
#pragma once

#include "protocol/dot_clock.hpp"
#include "protocol/types.hpp"

#include <optional>
#include <string>
#include <string_view>

namespace crema::protocol {

/// "cx1" + base64url(bucket, partition, clock, checksum), without padding.
std::string encode_context(vnode_id where, const dot_clock& seen);

/// @returns nothing, and in `why` the reason in words ("checksum does not match", "belongs to another bucket", ...), if
/// the token is damaged, too long (context_bytes_max), or made for another vnode.
std::optional<dot_clock> decode_context(vnode_id where, std::string_view token, std::string& why);

} // namespace crema::protocol
