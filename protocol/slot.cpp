#include "protocol/slot.hpp"

#include <array>

namespace crema::protocol {

namespace {

constexpr std::array<uint16_t, 256> make_crc_table() {
  std::array<uint16_t, 256> table{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t crc = byte << 8;
    for (int bit = 0; bit < 8; ++bit)
      crc = (crc & 0x8000) != 0 ? (crc << 1) ^ 0x1021 : crc << 1;
    table[byte] = static_cast<uint16_t>(crc);
  }
  return table;
}

constexpr auto crc_table = make_crc_table();

} // namespace

uint16_t crc16(std::string_view bytes) {
  uint32_t crc = 0;
  for (char c : bytes)
    crc = ((crc << 8) ^ crc_table[(crc >> 8 ^ static_cast<uint8_t>(c)) & 0xFF]) & 0xFFFF;
  return static_cast<uint16_t>(crc);
}

uint16_t slot_of(std::string_view key) {
  auto open = key.find('{');
  if (open != std::string_view::npos) {
    auto close = key.find('}', open + 1);
    if (close != std::string_view::npos && close != open + 1)
      key = key.substr(open + 1, close - open - 1);
  }
  return crc16(key) % slot_count;
}

bool valid_partition_count(uint64_t partitions) {
  return partitions >= 8 && partitions <= slot_count && (partitions & (partitions - 1)) == 0;
}

} // namespace crema::protocol
