// Handoff <-> replica, handoff <-> handoff: sync (docs/protocol.md, "Sync"). Control traffic: one request, one
// response.
#pragma once

#include "messages/replica.hpp"

#include <map>

namespace crema {

/// Every control request starts with these, and its answer, if it has none of them, with the version of the request.
/// What answers and requests hold many of does not know the version: it never changes. Templates: a struct of its own
/// per request keeps handlers apart.
template <class Derived>
struct vnode_request {
  uint16_t version = message_version_newest;
  uint64_t epoch = 0;
  bucket_id bucket = 0;
  partition_id partition = 0;

  vnode_id vnode() const { return {bucket, partition}; }
  Derived& about(uint64_t its_epoch, vnode_id id) {
    epoch = its_epoch;
    bucket = id.bucket;
    partition = id.partition;
    return static_cast<Derived&>(*this);
  }
};

/// What does the vnode know? -> clock_reply.
struct clock_request : vnode_request<clock_request> {
  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, clock_request& x) {
    return inspect_versioned(f, "crema::clock_request", x.version, x.epoch, x.bucket, x.partition);
  }
};

struct clock_reply {
  uint16_t version = message_version_newest;
  std::string clock; ///< Encoded dot_clock.

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, clock_reply& x) {
    return inspect_versioned(f, "crema::clock_reply", x.version, x.clock);
  }
};

/// Catch-up: what does a replica with `clock` lack? Of one key, or, if `key` is empty, of any. -> page_message.
/// Refused as `behind` if it lacks what is no longer in the log.
struct page_request : vnode_request<page_request> {
  std::string key;
  std::string clock;
  uint32_t bytes_max = 0; ///< About; one key is always sent whole.

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, page_request& x) {
    return inspect_versioned(f, "crema::page_request", x.version, x.epoch, x.bucket, x.partition, x.key, x.clock,
                             x.bytes_max);
  }
};

/// One key: its state, expanded, and those of its dots that are new to the asker.
struct key_state {
  std::string key;
  std::string object;
  std::vector<uint64_t> dots; ///< replica id, counter, replica id, counter, ...

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, key_state& x) {
    return f(caf::meta::type_name("crema::key_state"), x.key, x.object, x.dots);
  }
};

/// Some keys of catch-up. Sent to the replica that lacks them, it is answered by page_applied.
struct page_message : vnode_request<page_message> {
  int64_t heard = 0; ///< When sent there: as in replica_batch.
  std::vector<key_state> keys;

  size_t bytes() const {
    size_t sum = 0;
    for (const auto& k : keys)
      sum += k.key.size() + k.object.size() + 8 * k.dots.size();
    return sum;
  }
  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, page_message& x) {
    return inspect_versioned(f, "crema::page_message", x.version, x.epoch, x.bucket, x.partition, x.heard, x.keys);
  }
};

struct page_applied {
  uint16_t version = message_version_newest;
  uint64_t dots_new = 0;
  std::string clock; ///< Of the vnode, afterwards.

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, page_applied& x) {
    return inspect_versioned(f, "crema::page_applied", x.version, x.dots_new, x.clock);
  }
};

/// Refill: the next part of a copy of the vnode, from the same data that gave the parts before. -> fill_page.
///   begin   nothing yet; the answer names the clock from which `rest` will go on
///   data    all objects, as stored, in key order
///   log     the dot log: of the dots in `clock` without `trimmed`
///   rest    what has changed since `clock`; the answer that has all of it (`done`) makes the copy complete
enum class fill_stage : uint8_t { begin = 0, data = 1, log = 2, rest = 3 };
struct fill_request : vnode_request<fill_request> {
  fill_stage stage = fill_stage::begin;
  uint64_t source = 0;          ///< fill_page::source of what it was begun with; 0 in begin.
  std::string after_key;        ///< data
  replica_id after_replica = 0; ///< log
  uint64_t after_counter = 0;   ///< log
  std::string clock;            ///< log, rest
  std::string trimmed;          ///< log
  uint32_t bytes_max = 0;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, fill_request& x) {
    return inspect_versioned(f, "crema::fill_request", x.version, x.epoch, x.bucket, x.partition, x.stage, x.source,
                             x.after_key, x.after_replica, x.after_counter, x.clock, x.trimmed, x.bytes_max);
  }
};

/// A key as it is stored; absent: it holds nothing any more.
struct stored_key {
  std::string key;
  std::string object;
  bool present = true;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, stored_key& x) {
    return f(caf::meta::type_name("crema::stored_key"), x.key, x.object, x.present);
  }
};
struct logged_dot {
  replica_id replica = 0;
  uint64_t counter = 0;
  std::string key;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, logged_dot& x) {
    return f(caf::meta::type_name("crema::logged_dot"), x.replica, x.counter, x.key);
  }
};
struct fill_page : vnode_request<fill_page> {
  fill_stage stage = fill_stage::begin;
  uint64_t source = 0; ///< Tells the data apart: another disk, or another copy on it.
  std::vector<stored_key> keys;
  std::vector<logged_dot> dots;
  std::string clock;    ///< begin: of the source now. rest: what the copy reflects with this page.
  std::string trimmed;  ///< begin, rest.
  timestamp latest = 0; ///< rest: what the source gives from now on is later, and so must be what the copy gives.
  bool done = false;    ///< The stage ends with this page.

  size_t bytes() const {
    size_t sum = 0;
    for (const auto& k : keys)
      sum += k.key.size() + k.object.size();
    for (const auto& d : dots)
      sum += 16 + d.key.size();
    return sum;
  }
  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, fill_page& x) {
    return inspect_versioned(f, "crema::fill_page", x.version, x.epoch, x.bucket, x.partition, x.stage, x.source,
                             x.keys, x.dots, x.clock, x.trimmed, x.latest, x.done);
  }
};

/// Handoff -> peer's handoff: what has changed of the vnodes that both have to do with. Sent every sync interval, also
/// when nothing has.
struct vnode_state_note {
  bucket_id bucket = 0;
  partition_id partition = 0;
  uint8_t role = 0;  ///< protocol::vnode_role; none: it is gone.
  uint8_t state = 0; ///< protocol::vnode_state.
  std::string clock;
  bool born_with_you = false; ///< protocol::vnode_note; the next one as well.
  bool copying = false;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, vnode_state_note& x) {
    return f(caf::meta::type_name("crema::vnode_state_note"), x.bucket, x.partition, x.role, x.state, x.clock,
             x.born_with_you, x.copying);
  }
};
struct sync_state {
  uint16_t version = message_version_newest;
  uint64_t epoch = 0;
  node_id from{};
  uint64_t incarnation = 0;
  uint64_t sequence = 0; ///< Counts from 1 per pair and incarnation; who misses one asks for all again (sync_resend).
  bool full = false;     ///< Void is what was said before.
  std::vector<vnode_state_note> notes;
  /// With the last message of a round: no write that `from` gives from now on has a time up to this; its wall clock.
  timestamp latest = 0;
  uint64_t wall_ms = 0;
  uint64_t asks = 0;    ///< A number; who has this message sends it back
  uint64_t answers = 0; ///< with what it had on disk after that, or later. 0: nothing was asked yet.
  /// Of the background work that `from` might do, the share that its clients bear, as far as it has tried
  /// (sync_budget); and whether it does any.
  uint32_t bearable = 0;
  bool moves = false;
  bool waits = false; ///< A page may be on its way to it for longer than most ever are.
  /// protocol::known_directories, if something has changed; 0: nothing has.
  uint64_t directory = 0;
  std::map<node_id, uint64_t> directories_met;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, sync_state& x) {
    return inspect_versioned(f, "crema::sync_state", x.version, x.epoch, x.from, x.incarnation, x.sequence, x.full,
                             x.notes, x.latest, x.wall_ms, x.asks, x.answers, x.bearable, x.moves, x.waits, x.directory,
                             x.directories_met);
  }
};

/// Handoff -> peer's handoff: tell me all.
struct sync_resend {
  uint16_t version = message_version_newest;
  node_id from{};

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, sync_resend& x) {
    return inspect_versioned(f, "crema::sync_resend", x.version, x.from);
  }
};

/// Handoff -> peer's handoff: begin a round now, a copy waits for what you will tell.
struct sync_hurry {
  uint16_t version = message_version_newest;
  node_id from{};

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, sync_hurry& x) {
    return inspect_versioned(f, "crema::sync_hurry", x.version, x.from);
  }
};

/// Scrub (docs/protocol.md, "Scrub"): what does the vnode hold in the range `after` < key <= `until`? -> scrub_found.
struct scrub_request : vnode_request<scrub_request> {
  std::string after; ///< Empty: from the beginning.
  std::string until; ///< Empty: to the end.
  bool list = false; ///< Name the keys, not only their hash.
  uint32_t keys_max = 0;
  uint32_t bytes_max = 0;
  uint64_t expires_ms = 0; ///< Values that expire at or before this count as remains.

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, scrub_request& x) {
    return inspect_versioned(f, "crema::scrub_request", x.version, x.epoch, x.bucket, x.partition, x.after, x.until,
                             x.list, x.keys_max, x.bytes_max, x.expires_ms);
  }
};

/// protocol::content_hashes of a key.
struct listed_key {
  std::string key;
  uint64_t visible = 0;
  uint64_t held = 0;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, listed_key& x) {
    return f(caf::meta::type_name("crema::listed_key"), x.key, x.visible, x.held);
  }
};
struct scrub_found {
  uint16_t version = message_version_newest;
  bool end = false;   ///< Nothing is left of the range.
  std::string until;  ///< Else: the last key that was looked at.
  uint64_t keys = 0;  ///< Looked at.
  uint64_t bytes = 0; ///< Of these.
  uint64_t hash = 0;  ///< protocol::range_hash
  std::vector<listed_key> listed;
  std::string clock; ///< If keys are listed: what they reflect.

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, scrub_found& x) {
    return inspect_versioned(f, "crema::scrub_found", x.version, x.end, x.until, x.keys, x.bytes, x.hash, x.listed,
                             x.clock);
  }
};

/// What is stored under these keys? -> scrub_states, of as many as fit, at least one.
struct scrub_read : vnode_request<scrub_read> {
  std::vector<std::string> keys;
  uint32_t bytes_max = 0;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, scrub_read& x) {
    return inspect_versioned(f, "crema::scrub_read", x.version, x.epoch, x.bucket, x.partition, x.keys, x.bytes_max);
  }
};
struct scrub_states {
  uint16_t version = message_version_newest;
  std::vector<std::string> objects; ///< As stored, of the first of the keys; empty: nothing.
  std::string clock;                ///< What they reflect.

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, scrub_states& x) {
    return inspect_versioned(f, "crema::scrub_states", x.version, x.objects, x.clock);
  }
};

/// Put this in the place of what was found to be wrong, of each key unless it has changed. -> keys_repaired.
struct key_repair {
  std::string key;
  uint64_t held = 0;  ///< content_hashes::held of what is to be replaced.
  std::string object; ///< Empty: nothing is to be held.

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, key_repair& x) {
    return f(caf::meta::type_name("crema::key_repair"), x.key, x.held, x.object);
  }
};
struct key_repairs : vnode_request<key_repairs> {
  std::string clock; ///< Of the receiver, when it was read first: of none of the keys may it have learned more since.
  std::vector<key_repair> keys; ///< In key order.

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, key_repairs& x) {
    return inspect_versioned(f, "crema::key_repairs", x.version, x.epoch, x.bucket, x.partition, x.clock, x.keys);
  }
};
struct keys_repaired {
  uint16_t version = message_version_newest;
  uint64_t repaired = 0;
  std::vector<uint32_t> refused; ///< Which of the keys, counted from 0: they changed meanwhile, or that cannot be told.

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, keys_repaired& x) {
    return inspect_versioned(f, "crema::keys_repaired", x.version, x.repaired, x.refused);
  }
};

/// How many live keys do these vnodes hold? -> count_reply.
struct count_request {
  uint16_t version = message_version_newest;
  uint64_t epoch = 0;
  bucket_id bucket = 0;
  std::vector<partition_id> partitions;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, count_request& x) {
    return inspect_versioned(f, "crema::count_request", x.version, x.epoch, x.bucket, x.partitions);
  }
};

struct count_reply {
  uint16_t version = message_version_newest;
  uint64_t keys = 0;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, count_reply& x) {
    return inspect_versioned(f, "crema::count_reply", x.version, x.keys);
  }
};

} // namespace crema
