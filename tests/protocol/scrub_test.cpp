#include "protocol/scrub.hpp"
#include "protocol/vnode.hpp"
#include "tests/protocol/memory_sink.hpp"

#include <gtest/gtest.h>

namespace crema::protocol {
namespace {

using kind = scrub_verdict::kind;
constexpr auto lww = conflict_rule::lww;
constexpr auto siblings = conflict_rule::siblings;
constexpr uint64_t now_ms = 1'700'000'000'000;

std::string reg(uint64_t counter, std::string_view value = "v", expiry_ms expires_at = 0) {
  return encode_lww({from_micros(counter), {1, counter}, expires_at, false, value});
}
std::string tombstone(uint64_t counter) { return encode_lww({from_micros(counter), {1, counter}, 0, true, {}}); }
std::string set(const std::vector<uint64_t>& counters, const dot_clock& seen = {}) {
  siblings_object x;
  for (auto c : counters)
    x.siblings.push_back({{1, c}, from_micros(c), 0, "v" + std::to_string(c)});
  x.seen = seen;
  return x.empty() ? std::string{} : encode_siblings(x);
}
dot_clock up_to(uint64_t counter) {
  dot_clock clock;
  if (counter > 0)
    clock.add(dot_range{1, 1, counter});
  return clock;
}

/// Owners who all knew dots 1 to 9 all the time, and held the same in both readings.
scrub_verdict judge(conflict_rule rule, const std::vector<std::string>& objects, size_t owners_count = 0) {
  std::vector<scrub_copy> copies;
  copies.reserve(objects.size());
  for (const auto& o : objects)
    copies.push_back({hash_content(rule, o, 0).held, o});
  return scrub_judge{rule, std::max(owners_count, objects.size()), {objects.size(), {up_to(9), up_to(9)}}, now_ms}
      .judge(copies);
}

void expect_repair(const scrub_verdict& v, const std::string& right, const std::vector<size_t>& wrong) {
  EXPECT_EQ(v.what, kind::differs);
  EXPECT_EQ(v.right, right);
  EXPECT_EQ(v.wrong, wrong);
}

TEST(ScrubHash, IsOfVisibleContent) {
  auto visible = [](conflict_rule rule, const std::string& object) {
    return hash_content(rule, object, now_ms).visible;
  };
  EXPECT_EQ(visible(lww, ""), 0U);
  EXPECT_EQ(visible(lww, tombstone(1)), 0U);
  EXPECT_EQ(visible(lww, reg(1, "v", now_ms)), 0U) << "it expires soon";
  EXPECT_NE(visible(lww, reg(1, "v", now_ms + 1)), 0U);
  EXPECT_NE(visible(lww, reg(1, "v")), visible(lww, reg(1, "w"))) << "values count, not only dots";
  EXPECT_NE(hash_content(lww, tombstone(1), now_ms).held, hash_content(lww, tombstone(2), now_ms).held);
  EXPECT_EQ(visible(siblings, set({}, up_to(3))), 0U);
  EXPECT_EQ(visible(siblings, set({1, 2})), visible(siblings, set({1, 2}, up_to(5))));
  EXPECT_NE(visible(siblings, set({1, 2})), visible(siblings, set({1})));
  EXPECT_NE(visible(lww, "rubbish"), 0U);
}

TEST(ScrubHash, OfARangeIgnoresKeysWithoutVisibleContent) {
  range_hash a, b, c;
  a.add("k1", 5);
  b.add("k0", 0);
  b.add("k1", 5);
  c.add("k2", 5);
  EXPECT_EQ(a.value(), b.value());
  EXPECT_NE(a.value(), c.value());
}

TEST(ScrubJudge, FindsNothingWhereVisibleContentIsTheSame) {
  EXPECT_EQ(judge(lww, {reg(1), reg(1), reg(1)}).what, kind::same);
  EXPECT_EQ(judge(lww, {tombstone(2), "", ""}).what, kind::same) << "remains go at different moments";
  EXPECT_EQ(judge(siblings, {set({1}, up_to(9)), set({1})}).what, kind::same);
}

TEST(ScrubJudge, GivesBackWhatAnyOwnerHas) {
  expect_repair(judge(lww, {reg(1), reg(1), ""}), reg(1), {2});
  expect_repair(judge(lww, {"", reg(2), ""}), reg(2), {0, 2});
  expect_repair(judge(lww, {"", reg(1)}), reg(1), {0});
  expect_repair(judge(siblings, {set({1, 2}), set({1, 2}), set({2})}), set({1, 2}), {2});
  expect_repair(judge(siblings, {set({1}), set({1, 2}), set({1})}), set({1, 2}), {0, 2});
  expect_repair(judge(siblings, {set({1}), set({2}), ""}), set({1, 2}), {0, 1, 2});
}

TEST(ScrubJudge, OfTwoWritesTheNewerIsRightWhoeverHoldsIt) {
  expect_repair(judge(lww, {reg(1), reg(2), reg(1)}), reg(2), {0, 2});
  expect_repair(judge(lww, {reg(1), reg(2), reg(3)}), reg(3), {0, 1});
  expect_repair(judge(lww, {reg(1), tombstone(2)}), tombstone(2), {0});
  expect_repair(judge(lww, {tombstone(3), reg(1), ""}), tombstone(3), {1});
}

TEST(ScrubJudge, OfOneWriteTheFormThatMostHoldIsRight) {
  expect_repair(judge(lww, {reg(2, "rotten"), reg(2), reg(2)}), reg(2), {0});
  auto later = encode_lww({from_micros(8), {1, 2}, 0, false, "v"}); // A bit of its time has rotted.
  expect_repair(judge(lww, {later, reg(2), reg(2)}), reg(2), {0});
  auto rotten = decode_siblings(set({1, 2})).value();
  rotten.siblings.front().value = "rotten";
  expect_repair(judge(siblings, {set({1, 2}), encode_siblings(rotten), set({1, 2})}), set({1, 2}), {1});
  auto x = judge(lww, {reg(2, "a"), reg(2, "b")});
  auto y = judge(lww, {reg(2, "b"), reg(2, "a")});
  EXPECT_EQ(x.right, y.right) << "all have to agree where nobody knows";
  EXPECT_EQ(x.wrong.size(), 1U);
}

TEST(ScrubJudge, DoesNotDecideWithoutThoseWhoCould) {
  EXPECT_EQ(judge(lww, {reg(2, "a"), reg(2, "b")}, 3).what, kind::unsure);
  auto rotten = decode_siblings(set({1})).value();
  rotten.siblings.front().value = "rotten";
  EXPECT_EQ(judge(siblings, {set({1}), encode_siblings(rotten)}, 3).what, kind::unsure);
  EXPECT_EQ(judge(siblings, {set({1}), set({1, 2})}, 3).what, kind::differs) << "nothing has no vote anyhow";
  expect_repair(judge(lww, {reg(2), reg(2, "rotten"), reg(2), reg(2)}, 5), reg(2), {1});
}

TEST(ScrubJudge, GivesNoVoteToWhatDoesNotDecode) {
  expect_repair(judge(lww, {reg(1), "rubbish", reg(1)}), reg(1), {1});
  expect_repair(judge(lww, {reg(1), "rubbish", "rubbish"}), reg(1), {1, 2});
  expect_repair(judge(siblings, {"rubbish", set({1}), set({1})}), set({1}), {0});
  EXPECT_EQ(judge(lww, {"rubbish", "rubbish", "other"}).what, kind::unsure) << "nobody knows better";
}

TEST(ScrubJudge, UnitesWhatOwnersHaveSeenGoing) {
  dot_clock elsewhere, known;
  elsewhere.add(dot{2, 5});
  elsewhere.add(dot{1, 1}); // It says of a value that stays that it went.
  known.add(dot{2, 5});
  expect_repair(judge(siblings, {set({1}), set({1}), set({}, elsewhere)}), set({1}, known), {2});
}

TEST(ScrubJudge, IsUnsureWhileSomebodyMayNotHaveHeardOfAWrite) {
  auto held = [](const std::string& object) { return hash_content(lww, object, 0).held; };
  auto judged = [&](dot_clock first, dot_clock second, scrub_copy other) {
    scrub_judge j{lww, 2, {{up_to(5), up_to(5)}, {std::move(first), std::move(second)}}, now_ms};
    return j.judge({{held(reg(5)), reg(5)}, std::move(other)}).what;
  };
  EXPECT_EQ(judged(up_to(5), up_to(5), {held(reg(1)), reg(1)}), kind::differs);
  EXPECT_EQ(judged(up_to(4), up_to(4), {held(reg(1)), reg(1)}), kind::unsure) << "it does not know the write yet";
  EXPECT_EQ(judged(up_to(4), up_to(5), {held(reg(1)), reg(1)}), kind::unsure)
      << "a value and its tombstone may both have come and gone between the readings";
  EXPECT_EQ(judged(up_to(6), up_to(6), {held(reg(1)), reg(1)}), kind::unsure) << "the first one lacks what it knew";
  EXPECT_EQ(judged(up_to(5), up_to(5), {held(reg(1)), reg(2)}), kind::unsure) << "it has changed";
  EXPECT_EQ(judged(up_to(5), up_to(5), {held(tombstone(4)), ""}), kind::unsure) << "its tombstone has just gone";
}

TEST(ScrubRestored, TakesOnlyWhatTheClockKnows) {
  auto three = up_to(3);
  EXPECT_EQ(restored(lww, three, reg(3)), reg(3));
  EXPECT_EQ(restored(lww, three, ""), "");
  EXPECT_FALSE(restored(lww, three, reg(4)));
  EXPECT_FALSE(restored(lww, three, "rubbish"));
  auto rest = up_to(9);
  rest.subtract(three);
  EXPECT_EQ(restored(siblings, three, set({2}, up_to(9))), set({2}, rest)) << "what it covers need not be kept";
  EXPECT_EQ(restored(siblings, three, set({}, three)), "");
  EXPECT_FALSE(restored(siblings, three, set({4})));
}

// Of three replicas that exchange writes and lose some state: whatever is judged to be wrong is what was damaged.
TEST(ScrubJudge, NeverFindsADifferenceBetweenReplicasThatOnlyLag) {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE("seed=" + std::to_string(seed));
    auto rule = seed % 2 == 0 ? lww : siblings;
    std::vector<test_replica> all;
    for (replica_id id = 1; id <= 3; ++id)
      all.emplace_back(rule, id);
    std::vector<vnode::given> writes;
    uint64_t state = seed;
    auto random = [&state](size_t below) {
      state = state * 6364136223846793005 + 1442695040888963407;
      return static_cast<size_t>(state >> 33) % below;
    };
    auto some_writes = [&] {
      for (int i = 0; i < 4; ++i) {
        auto& giver = all[random(3)];
        auto seen = giver.node.clock();
        auto value = "v" + std::to_string(writes.size());
        writes.push_back(giver.give("k", random(3) == 0 ? std::nullopt : std::optional<std::string_view>{value},
                                    from_micros(writes.size() + 1), random(2) == 0 ? &seen : nullptr));
        all[random(3)].apply(writes[random(writes.size())], "k");
      }
    };
    some_writes();
    std::vector<scrub_clocks> clocks;
    std::vector<scrub_copy> copies;
    for (auto& r : all) { // Owners are read at different moments.
      clocks.push_back({r.node.clock(), {}});
      copies.push_back({hash_content(rule, r.sink.stored("k"), 0).held, {}});
      if (random(2) == 0)
        some_writes();
    }
    if (random(3) > 0)
      for (const auto& w : writes)
        for (auto& r : all)
          r.apply(w, "k");
    for (size_t i = 0; i < 3; ++i) {
      clocks[i].second = all[i].node.clock();
      copies[i].object = all[i].sink.stored("k");
      if (random(2) == 0)
        some_writes();
    }
    EXPECT_NE((scrub_judge{rule, 3, clocks, now_ms}.judge(copies).what), kind::differs);
  }
}

} // namespace
} // namespace crema::protocol
