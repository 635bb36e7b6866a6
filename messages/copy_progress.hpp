// How far the copy of a vnode is that is being made (a refill, docs/protocol.md, "Sync"). Kept on disk with each part,
// so that a process that died goes on where it stood.
#pragma once

#include "messages/sync.hpp"

#include <optional>
#include <string>
#include <string_view>

namespace crema {

struct copy_progress {
  node_id from{};
  fill_request next; ///< What asks for the next part.

  /// Is `page` what was asked for?
  bool expects(const fill_page& page) const;
  /// @pre `page` was expected, and is stored.
  void advance(const fill_page& page);
};

/// On disk, in protocol::vnode_record: varint from | u8 stage | u64 source | bytes after_key | u64 after_replica |
/// varint after_counter | bytes clock | bytes trimmed.
std::string encode(const copy_progress& x);
/// @returns nothing if the bytes are malformed, or empty.
std::optional<copy_progress> decode_copy_progress(std::string_view bytes);

} // namespace crema
