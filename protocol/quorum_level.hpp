// How many owners must answer: all, quorum (a majority), one, or a number.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace crema::protocol {

struct quorum_level {
  enum class kind : uint8_t { bucket_default, one, quorum, all, number };
  kind level = kind::bucket_default;
  uint32_t count = 0; ///< For kind::number.

  /// Parses "one", "quorum", "all" (any case) or a decimal number from 1 up.
  static std::optional<quorum_level> parse(std::string_view text);
  /// The number of owners out of `n`; `fallback` is the bucket's own setting.
  /// @returns nothing if a number larger than `n` was asked for.
  std::optional<uint32_t> resolve(uint32_t n, uint32_t fallback) const;
};

/// What a read does about owners that lack something.
enum class read_repair : uint8_t { none, background, foreground };

/// What a quorum lacked when its request failed.
struct shortfall {
  uint32_t needed = 0;
  uint32_t had = 0;    ///< That have acknowledged, or answered.
  bool owners = false; ///< Only owners count: PW, PR.
  /// Of the nodes that are to own the key, or did before, not of its owners: these are changing.
  bool changing = false;
};

} // namespace crema::protocol
