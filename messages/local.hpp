// Messages that never leave the process: wiring, liveness, client work, statistics.
#pragma once

#include "messages/client.hpp"
#include "messages/peer.hpp"
#include "protocol/ring.hpp"

#include <caf/allowed_unsafe_message_type.hpp>

#include <map>

namespace crema {

/// Transport -> node -> coordinators, gossiper, handoff: there is a link to `node`, and its actors are these.
struct peer_linked {
  node_id node{};
  peer_handles handles;
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

/// Ring manager -> all: the newest ring. Immutable.
struct ring_published {
  protocol::ring_ptr ring;
};

/// Coordinator -> handoff: `stale` lacks something of this key that `source` has.
struct repair_wanted {
  vnode_id vnode;
  std::string key;
  node_id stale{};
  node_id source{};
};

/// Anyone -> node, coordinator, replica, handoff: counters since start. -> stats.
struct stats_request {};
struct stats {
  std::map<std::string, uint64_t> counters;
};

/// Backend -> node / coordinator.
struct status_query {
  std::function<void(std::string)> answer;
};
struct count_query {
  bucket_id bucket = 0;
  std::function<void(std::optional<uint64_t>, std::string)> answer;
};

/// Main -> node -> all: finish what is in flight, then quit.
struct stop_request {};

/// An actor's note to itself: periodic work is due; what the mailbox held has been seen, send the batches; scan on.
struct tick {};
struct flush {};

} // namespace crema

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(crema::client_batch)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(crema::peer_linked)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(crema::peer_unlinked)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(crema::peer_liveness)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(crema::ring_published)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(crema::repair_wanted)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(crema::stats_request)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(crema::stats)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(crema::status_query)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(crema::count_query)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(crema::stop_request)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(crema::tick)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(crema::flush)
