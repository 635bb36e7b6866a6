// What claim promises of a table, checked one partition and one member at a time.
#pragma once

#include "protocol/ring.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace crema::protocol {

/// Members 0 .. count-1, each on a host of its own, all in one zone.
inline std::vector<member> members(uint32_t count) {
  std::vector<member> result;
  for (uint32_t i = 0; i < count; ++i)
    result.push_back({node_id{i}, "n" + std::to_string(i), "host" + std::to_string(i), "", 1});
  return result;
}
inline std::vector<member> in_zones(std::vector<member> all, uint32_t zones) {
  for (auto& m : all)
    m.zone = "zone" + std::to_string(to_index(m.id) % zones);
  return all;
}

inline std::map<node_id, uint32_t> owned(const ring_table& table, uint32_t first_n) {
  std::map<node_id, uint32_t> count;
  for (const auto& row : table)
    for (uint32_t i = 0; i < first_n && i < row.size(); ++i)
      ++count[row[i]];
  return count;
}

/// n * Q * weight / total weight, nobody above Q: what is cut off is shared by the others.
inline std::map<node_id, double> fair_shares(const std::vector<member>& all, uint32_t partitions, uint32_t n) {
  std::map<node_id, double> share;
  double left = std::min<double>(n, static_cast<double>(all.size()));
  for (bool again = true; again;) {
    again = false;
    double weights = 0;
    for (const auto& m : all)
      if (share.count(m.id) == 0)
        weights += m.weight;
    auto rate = weights > 0 ? left / weights : 0;
    for (const auto& m : all) {
      if (share.count(m.id) == 0 && m.weight * rate >= 1 - 1e-12) {
        share[m.id] = partitions;
        left -= 1;
        again = true;
      }
    }
    if (!again)
      for (const auto& m : all)
        share.emplace(m.id, m.weight * rate * partitions);
  }
  return share;
}
inline uint32_t rounded_down(double share) { return static_cast<uint32_t>(std::floor(share + 1e-6)); }
inline uint32_t rounded_up(double share) { return static_cast<uint32_t>(std::ceil(share - 1e-6)); }

inline void expect_balanced(const ring_table& table, const std::vector<member>& all, uint32_t n, uint32_t slack = 0) {
  auto share = fair_shares(all, static_cast<uint32_t>(table.size()), n);
  auto count = owned(table, n);
  for (const auto& m : all) {
    ASSERT_GE(count[m.id] + slack, rounded_down(share[m.id])) << "first " << n << " owners, member " << m.name;
    ASSERT_LE(count[m.id], rounded_up(share[m.id]) + slack) << "first " << n << " owners, member " << m.name;
  }
}

/// As many members as asked for, all known, none twice: checked for every partition on its own.
inline void expect_valid(const ring_table& table, const std::vector<member>& all, uint32_t partitions, uint32_t n) {
  std::set<node_id> known;
  for (const auto& m : all)
    known.insert(m.id);
  ASSERT_EQ(table.size(), partitions);
  for (const auto& row : table) {
    ASSERT_EQ(row.size(), std::min<size_t>(n, all.size()));
    ASSERT_EQ(std::set<node_id>(row.begin(), row.end()).size(), row.size());
    for (auto id : row)
      ASSERT_EQ(known.count(id), 1U);
  }
}

using property = std::string member::*;

inline std::map<std::string, uint32_t> sizes(const std::vector<member>& all, property group) {
  std::map<std::string, uint32_t> size;
  for (const auto& m : all)
    ++size[m.*group];
  return size;
}
inline std::map<std::string, uint32_t> used(const std::vector<node_id>& row, uint32_t first_n,
                                            const std::vector<member>& all, property group) {
  std::map<std::string, uint32_t> count;
  for (uint32_t i = 0; i < first_n && i < row.size(); ++i)
    for (const auto& m : all)
      if (m.id == row[i])
        ++count[m.*group];
  return count;
}

/// Distinct while there are enough; else every one in use, and none above its part rounded up where the others have
/// members enough for theirs.
inline void expect_spread(const ring_table& table, const std::vector<member>& all, uint32_t n, property group) {
  n = std::min<uint32_t>(n, static_cast<uint32_t>(all.size()));
  auto size = sizes(all, group);
  auto groups = static_cast<uint32_t>(size.size());
  auto part = (n + groups - 1) / groups;
  bool enough = std::all_of(size.begin(), size.end(), [&](const auto& g) { return g.second >= part; });
  for (const auto& row : table) {
    auto count = used(row, n, all, group);
    ASSERT_EQ(count.size(), std::min(n, groups));
    for (const auto& g : count) {
      ASSERT_LE(g.second, enough ? part : n) << g.first;
    }
  }
}

/// The (partition, owner) pairs that must move whatever one does: quotas alone ask for so many.
inline size_t must_move(const ring_table& old, const std::vector<member>& all, uint32_t n) {
  auto partitions = static_cast<uint32_t>(old.size());
  auto share = fair_shares(all, partitions, n);
  auto count = owned(old, UINT32_MAX);
  size_t kept = 0, lacking = 0;
  for (const auto& m : all) {
    kept += std::min(count[m.id], rounded_up(share[m.id]));
    auto low = rounded_down(share[m.id]);
    lacking += low > count[m.id] ? low - count[m.id] : 0;
  }
  auto pairs = size_t{partitions} * std::min<size_t>(n, all.size());
  return std::max(pairs - std::min(pairs, kept), lacking);
}

inline ring_table first_owners(ring_table table, uint32_t n) {
  for (auto& row : table)
    row.resize(std::min<size_t>(n, row.size()));
  return table;
}

} // namespace crema::protocol
