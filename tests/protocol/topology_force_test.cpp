#include "protocol/topology_force.hpp"
#include "tests/protocol/topology_life.hpp"

#include <gtest/gtest.h>

#include <string>
#include <variant>

using namespace crema;
using namespace crema::protocol;

namespace {

constexpr uint64_t far = uint64_t{1} << 20;

/// Five nodes n0 to n4; n0 and n1 are left.
class Force : public testing::Test {
protected:
  Force() : life(first_ring(members(5), 3), 3) {
    given.plan = life.given;
    given.reachable = given.voting = {node_id{0}, node_id{1}};
    given.number = [](const ring& draft) { return draft.epoch + far; };
    lost = {"n2", "n3", "n4"};
  }
  topology_plan forced() { return allowed(plan_force(life.now, lost, given)); }
  std::string refusal() { return why_refused(plan_force(life.now, lost, given)); }
  static bool warns(const topology_plan& plan, const std::string& of) {
    return std::any_of(plan.warnings.begin(), plan.warnings.end(),
                       [&](const std::string& w) { return w.find(of) != std::string::npos; });
  }
  void expect_refused(const std::string& why) {
    auto told = refusal();
    EXPECT_NE(told.find(why), std::string::npos) << told;
    EXPECT_NE(told.find("(allowed: "), std::string::npos) << told;
  }

  topology_life life;
  force_given given;
  std::vector<std::string> lost;
};

TEST_F(Force, LeavesThoseOwnersThatAreLeftAndGivesEveryPartitionItsCopiesAgain) {
  auto plan = forced();
  const auto& r = plan.after;
  EXPECT_EQ(r.epoch, life.now.epoch + 1 + far);
  ASSERT_EQ(r.members.size(), 2U);
  ASSERT_EQ(r.removed.size(), 3U);
  EXPECT_EQ(r.removed[0].directory, 1002U) << "it must not come back with its data";
  ASSERT_TRUE(r.joint());
  for (size_t p = 0; p < r.owners.size(); ++p) {
    ASSERT_FALSE(r.owners[p].empty());
    EXPECT_EQ(r.next[p].size(), 2U);
    EXPECT_EQ(r.since[p], r.epoch) << "nobody knows what was decided elsewhere";
    auto was_owner = [&](node_id x) { return life.now.owns(x, static_cast<partition_id>(p), 3); };
    auto any_left = was_owner(node_id{0}) || was_owner(node_id{1});
    for (auto owner : r.owners[p])
      EXPECT_TRUE(!any_left || was_owner(owner));
  }
  EXPECT_EQ(r.job->id, r.epoch);
  EXPECT_EQ(r.job->changes.front(), "force: remove n2");
  EXPECT_EQ(*decode_ring(encode_ring(r)), r);
  EXPECT_TRUE(warns(plan, "every partition has 2 copies instead of 3"));
}

TEST_F(Force, TheChangeThatFollowsIsLikeAnyOther) {
  life.now = forced().after;
  auto done = allowed(complete_change(life.now));
  EXPECT_EQ(done.epoch, life.now.epoch + 1);
  auto settled = allowed(settle_change(done));
  EXPECT_EQ(settled.members.size(), 2U);
  EXPECT_EQ(settled.removed.size(), 3U);
  auto cancelled = allowed(cancel_change(life.now));
  EXPECT_EQ(cancelled.owners, life.now.owners);
  EXPECT_EQ(cancelled.members, life.now.members);
}

TEST_F(Force, SaysWhatIsLost) {
  size_t all = 0, two = 0;
  for (const auto& row : life.now.owners) {
    auto gone = std::count_if(row.begin(), row.end(), [](node_id x) { return to_index(x) >= 2; });
    all += gone == 3 ? 1 : 0;
    two += gone == 2 ? 1 : 0;
  }
  ASSERT_GT(all, 0U);
  ASSERT_GT(two, 0U);
  auto plan = forced();
  EXPECT_EQ(plan.lost, all);
  EXPECT_TRUE(warns(plan, std::to_string(all) + " partitions whose owners are all gone"));
  EXPECT_TRUE(
      warns(plan, "bucket default: of " + std::to_string(two) + " partitions 2 or more of the 3 owners are gone"));
  EXPECT_TRUE(warns(plan, "writes to sloppy buckets"));
  EXPECT_TRUE(warns(plan, "if they are alive after all"));
}

TEST_F(Force, IsTheSameWhereTheSameIsKnown) {
  std::vector<ring> drafts;
  given.number = [&](const ring& draft) {
    drafts.push_back(draft);
    return draft.epoch + far + drafts.size();
  };
  forced();
  forced();
  ASSERT_EQ(drafts.size(), 2U);
  EXPECT_EQ(drafts[0], drafts[1]) << "the number is not part of what it is made of";
}

TEST_F(Force, IsRefusedWhileAMajorityVotes) {
  given.voting.insert(node_id{2});
  given.reachable.insert(node_id{2});
  lost = {"n3", "n4"};
  expect_refused("a majority of the members can be reached, 3 of 5 (n0, n1, n2)");
  given.voting = {node_id{0}, node_id{1}}; // n2 forgot what it promised.
  EXPECT_EQ(forced().after.members.size(), 3U);
}

TEST_F(Force, IsRefusedIfNoMajorityWouldBeLeft) {
  lost = {"n4"};
  expect_refused("of the 4 members that would be left only 2 can be reached, no majority again: n2, n3 cannot");
}

TEST_F(Force, RefusesWhoIsThereOrWasNever) {
  lost = {};
  expect_refused("nobody is named");
  lost = {"n9"};
  expect_refused("force-epoch remove n9: there is no such node (allowed: one of n0, n1, n2, n3, n4)");
  lost = {"n1", "n2", "n3", "n4"};
  expect_refused("force-epoch remove n1: it can be reached");
  lost = {"n2", "n3", "n2"};
  expect_refused("named twice");
  lost = {"n3", "n4"};
  life.now.members[2].directory = 0;
  expect_refused("n2 would be left, but no data directory of it was ever met");
}

TEST_F(Force, EndsAChangeThatIsUnderWay) {
  life.plan({leave_node{"n1"}, join_node{node_named(5)}});
  given.reachable = given.voting = {node_id{0}, node_id{1}, node_id{5}};
  auto plan = forced();
  ASSERT_EQ(plan.after.members.size(), 3U);
  for (const auto& m : plan.after.members)
    EXPECT_EQ(m.state, member_state::full) << m.name;
  EXPECT_TRUE(plan.after.joint());
}

TEST_F(Force, LetsAChangeThatWasCompletedSettleFirst) {
  life.plan({leave_node{"n1"}});
  life.now = allowed(complete_change(life.now));
  auto plan = forced();
  EXPECT_FALSE(plan.after.joint());
  EXPECT_FALSE(plan.after.former.empty());
  for (size_t p = 0; p < plan.after.owners.size(); ++p)
    EXPECT_TRUE(!plan.after.owners[p].empty() && !plan.after.former[p].empty());
  auto settled = allowed(settle_change(plan.after));
  EXPECT_EQ(settled.members.size(), 1U);
  life.now = settled;
  EXPECT_TRUE(warns(plan, "`crema ctl plan rebalance`"));
}

} // namespace
