// Reading varints of which only the shortest form is allowed: equal values then have equal bytes, and equal bytes equal
// digests.
#pragma once

#include "protocol/bytes.hpp"

namespace crema::protocol {

/// The bytes that byte_writer::varint takes for `x`.
constexpr size_t varint_size(uint64_t x) {
  size_t size = 1;
  for (; x >= 0x80; x >>= 7)
    ++size;
  return size;
}

/// Fails the reader unless the varint is in its shortest form.
inline uint64_t canonical_varint(byte_reader& in) {
  auto before = in.left();
  auto x = in.varint();
  if (in.ok() && before - in.left() != varint_size(x)) {
    in.fail();
    return 0;
  }
  return x;
}

} // namespace crema::protocol
