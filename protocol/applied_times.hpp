// The newest time that was applied to a key, as an upper bound in little memory: keys share slots. A write that is
// above what its slot holds is the newest of its key for sure, and the register need not be looked up.
#pragma once

#include "protocol/types.hpp"

#include <algorithm>
#include <functional>
#include <string_view>
#include <vector>

namespace crema::protocol {

class applied_times {
public:
  /// @param floor everything applied before now has at most this time.
  explicit applied_times(timestamp floor) : slots_(slot_count, floor) {}

  /// Notes a write. @returns whether one of the same key, and not older, may have been noted before.
  bool note(vnode_id vnode, std::string_view key, timestamp time) {
    auto hash = std::hash<std::string_view>{}(key) ^ std::hash<vnode_id>{}(vnode);
    auto& slot = slots_[(hash ^ hash >> 32) % slot_count];
    auto before = slot;
    slot = std::max(slot, time);
    return time <= before;
  }

private:
  static constexpr size_t slot_count = size_t{1} << 14; // 128 KiB. Those of a few milliseconds should not collide.
  std::vector<timestamp> slots_;
};

} // namespace crema::protocol
