#include "protocol/topology_moves.hpp"

#include <algorithm>
#include <set>

namespace crema::protocol {

namespace {

using names = std::set<std::string>;

names used(const std::vector<member>& members, std::string member::*what) {
  names result;
  for (const auto& m : members)
    result.insert(m.*what);
  return result;
}

std::string number(size_t n, const std::string& one) { return std::to_string(n) + " " + one + (n == 1 ? "" : "s"); }

/// Partitions of which two of the first n owners share a host (or a zone), though there are enough of them.
size_t crowded(const ring_table& table, uint32_t n, const std::vector<member>& members, std::string member::*what) {
  auto there_are = used(members, what).size();
  size_t count = 0;
  for (const auto& row : table) {
    names in_row;
    auto owners = std::min<size_t>(n, row.size());
    for (size_t i = 0; i < owners; ++i)
      for (const auto& m : members)
        if (m.id == row[i])
          in_row.insert(m.*what);
    count += in_row.size() < std::min(owners, there_are) ? 1 : 0;
  }
  return count;
}

} // namespace

std::vector<std::string> warnings(const ring& now, const topology_draft& draft, const ring_table& next) {
  std::vector<std::string> result;
  auto stay = draft.staying();
  auto n = draft.owners_per_partition;
  if (stay.size() < n)
    result.push_back("every partition has " + std::to_string(stay.size()) + (stay.size() == 1 ? " copy" : " copies") +
                     " instead of " + std::to_string(n) + ": there are no more nodes");
  auto owners = std::min<size_t>(n, stay.size());
  auto hosts = used(stay, &member::host).size();
  if (hosts < owners)
    result.push_back("copies share hosts: " + number(owners, "owner") + " of every partition, but " +
                     number(hosts, "host"));
  auto zones = used(stay, &member::zone), zones_before = used(now.members, &member::zone);
  auto with_zones = zones.size() > 1 || zones_before.size() > 1 || zones.count("") == 0; // Else nobody speaks of them.
  if (zones.size() < owners && with_zones)
    result.push_back("copies share zones: " + number(owners, "owner") + " of every partition, but " +
                     number(zones.size(), "zone"));
  if (zones.size() < zones_before.size())
    result.push_back("fewer zones than before: " + std::to_string(zones.size()) + " instead of " +
                     std::to_string(zones_before.size()));
  if (auto count = crowded(next, n, stay, &member::host); count > 0)
    result.push_back(number(count, "partition") + " with copies on one host, though there are " +
                     number(hosts, "host"));
  if (auto count = crowded(next, n, stay, &member::zone); count > 0)
    result.push_back(number(count, "partition") + " with copies in one zone, though there are " +
                     number(zones.size(), "zone"));
  for (const auto& g : draft.groups) {
    auto size = std::count_if(stay.begin(), stay.end(), [&](const member& m) {
      return std::binary_search(g.nodes.begin(), g.nodes.end(), m.id);
    });
    if (size > 0 && size < static_cast<std::ptrdiff_t>(n))
      result.push_back("group \"" + g.name + "\" has " + number(static_cast<size_t>(size), "node") + " for " +
                       number(n, "owner") + " of every partition");
  }
  if (auto lost = lost_partitions(now.owners, draft.members); lost > 0)
    result.push_back(number(lost, "partition") + " whose owners are all gone: what only they had is lost");
  return result;
}

std::vector<std::string> bucket_warnings(const ring& now, const ring& after) {
  std::vector<std::string> result;
  for (const auto& b : now.buckets)
    if (after.find_bucket(b.id) == nullptr)
      result.push_back("bucket " + b.name + " is dropped with all that is in it, at once and for good");
  for (const auto& b : after.buckets) {
    const auto* before = now.find_bucket(b.id);
    auto wanted = numbers_to_be(after, b);
    auto had = before == nullptr ? quorums{} : numbers_to_be(now, *before);
    if (before != nullptr && wanted == had)
      continue;
    if (wanted.r + wanted.w <= wanted.n)
      result.push_back("bucket " + b.name + ": r + w is not above n: reads may miss what was acknowledged");
    if (before == nullptr || wanted.n == had.n)
      continue;
    size_t copied = 0;
    for (uint32_t p = 0; p < after.partitions(); ++p)
      for (auto node : after.holders_of(static_cast<partition_id>(p), b))
        copied += after.owns(node, static_cast<partition_id>(p), b.n) ? 0 : 1;
    result.push_back("bucket " + b.name + ": " + std::to_string(wanted.n) + " copies instead of " +
                     std::to_string(had.n) + ", " + number(copied, "vnode") + " to be copied");
  }
  return result;
}

} // namespace crema::protocol
