// What owners compare in a scrub, and what is right where they differ (docs/protocol.md, "Scrub"). Pure functions of
// what was read: clocks tell what an owner ought to hold, this looks at what it does hold.
#pragma once

#include "protocol/dot_clock.hpp"
#include "protocol/object.hpp"
#include "protocol/types.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace crema::protocol {

/// Hashes of what a key holds, values included; 0: nothing.
struct content_hashes {
  uint64_t visible = 0; ///< Without remains: in health the same on all owners that know the same writes.
  uint64_t held = 0;    ///< With them, but without what is only told to be replaced (`seen`), which clocks strip.
};

/// @param stored as in the store; bytes that do not decode are content as well, which nobody else has.
/// @param expires_ms values that expire at or before this count as remains.
content_hashes hash_content(conflict_rule rule, std::string_view stored, uint64_t expires_ms);

/// Of the visible content of many keys, added in key order.
class range_hash {
public:
  void add(std::string_view key, uint64_t visible);
  uint64_t value() const { return hash_; }

private:
  uint64_t hash_ = 0;
};

/// A key at one owner.
struct scrub_copy {
  uint64_t held_first = 0; ///< content_hashes::held at the first reading.
  std::string object;      ///< As stored, at the second reading; empty: nothing.
};
/// What the owner knew at the readings.
struct scrub_clocks {
  dot_clock first, second;
};

struct scrub_verdict {
  enum class kind : uint8_t {
    same,   ///< No difference that anyone can see.
    unsure, ///< One of them may not have heard of a write yet, or is just learning it, or who could decide is missing.
    differs,
  };
  kind what = kind::same;
  std::string right;         ///< differs: what all are to hold; empty: nothing.
  std::vector<size_t> wrong; ///< differs: who holds something else, never empty.
};

/// Judges keys of one vnode that were read twice at the same owners.
class scrub_judge {
public:
  /// @param owners_count of the vnode (N), of which `clocks` may be fewer.
  scrub_judge(conflict_rule rule, size_t owners_count, std::vector<scrub_clocks> clocks, uint64_t expires_ms);

  /// @param copies in the order of the clocks.
  scrub_verdict judge(const std::vector<scrub_copy>& copies) const;

private:
  struct reading;
  reading read(const scrub_copy& copy) const;
  bool settled(const std::vector<scrub_copy>& copies, const std::vector<reading>& readings) const;
  template <class Form, class HashOf>
  const Form* most_common(const std::vector<const Form*>& forms, HashOf hash_of_form) const;
  std::optional<std::string> right_register(const std::vector<reading>& readings) const;
  std::optional<std::string> right_siblings(const std::vector<reading>& readings) const;

  conflict_rule rule_;
  size_t owners_count_;
  bool all_asked_;
  uint64_t expires_ms_;
  dot_clock known_to_all_;   // At the first reading.
  bool clocks_agree_ = true; // Everything that anyone knew at the first reading was known to all at the second.
};

/// What a key is to hold, as an owner with `clock` stores it, for what was found to be right. Its clock stays as it is.
/// @returns nothing if the bytes are malformed or hold a dot that it does not know; empty: nothing is to be held.
std::optional<std::string> restored(conflict_rule rule, const dot_clock& clock, std::string_view right);

} // namespace crema::protocol
