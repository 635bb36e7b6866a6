// Node <-> node: the handshake that makes a link, and heartbeats.
#pragma once

#include "messages/replica.hpp"

#include <caf/actor.hpp>

namespace crema {

/// The first message on a new connection, to the peer's published root. -> welcome, or an error that says why not. Both
/// come before it is known what the other speaks: neither they nor peer_handles may change.
struct hello {
  uint16_t version = message_version_newest; ///< The newest that the sender speaks.
  std::string cluster;
  std::string node;         ///< The sender's name.
  uint64_t incarnation = 0; ///< Random per process: a duplicate name shows as two incarnations at once.
  uint64_t fingerprint = 0; ///< Of what all nodes must agree on: members, partitions, buckets, ring.
  /// The oldest that it speaks. Came with version 12: with those before nobody speaks.
  uint16_t oldest = message_version_oldest;

  spoken_versions versions() const { return {version < first_with_range ? version : oldest, version}; }
  static constexpr uint16_t first_with_range = 12;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, hello& x) {
    return f(caf::meta::type_name("crema::hello"), x.version, x.cluster, x.node, x.incarnation, x.fingerprint,
             since(first_with_range, x.version, x.oldest));
  }
};

/// Where a peer's actors live.
struct peer_handles {
  caf::actor gossiper;
  caf::actor handoff;
  caf::actor ring_manager;
  std::vector<caf::actor> replicas; ///< By shard; the shard of a partition is partition % replicas.size().

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, peer_handles& x) {
    return f(caf::meta::type_name("crema::peer_handles"), x.gossiper, x.handoff, x.ring_manager, x.replicas);
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

/// A process that wants to become a member, to any member's root. -> join_answer, or an error that says why not.
struct join_request {
  uint16_t version = message_version_newest;
  std::string cluster;
  std::string node; ///< The rest is as in protocol::new_node.
  std::string host;
  uint16_t peer_port = 0, resp_port = 0;
  std::string zone;
  uint32_t weight = 1;
  std::string group;
  uint64_t directory = 0; ///< 0: it only wants to know the shape of the cluster.
  uint64_t disk_free = 0; ///< Bytes; 0: not known.

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, join_request& x) {
    return inspect_versioned(f, "crema::join_request", x.version, x.cluster, x.node, x.host, x.peer_port, x.resp_port,
                             x.zone, x.weight, x.group, x.directory, x.disk_free);
  }
};
struct join_answer {
  uint16_t version = message_version_newest;
  std::string shape; ///< config::shape_of the cluster.
  std::string ring;  ///< The encoded ring that names the node; empty: it is to wait.

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, join_answer& x) {
    return inspect_versioned(f, "crema::join_answer", x.version, x.shape, x.ring);
  }
};

/// Ring manager -> ring manager: protocol::agreement_message, about the ring.
struct ring_message {
  uint16_t version = message_version_newest;
  node_id from{};
  uint8_t what = 0; ///< protocol::agreement_message::kind.
  uint64_t number = 0;
  uint64_t attempt_round = 0;
  replica_id attempt_source = 0;
  std::string value;
  uint8_t answer = 0; ///< protocol::vote_reply; what follows is of a protocol::vote_answer.
  uint64_t promised_round = 0, accepted_round = 0;
  replica_id promised_source = 0, accepted_source = 0;
  std::string accepted_value;
  uint64_t directory = 0;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, ring_message& x) {
    return inspect_versioned(f, "crema::ring_message", x.version, x.from, x.what, x.number, x.attempt_round,
                             x.attempt_source, x.value, x.answer, x.promised_round, x.promised_source, x.accepted_round,
                             x.accepted_source, x.accepted_value, x.directory);
  }
};

/// Gossiper -> gossiper, every heartbeat interval. Proves that the sender's actors run, not only its I/O thread.
struct heartbeat {
  uint16_t version = message_version_newest;
  node_id from{};
  uint64_t epoch = 0; ///< The newest that it knows.
  /// protocol::node_progress.
  uint64_t epoch_taken = 0, to_get = 0, got = 0, former = 0;
  int64_t time = 0; ///< By the sender's own monotonic clock, in nanoseconds; comes back with writes for it.
  uint64_t stored = 0, disk_free = 0; ///< protocol::node_usage.
  bool drained = false;               ///< It takes no requests of clients; its replicas go on.
  std::string release;                ///< Of the program. Since version 13.

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, heartbeat& x) {
    return inspect_versioned(f, "crema::heartbeat", x.version, x.from, x.epoch, x.epoch_taken, x.to_get, x.got,
                             x.former, x.time, x.stored, x.disk_free, x.drained, since(13, x.version, x.release));
  }
};

} // namespace crema
