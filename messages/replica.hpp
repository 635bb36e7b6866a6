// Coordinator <-> replica: put, apply and read travel in batches, one message per destination and flush. A batch starts
// with a message version; who does not know it refuses (docs/adr/0004-batches-and-versions.md).
#pragma once

#include "protocol/types.hpp"

#include <caf/meta/type_name.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace crema {

/// The version of everything that nodes say to each other. On the wire.
constexpr uint16_t message_version = 1;

/// One operation on one key of one vnode.
struct replica_op {
  enum class kind : uint8_t {
    put = 0,    ///< Give the write a dot, apply it, answer with the delta.
    apply = 1,  ///< Apply a delta that another owner named.
    get = 2,    ///< Answer with the object (expanded) and its digest.
    digest = 3, ///< Answer with the digest only.
  };
  uint64_t request = 0; ///< The coordinator's; comes back in the answer.
  kind what = kind::get;
  bool remove = false; ///< put: a delete.
  bool has_context = false;
  bool any_time = false; ///< put: give even if the clock is ahead. apply: its giver did (protocol/put_quorum.hpp).
  bucket_id bucket = 0;
  partition_id partition = 0;
  std::string key;
  std::string data;    ///< put: the value. apply: the delta.
  std::string context; ///< put: an encoded clock, if has_context.
  uint64_t ttl_ms = 0; ///< put; 0: does not expire.
  replica_id dot_replica = 0;
  uint64_t dot_counter = 0;
  timestamp time = 0; ///< apply: of the delta.

  vnode_id vnode() const { return {bucket, partition}; }

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, replica_op& x) {
    return f(caf::meta::type_name("crema::replica_op"), x.request, x.what, x.remove, x.has_context, x.any_time,
             x.bucket, x.partition, x.key, x.data, x.context, x.ttl_ms, x.dot_replica, x.dot_counter, x.time);
  }
};

/// Coordinator -> replica. Answered by an answer_batch to the sender, or several.
struct replica_batch {
  uint16_t version = message_version;
  uint64_t epoch = 0;
  node_id from{};
  std::vector<replica_op> ops;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, replica_batch& x) {
    return f(caf::meta::type_name("crema::replica_batch"), x.version, x.epoch, x.from, x.ops);
  }
};

/// What a replica says of one operation.
struct replica_answer {
  enum class kind : uint8_t {
    given = 0,   ///< put: here are the dot, its time and the delta. `durable` as the bucket demands?
    written = 1, ///< put (after given with durable = false) or apply: durable as the bucket demands.
    object = 2,
    digest = 3,
    refused = 4, ///< `status` says why; nothing was done.
  };
  uint64_t request = 0;
  kind what = kind::refused;
  errc status = errc::ok;
  bool durable = false;
  replica_id dot_replica = 0;
  uint64_t dot_counter = 0;
  timestamp time = 0; ///< given: of the delta. refused: none would be given before it.
  uint64_t digest = 0;
  std::string data; ///< given: the delta. object: the encoded, expanded object, or empty. refused: the reason in words.

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, replica_answer& x) {
    return f(caf::meta::type_name("crema::replica_answer"), x.request, x.what, x.status, x.durable, x.dot_replica,
             x.dot_counter, x.time, x.digest, x.data);
  }
};

/// Replica -> coordinator.
struct answer_batch {
  uint16_t version = message_version;
  uint64_t epoch = 0;
  node_id from{};
  std::vector<replica_answer> answers;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, answer_batch& x) {
    return f(caf::meta::type_name("crema::answer_batch"), x.version, x.epoch, x.from, x.answers);
  }
};

} // namespace crema
