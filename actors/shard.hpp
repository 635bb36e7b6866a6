// The replica's work without the actor: the vnodes of one storage shard, their clocks, and the order in which a flush
// does things. Operations are collected by handle() and take effect at flush():
//
//   1. one atomic batch: data, dot log (and with it the clocks) of everything collected
//   2. answers to writes that need no fsync, and the dots just given: the other owners can work meanwhile
//   3. reads, after the writes: no read returns, and no context claims, what is not written
//   4. one fsync if a bucket asks for it, then the answers that waited for it
#pragma once

#include "actors/node_env.hpp"
#include "messages/replica.hpp"
#include "messages/sync.hpp"
#include "protocol/hybrid_clock.hpp"
#include "protocol/vnode.hpp"
#include "storage/cached_store.hpp"
#include "storage/store.hpp"

#include <functional>
#include <memory>
#include <optional>
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
  static constexpr uint64_t page_dots_max = 10'000;          ///< Dots looked up for one key page.

  /// @param index, count the partitions p with p % count == index belong to this shard.
  /// @param clocks of this node's vnodes, as storage::store::load_clocks returns them; others are ignored.
  shard(env_ptr env, std::shared_ptr<storage::store> store, replica_id self, size_t index, size_t count,
        const std::vector<std::pair<vnode_id, protocol::dot_clock>>& clocks);

  /// Answers for `source`, an index that the shell gave to the sender of the operations.
  using answer_fn = std::function<void(size_t source, replica_answer answer)>;

  void on_ring(protocol::ring_ptr ring) { ring_ = std::move(ring); }
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
  std::optional<failure> make_page(const page_request& request, page_message& page, const answer_fn& answer);
  std::optional<failure> apply_page(const page_message& page, uint64_t& dots_new, const answer_fn& answer);
  /// Live keys of one partition of a bucket.
  std::optional<failure> count_keys(vnode_id id, uint64_t& keys);

  /// Saves all clocks and syncs: the last act of an orderly stop.
  [[nodiscard]] storage::status close();

  uint64_t epoch() const { return ring_->epoch; }
  /// Is a request of a node that knows `epoch` to be refused (docs/protocol.md, rule R1)?
  bool stale(uint64_t epoch) const { return epoch < ring_->epoch; }
  std::map<std::string, uint64_t> counters() const;

private:
  struct held {
    protocol::vnode node;
    uint64_t unsaved = 0; // Dots since the clock was saved.
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

  held* find(vnode_id id, std::string& why);
  void refuse(size_t source, const replica_op& op, errc why, std::string text, const answer_fn& answer);
  void put(size_t source, replica_op& op, held& at, const answer_fn& answer);
  void apply(size_t source, replica_op& op, held& at, const answer_fn& answer);
  void note_dots(held& at, uint64_t count);
  storage::status write_batch(const answer_fn& answer);
  void answer_reads(const answer_fn& answer);
  void answer_reads(size_t from, size_t to, const answer_fn& answer);
  replica_answer answer_to(const read& r, std::string_view stored, const storage::status& what);
  std::string failed_early_; // A write outside flush() failed; flush() reports it.

  env_ptr env_;
  std::shared_ptr<storage::store> store_;
  replica_id self_;
  size_t index_, count_;
  protocol::ring_ptr ring_;
  protocol::hybrid_clock clock_;
  timestamp time_bound_ = 0; // Persisted: after a restart times go on above it.
  std::unordered_map<vnode_id, held> vnodes_;
  storage::cached_store objects_;    // Of this shard's keys; all reads and writes of objects go through it.
  storage::write_batch& batch_;      // Its batch.
  std::vector<write_answer> writes_; // Applied in batch_; answered when it is written.
  std::vector<write_answer> synced_; // Written; answered after the fsync.
  std::vector<read> reads_;
  uint64_t given_ = 0, applied_ = 0, known_ = 0, reads_done_ = 0, refused_ = 0, batches_ = 0, syncs_ = 0, pages_ = 0;
};

} // namespace crema
