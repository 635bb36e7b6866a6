// A hybrid logical clock (Kulkarni et al., "Logical Physical Clocks", OPODIS 2014, §3) with a bounded jump: a broken
// peer's far-future timestamp is refused instead of poisoning the cluster.
#pragma once

#include "protocol/types.hpp"

#include <chrono>

namespace crema::protocol {

class hybrid_clock {
public:
  static constexpr std::chrono::microseconds default_drift_max = std::chrono::seconds{60};

  explicit hybrid_clock(std::chrono::microseconds drift_max = default_drift_max) : drift_max_(drift_max) {}

  /// A timestamp above every one given or observed before, and not below the wall clock.
  /// @param wall_micros the local wall clock, microseconds since 1970; may jump in either direction.
  timestamp now(uint64_t wall_micros);

  /// Takes note of a timestamp from elsewhere.
  /// @returns false, and changes nothing, if it is the newest and more than the drift bound ahead of `wall_micros`.
  bool observe(timestamp remote, uint64_t wall_micros);

  /// Would now() give a time more than the drift bound ahead of `wall_micros`? So it is when the wall clock was set
  /// back: then others may refuse what is given.
  bool ahead(uint64_t wall_micros) const { return too_far(latest_ + 1, wall_micros); }

  /// The newest timestamp given or observed.
  timestamp latest() const { return latest_; }

private:
  bool too_far(timestamp t, uint64_t wall_micros) const;

  std::chrono::microseconds drift_max_;
  timestamp latest_ = 0;
};

} // namespace crema::protocol
