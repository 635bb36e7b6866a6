// Reading and writing the bytes that crema persists and sends: fixed little-endian integers, varints and
// length-prefixed strings. The reader never reads past its input: after the first malformed field it stays
// failed and returns zeros, so a decoder checks ok() once at its end.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace crema::protocol {

class byte_writer {
public:
  explicit byte_writer(std::string& out) : out_(out) {}

  void u8(uint8_t x) { out_.push_back(static_cast<char>(x)); }
  void u64(uint64_t x) {
    char bytes[8];
    for (int i = 0; i < 8; ++i)
      bytes[i] = static_cast<char>(x >> 8 * i);
    out_.append(bytes, sizeof(bytes));
  }
  /// Seven bits per byte, low ones first; 1 to 10 bytes.
  void varint(uint64_t x) {
    char bytes[10];
    size_t size = 0;
    for (; x >= 0x80; x >>= 7)
      bytes[size++] = static_cast<char>(x | 0x80);
    bytes[size++] = static_cast<char>(x);
    out_.append(bytes, size);
  }
  /// Big-endian, so that encoded integers sort like the integers.
  void be16(uint16_t x) {
    out_.push_back(static_cast<char>(x >> 8));
    out_.push_back(static_cast<char>(x));
  }
  void be64(uint64_t x) {
    char bytes[8];
    for (int i = 0; i < 8; ++i)
      bytes[i] = static_cast<char>(x >> (56 - 8 * i));
    out_.append(bytes, sizeof(bytes));
  }
  void bytes(std::string_view x) {
    varint(x.size());
    out_.append(x);
  }
  void raw(std::string_view x) { out_.append(x); }

private:
  std::string& out_;
};

class byte_reader {
public:
  explicit byte_reader(std::string_view in) : in_(in) {}

  bool ok() const { return ok_; }
  /// Well-formed so far, and nothing is left.
  bool finished() const { return ok_ && in_.empty(); }
  size_t left() const { return in_.size(); }
  void fail() { ok_ = false; }

  uint8_t u8() { return static_cast<uint8_t>(integer(1, false)); }
  uint64_t u64() { return integer(8, false); }
  uint16_t be16() { return static_cast<uint16_t>(integer(2, true)); }
  uint64_t be64() { return integer(8, true); }
  uint64_t varint() {
    uint64_t x = 0;
    for (int shift = 0; shift < 64 && !in_.empty(); shift += 7) {
      auto byte = static_cast<uint8_t>(in_.front());
      in_.remove_prefix(1);
      if (shift == 63 && byte > 1)
        break; // More than 64 bits.
      x |= uint64_t{byte & 0x7fU} << shift;
      if ((byte & 0x80) == 0)
        return ok_ ? x : 0;
    }
    ok_ = false;
    return 0;
  }
  std::string_view bytes() { return raw(varint()); }
  std::string_view raw(uint64_t size) {
    if (!ok_ || size > in_.size()) {
      ok_ = false;
      return {};
    }
    auto result = in_.substr(0, size);
    in_.remove_prefix(size);
    return result;
  }
  std::string_view rest() { return raw(in_.size()); }

private:
  uint64_t integer(size_t size, bool big_endian) {
    auto bytes = raw(size);
    uint64_t x = 0;
    for (size_t i = 0; i < bytes.size(); ++i)
      x |= uint64_t{static_cast<uint8_t>(bytes[i])} << 8 * (big_endian ? size - 1 - i : i);
    return x;
  }

  std::string_view in_;
  bool ok_ = true;
};

} // namespace crema::protocol
