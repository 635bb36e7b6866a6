#include "protocol/sync_budget.hpp"

#include <algorithm>

namespace crema::protocol {

namespace {
constexpr uint64_t requests_min = 10; // Fewer say nothing about load.
constexpr double slower = 1.5;        // Than this times what is usual: give way.
constexpr double memory = 0.1;        // Weight of the newest sample of what is usual.
} // namespace

void sync_budget::on_foreground(std::chrono::microseconds mean, uint64_t requests, bool working) {
  auto step = std::max<uint64_t>(rate_max_ / steps, 1);
  if (!working) { // What comes next begins low again.
    rate_ = std::min(rate_, std::max<uint64_t>(rate_max_ / first, 1));
    bearable_ = std::min(rate_max_, bearable_ + step);
  }
  if (requests < requests_min) // Nobody is there to be hurt.
    return working ? grow() : void();
  auto micros = static_cast<double>(mean.count());
  if (!working || quiet_micros_ == 0 || micros < quiet_micros_)
    quiet_micros_ = quiet_micros_ == 0 ? micros : quiet_micros_ * (1 - memory) + micros * memory;
  // What going slow does not cure is not of our making: it becomes what is usual.
  if (working && rate_ == step && micros > quiet_micros_)
    quiet_micros_ *= 1 + memory / 4;
  if (!working)
    return;
  if (micros > slower * quiet_micros_)
    bearable_ = rate_ = std::max(step, rate_ / 2);
  else
    grow();
}

void sync_budget::grow() {
  auto more = rate_ < bearable_ ? std::min(rate_, bearable_ - rate_) : std::max<uint64_t>(rate_max_ / steps, 1);
  rate_ = std::min(rate_max_, rate_ + more);
}

std::chrono::nanoseconds sync_budget::take(uint64_t bytes, monotonic now, uint64_t rate_max) {
  constexpr double nanos = 1e9;
  auto rate = std::max<uint64_t>(std::min(rate_, rate_max), 1);
  auto cost = static_cast<int64_t>(nanos * static_cast<double>(bytes) / static_cast<double>(rate));
  free_at_ = std::max(free_at_, now) + std::chrono::nanoseconds{cost};
  return free_at_ - now;
}

} // namespace crema::protocol
