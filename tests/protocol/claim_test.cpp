#include "protocol/ring.hpp"
#include "tests/protocol/ring_laws.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

using namespace crema;
using namespace crema::protocol;

TEST(Claim, GivesTheOnlyMemberEverything) {
  auto table = claim({}, members(1), 8, 3);
  EXPECT_EQ(table, ring_table(8, std::vector<node_id>{node_id{0}}));
}

TEST(Claim, BalancesEveryPrefixOfAFreshTableToWithinOne) {
  for (uint32_t count = 1; count <= 100; ++count) {
    for (uint32_t n = 1; n <= 5; ++n) {
      for (uint32_t partitions : {8U, 64U, 256U}) {
        SCOPED_TRACE(std::to_string(count) + " members, N=" + std::to_string(n) + ", Q=" + std::to_string(partitions));
        auto all = members(count);
        auto table = claim({}, all, partitions, n);
        expect_valid(table, all, partitions, n);
        for (uint32_t first = 1; first <= n; ++first)
          expect_balanced(table, all, first);
        if (HasFatalFailure())
          return;
      }
    }
  }
}

TEST(Claim, BalancesByWeightWithTheSharesOfHeavyMembersCapped) {
  EXPECT_TRUE(rc::check([] {
    auto count = *rc::gen::inRange<uint32_t>(1, 40);
    auto n = *rc::gen::inRange<uint32_t>(1, 6);
    auto all = members(count);
    for (auto& m : all)
      m.weight = *rc::gen::oneOf(rc::gen::inRange<uint32_t>(1, 5), rc::gen::inRange<uint32_t>(1, 1001));
    auto table = claim({}, all, 128, n);
    expect_valid(table, all, 128, n);
    expect_balanced(table, all, n);
    for (uint32_t first = 1; first < n; ++first)
      expect_balanced(table, all, first, 1);
    RC_ASSERT(!testing::Test::HasFailure());
  }));
}

TEST(Claim, GivesAHeavyMemberTwiceAsMuch) {
  auto all = members(5);
  all[2].weight = 2;
  auto count = owned(claim({}, all, 64, 2), 2);
  EXPECT_TRUE(count[node_id{2}] == 42 || count[node_id{2}] == 43); // 128 * 2 / 6
}

TEST(Claim, KeepsOwnersOnDistinctHosts) {
  for (uint32_t hosts = 1; hosts <= 12; ++hosts) {
    for (uint32_t per_host = 1; per_host <= 4; ++per_host) {
      for (uint32_t n = 1; n <= 5; ++n) {
        SCOPED_TRACE(std::to_string(hosts) + " hosts of " + std::to_string(per_host) + ", N=" + std::to_string(n));
        auto all = members(hosts * per_host);
        for (auto& m : all)
          m.host = "host" + std::to_string(to_index(m.id) / per_host);
        auto table = claim({}, all, 64, n);
        expect_valid(table, all, 64, n);
        expect_balanced(table, all, n); // Equal hosts force nothing.
        for (uint32_t first = 1; first <= n; ++first)
          expect_spread(table, all, first, &member::host);
        if (HasFatalFailure())
          return;
      }
    }
  }
}

TEST(Claim, KeepsOwnersInDistinctZones) {
  for (uint32_t count = 1; count <= 30; ++count) {
    for (uint32_t zones = 1; zones <= 6; ++zones) {
      for (uint32_t n = 1; n <= 5; ++n) {
        SCOPED_TRACE(std::to_string(count) + " members in " + std::to_string(zones) + ", N=" + std::to_string(n));
        auto all = in_zones(members(count), zones);
        auto table = claim({}, all, 64, n);
        expect_valid(table, all, 64, n);
        if (count % zones == 0)
          expect_balanced(table, all, n); // Equal zones force nothing.
        for (uint32_t first = 1; first <= n; ++first)
          expect_spread(table, all, first, &member::zone);
        if (HasFatalFailure())
          return;
      }
    }
  }
}

TEST(Claim, PrefersDistinctZonesToBalanceAndIsThenAsBalancedAsCanBe) {
  auto all = members(10);
  for (auto& m : all)
    m.zone = m.id == node_id{0} ? "small" : "big";
  auto table = claim({}, all, 90, 2);
  auto count = owned(table, 2);
  EXPECT_EQ(count[node_id{0}], 90U); // One replica of everything.
  for (uint32_t i = 1; i < 10; ++i)
    EXPECT_EQ(count[node_id{i}], 10U);
}

TEST(Claim, SpreadsOverHostsWithinAZone) {
  auto all = members(8); // Zone a: hosts 0 and 1 with three members each; zone b: hosts 2 and 3.
  for (auto& m : all) {
    auto i = to_index(m.id);
    m.host = "host" + std::to_string(i < 6 ? i / 3 : i - 4);
    m.zone = i < 6 ? "a" : "b";
  }
  auto table = claim({}, all, 64, 4);
  expect_spread(table, all, 4, &member::host);
  expect_spread(table, all, 4, &member::zone);
}

TEST(Claim, SpreadsEveryPrefixOverAsManyHostsAndZonesAsThereAre) {
  for (uint32_t seed = 0; seed < 1000; ++seed) {
    SCOPED_TRACE("seed=" + std::to_string(seed));
    std::mt19937 random(seed);
    auto below = [&](uint32_t limit) { return static_cast<uint32_t>(random() % limit); };
    auto n = 1 + below(5);
    ring_table table;
    for (int change = 0; change < 3; ++change) {
      auto all = members(1 + below(20));
      auto zones = 1 + below(6), hosts = 1 + below(4);
      for (auto& m : all) { // Uneven: many in the first zone, on its first host.
        m.zone = "zone" + std::to_string(below(1 + below(zones)));
        m.host = m.zone + "/host" + std::to_string(below(1 + below(hosts)));
        m.weight = 1 + below(3);
      }
      all.erase(all.begin(), all.begin() + below(static_cast<uint32_t>(all.size())));
      table = claim(table, all, 32, n);
      expect_valid(table, all, 32, n);
      for (uint32_t first = 1; first <= n; ++first)
        for (auto group : {&member::host, &member::zone})
          for (const auto& row : table)
            ASSERT_EQ(used(row, first, all, group).size(),
                      std::min(row.size(), std::min<size_t>(first, sizes(all, group).size())));
      if (HasFatalFailure())
        return;
    }
  }
}

TEST(Claim, UsesZonesOnASingleHost) {
  auto all = in_zones(members(6), 2);
  for (auto& m : all)
    m.host = "127.0.0.1";
  auto table = claim({}, all, 64, 3);
  expect_spread(table, all, 3, &member::zone);
  for (uint32_t first = 1; first <= 3; ++first)
    expect_balanced(table, all, first);
  EXPECT_EQ(claim(table, all, 64, 3), table);
}

TEST(Claim, FindsDistinctHostsAndZonesWhereTheyCrossIfThereAreAny) {
  int possible = 0;
  for (uint32_t seed = 0; seed < 600; ++seed) {
    SCOPED_TRACE("seed=" + std::to_string(seed));
    std::mt19937 random(seed);
    auto count = 2 + random() % 7, n = 2 + random() % 3;
    auto all = members(static_cast<uint32_t>(count));
    for (auto& m : all) {
      m.host = "host" + std::to_string(random() % 5);
      m.zone = "zone" + std::to_string(random() % 5);
    }
    // Is there any set of n members that differ in both?
    std::function<bool(size_t, std::set<std::string>, std::set<std::string>)> exists = [&](size_t i, auto hosts,
                                                                                           auto zones) {
      if (hosts.size() == n)
        return true;
      if (i == all.size())
        return false;
      if (exists(i + 1, hosts, zones))
        return true;
      return hosts.insert(all[i].host).second && zones.insert(all[i].zone).second && exists(i + 1, hosts, zones);
    };
    auto table = claim({}, all, 16, static_cast<uint32_t>(n));
    expect_valid(table, all, 16, static_cast<uint32_t>(n));
    if (exists(0, {}, {})) {
      ++possible;
      expect_spread(table, all, static_cast<uint32_t>(n), &member::host);
      expect_spread(table, all, static_cast<uint32_t>(n), &member::zone);
    }
    if (HasFatalFailure())
      return;
  }
  EXPECT_GT(possible, 100);
}

TEST(Claim, DoesNotDependOnTheOrderOfTheMembers) {
  std::mt19937 random(7);
  auto all = in_zones(members(17), 4);
  auto before = claim({}, members(12), 64, 3);
  auto table = claim(before, all, 64, 3);
  for (int i = 0; i < 20; ++i) {
    std::shuffle(all.begin(), all.end(), random);
    ASSERT_EQ(claim(before, all, 64, 3), table);
  }
}

TEST(Claim, ChangesNothingWhereNothingIsToBeDone) {
  EXPECT_TRUE(rc::check([] {
    auto all = in_zones(members(*rc::gen::inRange<uint32_t>(1, 30)), *rc::gen::inRange<uint32_t>(1, 6));
    for (auto& m : all)
      m.weight = *rc::gen::inRange<uint32_t>(1, 4);
    auto n = *rc::gen::inRange<uint32_t>(1, 6);
    auto before = claim({}, members(*rc::gen::inRange<uint32_t>(1, 30)), 64, n);
    auto table = claim(before, all, 64, n);
    RC_ASSERT(claim(table, all, 64, n) == table);
  }));
}

// The exact least number of moves, found by trying all tables.

namespace {

struct small_case {
  std::vector<member> all;
  ring_table old;
  uint32_t partitions, n;
};

/// Can every host and zone hold its members' fair shares? (By their luck, with few partitions some table may have the
/// demanded balance even so; then claim aims at the shares that the hosts and zones allow.)
bool holds_fair_shares(const small_case& x) {
  for (auto group : {&member::host, &member::zone}) {
    auto groups = static_cast<uint32_t>(sizes(x.all, group).size());
    std::map<std::string, double> owners;
    auto share = fair_shares(x.all, x.partitions, x.n);
    for (const auto& m : x.all)
      owners[m.*group] += share[m.id] / x.partitions;
    auto most = (x.n + groups - 1) / groups;
    for (const auto& g : owners)
      if (g.second > most + 1e-9 || (groups <= x.n && g.second < 1 - 1e-9))
        return false;
  }
  return true;
}

/// @returns nothing if no table has the demanded balance and spread.
std::optional<size_t> least_moves(const small_case& x) {
  std::vector<std::vector<node_id>> sets; // All allowed rows.
  auto count = static_cast<uint32_t>(x.all.size());
  for (uint32_t bits = 0; bits < 1U << count; ++bits) {
    std::vector<node_id> row;
    for (uint32_t i = 0; i < count; ++i)
      if ((bits >> i & 1) != 0)
        row.push_back(x.all[i].id);
    if (row.size() != x.n)
      continue;
    bool allowed = true;
    for (auto group : {&member::host, &member::zone}) {
      auto groups = static_cast<uint32_t>(sizes(x.all, group).size());
      auto in_use = used(row, x.n, x.all, group);
      allowed = allowed && in_use.size() == std::min(groups, x.n);
      for (const auto& g : in_use)
        allowed = allowed && g.second <= (x.n + groups - 1) / groups;
    }
    if (allowed)
      sets.push_back(row);
  }
  auto share = fair_shares(x.all, x.partitions, x.n);
  std::map<node_id, uint32_t> load;
  size_t best = SIZE_MAX;
  std::function<void(uint32_t, size_t)> place = [&](uint32_t p, size_t moves) {
    if (moves >= best)
      return;
    if (p == x.partitions) {
      for (const auto& m : x.all)
        if (load[m.id] < rounded_down(share[m.id]))
          return;
      best = moves;
      return;
    }
    for (const auto& row : sets) {
      if (std::any_of(row.begin(), row.end(), [&](node_id id) { return load[id] >= rounded_up(share[id]); }))
        continue;
      for (auto id : row)
        ++load[id];
      place(p + 1, moves + moved({x.old[p]}, {row}));
      for (auto id : row)
        --load[id];
    }
  };
  place(0, 0);
  return best == SIZE_MAX ? std::nullopt : std::optional(best);
}

} // namespace

TEST(Claim, MovesExactlyAsLittleAsTheBestOfAllTables) {
  int compared = 0;
  for (uint32_t seed = 0; seed < 1500; ++seed) {
    SCOPED_TRACE("seed=" + std::to_string(seed));
    std::mt19937 random(seed);
    auto below = [&](uint32_t limit) { return static_cast<uint32_t>(random() % limit); };
    small_case x;
    x.n = 1 + below(3);
    x.partitions = 3 + below(3);
    x.all = members(x.n + below(6 - x.n));
    bool hosts = below(2) == 0, zones = below(2) == 0;
    auto zone_count = 1 + below(3);
    for (auto& m : x.all) {
      auto i = to_index(m.id);
      if (zones)
        m.zone = "zone" + std::to_string(i % zone_count);
      if (hosts) // Two to a host, within a zone.
        m.host = m.zone + "/" + std::to_string(i / zone_count / 2);
      m.weight = 1 + (below(3) == 0 ? below(3) : 0);
    }
    for (uint32_t p = 0; p < x.partitions; ++p) { // Any rows at all, of members of which some are gone.
      std::vector<node_id> row;
      for (uint32_t i = 0; i < 7; ++i)
        row.push_back(node_id{i});
      std::shuffle(row.begin(), row.end(), random);
      row.resize(below(x.n + 2));
      x.old.push_back(row);
    }
    auto least = holds_fair_shares(x) ? least_moves(x) : std::nullopt;
    if (!least)
      continue;
    ++compared;
    auto table = claim(x.old, x.all, x.partitions, x.n);
    expect_valid(table, x.all, x.partitions, x.n);
    expect_balanced(table, x.all, x.n);
    expect_spread(table, x.all, x.n, &member::host);
    expect_spread(table, x.all, x.n, &member::zone);
    ASSERT_EQ(moved(x.old, table), *least);
  }
  EXPECT_GT(compared, 500);
}

// Whole lives of clusters.

namespace {

/// One change of the members, with all that is promised of it.
void step(ring_table& table, const std::vector<member>& all, uint32_t n) {
  SCOPED_TRACE(std::to_string(all.size()) + " members");
  auto partitions = static_cast<uint32_t>(table.size());
  auto next = claim(table, all, partitions, n);
  expect_valid(next, all, partitions, n);
  expect_balanced(next, all, n);
  auto bound = must_move(table, all, n);
  EXPECT_LE(static_cast<double>(moved(table, next)), static_cast<double>(bound) * 1.05) << "at least " << bound;
  for (uint32_t first = 1; first < n; ++first) {
    expect_balanced(next, all, first, 1);
    // The order serves buckets with fewer owners; they too move what they must, or little more.
    auto before = first_owners(table, first);
    EXPECT_LE(moved(before, first_owners(next, first)), must_move(before, all, first) * 2 + partitions / 16)
        << "first " << first;
  }
  table = std::move(next);
}

} // namespace

TEST(Claim, MovesLittleMoreThanItMustWhileAClusterGrowsAndShrinks) {
  for (uint32_t n = 1; n <= 5; ++n) {
    SCOPED_TRACE("N=" + std::to_string(n));
    auto table = claim({}, members(n), 256, n);
    for (uint32_t count = n + 1; count <= 20; ++count)
      step(table, members(count), n);
    std::mt19937 random(n);
    auto all = members(20);
    while (all.size() > n) {
      all.erase(all.begin() + static_cast<std::ptrdiff_t>(random() % all.size()));
      step(table, all, n);
    }
    if (HasFailure())
      return;
  }
}

TEST(Claim, MovesLittleMoreThanItMustWhenManyMembersComeAndGo) {
  std::mt19937 random(7);
  for (uint32_t n = 1; n <= 5; ++n)
    for (int i = 0; i < 20 && !::testing::Test::HasFailure(); ++i) {
      auto all = members(n + random() % (101 - n));
      SCOPED_TRACE("N=" + std::to_string(n) + ", from " + std::to_string(all.size()));
      auto table = claim({}, all, 512, n);
      std::shuffle(all.begin(), all.end(), random);
      all.resize(n + random() % (all.size() - n + 1));
      for (auto added = random() % (101 - all.size()); added > 0; --added)
        all.push_back({node_id{static_cast<uint32_t>(1000 + added)}, "new" + std::to_string(added),
                       "newhost" + std::to_string(added), "", 1});
      auto next = claim(table, all, 512, n);
      expect_valid(next, all, 512, n);
      expect_balanced(next, all, n);
      auto bound = must_move(table, all, n);
      EXPECT_LE(static_cast<double>(moved(table, next)), static_cast<double>(bound) * 1.05) << "at least " << bound;
    }
}

TEST(Claim, MovesOnlyTheLostMembersPartitionsToItsReplacement) {
  auto all = in_zones(members(9), 3);
  auto table = claim({}, all, 256, 3);
  for (uint32_t i = 0; i < 9; ++i) {
    auto lost = all[i].id;
    all[i].id = node_id{100 + i};
    all[i].name = "new" + std::to_string(i);
    all[i].host = "newhost" + std::to_string(i);
    auto had = owned(table, 3)[lost];
    auto next = claim(table, all, 256, 3);
    EXPECT_EQ(moved(table, next), had);
    expect_spread(next, all, 3, &member::zone);
    table = next;
  }
}

TEST(Claim, FollowsWeights) {
  auto all = members(10);
  auto table = claim({}, all, 256, 3);
  for (uint32_t weight : {2U, 5U, 1U, 3U}) {
    all[4].weight = weight;
    step(table, all, 3);
  }
}

TEST(Claim, MovesNothingWhenABucketWantsFewerOwners) {
  auto all = members(10);
  auto table = claim({}, all, 256, 5);
  for (uint32_t n = 4; n >= 1; --n) {
    auto next = claim(table, all, 256, n);
    EXPECT_EQ(moved(table, next), 0U);
    expect_balanced(next, all, n);
  }
}

TEST(Claim, KeepsZonesDistinctWhileZonesComeAndGo) {
  std::mt19937 random(1);
  for (uint32_t n = 2; n <= 5; ++n) {
    auto all = members(12);
    auto table = claim({}, all, 128, n);
    uint32_t next_id = 12;
    for (int change = 0; change < 40; ++change) {
      SCOPED_TRACE("N=" + std::to_string(n) + ", change " + std::to_string(change));
      switch (random() % 4) {
      case 0: // A zone comes, with three members.
        for (uint32_t i = 0; i < 3; ++i) {
          auto id = next_id++;
          all.push_back(
              {node_id{id}, "n" + std::to_string(id), "host" + std::to_string(id), "zone" + std::to_string(change), 1});
        }
        break;
      case 1: { // A zone goes.
        auto zone = all[random() % all.size()].zone;
        if (sizes(all, &member::zone).size() > 1)
          all.erase(std::remove_if(all.begin(), all.end(), [&](const member& m) { return m.zone == zone; }), all.end());
        break;
      }
      case 2: // Someone's zone is corrected.
        all[random() % all.size()].zone = all[random() % all.size()].zone;
        break;
      case 3: // Someone goes.
        if (all.size() > n)
          all.erase(all.begin() + static_cast<std::ptrdiff_t>(random() % all.size()));
        break;
      }
      table = claim(table, all, 128, n);
      expect_valid(table, all, 128, n);
      for (uint32_t first = 1; first <= n; ++first) {
        expect_spread(table, all, first, &member::zone);
        expect_spread(table, all, std::min<uint32_t>(first, static_cast<uint32_t>(sizes(all, &member::host).size())),
                      &member::host);
      }
      if (HasFatalFailure())
        return;
    }
  }
}

TEST(Claim, IsBalancedHoweverItsMembersCameAndWent) {
  EXPECT_TRUE(rc::check([] {
    auto n = *rc::gen::inRange<uint32_t>(1, 6);
    ring_table table;
    for (int i = 0; i < 4; ++i) {
      auto all = members(*rc::gen::inRange<uint32_t>(1, 101));
      auto gone = *rc::gen::inRange<uint32_t>(0, static_cast<uint32_t>(all.size()));
      all.erase(all.begin(), all.begin() + gone);
      for (auto& m : all)
        m.weight = *rc::gen::inRange<uint32_t>(1, 4);
      table = claim(table, all, 64, n);
      expect_valid(table, all, 64, n);
      expect_balanced(table, all, n);
      RC_ASSERT(!testing::Test::HasFailure());
    }
  }));
}

TEST(Claim, GivesEveryNodeManyDifferentCoOwners) {
  // So that the reads of a dead node fall on all others.
  auto table = claim({}, members(12), 256, 3);
  std::map<node_id, uint32_t> with_first;
  for (const auto& row : table)
    if (std::find(row.begin(), row.end(), node_id{0}) != row.end())
      for (auto id : row)
        ++with_first[id];
  EXPECT_EQ(with_first.size(), 12U);
  with_first.erase(node_id{0});
  for (auto [id, together] : with_first)
    EXPECT_LE(together, 25U) << to_index(id); // 64 partitions * 2 others / 11 = 11.6
}

TEST(Claim, HandlesManyMembersAndPartitions) {
  auto all = in_zones(members(100), 7);
  auto table = claim({}, all, 1024, 5);
  expect_valid(table, all, 1024, 5);
  expect_spread(table, all, 5, &member::zone);
  auto three = members(3);
  table = claim(claim({}, members(2), 16384, 3), three, 16384, 3);
  expect_valid(table, three, 16384, 3);
  for (uint32_t first = 1; first <= 3; ++first)
    expect_balanced(table, three, first);
}

TEST(Claim, IgnoresATableOfAnotherNumberOfPartitions) {
  EXPECT_EQ(claim(claim({}, members(3), 8, 2), members(5), 16, 2), claim({}, members(5), 16, 2));
}
