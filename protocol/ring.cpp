#include "protocol/ring.hpp"

#define XXH_INLINE_ALL // Short inputs: the call would cost more than the hash.
#include <xxhash.h>

#include <algorithm>
#include <utility>

namespace crema::protocol {

size_t moved(const ring_table& from, const ring_table& to) {
  size_t count = 0;
  for (size_t p = 0; p < to.size(); ++p)
    for (auto id : to[p])
      if (p >= from.size() || std::find(from[p].begin(), from[p].end(), id) == from[p].end())
        ++count;
  return count;
}

const member* ring::find(node_id id) const {
  auto i = std::lower_bound(members.begin(), members.end(), id, [](const member& m, node_id x) { return m.id < x; });
  return i != members.end() && i->id == id ? &*i : nullptr;
}

std::vector<node_id> ring::owners_of(partition_id partition, uint32_t n) const {
  const auto& all = owners[partition];
  return {all.begin(), all.begin() + static_cast<std::ptrdiff_t>(std::min<size_t>(n, all.size()))};
}

bool ring::owns(node_id node, partition_id partition, uint32_t n) const {
  const auto& all = owners[partition];
  auto end = all.begin() + static_cast<std::ptrdiff_t>(std::min<size_t>(n, all.size()));
  return std::find(all.begin(), end, node) != end;
}

std::vector<node_id> ring::preference_list(partition_id partition, uint32_t n) const {
  const auto& row = owners.at(partition);
  std::vector<node_id> list(row);
  list.resize(std::min<size_t>(n, row.size()));
  list.reserve(members.size());
  // Every node must come to the same order: it is a function of ids alone, the same on every machine and release.
  std::vector<std::pair<uint64_t, node_id>> fallbacks;
  for (const auto& m : members) {
    if (std::find(list.begin(), list.end(), m.id) != list.end())
      continue;
    uint32_t id = to_index(m.id);
    const uint8_t bytes[] = {static_cast<uint8_t>(partition), static_cast<uint8_t>(partition >> 8),
                             static_cast<uint8_t>(id),        static_cast<uint8_t>(id >> 8),
                             static_cast<uint8_t>(id >> 16),  static_cast<uint8_t>(id >> 24)};
    fallbacks.emplace_back(XXH64(bytes, sizeof(bytes), 0), m.id);
  }
  std::sort(fallbacks.rbegin(), fallbacks.rend());
  for (const auto& x : fallbacks)
    list.push_back(x.second);
  return list;
}

} // namespace crema::protocol
