// How long the slow ones among many requests took. A mean hides them: a hundredth that takes ten times as long adds a
// tenth to it.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace crema::protocol {

/// Counts durations in classes that are a fifth of their size wide.
class latency_tail {
public:
  void add(std::chrono::microseconds took);
  void add(const latency_tail& other);
  uint64_t count() const { return count_; }
  /// What 99 of 100 stay below; of few, what all but ten, or half of them, stay below: one slow request says nothing.
  /// 0 if there are none. Exact to a fifth.
  std::chrono::microseconds tail() const;

private:
  static constexpr unsigned parts = 4; ///< Of each power of two.
  static constexpr size_t classes = size_t{30} * parts;

  uint64_t count_ = 0;
  std::array<uint32_t, classes> in_class_{};
};

} // namespace crema::protocol
