// Which writes a vnode knows: an exact set of dots, kept small. Per replica id a `base` (all counters up to it are
// known) and intervals above it (Gonçalves et al., "DottedDB: Anti-Entropy without Merkle Trees, Deletes without
// Tombstones", SRDS 2017, §III: node logical clocks).
//
//   {7: base 12, [15,15] [18,20]}   knows (7,1)..(7,12), (7,15), (7,18)..(7,20)
#pragma once

#include "protocol/bytes.hpp"
#include "protocol/types.hpp"

#include <optional>
#include <string>
#include <vector>

namespace crema::protocol {

/// The dots (replica, first) .. (replica, last), both included.
struct dot_range {
  replica_id replica = 0;
  uint64_t first = 0;
  uint64_t last = 0;
  friend bool operator==(const dot_range& a, const dot_range& b) {
    return a.replica == b.replica && a.first == b.first && a.last == b.last;
  }
};

/// How many dots; saturates.
uint64_t count(const std::vector<dot_range>& ranges);

/// Larger counters are malformed: a replica never gets there, and the arithmetic on counters cannot overflow.
constexpr uint64_t counter_max = UINT64_MAX / 2;
/// Can `d` name a write?
constexpr bool valid(const dot& d) { return d.replica != 0 && d.counter >= 1 && d.counter <= counter_max; }

/// Nothing but valid dots ever enters; what is not valid is ignored.
class dot_clock {
public:
  bool contains(const dot& d) const;
  /// The next counter of a known replica costs a binary search over the ids, and no allocation.
  /// @returns false if `d` was known already (or is not valid).
  bool add(const dot& d);
  /// Adds a whole range; 1 <= first <= last <= counter_max.
  void add(const dot_range& range);
  /// Removes one dot (a context must not claim a sibling that it keeps). May split an interval or lower a base.
  void remove(const dot& d);
  /// Set union. Commutative, associative, idempotent.
  void join(const dot_clock& other);
  /// Does this contain every dot of `other`?
  bool covers(const dot_clock& other) const;
  /// The dots of this that `other` lacks, in order of replica id and counter.
  std::vector<dot_range> missing_from(const dot_clock& other) const;
  /// Removes all dots that `other` contains (set difference): what a clock covers need not be kept per object.
  void subtract(const dot_clock& other);
  /// Keeps only the dots that `other` contains as well (set intersection).
  void meet(const dot_clock& other);
  /// All counters of `replica` up to this one are known; 0 if none.
  uint64_t base(replica_id replica) const;
  /// The largest known counter of `replica`; 0 if none.
  uint64_t highest(replica_id replica) const;
  /// All known dots as disjoint, maximal ranges, in order.
  std::vector<dot_range> ranges() const;
  /// Is there a counter below the largest known one of its replica that is not known?
  bool has_gaps() const;
  /// Those.
  dot_clock gaps() const;
  bool empty() const { return entries_.empty(); }
  /// Replica ids with at least one dot.
  size_t replicas() const { return entries_.size(); }
  /// Number of dots known (for tests and metrics); saturates.
  uint64_t size() const;

  /// On disk and on the wire: varint count of ids; per id: u64 id, varint base, varint count of intervals, then per
  /// interval the varint gap before it (>= 1) and its varint length - 1. Canonical: equal clocks have equal bytes.
  void encode(byte_writer& out) const;
  std::string encode() const;
  /// @returns nothing unless the bytes are canonical. Bounded work: linear in the input.
  static std::optional<dot_clock> decode(byte_reader& in);
  static std::optional<dot_clock> decode(std::string_view bytes); ///< All of `bytes`.

  friend bool operator==(const dot_clock& a, const dot_clock& b);
  friend bool operator!=(const dot_clock& a, const dot_clock& b) { return !(a == b); }

private:
  struct interval {
    uint64_t first, last;
  };
  /// Invariant: base > 0 or intervals not empty; intervals sorted, disjoint, not adjacent to each other or to base.
  struct entry {
    replica_id replica = 0;
    uint64_t base = 0;
    std::vector<interval> intervals;

    /// The dots as maximal ranges in order: 1..base, if there is a base, and then the intervals.
    size_t ranges() const { return (base > 0 ? 1 : 0) + intervals.size(); }
    interval range(size_t i) const {
      if (base == 0)
        return intervals[i];
      return i == 0 ? interval{1, base} : intervals[i - 1];
    }
    bool empty() const { return base == 0 && intervals.empty(); }
    bool contains(uint64_t counter) const;
    bool covers(const entry& other) const;
    void add(interval range);
    void remove(uint64_t counter);
    void join(const entry& other);
    void subtract(const entry& other);
    bool decode(byte_reader& in);
  };

  /// Calls visit(interval) for each maximal range of `a` without `b`, in order.
  template <class Visit>
  static void difference(const entry& a, const entry& b, Visit visit);
  const entry* find(replica_id replica) const;

  std::vector<entry> entries_; // Sorted by replica id.
};

} // namespace crema::protocol
