// What a node has on disk of an agreement: the newest value, and what it promised about the next one.
#pragma once

#include "protocol/agreed_register.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace crema::protocol {

/// A longer value is refused everywhere.
constexpr size_t agreed_value_bytes_max = size_t{4} << 20;
/// Of numbers and rounds, so that they can be counted on without a look at where they end.
constexpr uint64_t agreement_number_max = uint64_t{1} << 62;

struct agreement_record {
  /// Of the value that a configuration file has: number 1.
  static agreement_record first(std::string value) { return {1, std::move(value), {2, {}, {}, {}}, 0}; }

  uint64_t number = 0;
  std::string value;
  vote cast;          ///< On the number after it.
  uint64_t round = 0; ///< Of the last attempt of this node at the number after it: no ballot is used twice.
};

/// Canonical: equal records have equal bytes.
std::string encode(const agreement_record& x);
/// @returns nothing if the bytes are malformed.
std::optional<agreement_record> decode_agreement_record(std::string_view bytes);

} // namespace crema::protocol
