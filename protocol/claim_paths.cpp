// How claim_deal reaches its quotas: by shortest paths in the graph of members.
#include "protocol/claim_deal.hpp"

#include <algorithm>
#include <limits>

namespace crema::protocol {

namespace {

constexpr int64_t far = std::numeric_limits<int64_t>::max();
/// Cost first, then the number of steps: then no partition is on a path twice, see shift_to().
constexpr int64_t cost_unit = int64_t{1} << 32;

} // namespace

/// Shifts from those above their quota, then to those below. Where hosts, zones or candidates do not allow all quotas,
/// these are widened evenly until all are within.
void claim_deal::balance() {
  for (uint32_t round = 0; round <= owners_.size(); ++round) {
    for (uint32_t m = 0; m < members_; ++m)
      while (owned_[m].size() > quota_[m].high && shift_from(m))
        continue;
    while (sink_demand() < 0 && shift_from(members_))
      continue;
    bool within = true;
    for (uint32_t m = 0; m < members_; ++m)
      within = within && owned_[m].size() >= quota_[m].low && owned_[m].size() <= quota_[m].high;
    if (within)
      return;
    exact_ = false;
    for (auto& q : quota_) {
      q.low -= q.low > 0 ? 1 : 0;
      ++q.high;
    }
  }
}

void claim_deal::reach(uint32_t node, int64_t distance, uint32_t from) {
  if (distance >= distance_[node])
    return;
  distance_[node] = distance;
  from_[node] = from;
  if (!queued_[node]) {
    queued_[node] = true;
    queue_.push_back(node);
  }
}

void claim_deal::distances_from(uint32_t node) {
  std::fill(distance_.begin(), distance_.end(), far);
  reach(node, 0, nobody);
  relax_all();
}

/// Bellman-Ford with a queue: costs may be negative, cycles are not.
void claim_deal::relax_all() {
  const uint32_t sink = members_;
  for (size_t next = 0; next < queue_.size(); ++next) {
    auto a = queue_[next];
    queued_[a] = false;
    auto here = distance_[a];
    if (a == sink) {
      for (uint32_t b = 0; b < members_; ++b)
        if (has_spare(b) && quota_[b].high > quota_[b].low)
          reach(b, here + 1, sink);
      continue;
    }
    if (has_room(a) && quota_[a].high > quota_[a].low)
      reach(sink, here + 1, a);
    const auto* costs = &cost_[size_t{a} * members_];
    for (uint32_t b = 0; b < members_; ++b)
      if (costs[b] != no_edge)
        reach(b, here + (exact_ ? costs[b] : std::max<int8_t>(costs[b], 0)) * cost_unit + 1, a);
  }
  queue_.clear();
}

/// Owners needed beyond what members have within their bounds; negative: members below their quota need some.
int64_t claim_deal::sink_demand() const {
  auto demand = static_cast<int64_t>(owners_.size()) * k_;
  for (uint32_t m = 0; m < members_; ++m)
    demand -= std::clamp(static_cast<uint32_t>(owned_[m].size()), quota_[m].low, quota_[m].high);
  return demand;
}

/// The nearest of those that need some: members below their quotas, or the sink.
uint32_t claim_deal::nearest_end() const {
  uint32_t best = nobody;
  for (uint32_t node = 0; node <= members_; ++node) {
    bool ends = node == members_ ? sink_demand() > 0 : owned_[node].size() < quota_[node].low;
    if (ends && distance_[node] != far && (best == nobody || distance_[node] < distance_[best]))
      best = node;
  }
  return best;
}

/// @returns false if there is no way to anyone who needs a unit.
bool claim_deal::shift_from(uint32_t node) {
  if (shifts_left_ == 0)
    return false;
  --shifts_left_;
  distances_from(node);
  auto end = nearest_end();
  return end != nobody && shift_to(end);
}

/// Shifts one unit along the path found. A shortest path enters no node of the flow network twice (if it did, the part
/// between could be left out: no cycle is negative), so its steps do not disturb each other. Beyond a flow network (see
/// complete_by_search) a step may have become impossible; then the path ends early.
/// @returns false if nothing was done.
bool claim_deal::shift_to(uint32_t end) {
  std::vector<uint32_t> path;
  for (auto node = end; node != nobody; node = from_[node])
    path.push_back(node);
  std::reverse(path.begin(), path.end());
  bool done = false;
  for (size_t i = 0; i + 1 < path.size(); ++i) {
    auto a = path[i], b = path[i + 1];
    if (a == members_ || b == members_)
      continue;
    auto via = find_partition(a, b, cost_[size_t{a} * members_ + b]);
    if (via == nobody)
      return done;
    replace(via, a, b);
    done = true;
  }
  return done;
}

/// One of the partitions that make up the edge: of the first few, from a place that is different every time.
uint32_t claim_deal::find_partition(uint32_t a, uint32_t b, int8_t cost) {
  constexpr uint32_t choices_max = 8;
  const auto& mine = owned_[a];
  uint32_t best = nobody, choices = 0;
  auto start = scatter(mark_, b) % mine.size();
  for (size_t i = 0; i < mine.size() && choices < choices_max; ++i) {
    auto p = mine[(start + i) % mine.size()];
    look_at(p);
    bool fits = !is_owner(b) && (candidates_.empty() || contains(candidates_[p], b)) &&
                (was_owner(a) ? 1 : 0) - (was_owner(b) ? 1 : 0) == cost && can_replace(a, b);
    look_away();
    if (!fits)
      continue;
    ++choices;
    if (best == nobody || scatter(p, b) > scatter(best, b))
      best = p;
  }
  return best;
}

} // namespace crema::protocol
