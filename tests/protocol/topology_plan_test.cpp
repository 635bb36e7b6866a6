#include "protocol/claim_spread.hpp"
#include "protocol/topology_plan.hpp"
#include "tests/protocol/topology_life.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>

using namespace crema;
using namespace crema::protocol;

namespace {

std::string name(uint32_t number) { return "n" + std::to_string(number); }

/// Of a ring at rest: what claim promises.
void expect_laws(const ring& r, uint32_t n) {
  expect_valid(r.owners, r.members, r.partitions(), n);
  expect_balanced(r.owners, r.members, n);
  expect_spread(r.owners, r.members, n, &member::host);
}

/// Shares are bounded by zones: balance to within one of what they leave.
void expect_zone_laws(const ring& r, uint32_t n) {
  expect_valid(r.owners, r.members, r.partitions(), n);
  for (uint32_t first = 1; first <= n; ++first) {
    expect_spread(r.owners, r.members, first, &member::host);
    expect_spread(r.owners, r.members, first, &member::zone);
  }
  auto spread = spread_owners(r.members, r.partitions(), std::min(n, static_cast<uint32_t>(r.members.size())));
  auto count = owned(r.owners, n);
  for (size_t i = 0; i < r.members.size(); ++i) {
    ASSERT_GE(count[r.members[i].id], spread.quota[i].low) << r.members[i].name;
    ASSERT_LE(count[r.members[i].id], spread.quota[i].high) << r.members[i].name;
  }
}

void record(const topology_life& life) {
  testing::Test::RecordProperty("plans", static_cast<int>(life.plans));
  testing::Test::RecordProperty("moved", static_cast<int>(life.moved));
  testing::Test::RecordProperty("least", static_cast<int>(life.least));
  testing::Test::RecordProperty("inexact", static_cast<int>(life.inexact));
}

} // namespace

TEST(TopologyPlan, GrowsFromOneNodeToTwentyAndShrinksToThree) {
  for (uint32_t n : {1U, 2U, 3U, 5U}) {
    SCOPED_TRACE("N=" + std::to_string(n));
    topology_life life(first_ring(members(1), n, 256), n);
    for (uint32_t i = 1; i < 20; ++i) {
      SCOPED_TRACE(name(i));
      life.change({join_node{node_named(i)}});
      expect_laws(life.now, n);
      ASSERT_EQ(life.now.members.size(), i + 1);
      ASSERT_EQ(life.now.owners.front().size(), std::min(n, i + 1));
      if (HasFailure())
        return;
    }
    std::mt19937 random(n);
    while (life.now.members.size() > std::max(n, 3U)) {
      auto who = life.now.members[random() % life.now.members.size()].name;
      SCOPED_TRACE(who);
      if (random() % 3 == 0)
        life.change({remove_node{who}});
      else
        life.change({leave_node{who}});
      expect_laws(life.now, n);
      if (HasFailure())
        return;
    }
    if (n == 3)
      record(life);
  }
}

TEST(TopologyPlan, GivesAReplacementExactlyThePlacesOfTheOneBefore) {
  topology_life life(first_ring(in_zones(members(9), 3), 3, 256), 3);
  for (uint32_t i = 0; i < 9; ++i) {
    SCOPED_TRACE(name(i));
    auto before = life.now;
    auto old = before.find(name(i))->id;
    auto plan = life.change({replace_node{name(i), node_named(100 + i, before.find(old)->zone), i % 2 == 0}});
    auto by = life.now.find(name(100 + i))->id;
    ASSERT_EQ(plan.moved, owned(before.owners, 3)[old]);
    for (uint32_t p = 0; p < before.partitions(); ++p)
      std::replace(before.owners[p].begin(), before.owners[p].end(), old, by);
    ASSERT_EQ(life.now.owners, before.owners);
    ASSERT_EQ(life.now.find(old), nullptr);
    for (const auto& t : plan.transfers)
      ASSERT_TRUE(i % 2 != 0 || t.from != old) << "It is gone.";
    expect_zone_laws(life.now, 3);
  }
  record(life);
  EXPECT_EQ(life.moved, life.least);
}

TEST(TopologyPlan, GivesTwoReplacementsAndANewNodeNoMoreThanTheyNeed) {
  topology_life life(first_ring(members(8), 3, 256), 3);
  life.change({replace_node{"n1", node_named(20), true}, replace_node{"n2", node_named(21)}});
  expect_laws(life.now, 3);
  life.change({replace_node{"n3", node_named(22)}, join_node{node_named(23)}, set_weight{"n4", 2}});
  expect_laws(life.now, 3);
  auto weight_of_old = life.now.find("n4")->weight;
  life.change({replace_node{"n4", node_named(24)}});
  EXPECT_EQ(life.now.find("n24")->weight, weight_of_old);
  expect_laws(life.now, 3);
}

TEST(TopologyPlan, KeepsOwnersInDistinctZonesWhileZonesComeAndGo) {
  for (uint32_t n = 2; n <= 4; ++n) {
    SCOPED_TRACE("N=" + std::to_string(n));
    topology_life life(first_ring(members(4), n, 128), n);
    uint32_t number = 10;
    auto zone_comes = [&](const std::string& zone, uint32_t nodes) {
      SCOPED_TRACE(zone + " comes");
      std::vector<topology_change> changes;
      for (uint32_t i = 0; i < nodes; ++i)
        changes.emplace_back(join_node{node_named(number++, zone)});
      life.change(changes);
      expect_zone_laws(life.now, n);
    };
    auto zone_goes = [&](const std::string& zone) {
      SCOPED_TRACE(zone + " goes");
      std::vector<topology_change> changes;
      for (const auto& m : life.now.members)
        if (m.zone == zone)
          changes.emplace_back(leave_node{m.name});
      life.change(changes);
      expect_zone_laws(life.now, n);
    };
    for (uint32_t i = 0; i < 4; ++i) { // Zones begin to be named.
      life.change({set_zone{name(i), i < 2 ? "a" : "b"}});
      expect_zone_laws(life.now, n);
    }
    zone_comes("c", 2);
    zone_comes("d", 2);
    zone_goes("a");
    zone_comes("e", 4);
    zone_goes("c");
    zone_goes("e");
    zone_comes("f", 3);
    zone_goes("b");
    zone_comes("g", 2);
    if (HasFailure())
      return;
    if (n == 3)
      record(life);
  }
}

TEST(TopologyPlan, FollowsWeights) {
  topology_life life(first_ring(members(10), 3, 256), 3);
  for (auto [who, weight] : {std::pair(4U, 2U), {4U, 5U}, {7U, 3U}, {4U, 1U}, {0U, 1000U}, {0U, 1U}}) {
    life.change({set_weight{name(who), weight}});
    expect_laws(life.now, 3);
  }
  record(life);
}

TEST(TopologyPlan, MakesRowsLongerAndShorter) {
  topology_life life(first_ring(members(7), 2, 64), 2);
  for (uint32_t n : {3U, 5U, 4U, 1U, 7U, 3U}) {
    auto before = life.now.owners;
    auto plan = life.change({copies_of(n)});
    expect_laws(life.now, n);
    EXPECT_TRUE(n > before.front().size() || plan.moved == 0);
  }
}

TEST(TopologyPlan, IsAllOfAPlanInOneEpoch) {
  topology_life life(first_ring(members(6), 3, 256), 3);
  auto plan = life.plan({join_node{node_named(6)}, leave_node{"n1"}, remove_node{"n2"}, set_weight{"n3", 2},
                         join_node{node_named(7)}, set_zone{"n3", ""}});
  EXPECT_EQ(life.now.epoch, 2U);
  EXPECT_EQ(life.now.job->id, 2U);
  EXPECT_EQ(life.now.job->changes,
            (std::vector<std::string>{"join n6", "leave n1", "remove n2", "set the weight of n3 to 2", "join n7",
                                      "set the zone of n3 to \"\""}));
  EXPECT_EQ(life.now.find("n6")->state, member_state::joining);
  EXPECT_EQ(life.now.find("n1")->state, member_state::leaving);
  EXPECT_EQ(life.now.find("n2")->state, member_state::gone);
  for (const auto& t : plan.transfers)
    EXPECT_NE(t.from, node_id{2});
  life.finish();
  expect_laws(life.now, 3);
  EXPECT_EQ(life.now.epoch, 4U);
}

TEST(TopologyPlan, SettlesAtOnceWhatMovesNothing) {
  topology_life life(first_ring(members(3), 3), 3);
  life.plan({set_zone{"n0", "a"}, set_zone{"n1", "b"}, set_zone{"n2", "c"}});
  EXPECT_FALSE(life.now.joint());
  EXPECT_FALSE(life.now.job);
  EXPECT_EQ(life.now.find("n1")->zone, "b");
  EXPECT_EQ(life.now.since, std::vector<uint64_t>(64, 1));
}

TEST(TopologyPlan, TakesTheSourcesOfCopiesEvenly) {
  auto first = first_ring(members(9), 3, 256);
  topology_life life(first, 3);
  auto given = planning{1, std::vector<uint64_t>(256, 10), {}};
  auto plan = allowed(plan_topology(life.now, {join_node{node_named(9)}, remove_node{"n0"}}, given));
  std::map<node_id, uint32_t> from;
  uint64_t bytes = 0;
  for (const auto& t : plan.transfers) {
    from[t.from] += t.partitions;
    bytes += t.bytes;
  }
  EXPECT_EQ(from.size(), 8U);
  for (auto [id, count] : from)
    EXPECT_NEAR(count, static_cast<double>(plan.moved) / 8, 3) << to_index(id);
  EXPECT_EQ(bytes, plan.moved * 10);
}

TEST(TopologyPlan, KeepsWhatWasMovedWhenItIsChangedUnderWay) {
  for (uint32_t seed = 0; seed < 40; ++seed) {
    SCOPED_TRACE("seed=" + std::to_string(seed));
    std::mt19937 random(seed);
    auto below = [&](uint32_t limit) { return static_cast<uint32_t>(random() % limit); };
    auto n = 1 + below(4);
    auto count = n + 2 + below(6);
    topology_life life(first_ring(members(count), n, 128), n);
    life.plan({join_node{node_named(50)}, leave_node{name(below(count))}});
    auto wanted = life.now.next;
    auto job = life.now.job->id;
    auto members_before = life.now.job->members_before;
    topology_change other;
    switch (below(4)) {
    case 0:
      other = join_node{node_named(51)};
      break;
    case 1:
      other = remove_node{"n50"};
      break;
    case 2:
      other = set_weight{"n50", 2};
      break;
    default:
      other = join_node{node_named(51)};
      life.pause(true);
      break;
    }
    auto had = life.now;
    auto plan = life.plan({other});
    EXPECT_LE(plan.added, least_moves(wanted, topology_life::staying(life.now.members), n));
    EXPECT_EQ(life.now.owners, had.owners);
    ASSERT_TRUE(life.now.job);
    EXPECT_EQ(life.now.job->id, job);
    EXPECT_EQ(life.now.job->paused, had.job->paused);
    EXPECT_EQ(life.now.job->changes.size(), 3U);
    EXPECT_EQ(life.now.job->members_before, members_before);
    if (life.now.job->paused)
      life.pause(false);
    life.finish();
    expect_laws(life.now, n);
    if (HasFailure())
      return;
  }
}

TEST(TopologyPlan, GoesBackToWhatWasWhenItIsCancelled) {
  topology_life life(first_ring(in_zones(members(6), 3), 3), 3);
  life.change({set_weight{"n1", 3}});
  auto before = life.now;
  life.plan({join_node{node_named(6, "zone1")}, leave_node{"n0"}, remove_node{"n2"}, set_weight{"n1", 7},
             set_zone{"n3", "elsewhere"}});
  life.plan({join_node{node_named(7)}, set_weight{"n1", 9}, copies_of(4)});
  life.cancel();
  EXPECT_EQ(life.now.next_id, 8U);
  EXPECT_TRUE(life.now.removed.empty());
  before.epoch = life.now.epoch;
  before.next_id = life.now.next_id;
  before.since = life.now.since;
  EXPECT_TRUE(life.now == before);
  life.change({join_node{node_named(6, "zone1")}});
  EXPECT_EQ(life.now.find("n6")->id, node_id{8}) << "With its directory, under a new id.";
}

// An owner dies while what a leaving one hands over cannot be taken by all: nothing else could ever end that.
TEST(TopologyPlan, ReplacesADeadOwnerBeforeTheChangeThatItHoldsUpIsSettled) {
  topology_life life(first_ring(members(5), 3), 3);
  life.plan({leave_node{"n4"}});
  life.complete();
  auto former = life.now.former;
  for (const auto* one : {"n0", "n1"})
    life.knows(one);
  auto replace = std::vector<topology_change>{replace_node{"n3", node_named(9), true}};
  EXPECT_NE(why_refused(plan_topology(life.now, replace, life.given)).find("it waits to be heard by"),
            std::string::npos);
  life.knows("n2");
  auto dies_too = std::vector<topology_change>{remove_node{"n4"}};
  auto marked = allowed(plan_topology(life.now, dies_too, life.given)).after;
  EXPECT_EQ(marked.former, former) << "who leaves is given up on at any time, and that is all";
  life.plan(replace);
  EXPECT_TRUE(life.now.former.empty());
  EXPECT_EQ(life.now.find("n4")->state, member_state::leaving) << "it goes on handing over";
  EXPECT_EQ(life.now.find("n3")->state, member_state::gone);
  life.complete();
  life.settle();
  EXPECT_EQ(life.now.find("n4"), nullptr);
  EXPECT_EQ(life.now.members.size(), 4U);
}

TEST(TopologyPlan, CountsWhoIsGoneAsOneThatKnows) {
  topology_life life(first_ring(members(4), 3), 3);
  life.now.buckets[0].r = 1; // All owners must know before nobody reads from them.
  life.plan({set_weight{"n1", 2}});
  ASSERT_TRUE(life.now.joint());
  life.complete();
  for (const auto* one : {"n0", "n1", "n2"})
    life.knows(one);
  EXPECT_NE(why_refused(plan_topology(life.now, {set_weight{"n1", 3}}, life.given)).find("to be heard by n3"),
            std::string::npos);
  life.plan({remove_node{"n3"}});
  life.finish();
  EXPECT_EQ(life.now.members.size(), 3U);
}

TEST(TopologyPlan, SettlesWhenNobodyReadsFromFormerOwnersAndWhoLeavesIsEmpty) {
  topology_life life(first_ring(members(4), 3), 3);
  life.plan({leave_node{"n3"}});
  life.complete();
  auto settles = [&] { return next_step(life.now, life.given.state).has_value(); };
  EXPECT_FALSE(settles());
  for (const auto* one : {"n0", "n1", "n2"})
    life.knows(one);
  EXPECT_FALSE(settles()) << "n3 has not told that it has handed over";
  life.knows("n3");
  auto& n3 = life.given.state.progress[life.now.find("n3")->id];
  n3.former = 1;
  EXPECT_FALSE(settles());
  n3.former = 0;
  EXPECT_TRUE(settles());
}

TEST(TopologyPlan, LeavesWhoWasLeavingBeforeToLeaveWhenItIsCancelled) {
  topology_life life(first_ring(members(5), 3), 3);
  life.plan({leave_node{"n4"}});
  life.complete();
  life.all_know();
  life.plan({join_node{node_named(9)}});
  life.cancel();
  EXPECT_EQ(life.now.find("n4")->state, member_state::leaving);
  EXPECT_FALSE(life.now.job);
  auto state = life.given.state;
  state.progress[life.now.find("n4")->id] = {life.now.epoch, 0, 0, 1};
  EXPECT_FALSE(next_step(life.now, state));
  EXPECT_EQ(waits_for(life.now, state), "what the new owners lack, from n4");
  state.progress[life.now.find("n4")->id].former = 0;
  EXPECT_TRUE(next_step(life.now, state));
  life.settle();
  EXPECT_EQ(life.now.members.size(), 4U);
}

TEST(TopologyPlan, HoldsWhateverIsAskedFor) {
  size_t plans = 0, refusals = 0, moved = 0, least = 0, inexact = 0;
  for (uint32_t seed = 0; seed < 100; ++seed) {
    SCOPED_TRACE("seed=" + std::to_string(seed));
    std::mt19937 random(seed);
    auto below = [&](uint32_t limit) { return static_cast<uint32_t>(random() % limit); };
    auto n = 1 + below(4);
    topology_life life(first_ring(members(1 + below(8)), n, 128), n);
    uint32_t number = 100;
    for (int step = 0; step < 15; ++step) {
      std::vector<topology_change> changes;
      auto somebody = [&] { return life.now.members[below(static_cast<uint32_t>(life.now.members.size()))].name; };
      for (auto i = 1 + below(3); i > 0; --i) {
        switch (below(6)) {
        case 0:
        case 1:
          changes.emplace_back(join_node{node_named(number++)});
          break;
        case 2:
          changes.emplace_back(leave_node{somebody()});
          break;
        case 3:
          changes.emplace_back(remove_node{somebody()});
          break;
        case 4:
          changes.emplace_back(replace_node{somebody(), node_named(number++), below(2) == 0});
          break;
        default:
          changes.emplace_back(set_weight{somebody(), 1 + below(3)});
          break;
        }
      }
      if (std::holds_alternative<refused>(plan_topology(life.now, changes, life.given))) {
        ++refusals;
        continue;
      }
      life.plan(changes);
      auto kind = below(4);
      if (kind == 0 && life.now.joint())
        life.cancel();
      else if (kind == 1 && life.now.joint()) {
        life.complete(); // The next plan comes before it is settled.
        life.all_know();
      } else if (kind != 2)
        life.finish();
      auto rest = life.now;
      rest.members = topology_life::staying(rest.members);
      if (!life.now.joint())
        expect_laws(rest, n);
      if (HasFailure())
        return;
    }
    plans += life.plans;
    moved += life.moved;
    least += life.least;
    inexact += life.inexact;
  }
  EXPECT_GT(plans, 500U);
  EXPECT_GT(refusals, 50U);
  RecordProperty("plans", static_cast<int>(plans));
  RecordProperty("moved", static_cast<int>(moved));
  RecordProperty("least", static_cast<int>(least));
  RecordProperty("inexact", static_cast<int>(inexact));
}
