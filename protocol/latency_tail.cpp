#include "protocol/latency_tail.hpp"

#include <algorithm>

namespace crema::protocol {

namespace {
constexpr uint64_t few = 10;

unsigned floor_log2(uint64_t x) {
  unsigned result = 0;
  while (x >>= 1)
    ++result;
  return result;
}
} // namespace

void latency_tail::add(std::chrono::microseconds took) {
  // Four parts of each power of two, as the two bits behind the first say; below four the classes are too fine, which
  // does no harm.
  constexpr int64_t longest = (int64_t{1} << (classes / parts)) - 1;
  auto micros = static_cast<uint64_t>(std::clamp<int64_t>(took.count(), 1, longest)) * parts;
  auto power = floor_log2(micros);
  auto part = (micros >> (power - 2)) & (parts - 1);
  ++in_class_[size_t{power - 2} * parts + part];
  ++count_;
}

void latency_tail::add(const latency_tail& other) {
  for (size_t i = 0; i < classes; ++i)
    in_class_[i] += other.in_class_[i];
  count_ += other.count_;
}

std::chrono::microseconds latency_tail::tail() const {
  if (count_ == 0)
    return {};
  auto slower = std::max(count_ / 100, std::min(few, count_ / 2));
  uint64_t seen = 0;
  size_t at = classes;
  while (seen <= slower && at > 0)
    seen += in_class_[--at];
  auto power = at / parts, part = at % parts;
  return std::chrono::microseconds{((parts + part + 1) << power) / parts};
}

} // namespace crema::protocol
