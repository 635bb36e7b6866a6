// libFuzzer: no token makes the decoder of contexts crash or hang; what it accepts is exactly what the encoder writes,
// and belongs to one vnode only.
#include "protocol/context.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace crema;
  // The first bytes choose what the decoder is given: the rest as a token, or the rest as a clock in a valid token.
  if (size < 2)
    return 0;
  vnode_id where{static_cast<bucket_id>(data[0] & 1), static_cast<partition_id>(data[0] >> 4)};
  bool as_clock = (data[1] & 1) != 0;
  std::string_view rest(reinterpret_cast<const char*>(data) + 2, size - 2);
  std::string token(rest);
  if (as_clock) {
    auto clock = protocol::dot_clock::decode(rest);
    if (!clock)
      return 0;
    if (clock->encode() != rest)
      std::abort(); // Not canonical.
    token = protocol::encode_context(where, *clock);
  }
  std::string why;
  auto decoded = protocol::decode_context(where, token, why);
  if (decoded.has_value() != why.empty())
    std::abort();
  if (as_clock && !decoded && token.size() <= context_bytes_max)
    std::abort();
  if (!decoded)
    return 0;
  if (protocol::encode_context(where, *decoded) != token)
    std::abort();
  vnode_id other{where.bucket, static_cast<partition_id>(where.partition + 1)};
  if (protocol::decode_context(other, token, why))
    std::abort();
  return 0;
}
