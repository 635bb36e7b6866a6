#include "protocol/claim_deal.hpp"

#include <algorithm>
#include <cassert>
#include <tuple>
#include <utility>

namespace crema::protocol {

claim_deal::claim_deal(const claim_spread& spread, uint32_t k, const rows& old, const rows& candidates, bool fixed)
    : spread_(spread), k_(k), old_(old), candidates_(candidates), fixed_(fixed), exact_(spread.nested),
      members_(static_cast<uint32_t>(spread.quota.size())), quota_(spread.quota), owners_(old.size()),
      place_(old.size()), owned_(members_), ways_(size_t{members_} * members_),
      cost_(size_t{members_} * members_, no_edge), old_mark_(members_), owner_mark_(members_),
      on_host_(spread.hosts.size()), in_zone_(spread.zones.size()), host_need_(spread.zones.size()),
      shifts_left_(4 * (uint64_t{k} * old.size() + 1000)), distance_(members_ + 1), from_(members_ + 1),
      queued_(members_ + 1) {
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
  complete();
  for (uint32_t p = 0; p < owners_.size(); ++p) {
    look_at(p);
    count_edges(p, 1);
    look_away();
  }
  balance();
  return std::move(owners_);
}

uint64_t claim_deal::scatter(uint32_t p, uint32_t m) {
  uint64_t x = (uint64_t{p} << 32 | m) + 0x9E3779B97F4A7C15; // SplitMix64 (Steele et al. 2014).
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
  return x ^ (x >> 31);
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

/// Can `b` own the partition, which has k owners, in place of `a`? The path from a to b in the flow network, up to the
/// group that both have in common, and down again.
bool claim_deal::can_replace(uint32_t a, uint32_t b) const {
  if (fixed_ && was_owner(a))
    return false;
  auto leaves = [](uint32_t count, const claim_bounds& x) { return count > x.low; };
  auto enters = [](uint32_t count, const claim_bounds& x) { return count < x.high; };
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
      cost_[edge] = ways[0] != 0 ? int8_t{-1} : ways[1] != 0 ? int8_t{0} : ways[2] != 0 ? int8_t{1} : no_edge;
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

void claim_deal::replace(uint32_t p, uint32_t a, uint32_t b) {
  look_at(p);
  count_edges(p, -1);
  look_away();
  remove(p, a);
  add(p, b);
  look_at(p);
  count_edges(p, 1);
  look_away();
}

// -- Stages --

/// As many as the hosts and zones allow. Which ones does not matter: another one that is old costs nothing later.
void claim_deal::keep_old() {
  for (uint32_t p = 0; p < owners_.size(); ++p) {
    for (auto m : old_[p]) {
      look_at(p);
      bool fits = can_add(m) && (candidates_.empty() || contains(candidates_[p], m));
      look_away();
      if (fits)
        add(p, m);
    }
  }
}

/// Gives every partition k owners, each time one that has room and is the farthest behind: on the way from what it has
/// to its share, all advance alike. Quotas may be exceeded where hosts and zones leave no choice.
void claim_deal::complete() {
  std::vector<double> at_first;
  auto lacking = static_cast<double>(owners_.size()) * k_;
  for (const auto& mine : owned_) {
    at_first.push_back(static_cast<double>(mine.size()));
    lacking -= at_first.back();
  }
  double added = 0;
  for (uint32_t p = 0; p < owners_.size(); ++p) {
    while (owners_[p].size() < k_) {
      auto progress = ++added / lacking;
      auto rank = [&](uint32_t m) {
        auto due = at_first[m] + std::max(0.0, spread_.share[m] - at_first[m]) * progress;
        return std::tuple(has_room(m), due - static_cast<double>(owned_[m].size()), scatter(p, m));
      };
      look_at(p);
      uint32_t best = nobody;
      for_candidates(p, [&](uint32_t m) {
        if (!is_owner(m) && (best == nobody || rank(m) > rank(best)) && can_add(m))
          best = m;
      });
      look_away();
      if (best != nobody)
        add(p, best);
      else
        complete_by_search(p);
    }
  }
}

/// Hosts that lie in several zones are beyond a flow network: which owner came first may leave no second.
void claim_deal::complete_by_search(uint32_t p) {
  exact_ = false;
  std::vector<uint32_t> found;
  uint32_t steps = 0;
  for (auto [hosts, zones] : {std::pair(true, true), std::pair(true, false), std::pair(false, false)}) {
    found = fixed_ ? old_[p] : std::vector<uint32_t>{};
    steps = 0;
    if (search(p, hosts, zones, found, steps))
      break;
  }
  assert(found.size() == k_);
  while (!owners_[p].empty())
    remove(p, owners_[p].back());
  for (auto m : found)
    add(p, m);
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

} // namespace crema::protocol
