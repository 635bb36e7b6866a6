#include "protocol/applied_times.hpp"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>

using namespace crema;
using crema::protocol::applied_times;

TEST(AppliedTimes, AnOlderOrEqualTimeOfAKeyMayHaveBeenBeaten) {
  applied_times times{0};
  EXPECT_FALSE(times.note({1, 2}, "k", 10));
  EXPECT_TRUE(times.note({1, 2}, "k", 10));
  EXPECT_TRUE(times.note({1, 2}, "k", 9));
  EXPECT_FALSE(times.note({1, 2}, "k", 11));
  EXPECT_FALSE(times.note({1, 3}, "k", 1)) << "a key of another partition";
}

TEST(AppliedTimes, WhatWasAppliedBeforeTheStartCounts) {
  applied_times times{100};
  EXPECT_TRUE(times.note({1, 2}, "k", 100));
  EXPECT_FALSE(times.note({1, 2}, "k", 101));
}

TEST(AppliedTimes, NeverMissANewerWriteAndSeldomSuspectOne) {
  applied_times times{0};
  std::map<std::string, timestamp> newest;
  std::mt19937 random{1};
  int suspected = 0;
  constexpr timestamp writes = 100'000, disorder = 1000; // A millisecond at a million writes a second.
  for (timestamp i = disorder; i < writes; ++i) {
    auto key = "k" + std::to_string(random() % 1'000'000);
    auto time = i - random() % disorder;
    auto may_be_beaten = times.note({0, 1}, key, time);
    ASSERT_TRUE(may_be_beaten || time > newest[key]);
    suspected += may_be_beaten ? 1 : 0;
    newest[key] = std::max(newest[key], time);
  }
  EXPECT_LT(suspected, writes / 20);
}
