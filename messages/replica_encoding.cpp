// The bytes of batches. On the wire; a change takes a new message_version.
//
//   batch     varint count | operations or answers
//   operation kind | varint request | varint bucket | varint partition | bytes key, and then
//             put    bytes value | varint ttl | varint time | bytes context, if the kind says so
//             apply  bytes delta | u64 replica id | varint counter | u64 time
//   answer    kind | varint request, and then
//             given   u64 replica id | varint counter | u64 time | bytes delta
//             written varint time
//             object  u64 digest | bytes object
//             digest  u64 digest
//             refused status | u64 time | bytes reason
//
// The kind's byte holds the flags as well. bytes: varint size, then so many.
#include "messages/replica.hpp"

#include "protocol/bytes.hpp"
#include "protocol/planted.hpp"

#include <limits>

namespace crema {

using protocol::bug;
using protocol::byte_reader;
using protocol::byte_writer;
using protocol::planted;

namespace {

constexpr uint8_t kind_mask = 0x0f;
constexpr uint8_t flag_remove = 0x10;   // put
constexpr uint8_t flag_context = 0x20;  // put
constexpr uint8_t flag_any_time = 0x40; // put, apply
constexpr uint8_t flag_fallback = 0x80; // every operation
constexpr uint8_t flag_durable = 0x80;  // given

constexpr uint8_t flags_of(replica_op::kind what) {
  return flag_fallback | (what == replica_op::kind::put     ? flag_remove | flag_context | flag_any_time
                          : what == replica_op::kind::apply ? flag_any_time
                                                            : 0);
}
constexpr uint8_t flags_of(replica_answer::kind what) { return what == replica_answer::kind::given ? flag_durable : 0; }

constexpr size_t op_bytes_min = 5;
constexpr size_t answer_bytes_min = 2;
constexpr size_t fixed_bytes = 64; // Of an operation or answer, at most, beside its strings.

// All fields by name: a new one does not compile before it has been thought of here and in read().

void write(byte_writer& out, const replica_op& x) {
  using kind = replica_op::kind;
  const auto& [request, what, remove, has_context, any_time, fallback, bucket, partition, key, data, context, ttl_ms,
               dot_replica, dot_counter, time] = x;
  const auto with_context = has_context && !planted(bug::context_not_sent);
  auto flags = (remove ? flag_remove : 0) | (with_context ? flag_context : 0) | (any_time ? flag_any_time : 0) |
               (fallback ? flag_fallback : 0);
  out.u8(static_cast<uint8_t>(static_cast<uint8_t>(what) | (flags & flags_of(what))));
  out.varint(request);
  out.varint(bucket);
  out.varint(partition);
  out.bytes(key);
  if (what == kind::put) {
    out.bytes(data);
    out.varint(ttl_ms);
    out.varint(time);
    if (with_context)
      out.bytes(context);
  } else if (what == kind::apply) {
    out.bytes(data);
    out.u64(dot_replica);
    out.varint(dot_counter);
    out.u64(time);
  }
}

void write(byte_writer& out, const replica_answer& x) {
  using kind = replica_answer::kind;
  const auto& [request, what, status, durable, dot_replica, dot_counter, time, digest, data] = x;
  out.u8(static_cast<uint8_t>(static_cast<uint8_t>(what) | ((durable ? flag_durable : 0) & flags_of(what))));
  out.varint(request);
  switch (what) {
  case kind::given:
    out.u64(dot_replica);
    out.varint(dot_counter);
    out.u64(time);
    out.bytes(data);
    break;
  case kind::written:
    out.varint(time);
    break;
  case kind::object:
    out.u64(digest);
    out.bytes(data);
    break;
  case kind::digest:
    out.u64(digest);
    break;
  case kind::refused:
    out.u8(static_cast<uint8_t>(status));
    out.u64(time);
    out.bytes(data);
    break;
  }
}

uint16_t small_number(byte_reader& in) {
  auto x = in.varint();
  if (x > std::numeric_limits<uint16_t>::max())
    in.fail();
  return static_cast<uint16_t>(x);
}

/// @returns false if there is no such kind, or not with these flags.
bool read(byte_reader& in, replica_op& x) {
  using kind = replica_op::kind;
  auto head = in.u8();
  auto what = head & kind_mask;
  if (what > static_cast<int>(kind::digest))
    return false;
  x.what = static_cast<kind>(what);
  if ((head & ~kind_mask & ~flags_of(x.what)) != 0)
    return false;
  x.any_time = (head & flag_any_time) != 0;
  x.remove = (head & flag_remove) != 0;
  x.has_context = (head & flag_context) != 0;
  x.fallback = (head & flag_fallback) != 0;
  x.request = in.varint();
  x.bucket = small_number(in);
  x.partition = small_number(in);
  x.key = in.bytes();
  if (x.what == kind::put) {
    x.data = in.bytes();
    x.ttl_ms = in.varint();
    x.time = in.varint();
    if (x.has_context)
      x.context = in.bytes();
  } else if (x.what == kind::apply) {
    x.data = in.bytes();
    x.dot_replica = in.u64();
    x.dot_counter = in.varint();
    x.time = in.u64();
  }
  return in.ok();
}

bool read(byte_reader& in, replica_answer& x) {
  using kind = replica_answer::kind;
  auto head = in.u8();
  auto what = head & kind_mask;
  if (what > static_cast<int>(kind::refused))
    return false;
  x.what = static_cast<kind>(what);
  if ((head & ~kind_mask & ~flags_of(x.what)) != 0)
    return false;
  x.durable = (head & flag_durable) != 0;
  x.request = in.varint();
  switch (x.what) {
  case kind::given:
    x.dot_replica = in.u64();
    x.dot_counter = in.varint();
    x.time = in.u64();
    x.data = in.bytes();
    break;
  case kind::written:
    x.time = in.varint();
    break;
  case kind::object:
    x.digest = in.u64();
    x.data = in.bytes();
    break;
  case kind::digest:
    x.digest = in.u64();
    break;
  case kind::refused:
    x.status = static_cast<errc>(in.u8());
    x.time = in.u64();
    x.data = in.bytes();
    break;
  }
  return in.ok();
}

size_t size_of(const replica_op& x) { return fixed_bytes + x.key.size() + x.data.size() + x.context.size(); }
size_t size_of(const replica_answer& x) { return fixed_bytes + x.data.size(); }

template <class Item>
std::string encode_all(const std::vector<Item>& items) {
  std::string bytes;
  auto size = fixed_bytes;
  for (const auto& x : items)
    size += size_of(x);
  bytes.reserve(size);
  byte_writer out{bytes};
  out.varint(items.size());
  for (const auto& x : items)
    write(out, x);
  return bytes;
}

template <class Item>
bool decode_all(std::string_view bytes, std::vector<Item>& items, size_t bytes_min) {
  items.clear();
  byte_reader in{bytes};
  auto count = in.varint();
  if (!in.ok() || count > in.left() / bytes_min)
    return false;
  items.reserve(count);
  for (uint64_t i = 0; i < count; ++i) {
    items.emplace_back();
    if (!read(in, items.back()))
      return false;
  }
  return in.finished();
}

} // namespace

std::string encode(const std::vector<replica_op>& ops) { return encode_all(ops); }
std::string encode(const std::vector<replica_answer>& answers) { return encode_all(answers); }

bool decode(std::string_view bytes, std::vector<replica_op>& ops) { return decode_all(bytes, ops, op_bytes_min); }
bool decode(std::string_view bytes, std::vector<replica_answer>& answers) {
  return decode_all(bytes, answers, answer_bytes_min);
}

} // namespace crema
