#include "protocol/vnode_record.hpp"

#include "protocol/bytes.hpp"

namespace crema::protocol {

namespace {
constexpr uint8_t record_version = 5, version_with_epoch = 4, version_without_since = 2;
constexpr uint8_t in_second_place = 1, copying = 2, former = 4;
} // namespace

std::string encode(const vnode_record& x) {
  std::string bytes;
  byte_writer out{bytes};
  auto whole = !x.copied.empty() || x.remade != 0;
  out.u8(whole ? record_version : version_with_epoch);
  out.u8(static_cast<uint8_t>(x.role));
  out.u8(static_cast<uint8_t>(x.state));
  out.u8((x.in_second_place ? in_second_place : 0) | (x.copying ? copying : 0) | (x.former ? former : 0));
  out.u64(x.self);
  out.varint(x.counter);
  x.trimmed.encode(out);
  out.varint(x.since_ms);
  out.varint(x.epoch);
  if (whole) {
    out.bytes(x.copied);
    out.varint(x.remade);
  }
  return bytes;
}

std::optional<vnode_record> decode_vnode_record(std::string_view bytes) {
  byte_reader in{bytes};
  vnode_record x;
  auto version = in.u8();
  auto role = in.u8();
  auto state = in.u8();
  auto flags = in.u8();
  x.self = in.u64();
  x.counter = in.varint();
  auto trimmed = dot_clock::decode(in);
  x.since_ms = version == version_without_since ? 0 : in.varint();
  x.epoch = version >= version_with_epoch ? in.varint() : 0;
  if (version == record_version) {
    x.copied = in.bytes();
    x.remade = in.varint();
  }
  if (!in.finished() || !trimmed || version > record_version || version < version_without_since ||
      role > static_cast<uint8_t>(vnode_role::none) || state > static_cast<uint8_t>(vnode_state::catching_up) ||
      flags > (in_second_place | copying | former))
    return std::nullopt;
  x.role = static_cast<vnode_role>(role);
  x.state = static_cast<vnode_state>(state);
  x.in_second_place = (flags & in_second_place) != 0;
  x.copying = (flags & copying) != 0;
  x.former = (flags & former) != 0;
  x.trimmed = std::move(*trimmed);
  return x;
}

} // namespace crema::protocol
