#include "protocol/hybrid_clock.hpp"

#include <algorithm>

namespace crema::protocol {

namespace {

/// The last microsecond that a timestamp can hold; in the year 2112.
constexpr uint64_t micros_max = UINT64_MAX >> timestamp_logical_bits;

} // namespace

timestamp hybrid_clock::now(uint64_t wall_micros) {
  // While the wall clock stands still or runs backwards, the logical bits count on, and carry into the microseconds.
  latest_ = std::max(latest_ + 1, from_micros(std::min(wall_micros, micros_max)));
  return latest_;
}

bool hybrid_clock::observe(timestamp remote, uint64_t wall_micros) {
  if (remote <= latest_)
    return true;
  if (too_far(remote, wall_micros))
    return false;
  latest_ = remote;
  return true;
}

bool hybrid_clock::too_far(timestamp t, uint64_t wall_micros) const {
  return to_micros(t) > wall_micros && to_micros(t) - wall_micros > static_cast<uint64_t>(drift_max_.count());
}

} // namespace crema::protocol
