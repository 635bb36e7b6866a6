// Coordinator <-> replica: put, apply and read travel in batches, one message per destination and flush. Between nodes
// the operations and answers of a batch are one string of bytes (replica_encoding.cpp): CAF would look at each of their
// fields on its own (docs/adr/0004-batches-and-versions.md).
#pragma once

#include "messages/versioned.hpp"
#include "protocol/types.hpp"

#include <caf/meta/load_callback.hpp>
#include <caf/sec.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace crema {

/// One operation on one key of one vnode. Fields that its kind does not name do not travel.
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
  bool fallback = false; ///< The receiver is no owner and stands in for one: in a temporary vnode.
  bucket_id bucket = 0;
  partition_id partition = 0;
  std::string key;
  std::string data;    ///< put: the value. apply: the delta.
  std::string context; ///< put: an encoded clock, if has_context.
  uint64_t ttl_ms = 0; ///< put; 0: does not expire.
  replica_id dot_replica = 0;
  uint64_t dot_counter = 0;
  timestamp time = 0; ///< apply: of the delta. put: the write is to be later than this.

  vnode_id vnode() const { return {bucket, partition}; }
};

/// What a replica says of one operation. Fields that its kind does not name do not travel.
struct replica_answer {
  enum class kind : uint8_t {
    given = 0, ///< put: here are the dot, its time and the delta. `durable` as the bucket demands?
    /// put (after given with durable = false) or apply: durable as the bucket demands. apply, lww: `time` is that of a
    /// register that the replica holds and that wins over the write; 0: there is none; time_unknown: it has not got
    /// all.
    written = 1,
    object = 2,
    digest = 3,
    refused = 4, ///< `status` says why; nothing was done.
  };
  uint64_t request = 0;
  kind what = kind::refused;
  errc status = errc::ok; ///< refused.
  bool durable = false;   ///< given.
  replica_id dot_replica = 0;
  uint64_t dot_counter = 0;
  timestamp time = 0;  ///< given: of the delta. written: see there. refused: none would be given before it.
  uint64_t digest = 0; ///< object, digest.
  std::string data; ///< given: the delta. object: the encoded, expanded object, or empty. refused: the reason in words.
};

std::string encode(const std::vector<replica_op>& ops);
std::string encode(const std::vector<replica_answer>& answers);
/// @returns false if the bytes are malformed; then `ops` is of no use. Work and memory are linear in the input.
bool decode(std::string_view bytes, std::vector<replica_op>& ops);
bool decode(std::string_view bytes, std::vector<replica_answer>& answers);

/// What inspect does for a batch: its fields, and `items` as one string.
template <class Inspector, class Batch, class Item, class... More>
typename Inspector::result_type inspect_batch(Inspector& f, const char* name, Batch& x, std::vector<Item>& items,
                                              More&... more) {
  if constexpr (Inspector::reads_state) {
    auto bytes = encode(items);
    return inspect_versioned(f, name, x.version, x.epoch, x.from, more..., bytes);
  } else {
    std::string bytes;
    auto unpack = [&]() -> caf::error { return decode(bytes, items) ? caf::error{} : caf::sec::invalid_argument; };
    return inspect_versioned(f, name, x.version, x.epoch, x.from, more..., bytes, caf::meta::load_callback(unpack));
  }
}

/// Coordinator -> replica. Answered by an answer_batch to the sender, or several.
struct replica_batch {
  uint16_t version = message_version_newest;
  uint64_t epoch = 0;
  node_id from{};
  /// The newest time of the receiver's clock that the sender had heard. The batch is not older than that; if that is
  /// long ago, its writes are refused (docs/protocol.md, "Late messages").
  int64_t heard = 0;
  std::vector<replica_op> ops;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, replica_batch& x) {
    return inspect_batch(f, "crema::replica_batch", x, x.ops, x.heard);
  }
};

/// Replica -> coordinator.
struct answer_batch {
  uint16_t version = message_version_newest;
  uint64_t epoch = 0;
  node_id from{};
  std::vector<replica_answer> answers;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, answer_batch& x) {
    return inspect_batch(f, "crema::answer_batch", x, x.answers);
  }
};

} // namespace crema
