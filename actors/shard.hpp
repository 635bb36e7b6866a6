// The replica's work without the actor: the vnodes of one storage shard, their clocks, and the order in which a flush
// does things. Operations are collected by handle() and take effect at flush():
//
//   1. one atomic batch: data, dot log (and with it the clocks) of everything collected; then, where a register may
//   hold
//      something newer than what was applied, a look at it
//   2. answers to writes that need no fsync, and the dots just given: the other owners can work meanwhile
//   3. reads, after the writes: no read returns, and no context claims, what is not written
//   4. one fsync if a bucket asks for it, then the answers that waited for it
#pragma once

#include "actors/node_env.hpp"
#include "messages/local.hpp"
#include "messages/replica.hpp"
#include "messages/sync.hpp"
#include "protocol/applied_times.hpp"
#include "protocol/distinct_counter.hpp"
#include "protocol/hybrid_clock.hpp"
#include "protocol/missing_keys.hpp"
#include "protocol/planted.hpp"
#include "protocol/sync_planner.hpp"
#include "protocol/vnode.hpp"
#include "storage/cached_store.hpp"
#include "storage/store.hpp"

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

namespace crema {

class shard {
public:
  static constexpr size_t batch_bytes_max = size_t{8} << 20; ///< A larger batch is written before the flush.
  static constexpr size_t reads_at_once = 64;                ///< Values in memory together.
  static constexpr uint64_t clock_save_every = 4096;         ///< Dots per vnode between two saved clocks.
  static constexpr size_t shards_max = 64;
  static constexpr uint64_t time_reserve_micros = 1'000'000; ///< No time is given out beyond a bound that is on disk.
  static constexpr uint64_t page_dots_max = 4096;            ///< Dots looked up for one page of the end of a refill.
  static constexpr size_t page_keys_max = 4096;              ///< Keys looked at together, or in one page of a scrub.
  static constexpr size_t ahead_max = 32;                    ///< Catch-ups that are remembered between two pages.
  static constexpr size_t scrub_bytes_max = size_t{1} << 20; ///< Looked at for one question of a scrub.
  static constexpr uint64_t repair_dots_max = 1000;          ///< Who is further behind gets no repair of single keys.
  static constexpr uint64_t waiting_part = 16;   ///< So much of a full log at most are stable pieces that may grow.
  static constexpr uint64_t copied_reports = 10; ///< A copy of which no part was asked for in so many is given up.
  static constexpr size_t clean_at_once = 512;   ///< Graves looked at in one settlement.

  /// @param index, count the partitions p with p % count == index belong to this shard.
  /// @param clocks of this node's vnodes, as storage::store::load_clocks returns them; others are ignored. Their
  /// records are read from the store.
  /// @param directory the id of this data directory; 0: not known.
  shard(env_ptr env, std::shared_ptr<storage::store> store, replica_id self, size_t index, size_t count,
        const std::vector<std::pair<vnode_id, protocol::dot_clock>>& clocks, uint64_t directory = 0);

  /// Answers for `source`, an index that the shell gave to the sender of the operations.
  using answer_fn = std::function<void(size_t source, replica_answer answer)>;

  /// From now on requests of older rings are refused. Vnodes that this node is to own begin to be here, and those that
  /// it owns no more become temporary.
  void on_ring(protocol::ring_ptr ring, const answer_fn& answer);
  void handle(size_t source, replica_op op, const answer_fn& answer);
  /// Steps 1 to 3. @returns an error if the store failed to write: the shard must not go on.
  [[nodiscard]] storage::status flush(const answer_fn& answer);
  /// Is a step 4 due?
  bool needs_sync() const { return !synced_.empty(); }
  /// Step 4; to be called when the answers of flush() have been sent.
  [[nodiscard]] storage::status sync(const answer_fn& answer);
  /// Batches written since the start; the shell uses it to sync at intervals only if there is something to sync.
  uint64_t batches() const { return batches_; }

  // Control traffic; each writes what is collected first.
  struct failure {
    errc why = errc::ok;
    std::string text;
  };
  std::optional<failure> clock_of(vnode_id id, std::string& clock);
  /// @param asker any number that tells it from others.
  std::optional<failure> make_page(const page_request& request, page_message& page, const answer_fn& answer,
                                   uintptr_t asker = 0);
  std::optional<failure> apply_page(const page_message& page, page_applied& applied, const answer_fn& answer);

  // Refill (docs/protocol.md, "Sync"): the source's side, and ours.
  std::optional<failure> make_fill_page(const fill_request& request, fill_page& page, const answer_fn& answer);
  /// @returns how far the copy is that was begun, now or before; nothing: none is needed.
  std::optional<copy_progress> begin_fill(const protocol::refill_task& task, const answer_fn& answer);
  void abandon_fill(vnode_id vnode, const answer_fn& answer);
  std::optional<failure> apply_fill_page(const fill_page& page, const answer_fn& answer);
  /// Owner vnodes that begin empty.
  void open(const std::vector<protocol::opening_task>& tasks, const answer_fn& answer);
  void be_born(const std::vector<vnode_id>& vnodes, const answer_fn& answer);

  // Scrub (docs/protocol.md, "Scrub"): what is stored is looked at, not what is kept in memory.
  std::optional<failure> look(const scrub_request& request, scrub_found& found, const answer_fn& answer);
  std::optional<failure> read_keys(const scrub_read& request, scrub_states& states, const answer_fn& answer);
  std::optional<failure> repair_keys(const key_repairs& repairs, keys_repaired& done, const answer_fn& answer);

  /// Keeps a number of the node's, for load_handoff_memory().
  void put_number(std::string_view name, uint64_t number);

  // What becomes of things that everybody has.
  void settle(const settlement& what, const answer_fn& answer);
  void drop(const protocol::drop_task& task, const answer_fn& answer);
  void close_gaps(const protocol::closing_task& task, const answer_fn& answer);

  /// Notes what has changed since the last report; take_report() returns it once it is on disk. One at a time.
  void begin_report(const report_request& request, const answer_fn& answer);
  std::optional<shard_report> take_report();
  storage::status health() const { return store_->health(); }
  bool report_waits() const { return report_.has_value(); }
  /// Live keys of one partition of a bucket.
  std::optional<failure> count_keys(vnode_id id, uint64_t& keys);

  /// Saves all clocks and syncs: the last act of an orderly stop.
  [[nodiscard]] storage::status close();

  uint64_t epoch() const { return ring_->epoch; }
  /// Is a request of a node that knows `epoch` to be refused (docs/topology.md, rule R1)?
  bool stale(uint64_t epoch, partition_id partition) const {
    return epoch < ring_->since_of(partition) && !protocol::planted(protocol::bug::stale_epoch_served);
  }
  std::map<std::string, uint64_t> counters() const;

private:
  struct held {
    held(vnode_id i, protocol::vnode x) : id(i), node(std::move(x)) {}

    vnode_id id;
    protocol::vnode node; // Under the id of the place in the store that holds it.
    protocol::vnode_role role = protocol::vnode_role::owner;
    protocol::vnode_state state = protocol::vnode_state::complete;
    uint64_t unsaved = 0;        // Dots since the clock was saved.
    protocol::dot_clock trimmed; // What is no longer in the log.
    bool changed = true;         // Since the last report.
    bool has_graves = false;
    timestamp next_grave = 0;                         // The first that was not due when last looked at; 0: none.
    uint64_t epoch = 0;                               // Of the record.
    bool former = false;                              // Of the record.
    uint64_t since_ms = 0;                            // Temporary: when it came to be, as far as this process knows.
    uint64_t bytes = 0;                               // Temporary: about what it holds.
    std::unique_ptr<protocol::distinct_counter> keys; // Temporary: how many different ones.

    bool copying = false;                  // The other place may hold a part of a copy,
    std::optional<copy_progress> progress; // and is so far. Nothing: its parts are all there.
    uint64_t remade = 0;                   // Of the record.
    // Of who makes a copy of it: until that many reports its log stays, and what is stable waits.
    uint64_t copied_until = 0;
    protocol::dot_clock trim_later;

    bool whole() const { return protocol::is_whole(state); }
    void count_held(std::string_view key, size_t object_bytes) {
      if (keys == nullptr)
        return;
      bytes += key.size() + object_bytes;
      keys->add(storage::object_cache::hash(key));
    }
  };
  struct read {
    size_t source;
    uint64_t request;
    held* at;
    std::string key;
    bool digest_only;
  };
  struct write_answer {
    size_t source;
    replica_answer answer;
    bool fsync; // The bucket asks for it.
  };
  /// Of a write that may have lost to what is stored.
  struct comparison {
    size_t write; // Index into writes_.
    vnode_id vnode;
    std::string key;
    dot id;
  };

  /// Into the batch; notes what of it concerns the vnode as a whole.
  class noting_sink final : public protocol::vnode_sink {
  public:
    /// @param newest the register that is merged wins over whatever the key holds.
    noting_sink(storage::write_batch& batch, held& at, bool newest = false) : batch_(batch), at_(at), newest_(newest) {}
    void merge(vnode_id vnode, std::string_view key, std::string_view operand) override {
      at_.count_held(key, operand.size());
      if (newest_)
        batch_.merge_known(vnode, key, operand, operand); // Who reads it need not look further.
      else
        batch_.merge(vnode, key, operand);
    }
    void replace(vnode_id vnode, std::string_view key, std::string_view object) override {
      batch_.replace(vnode, key, object);
    }
    void log(vnode_id vnode, const dot& d, std::string_view key) override { batch_.log(vnode, d, key); }
    void bury(vnode_id vnode, timestamp due, std::string_view key) override {
      at_.has_graves = true;
      batch_.bury(vnode, due, key);
    }

  private:
    storage::write_batch& batch_;
    held& at_;
    bool newest_;
  };

  void load(const std::vector<std::pair<vnode_id, protocol::dot_clock>>& clocks);
  held& hold(vnode_id id, const protocol::vnode_record& record, protocol::dot_clock clock);
  protocol::vnode_record new_record(vnode_id id) const;
  void take_roles();
  void take_up_copy(held& at, const protocol::vnode_record& record);
  void drop_for_good(vnode_id id, uint64_t counter);
  bool begins_with(const protocol::bucket& bucket, vnode_id id) const;
  void become_owner(held& at);
  void become_former(held& at);
  void save_record(const held& at);
  void set_copying(held& at, std::optional<copy_progress> progress, const answer_fn& answer);
  std::optional<failure> take_place(held& at, held copy, const answer_fn& answer);
  std::optional<failure> catch_up_copy(const held& at, held& copy, const answer_fn& answer);
  std::optional<failure> join_into_copy(const held& at, held& copy, const answer_fn& answer);
  std::optional<failure> join_keys(vnode_id place, const std::function<bool(const std::string&)>& wanted,
                                   const held& at, held& copy, const answer_fn& answer);
  void trim(held& at, const protocol::dot_clock& stable);
  bool log_full(const held& at) const; ///< Longer than an absent owner is waited for.
  /// Looks at up to `graves_max` graves. @returns how many it looked at.
  size_t clean(held& at, timestamp horizon, uint64_t expired_ms, size_t graves_max, const answer_fn& answer);
  /// No time that was given, or is in the store, is above the bound that is on disk.
  void reserve_time(timestamp time);
  void note_stored_time(timestamp time);
  /// Persists a time of this shard.
  void put_time(std::string_view name, timestamp time);
  void pass(timestamp time);
  void write_now(const answer_fn& answer);
  /// The same, and on disk if the bucket asks for that: readers may rely on what was repaired.
  std::optional<failure> write_through(bucket_id bucket, const answer_fn& answer);
  std::optional<failure> failed_to_write() const;
  /// The state of a key as others get it. Of no key (the empty one): nothing.
  std::optional<failure> expanded_state(const held& at, const std::string& key, std::string& object) const;
  /// Has `keys` told what is in the log of what a peer with this clock lacks.
  std::optional<failure> look_up(const held& at, const protocol::dot_clock& theirs, const std::string& only_key,
                                 protocol::missing_keys& keys) const;
  protocol::missing_keys take_ahead(vnode_id vnode, uintptr_t asker, const protocol::dot_clock& theirs);
  void forget_ahead(vnode_id vnode);

  std::optional<failure> check_complete(vnode_id id, held*& at);
  std::optional<failure> write_first(const answer_fn& answer);
  std::optional<failure> repair_key(held& at, const key_repair& x, bool& repaired);
  std::optional<failure> keys_since(const held& at, const protocol::dot_clock& then,
                                    std::optional<std::set<std::string>>& keys) const;

  /// The vnode if it is here. Else null, and why.
  held* find(vnode_id id, std::string& why);
  /// The same for an operation of a request; as a fallback we begin to hold it if need be. May be null without a
  /// reason: there is nothing to read.
  held* find(const replica_op& op, std::string& why);
  held& stand_in(vnode_id id);
  void count_held(held& at);
  void refuse(size_t source, const replica_op& op, errc why, std::string text, const answer_fn& answer);
  /// To a read of a temporary vnode that does not exist.
  void answer_nothing(size_t source, const replica_op& op, const answer_fn& answer);
  void put(size_t source, replica_op& op, held& at, const answer_fn& answer);
  void apply(size_t source, replica_op& op, held& at, const answer_fn& answer);
  void note_dots(held& at, uint64_t count);
  void compare();
  storage::status write_batch(const answer_fn& answer);
  void answer_reads(const answer_fn& answer);
  void answer_reads(size_t from, size_t to, const answer_fn& answer);
  replica_answer answer_to(const read& r, std::string_view stored, const storage::status& what);
  std::string failed_early_; // A write outside flush() failed; flush() reports it.

  env_ptr env_;
  std::shared_ptr<storage::store> store_;
  replica_id self_;
  size_t index_, count_;
  uint64_t directory_;
  protocol::ring_ptr ring_;
  protocol::hybrid_clock clock_;
  timestamp time_bound_ = 0;  // Persisted: after a restart times go on above it.
  timestamp stored_time_ = 0; // Persisted: the newest that was stored although it is too far ahead; 0: none.
  bool keeps_time_ = false;   // What it gives is later than any time that this node ever announced.
  protocol::applied_times times_{0};
  std::unordered_map<vnode_id, held> vnodes_;
  storage::cached_store objects_; // Of this shard's keys; all reads and writes of objects go through it.
  storage::write_batch& batch_;   // Its batch.
  std::unordered_map<vnode_id, uint64_t> dropped_counters_; // Of temporary vnodes that are gone.
  std::vector<vnode_id> gone_;                              // Since the last report.
  struct waiting_report {
    shard_report what;
    uint64_t written; // It may go out when so much is on disk.
  };
  std::optional<waiting_report> report_;
  struct looked_ahead {
    vnode_id vnode;
    uintptr_t asker;
    protocol::missing_keys keys;
    uint64_t used; // In which report.
  };
  std::list<looked_ahead> ahead_; // For pages to come; the one used last is the last.
  size_t settlements_ = 0;
  uint64_t reports_ = 0;
  std::vector<write_answer> writes_; // Applied in batch_; answered when it is written.
  std::vector<comparison> comparisons_;
  std::vector<write_answer> synced_; // Written; answered after the fsync.
  std::vector<read> reads_;
  uint64_t kept_aside_ = 0, dots_caught_up_ = 0, filled_ = 0, resumed_ = 0, trimmed_ = 0, cleaned_ = 0, closed_ = 0,
           dropped_ = 0, dropped_early_ = 0;
  uint64_t given_ = 0, applied_ = 0, known_ = 0, reads_done_ = 0, refused_ = 0, batches_ = 0, syncs_ = 0, pages_ = 0,
           compared_ = 0, keys_restored_ = 0;
};

} // namespace crema
