#include "protocol/dot_clock.hpp"
#include "tests/protocol/generators.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace crema::protocol {
namespace {

std::string bytes_of(std::initializer_list<int> bytes) { return {bytes.begin(), bytes.end()}; }

/// One replica, id 7, then `rest`.
std::string clock_bytes(std::string_view rest) {
  std::string bytes;
  byte_writer out(bytes);
  out.varint(1);
  out.u64(7);
  out.raw(rest);
  return bytes;
}

TEST(DotClock, KnowsNothingAtFirst) {
  dot_clock clock;
  EXPECT_TRUE(clock.empty());
  EXPECT_FALSE(clock.contains({1, 1}));
  EXPECT_EQ(clock.base(1), 0U);
  EXPECT_EQ(clock.highest(1), 0U);
}

TEST(DotClock, TellsANewDotFromAKnownOne) {
  dot_clock clock;
  EXPECT_TRUE(clock.add(dot{1, 1}));
  EXPECT_FALSE(clock.add(dot{1, 1}));
  EXPECT_TRUE(clock.add(dot{1, 3}));
  EXPECT_FALSE(clock.add(dot{1, 3}));
}

TEST(DotClock, RaisesItsBaseWhenAGapCloses) {
  dot_clock clock;
  for (auto counter : {1, 2, 4, 5, 7})
    clock.add(dot{9, static_cast<uint64_t>(counter)});
  EXPECT_EQ(clock.base(9), 2U);
  EXPECT_EQ(clock.highest(9), 7U);
  clock.add(dot{9, 3});
  EXPECT_EQ(clock.base(9), 5U);
  clock.add(dot{9, 6});
  EXPECT_EQ(clock.base(9), 7U);
  EXPECT_EQ(clock.ranges(), (std::vector<dot_range>{{9, 1, 7}}));
}

TEST(DotClock, IgnoresWhatCannotNameAWrite) {
  dot_clock clock;
  EXPECT_FALSE(clock.add(dot{0, 1}));
  EXPECT_FALSE(clock.add(dot{1, 0}));
  EXPECT_FALSE(clock.add(dot{1, counter_max + 1}));
  clock.add(dot_range{1, 0, 5});
  clock.add(dot_range{1, 5, 4});
  clock.add(dot_range{1, 5, UINT64_MAX});
  EXPECT_TRUE(clock.empty());
}

TEST(DotClock, ReachesUpToTheLargestCounter) {
  dot_clock clock;
  EXPECT_TRUE(clock.add(dot{1, counter_max}));
  EXPECT_TRUE(clock.contains({1, counter_max}));
  EXPECT_FALSE(clock.contains({1, counter_max - 1}));
  clock.add(dot_range{1, 1, counter_max - 1});
  EXPECT_EQ(clock.base(1), counter_max);
  EXPECT_EQ(dot_clock::decode(clock.encode()), clock);
}

TEST(DotClock, CountsItsDotsWithoutOverflow) {
  dot_clock clock;
  for (replica_id id = 1; id <= 3; ++id)
    clock.add(dot_range{id, 1, counter_max});
  EXPECT_EQ(clock.size(), UINT64_MAX);
}

TEST(DotClock, HasTheDocumentedBytes) {
  dot_clock clock;
  clock.add(dot_range{7, 1, 12});
  clock.add(dot_range{7, 15, 15});
  clock.add(dot_range{7, 18, 20});
  EXPECT_EQ(clock.encode(), clock_bytes(bytes_of({12, 2, 2, 0, 2, 2})));
}

TEST(DotClock, RefusesBytesThatAreNotCanonical) {
  EXPECT_TRUE(dot_clock::decode(clock_bytes(bytes_of({1, 1, 1, 0}))));
  EXPECT_FALSE(dot_clock::decode("")) << "no count";
  EXPECT_FALSE(dot_clock::decode(clock_bytes(bytes_of({0, 0})))) << "an id without dots";
  EXPECT_FALSE(dot_clock::decode(clock_bytes(bytes_of({1, 1, 0, 0})))) << "an interval that touches the base";
  EXPECT_FALSE(dot_clock::decode(clock_bytes(bytes_of({0x81, 0, 0})))) << "a varint longer than it need be";
  EXPECT_FALSE(dot_clock::decode(clock_bytes(bytes_of({1, 0, 0})))) << "bytes left over";
  EXPECT_FALSE(dot_clock::decode(clock_bytes(bytes_of({1, 1, 1})))) << "cut short";
}

TEST(DotClock, RefusesIdsThatAreZeroOrOutOfOrder) {
  auto with_ids = [](replica_id first, replica_id second) {
    std::string bytes;
    byte_writer out(bytes);
    out.varint(2);
    for (auto id : {first, second}) {
      out.u64(id);
      out.varint(1);
      out.varint(0);
    }
    return dot_clock::decode(bytes);
  };
  EXPECT_TRUE(with_ids(1, 2));
  EXPECT_FALSE(with_ids(0, 2));
  EXPECT_FALSE(with_ids(2, 1));
  EXPECT_FALSE(with_ids(2, 2));
}

TEST(DotClock, RefusesCountersThatOverflow) {
  auto with = [](uint64_t base, uint64_t gap, uint64_t more) {
    std::string bytes;
    byte_writer out(bytes);
    for (auto x : {base, uint64_t{1}, gap, more})
      out.varint(x);
    return dot_clock::decode(clock_bytes(bytes));
  };
  EXPECT_TRUE(with(counter_max - 2, 1, 0));
  EXPECT_FALSE(with(counter_max - 2, 1, 1));
  EXPECT_FALSE(with(counter_max - 2, 2, 0));
  EXPECT_FALSE(with(counter_max, 1, 0));
  EXPECT_FALSE(with(counter_max + 1, 1, 0));
  EXPECT_FALSE(with(1, UINT64_MAX, 0));
  EXPECT_FALSE(with(1, 1, UINT64_MAX));
  EXPECT_FALSE(with(1, UINT64_MAX - 1, UINT64_MAX));
}

TEST(DotClock, BelievesNoCountThatTheInputCannotHold) {
  std::string bytes;
  byte_writer out(bytes);
  out.varint(uint64_t{1} << 60);
  EXPECT_FALSE(dot_clock::decode(bytes + std::string(100, '\1')));
  std::string intervals;
  byte_writer inner(intervals);
  inner.varint(1);
  inner.varint(uint64_t{1} << 60);
  EXPECT_FALSE(dot_clock::decode(clock_bytes(intervals + std::string(100, '\1'))));
}

// The laws: a clock is a set of dots.

TEST(DotClockLaws, EqualSetsOfDotsMakeEqualClocksInWhateverOrderTheyCome) {
  EXPECT_TRUE(rc::check([](const std::vector<uint8_t>& order) {
    auto dots = *any_dots();
    std::vector<dot> shuffled(dots.begin(), dots.end());
    for (size_t i = 0; i < std::min(order.size(), shuffled.size()); ++i)
      std::swap(shuffled[i], shuffled[order[i] % shuffled.size()]);
    auto clock = clock_of(shuffled);
    RC_ASSERT(clock == clock_of(dots));
    RC_ASSERT(clock.encode() == clock_of(dots).encode());
    RC_ASSERT(dots_of(clock.ranges()) == dots);
    RC_ASSERT(clock.size() == dots.size());
    RC_ASSERT(clock.empty() == dots.empty());
  }));
}

TEST(DotClockLaws, ContainsExactlyTheDotsOfTheSet) {
  EXPECT_TRUE(rc::check([] {
    auto dots = *any_dots();
    auto clock = clock_of(dots);
    for (replica_id id = 0; id <= 4; ++id) {
      uint64_t base = 0;
      uint64_t highest = 0;
      for (uint64_t counter = 0; counter <= 13; ++counter) {
        RC_ASSERT(clock.contains({id, counter}) == (dots.count({id, counter}) > 0));
        if (dots.count({id, counter}) > 0)
          highest = counter;
        if (dots.count({id, counter}) > 0 && base + 1 == counter)
          base = counter;
      }
      RC_ASSERT(clock.base(id) == base);
      RC_ASSERT(clock.highest(id) == highest);
    }
  }));
}

TEST(DotClockLaws, RangesAreMaximalAndInOrder) {
  EXPECT_TRUE(rc::check([] {
    auto ranges = (*any_clock()).ranges();
    for (size_t i = 1; i < ranges.size(); ++i)
      RC_ASSERT(ranges[i - 1].replica < ranges[i].replica ||
                (ranges[i - 1].replica == ranges[i].replica && ranges[i - 1].last + 1 < ranges[i].first));
  }));
}

TEST(DotClockLaws, AddingARangeAddsItsDots) {
  EXPECT_TRUE(rc::check([] {
    auto dots = *any_dots();
    auto clock = clock_of(dots);
    auto first = *rc::gen::inRange<uint64_t>(1, 12);
    auto range = dot_range{*rc::gen::inRange<replica_id>(1, 4), first, *rc::gen::inRange<uint64_t>(first, 14)};
    clock.add(range);
    dots.merge(dots_of({range}));
    RC_ASSERT(clock == clock_of(dots));
  }));
}

TEST(DotClockLaws, RemovingADotRemovesNothingElse) {
  EXPECT_TRUE(rc::check([] {
    auto dots = *any_dots();
    auto clock = clock_of(dots);
    auto d = *any_dot();
    clock.remove(d);
    dots.erase(d);
    RC_ASSERT(clock == clock_of(dots));
  }));
}

TEST(DotClockLaws, JoinIsSetUnion) {
  EXPECT_TRUE(rc::check([] {
    auto a = *any_dots();
    auto b = *any_dots();
    auto joined = clock_of(a);
    joined.join(clock_of(b));
    auto both = a;
    both.insert(b.begin(), b.end());
    RC_ASSERT(joined == clock_of(both));
    auto other_way = clock_of(b);
    other_way.join(clock_of(a));
    RC_ASSERT(joined == other_way);
    auto again = joined;
    again.join(clock_of(a));
    RC_ASSERT(again == joined);
  }));
}

TEST(DotClockLaws, SubtractAndMissingFromAreSetDifference) {
  EXPECT_TRUE(rc::check([] {
    auto a = *any_dots();
    auto b = *any_dots();
    dot_set rest;
    std::set_difference(a.begin(), a.end(), b.begin(), b.end(), std::inserter(rest, rest.end()));
    auto clock = clock_of(a);
    auto missing = clock.missing_from(clock_of(b));
    RC_ASSERT(missing == clock_of(rest).ranges());
    clock.subtract(clock_of(b));
    RC_ASSERT(clock == clock_of(rest));
  }));
}

TEST(DotClockLaws, CoversMeansThatNothingIsMissing) {
  EXPECT_TRUE(rc::check([] {
    auto a = *any_dots();
    auto b = *rc::gen::oneOf(any_dots(), rc::gen::map(any_dots(), [a](dot_set some) {
                               for (auto it = some.begin();
                                    it != some.end();) // A subset of a, so that the answer is often yes.
                                 it = a.count(*it) > 0 ? std::next(it) : some.erase(it);
                               return some;
                             }));
    auto subset = std::includes(a.begin(), a.end(), b.begin(), b.end());
    RC_CLASSIFY(subset, "covered");
    RC_ASSERT(clock_of(a).covers(clock_of(b)) == subset);
  }));
}

TEST(DotClockLaws, DecodeIsTheInverseOfEncode) {
  EXPECT_TRUE(rc::check([] {
    auto clock = *any_clock();
    RC_ASSERT(dot_clock::decode(clock.encode()) == clock);
  }));
}

TEST(DotClockLaws, WhateverDecodesIsCanonical) {
  EXPECT_TRUE(rc::check([](const std::string& noise) {
    auto bytes = *rc::gen::oneOf(damaged((*any_clock()).encode()), rc::gen::just(noise));
    auto clock = dot_clock::decode(bytes);
    RC_CLASSIFY(clock.has_value(), "decodes");
    if (clock)
      RC_ASSERT(clock->encode() == bytes);
  }));
}

TEST(DotClock, TellsItsGaps) {
  dot_clock x;
  x.add(dot_range{7, 1, 5});
  EXPECT_FALSE(x.has_gaps());
  EXPECT_TRUE(x.gaps().empty());
  x.add(dot_range{7, 8, 9});
  x.add(dot{8, 3});
  EXPECT_TRUE(x.has_gaps());
  EXPECT_EQ(x.gaps().ranges(), (std::vector<dot_range>{{7, 6, 7}, {8, 1, 2}}));
  x.join(x.gaps());
  EXPECT_FALSE(x.has_gaps());
}

TEST(DotClock, MeetsAnotherInTheDotsThatBothKnow) {
  dot_clock a;
  a.add(dot_range{1, 1, 10});
  a.add(dot_range{2, 1, 3});
  dot_clock b;
  b.add(dot_range{1, 4, 6});
  b.add(dot_range{1, 9, 20});
  b.add(dot_range{3, 1, 1});
  auto both = a;
  both.meet(b);
  EXPECT_EQ(both.ranges(), (std::vector<dot_range>{{1, 4, 6}, {1, 9, 10}}));
  auto other_way = b;
  other_way.meet(a);
  EXPECT_EQ(other_way, both);
  both.meet({});
  EXPECT_TRUE(both.empty());
}

} // namespace
} // namespace crema::protocol
