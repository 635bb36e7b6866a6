#include "protocol/claim_deal.hpp"
#include "protocol/claim_spread.hpp"
#include "protocol/ring.hpp"

#include <algorithm>
#include <cassert>
#include <map>
#include <utility>

namespace crema::protocol {

namespace {

using rows = claim_deal::rows;

/// First who owns a partition, then in which order, level by level: the first N-1 are chosen among the N owners as if
/// they were a ring of their own, with its quotas, its spread over hosts and zones, and its own least number of
/// changes; then the first N-2 among those, and so on. Who is left out at level k is the kth owner.
rows from_the_last(const std::vector<claim_spread>& spread, rows before) {
  rows table(before.size(), std::vector<uint32_t>(spread.size()));
  rows chosen; // One more than the level has; at first: everyone.
  for (auto k = static_cast<uint32_t>(spread.size()); k >= 1; --k) {
    auto first = claim_deal(spread[k - 1], k, before, chosen).run();
    for (size_t p = 0; p < first.size(); ++p) {
      if (!chosen.empty())
        table[p][k] = *std::find_if(chosen[p].begin(), chosen[p].end(), [&](uint32_t m) {
          return std::find(first[p].begin(), first[p].end(), m) == first[p].end();
        });
      if (k == 1)
        table[p][0] = first[p].front();
      before[p].resize(std::min<size_t>(before[p].size(), k - 1));
    }
    chosen = std::move(first);
  }
  return table;
}

/// Without a past, one owner after the other. So every prefix can be balanced even when partitions are few: which N are
/// chosen at once may leave no balanced choice among them.
rows from_the_first(const std::vector<claim_spread>& spread, uint32_t partitions) {
  rows table(partitions);
  for (uint32_t k = 1; k <= spread.size(); ++k)
    table = claim_deal(spread[k - 1], k, table, {}, true).run(); // Keeps the order of those that stay.
  return table;
}

/// By how much the quotas are exceeded or missed, at the last level and at all.
std::pair<uint32_t, uint32_t> imbalance(const rows& table, const std::vector<claim_spread>& spread) {
  uint32_t last = 0, all = 0;
  std::vector<uint32_t> owned(spread.front().quota.size());
  for (size_t k = 0; k < spread.size(); ++k) {
    for (const auto& row : table)
      ++owned[row[k]];
    last = 0;
    for (size_t m = 0; m < owned.size(); ++m) {
      auto quota = spread[k].quota[m];
      last += std::max(owned[m], quota.high) - quota.high + quota.low - std::min(owned[m], quota.low);
    }
    all += last;
  }
  return {last, all};
}

rows fresh(const std::vector<claim_spread>& spread, uint32_t partitions) {
  if (!spread.front().nested) // Owner after owner may run into a dead end.
    return from_the_last(spread, rows(partitions));
  auto table = from_the_first(spread, partitions);
  if (imbalance(table, spread).second == 0)
    return table;
  auto other = from_the_last(spread, rows(partitions));
  return imbalance(other, spread) < imbalance(table, spread) ? other : table;
}

} // namespace

ring_table claim(const ring_table& old, const std::vector<member>& members, uint32_t partitions,
                 uint32_t owners_per_partition) {
  assert(!members.empty() && owners_per_partition >= 1);
  auto sorted = members;
  std::sort(sorted.begin(), sorted.end(), [](const member& a, const member& b) { return a.id < b.id; });
  std::map<node_id, uint32_t> number;
  for (const auto& m : sorted)
    number.emplace(m.id, static_cast<uint32_t>(number.size()));

  rows before(partitions); // Without members that are gone.
  bool nothing_before = true;
  for (uint32_t p = 0; p < partitions && old.size() == partitions; ++p) {
    for (auto id : old[p]) {
      if (auto i = number.find(id); i != number.end()) {
        before[p].push_back(i->second);
        nothing_before = false;
      }
    }
  }

  std::vector<claim_spread> spread; // spread[k - 1]: of the first k owners.
  for (uint32_t k = 1; k <= owners_per_partition && k <= sorted.size(); ++k)
    spread.push_back(spread_owners(sorted, partitions, k));
  auto dealt = nothing_before ? fresh(spread, partitions) : from_the_last(spread, std::move(before));

  ring_table table(partitions);
  for (uint32_t p = 0; p < partitions; ++p)
    for (auto m : dealt[p])
      table[p].push_back(sorted[m].id);
  return table;
}

} // namespace crema::protocol
