#include "protocol/context.hpp"

#include <xxhash.h>

#include <array>

namespace crema::protocol {

namespace {

constexpr std::string_view prefix = "cx1";
constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr size_t checksum_bytes = 4;

constexpr std::array<int8_t, 256> make_values() {
  std::array<int8_t, 256> values{};
  for (auto& value : values)
    value = -1;
  for (size_t i = 0; i < alphabet.size(); ++i)
    values[static_cast<uint8_t>(alphabet[i])] = static_cast<int8_t>(i);
  return values;
}

std::string to_base64url(std::string_view bytes) {
  std::string text;
  text.reserve((bytes.size() * 4 + 2) / 3);
  uint32_t bits = 0;
  int held = 0; // Bits not written yet, the low ones of `bits`.
  for (auto byte : bytes) {
    bits = bits << 8 | static_cast<uint8_t>(byte);
    for (held += 8; held >= 6; held -= 6)
      text.push_back(alphabet[bits >> (held - 6) & 63U]);
  }
  if (held > 0)
    text.push_back(alphabet[bits << (6 - held) & 63U]);
  return text;
}

/// Strict: one text for each sequence of bytes, so no padding, no white space, and the bits left over are zero.
std::optional<std::string> from_base64url(std::string_view text) {
  static constexpr auto values = make_values();
  if (text.size() % 4 == 1)
    return std::nullopt;
  std::string bytes;
  bytes.reserve(text.size() * 3 / 4);
  uint32_t bits = 0;
  int held = 0;
  for (auto c : text) {
    auto value = values[static_cast<uint8_t>(c)];
    if (value < 0)
      return std::nullopt;
    bits = bits << 6 | static_cast<uint32_t>(value);
    held += 6;
    if (held >= 8) {
      held -= 8;
      bytes.push_back(static_cast<char>(bits >> held));
    }
  }
  if ((bits & ((1U << held) - 1)) != 0)
    return std::nullopt;
  return bytes;
}

/// Finds damage, not malice: whoever computes it may claim what he likes of a key that he may write anyway.
uint32_t checksum(std::string_view bytes) { return static_cast<uint32_t>(XXH3_64bits(bytes.data(), bytes.size())); }

} // namespace

std::string encode_context(vnode_id where, const dot_clock& seen) {
  std::string bytes;
  byte_writer out(bytes);
  out.be16(where.bucket);
  out.be16(where.partition);
  seen.encode(out);
  auto sum = checksum(bytes);
  out.be16(static_cast<uint16_t>(sum >> 16));
  out.be16(static_cast<uint16_t>(sum));
  return std::string{prefix} + to_base64url(bytes);
}

std::optional<dot_clock> decode_context(vnode_id where, std::string_view token, std::string& why) {
  auto refuse = [&](std::string reason) {
    why = std::move(reason);
    return std::nullopt;
  };
  if (token.empty())
    return refuse("it is empty");
  if (token.size() > context_bytes_max)
    return refuse("longer than " + std::to_string(context_bytes_max) + " bytes");
  if (token.substr(0, prefix.size()) != prefix)
    return refuse("does not start with " + std::string{prefix});
  auto bytes = from_base64url(token.substr(prefix.size()));
  if (!bytes)
    return refuse("not base64url without padding");
  if (bytes->size() < checksum_bytes)
    return refuse("too short");
  auto body = std::string_view{*bytes}.substr(0, bytes->size() - checksum_bytes);
  byte_reader sum(std::string_view{*bytes}.substr(body.size()));
  auto high = sum.be16();
  auto low = sum.be16();
  if ((uint32_t{high} << 16 | low) != checksum(body))
    return refuse("checksum does not match");
  byte_reader in(body);
  vnode_id made_for{in.be16(), in.be16()}; // Braces: in this order.
  if (in.ok() && made_for.bucket != where.bucket)
    return refuse("belongs to another bucket");
  if (in.ok() && made_for.partition != where.partition)
    return refuse("belongs to another partition: a context is good only for the key it was read with");
  auto seen = dot_clock::decode(in);
  if (!seen || !in.finished())
    return refuse("malformed");
  return seen;
}

} // namespace crema::protocol
