// What the gateway asks of the coordinators, and what it gets back. Stays inside one process; free of CAF, so that the
// gateway can be built and tested without it.
#pragma once

#include "protocol/dot_clock.hpp"
#include "protocol/object.hpp"
#include "protocol/quorum_level.hpp"
#include "protocol/topology_change.hpp"
#include "protocol/types.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace crema {

/// Where a key lives and how a request for it went, for people: names and values in the order in which to show them.
struct explanation {
  using fields = std::vector<std::pair<std::string, std::string>>;
  vnode_id vnode; ///< That the key is in.
  fields summary;
  std::vector<fields> nodes;     ///< The preference list: owners, then fallbacks.
  std::vector<fields> exchanges; ///< Who was asked for what, and what came back until the reply.
};

/// One operation on one key.
struct client_request {
  enum class kind : uint8_t { get, put, remove, explain }; ///< explain: only where the key lives.

  uint64_t id = 0; ///< Chosen by the sender; unique among its requests in flight; comes back in the reply.
  kind what = kind::get;
  bucket_id bucket = 0;
  std::string key;
  std::string value;                  ///< put only.
  uint64_t ttl_ms = 0;                ///< put only; 0: does not expire.
  protocol::quorum_level read;        ///< get, and the read of `read_first`.
  protocol::quorum_level write;       ///< put, remove.
  protocol::quorum_level read_owners; ///< How many of those must be owners; the default: any may do.
  protocol::quorum_level write_owners;
  std::optional<protocol::read_repair> repair; ///< get; nothing: as the bucket says.
  std::optional<protocol::dot_clock> context;  ///< put, remove: what the client has seen.
  /// put, remove: read a quorum first. In a siblings bucket the context of that read is used (plain SET and DEL); in
  /// every bucket the reply then says whether a value `existed`.
  bool read_first = false;
  bool explain = false; ///< The reply is to say how the request went.
};

struct client_value {
  std::string value;
  protocol::expiry_ms expires_at = 0; ///< 0: never.
  timestamp time = 0;
};

struct client_reply {
  uint64_t id = 0;
  errc status = errc::ok;
  std::string error; ///< Not ok: the cause in words without the code, e.g. "needed 2, reachable 1: n2 down, n3 down".
  std::vector<client_value> values; ///< get: the values that have not expired, newest first; empty: not found.
  bool existed = false;             ///< remove, put with read_first.
  protocol::dot_clock context;      ///< get: exact context of what was read; put, remove: with the new write in it.
  std::shared_ptr<const explanation> explained; ///< If it was asked for.
};

/// Where replies go. Called from any thread; must not block.
class reply_sink {
public:
  virtual ~reply_sink() = default;
  virtual void deliver(std::vector<client_reply> replies) = 0;
};

struct client_batch {
  std::shared_ptr<reply_sink> sink;
  std::vector<client_request> requests;
};

/// About the scrub of this node: the vnodes that it is the first to compare with their other owners.
struct repair_order {
  enum class kind : uint8_t { start, status, pause, resume, cancel };
  kind what = kind::status;
  std::optional<bucket_id> bucket;       ///< start; nothing: all.
  std::optional<partition_id> partition; ///< start; nothing: all.
};

/// What an operator wants of the topology (docs/operations.md).
struct topology_order {
  enum class kind : uint8_t {
    show,   ///< Epoch, members, the change that is under way, and how far it is.
    plan,   ///< What would `changes` mean? Nothing is done.
    commit, ///< Do what the last plan of this node says.
    cancel, ///< Back to the owners of before.
    pause,
    resume,
    force, ///< Without a majority: the members that `changes` remove are gone for good.
    drain, ///< This node sends its clients to others, until it is restarted or told to
    undrain,
  };
  kind what = kind::show;
  std::vector<protocol::topology_change> changes; ///< plan, force
  std::optional<uint64_t> confirmed; ///< force: the epoch that was shown; nothing: show it, and do nothing.
};

/// What the gateway needs from the node behind it. All calls are thread-safe and return at once.
class client_backend {
public:
  virtual ~client_backend() = default;
  /// Every request gets exactly one reply through the sink.
  virtual void submit(client_batch batch) = 0;
  /// The node's status as JSON text (`crema ctl status`, HTTP /status).
  virtual void status(std::function<void(std::string json)> answer) = 0;
  /// Begins a sync point (`id` 0) or tells how far one is, as JSON text: `{"id": …, "reached": …, "waiting_for":
  /// [{"node": …, "writes": …, "linked": …}]}`. It is reached when everything that this node had when it was begun is
  /// on the disks of all its owners. `{"error": …}` if there is none of that id, or too many.
  virtual void sync_point(uint64_t id, std::function<void(std::string json)> answer) = 0;
  /// Carries out the order, and tells how far the scrub is, as JSON text (docs/commands.md, KV.REPAIR). `{"error": …}`
  /// if another one runs, or none that could be paused.
  virtual void repair(repair_order order, std::function<void(std::string json)> answer) = 0;
  /// Carries out the order, and tells what came of it, as JSON text. `{"error": …}` says why not.
  virtual void topology(topology_order order, std::function<void(std::string json)> answer) = 0;
  /// The number of keys of a bucket in the whole cluster, or an error in words.
  virtual void count_keys(bucket_id bucket,
                          std::function<void(std::optional<uint64_t> count, std::string error)> answer) = 0;
};

} // namespace crema
