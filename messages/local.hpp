// Messages that never leave the process: wiring, liveness, client work, statistics.
#pragma once

#include "messages/client.hpp"
#include "messages/copy_progress.hpp"
#include "messages/peer.hpp"
#include "protocol/latency_tail.hpp"
#include "protocol/ring.hpp"
#include "protocol/sync_planner.hpp"
#include "protocol/topology_costs.hpp"
#include "protocol/topology_progress.hpp"

#include <caf/allowed_unsafe_message_type.hpp>

#include <chrono>
#include <functional>
#include <map>
#include <optional>

namespace crema {

/// Transport -> node -> coordinators, gossiper, handoff: there is a link to `node`, and its actors are these.
struct peer_linked {
  node_id node{};
  peer_handles handles;
  uint16_t version = message_version_newest; ///< What is to be spoken with it.
};

/// The link is gone; its handles are dead for good.
struct peer_unlinked {
  node_id node{};
  std::string why;
};

/// Gossiper -> node, coordinators.
struct peer_liveness {
  node_id node{};
  bool up = false;
  std::string why;
};

/// Gossiper -> coordinators, handoff: the newest time of its own clock that a peer has sent (heartbeat::time), give or
/// take a second. Told before the peer is called up.
struct peer_time {
  node_id node{};
  int64_t time = 0;
};

/// Ring manager -> replicas, then all others: the newest ring. Immutable.
struct ring_published {
  protocol::ring_ptr ring;
};
/// Handoff -> ring manager, which passes it on to the gossiper: how far this node is with what the ring gives to it and
/// takes from it, and what it knows of data directories.
struct move_progress {
  protocol::node_progress what;
  size_t bound_by = 0;                     ///< Members that have bound this node to its data directory, on disk.
  std::map<node_id, uint64_t> directories; ///< Of linked peers that have told, and of this node.
  std::map<node_id, uint64_t> first_met;   ///< Of each member the first one that this node met, on disk.
};
/// Ring manager -> gossiper: of this node.
struct own_progress {
  protocol::node_progress what;
};
/// Gossiper -> ring manager: the newest epoch that a peer knows, and how far it is.
struct peer_progress {
  node_id node{};
  uint64_t epoch = 0;
  protocol::node_progress what;
  protocol::node_usage usage;
};
/// Ring manager -> gossiper: of this node's disk.
struct own_usage {
  protocol::node_usage what;
};
/// Node -> gossiper: whether this node is drained.
struct own_drain {
  bool drained = false;
};
/// Gossiper -> node, coordinators: what a peer says of itself, when that changes.
struct peer_notice {
  node_id node{};
  bool drained = false;
  std::string release; ///< Empty: not known.
};
/// Main -> node: it is going to stop. It is drained, whoever is left.
struct stop_soon {};
/// Anyone -> node -> ring manager.
struct topology_query {
  topology_order order;
  std::function<void(std::string)> answer;
};

/// Replica -> ring manager: requests of older rings are refused from now on.
struct ring_taken {
  uint64_t epoch = 0;
};
/// Coordinator, replica -> ring manager: somebody knows a newer one.
struct ring_wanted {};
/// Gossiper -> coordinators, node: all of the node's replicas know this epoch, and so they will after a crash.
struct peer_epoch {
  node_id node{};
  uint64_t epoch = 0;
};

/// Coordinator -> handoff: `stale` lacks something of this key that `source` has.
struct repair_wanted {
  vnode_id vnode;
  std::string key;
  node_id stale{};
  node_id source{};
  uint64_t request = 0; ///< Not 0: the sender waits for a repair_done.
};

/// Handoff -> coordinator: a repair has ended.
struct repair_done {
  uint64_t request = 0;
  node_id stale{};
  node_id source{};
  bool done = false; ///< `stale` now has what `source` had.
};

/// Handoff -> its node's replicas: tell me (shard_report) what has changed, once it is on disk. What is given from now
/// on is later than what others have reached: other shards of this node, and peers (0: none was heard yet).
struct report_request {
  timestamp newest_here = 0;
  timestamp newest_at_peers = 0;
};
/// What one shard's vnodes have on disk.
struct shard_report {
  size_t shard = 0;
  std::vector<std::pair<protocol::vnode_note, protocol::vnode_facts>> changed;
  std::vector<vnode_id> gone;
  timestamp latest = 0; ///< What the shard gives from now on is later.
};

/// Handoff -> replica, after a plan.
struct births {
  std::vector<vnode_id> vnodes;
};
struct settlement {
  std::vector<protocol::settle_task> tasks;
  uint64_t expired_ms = 0;
};
struct closing {
  protocol::closing_task task;
};
struct drop_temporary {
  protocol::drop_task task;
};
/// Begin a copy of an owner, beside the vnode that is here, or go on with one that was begun before the start, of
/// whomever. -> fill_begun: nothing if none is needed. It is not if the vnode is whole, unless `behind`.
struct fill_begin {
  protocol::refill_task task;
};
struct fill_begun {
  std::optional<copy_progress> progress;
};
/// The copy will not become whole.
struct fill_abandon {
  vnode_id vnode;
};

/// Handoff -> replica: these copies may be read now.
struct openings {
  std::vector<protocol::opening_task> tasks;
};

/// Coordinator -> handoff: how long client requests took that were answered since the last one.
struct foreground_load {
  protocol::latency_tail took;
};

/// Coordinator -> handoff: how do the nodes stand that have this vnode? -> vnode_standings.
struct vnode_query {
  vnode_id vnode;
};
struct vnode_standings {
  std::vector<protocol::standing> nodes;
  std::map<node_id, std::chrono::milliseconds> told; ///< So long ago each peer told what it has.
};

/// Handoff's note to itself: a session that had to wait for the budget goes on.
struct resume_session {
  std::function<void()> next;
};

/// Handoff -> a replica of its node: keep this number on disk, under this name.
struct kept_number {
  std::string name;
  uint64_t number = 0;
};

/// Handoff -> node: how many vnodes of this node are not complete.
struct vnodes_incomplete {
  size_t count = 0;
};

/// Anyone -> node, coordinator, replica, handoff: counters since start. -> stats.
struct stats_request {};
struct stats {
  std::map<std::string, uint64_t> counters;
  /// Handoff only: what this node holds for owners that could not be reached, the oldest first.
  std::vector<protocol::hint_view> hints;
  /// And how it stands with each other member.
  struct peer {
    node_id id{};
    std::optional<std::chrono::milliseconds> heard; ///< So long ago it told what it has; nothing: not yet.
    uint64_t behind = 0;                            ///< Writes that it has and this node lacks; 0 if not linked.
    uint64_t ahead = 0;                             ///< Writes that it is not known to have, of those it should.
  };
  std::vector<peer> peers;
};

/// Backend -> node / coordinator.
struct status_query {
  std::function<void(std::string)> answer;
};
struct sync_point_query {
  uint64_t id = 0; ///< 0: a new one.
  std::function<void(std::string)> answer;
};
struct repair_query {
  repair_order order;
  std::function<void(std::string)> answer;
};
struct count_query {
  bucket_id bucket = 0;
  std::function<void(std::optional<uint64_t>, std::string)> answer;
};

/// Main -> node -> all: finish what is in flight, then quit.
struct stop_request {};

/// An actor's note to itself: periodic work is due; what the mailbox held has been seen, send the batches; so has what
/// goes before background work, do some.
struct tick {};
struct flush {};
struct background_turn {};

} // namespace crema

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(crema::client_batch)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(crema::peer_linked)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(crema::peer_unlinked)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(crema::peer_liveness)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(crema::peer_time)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(crema::ring_published)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(crema::ring_wanted)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(crema::move_progress)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(crema::own_progress)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(crema::peer_progress)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(crema::own_usage)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(crema::own_drain)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(crema::peer_notice)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(crema::stop_soon)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(crema::topology_query)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(crema::ring_taken)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(crema::peer_epoch)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(crema::repair_wanted)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(crema::repair_done)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(crema::report_request)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(crema::shard_report)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(crema::births)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(crema::openings)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(crema::settlement)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(crema::closing)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(crema::drop_temporary)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(crema::fill_begin)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(crema::fill_begun)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(crema::fill_abandon)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(crema::foreground_load)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(crema::vnode_query)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(crema::vnode_standings)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(crema::resume_session)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(crema::vnodes_incomplete)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(crema::stats_request)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(crema::stats)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(crema::status_query)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(crema::sync_point_query)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(crema::repair_query)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(crema::kept_number)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(crema::count_query)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(crema::stop_request)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(crema::tick)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(crema::flush)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(crema::background_turn)
