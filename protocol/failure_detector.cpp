#include "protocol/failure_detector.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace crema::protocol {

namespace {

double seconds(std::chrono::nanoseconds x) { return std::chrono::duration<double>(x).count(); }

std::string milliseconds(std::chrono::nanoseconds x) {
  return std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(x).count()) + " ms";
}

/// -log10 of the probability that a normally distributed interval lasts longer than this, by the logistic approximation
/// of the normal distribution (Bowling et al. 2009); exact enough, and it does not underflow where phi matters.
double suspicion(double silence, double mean, double deviation) {
  double y = (silence - mean) / deviation;
  double e = std::exp(-y * (1.5976 + 0.070566 * y * y));
  if (e == 0)
    return std::numeric_limits<double>::infinity();
  return std::isinf(e) ? 0 : -std::log10(e / (1 + e));
}

} // namespace

failure_detector::failure_detector(options opts) : options_(opts) {}

std::vector<failure_detector::change> failure_detector::linked(node_id node, monotonic now) {
  absorb_pause(now);
  // Until its own rhythm is known: on average the agreed interval, give or take a half.
  double interval = seconds(options_.heartbeat_interval);
  peers_.try_emplace(node, peer{false, now, {interval / 2, interval * 3 / 2}});
  return {};
}

std::vector<failure_detector::change> failure_detector::unlinked(node_id node, std::string why, monotonic now) {
  absorb_pause(now);
  auto i = peers_.find(node);
  if (i == peers_.end())
    return {};
  bool was_up = i->second.up;
  peers_.erase(i);
  if (!was_up)
    return {};
  return {{node, false, std::move(why)}};
}

std::vector<failure_detector::change> failure_detector::heard(node_id node, monotonic now) {
  absorb_pause(now);
  auto i = peers_.find(node);
  if (i == peers_.end())
    return {}; // A straggler of a link that is gone.
  auto& x = i->second;
  auto silence = now - x.last;
  x.last = std::max(x.last, now);
  if (!x.up) {
    x.up = true;
    return {{node, true, "heard from it after " + milliseconds(silence)}};
  }
  // Other messages between two heartbeats, and heartbeats that were held up and come all at once, say nothing about the
  // rhythm.
  if (silence >= options_.heartbeat_interval / 4) {
    x.intervals.push_back(seconds(silence));
    if (x.intervals.size() > options_.window)
      x.intervals.pop_front();
  }
  return {};
}

std::vector<failure_detector::change> failure_detector::tick(monotonic now) {
  absorb_pause(now);
  last_tick_ = std::max(last_tick_, now);
  ticked_ = true;
  std::vector<change> changes;
  for (auto& [node, x] : peers_) {
    if (!x.up)
      continue;
    auto silence = now - x.last;
    auto level = suspicion(x, now);
    if (silence >= options_.silence_max || (silence >= options_.silence_min && level >= options_.phi_down)) {
      x.up = false;
      changes.push_back({node, false, "silent for " + milliseconds(silence)});
    }
  }
  return changes;
}

bool failure_detector::up(node_id node) const {
  auto i = peers_.find(node);
  return i != peers_.end() && i->second.up;
}

double failure_detector::phi(node_id node, monotonic now) const {
  auto i = peers_.find(node);
  return i == peers_.end() ? std::numeric_limits<double>::infinity() : suspicion(i->second, now);
}

double failure_detector::suspicion(const peer& x, monotonic now) const {
  double sum = 0, squares = 0;
  for (auto s : x.intervals) {
    sum += s;
    squares += s * s;
  }
  auto n = static_cast<double>(x.intervals.size());
  double mean = sum / n;
  // A peer that has been as regular as clockwork may still be scheduled late once: never less than half an interval.
  double deviation =
      std::max(std::sqrt(std::max(0.0, squares / n - mean * mean)), seconds(options_.heartbeat_interval) / 2);
  return protocol::suspicion(seconds(now - x.last), mean, deviation);
}

/// Called before anything else, as what waited during a pause may come in before the next tick.
void failure_detector::absorb_pause(monotonic now) {
  if (!ticked_ || now - last_tick_ <= 2 * options_.heartbeat_interval)
    return;
  auto missed = now - last_tick_ - options_.heartbeat_interval;
  for (auto& entry : peers_)
    entry.second.last = std::min(entry.second.last + missed, now);
  last_tick_ = now;
}

} // namespace crema::protocol
