#include "protocol/claim_groups.hpp"

#include <algorithm>
#include <cassert>
#include <set>
#include <tuple>
#include <utility>

namespace crema::protocol {

namespace {

std::vector<member> members_in(const replica_group& group, const std::vector<member>& members) {
  std::vector<member> result;
  for (const auto& m : members)
    if (std::find(group.nodes.begin(), group.nodes.end(), m.id) != group.nodes.end())
      result.push_back(m);
  return result;
}

/// Which partition goes to which group, for the fewest copies: a transport problem, solved like claim_deal's. Each
/// partition starts where it costs least; then, as long as that makes things better, one is shifted along the cheapest
/// path from group to group. Quotas count above all copies.
class group_deal {
public:
  /// @param costs costs[p][g] = the copies to be made if group g gets partition p.
  group_deal(std::vector<std::vector<int64_t>> costs, std::vector<claim_bounds> quota)
      : costs_(std::move(costs)), quota_(std::move(quota)), group_of_(costs_.size()), count_(quota_.size()),
        shifts_(quota_.size(), std::vector<shifts>(quota_.size())) {
    for (uint32_t p = 0; p < costs_.size(); ++p) {
      uint32_t best = 0;
      for (uint32_t g = 1; g < quota_.size(); ++g)
        if (std::tuple(costs_[p][g], scatter(p, g)) < std::tuple(costs_[p][best], scatter(p, best)))
          best = g;
      enter(p, best);
    }
  }

  std::vector<uint32_t> run() {
    while (improve())
      ;
    return group_of_;
  }

private:
  struct shift {
    int64_t cost;
    uint64_t order; // Scatters what is otherwise equal.
    uint32_t partition;
    friend bool operator<(const shift& a, const shift& b) {
      return std::tie(a.cost, a.order, a.partition) < std::tie(b.cost, b.order, b.partition);
    }
  };
  using shifts = std::set<shift>;
  static constexpr int64_t out_of_quota = int64_t{1} << 32; // More than all copies cost.
  static constexpr uint32_t none = UINT32_MAX;

  static uint64_t scatter(uint64_t p, uint64_t g) {
    uint64_t x = (p << 32 | g) + 0x9E3779B97F4A7C15; // SplitMix64 (Steele et al. 2014).
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
    return x ^ (x >> 31);
  }

  shift shift_of(uint32_t p, uint32_t from, uint32_t to) const {
    return {costs_[p][to] - costs_[p][from], scatter(p, to), p};
  }
  void enter(uint32_t p, uint32_t g) {
    group_of_[p] = g;
    ++count_[g];
    for (uint32_t to = 0; to < count_.size(); ++to)
      if (to != g)
        shifts_[g][to].insert(shift_of(p, g, to));
  }
  void exit(uint32_t p) {
    auto g = group_of_[p];
    --count_[g];
    for (uint32_t to = 0; to < count_.size(); ++to)
      if (to != g)
        shifts_[g][to].erase(shift_of(p, g, to));
  }

  int64_t cost_to_lose(uint32_t g) const {
    return count_[g] == 0 || count_[g] <= quota_[g].low ? out_of_quota : count_[g] > quota_[g].high ? -out_of_quota : 0;
  }
  int64_t cost_to_gain(uint32_t g) const {
    return count_[g] < quota_[g].low ? -out_of_quota : count_[g] >= quota_[g].high ? out_of_quota : 0;
  }

  /// Bellman and Ford, from all groups at once. There are no cycles that would save something: each path that was taken
  /// was the cheapest.
  bool improve() {
    auto groups = static_cast<uint32_t>(count_.size());
    std::vector<int64_t> distance;
    std::vector<uint32_t> from(groups, none);
    for (uint32_t g = 0; g < groups; ++g)
      distance.push_back(cost_to_lose(g));
    for (bool again = true; again;) {
      again = false;
      for (uint32_t a = 0; a < groups; ++a)
        for (uint32_t b = 0; b < groups; ++b)
          if (a != b && !shifts_[a][b].empty() && distance[a] + shifts_[a][b].begin()->cost < distance[b]) {
            distance[b] = distance[a] + shifts_[a][b].begin()->cost;
            from[b] = a;
            again = true;
          }
    }
    uint32_t end = none;
    for (uint32_t g = 0; g < groups; ++g)
      if (from[g] != none && (end == none || distance[g] + cost_to_gain(g) < distance[end] + cost_to_gain(end)))
        end = g;
    if (end == none || distance[end] + cost_to_gain(end) >= 0)
      return false;
    while (from[end] != none) {
      auto p = shifts_[from[end]][end].begin()->partition;
      exit(p);
      enter(p, end);
      end = from[end];
    }
    return true;
  }

  std::vector<std::vector<int64_t>> costs_;
  std::vector<claim_bounds> quota_;
  std::vector<uint32_t> group_of_;          // By partition.
  std::vector<uint32_t> count_;             // By group.
  std::vector<std::vector<shifts>> shifts_; // [a][b]: the partitions of a, as they would go to b.
};

} // namespace

std::vector<claim_bounds> group_quotas(const std::vector<member>& members, const std::vector<replica_group>& groups,
                                       uint32_t partitions) {
  std::vector<uint64_t> weights;
  uint64_t total = 0;
  for (const auto& g : groups) {
    weights.push_back(0);
    for (const auto& m : members_in(g, members))
      weights.back() += m.weight;
    total += weights.back();
  }
  std::vector<claim_bounds> result;
  result.reserve(weights.size());
  for (auto w : weights)
    result.push_back({static_cast<uint32_t>(w * partitions / total), //
                      static_cast<uint32_t>((w * partitions + total - 1) / total)});
  return result;
}

ring_table claim_groups(const ring_table& old, const std::vector<member>& members,
                        const std::vector<replica_group>& groups, uint32_t partitions) {
  auto sorted = groups;
  std::sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  std::vector<std::vector<member>> nodes;
  for (auto i = sorted.begin(); i != sorted.end();) {
    auto inside = members_in(*i, members);
    i = inside.empty() ? sorted.erase(i) : i + 1;
    if (!inside.empty())
      nodes.push_back(std::move(inside));
  }
  assert(!nodes.empty());

  auto before = old.size() == partitions ? old : ring_table(partitions);
  std::vector<std::vector<int64_t>> costs(partitions);
  for (uint32_t p = 0; p < partitions; ++p)
    for (const auto& inside : nodes)
      costs[p].push_back(std::count_if(inside.begin(), inside.end(), [&](const member& m) {
        return std::find(before[p].begin(), before[p].end(), m.id) == before[p].end();
      }));
  auto group_of = group_deal(std::move(costs), group_quotas(members, sorted, partitions)).run();

  ring_table table(partitions);
  for (uint32_t g = 0; g < nodes.size(); ++g) {
    std::vector<uint32_t> mine;
    ring_table rows;
    for (uint32_t p = 0; p < partitions; ++p) {
      if (group_of[p] == g) {
        mine.push_back(p);
        rows.push_back(before[p]);
      }
    }
    if (mine.empty())
      continue; // Its weight is too small for one.
    auto count = static_cast<uint32_t>(mine.size());
    rows = claim(rows, nodes[g], count, static_cast<uint32_t>(nodes[g].size()));
    for (uint32_t i = 0; i < count; ++i)
      table[mine[i]] = std::move(rows[i]);
  }
  return table;
}

} // namespace crema::protocol
