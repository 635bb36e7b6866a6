#include "protocol/topology_moves.hpp"

#include "protocol/claim_groups.hpp"
#include "protocol/claim_spread.hpp"

#include <algorithm>
#include <map>

namespace crema::protocol {

namespace {

bool is_in(const std::vector<node_id>& row, node_id node) {
  return std::find(row.begin(), row.end(), node) != row.end();
}

bool is_gone(const std::vector<member>& members, node_id node) {
  for (const auto& m : members)
    if (m.id == node)
      return m.state == member_state::gone;
  return true;
}

std::map<node_id, uint32_t> counted(const ring_table& table) {
  std::map<node_id, uint32_t> count;
  for (const auto& row : table)
    for (auto node : row)
      ++count[node];
  return count;
}

std::map<node_id, claim_bounds> quotas(const topology_draft& draft, uint32_t partitions) {
  std::map<node_id, claim_bounds> result;
  auto stay = draft.staying();
  if (draft.groups.empty()) {
    auto k = std::min(draft.owners_per_partition, static_cast<uint32_t>(stay.size()));
    auto spread = spread_owners(stay, partitions, k);
    for (size_t i = 0; i < stay.size(); ++i)
      result[stay[i].id] = spread.quota[i];
    return result;
  }
  auto quota = group_quotas(stay, draft.groups, partitions);
  for (size_t g = 0; g < draft.groups.size(); ++g)
    for (auto node : draft.groups[g].nodes)
      result[node] = quota[g];
  return result;
}

} // namespace

std::vector<transfer> transfers(const ring_table& from, const ring_table& to, const std::vector<member>& members,
                                const std::vector<uint64_t>& bytes) {
  std::map<std::pair<node_id, node_id>, transfer> result;
  std::map<node_id, uint32_t> given;
  for (size_t p = 0; p < to.size(); ++p) {
    for (auto node : to[p]) {
      if (is_in(from[p], node))
        continue;
      const node_id* source = nullptr;
      for (const auto& owner : from[p])
        if (!is_gone(members, owner) && (source == nullptr || given[owner] < given[*source]))
          source = &owner;
      if (source == nullptr)
        continue; // Nothing is left to copy.
      ++given[*source];
      auto& t = result.try_emplace({*source, node}, transfer{*source, node}).first->second;
      ++t.partitions;
      t.bytes += p < bytes.size() ? bytes[p] : 0;
    }
  }
  std::vector<transfer> sorted;
  sorted.reserve(result.size());
  for (const auto& t : result)
    sorted.push_back(t.second);
  return sorted;
}

uint32_t lost_partitions(const ring_table& owners, const std::vector<member>& members) {
  return static_cast<uint32_t>(std::count_if(owners.begin(), owners.end(), [&](const auto& row) {
    return std::all_of(row.begin(), row.end(), [&](node_id x) { return is_gone(members, x); });
  }));
}

size_t moves_at_least(const ring_table& had, const topology_draft& draft) {
  auto partitions = static_cast<uint32_t>(had.size());
  auto count = counted(had);
  size_t kept = 0, lacking = 0;
  for (const auto& [node, quota] : quotas(draft, partitions)) {
    kept += std::min(count[node], quota.high);
    lacking += quota.low > count[node] ? quota.low - count[node] : 0;
  }
  if (!draft.groups.empty())
    return lacking; // How many pairs there will be depends on which group gets one partition more.
  auto pairs = size_t{partitions} * std::min<size_t>(draft.owners_per_partition, draft.staying().size());
  return std::max(pairs - std::min(pairs, kept), lacking);
}

std::vector<node_share> shares(const ring_table& before, const ring_table& after, const std::vector<member>& members) {
  auto had = counted(before), has = counted(after);
  std::vector<node_share> result;
  result.reserve(members.size());
  for (const auto& m : members)
    result.push_back({m.id, had[m.id], has[m.id]});
  return result;
}

} // namespace crema::protocol
