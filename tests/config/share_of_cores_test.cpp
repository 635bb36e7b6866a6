#include "config/share_of_cores.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <thread>

namespace crema::config {

TEST(ShareOfCores, IsWhatWasConfigured) {
  EXPECT_EQ(share_of_cores(1, 2), 1U);
  EXPECT_EQ(share_of_cores(64, 4), 64U);
}

TEST(ShareOfCores, OfZeroIsOnePerSoManyCoresAndAtLeastOne) {
  if (auto cores = std::thread::hardware_concurrency(); cores > 0) {
    EXPECT_EQ(share_of_cores(0, 1), cores);
  }
  EXPECT_EQ(share_of_cores(0, std::numeric_limits<uint32_t>::max()), 1U);
}

} // namespace crema::config
