// The bytes of objects (object.hpp, "Encoding"). Persisted and on the wire: a new format takes a new tag.
#include "protocol/canonical.hpp"
#include "protocol/object.hpp"

namespace crema::protocol {

namespace {

constexpr uint8_t tag_lww_value = 0x10;
constexpr uint8_t tag_lww_tombstone = 0x11;
constexpr uint8_t tag_lww_expiring = 0x12;
constexpr uint8_t tag_siblings = 0x20;

/// The fewest bytes that a sibling takes.
constexpr size_t sibling_bytes_min = 8 + 1 + 8 + 1 + 1;

template <class Bytes>
std::string encode(const basic_siblings<Bytes>& x) {
  std::string bytes;
  auto size = size_t{16};
  for (const auto& s : x.siblings)
    size += s.value.size() + 40;
  bytes.reserve(size);
  byte_writer out(bytes);
  out.u8(tag_siblings);
  out.varint(x.siblings.size());
  for (const auto& s : x.siblings) {
    out.u64(s.id.replica);
    out.varint(s.id.counter);
    out.u64(s.time);
    out.varint(s.expires_at);
    out.bytes(s.value);
  }
  x.seen.encode(out);
  return bytes;
}

template <class Bytes>
std::optional<basic_siblings<Bytes>> decode(std::string_view bytes) {
  byte_reader in(bytes);
  auto tag = in.u8();
  auto count = canonical_varint(in);
  if (!in.ok() || tag != tag_siblings || count > in.left() / sibling_bytes_min)
    return std::nullopt;
  basic_siblings<Bytes> x;
  x.siblings.reserve(count);
  dot last;
  for (uint64_t i = 0; i < count; ++i) {
    basic_sibling<Bytes> s;
    s.id.replica = in.u64();
    s.id.counter = canonical_varint(in);
    s.time = in.u64();
    s.expires_at = canonical_varint(in);
    auto size = canonical_varint(in);
    s.value = in.raw(size);
    if (!in.ok() || !valid(s.id) || !(last < s.id))
      return std::nullopt;
    last = s.id;
    x.siblings.push_back(std::move(s));
  }
  auto seen = dot_clock::decode(in);
  if (!seen || !in.finished())
    return std::nullopt;
  x.seen = std::move(*seen);
  return x;
}

} // namespace

std::string encode_lww(const lww_view& x) {
  auto expiring = !x.tombstone && x.expires_at != 0;
  auto value = x.tombstone ? std::string_view{} : x.value;
  std::string bytes;
  bytes.reserve(33 + value.size());
  byte_writer out(bytes);
  out.u8(x.tombstone ? tag_lww_tombstone : expiring ? tag_lww_expiring : tag_lww_value);
  // Fixed width and big-endian: the order of registers is the order of these bytes.
  out.be64(x.time);
  out.be64(x.id.replica);
  out.be64(x.id.counter);
  if (expiring)
    out.be64(x.expires_at);
  out.raw(value);
  return bytes;
}

std::optional<lww_view> decode_lww(std::string_view bytes) {
  byte_reader in(bytes);
  lww_view x;
  auto tag = in.u8();
  x.time = in.be64();
  x.id.replica = in.be64();
  x.id.counter = in.be64();
  if (tag == tag_lww_expiring)
    x.expires_at = in.be64();
  x.tombstone = tag == tag_lww_tombstone;
  x.value = in.rest();
  auto known_tag = tag == tag_lww_value || tag == tag_lww_tombstone || tag == tag_lww_expiring;
  if (!in.ok() || !known_tag || !valid(x.id) || (x.tombstone && !x.value.empty()) ||
      (tag == tag_lww_expiring && x.expires_at == 0))
    return std::nullopt;
  return x;
}

std::string encode_siblings(const siblings_object& x) { return encode(x); }
std::string encode_siblings(const siblings_view& x) { return encode(x); }

std::optional<siblings_object> decode_siblings(std::string_view bytes) { return decode<std::string>(bytes); }
std::optional<siblings_view> view_siblings(std::string_view bytes) { return decode<std::string_view>(bytes); }

} // namespace crema::protocol
