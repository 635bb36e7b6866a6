// The state of the handoff actor, and the parts its work is split into: handoff.cpp (who knows what, and the tasks that
// follow), sync_sessions.cpp (catch-up and refill), read_repair.cpp (catch-up of one key at another node),
// sync_points.cpp (who waits until owners have something), scrub_sessions.cpp (do owners hold what their clocks say).
#pragma once

#include "actors/errors.hpp"
#include "actors/interfaces.hpp"
#include "protocol/sync_budget.hpp"
#include "protocol/sync_planner.hpp"

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace crema {

struct sync_session; // sync_sessions.cpp

struct handoff_state {
  static inline constexpr const char* name = "handoff";
  static inline constexpr const char* scrub_number = "scrub"; ///< keep()s scrubbed_ms.
  static constexpr size_t repairs_queued_max = 10'000;
  static constexpr size_t repairs_running_max = 64;
  static constexpr size_t sessions_max = 8; ///< Catch-ups and refills at once.
  static constexpr size_t refills_max = 6;  ///< Many copies to be made must not keep whole vnodes from catching up.
  static constexpr size_t fill_tries_max = 15;
  static constexpr std::chrono::seconds fill_retry_after{1};
  static constexpr size_t notes_bytes_max = size_t{256} << 10;
  static constexpr uint32_t page_bytes_min = 16 * 1024, page_bytes_first = 32 * 1024;
  /// Pages of catch-up are smaller than parts of a copy, since each of their keys is looked up: a quarter. Where
  /// clients are hurt, they are as small as makes so many pages a second at the pace that is left: who asks meanwhile
  /// waits less.
  static constexpr uint32_t page_bytes_part = 4, pages_per_s = 256, page_bytes_least = 4 * 1024;
  static constexpr std::chrono::milliseconds hurry_interval{50};
  static constexpr std::chrono::seconds step_timeout{2};
  static constexpr std::chrono::seconds page_timeout{5};       ///< Then it is asked whether the page was lost.
  static constexpr std::chrono::seconds page_timeout_max{600}; ///< Whatever the answer.
  static constexpr std::chrono::seconds slow_for{60};          ///< A peer for whom somebody waited for long.

  struct repair_job {
    repair_wanted what;
    caf::strong_actor_ptr waiter; ///< Is told when it has ended; null: nobody.
    /// Who waits has a job of its own: one that runs may have fetched what was there before.
    auto key() const { return std::tie(what.vnode, what.key, what.stale, what.source, what.request, waiter); }
    friend bool operator<(const repair_job& a, const repair_job& b) { return a.key() < b.key(); }
  };
  struct peer {
    caf::actor handoff;
    uint16_t version = message_version_newest;
    uint64_t received = 0;     // Sequence number of the last sync_state from it.
    uint64_t incarnation = 0;  // Of the process that sent that.
    uint64_t asks = 0;         // Its last question,
    uint64_t asked_before = 0; // as it was when the present round began,
    uint64_t answers = 0;      // and the last one that ended.
    uint32_t page_bytes = page_bytes_first;
    std::optional<caf::actor_clock::time_point> stuck; // When a page of it was last waited for for long.
    uint32_t bearable = protocol::sync_budget::whole;  // What its clients bear of background work.
    std::optional<caf::actor_clock::time_point> moved; // When it last said that it does some.
  };
  std::map<node_id, caf::actor_clock::time_point> heard; // When each last told what it has.
  std::map<node_id, int64_t> times;                      // Of each one's clock, as last heard.

  env_ptr env;
  protocol::ring_ptr ring;                             ///< Known to all shards.
  caf::actor root;                                     ///< Hears how many vnodes are not complete.
  std::map<node_id, std::vector<caf::actor>> replicas; // Of this node and of linked peers.

  std::unique_ptr<protocol::sync_planner> planner;
  std::map<node_id, peer> peers; // Linked ones.
  /// Sequence numbers of the last sync_state to each. A new link does not set them back: the other side may not have
  /// noticed that there is one.
  std::map<node_id, uint64_t> sent;
  caf::actor_clock::time_point ticked;            // Last.
  std::vector<timestamp> shard_latest;            // As last reported; 0: not yet.
  size_t reports_due = 0;                         // Of this round; 0: there is none.
  bool round_wanted = false;                      // When this one has ended.
  std::set<std::pair<vnode_id, uint64_t>> opened; // Vnodes that were to open, and in which epoch.
  uint64_t epoch_due = 0;                         // That the shards knew when this round began,
  uint64_t epoch_told = 0;                        // and of the last one that ended.
  caf::actor ring_manager;                        // Who has told a ring; null until then.
  protocol::known_directories directories;        // All that is known,
  protocol::known_directories directories_due;    // and what is on disk when this round has ended.
  size_t incomplete = SIZE_MAX;                   // As last told to the root.
  static constexpr std::chrono::seconds progress_interval{5};
  caf::actor_clock::time_point progress_told; // In the log, of the vnodes that are not complete.
  static constexpr std::chrono::seconds missed_interval{30};
  caf::actor_clock::time_point missed_since;     // Vnodes wait for members that are away, or it was told.
  std::deque<protocol::refill_task> refills_due; // Of the last plan, until there is room for them.
  std::deque<protocol::catch_up_task> catch_ups_due;
  std::map<vnode_id, std::shared_ptr<sync_session>> sessions; // Catch-ups and refills that run.
  std::set<vnode_id> refilling;
  std::set<vnode_id> begun_vnodes; // Since the start, with what they had.
  std::set<vnode_id> resting;      // Had their session, and are not tried again before the next round.
  protocol::sync_budget budget{uint64_t{1} << 20};
  foreground_load load;                              // Since the last round.
  std::optional<caf::actor_clock::time_point> moved; // When this node last moved anything.

  std::deque<repair_job> repairs;
  std::set<repair_job> known_repairs; // Queued or running: each once.
  size_t repairs_running = 0;
  bool hurrying = false;    // Peers will be asked for a round soon.
  bool dispatching = false; // A job that ends at once must not start the next one from within.

  /// Somebody waits until owners have what this node had when it was begun.
  struct sync_point {
    std::optional<protocol::sync_planner::clocks> what;
    /// Of each shard, since it was begun. The first may have been made before; the second tells of all that was there.
    std::vector<uint8_t> reports;
    caf::actor_clock::time_point asked; ///< When somebody last wanted to know about it.
  };
  static constexpr size_t sync_points_max = 64;
  static constexpr std::chrono::minutes sync_point_kept{1}; ///< Although nobody asks about it.
  std::map<uint64_t, sync_point> sync_points;
  uint64_t next_sync_point = 1;

  /// The scrub of this node that runs, or the last one since its start.
  struct scrub_job {
    uint64_t id = 0; ///< Counts from 1; 0: there was none.
    bool running = false;
    bool paused = false;
    bool cancelled = false;
    bool by_itself = false; ///< Its time had come.
    std::optional<bucket_id> bucket;
    std::optional<partition_id> partition;
    std::deque<vnode_id> due; ///< After `now`.
    vnode_id now;
    std::function<void()> rest; ///< Of one that is paused: how it goes on.
    uint64_t vnodes = 0, vnodes_done = 0;
    uint64_t partial = 0; ///< Not compared with all owners, or not to the end.
    uint64_t keys = 0, differences = 0, repaired = 0, busy = 0;
    bool whole() const { return !bucket && !partition; }
  };
  static constexpr uint32_t scrub_keys_max = 1024, scrub_bytes_max = 128 * 1024; ///< In one range.
  static constexpr size_t scrub_reads_max = 64;                                  ///< Keys that are read whole at once.
  static constexpr size_t scrub_shortened_max = 32;
  static constexpr size_t scrub_tries_max = 4; ///< Of a range in which owners differ and may be right to.
  static constexpr uint32_t scrub_by_itself_share = 8;
  static constexpr std::chrono::minutes scrub_remains{2};  ///< Who expires so soon counts as expired.
  static constexpr std::chrono::minutes scrub_first{10};   ///< Not before, after the start: peers have to be heard.
  static constexpr std::chrono::hours scrub_noted{1};      ///< A directory that was never scrubbed counts from then.
  static constexpr std::chrono::hours scrub_postponed{24}; ///< So long it waits for members that are down.
  scrub_job scrub;
  std::optional<uint64_t> scrubbed_ms; ///< By the wall clock, persisted: the last one was finished, or counts as if.
  caf::actor_clock::time_point begun;
  std::optional<caf::actor_clock::time_point> scrub_due; ///< Nothing: only when asked.

  // Counters since start.
  uint64_t scrub_keys = 0, scrub_ranges = 0, scrub_differences = 0, scrub_repaired = 0, scrub_busy = 0,
           scrub_errors = 0;
  uint64_t repairs_done = 0, repairs_failed = 0, repairs_dropped = 0, repaired_dots = 0;
  uint64_t catch_ups = 0, refills = 0, refills_done = 0, sessions_failed = 0, bytes_caught_up = 0,
           bytes_handed_over = 0, bytes_refilled = 0, bytes_read_repaired = 0, bytes_scrubbed = 0;
};
using handoff_self = caf::stateful_actor<handoff_state>*;

/// The replica of `partition` on `node`; null if it is not linked.
const caf::actor* replica_of(handoff_state& st, node_id node, partition_id partition);
/// The version of messages to a linked node, or to this one.
uint16_t spoken_with(const handoff_state& st, node_id node);

/// How fast the background may go on now: nobody's clients are to feel it, whether their node gives, takes, or only
/// coordinates for those that do. Bytes per second.
uint64_t pace(handoff_self self);
/// Writes a number that load_handoff_memory() finds after the next start.
void keep(handoff_self self, std::string name, uint64_t number);
/// Counts what was moved. @returns how long to wait before moving more.
std::chrono::nanoseconds book(handoff_self self, size_t bytes);

/// Begins a round: the shards report, the peers are told, and what follows is done. While one is under way, which may
/// tell of an earlier time, the next one follows at once.
void ask_for_reports(handoff_self self);
/// Does what the planner says is to be done, or has start_sessions() do it.
void act(handoff_self self);
/// Starts catch-ups and refills that are due, as far as there is room.
void start_sessions(handoff_self self);
/// Is a page on its way for longer than most ever are?
bool waits_for_long(const handoff_state& st);
/// To be called at intervals: who waits for long finds out whether that was lost.
void ask_again(handoff_self self);
/// What it was asked for will not be answered any more.
void stop_waiting_for(handoff_self self, node_id peer);
/// Begins a sync point, or tells how far it is.
void answer_sync_point(handoff_self self, const sync_point_query& query);
/// Goes on when what was moved in the background is paid for.
void pay(handoff_self self, size_t bytes, std::function<void()> next);
/// Begins, stops or pauses a scrub, and tells how far it is.
void answer_repair(handoff_self self, const repair_query& query);
/// Begins one if its time has come; to be called at intervals.
void begin_scrub_if_due(handoff_self self);
/// When the next one is due, as far as is known at the start.
void schedule_scrub(handoff_self self);
/// To be called for each report of a shard.
void note_report(handoff_self self, size_t shard);
void forget_sync_points(handoff_self self);
/// Takes notice of a read that found owners differing.
void want_repair(handoff_self self, repair_wanted wanted);

} // namespace crema
