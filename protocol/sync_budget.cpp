#include "protocol/sync_budget.hpp"

#include <algorithm>

namespace crema::protocol {

namespace {
constexpr uint64_t requests_min = 10;  // Fewer say nothing about load.
constexpr double slower = 1.5;         // Than this times what is usual: give way.
constexpr double faster = 0.3;         // What is usual falls by so much of the difference to a sample without work,
constexpr double faster_working = 0.1; // and to one with work: fewer of those are as quick.
constexpr double rise = 1.1;           // It rises to a sample by at most this factor without work,
constexpr double rise_working = 1.025; // and where going slow does not cure it: then it is not of our making.
constexpr unsigned lag = 2;            // Calls until all nodes go at a new rate, and clients feel it.
} // namespace

void sync_budget::on_foreground(std::chrono::microseconds tail, uint64_t requests, bool working) {
  if (!working) { // What comes next begins low again.
    rate_ = std::min(rate_, std::max<uint64_t>(rate_max_ / first, 1));
    bearable_ = std::min(rate_max_, bearable_ + step());
  }
  if (requests < requests_min) // Nobody is there to be hurt.
    return working ? grow() : void();
  auto micros = static_cast<double>(tail.count());
  if (quiet_micros_ == 0)
    quiet_micros_ = micros;
  else if (micros < quiet_micros_)
    quiet_micros_ += (micros - quiet_micros_) * (working ? faster_working : faster);
  else if (!working || rate_ == step())
    quiet_micros_ = std::min(micros, quiet_micros_ * (working ? rise_working : rise));
  if (!working)
    return;
  if (micros <= slower * quiet_micros_) {
    grow();
  } else if (deaf_ == 0) {
    bearable_ = rate_ = std::max(step(), rate_ / 2);
    deaf_ = lag + 1;
  }
  deaf_ -= deaf_ > 0 ? 1 : 0;
}

void sync_budget::grow() {
  auto more = rate_ < bearable_ ? std::min(rate_, bearable_ - rate_) : step();
  rate_ = std::min(rate_max_, rate_ + more);
}

std::chrono::nanoseconds sync_budget::take(uint64_t bytes, monotonic now, uint64_t rate_max) {
  auto rate = std::max<uint64_t>(std::min(rate_, rate_max), 1);
  std::chrono::duration<double> cost{static_cast<double>(bytes) / static_cast<double>(rate)};
  cost = std::min<std::chrono::duration<double>>(cost, wait_max);
  free_at_ = std::min(std::max(free_at_, now) + std::chrono::duration_cast<monotonic>(cost), now + wait_max);
  return free_at_ - now;
}

} // namespace crema::protocol
