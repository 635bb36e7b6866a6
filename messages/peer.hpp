// Node <-> node: the handshake that makes a link, and heartbeats.
#pragma once

#include "messages/replica.hpp"

#include <caf/actor.hpp>
#include <caf/meta/type_name.hpp>

namespace crema {

/// The first message on a new connection, to the peer's published root. -> welcome, or an error that says why not.
struct hello {
  uint16_t version = message_version;
  std::string cluster;
  std::string node;         ///< The sender's name.
  uint64_t incarnation = 0; ///< Random per process: a duplicate name shows as two incarnations at once.
  uint64_t fingerprint = 0; ///< Of what all nodes must agree on: members, partitions, buckets, ring.

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, hello& x) {
    return f(caf::meta::type_name("crema::hello"), x.version, x.cluster, x.node, x.incarnation, x.fingerprint);
  }
};

/// Where a peer's actors live.
struct peer_handles {
  caf::actor gossiper;
  caf::actor handoff;
  std::vector<caf::actor> replicas; ///< By shard; the shard of a partition is partition % replicas.size().

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, peer_handles& x) {
    return f(caf::meta::type_name("crema::peer_handles"), x.gossiper, x.handoff, x.replicas);
  }
};

struct welcome {
  hello self;
  peer_handles handles;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, welcome& x) {
    return f(caf::meta::type_name("crema::welcome"), x.self, x.handles);
  }
};

/// Gossiper -> gossiper, every heartbeat interval. Proves that the sender's actors run, not only its I/O thread.
struct heartbeat {
  uint16_t version = message_version;
  node_id from{};
  uint64_t epoch = 0;
  int64_t time = 0; ///< By the sender's own monotonic clock, in nanoseconds; comes back with writes for it.

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, heartbeat& x) {
    return f(caf::meta::type_name("crema::heartbeat"), x.version, x.from, x.epoch, x.time);
  }
};

} // namespace crema
