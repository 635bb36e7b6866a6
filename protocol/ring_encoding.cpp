#include "protocol/ring_encoding.hpp"

#include "protocol/bytes.hpp"
#include "protocol/slot.hpp"

namespace crema::protocol {

namespace {
constexpr uint8_t format = 1;
} // namespace

std::string encode_ring(const ring& x) {
  std::string bytes;
  byte_writer out{bytes};
  out.u8(format);
  out.varint(x.epoch);
  out.varint(x.members.size());
  for (const auto& m : x.members) {
    out.varint(to_index(m.id));
    out.bytes(m.name);
    out.bytes(m.host);
    out.bytes(m.zone);
    out.varint(m.weight);
  }
  out.varint(x.owners.size());
  for (const auto& owners : x.owners) {
    out.varint(owners.size());
    for (auto o : owners)
      out.varint(to_index(o));
  }
  return bytes;
}

std::optional<ring> decode_ring(std::string_view bytes) {
  byte_reader in{bytes};
  ring x;
  if (in.u8() != format)
    return {};
  x.epoch = in.varint();
  auto members = in.varint();
  for (uint64_t i = 0; i < members && in.ok(); ++i) {
    member m;
    m.id = static_cast<node_id>(in.varint());
    m.name = in.bytes();
    m.host = in.bytes();
    m.zone = in.bytes();
    m.weight = static_cast<uint32_t>(in.varint());
    x.members.push_back(std::move(m));
  }
  auto partitions = in.varint();
  if (!in.ok() || !valid_partition_count(partitions))
    return {};
  for (uint64_t p = 0; p < partitions && in.ok(); ++p) {
    std::vector<node_id> owners;
    auto count = in.varint();
    for (uint64_t i = 0; i < count && in.ok(); ++i) {
      owners.push_back(static_cast<node_id>(in.varint()));
      if (x.find(owners.back()) == nullptr)
        return {};
    }
    if (owners.empty())
      return {};
    x.owners.push_back(std::move(owners));
  }
  if (!in.finished() || x.members.empty())
    return {};
  return x;
}

} // namespace crema::protocol
