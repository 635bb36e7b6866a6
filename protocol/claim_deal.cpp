#include "protocol/claim_deal.hpp"

#include <algorithm>
#include <cassert>
#include <limits>
#include <utility>

namespace crema::protocol {

namespace {

constexpr int64_t far = std::numeric_limits<int64_t>::max();
/// Cost first, then the number of steps: then no partition is on a path twice, see the comment at shift_to().
constexpr int64_t cost_unit = int64_t{1} << 32;

/// Spreads choices that are otherwise equal, so that the partitions of a node have many different co-owners.
uint64_t scatter(uint32_t p, uint32_t m) {
  uint64_t x = (uint64_t{p} << 32 | m) + 0x9E3779B97F4A7C15; // SplitMix64 (Steele et al. 2014).
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
  return x ^ (x >> 31);
}

bool contains(const std::vector<uint32_t>& row, uint32_t m) {
  return std::find(row.begin(), row.end(), m) != row.end();
}

} // namespace

claim_deal::claim_deal(const claim_spread& spread, uint32_t k, const rows& old, const rows& candidates)
    : spread_(spread), k_(k), old_(old), candidates_(candidates), members_(static_cast<uint32_t>(spread.quota.size())),
      quota_(spread.quota), owners_(old.size()), place_(old.size()), owned_(members_),
      ways_(size_t{members_} * members_), cost_(size_t{members_} * members_, no_edge), old_mark_(members_),
      owner_mark_(members_), on_host_(spread.hosts.size()), in_zone_(spread.zones.size()),
      host_need_(spread.zones.size()), distance_(members_ + 1), from_(members_ + 1), queued_(members_ + 1) {
  std::vector<bool> seen(spread.hosts.size());
  for (uint32_t m = 0; m < members_; ++m) {
    auto host = spread.host_of[m];
    if (!seen[host])
      host_need_[spread.zone_of[m]] += spread.hosts[host].low;
    seen[host] = true;
  }
  for (size_t z = 0; z < spread.zones.size(); ++z)
    base_need_ += std::max(spread.zones[z].low, host_need_[z]);
}

claim_deal::rows claim_deal::run() {
  keep_old();
  for (uint32_t p = 0; p < owners_.size(); ++p) {
    look_at(p);
    count_edges(p, 1);
    look_away();
  }
  for (uint32_t p = 0; p < owners_.size(); ++p)
    fill_partition(p);
  balance();
  return std::move(owners_);
}

// -- One partition --

void claim_deal::look_at(uint32_t p) {
  ++mark_;
  for (auto m : old_[p])
    old_mark_[m] = mark_;
  for (auto m : owners_[p]) {
    owner_mark_[m] = mark_;
    ++on_host_[spread_.host_of[m]];
    ++in_zone_[spread_.zone_of[m]];
  }
  looked_at_ = &owners_[p];
}

void claim_deal::look_away() {
  for (auto m : *looked_at_) {
    --on_host_[spread_.host_of[m]];
    --in_zone_[spread_.zone_of[m]];
  }
}

/// With `m`, can the rest still be chosen within all bounds?
bool claim_deal::can_add(uint32_t m) const {
  auto host = spread_.host_of[m], zone = spread_.zone_of[m];
  if (is_owner(m) || looked_at_->size() >= k_ || on_host_[host] >= spread_.hosts[host].high ||
      in_zone_[zone] >= spread_.zones[zone].high)
    return false;
  // What the lower bounds of hosts and zones demand, given those that are here. Few owners: the loops are short.
  uint32_t need = base_need_;
  auto with_m = *looked_at_;
  with_m.push_back(m);
  for (size_t i = 0; i < with_m.size(); ++i) {
    auto z = spread_.zone_of[with_m[i]];
    auto same_zone = [&](uint32_t x) { return spread_.zone_of[x] == z; };
    if (std::find_if(with_m.begin(), with_m.end(), same_zone) != with_m.begin() + static_cast<std::ptrdiff_t>(i))
      continue;
    uint32_t beyond = host_need_[z];
    for (size_t j = i; j < with_m.size(); ++j) {
      auto h = spread_.host_of[with_m[j]];
      auto same_place = [&](uint32_t x) { return same_zone(x) && spread_.host_of[x] == h; };
      if (!same_zone(with_m[j]) ||
          std::find_if(with_m.begin(), with_m.end(), same_place) != with_m.begin() + static_cast<std::ptrdiff_t>(j))
        continue;
      auto here = static_cast<uint32_t>(std::count_if(with_m.begin(), with_m.end(), same_place));
      beyond += here > spread_.hosts[h].low ? here - spread_.hosts[h].low : 0;
    }
    if (beyond > spread_.zones[z].high)
      return false;
    need += std::max(spread_.zones[z].low, beyond) - std::max(spread_.zones[z].low, host_need_[z]);
  }
  return need <= k_;
}

/// Can `b` own the partition in place of `a`? The path from a to b in the flow network, up to the group that both have
/// in common, and down again.
bool claim_deal::can_replace(uint32_t a, uint32_t b) const {
  auto leaves = [](uint32_t count, const claim_bounds& x) { return count > x.low; };
  auto enters = [](uint32_t count, const claim_bounds& x) { return count >= x.low && count < x.high; };
  auto host_a = spread_.host_of[a], host_b = spread_.host_of[b];
  auto zone_a = spread_.zone_of[a], zone_b = spread_.zone_of[b];
  return (host_a == host_b ||
          (leaves(on_host_[host_a], spread_.hosts[host_a]) && enters(on_host_[host_b], spread_.hosts[host_b]))) &&
         (zone_a == zone_b ||
          (leaves(in_zone_[zone_a], spread_.zones[zone_a]) && enters(in_zone_[zone_b], spread_.zones[zone_b])));
}

template <class Function>
void claim_deal::for_candidates(uint32_t p, Function f) const {
  if (!candidates_.empty()) {
    for (auto m : candidates_[p])
      f(m);
  } else {
    for (uint32_t m = 0; m < members_; ++m)
      f(m);
  }
}

// -- Changes --

/// Adds (or takes away) what the partition looked at contributes to the edges.
void claim_deal::count_edges(uint32_t p, int32_t by) {
  for_candidates(p, [&](uint32_t b) {
    if (is_owner(b))
      return;
    for (auto a : owners_[p]) {
      if (!can_replace(a, b))
        continue;
      auto edge = size_t{a} * members_ + b;
      auto& ways = ways_[edge];
      ways[(was_owner(a) ? 1 : 0) + (was_owner(b) ? 0 : 1)] += static_cast<uint32_t>(by);
      cost_[edge] = ways[0] != 0 ? -1 : ways[1] != 0 ? 0 : ways[2] != 0 ? 1 : no_edge;
    }
  });
}

void claim_deal::add(uint32_t p, uint32_t m) {
  owners_[p].push_back(m);
  place_[p].push_back(static_cast<uint32_t>(owned_[m].size()));
  owned_[m].push_back(p);
}

void claim_deal::remove(uint32_t p, uint32_t m) {
  auto index_of = [this](uint32_t q, uint32_t x) {
    return std::find(owners_[q].begin(), owners_[q].end(), x) - owners_[q].begin();
  };
  auto i = index_of(p, m);
  auto place = place_[p][static_cast<size_t>(i)];
  auto last = owned_[m].back(); // Takes the place of p.
  owned_[m][place] = last;
  place_[last][static_cast<size_t>(index_of(last, m))] = place;
  owned_[m].pop_back();
  owners_[p].erase(owners_[p].begin() + i);
  place_[p].erase(place_[p].begin() + i);
}

void claim_deal::change(uint32_t p, uint32_t leaving, uint32_t entering) {
  look_at(p);
  count_edges(p, -1);
  look_away();
  if (leaving != nobody)
    remove(p, leaving);
  if (entering != nobody)
    add(p, entering);
  look_at(p);
  count_edges(p, 1);
  look_away();
}

// -- Stages --

void claim_deal::keep_old() {
  bool nothing_old = true;
  for (uint32_t p = 0; p < owners_.size(); ++p) {
    for (auto m : old_[p]) {
      if (!candidates_.empty() && !contains(candidates_[p], m))
        continue;
      nothing_old = false;
      look_at(p);
      bool fits = can_add(m);
      look_away();
      if (fits)
        add(p, m);
    }
  }
  if (nothing_old)
    fill_evenly();
}

/// A first, nearly even dealing where all choices cost the same: for every partition in turn, those that are the
/// farthest behind their share.
void claim_deal::fill_evenly() {
  auto partitions = static_cast<double>(owners_.size());
  for (uint32_t p = 0; p < owners_.size(); ++p) {
    for (uint32_t i = 0; i < k_; ++i) {
      look_at(p);
      uint32_t best = nobody;
      std::pair<double, uint64_t> best_rank;
      for_candidates(p, [&](uint32_t m) {
        std::pair<double, uint64_t> rank{
            spread_.share[m] * (p + 1) / partitions - static_cast<double>(owned_[m].size()), scatter(p, m)};
        if (has_room(m) && (best == nobody || rank > best_rank) && can_add(m)) {
          best = m;
          best_rank = rank;
        }
      });
      look_away();
      if (best == nobody)
        break;
      add(p, best);
    }
  }
}

void claim_deal::fill_partition(uint32_t p) {
  while (owners_[p].size() < k_) {
    distances_from_partition(p);
    auto end = nearest_end();
    if (end != nobody && shift_to(end, p))
      continue;
    // Only where hosts lie in several zones, or the candidates do not allow a good spread.
    if (!fill_by_search(p, true, true) && !fill_by_search(p, true, false)) {
      [[maybe_unused]] bool filled = fill_by_search(p, false, false);
      assert(filled);
    }
  }
}

void claim_deal::balance() {
  // With room for every quota this is one round. Else the bounds are widened evenly until all are within.
  for (uint32_t round = 0; round <= owners_.size(); ++round) {
    for (uint32_t m = 0; m < members_; ++m) {
      while (owned_[m].size() > quota_[m].high) {
        distances_from(m);
        auto end = nearest_end();
        if (end == nobody || !shift_to(end, nobody))
          break;
      }
    }
    while (sink_demand() < 0) {
      distances_from(members_);
      auto end = nearest_end();
      if (end == nobody || !shift_to(end, nobody))
        break;
    }
    bool within = true;
    for (uint32_t m = 0; m < members_; ++m)
      within = within && owned_[m].size() >= quota_[m].low && owned_[m].size() <= quota_[m].high;
    if (within)
      return;
    for (auto& q : quota_) {
      q.low -= q.low > 0 ? 1 : 0;
      ++q.high;
    }
  }
}

bool claim_deal::fill_by_search(uint32_t p, bool heed_hosts, bool heed_zones) {
  std::vector<uint32_t> found;
  uint32_t steps = 0;
  if (!search(p, heed_hosts, heed_zones, found, steps))
    return false;
  auto leaving = owners_[p];
  for (auto m : leaving)
    if (!contains(found, m))
      change(p, m, nobody);
  for (auto m : found)
    if (!contains(owners_[p], m))
      change(p, nobody, m);
  return true;
}

/// k owners that exceed no bound, found by trying: old ones first, then the emptiest.
bool claim_deal::search(uint32_t p, bool heed_hosts, bool heed_zones, std::vector<uint32_t>& found,
                        uint32_t& steps) const {
  constexpr uint32_t steps_max = 20000;
  if (found.size() == k_)
    return true;
  std::vector<uint32_t> order;
  for_candidates(p, [&](uint32_t m) {
    auto used = [&](const std::vector<uint32_t>& group) {
      return static_cast<uint32_t>(
          std::count_if(found.begin(), found.end(), [&](uint32_t x) { return group[x] == group[m]; }));
    };
    if (!contains(found, m) && (!heed_hosts || used(spread_.host_of) < spread_.hosts[spread_.host_of[m]].high) &&
        (!heed_zones || used(spread_.zone_of) < spread_.zones[spread_.zone_of[m]].high))
      order.push_back(m);
  });
  auto rank = [&](uint32_t m) {
    return std::tuple(!contains(owners_[p], m), !contains(old_[p], m),
                      static_cast<double>(owned_[m].size()) - spread_.share[m], scatter(p, m));
  };
  std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return rank(a) < rank(b); });
  for (auto m : order) {
    if (++steps > steps_max)
      return false;
    found.push_back(m);
    if (search(p, heed_hosts, heed_zones, found, steps))
      return true;
    found.pop_back();
  }
  return false;
}

// -- Paths --

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

void claim_deal::distances_from_partition(uint32_t p) {
  std::fill(distance_.begin(), distance_.end(), far);
  look_at(p);
  for_candidates(p, [&](uint32_t m) {
    if (can_add(m))
      reach(m, was_owner(m) ? 0 : cost_unit, nobody);
  });
  look_away();
  relax_all();
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
        reach(b, here + costs[b] * cost_unit + 1, a);
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

/// A member below its quota, or one with room while all quotas' lower bounds leave some.
uint32_t claim_deal::nearest_end() const {
  uint32_t best = nobody;
  for (uint32_t node = 0; node <= members_; ++node) {
    bool ends = node == members_ ? sink_demand() > 0 : owned_[node].size() < quota_[node].low;
    if (ends && distance_[node] != far && (best == nobody || distance_[node] < distance_[best]))
      best = node;
  }
  return best;
}

/// Shifts one unit along the path found. A shortest path enters no node of the flow network twice (if it did, the part
/// between could be left out: no cycle is negative), so its steps do not disturb each other. Hosts that lie in several
/// zones are beyond a flow network; then a step may have become impossible, and the path ends early.
/// @param p the partition that it starts from, or nobody. @returns false if nothing was done.
bool claim_deal::shift_to(uint32_t end, uint32_t p) {
  std::vector<uint32_t> path;
  for (auto node = end; node != nobody; node = from_[node])
    path.push_back(node);
  std::reverse(path.begin(), path.end());
  if (p != nobody)
    change(p, nobody, path.front());
  bool done = p != nobody;
  for (size_t i = 0; i + 1 < path.size(); ++i) {
    auto a = path[i], b = path[i + 1];
    if (a == members_ || b == members_)
      continue;
    auto cost = static_cast<int8_t>((distance_[b] - distance_[a] - 1) / cost_unit);
    auto via = find_partition(a, b, cost);
    if (via == nobody)
      return done;
    change(via, a, b);
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
