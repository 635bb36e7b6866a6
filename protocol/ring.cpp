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

const member* ring::find(std::string_view name) const {
  auto i = std::find_if(members.begin(), members.end(), [name](const member& m) { return m.name == name; });
  return i != members.end() ? &*i : nullptr;
}

namespace {

std::vector<node_id> first_of(const ring_table& table, partition_id partition, uint32_t n) {
  if (partition >= table.size())
    return {};
  const auto& all = table[partition];
  return {all.begin(), all.begin() + static_cast<std::ptrdiff_t>(std::min<size_t>(n, all.size()))};
}

bool has(const std::vector<node_id>& nodes, node_id node) {
  return std::find(nodes.begin(), nodes.end(), node) != nodes.end();
}

bool is_first_of(const ring_table& table, partition_id partition, uint32_t n, node_id node) {
  if (partition >= table.size())
    return false;
  const auto& all = table[partition];
  auto end = all.begin() + static_cast<std::ptrdiff_t>(std::min<size_t>(n, all.size()));
  return std::find(all.begin(), end, node) != end;
}

} // namespace

std::vector<node_id> ring::owners_of(partition_id partition, uint32_t n) const {
  return first_of(owners, partition, n);
}

bool ring::owns(node_id node, partition_id partition, uint32_t n) const {
  return is_first_of(owners, partition, n, node);
}

const former_member* ring::find_removed(std::string_view name) const {
  auto i = std::find_if(removed.rbegin(), removed.rend(), [name](const former_member& m) { return m.name == name; });
  return i == removed.rend() ? nullptr : &*i;
}

const bucket* ring::find_bucket(bucket_id id) const {
  auto i = std::lower_bound(buckets.begin(), buckets.end(), id, [](const auto& b, bucket_id x) { return b.id < x; });
  return i != buckets.end() && i->id == id ? &*i : nullptr;
}

std::vector<node_id> ring::also_written(partition_id partition, copies n) const {
  auto others = first_of(joint() ? next : former, partition, n.beside);
  auto known = [&](node_id x) { return is_first_of(owners, partition, n.now, x); };
  auto same = !n.change && others.size() == std::min<size_t>(n.now, owners[partition].size()) &&
              std::all_of(others.begin(), others.end(), known);
  return same ? std::vector<node_id>{} : others;
}

std::vector<node_id> ring::holders_of(partition_id partition, copies n) const {
  auto all = owners_of(partition, n.now);
  for (auto node : first_of(next, partition, n.beside))
    if (!has(all, node))
      all.push_back(node);
  return all;
}

bool ring::holds(node_id node, partition_id partition, copies n) const {
  return owns(node, partition, n.now) || is_first_of(next, partition, n.beside, node);
}

std::vector<node_id> ring::preference_list(partition_id partition, copies n) const {
  const auto& row = owners.at(partition);
  std::vector<node_id> list(row);
  list.resize(std::min<size_t>(n.now, row.size()));
  list.reserve(members.size());
  // Every node must come to the same order: it is a function of ids alone, the same on every machine and release.
  std::vector<std::pair<uint64_t, node_id>> fallbacks;
  for (const auto& m : members) {
    if (m.state != member_state::full || holds(m.id, partition, n)) // The others may be gone with what they hold.
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

void note_named(const ring& before, ring& next) {
  for (auto& m : next.members) {
    const auto* known = before.find(m.id);
    if (known == nullptr || known->directory != m.directory)
      m.named = next.epoch;
  }
}

bool operator==(const ring& a, const ring& b) {
  return std::tie(a.epoch, a.origin, a.members, a.removed, a.next_id, a.groups, a.buckets, a.next_bucket, a.owners,
                  a.next, a.former, a.since, a.job) == std::tie(b.epoch, b.origin, b.members, b.removed, b.next_id,
                                                                b.groups, b.buckets, b.next_bucket, b.owners, b.next,
                                                                b.former, b.since, b.job);
}

} // namespace crema::protocol
