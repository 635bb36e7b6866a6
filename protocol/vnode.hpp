// The replica of one (bucket, partition): its clock, and the rules by which writes enter it (docs/protocol.md; spec.py,
// class Replica). Pure: what is to be stored goes out through `sink`, all effects of one call in one atomic batch.
//
// The invariant everything rests on: a dot is in the clock if and only if its effect is in the state of its key.
#pragma once

#include "protocol/dot_clock.hpp"
#include "protocol/object.hpp"
#include "protocol/types.hpp"

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace crema::protocol {

/// Where a vnode's effects go; storage/ implements it by a batch that is written atomically.
class vnode_sink {
public:
  virtual ~vnode_sink() = default;
  /// Joins `operand` (an encoded object) into the state of `key`. Blind: nothing is read.
  virtual void merge(vnode_id vnode, std::string_view key, std::string_view operand) = 0;
  /// Puts `object` in the place of whatever `key` holds. Unlike merge no join: only for who knows that nothing was
  /// written since it was looked at.
  virtual void replace(vnode_id vnode, std::string_view key, std::string_view object) = 0;
  /// Remembers which key `d` wrote, until the dot is stable. On restart the clock is read back from here.
  virtual void log(vnode_id vnode, const dot& d, std::string_view key) = 0;
  /// Remembers that `key` may hold nothing but remains from `due` on: a tombstone, an expired value, the context of a
  /// removed key.
  virtual void bury(vnode_id vnode, timestamp due, std::string_view key) = 0;
};

/// One new write, before it has a dot.
struct write_intent {
  std::string_view key;
  bool remove = false;                ///< A tombstone (lww) or a value-less delta (siblings).
  std::string_view value;             ///< Ignored if `remove`.
  uint64_t ttl_ms = 0;                ///< 0: does not expire. Counted from the write's timestamp.
  const dot_clock* context = nullptr; ///< Siblings only: what it replaces; null: nothing.
};

/// One key in catch-up: the state of the key at a complete replica, and the dots of that key the receiver lacked.
struct key_page {
  std::string key; ///< Empty: of no key. Nobody has any more what these dots named (vnode::close).
  /// Encoded, as vnode::expanded() gives it. Empty: no register. A siblings object is never empty: even without
  /// siblings it says what was seen.
  std::string object;
  std::vector<dot> dots;
};

/// What a look at a key whose remains were buried came to.
struct cleanup {
  bool erase = false;                 ///< The key holds nothing that any read or late write needs: remove it.
  std::optional<std::string> replace; ///< Else, if set: put this in its place.
  bool settled = false;               ///< The grave has served its purpose: unbury it.
};

class vnode {
public:
  /// @param id where its effects go: the vnode's place in the store.
  /// @param self the id that names this replica's own writes.
  /// @param clock what the stored state reflects.
  /// @param counter the highest that `self` ever gave for this vnode, if it may be above what `clock` knows (a
  /// temporary vnode that was dropped and comes back).
  vnode(vnode_id id, conflict_rule rule, replica_id self, dot_clock clock, uint64_t counter = 0);

  /// Gives the next dot to a new write and applies it.
  /// @param time a hybrid timestamp above all given before: counters of one id are given out in timestamp order.
  /// @returns the delta, for the other owners.
  struct given {
    dot id;
    std::string delta;
  };
  given give(const write_intent& write, timestamp time, vnode_sink& sink);

  /// Is `delta` what a vnode of this kind gives for a write named `id`? Peers' deltas are merged blind, so this is the
  /// last look at them: one that does not decode would make its key unreadable.
  bool accepts(const dot& id, std::string_view delta) const;

  /// Applies a delta made elsewhere. Idempotent.
  /// @returns false if nothing was done: its dot was known already, or the delta is not one that accepts() accepts.
  bool apply(const dot& id, std::string_view key, std::string_view delta, vnode_sink& sink);

  /// Applies one page of catch-up: state and dots together. A malformed page, and one that would break the invariant
  /// (it has a sibling or register whose dot is neither ours nor among its dots), is refused as a whole.
  /// @returns the number of dots that were new; 0: nothing was done.
  size_t apply_page(const key_page& page, vnode_sink& sink);

  /// Takes dots for known that nobody has any more: writes without effect, logged under the empty key, so that others
  /// learn of it by catch-up. Of its own id it knows better. @returns the number of dots that were new.
  size_t close(const dot_clock& lost, vnode_sink& sink);

  /// Takes an object as a complete peer stores it into a copy of that peer's vnode. Without a dot or a clock: the
  /// copy gets its clock when it is whole. @returns false, and does nothing, if the bytes are malformed.
  bool adopt(std::string_view key, std::string_view object, vnode_sink& sink) const;

  /// What a key holds in the join of this vnode and another replica of it, which has `their_clock`; all as stored,
  /// empty: nothing. What only one side has was removed by the other if that knows its dot. When every key that either
  /// has holds the join, the join of both clocks is its clock (take_clock); in between it belongs to no clock.
  /// @returns nothing if the bytes are malformed.
  std::optional<std::string> joined(std::string_view mine, std::string_view theirs, const dot_clock& their_clock) const;
  void take_clock(const dot_clock& their_clock) { clock_.join(their_clock); }

  /// What may go of the stored bytes of a key for which bury() was called with `due` (docs/protocol.md, "Deletes").
  /// @param horizon every dot with a time up to this one is known to all owners, and none such can still turn up.
  /// @param expired_ms values that expire at or before this are expired for every node.
  cleanup clean(std::string_view stored, timestamp due, timestamp horizon, uint64_t expired_ms) const;

  /// What a read of stored bytes returns to a coordinator: lww as stored; siblings stripped and expanded by the clock.
  /// Empty bytes mean no object. @returns nothing if the bytes are malformed.
  std::optional<std::string> expanded(std::string_view stored) const;
  /// The digest of stored bytes. @returns nothing if the bytes are malformed.
  std::optional<uint64_t> digest(std::string_view stored) const;
  /// Number of siblings in stored bytes; 0 or 1 for lww.
  size_t sibling_count(std::string_view stored) const;

  /// Its place.
  vnode_id id() const { return id_; }
  conflict_rule rule() const { return rule_; }
  const dot_clock& clock() const { return clock_; }
  /// The highest counter that was ever given under the own id.
  uint64_t counter() const { return std::max(counter_, clock_.highest(self_)); }

private:
  bool nameable(const dot& d) const;
  void enter(const dot& id, std::string_view key, std::string_view delta, vnode_sink& sink);
  std::optional<std::string> page_operand(const key_page& page, const dot_clock& arriving) const;

  vnode_id id_;
  conflict_rule rule_;
  replica_id self_;
  dot_clock clock_;
  uint64_t counter_;
};

} // namespace crema::protocol
