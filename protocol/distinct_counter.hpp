// About how many different things there were, in bounded memory: exact up to `kept_max`, then within some three per
// cent. Adaptive sampling (Wegman; Flajolet 1990, "On adaptive sampling"): of all hashes those are kept that end in
// `depth` zero bits, one bit more whenever they become too many.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <unordered_set>

namespace crema::protocol {

class distinct_counter {
public:
  static constexpr size_t kept_max = 4096;

  /// @param hash well mixed: equal for equal things, and as good as random otherwise.
  void add(uint64_t hash) {
    if (!sampled(hash))
      return;
    kept_.insert(hash);
    while (kept_.size() > kept_max) {
      ++depth_;
      for (auto x = kept_.begin(); x != kept_.end();)
        x = sampled(*x) ? std::next(x) : kept_.erase(x);
    }
  }

  uint64_t count() const { return uint64_t{kept_.size()} << depth_; }

private:
  bool sampled(uint64_t hash) const { return (hash & ((uint64_t{1} << depth_) - 1)) == 0; }

  std::unordered_set<uint64_t> kept_;
  unsigned depth_ = 0;
};

} // namespace crema::protocol
