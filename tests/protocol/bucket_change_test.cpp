#include "protocol/bucket_change.hpp"
#include "protocol/ring_encoding.hpp"
#include "protocol/topology_plan.hpp"
#include "protocol/topology_progress.hpp"
#include "tests/protocol/topology_life.hpp"

#include <gtest/gtest.h>

#include <string>
#include <tuple>

using namespace crema;
using namespace crema::protocol;

namespace {

/// Five nodes, and a bucket "default" with three copies.
class BucketChanges : public testing::Test {
protected:
  BucketChanges() : life(first_ring(members(5), 3), 3) {}

  const bucket& of(const std::string& name) {
    auto i =
        std::find_if(life.now.buckets.begin(), life.now.buckets.end(), [&](const auto& b) { return b.name == name; });
    EXPECT_NE(i, life.now.buckets.end());
    return *i;
  }
  topology_plan plan(const topology_change& change) { return allowed(plan_topology(life.now, {change}, life.given)); }
  void go_to(ring next) {
    EXPECT_EQ(*decode_ring(encode_ring(next)) == next, true) << "It survives being written down.";
    life.now = std::move(next);
  }
  std::string refusal(const topology_change& change) {
    auto why = why_refused(plan_topology(life.now, {change}, life.given));
    EXPECT_NE(why.find("(allowed: "), std::string::npos) << why;
    return why;
  }
  static bucket_settings numbers(std::optional<uint32_t> n, std::optional<uint32_t> r = {},
                                 std::optional<uint32_t> w = {}) {
    bucket_settings x;
    x.n = n;
    x.r = r;
    x.w = w;
    return x;
  }
  uint32_t width() const { return static_cast<uint32_t>(life.now.owners.front().size()); }

  topology_life life;
};

} // namespace

TEST_F(BucketChanges, CreatesOneAtOnceUnderAnIdOfItsOwn) {
  go_to(plan(create_bucket{"carts", {}, conflict_rule::siblings, {}}).after);
  const auto& carts = of("carts");
  EXPECT_EQ(std::tie(carts.db, carts.n, carts.r, carts.w, carts.created),
            std::make_tuple(uint16_t{1}, 3U, 2U, 2U, uint64_t{2}));
  EXPECT_EQ(carts.conflict, conflict_rule::siblings);
  EXPECT_EQ(carts.id, ring::first_of_run_time);
  EXPECT_EQ(life.now.since_of(0), 1U) << "Requests of other buckets are not disturbed.";
  EXPECT_FALSE(life.now.job);
  go_to(plan(drop_bucket{"carts"}).after);
  go_to(plan(create_bucket{"carts", {}, conflict_rule::lww, {}}).after);
  EXPECT_EQ(of("carts").db, 1);
  EXPECT_EQ(of("carts").id, ring::first_of_run_time + 1) << "What is still on its way to the old one finds nothing.";
}

TEST_F(BucketChanges, SaysWhyNot) {
  EXPECT_NE(refusal(create_bucket{"default", {}, conflict_rule::lww, {}}).find("there is a bucket of that name"),
            std::string::npos);
  EXPECT_NE(refusal(create_bucket{"x", 0, conflict_rule::lww, {}}).find("db 0 is that of another bucket"),
            std::string::npos);
  EXPECT_NE(refusal(create_bucket{"x", {}, conflict_rule::lww, numbers(6)})
                .find("n = 6 copies need as many nodes, and there are 5 (allowed: 1 to 5)"),
            std::string::npos);
  EXPECT_NE(refusal(set_bucket{"default", numbers({}, 4)}).find("r = 4 does not fit n = 3"), std::string::npos);
  EXPECT_NE(refusal(set_bucket{"carts", numbers(3)}).find("no such bucket (allowed: one of default)"),
            std::string::npos);
  EXPECT_NE(refusal(drop_bucket{"default"}).find("it is the only one"), std::string::npos);
  EXPECT_NE(refusal(set_bucket{"default", {}}).find("change nothing"), std::string::npos);
}

TEST_F(BucketChanges, SetsWhatMovesNothingWhateverIsUnderWay) {
  bucket_settings strict;
  strict.sloppy = false;
  for (auto step : {0, 1, 2}) {
    if (step == 1)
      life.plan({join_node{node_named(5)}});
    if (step == 2)
      life.complete();
    strict.sloppy = step == 1;
    auto since = life.now.since, next_since = since;
    auto job = life.now.job;
    go_to(plan(set_bucket{"default", strict}).after);
    EXPECT_EQ(of("default").sloppy, step == 1);
    EXPECT_EQ(life.now.since, since);
    EXPECT_TRUE(life.now.job == job);
  }
}

TEST_F(BucketChanges, WarnsOfWhatIsLostAndOfWhatReadsMayMiss) {
  go_to(plan(create_bucket{"carts", {}, conflict_rule::lww, {}}).after);
  EXPECT_EQ(plan(drop_bucket{"carts"}).warnings.front(),
            "bucket carts is dropped with all that is in it, at once and for good");
  auto warnings = plan(set_bucket{"default", numbers({}, 1, 1)}).warnings;
  EXPECT_EQ(warnings.back(), "bucket default: r + w is not above n: reads may miss what was acknowledged");
}

TEST_F(BucketChanges, AddsCopiesAsAJob) {
  auto grown = plan(set_bucket{"default", numbers(4)});
  EXPECT_EQ(grown.moved, 64U) << "one copy of each partition";
  go_to(grown.after);
  EXPECT_TRUE(life.now.joint());
  EXPECT_EQ(of("default").present(), (quorums{3, 2, 2})) << "Reads and the old quorum of writes stay until it is done.";
  EXPECT_EQ(of("default").other, (quorums{4, 3, 3})) << "They were majorities, and are again.";
  for (partition_id p = 0; p < 64; ++p) {
    EXPECT_EQ(life.now.owners_of(p, of("default").n).size(), 3U);
    EXPECT_EQ(life.now.also_written(p, of("default")).size(), 4U);
    EXPECT_EQ(life.now.since_of(p), 2U);
  }
  go_to(allowed(complete_change(life.now)));
  EXPECT_EQ(of("default").present(), (quorums{4, 3, 3}));
  EXPECT_EQ(of("default").other, (quorums{3, 2, 2})) << "Somebody may read by these still.";
  EXPECT_EQ(life.now.also_written(0, of("default")).size(), 3U);
  go_to(allowed(settle_change(life.now)));
  EXPECT_FALSE(of("default").other);
  EXPECT_EQ(width(), 4U);
}

TEST_F(BucketChanges, AddsCopiesWhereRowsAreLongEnoughAlready) {
  go_to(plan(create_bucket{"carts", {}, conflict_rule::lww, numbers(2, 1, 2)}).after);
  go_to(plan(set_bucket{"carts", numbers(3, 2, 2)}).after);
  EXPECT_TRUE(life.now.joint());
  EXPECT_EQ(life.now.next, life.now.owners);
  EXPECT_EQ(life.now.holders_of(0, of("carts")).size(), 3U);
  EXPECT_TRUE(life.now.also_written(0, of("default")).empty()) << "Others are not concerned.";
}

TEST_F(BucketChanges, BeginsWithTheCopiesForWhichThereArePlaces) {
  go_to(plan(create_bucket{"wide", {}, conflict_rule::lww, numbers(5)}).after);
  EXPECT_EQ(of("wide").present(), (quorums{3, 2, 2}));
  EXPECT_EQ(of("wide").other, (quorums{5, 3, 3}));
  EXPECT_EQ(life.now.next.front().size(), 5U);
  go_to(allowed(cancel_change(life.now)));
  EXPECT_EQ(of("wide").present(), (quorums{3, 2, 2}));
  EXPECT_FALSE(of("wide").other);
}

TEST_F(BucketChanges, CancelsANumber) {
  go_to(plan(set_bucket{"default", numbers(4)}).after);
  go_to(allowed(cancel_change(life.now)));
  EXPECT_EQ(of("default").present(), (quorums{3, 2, 2}));
  EXPECT_FALSE(of("default").other);
  EXPECT_EQ(width(), 3U);
}

TEST_F(BucketChanges, GoTogetherWithThoseOfMembers) {
  auto both =
      allowed(plan_topology(life.now, {join_node{node_named(5)}, set_bucket{"default", numbers(4)}}, life.given));
  go_to(both.after);
  EXPECT_EQ(life.now.next.front().size(), 4U);
  go_to(plan(set_bucket{"default", numbers(5)}).after);
  EXPECT_EQ(of("default").other, (quorums{5, 3, 3})) << "planned anew";
  EXPECT_EQ(of("default").present(), (quorums{3, 2, 2}));
  EXPECT_EQ(life.now.job->changes.size(), 3U);
}

TEST_F(BucketChanges, NumbersWaitUntilAChangeIsSettled) {
  life.plan({join_node{node_named(5)}});
  life.complete();
  EXPECT_NE(refusal(set_bucket{"default", numbers(4)}).find("not settled yet"), std::string::npos);
}

// tests/protocol/spec/topology.py, R3-kept and R3-kept-unless.
TEST(Bucket, OwnersThatStayMustMeetTheOthersWhenFewerMayLackAWrite) {
  auto must = [](quorums from, quorums to) {
    bucket b;
    b.set(from);
    b.other = to;
    return b.owners_must_meet();
  };
  EXPECT_TRUE(must({3, 2, 2}, {3, 1, 3}));
  EXPECT_TRUE(must({5, 3, 3}, {3, 2, 2}));
  EXPECT_TRUE(must({3, 2, 2}, {5, 2, 5}));
  EXPECT_FALSE(must({3, 2, 2}, {5, 3, 3}));
  EXPECT_FALSE(must({3, 1, 3}, {3, 2, 2}));
  EXPECT_FALSE(bucket{}.owners_must_meet());
}

TEST_F(BucketChanges, AreNotCompletedBeforeAllWhoMustHaveMet) {
  go_to(plan(set_bucket{"default", numbers({}, 1, 3)}).after);
  ASSERT_TRUE(life.now.joint());
  topology_state state;
  for (const auto& m : life.now.members)
    state.progress[m.id] = {life.now.epoch, 10, m.name == "n2" ? 9U : 10U, 0};
  EXPECT_FALSE(next_step(life.now, state));
  EXPECT_EQ(waits_for(life.now, state), "to be copied to n2");
  state.progress[life.now.find("n2")->id].got = 10;
  ASSERT_TRUE(next_step(life.now, state));
  go_to(next_step(life.now, state)->next);
  EXPECT_EQ(of("default").present(), (quorums{3, 1, 3}));
}
