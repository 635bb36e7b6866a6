#include "protocol/quorum_level.hpp"

#include <gtest/gtest.h>

#include <string>

using namespace crema::protocol;

namespace {

std::optional<uint32_t> owners(std::string_view text, uint32_t n) {
  auto level = quorum_level::parse(text);
  EXPECT_TRUE(level) << text;
  return level->resolve(n, 77);
}

} // namespace

TEST(QuorumLevel, NamesMeanOneAMajorityAndAll) {
  EXPECT_EQ(owners("one", 5), 1U);
  EXPECT_EQ(owners("all", 5), 5U);
  EXPECT_EQ(owners("quorum", 1), 1U);
  EXPECT_EQ(owners("quorum", 2), 2U);
  EXPECT_EQ(owners("quorum", 3), 2U);
  EXPECT_EQ(owners("quorum", 4), 3U);
  EXPECT_EQ(owners("quorum", 5), 3U);
}

TEST(QuorumLevel, TwoMajoritiesAlwaysShareAnOwner) {
  for (uint32_t n = 1; n <= 100; ++n)
    EXPECT_GT(2 * *owners("quorum", n), n);
}

TEST(QuorumLevel, IsReadInAnyCase) {
  EXPECT_EQ(owners("ALL", 3), 3U);
  EXPECT_EQ(owners("Quorum", 3), 2U);
  EXPECT_EQ(owners("oNe", 3), 1U);
}

TEST(QuorumLevel, TakesANumberUpToN) {
  EXPECT_EQ(owners("2", 3), 2U);
  EXPECT_EQ(owners("3", 3), 3U);
  EXPECT_EQ(owners("4", 3), std::nullopt);
  EXPECT_EQ(owners("4294967295", 3), std::nullopt);
}

TEST(QuorumLevel, IsTheBucketsOwnUnlessAskedFor) { EXPECT_EQ(quorum_level{}.resolve(3, 2), 2U); }

TEST(QuorumLevel, RefusesEverythingElse) {
  for (std::string_view text : {"", "0", "-1", "+1", " 1", "1 ", "1.0", "0x1", "two", "alle", "al", "4294967296",
                                "18446744073709551617", "quorum1"})
    EXPECT_FALSE(quorum_level::parse(text)) << text;
  EXPECT_FALSE(quorum_level::parse(std::string_view("all\0", 4)));
}
