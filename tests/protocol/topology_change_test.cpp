#include "protocol/topology_plan.hpp"
#include "tests/protocol/topology_life.hpp"

#include <gtest/gtest.h>

#include <string>

using namespace crema;
using namespace crema::protocol;

namespace {

/// Three copies on the nodes n0, n1, ...
topology_life cluster(uint32_t count) { return {first_ring(members(count), 3), 3}; }

topology_life grouped(uint32_t groups) {
  auto life = cluster(groups * 3);
  set_groups all;
  for (uint32_t g = 0; g < groups; ++g) {
    auto node = [&](uint32_t i) { return "n" + std::to_string(g * 3 + i); };
    all.groups.push_back({"g" + std::to_string(g), {node(0), node(1), node(2)}});
  }
  life.change({all});
  return life;
}

void expect_refused(const topology_life& life, const std::vector<topology_change>& changes, const std::string& why) {
  auto given = why_refused(plan_topology(life.now, changes, life.given));
  EXPECT_NE(given.find(why), std::string::npos) << given;
  EXPECT_NE(given.find("(allowed: "), std::string::npos) << given;
}

bool warns(const topology_plan& plan, const std::string& of) {
  return std::any_of(plan.warnings.begin(), plan.warnings.end(),
                     [&](const std::string& w) { return w.find(of) != std::string::npos; });
}

} // namespace

TEST(TopologyPlanRefuses, NodesThatAreNotThere) {
  auto life = cluster(4);
  expect_refused(life, {leave_node{"n9"}}, "leave n9: there is no such node (allowed: one of n0, n1, n2, n3)");
  expect_refused(life, {remove_node{"n9"}}, "remove n9: there is no such node");
  expect_refused(life, {replace_node{"n9", node_named(5)}}, "replace n9: there is no such node");
  expect_refused(life, {set_weight{"n9", 2}}, "set the weight of n9: there is no such node");
  expect_refused(life, {set_zone{"n9", "a"}}, "there is no such node");
}

TEST(TopologyPlanRefuses, NodesThatCannotJoin) {
  auto life = cluster(4);
  expect_refused(life, {join_node{node_named(3)}}, "there is a node of that name (allowed: another name)");
  expect_refused(life, {join_node{node_named(5)}, join_node{node_named(5)}}, "two changes of n5");
  auto other = node_named(5);
  other.directory = 1003;
  expect_refused(life, {join_node{other}}, "its data directory is that of n3 (allowed: an empty data_dir)");
  life.change({remove_node{"n3"}});
  expect_refused(life, {join_node{other}}, "n3 was removed from this cluster; its data directory must not be used");
  auto again = node_named(3);
  expect_refused(life, {join_node{again}}, "n3 was removed from this cluster; its data directory must not be used");
  again.directory = 0;
  expect_refused(life, {join_node{again}}, "it is not known whether this is its data directory");
  again.directory = 77;
  life.change({join_node{again}});
  EXPECT_EQ(life.now.find("n3")->id, node_id{4});
  auto on_a_port = node_named(6);
  on_a_port.peer_port = 7101;
  life.change({join_node{on_a_port}});
  on_a_port.name = "n7";
  on_a_port.directory = 78;
  expect_refused(life, {join_node{on_a_port}}, "host6:7101 is an address of n6");
  life.change({replace_node{"n6", on_a_port, true}});
}

TEST(TopologyPlanRefuses, WhatLeavesTooFewNodes) {
  expect_refused({first_ring(members(1), 1), 1}, {leave_node{"n0"}}, "no node would be left");
  expect_refused(cluster(3), {leave_node{"n0"}}, "only 2 nodes would be left for 3 owners of every partition");
  expect_refused(cluster(3), {copies_of(4)}, "n = 4 copies need as many nodes, and there are 3 (allowed: 1 to 3)");
  expect_refused(cluster(3), {copies_of(0)}, "n = 0 is out of range");
  auto life = cluster(3);
  life.change({leave_node{"n0"}, join_node{node_named(3)}});
  life.change({leave_node{"n1"}, copies_of(2)});
}

TEST(TopologyPlanRefuses, ChangesThatContradictEachOther) {
  auto life = cluster(6);
  expect_refused(life, {leave_node{"n1"}, leave_node{"n1"}}, "leave n1: it already does");
  expect_refused(life, {leave_node{"n1"}, remove_node{"n1"}}, "two changes of n1");
  expect_refused(life, {set_weight{"n1", 2}, set_weight{"n1", 3}}, "two changes of n1");
  expect_refused(life, {leave_node{"n1"}, set_weight{"n1", 3}}, "it is leaving");
  expect_refused(life, {replace_node{"n1", node_named(7)}, leave_node{"n1"}}, "it already does");
  expect_refused(life, {copies_of(2), copies_of(1)}, "two changes of bucket default");
  expect_refused(life, {set_weight{"n1", 0}}, "weight 0 is out of range (allowed: 1 to 1000)");
  expect_refused(life, {set_weight{"n1", 1001}}, "weight 1001 is out of range");
  expect_refused(life, {set_weight{"n1", 1}}, "this would change nothing");
  expect_refused(life, {rebalance{}}, "this would change nothing");
  expect_refused(life, {}, "nothing is to be changed");
}

TEST(TopologyPlanRefuses, WhatDoesNotFitAChangeUnderWay) {
  auto life = cluster(5);
  life.plan({join_node{node_named(5)}, leave_node{"n1"}});
  expect_refused(life, {leave_node{"n5"}}, "it is only joining (allowed: remove it, or cancel the change)");
  expect_refused(life, {replace_node{"n5", node_named(6)}}, "it is only joining");
  expect_refused(life, {replace_node{"n1", node_named(6)}}, "it already leaves");
  expect_refused(life, {join_node{node_named(1)}}, "there is a node of that name, which is leaving");
  life.plan({remove_node{"n1"}}); // It died on its way out.
  EXPECT_EQ(life.now.find("n1")->state, member_state::gone);
  expect_refused(life, {remove_node{"n1"}}, "it already is being removed");
  life.complete();
  expect_refused(life, {leave_node{"n2"}}, "the change of epoch 2 is not settled yet");
  life.settle();
  life.change({leave_node{"n2"}});
}

TEST(TopologyPlanRefuses, StepsAtTheWrongTime) {
  auto life = cluster(4);
  EXPECT_EQ(why_refused(complete_change(life.now)),
            "complete: no change is under way (allowed: after a plan was committed)");
  EXPECT_EQ(why_refused(settle_change(life.now)),
            "settle: no change is under way (allowed: after it has been completed)");
  EXPECT_EQ(why_refused(cancel_change(life.now)),
            "cancel: no change is under way (allowed: after a plan was committed)");
  EXPECT_EQ(why_refused(pause_change(life.now, true)),
            "pause: no change is under way (allowed: after a plan was committed)");
  life.plan({leave_node{"n1"}});
  EXPECT_EQ(why_refused(settle_change(life.now)),
            "settle: the change of epoch 2 is still under way (allowed: after it has been completed)");
  EXPECT_EQ(why_refused(pause_change(life.now, false)), "resume: the change of epoch 2 is not paused (allowed: pause)");
  life.pause(true);
  EXPECT_EQ(why_refused(pause_change(life.now, true)),
            "pause: the change of epoch 2 already is paused (allowed: resume)");
  EXPECT_EQ(why_refused(complete_change(life.now)),
            "complete: the change of epoch 2 is paused (allowed: after it is resumed)");
  life.pause(false);
  life.complete();
  EXPECT_EQ(why_refused(cancel_change(life.now)),
            "cancel: the change of epoch 2 has been completed (allowed: while it is under way)");
}

TEST(TopologyPlanRefuses, GroupsThatDoNotWork) {
  auto life = cluster(6);
  expect_refused(life, {set_group{"n1", "left"}}, "this cluster has no groups");
  expect_refused(life, {set_groups{{{"left", {"n0", "n1", "n2"}}}}}, "n3 is in no group");
  expect_refused(life, {set_groups{{{"left", {"n0", "n1", "n2"}}, {"right", {"n3", "n4", "n2", "n5"}}}}},
                 "n2 is in the groups \"left\" and \"right\"");
  expect_refused(life, {set_groups{{{"left", {"n0", "n1", "n2", "n3"}}, {"right", {"n4", "n5"}}}}},
                 "group \"right\" would have 2 nodes for 3 owners of every partition");
  auto of_groups = grouped(2);
  expect_refused(of_groups, {join_node{node_named(9)}}, "names no group (allowed: one of g0, g1, or a new one)");
  expect_refused(of_groups, {join_node{node_named(9, "", "g2")}}, "group \"g2\" would have 1 nodes");
  expect_refused(of_groups, {leave_node{"n1"}}, "group \"g0\" would have 2 nodes");
  expect_refused(of_groups, {set_group{"n1", "g1"}}, "group \"g0\" would have 2 nodes");
  expect_refused(life, {join_node{node_named(9, "", "g2")}}, "n0 is in no group");
}

TEST(TopologyPlanWarns, OfSharedHostsAndZones) {
  auto all = in_zones(members(6), 3);
  for (auto& m : all)
    m.host = "host" + std::to_string(to_index(m.id) / 2);
  topology_life life(first_ring(all, 3), 3);
  auto plan = allowed(plan_topology(life.now, {leave_node{"n0"}, leave_node{"n3"}}, life.given));
  EXPECT_TRUE(warns(plan, "fewer zones than before: 2 instead of 3"));
  EXPECT_TRUE(warns(plan, "copies share zones: 3 owners of every partition, but 2 zones"));
  EXPECT_FALSE(warns(plan, "copies share hosts"));
  plan = allowed(plan_topology(life.now, {leave_node{"n0"}, leave_node{"n1"}}, life.given));
  EXPECT_TRUE(warns(plan, "copies share hosts: 3 owners of every partition, but 2 hosts"));
}

TEST(TopologyPlanWarns, OfAReplacementElsewhere) {
  auto life = topology_life(first_ring(in_zones(members(6), 3), 3), 3);
  auto plan = life.change({replace_node{"n0", node_named(6, "zone1")}});
  EXPECT_TRUE(warns(plan, "32 partitions with copies in one zone, though there are 3 zones"));
  plan = life.change({rebalance{}});
  EXPECT_TRUE(plan.warnings.empty()) << plan.warnings.front();
}

TEST(TopologyPlanWarns, OfLostPartitionsAndMissingCopies) {
  auto life = topology_life(first_ring(members(4), 1), 1);
  auto plan = life.plan({remove_node{"n1"}});
  EXPECT_EQ(plan.lost, 16U);
  EXPECT_TRUE(warns(plan, "16 partitions whose owners are all gone"));
  auto small = cluster(1);
  EXPECT_TRUE(warns(small.change({join_node{node_named(1)}}), "every partition has 2 copies instead of 3"));
  EXPECT_TRUE(small.change({join_node{node_named(2)}}).warnings.empty());
}

TEST(TopologyPlanGroups, DealWholeGroupsAndMoveOnlyTheirShare) {
  auto life = grouped(2);
  EXPECT_EQ(life.now.groups.size(), 2U);
  auto plan = life.change(
      {join_node{node_named(6, "", "g2")}, join_node{node_named(7, "", "g2")}, join_node{node_named(8, "", "g2")}});
  EXPECT_EQ(plan.moved, 21U * 3); // 64 / 3 = 21.3
  EXPECT_EQ(plan.added_at_least, 63U);
  auto had = owned(life.now.owners, 3)[node_id{4}];
  plan = life.change({replace_node{"n4", node_named(9), true}});
  EXPECT_EQ(life.now.groups[1].nodes, (std::vector<node_id>{node_id{3}, node_id{5}, node_id{9}}));
  EXPECT_EQ(plan.moved, had);
  plan = life.change({join_node{node_named(10, "", "g0")}}); // A group of four: it gets more partitions, all on four.
  EXPECT_EQ(plan.moved, plan.added_at_least);
  for (const auto& row : life.now.owners)
    EXPECT_TRUE(row.size() == 3 || row.size() == 4);
  plan = life.change({set_group{"n10", "g1"}});
  EXPECT_EQ(life.now.groups[1].nodes.size(), 4U);
  life.change({leave_node{"n6"}, leave_node{"n7"}, leave_node{"n8"}}); // The whole group.
  EXPECT_EQ(life.now.groups.size(), 2U);
  life.change({set_groups{}});
  EXPECT_TRUE(life.now.groups.empty());
  expect_balanced(life.now.owners, life.now.members, 3);
}

TEST(TopologyPlanGroups, GoBackToWhatTheyWereWhenTheirChangeIsCancelled) {
  auto life = grouped(2);
  auto before = life.now;
  life.plan({join_node{node_named(6, "", "g0")}, set_group{"n1", "g1"}});
  life.plan({set_groups{}});
  life.cancel();
  EXPECT_EQ(life.now.groups, before.groups);
  EXPECT_EQ(life.now.members, before.members);
  auto ring_placed = cluster(6);
  ring_placed.plan({set_groups{{{"left", {"n0", "n1", "n2"}}, {"right", {"n3", "n4", "n5"}}}}});
  ring_placed.cancel();
  EXPECT_TRUE(ring_placed.now.groups.empty());
}
