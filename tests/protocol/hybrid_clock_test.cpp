#include "protocol/hybrid_clock.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>

namespace crema::protocol {
namespace {

constexpr uint64_t noon = 1'700'000'000'000'000; // Microseconds.

TEST(HybridClock, ShowsTheWallClockInItsUpperBits) {
  hybrid_clock clock;
  EXPECT_EQ(clock.now(noon), from_micros(noon));
  EXPECT_EQ(to_micros(clock.latest()), noon);
}

TEST(HybridClock, CountsOnWhileTheWallClockStandsStill) {
  hybrid_clock clock;
  auto first = clock.now(noon);
  EXPECT_EQ(clock.now(noon), first + 1);
}

TEST(HybridClock, NeverRunsBackwards) {
  hybrid_clock clock;
  auto before = clock.now(noon);
  EXPECT_EQ(clock.now(noon - 5'000'000), before + 1);
}

TEST(HybridClock, StaysAboveWhatItHasObserved) {
  hybrid_clock clock;
  auto remote = from_micros(noon + 10) + 3;
  EXPECT_TRUE(clock.observe(remote, noon));
  EXPECT_EQ(clock.now(noon), remote + 1);
}

TEST(HybridClock, IsNotSetBackByAnOldTimestamp) {
  hybrid_clock clock;
  auto given = clock.now(noon);
  EXPECT_TRUE(clock.observe(from_micros(noon - 10), noon));
  EXPECT_EQ(clock.latest(), given);
}

TEST(HybridClock, RefusesATimestampBeyondTheDriftBound) {
  hybrid_clock clock(std::chrono::seconds{1});
  EXPECT_TRUE(clock.observe(from_micros(noon + 1'000'000), noon));
  auto latest = clock.latest();
  EXPECT_FALSE(clock.observe(from_micros(noon + 1'000'001), noon));
  EXPECT_FALSE(clock.observe(UINT64_MAX, noon));
  EXPECT_EQ(clock.latest(), latest);
}

TEST(HybridClock, AcceptsWhatIsNotNewToItWhateverTheWallClockSays) {
  hybrid_clock clock;
  auto given = clock.now(noon);
  constexpr uint64_t an_hour_before = noon - 3'600'000'000;
  EXPECT_TRUE(clock.observe(given, an_hour_before));
  EXPECT_FALSE(clock.observe(given + 1, an_hour_before));
  EXPECT_EQ(clock.latest(), given);
}

TEST(HybridClock, SaysWhenItWouldGiveATimeThatOthersMayRefuse) {
  hybrid_clock clock(std::chrono::seconds{1}), other(std::chrono::seconds{1});
  EXPECT_FALSE(clock.ahead(0));
  clock.now(noon);
  EXPECT_FALSE(clock.ahead(noon));
  EXPECT_FALSE(clock.ahead(noon - 1'000'000));
  EXPECT_TRUE(other.observe(clock.now(noon - 1'000'000), noon - 1'000'000));
  EXPECT_TRUE(clock.ahead(noon - 1'000'001));
  EXPECT_FALSE(other.observe(clock.now(noon - 1'000'001), noon - 1'000'001));
}

TEST(HybridClock, TakesAnAbsurdWallClockForTheLastMicrosecondItCanShow) {
  hybrid_clock clock;
  EXPECT_EQ(to_micros(clock.now(UINT64_MAX)), UINT64_MAX >> timestamp_logical_bits);
}

TEST(HybridClockLaws, TimestampsIncreaseAndDoNotFallBehindTheWallClock) {
  EXPECT_TRUE(rc::check([](const std::vector<uint16_t>& walls, const std::vector<uint16_t>& remotes) {
    hybrid_clock clock(std::chrono::microseconds{10'000});
    timestamp last = 0;
    for (size_t i = 0; i < walls.size(); ++i) {
      if (i < remotes.size()) {
        auto remote = from_micros(remotes[i]);
        auto accepted = clock.observe(remote, walls[i]);
        RC_ASSERT(accepted == (remote <= last || remotes[i] <= walls[i] + 10'000));
        if (accepted)
          last = std::max(last, remote);
      }
      auto now = clock.now(walls[i]);
      RC_ASSERT(now > last);
      RC_ASSERT(to_micros(now) >= walls[i]);
      last = now;
    }
  }));
}

} // namespace
} // namespace crema::protocol
