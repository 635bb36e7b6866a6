// The bytes of keys are on disk: these examples must never change.
#include "storage/keys.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace crema::storage::testing {

namespace {

using namespace std::string_literals;

TEST(Keys, HaveTheDocumentedBytes) {
  const vnode_id vnode{0x0102, 0xFF00};
  EXPECT_EQ(data_key(vnode, "k\0"s), "\x01\x02\xff\x00k\0"s);
  EXPECT_EQ(log_key(vnode, {0x1122334455667788, 9}),
            "\x01\x02\xff\x00\x11\x22\x33\x44\x55\x66\x77\x88\0\0\0\0\0\0\0\x09"s);
  EXPECT_EQ(clock_key(vnode), "clock/\x01\x02\xff\x00"s);
  EXPECT_EQ(name_key("epoch"), "name/epoch");
  EXPECT_EQ(vnode_prefix(vnode).size(), vnode_prefix_bytes);
  EXPECT_EQ(log_key(vnode, {}).size(), log_key_bytes);
}

TEST(Keys, OfTheLogSortLikeVnodeReplicaAndCounter) {
  EXPECT_LT(log_key({0, 255}, {~0ULL, ~0ULL}), log_key({0, 256}, {1, 1}));
  EXPECT_LT(log_key({0, 1}, {255, ~0ULL}), log_key({0, 1}, {256, 1}));
  EXPECT_LT(log_key({0, 1}, {7, 255}), log_key({0, 1}, {7, 256}));
}

TEST(Keys, ParseBackToWhatTheyWereMadeOf) {
  auto parsed = parse_log_key(log_key({3, 4}, {5, 6}));
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->vnode, (vnode_id{3, 4}));
  EXPECT_EQ(parsed->id, (dot{5, 6}));
  EXPECT_EQ(parse_vnode_key(clock_prefix, clock_key({3, 4})), (vnode_id{3, 4}));
}

TEST(Keys, OfAnotherLengthDoNotParse) {
  auto good = log_key({3, 4}, {5, 6});
  EXPECT_FALSE(parse_log_key(good + "x"));
  EXPECT_FALSE(parse_log_key(good.substr(1)));
  EXPECT_FALSE(parse_log_key(""));
  EXPECT_FALSE(parse_vnode_key(clock_prefix, "clock/\0\0\0"s));
  EXPECT_FALSE(parse_vnode_key(clock_prefix, "clock/\0\0\0\0\0"s));
  EXPECT_FALSE(parse_vnode_key(clock_prefix, "name/\0\0\0\0"s));
}

TEST(Keys, OfAVnodeLieBelowItsEndAndThoseOfTheNextOneDoNot) {
  const std::vector<vnode_id> sorted{{0, 0},           {0, 1},           {0, 0x7FFF},     {0, 0x8000},
                                     {0, 0xFFFF},      {1, 0},           {1, 0x8000},     {0xFFFF, 0},
                                     {0xFFFF, 0x7FFF}, {0xFFFF, 0x8000}, {0xFFFF, 0xFFFF}};
  const std::string longest(key_bytes_max, '\xff');
  for (size_t i = 0; i < sorted.size(); ++i) {
    auto end = vnode_end(sorted[i]);
    EXPECT_LT(data_key(sorted[i], longest), end);
    EXPECT_LT(log_key(sorted[i], {~0ULL, ~0ULL}), end);
    EXPECT_LT(grave_key(sorted[i], ~timestamp{0}, longest), end);
    if (i + 1 < sorted.size()) {
      EXPECT_LE(end, vnode_prefix(sorted[i + 1]));
    }
  }
}

TEST(Keys, WithAPrefixEndBeforeTheSmallestKeyAboveAllOfThem) {
  EXPECT_EQ(prefix_end("ab"), "ac");
  EXPECT_EQ(prefix_end("a\xff\xff"), "b");
  EXPECT_EQ(prefix_end("\x7f"), "\x80");
  EXPECT_FALSE(prefix_end("\xff\xff"));
  EXPECT_FALSE(prefix_end(""));
}

} // namespace

} // namespace crema::storage::testing
