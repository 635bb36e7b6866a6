// The state of one key. Every write is a delta, and a delta is itself an object: applying a write is joining two
// objects. Join is associative, commutative and idempotent, so replicas may see deltas in any order and any number of
// times (docs/protocol.md; spec.py, class Replica).
//
// Two kinds, chosen per bucket:
//   lww       a register; the larger (timestamp, dot) wins. A delete is a tombstone that takes part in this.
//   siblings  a dotted version vector set (Almeida, Gonçalves et al., "Scalable and Accurate Causality Tracking for
//             Eventually Consistent Stores", DAIS 2014): the values by dot, and `seen`, the dots known to be replaced.
#pragma once

#include "protocol/dot_clock.hpp"
#include "protocol/types.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace crema::protocol {

/// Milliseconds since 1970 at which a value expires; 0: never. Part of the object: the same on every replica.
using expiry_ms = uint64_t;

/// The decoded form of a last-write-wins register. `value` points into the encoded bytes.
struct lww_view {
  timestamp time = 0;
  dot id;
  expiry_ms expires_at = 0;
  bool tombstone = false;
  std::string_view value;
};

/// One of several concurrent values. `Bytes`: std::string, or std::string_view into encoded bytes.
template <class Bytes>
struct basic_sibling {
  dot id;
  timestamp time = 0;
  expiry_ms expires_at = 0;
  Bytes value;
  friend bool operator==(const basic_sibling& a, const basic_sibling& b) {
    return a.id == b.id && a.time == b.time && a.expires_at == b.expires_at && a.value == b.value;
  }
};

template <class Bytes>
struct basic_siblings {
  std::vector<basic_sibling<Bytes>> siblings; ///< Sorted by dot; no dot twice.
  /// Dots whose effect is in this object although no sibling may carry them: replaced ones, and in an expanded object
  /// all that are known. Whether it also names a sibling that is here makes no difference to join.
  dot_clock seen;
  bool empty() const { return siblings.empty() && seen.empty(); }
  friend bool operator==(const basic_siblings& a, const basic_siblings& b) {
    return a.siblings == b.siblings && a.seen == b.seen;
  }
};

using sibling = basic_sibling<std::string>;
using siblings_object = basic_siblings<std::string>;
using sibling_view = basic_sibling<std::string_view>;
/// Values point into the encoded bytes: a join or a digest copies none.
using siblings_view = basic_siblings<std::string_view>;

// -- Encoding --
//
// On disk (a RocksDB value or merge operand) and on the wire; the first byte names kind and format.
//
//   lww       tag | be64 time | be64 replica | be64 counter | (be64 expiry, if the tag says so) | value
//   siblings  tag | varint count | per sibling: u64 replica, varint counter, u64 time, varint expiry, bytes value
//             | clock `seen`
//
// Canonical: equal objects have equal bytes, and decoding refuses everything else.

/// A tombstone has neither value nor expiry; what `x` says of them is ignored.
std::string encode_lww(const lww_view& x);
std::optional<lww_view> decode_lww(std::string_view bytes);
std::string encode_siblings(const siblings_object& x);
std::string encode_siblings(const siblings_view& x);
std::optional<siblings_object> decode_siblings(std::string_view bytes);
std::optional<siblings_view> view_siblings(std::string_view bytes);

// -- Join --

/// Does `a` win over `b`? Total order by (timestamp, dot).
bool wins(const lww_view& a, const lww_view& b);

/// Joins `from` into `into`: a sibling stays if both have it or the other has not seen its dot.
void join(siblings_object& into, const siblings_object& from);
void join(siblings_view& into, const siblings_view& from);

/// The join of encoded objects of one kind; what the storage merge operator calls. Empty input bytes mean "no object".
/// @returns nothing if either is malformed or the kinds differ.
std::optional<std::string> join_encoded(std::string_view a, std::string_view b);

/// Is the join of `a` and `b` just `a`, both being registers? False if either is none.
bool supersedes(std::string_view a, std::string_view b);

/// Drops what `clock` covers from `seen`: a known dot that is no sibling has been replaced (spec.py, strip).
void strip(siblings_object& object, const dot_clock& clock);

/// An object whose `seen` says all that a complete replica with `clock` knows of the key: seen + clock. The form in
/// which replicas and coordinators exchange objects; its join needs no clocks. `seen` then is the exact context of a
/// read.
siblings_object expand(siblings_object object, const dot_clock& clock);

/// What catch-up merges into an object of a replica with clock `mine`, blind, for an expanded object of a complete
/// peer: a sibling whose dot our clock covers is not taken back (it is here already or was replaced here), and kept if
/// it is here (spec.py, Replica.join).
siblings_object without_known(siblings_object expanded, const dot_clock& mine);

// -- Reading --

constexpr bool expired(expiry_ms expires_at, uint64_t now_ms) { return expires_at != 0 && expires_at <= now_ms; }

/// The newest time in an encoded object of either kind; 0: it is empty, malformed or holds no values.
timestamp newest_time(std::string_view object);

/// 64-bit digest of what a read would return: the (timestamp and) dots, not the values. 0: no object, or no siblings.
uint64_t digest_lww(const std::optional<lww_view>& x);
uint64_t digest_siblings(const siblings_object& x);
uint64_t digest_siblings(const siblings_view& x);
/// A hash as a digest: 0 means that nothing is there.
constexpr uint64_t not_zero(uint64_t hash) { return hash != 0 ? hash : 1; }

} // namespace crema::protocol
