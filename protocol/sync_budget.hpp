// How fast a node may move data in the background (catch-up, handed over hints, refill). A token bucket whose rate
// gives way to clients: it begins low and doubles until their requests are slower than they were without background
// work; then it shrinks, and from half of that on grows back in small steps (slow start and congestion avoidance;
// Jacobson 1988; additive increase, multiplicative decrease; Chiu and Jain 1989).
#pragma once

#include "protocol/failure_detector.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace crema::protocol {

class sync_budget {
public:
  static constexpr uint64_t steps = 64;   ///< The rate never falls below the maximum divided by this.
  static constexpr uint64_t first = 16;   ///< It begins with the maximum divided by this.
  static constexpr uint32_t whole = 1024; ///< A share of the maximum: all of it.
  static constexpr std::chrono::seconds wait_max{
      5}; ///< What is owed beyond is forgotten: the rate may be another by then.

  /// @param rate_max bytes per second.
  explicit sync_budget(uint64_t rate_max)
      : rate_max_(rate_max), rate_(std::max<uint64_t>(rate_max / first, 1)), bearable_(rate_max) {}

  /// To be called at regular intervals. @param tail how long the slow ones took of the client requests that were
  /// answered since the last call (latency_tail). @param requests how many those were. @param working whether anything
  /// was moved meanwhile.
  void on_foreground(std::chrono::microseconds tail, uint64_t requests, bool working);

  /// Takes `bytes`, which have been moved. @param rate_max another bound: what others bear.
  /// @returns how long to wait before moving more.
  std::chrono::nanoseconds take(uint64_t bytes, monotonic now, uint64_t rate_max = UINT64_MAX);

  uint64_t rate() const { return rate_; } ///< Bytes per second.
  /// Which share of its maximum that is: others may have another maximum.
  uint32_t share() const { return static_cast<uint32_t>(rate_ * whole / rate_max_); }
  /// No more than this share, but never less than the least rate.
  uint64_t rate(uint32_t share) const {
    return std::min(rate_, std::max(step(), rate_max_ / whole * std::min(share, whole)));
  }

private:
  uint64_t step() const { return std::max<uint64_t>(rate_max_ / steps, 1); }
  void grow();

  uint64_t rate_max_;
  uint64_t rate_;
  uint64_t bearable_;       // Up to this it doubles.
  unsigned deaf_ = 0;       // So many more calls may tell of a time before the rate was halved.
  double quiet_micros_ = 0; // What that is without background work, rather in a good second; 0: not known.
  monotonic free_at_{};     // What was taken is paid for by then.
};

} // namespace crema::protocol
