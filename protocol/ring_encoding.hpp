// A ring as bytes: persisted by every node, and hashed to see that peers agree.
#pragma once

#include "protocol/ring.hpp"

#include <optional>
#include <string>
#include <string_view>

namespace crema::protocol {

/// Canonical: equal rings have equal bytes.
std::string encode_ring(const ring& x);
/// @returns nothing if the bytes are malformed (or owners are not members).
std::optional<ring> decode_ring(std::string_view bytes);

} // namespace crema::protocol
