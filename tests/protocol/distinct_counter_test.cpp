#include "protocol/distinct_counter.hpp"

#include <gtest/gtest.h>

#include <random>

namespace crema::protocol {
namespace {

TEST(DistinctCounter, IsExactWhileThereAreFew) {
  distinct_counter counter;
  EXPECT_EQ(counter.count(), 0U);
  std::mt19937_64 random{1};
  for (int round = 0; round < 3; ++round) {
    random.seed(1);
    for (size_t i = 0; i < distinct_counter::kept_max; ++i)
      counter.add(random());
    EXPECT_EQ(counter.count(), distinct_counter::kept_max);
  }
}

TEST(DistinctCounter, IsNotFarOffWhenThereAreMany) {
  distinct_counter counter;
  constexpr uint64_t many = 1'000'000;
  for (int round = 0; round < 2; ++round) {
    std::mt19937_64 random{1};
    for (uint64_t i = 0; i < many; ++i)
      counter.add(random());
  }
  EXPECT_GT(counter.count(), many * 9 / 10);
  EXPECT_LT(counter.count(), many * 11 / 10);
}

} // namespace
} // namespace crema::protocol
