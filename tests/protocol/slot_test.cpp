#include "protocol/slot.hpp"

#include <gtest/gtest.h>

#include <vector>

using namespace crema;
using namespace crema::protocol;

namespace {

// The definition, bit by bit.
uint16_t slow_crc16(std::string_view bytes) {
  uint32_t crc = 0;
  for (char c : bytes) {
    crc ^= uint32_t{static_cast<uint8_t>(c)} << 8;
    for (int bit = 0; bit < 8; ++bit)
      crc = (crc & 0x8000) != 0 ? (crc << 1) ^ 0x1021 : crc << 1;
    crc &= 0xFFFF;
  }
  return static_cast<uint16_t>(crc);
}

} // namespace

TEST(Slot, HasThePublishedCheckValueOfCrc16Xmodem) {
  EXPECT_EQ(crc16("123456789"), 0x31C3);
  EXPECT_EQ(crc16(""), 0);
}

TEST(Slot, ChecksumsEveryByteValueAsTheDefinitionDoes) {
  std::string bytes;
  for (int i = 0; i < 256; ++i) {
    bytes.push_back(static_cast<char>(i));
    EXPECT_EQ(crc16(bytes), slow_crc16(bytes)) << i;
  }
}

TEST(Slot, AgreesWithThePublishedRedisClusterSlots) {
  EXPECT_EQ(slot_of("somekey"), 11058);
  EXPECT_EQ(slot_of("foo{hash_tag}"), 2515);
  EXPECT_EQ(slot_of("foo"), 12182);
  EXPECT_EQ(slot_of("bar"), 5061);
  EXPECT_EQ(slot_of("hello"), 866);
}

TEST(Slot, HashesOnlyTheTag) {
  EXPECT_EQ(slot_of("{user1000}.following"), slot_of("{user1000}.followers"));
  EXPECT_EQ(slot_of("{user1000}.following"), slot_of("user1000"));
}

TEST(Slot, HashesTheWholeKeyWhenTheFirstTagIsEmpty) {
  EXPECT_EQ(slot_of("foo{}{bar}"), crc16("foo{}{bar}") % slot_count);
  EXPECT_NE(slot_of("foo{}{bar}"), slot_of("bar"));
}

TEST(Slot, EndsTheTagAtTheFirstClosingBrace) {
  EXPECT_EQ(slot_of("foo{{bar}}zap"), crc16("{bar") % slot_count);
  EXPECT_EQ(slot_of("foo{bar}{zap}"), slot_of("bar"));
}

TEST(Slot, HashesTheWholeKeyWhenTheTagIsNotClosed) {
  for (std::string_view key : {"foo{bar", "{", "}", "}{", "a}b{c", "{}", ""})
    EXPECT_EQ(slot_of(key), crc16(key) % slot_count) << key;
}

TEST(Slot, HashesBytesAfterAZero) {
  EXPECT_NE(slot_of(std::string_view("a\0b", 3)), slot_of(std::string_view("a\0c", 3)));
}

TEST(Slot, AllowsPowersOfTwoFrom8To16384AsPartitionCounts) {
  std::vector<uint64_t> valid;
  for (uint64_t count = 0; count <= 40000; ++count)
    if (valid_partition_count(count))
      valid.push_back(count);
  EXPECT_EQ(valid, (std::vector<uint64_t>{8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384}));
  EXPECT_FALSE(valid_partition_count(uint64_t{1} << 32));
}

TEST(Slot, CutsTheSlotsIntoEqualContiguousPartitions) {
  for (uint32_t partitions = 8; partitions <= slot_count; partitions *= 2) {
    for (uint32_t slot = 0; slot < slot_count; ++slot)
      ASSERT_EQ(partition_of_slot(static_cast<uint16_t>(slot), partitions), uint64_t{slot} * partitions / slot_count);
  }
  EXPECT_EQ(partition_of("foo", 256), 12182 / 64);
}
