// Keys to slots to partitions. Slots are those of Redis Cluster: CRC16(key) mod 16384, hash tags honoured.
#pragma once

#include "protocol/types.hpp"

namespace crema::protocol {

constexpr uint32_t slot_count = 16384;

/// CRC-16/XMODEM: polynomial 0x1021, initial value 0. crc16("123456789") == 0x31C3.
uint16_t crc16(std::string_view bytes);

/// The slot of a key. If the key has a `{`, and a `}` after it with something in between, only that is hashed (the
/// first
/// `{` and the first `}` after it), so that keys with one tag share a slot.
uint16_t slot_of(std::string_view key);

/// Is `partitions` a power of two in 8..16384?
bool valid_partition_count(uint64_t partitions);

/// Partitions are equal, contiguous runs of slots. @pre valid_partition_count(partitions)
constexpr partition_id partition_of_slot(uint16_t slot, uint32_t partitions) {
  return static_cast<partition_id>(slot / (slot_count / partitions));
}
inline partition_id partition_of(std::string_view key, uint32_t partitions) {
  return partition_of_slot(slot_of(key), partitions);
}

} // namespace crema::protocol
