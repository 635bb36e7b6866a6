#include "protocol/context.hpp"
#include "tests/protocol/generators.hpp"

#include <gtest/gtest.h>

namespace crema::protocol {
namespace {

constexpr vnode_id here{3, 200};

dot_clock some_clock() {
  dot_clock clock;
  clock.add(dot_range{0x1234567890abcdef, 1, 70});
  clock.add(dot{0xfedcba0987654321, 5});
  return clock;
}

std::string reason(std::string_view token, vnode_id where = here) {
  std::string why;
  EXPECT_FALSE(decode_context(where, token, why));
  return why;
}

TEST(Context, ComesBackAsItWas) {
  std::string why;
  EXPECT_EQ(decode_context(here, encode_context(here, some_clock()), why), some_clock());
  EXPECT_EQ(why, "");
}

TEST(Context, OfAKeyNeverWrittenIsAContextToo) {
  std::string why;
  auto seen = decode_context(here, encode_context(here, {}), why);
  ASSERT_TRUE(seen);
  EXPECT_TRUE(seen->empty());
}

TEST(Context, IsPrintableAndShort) {
  auto token = encode_context(here, some_clock());
  EXPECT_EQ(token.substr(0, 3), "cx1");
  EXPECT_EQ(token.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"),
            std::string::npos);
  EXPECT_LE(token.size(), 48U);
}

TEST(Context, KeepsItsTextFromReleaseToRelease) {
  // Clients hold contexts while nodes are upgraded.
  EXPECT_EQ(encode_context(here, some_clock()), "cx1AAMAyALvzauQeFY0EkYAIUNlhwm63P4AAQQA7n32ug");
}

TEST(Context, IsBoundToItsBucketAndPartition) {
  auto token = encode_context(here, some_clock());
  EXPECT_EQ(reason(token, {4, 200}), "belongs to another bucket");
  EXPECT_EQ(reason(token, {3, 201}).substr(0, 28), "belongs to another partition");
}

TEST(Context, SaysWhatIsWrongWithIt) {
  auto token = encode_context(here, some_clock());
  EXPECT_EQ(reason(""), "it is empty");
  EXPECT_EQ(reason("cx2" + token.substr(3)), "does not start with cx1");
  EXPECT_EQ(reason("cx1"), "too short");
  EXPECT_EQ(reason(token + "="), "not base64url without padding");
  EXPECT_EQ(reason("cx1AB+D"), "not base64url without padding");
  EXPECT_EQ(reason("cx1AAAAA"), "not base64url without padding") << "five characters make no whole bytes";
  EXPECT_EQ(reason("cx1AB"), "not base64url without padding") << "four bits left over that are not zero";
  EXPECT_EQ(reason("cx1" + std::string(context_bytes_max, 'A')), "longer than 65536 bytes");
  token[10] = token[10] == 'A' ? 'B' : 'A';
  EXPECT_EQ(reason(token), "checksum does not match");
}

TEST(ContextLaws, EveryClockSurvives) {
  EXPECT_TRUE(rc::check([](bucket_id bucket, partition_id partition) {
    auto clock = *any_clock();
    std::string why;
    RC_ASSERT(decode_context({bucket, partition}, encode_context({bucket, partition}, clock), why) == clock);
  }));
}

TEST(ContextLaws, NoDamageGoesUnnoticed) {
  EXPECT_TRUE(rc::check([] {
    auto token = encode_context(here, *any_clock());
    auto other = *damaged(token);
    std::string why;
    RC_ASSERT(decode_context(here, other, why).has_value() == (other == token));
    RC_ASSERT(why.empty() == (other == token));
  }));
}

TEST(ContextLaws, NoTextCrashesTheDecoder) {
  EXPECT_TRUE(rc::check([](const std::string& noise) {
    std::string why;
    RC_ASSERT(!decode_context(here, noise, why));
    RC_ASSERT(!decode_context(here, "cx1" + noise, why));
  }));
}

} // namespace
} // namespace crema::protocol
