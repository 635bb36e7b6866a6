#include "protocol/sync_budget.hpp"

#include <gtest/gtest.h>

namespace crema::protocol {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
constexpr uint64_t mib = 1 << 20;

/// One that has grown to its maximum, since nobody was there to be hurt.
sync_budget grown(uint64_t rate_max) {
  sync_budget budget{rate_max};
  while (budget.rate() < rate_max)
    budget.on_foreground(microseconds{0}, 0, true);
  return budget;
}

TEST(SyncBudget, SpreadsBytesOverTime) {
  auto budget = grown(mib);
  monotonic now{};
  EXPECT_EQ(budget.take(mib / 4, now), milliseconds{250});
  EXPECT_EQ(budget.take(mib / 4, now), milliseconds{500});
  EXPECT_EQ(budget.take(mib / 4, now + milliseconds{400}), milliseconds{350});
  EXPECT_EQ(budget.take(mib / 4, now + milliseconds{5000}), milliseconds{250}); // Time that passed is not saved up.
  EXPECT_EQ(budget.take(mib / 4, now + milliseconds{9000}, mib / 2), milliseconds{500}) << "what others bear";
}

TEST(SyncBudget, BeginsLowAndDoubles) {
  sync_budget budget{64 * mib};
  for (uint64_t expected : {4, 8, 16, 32, 64, 64}) {
    EXPECT_EQ(budget.rate(), expected * mib);
    budget.on_foreground(microseconds{1000}, 100, true);
  }
  budget.on_foreground(microseconds{1000}, 100, false);
  EXPECT_EQ(budget.rate(), 4 * mib) << "nothing was moved";
}

TEST(SyncBudget, GivesWayToSlowerClientsAndComesBackInSmallSteps) {
  auto budget = grown(64 * mib);
  budget.on_foreground(microseconds{1000}, 100, true);
  budget.on_foreground(microseconds{1450}, 100, true);
  EXPECT_EQ(budget.rate(), 64 * mib);
  budget.on_foreground(microseconds{1550}, 100, true);
  EXPECT_EQ(budget.rate(), 32 * mib);
  for (int i = 0; i < 20; ++i)
    budget.on_foreground(microseconds{9000}, 100, true);
  EXPECT_EQ(budget.rate(), mib); // It never starves.
  for (int i = 0; i < 5; ++i)
    budget.on_foreground(microseconds{1000}, 100, true);
  EXPECT_EQ(budget.rate(), 6 * mib);
}

TEST(SyncBudget, DoesNotTakeItsOwnBurdenForTheUsual) {
  sync_budget budget{64 * mib};
  budget.on_foreground(microseconds{1000}, 100, false);
  for (int i = 0; i < 1000; ++i) {
    budget.on_foreground(microseconds{1000 + 8000 * budget.rate() / (64 * mib)}, 100, true);
    if (i > 10) {
      EXPECT_LT(budget.rate(), 10 * mib);
    }
  }
}

TEST(SyncBudget, LearnsThatLoadWhichGoingSlowDoesNotCureIsUsual) {
  sync_budget budget{64 * mib};
  budget.on_foreground(microseconds{1000}, 100, false);
  for (int i = 0; i < 10; ++i)
    budget.on_foreground(microseconds{3000}, 100, true);
  EXPECT_EQ(budget.rate(), mib);
  for (int i = 0; i < 200; ++i)
    budget.on_foreground(microseconds{3000}, 100, true);
  EXPECT_EQ(budget.rate(), 64 * mib);
}

TEST(SyncBudget, TakesAllWhenNobodyAsksForAnything) {
  sync_budget budget{64 * mib};
  budget.on_foreground(microseconds{1000}, 100, false);
  for (int i = 0; i < 20; ++i)
    budget.on_foreground(microseconds{9000}, 100, true);
  for (uint64_t i = 0; i < sync_budget::steps; ++i)
    budget.on_foreground(microseconds{0}, 0, true);
  EXPECT_EQ(budget.rate(), 64 * mib);
}

} // namespace
} // namespace crema::protocol
