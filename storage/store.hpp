// An ordered, durable map for the vnodes of one node: objects that join on merge, a dot log per vnode, and a few
// administrative values. Knows nothing of replication. rocksdb_store keeps it on disk; memory_store is its twin with
// the same batch, sync and crash semantics, for tests and simulation.
//
// A vnode_id names a place: to the store the second place of a vnode (same bucket, partition | 0x8000), in which a copy
// is made beside the data in use, is a vnode like any other (docs/storage.md, "Keys").
#pragma once

#include "protocol/dot_clock.hpp"
#include "protocol/types.hpp"
#include "protocol/vnode.hpp"

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace crema::storage {

/// What went wrong, in words with the path; empty: nothing.
struct [[nodiscard]] status {
  std::string error;
  bool ok() const { return error.empty(); }
};

/// Collects effects; written atomically by store::write.
class write_batch : public protocol::vnode_sink {
public:
  /// Like merge, for whoever knows what the key holds after it: `object` is the join of all that was merged before and
  /// `operand`. Saves later reads the joining.
  virtual void merge_known(vnode_id vnode, std::string_view key, std::string_view operand, std::string_view object) = 0;
  /// Removes dots from the log (they are stable). The clock that covers them must have been saved before or in this
  /// batch. Costs the same for one dot and for a million. A range that ends before it begins is empty.
  virtual void trim_log(vnode_id vnode, const protocol::dot_range& dots) = 0;
  /// Removes the key. Like replace no join: only for who knows that nothing was written since it was looked at.
  virtual void erase(vnode_id vnode, std::string_view key) = 0;
  /// Removes what bury() noted.
  virtual void unbury(vnode_id vnode, timestamp due, std::string_view key) = 0;
  /// Removes the vnode's objects, log, graves and saved clock: nothing survives it but the record. What the batch adds
  /// after this stays.
  virtual void drop_vnode(vnode_id vnode) = 0;
  /// What must be known of the vnode at start (protocol::vnode_record), under the vnode's own name also while its data
  /// is in its second place; not touched by drop_vnode.
  virtual void save_record(vnode_id vnode, std::string_view record) = 0;
  /// Saves the vnode's clock as it is after this batch: from then on only log entries that it lacks are needed on
  /// restart.
  virtual void save_clock(vnode_id vnode, const protocol::dot_clock& clock) = 0;
  /// An administrative value ("meta" column family).
  virtual void put_meta(std::string_view name, std::string_view value) = 0;
  virtual size_t operations() const = 0;
  virtual size_t bytes() const = 0;
  virtual void clear() = 0;
};

/// After an error of write or sync the store stays failed: every later write and sync returns the first error. (After a
/// failed fsync nobody knows what is on disk, and repeating it succeeds without having written anything.) Open it again
/// to go on.
class store {
public:
  virtual ~store() = default;

  virtual std::unique_ptr<write_batch> make_batch() const = 0;
  /// Atomic; leaves the batch as it is. After return the effects are visible to reads and survive the death of the
  /// process; they survive a machine crash after the next sync().
  virtual status write(write_batch& batch) = 0;
  /// Everything written before the call is on disk when it returns. Thread-safe.
  virtual status sync() = 0;
  /// Like sync(), but may do its work in the background. What it cannot do is reported by a later write() or sync().
  virtual void request_sync() = 0;
  /// The error after which nothing is written any more, also one of a sync in the background. Thread-safe.
  virtual status health() const = 0;
  /// A number that grows with every write, and how far of it is on disk: what was written when written() was `x` will
  /// survive a machine crash once synced() >= x. Thread-safe.
  virtual uint64_t written() const = 0;
  virtual uint64_t synced() const = 0;

  /// The encoded object of a key; nothing if there is none.
  struct read_result {
    std::optional<std::string> object;
    status what;
  };
  virtual read_result get(vnode_id vnode, std::string_view key) const = 0;
  struct key_ref {
    vnode_id vnode;
    std::string_view key;
  };
  /// Many reads at once; results in the order of `keys`.
  virtual std::vector<read_result> get_many(const std::vector<key_ref>& keys) const = 0;

  /// Visits (key, encoded object) of one vnode in key order, starting after `after` (empty: at the beginning), until
  /// `visit` returns false. A consistent snapshot for the time of the call.
  virtual status scan(vnode_id vnode, std::string_view after,
                      const std::function<bool(std::string_view key, std::string_view object)>& visit) const = 0;

  /// Visits the logged dots of one vnode within `ranges` in order, until `visit` returns false. @pre the ranges are in
  /// order and disjoint, as those of a clock are; one that ends before it begins is empty.
  virtual status scan_log(vnode_id vnode, const std::vector<protocol::dot_range>& ranges,
                          const std::function<bool(const dot& d, std::string_view key)>& visit) const = 0;

  /// Visits what was buried in one vnode and is due at `until` or before, earliest first, until `visit` returns false.
  virtual status scan_graves(vnode_id vnode, timestamp until,
                             const std::function<bool(timestamp due, std::string_view key)>& visit) const = 0;

  /// What each vnode with any data knows: its saved clock joined with the dots of its log. For start-up.
  struct clocks_result {
    std::vector<std::pair<vnode_id, protocol::dot_clock>> clocks; ///< Sorted by vnode.
    status what;
  };
  virtual clocks_result load_clocks() const = 0;
  struct records_result {
    std::vector<std::pair<vnode_id, std::string>> records; ///< As saved by save_record, sorted by vnode.
    status what;
  };
  virtual records_result load_records() const = 0;

  virtual read_result get_meta(std::string_view name) const = 0;

  /// About how many bytes the objects take, and how many are free on the disk. Cheap. Nothing: not known.
  struct usage {
    uint64_t stored = 0, disk_free = 0;
  };
  virtual std::optional<usage> used() const { return std::nullopt; }
};

} // namespace crema::storage
