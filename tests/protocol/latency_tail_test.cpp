#include "protocol/latency_tail.hpp"

#include <gtest/gtest.h>

namespace crema::protocol {
namespace {

using std::chrono::microseconds;

TEST(LatencyTail, IsWhatNinetyNineOfAHundredStayBelow) {
  latency_tail took;
  for (int i = 0; i < 9900; ++i)
    took.add(microseconds{100});
  for (int i = 0; i < 100; ++i)
    took.add(microseconds{100'000});
  EXPECT_EQ(took.count(), 10'000U);
  EXPECT_NEAR(static_cast<double>(took.tail().count()), 100, 25);
  took.add(microseconds{100'000});
  EXPECT_NEAR(static_cast<double>(took.tail().count()), 100'000, 25'000);
}

TEST(LatencyTail, OfFewRequestsASlowOneSaysNothing) {
  latency_tail took;
  EXPECT_EQ(took.tail().count(), 0);
  for (int i = 0; i < 20; ++i)
    took.add(microseconds{1000});
  for (int i = 0; i < 10; ++i)
    took.add(microseconds{50'000});
  EXPECT_NEAR(static_cast<double>(took.tail().count()), 1000, 250);
  latency_tail one;
  one.add(microseconds{700});
  EXPECT_NEAR(static_cast<double>(one.tail().count()), 700, 175);
}

TEST(LatencyTail, IsExactToAFifthForAnyDuration) {
  for (int64_t micros = 1; micros < int64_t{1} << 27; micros = micros * 9 / 8 + 1) {
    latency_tail took;
    took.add(microseconds{micros});
    auto tail = static_cast<double>(took.tail().count());
    EXPECT_GE(tail, static_cast<double>(micros)) << micros;
    EXPECT_LE(tail, 1.25 * static_cast<double>(micros) + 1) << micros;
  }
}

TEST(LatencyTail, TakesAnyDurationAndAddsUp) {
  latency_tail a, b;
  a.add(microseconds{-5});
  b.add(microseconds::max());
  b.add(microseconds{0});
  a.add(b);
  EXPECT_EQ(a.count(), 3U);
  EXPECT_GE(a.tail().count(), 0);
}

} // namespace
} // namespace crema::protocol
