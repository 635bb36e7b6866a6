// Every actor of a node on one page: what it accepts, what it answers, what it sends on its own. All handles are
// dynamic, since nodes address each other's actors too; structs are in messages/. Each actor is spawned with an env_ptr
// and keeps its state in a struct of its own (see the .cpp files). Handlers never block, except the replica's in the
// store.
#pragma once

#include "actors/node_env.hpp"
#include "messages/local.hpp"
#include "messages/register.hpp"
#include "protocol/agreement_record.hpp"
#include "storage/store.hpp"

#include <caf/all.hpp>

namespace crema {

/// Client requests to their quorums. One or a few per node; each request lives in one of them.
///   client_batch                     -> replies through its sink; sends replica_batch to replicas here and there
///   answer_batch                     from replicas
///   repair_done                      from handoff, when it was asked for
///   ring_published, peer_linked, peer_unlinked, peer_liveness
///   count_query                      -> its callback, after count_request to replicas
///   stats_request -> stats
///   stop_request                     quits when nothing is in flight any more
caf::actor spawn_coordinator(caf::actor_system& system, env_ptr env, std::vector<caf::actor> local_replicas,
                             caf::actor handoff);

/// The vnodes of one storage shard: gives dots, applies deltas, reads. Blocks in the store; has its own thread in
/// production.
///   replica_batch                    -> answer_batch to the sender, one or several
///   clock_request -> clock_reply;  page_request -> page_message;  page_message -> page_applied  (catch-up)
///   fill_begin -> bool;  fill_abandon;  fill_request -> fill_page;  fill_page -> page_applied   (refill)
///   births, settlement, closing, drop_temporary
///   scrub_request -> scrub_found;  scrub_read -> scrub_states;  key_repairs -> keys_repaired
///   kept_number
///   (all that makes, stores or repairs pages or ranges of keys: one between two flushes, in the order in which it
///   comes; but pages of one key at once) report_request                   shard_report to the sender, once what it
///   says is on disk count_request -> count_reply ring_published stats_request -> stats stop_request saves the clocks,
///   syncs, quits
struct replica_options {
  std::shared_ptr<storage::store> store;
  replica_id id = 0;
  size_t index = 0; ///< Of `count` shards.
  size_t count = 1;
  std::shared_ptr<const std::vector<std::pair<vnode_id, protocol::dot_clock>>> clocks;
  uint64_t directory = 0; ///< The id of this data directory.
};
caf::actor spawn_replica(caf::actor_system& system, env_ptr env, replica_options options);

/// Heartbeats and failure detection. Tells coordinators and node who is up (peer_liveness), and who sends writes to
/// other nodes their times (peer_time).
///   heartbeat                        from peers' gossipers; peer_epoch, peer_progress and peer_notice follow from it
///   own_progress, own_usage          from the ring manager
///   own_drain                        from the node
///   peer_linked, peer_unlinked, ring_published
///   stop_request
caf::actor spawn_gossiper(caf::actor_system& system, env_ptr env, std::vector<caf::actor> listeners,
                          std::vector<caf::actor> time_users);

/// The ring of the newest known epoch; has the next one agreed on, and publishes it (ring_published): to replicas, and
/// when they have taken it to all others. Epoch 1 is what the configuration says.
///   ring_message                     from peers' ring managers
///   ring_taken                       from replicas
///   ring_wanted                      from coordinators and replicas
///   move_progress                    from handoff
///   peer_progress                    from the gossiper
///   topology_query                   -> its callback
///   join_request -> join_answer      from processes that want to become members
///   peer_linked, peer_unlinked
///   stats_request -> stats
///   stop_request
struct ring_manager_options {
  env_ptr env;
  std::shared_ptr<storage::store> store;
  uint64_t directory = 0; ///< The id of this data directory.
  protocol::agreement_record record;
  std::function<uint64_t()> random;
  std::vector<caf::actor> replicas;
  caf::actor gossiper;
  std::vector<caf::actor> listeners; ///< All that want to know the ring; the gossiper among them.
};
caf::actor spawn_ring_manager(caf::actor_system& system, ring_manager_options options);

/// What is on disk of the agreement on the ring.
struct ring_record_result {
  std::optional<protocol::agreement_record> record; ///< Nothing, if there is none yet.
  std::string error;
};
ring_record_result load_ring_record(const storage::store& store);
/// On disk when it returns. @param record encoded.
storage::status save_ring_record(storage::store& store, const std::string& record);

/// What the handoff actor remembers from before the start.
struct handoff_memory {
  std::optional<uint64_t> scrubbed_ms; ///< When the last scrub was finished; nothing: not known.
  protocol::known_directories directories;
  std::string error; ///< Not empty: something cannot be read.
};
handoff_memory load_handoff_memory(const storage::store& store, const protocol::ring& ring);

/// The id of this data directory: of the store's first start, and a new one when a backup was put in its place. On
/// disk.
struct directory_id {
  uint64_t id = 0;
  std::string error; ///< Not empty: something cannot be read or written.
};
/// @param fresh the id if it is to be a new one; random.
/// @param restored it is an older copy of the directory that was used last.
directory_id own_directory(storage::store& store, uint64_t fresh, bool restored);

/// Sync: what this node's vnodes and those of its peers have, and who has to catch up, be refilled or may forget.
///   sync_state, sync_resend, sync_hurry  from peers' handoffs
///   shard_report                     from this node's replicas
///   foreground_load                  from coordinators: what clients feel; the background gives way
///   repair_wanted                    from coordinators: catch-up of one key at another node (read repair);
///                                    repair_done to those who wait
///   peer_linked, peer_unlinked, ring_published
///   sync_point_query, repair_query   -> their callbacks
///   stats_request -> stats
///   stop_request
caf::actor spawn_handoff(caf::actor_system& system, env_ptr env, std::vector<caf::actor> local_replicas,
                         caf::actor root, handoff_memory memory);

/// The root: spawns and watches the others; the one actor that peers find by address.
///   hello -> welcome, or an error that says why not
///   peer_linked, peer_unlinked       from the transport; passed on
///   peer_liveness                    from the gossiper; kept for status
///   vnodes_incomplete                from the handoff actor; the node is ready when all of its vnodes are complete
///   peer_notice                      from the gossiper; kept for status
///   status_query                     -> its callback
///   topology_query                   to drain this node, or to end that -> its callback; others are passed on to the
///                                    ring manager
///   stop_soon                        drains the node whoever is left
///   sync_point_query, repair_query   -> passed on to the handoff actor
///   count_query                      -> passed on to a coordinator
///   stop_request                     stops all others in order, then quits
/// The actors of one node, once they are spawned.
struct node_children {
  std::vector<caf::actor> coordinators, replicas;
  caf::actor gossiper, handoff, ring_manager;
};
struct node_options {
  /// The ring has changed: peers come and go.
  std::function<void(protocol::ring_ptr)> ring_changed;
  std::shared_ptr<storage::store> store;
  replica_id id = 0;
  size_t shards = 1;
  size_t coordinators = 1;
  std::shared_ptr<const std::vector<std::pair<vnode_id, protocol::dot_clock>>> clocks;
  /// A child died for a reason that is not an orderly stop. In production: log and exit, a storage node fails fast.
  std::function<void(const std::string& why)> fatal;
  /// A peer said hello: the transport may dial it at once. May be empty.
  std::function<void(node_id)> peer_said_hello;
  /// Receives the handles of the children once they are spawned: the backend's way in.
  std::function<void(const node_children& children)> spawned;
  /// The node takes no requests of clients any more: `others` do ("n1 at 10.0.0.1:6401, ..."). Nothing: it does.
  std::function<void(std::optional<std::string> others)> drained;
  /// The node is no member, and had no vote when it was one: it has nothing left to do.
  std::function<void(const std::string& why)> removed;
  /// Called once: every peer is up, or the node has waited for them long enough (ready_wait) and serves with those it
  /// has.
  std::function<void()> ready;
  std::chrono::milliseconds ready_wait{2000};
};
caf::actor spawn_node(caf::actor_system& system, env_ptr env, node_options options);

/// Unexpected messages are logged and dropped, not printed; every actor of a node starts with this.
void drop_unexpected(caf::scheduled_actor* self, const env_ptr& env);

/// Quits an actor for a reason that is worth a log line.
caf::error fatal_error(const std::string& why);

} // namespace crema
