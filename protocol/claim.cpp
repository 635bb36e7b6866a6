// claim (ring.hpp): first who owns a partition, then in which order, level by level: the first N-1 are chosen among the
// N owners as if they were a ring of their own, with its quotas, its spread over hosts and zones, and its own least
// number of changes; then the first N-2 among those, and so on. Who is left out at level j is the jth owner.
#include "protocol/claim_deal.hpp"
#include "protocol/claim_spread.hpp"
#include "protocol/ring.hpp"

#include <algorithm>
#include <cassert>
#include <map>

namespace crema::protocol {

ring_table claim(const ring_table& old, const std::vector<member>& members, uint32_t partitions,
                 uint32_t owners_per_partition) {
  assert(!members.empty() && owners_per_partition >= 1);
  auto sorted = members;
  std::sort(sorted.begin(), sorted.end(), [](const member& a, const member& b) { return a.id < b.id; });
  std::map<node_id, uint32_t> number;
  for (const auto& m : sorted)
    number.emplace(m.id, static_cast<uint32_t>(number.size()));

  claim_deal::rows before(partitions); // Without members that are gone.
  for (uint32_t p = 0; p < partitions && old.size() == partitions; ++p)
    for (auto id : old[p])
      if (auto i = number.find(id); i != number.end())
        before[p].push_back(i->second);

  auto n = std::min(owners_per_partition, static_cast<uint32_t>(sorted.size()));
  ring_table table(partitions, std::vector<node_id>(n));
  claim_deal::rows chosen;
  for (uint32_t k = n; k >= 1; --k) {
    auto spread = spread_owners(sorted, partitions, k);
    auto first = claim_deal(spread, k, before, chosen).run();
    for (uint32_t p = 0; p < partitions; ++p) {
      for (auto m : chosen.empty() ? first[p] : chosen[p])
        if (std::find(first[p].begin(), first[p].end(), m) == first[p].end())
          table[p][k] = sorted[m].id;
      if (k == 1)
        table[p][0] = sorted[first[p].front()].id;
      if (before[p].size() > k - 1)
        before[p].resize(k - 1);
    }
    chosen = std::move(first);
  }
  return table;
}

} // namespace crema::protocol
