#include "protocol/claim_groups.hpp"
#include "tests/protocol/ring_laws.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>

using namespace crema;
using namespace crema::protocol;

namespace {

/// Members in turn, `sizes` of them.
std::vector<replica_group> groups_of(const std::vector<uint32_t>& sizes, uint32_t first = 0) {
  std::vector<replica_group> groups;
  for (auto size : sizes) {
    groups.push_back({"g" + std::to_string(groups.size()), {}});
    for (uint32_t i = 0; i < size; ++i)
      groups.back().nodes.push_back(node_id{first++});
  }
  return groups;
}

uint32_t sum(const std::vector<uint32_t>& sizes) {
  uint32_t result = 0;
  for (auto s : sizes)
    result += s;
  return result;
}

/// The group that has all of a row, or none.
std::optional<size_t> group_of(const std::vector<node_id>& row, const std::vector<replica_group>& groups) {
  auto sorted = row;
  std::sort(sorted.begin(), sorted.end());
  for (size_t g = 0; g < groups.size(); ++g)
    if (groups[g].nodes == sorted)
      return g;
  return {};
}

void expect_group_laws(const ring_table& table, const std::vector<member>& all,
                       const std::vector<replica_group>& groups) {
  auto partitions = static_cast<uint32_t>(table.size());
  double total = 0;
  for (const auto& m : all)
    total += m.weight;
  std::vector<ring_table> rows(groups.size());
  for (const auto& row : table) {
    auto g = group_of(row, groups);
    ASSERT_TRUE(g) << "Every row is one whole group.";
    rows[*g].push_back(row);
  }
  for (size_t g = 0; g < groups.size(); ++g) {
    std::vector<member> inside;
    double weight = 0;
    for (auto n : groups[g].nodes) {
      inside.push_back(*std::find_if(all.begin(), all.end(), [&](const member& m) { return m.id == n; }));
      weight += inside.back().weight;
    }
    auto share = weight / total * partitions;
    ASSERT_GE(rows[g].size(), rounded_down(share)) << groups[g].name;
    ASSERT_LE(rows[g].size(), rounded_up(share)) << groups[g].name;
    for (uint32_t first = 1; first <= inside.size() && !rows[g].empty(); ++first)
      expect_balanced(rows[g], inside, first, 1);
  }
}

} // namespace

TEST(ClaimGroups, DealsPartitionsByWeightAndSpreadsPrimaries) {
  for (uint32_t seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE("seed=" + std::to_string(seed));
    std::mt19937 random(seed);
    std::vector<uint32_t> sizes(1 + random() % 6);
    for (auto& s : sizes)
      s = static_cast<uint32_t>(1 + random() % 5);
    auto all = members(sum(sizes));
    for (auto& m : all)
      m.weight = static_cast<uint32_t>(1 + random() % 3);
    auto groups = groups_of(sizes);
    auto table = claim_groups({}, all, groups, 64);
    expect_group_laws(table, all, groups);
    EXPECT_EQ(claim_groups(table, all, groups, 64), table) << "Nothing has changed.";
    std::shuffle(all.begin(), all.end(), random);
    std::shuffle(groups.begin(), groups.end(), random);
    EXPECT_EQ(claim_groups({}, all, groups, 64), table) << "Whatever their order.";
    if (HasFailure())
      return;
  }
}

TEST(ClaimGroups, SpreadsPrimariesOfEqualNodesToWithinOne) {
  auto all = members(9);
  auto table = claim_groups({}, all, groups_of({3, 3, 3}), 256);
  for (auto [id, count] : owned(table, 1))
    EXPECT_TRUE(count == 28 || count == 29) << to_index(id); // 256 / 9 = 28.4
  for (auto [id, count] : owned(table, 3))
    EXPECT_TRUE(count == 85 || count == 86) << to_index(id); // 256 / 3 = 85.3
}

TEST(ClaimGroups, MovesExactlyAsLittleAsTheBestOfAllDeals) {
  uint32_t compared = 0;
  for (uint32_t seed = 0; seed < 600; ++seed) {
    SCOPED_TRACE("seed=" + std::to_string(seed));
    std::mt19937 random(seed);
    auto below = [&](size_t limit) { return static_cast<uint32_t>(random() % limit); };
    std::vector<uint32_t> sizes(1 + below(3));
    for (auto& s : sizes)
      s = 1 + below(3);
    auto all = members(sum(sizes));
    for (auto& m : all)
      m.weight = 1 + below(3);
    auto groups = groups_of(sizes);
    ring_table old(3 + below(5)); // Any rows at all, of members of which some are gone.
    for (auto& row : old) {
      for (uint32_t i = 0; i < all.size() + 2; ++i)
        row.push_back(node_id{i});
      std::shuffle(row.begin(), row.end(), random);
      row.resize(below(6) % (row.size() + 1));
    }
    auto partitions = static_cast<uint32_t>(old.size());
    auto quota = group_quotas(all, groups, partitions);
    size_t least = SIZE_MAX;
    std::vector<uint32_t> count(groups.size());
    std::function<void(uint32_t, size_t)> try_all = [&](uint32_t p, size_t cost) {
      if (p == partitions) {
        for (size_t g = 0; g < groups.size(); ++g)
          if (count[g] < quota[g].low || count[g] > quota[g].high)
            return;
        least = std::min(least, cost);
        return;
      }
      for (size_t g = 0; g < groups.size(); ++g) {
        ++count[g];
        try_all(p + 1, cost + moved({old[p]}, {groups[g].nodes}));
        --count[g];
      }
    };
    try_all(0, 0);
    auto table = claim_groups(old, all, groups, partitions);
    expect_group_laws(table, all, groups);
    ASSERT_EQ(moved(old, table), least);
    ++compared;
  }
  EXPECT_EQ(compared, 600U);
}

TEST(ClaimGroups, MovesNothingBetweenGroupsForANodeThatTakesAnothersPlace) {
  auto all = members(6);
  auto groups = groups_of({3, 3});
  auto table = claim_groups({}, all, groups, 64);
  all[1].id = node_id{9};
  std::rotate(all.begin() + 1, all.begin() + 2, all.end());
  groups[0].nodes = {node_id{0}, node_id{2}, node_id{9}};
  auto next = claim_groups(table, all, groups, 64);
  EXPECT_EQ(moved(table, next), 32U);
  expect_group_laws(next, all, groups);
}

TEST(ClaimGroups, GivesANewGroupItsShareAndMovesNothingElse) {
  auto all = members(6);
  auto table = claim_groups({}, all, groups_of({3, 3}), 256);
  all = members(9);
  auto groups = groups_of({3, 3, 3});
  auto next = claim_groups(table, all, groups, 256);
  EXPECT_EQ(moved(table, next), 85U * 3); // Of 85.3; the two old ones are left with 85 and 86.
  expect_group_laws(next, all, groups);
}

TEST(ClaimGroups, KeepsTheOrderOfRowsWhereItCan) {
  auto all = members(9);
  auto table = claim_groups({}, all, groups_of({3, 3, 3}), 256);
  all.resize(6); // A group goes; the rows of the others stay as they are but for what balance asks.
  auto next = claim_groups(table, all, groups_of({3, 3}), 256);
  uint32_t kept = 0;
  for (size_t p = 0; p < 256; ++p)
    kept += table[p] == next[p] ? 1 : 0;
  EXPECT_GE(kept, 165U); // 171 rows were theirs.
}

TEST(ClaimGroups, SpreadsTheFirstOwnersOverHosts) {
  auto all = members(8);
  for (auto& m : all)
    m.host = "host" + std::to_string(to_index(m.id) % 4 / 2); // In both groups two hosts, of two nodes each.
  auto table = claim_groups({}, all, groups_of({4, 4}), 64);
  for (const auto& row : table)
    EXPECT_NE(to_index(row[0]) % 4 / 2, to_index(row[1]) % 4 / 2);
}

TEST(ClaimGroups, HandlesManyGroupsAndPartitions) {
  auto all = members(99);
  auto groups = groups_of(std::vector<uint32_t>(33, 3));
  auto table = claim_groups({}, all, groups, 16384);
  expect_group_laws(table, all, groups);
  all.resize(96);
  groups.pop_back();
  auto next = claim_groups(table, all, groups, 16384);
  expect_group_laws(next, all, groups);
  EXPECT_LE(moved(table, next), 497U * 3);
}
