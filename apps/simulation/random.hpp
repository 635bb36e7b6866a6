// The simulator's only source of randomness: splitmix64 (Steele et al., "Fast Splittable Pseudorandom Number
// Generators", OOPSLA 2014). The same numbers on every machine and standard library, unlike
// std::uniform_int_distribution.
#pragma once

#include <cstddef>
#include <cstdint>

namespace crema::simulation {

class random_stream {
public:
  explicit random_stream(uint64_t seed) : state_(seed) {}
  uint64_t next() {
    auto z = state_ += 0x9E3779B97F4A7C15ULL;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
  }
  /// 0 .. bound-1; 0 if bound is 0.
  uint64_t below(uint64_t bound) { return bound == 0 ? 0 : next() % bound; }
  /// low .. high, both included.
  uint64_t between(uint64_t low, uint64_t high) { return low + below(high - low + 1); }
  /// True once in `n` times on average.
  bool one_in(uint64_t n) { return below(n) == 0; }
  /// A stream of its own for another part of the simulation: what one part draws does not shift the others.
  random_stream split() { return random_stream{next()}; }

private:
  uint64_t state_;
};

} // namespace crema::simulation
