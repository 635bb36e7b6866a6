#include "storage/merge_counter.hpp"

#include <gtest/gtest.h>

#include <random>

namespace crema::storage {

namespace {

constexpr uint8_t often = 16;

TEST(MergeCounter, SaysWhenAKeyWasMergedOften) {
  merge_counter counter;
  for (int round = 0; round < 3; ++round)
    for (int i = 1; i <= often; ++i)
      EXPECT_EQ(counter.add(7, often), i == often);
}

TEST(MergeCounter, FindsAHotKeyAmongManyOthers) {
  merge_counter counter;
  std::mt19937_64 random{1};
  bool found = false;
  for (int i = 0; i < 100'000 && !found; ++i)
    found = i % 1000 == 0 ? counter.add(7, often) : counter.add(random(), often) && false;
  EXPECT_TRUE(found);
}

TEST(MergeCounter, FindsHardlyAnyAmongKeysThatAreAllAlike) {
  merge_counter counter;
  std::mt19937_64 random{1};
  size_t found = 0;
  constexpr size_t merges = 2'000'000;
  for (size_t i = 0; i < merges; ++i)
    found += counter.add(random(), often) ? 1 : 0;
  EXPECT_LT(found, merges / 500);
}

} // namespace

} // namespace crema::storage
