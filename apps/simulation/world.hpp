// A whole cluster in one thread: the production actors of N nodes in one actor system under CAF's deterministic
// scheduler, virtual time, a seeded network in place of the transport and memory disks with crash semantics. Everything
// that happens follows from the seed. Faults are verbs here; when they strike is decided elsewhere (faults.hpp).
#pragma once

#include "actors/node_env.hpp"
#include "apps/simulation/random.hpp"
#include "config/cluster_config.hpp"
#include "messages/client.hpp"
#include "protocol/ring.hpp"
#include "protocol/vnode.hpp"
#include "storage/store.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace crema::simulation {

/// Virtual time since the start of the run.
using sim_time = std::chrono::nanoseconds;

/// Every write that any vnode ever named, as its giver stored it. What the checkers compare stores with.
struct named_write {
  std::string key;
  std::string delta;
  size_t giver = 0; ///< Node index.
  sim_time at{};
};

/// Something that must never happen, found while the simulation ran.
struct violation {
  std::string checker; ///< "dot given twice", "two replies", ...
  std::string what;
  sim_time at{};
};

struct network_profile {
  std::chrono::microseconds delay_min{100};
  std::chrono::microseconds delay_max{2000};
  uint32_t slow_per_10000 = 20; ///< Messages that take up to `slow_delay_max`.
  std::chrono::milliseconds slow_delay_max{200};
  uint32_t loss_per_10000 = 0;       ///< Beyond what TCP does: single messages vanish.
  uint32_t duplicates_per_10000 = 0; ///< Not of batches that hold puts: no transport repeats those.
  bool reorder = false;              ///< Beyond what TCP does.
};

/// The bucket of this id that there is, or was; null: there never was one.
const config::bucket_config* find_bucket(const config::cluster_config& cluster, bucket_id id);

class world {
public:
  struct options {
    uint64_t seed = 1;
    config::cluster_config cluster; ///< Nodes, buckets, timeouts; ports and directories are not used.
    size_t spares = 0;              ///< Nodes that are no members at first, called as if they were the next ones.
    bool mixed_versions = false;    ///< Nodes speak different versions of messages, and another one after each start.
    size_t coordinators = 2;        ///< Per node.
    size_t shards = 2;              ///< Per node.
    node_env::page_limits pages;
    node_env::trim_limits trims;
    std::string trace_file; ///< Empty: only the hash of the trace is kept.
  };

  explicit world(options opts);
  ~world();
  world(const world&) = delete;
  world& operator=(const world&) = delete;

  // -- Time ----------------------------------------------------------------------------------------------------------
  sim_time now() const;
  /// Runs `what` at now() + `delay`. Events at one time run in the order they were scheduled.
  void after(sim_time delay, std::function<void()> what);
  /// Runs everything up to `until`. @returns false as soon as there is a violation.
  bool run_until(sim_time until);

  // -- Clients -------------------------------------------------------------------------------------------------------
  size_t nodes() const; ///< Spares included.
  /// How often nodes have started or died so far.
  uint64_t starts_and_deaths() const;
  /// The newest version of messages that the node speaks.
  uint16_t message_version(size_t node) const;
  /// Is the process running (it may be paused)?
  bool running(size_t node) const;
  /// Hands a request to one of the node's coordinators; `done` is called with its reply. Never called if the node dies
  /// first: the connection is lost, and the client knows when (on_connection_lost). A second reply to one request is a
  /// violation. The id of `request` is set here.
  using reply_fn = std::function<void(const client_reply&)>;
  using lost_fn = std::function<void()>;
  /// @returns false if the node is not running: connection refused.
  bool submit(size_t node, client_request request, reply_fn done, lost_fn connection_lost);
  struct submission {
    client_request request;
    reply_fn done;
    lost_fn connection_lost;
  };
  /// The same for several at once: they reach one coordinator, in one batch, as a pipeline does.
  bool submit_together(size_t node, std::vector<submission> requests);
  /// Requests that have neither been answered nor lost.
  size_t requests_in_flight() const;

  // -- Faults --------------------------------------------------------------------------------------------------------
  /// The process dies; written data survives, the replica id too.
  void crash_process(size_t node);
  /// Runs `crash` between two steps of the node's actors, when they have made `steps` more: anywhere in their work.
  void amid_work(size_t node, uint64_t steps, std::function<void()> crash);
  /// An orderly stop: requests under way are answered first, clients are turned away meanwhile.
  void stop(size_t node);
  /// The machine dies: of the batches that were not synced only the first `kept` survive, and an unclean start after a
  /// reboot takes a new replica id.
  void crash_machine(size_t node, size_t kept);
  size_t unsynced_batches(size_t node) const;
  /// Has it ended in good order, so that a crash of its machine takes nothing from it?
  bool stopped_cleanly(size_t node) const;
  /// The disk is lost with the machine: it comes back empty, or as it was when it was backed up last.
  void lose_disk(size_t node);
  void back_up(size_t node);
  /// Starts a node that is not running, if its disk lets it. One that was no member when its disk was new begins with
  /// the ring of a member that runs: nothing happens before one knows a ring that names it.
  void start(size_t node);
  /// Virtual SIGSTOP for `duration`.
  void pause(size_t node, sim_time duration);
  /// One message in `one_in` takes an actor of the node up to `up_to` from now on, so that others pile up and are dealt
  /// with together; 0: none does, and work takes no time at all.
  void busy(size_t node, uint64_t one_in, std::chrono::microseconds up_to);
  /// What the node learns of new rings waits for so long, for its disk say, and everything else goes on by the one that
  /// it knows.
  void hold_ring(size_t node, std::chrono::milliseconds time);
  /// Messages from `from` to `to` stop getting through (they wait, as TCP would; a connection that is silent too long
  /// breaks).
  void cut(size_t from, size_t to);
  void heal(size_t from, size_t to);
  void heal_all();
  /// The connection between two nodes breaks now; what is under way on it is lost, also half of what was sent together.
  void break_connection(size_t a, size_t b);
  void break_for_one(size_t node, size_t peer); ///< The peer notices nothing.
  void set_network(const network_profile& profile);
  /// Every second message of the node is lost, until told otherwise.
  void lose_words(size_t node, bool lost);
  /// Extra delay of everything from `from` to `to`; zero ends it.
  void slow_link(size_t from, size_t to, std::chrono::milliseconds extra);
  /// The wall clock of a node jumps; it may go back.
  void jump_clock(size_t node, std::chrono::milliseconds by);
  /// The wall clock of a node runs fast (positive) or slow from now on, in parts per million.
  void drift_clock(size_t node, int64_t parts_per_million);
  /// The next write, or sync, of the node's store fails (the node dies of it, as it must).
  void fail_next_write(size_t node);
  void fail_next_sync(size_t node);
  /// Every write fails, and the node cannot start, until there is space again.
  void fill_disk(size_t node);
  void free_disk(size_t node);
  /// Ends all that is wrong with the node's disk, also what has not struck yet.
  void mend_disk(size_t node);
  /// The disk holds something else of a key from now on, behind the back of the node. Empty: nothing.
  void damage(size_t node, vnode_id place, const std::string& key, const std::string& object);
  /// Every sync of the node takes this long from now on.
  void slow_disk(size_t node, std::chrono::milliseconds per_sync);

  // -- Topology ------------------------------------------------------------------------------------------------------
  /// Gives an order to a node. `answer` is called with what it says; never, if it dies first.
  void order(size_t node, topology_order what, std::function<void(const std::string& json)> answer);
  /// What `node`, which is no member and does not run, is to join as: an empty disk with a directory of its own.
  protocol::new_node newcomer(size_t node);
  /// The disk of one that is no member any more, or is dead for good, is destroyed with its backup. It is a spare now.
  void retire(size_t node);
  /// The newest ring that any node has on its disk, or had.
  const protocol::ring& newest_ring() const;
  struct known_ring {
    protocol::ring_ptr ring;
    sim_time since{}; ///< When the first node had it on disk.
  };
  /// By epoch, without those that a node only heard of after a newer one.
  const std::vector<known_ring>& rings() const;
  /// It is not in the newest ring, and a majority of those that are knows that (in production they tell it so): its
  /// disk is of no use any more.
  bool has_left(size_t node) const;
  /// In the newest ring.
  bool member(size_t node) const;
  /// A member, or running.
  bool present(size_t node) const { return member(node) || running(node); }
  /// The epoch that it has on its disk.
  uint64_t epoch(size_t node) const;
  /// Calls `what` whenever a node has written a newer ring to its disk, which its actors are yet to learn.
  void on_ring(std::function<void(size_t node)> what);
  /// Did its disk say all the time between the two that there is such a bucket (or, `there` being false, that there is
  /// none)?
  bool knew_bucket(size_t node, bucket_id bucket, bool there, sim_time from, sim_time to) const;
  /// Who is called as `id` in a ring that somebody knew; nodes() if nobody is.
  size_t index_of(node_id id) const;
  /// Who had something of a key, as node indexes, from `since` until the next of these. The first ones of a bucket have
  /// had it since the beginning of time, the last ones of one that was dropped have it for ever.
  struct ownership {
    sim_time since{};
    std::vector<size_t> owners;  ///< Who is read.
    std::vector<size_t> others;  ///< Of whom writes need a quorum too.
    protocol::quorums numbers{}; ///< The bucket's, for those who are read.
  };
  std::vector<ownership> ownerships(bucket_id bucket, const std::string& key) const;

  // -- What the checkers look at -------------------------------------------------------------------------------------
  /// With the spares, and with each bucket there ever was, as it was when it was created: what is, says newest_ring().
  /// Names may come again, so that those of buckets made meanwhile end with their id: "late#1024".
  const config::cluster_config& cluster() const;
  /// The owners of a key's partition in a bucket by the newest ring, as node indexes. None, if it was dropped.
  std::vector<size_t> owners(bucket_id bucket, const std::string& key) const;
  /// Dots are counted per vnode.
  const std::map<std::pair<vnode_id, dot>, named_write>& writes() const;
  /// Those that some vnode has taken for lost; nobody had them then.
  const std::set<std::pair<vnode_id, dot>>& closed() const;
  /// The node's store, also while it is down (then: what a restart would find). Null only after lose_disk before start.
  std::shared_ptr<storage::store> store(size_t node) const;
  /// How many others remember the node's directory, or an earlier one of it, on their disks.
  size_t met_by(size_t node) const;
  /// The wall clock of a node, milliseconds.
  uint64_t wall_ms(size_t node) const;
  /// Counters of a node's actors (request_desk, shard, handoff), summed by name. Runs the simulation a little.
  std::map<std::string, uint64_t> counters(size_t node);
  void begin_scrub(size_t node);
  /// Gives the node an order for its scrub. @returns what it says (docs/commands.md, KV.REPAIR); empty: nothing in
  /// time. Runs the simulation a little.
  std::string repair(size_t node, repair_order order);
  const std::vector<violation>& violations() const;
  void report(violation v);

  // -- The run as such -----------------------------------------------------------------------------------------------
  random_stream& random();
  /// Adds a line to the trace.
  void trace(const std::string& line);
  uint64_t trace_hash() const;
  uint64_t messages() const; ///< Delivered over the simulated network.
  uint64_t steps() const;    ///< Actor messages handled.

private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

} // namespace crema::simulation
