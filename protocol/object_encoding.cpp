// The bytes of objects (object.hpp, "Encoding"). Persisted and on the wire: a new format takes a new tag.
#include "protocol/canonical.hpp"
#include "protocol/object.hpp"

#include <array>

namespace crema::protocol {

namespace {

constexpr uint8_t tag_lww_value = 0x10;
constexpr uint8_t tag_lww_tombstone = 0x11;
constexpr uint8_t tag_lww_expiring = 0x12;
constexpr uint8_t tag_siblings = 0x20;

/// Tag, timestamp, replica id, counter.
constexpr size_t lww_header_bytes = 25;

// Registers are the hot path: byte_writer and byte_reader, byte by byte, take several times as long.

void store_be64(char* to, uint64_t x) {
  for (int i = 0; i < 8; ++i)
    to[i] = static_cast<char>(x >> (56 - 8 * i));
}

uint64_t load_be64(const char* from) {
  uint64_t x = 0;
  for (int i = 0; i < 8; ++i)
    x = x << 8 | static_cast<uint8_t>(from[i]);
  return x;
}

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
  std::array<char, lww_header_bytes + 8> header;
  header[0] = static_cast<char>(x.tombstone ? tag_lww_tombstone : expiring ? tag_lww_expiring : tag_lww_value);
  // Fixed width and big-endian: the order of registers is the order of these bytes.
  store_be64(&header[1], x.time);
  store_be64(&header[9], x.id.replica);
  store_be64(&header[17], x.id.counter);
  store_be64(&header[25], x.expires_at);
  std::string bytes;
  auto size = lww_header_bytes + (expiring ? 8 : 0);
  auto value = x.tombstone ? std::string_view{} : x.value;
  bytes.reserve(size + value.size());
  bytes.append(header.data(), size);
  bytes.append(value);
  return bytes;
}

std::optional<lww_view> decode_lww(std::string_view bytes) {
  if (bytes.size() < lww_header_bytes)
    return std::nullopt;
  auto tag = static_cast<uint8_t>(bytes[0]);
  lww_view x;
  x.time = load_be64(&bytes[1]);
  x.id = {load_be64(&bytes[9]), load_be64(&bytes[17])};
  x.value = bytes.substr(lww_header_bytes);
  if (!valid(x.id))
    return std::nullopt;
  switch (tag) {
  case tag_lww_value:
    return x;
  case tag_lww_tombstone:
    x.tombstone = true;
    return x.value.empty() ? std::optional{x} : std::nullopt;
  case tag_lww_expiring:
    if (x.value.size() < 8)
      return std::nullopt;
    x.expires_at = load_be64(x.value.data());
    x.value.remove_prefix(8);
    return x.expires_at != 0 ? std::optional{x} : std::nullopt;
  default:
    return std::nullopt;
  }
}

std::string encode_siblings(const siblings_object& x) { return encode(x); }
std::string encode_siblings(const siblings_view& x) { return encode(x); }

std::optional<siblings_object> decode_siblings(std::string_view bytes) { return decode<std::string>(bytes); }
std::optional<siblings_view> view_siblings(std::string_view bytes) { return decode<std::string_view>(bytes); }

} // namespace crema::protocol
