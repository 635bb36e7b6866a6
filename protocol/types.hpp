// The words that every part of crema shares (docs/protocol.md).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <tuple>

namespace crema {

/// A member of the cluster: its place in the agreed list of members. Never reused for another node.
enum class node_id : uint32_t {};
constexpr uint32_t to_index(node_id id) { return static_cast<uint32_t>(id); }

/// A named keyspace. Persisted in front of every key; the `db` number of the configuration.
using bucket_id = uint16_t;

/// One of Q equal runs of slots.
using partition_id = uint16_t;

/// The replica of one (bucket, partition) on one node. On disk and on the wire.
struct vnode_id {
  bucket_id bucket = 0;
  partition_id partition = 0;
  friend bool operator==(vnode_id a, vnode_id b) { return a.bucket == b.bucket && a.partition == b.partition; }
  friend bool operator!=(vnode_id a, vnode_id b) { return !(a == b); }
  friend bool operator<(vnode_id a, vnode_id b) {
    return std::tie(a.bucket, a.partition) < std::tie(b.bucket, b.partition);
  }
};

/// Every vnode has two places in its node's store, which keep its data under vnode ids of their own: one holds the
/// vnode, in the other a copy may be made (docs/protocol.md, "Sync"). Partitions have numbers below this.
constexpr partition_id second_place = 0x8000;
constexpr vnode_id other_place(vnode_id x) { return {x.bucket, static_cast<partition_id>(x.partition ^ second_place)}; }
/// The vnode whose place `x` is.
constexpr vnode_id vnode_at(vnode_id x) { return {x.bucket, static_cast<partition_id>(x.partition & ~second_place)}; }

/// Random, 64 bit, never 0; belongs to a data directory, not to a role (docs/protocol.md, "Dots").
using replica_id = uint64_t;

/// Names one write of a vnode: the `counter`th (from 1) that `replica` gave a name to.
struct dot {
  replica_id replica = 0;
  uint64_t counter = 0;
  friend bool operator==(const dot& a, const dot& b) { return a.replica == b.replica && a.counter == b.counter; }
  friend bool operator!=(const dot& a, const dot& b) { return !(a == b); }
  friend bool operator<(const dot& a, const dot& b) {
    return std::tie(a.replica, a.counter) < std::tie(b.replica, b.counter);
  }
};

/// Hybrid logical time: microseconds since 1970 in the upper 52 bits, a logical count in the lower 12.
using timestamp = uint64_t;
constexpr int timestamp_logical_bits = 12;
constexpr uint64_t to_micros(timestamp t) { return t >> timestamp_logical_bits; }
constexpr timestamp time_unknown = UINT64_MAX;
constexpr timestamp from_micros(uint64_t micros) { return micros << timestamp_logical_bits; }

/// How concurrent values of a key are resolved. On disk and on the wire.
enum class conflict_rule : uint8_t { lww = 0, siblings = 1 };

/// When a write is on disk: before its acknowledgement, or at the end of the durability interval.
enum class durability : uint8_t { interval = 0, fsync = 1 };

/// What went wrong. On the wire: append only.
enum class errc : uint8_t {
  ok = 0,
  timeout,           ///< No quorum of answers before the deadline; a write's outcome is unknown.
  no_quorum,         ///< Too few owners can be reached; nothing was written.
  busy,              ///< An in-flight limit was reached; nothing was written. Try again later.
  too_big,           ///< Key, value or context is longer than allowed.
  invalid_context,   ///< The context is damaged or belongs to another bucket or partition.
  too_many_siblings, ///< A put without context on a key that holds the largest allowed number of siblings.
  storage_failure,   ///< The store reported an error.
  stale_epoch,       ///< The request was made under an older ring than the receiver knows.
  not_owner,         ///< The receiver does not hold the vnode.
  clock_skew,        ///< A timestamp lies further in the future than the drift bound allows.
  unknown_version,   ///< The peer's message version is not spoken here.
  shutting_down,     ///< The node is about to stop.
  unknown_outcome,   ///< An owner was lost while it wrote; the write may have happened.
  incomplete,        ///< The replica is being filled: it takes deltas, but neither reads nor new writes.
  behind,            ///< What the asker lacks is no longer in the log: it has to be refilled.
  late,              ///< What its sender sends may be older than anybody waits for; nothing was done.
  removed,           ///< The sender was a member of the cluster, and is none any more.
};

/// A stable, lower-case name: "timeout", "no_quorum", ...
std::string_view to_string(errc code);

constexpr size_t key_bytes_max = size_t{64} << 10;
constexpr size_t value_bytes_max = size_t{16} << 20;
constexpr size_t context_bytes_max = size_t{64} << 10;
constexpr size_t object_bytes_max = size_t{32} << 20; ///< All siblings of a key together; a put beyond it is refused.
constexpr size_t siblings_warn = 25;
constexpr size_t siblings_max = 100;

} // namespace crema

template <>
struct std::hash<crema::vnode_id> {
  size_t operator()(crema::vnode_id v) const noexcept {
    return (size_t{v.bucket} << 16 | v.partition) * 0x9E3779B97F4A7C15;
  }
};
template <>
struct std::hash<crema::dot> {
  size_t operator()(const crema::dot& d) const noexcept { return (d.replica ^ (d.counter * 0x9E3779B97F4A7C15)); }
};
