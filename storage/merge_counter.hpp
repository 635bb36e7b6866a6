// Finds keys that are merged into again and again: counts by hash in a few tens of kilobytes, halved from time to time,
// so that only what was merged often lately stands out. Keys that share a counter may stand out together; that does no
// harm.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace crema::storage {

class merge_counter {
public:
  static constexpr size_t counters = size_t{1} << 15;
  static constexpr size_t halved_every = 4 * counters; ///< Merges. Evenly spread, they leave no counter above about 8.

  /// Counts one merge. @returns true if it was the `often`th lately; the count then begins again.
  bool add(uint64_t hash, uint8_t often) {
    if (++merges_ == halved_every) {
      merges_ = 0;
      for (auto& x : counts_)
        x /= 2;
    }
    auto& count = counts_[hash % counters];
    if (++count < often)
      return false;
    count = 0;
    return true;
  }

private:
  std::array<uint8_t, counters> counts_{};
  size_t merges_ = 0;
};

} // namespace crema::storage
