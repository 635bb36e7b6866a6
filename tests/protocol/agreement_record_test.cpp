#include "protocol/agreement_record.hpp"

#include <gtest/gtest.h>

namespace crema::protocol {
namespace {

agreement_record example() { return {300, "newest", {301, {9, ~0ULL}, {7, 5}, "accepted"}, 1000}; }

TEST(AgreementRecord, ComesBackAsItWas) {
  auto x = decode_agreement_record(encode(example()));
  ASSERT_TRUE(x.has_value());
  EXPECT_EQ(x->number, 300U);
  EXPECT_EQ(x->value, "newest");
  EXPECT_EQ(x->cast.number, 301U);
  EXPECT_EQ(x->cast.promised, (ballot{9, ~0ULL}));
  EXPECT_EQ(x->cast.accepted, (ballot{7, 5}));
  EXPECT_EQ(x->cast.value, "accepted");
  EXPECT_EQ(x->round, 1000U);
  EXPECT_TRUE(decode_agreement_record(encode(agreement_record::first(""))).has_value());
}

TEST(AgreementRecord, HasTheDocumentedBytes) {
  std::string bytes("\x01\x02\x01v\x03\x04\x00\x00\x00\x00\x00\x00\x00\x01\x05\x00\x00\x00\x00\x00\x00\x00\x01w\x06",
                    25);
  EXPECT_EQ(encode({2, "v", {3, {3, 4}, {1, 5}, "w"}, 6}), bytes);
}

TEST(AgreementRecord, OtherBytesAreRefused) {
  auto bytes = encode(example());
  for (size_t size = 0; size < bytes.size(); ++size)
    EXPECT_FALSE(decode_agreement_record(bytes.substr(0, size)).has_value()) << size;
  EXPECT_FALSE(decode_agreement_record(bytes + '\0').has_value());
  for (size_t at = 0; at < bytes.size(); ++at)
    for (int byte = 0; byte < 256; ++byte) {
      auto changed = bytes;
      changed[at] = static_cast<char>(byte);
      if (auto x = decode_agreement_record(changed)) {
        EXPECT_EQ(encode(*x), changed);
      }
    }
}

TEST(AgreementRecord, WhatNobodyWritesIsRefused) {
  auto refused = [](const agreement_record& x) { return !decode_agreement_record(encode(x)); };
  EXPECT_FALSE(refused(example()));
  EXPECT_TRUE(refused({0, "v", {}, 0}));
  EXPECT_TRUE(refused({agreement_number_max + 1, "v", {}, 0}));
  EXPECT_TRUE(refused({1, "v", {}, agreement_number_max + 1}));
  EXPECT_TRUE(refused({1, std::string(agreed_value_bytes_max + 1, 'v'), {}, 0}));
  EXPECT_TRUE(refused({1, "v", {2, {3, 1}, {3, 1}, std::string(agreed_value_bytes_max + 1, 'v')}, 0}));
  EXPECT_TRUE(refused({1, "v", {2, {3, 1}, {3, 2}, "w"}, 0})) << "accepted more than was promised";
  EXPECT_TRUE(refused({1, "v", {2, {3, 0}, {}, ""}, 0})) << "of nobody";
  EXPECT_TRUE(refused({1, "v", {2, {0, 3}, {}, ""}, 0}));
  EXPECT_TRUE(refused({1, "v", {2, {3, 1}, {}, "w"}, 0})) << "a value that was not accepted";
}

} // namespace
} // namespace crema::protocol
