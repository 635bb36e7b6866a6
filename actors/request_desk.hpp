// The coordinator's work without the actor: requests in flight, each with its quorum machine, its deadline and what it
// still waits for. Events come in through the on_... functions, effects go out through desk_port; the actor around it
// (coordinator.cpp) turns them into batched messages. Takes time only as an argument.
//
//   get             reading ──▶ reply
//   put, remove     [reading, if read_first ──▶] writing [──▶ writing again, if a newer write was met] ──▶ reply
#pragma once

#include "actors/node_env.hpp"
#include "messages/client.hpp"
#include "messages/local.hpp"
#include "messages/replica.hpp"
#include "protocol/failure_detector.hpp"
#include "protocol/get_quorum.hpp"
#include "protocol/put_quorum.hpp"

#include <boost/unordered/unordered_flat_map.hpp>

#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace crema {

/// What a request_desk makes its shell do.
class desk_port {
public:
  virtual ~desk_port() = default;
  /// Puts `op` into the next batch for the replica of its partition on `to`.
  virtual void send(node_id to, replica_op op) = 0;
  virtual void reply(const std::shared_ptr<reply_sink>& sink, client_reply reply) = 0;
  virtual void repair(repair_wanted wanted) = 0;
  /// Somebody knows a newer ring than this node: requests wait for it.
  virtual void want_ring() = 0;
};

class request_desk {
public:
  static constexpr size_t requests_max = 100'000; ///< In flight at once; more are refused as busy.
  /// What requests in flight may hold together, a read counted by what it is expected to return; more wait their turn.
  static constexpr size_t active_bytes_max = size_t{32} << 20;
  static constexpr size_t waiting_bytes_max = size_t{256} << 20; ///< Of those that wait; more are refused as busy.
  static constexpr size_t peer_bytes_max = size_t{64} << 20;     ///< Sent to one node and not answered yet.
  static constexpr size_t peer_requests_max = 50'000;
  static constexpr uint64_t ask_all_every = 16; ///< Every 16th read asks all owners, for read repair.
  static constexpr size_t nodes_max = 32;       ///< That one request may ask: its owners, then fallbacks.

  request_desk(env_ptr env, desk_port& port);
  ~request_desk();

  /// Requests in flight whose owners have changed go on under the new ring. What was handed to the port before belongs
  /// to the old one.
  void on_ring(protocol::ring_ptr ring);
  /// `node` refuses requests of older epochs by now, also after a crash.
  void on_epoch(node_id node, uint64_t epoch);
  /// A drained node is asked last.
  void on_drain(node_id node, bool drained);
  /// `usable`: linked and believed up. Not usable: what was asked of it is lost.
  void on_node(node_id node, bool usable, std::string why);
  void on_request(const std::shared_ptr<reply_sink>& sink, client_request request, protocol::monotonic now);
  void on_answer(node_id from, replica_answer answer, protocol::monotonic now);
  void on_repaired(const repair_done& ended, protocol::monotonic now);
  /// Deadlines and hedges that are due.
  void on_time(protocol::monotonic now);

  /// What clients have felt since the last call.
  foreground_load take_load() { return std::exchange(load_, {}); }
  bool idle() const { return pending_.empty(); }
  std::map<std::string, uint64_t> counters() const;

private:
  struct pending;
  struct put_effects;
  struct get_effects;
  struct peer {
    bool usable = false;
    std::string why = "not linked yet";
    size_t bytes = 0;
    size_t requests = 0;
    uint64_t epoch = 0; // That it is known to know.
    bool drained = false;
    bool overloaded() const { return bytes > peer_bytes_max || requests > peer_requests_max; }
  };

  void start(uint64_t id, pending& p, protocol::monotonic now);
  /// As many of those that wait as there is room for.
  void start_waiting(protocol::monotonic now);
  /// The client has its reply: the request gives its room to others.
  void leave(pending& p);
  size_t weight_of(const pending& p) const;
  void place(pending& p) const;
  void rebase(uint64_t id, pending& p);
  void on_stale(uint64_t id, pending& p, node_id from);
  void end(uint64_t id, errc why, std::string text);
  protocol::write_set others_of(pending& p);
  protocol::write_set write_set_of(const pending& p, std::vector<node_id> nodes, uint32_t w) const;
  bool may_be_read_from_former(const pending& p) const;
  void start_get(uint64_t id, pending& p, protocol::monotonic now);
  void start_put(uint64_t id, pending& p, protocol::monotonic now);
  /// Starts the write that a finished read was for; forgets the request if nothing more is to come.
  void settle(uint64_t id);
  void send(uint64_t id, pending& p, node_id to, replica_op op);
  void answered(pending& p, node_id from);
  void release(pending& p);
  /// The owners alone, as each phase of a request begins with.
  void reset_nodes(pending& p);
  void write_again(pending& p, bool any_time);
  std::optional<node_id> next_fallback(pending& p);
  /// The preference list of the partition: `n` owners, then fallbacks.
  const std::vector<node_id>& preference_list(partition_id partition, protocol::copies n);
  void finish_get(pending& p, const std::string& object);
  void finish_put(pending& p);
  void fail(pending& p, errc why, const protocol::shortfall& missing, bool write);
  void refuse(const std::shared_ptr<reply_sink>& sink, const client_request& request, errc why, std::string text,
              std::shared_ptr<const explanation> explained = {});
  std::vector<explanation::fields> explain_nodes(const protocol::bucket& bucket, partition_id partition);
  void explain_place(const std::shared_ptr<reply_sink>& sink, const client_request& request,
                     const protocol::bucket& bucket);
  /// Null, if it was not asked for.
  std::shared_ptr<const explanation> explain(const pending& p);
  bool reachable(node_id id) const;
  std::string missing_nodes(const pending& p, std::vector<node_id> nodes) const;
  std::vector<bool> reachable(const std::vector<node_id>& nodes) const;
  peer& peer_of(node_id id);

  env_ptr env_;
  desk_port& port_;
  protocol::ring_ptr ring_;
  std::vector<peer> peers_;                                                                       // By node index.
  std::map<std::tuple<uint32_t, uint32_t, partition_id>, std::vector<node_id>> preference_lists_; // As needed.
  std::set<std::pair<vnode_id, node_id>> incomplete_; // Who said so, and has not answered since.
  boost::unordered_flat_map<uint64_t, std::unique_ptr<pending>> pending_;
  uint64_t next_id_ = 1;
  std::deque<uint64_t> waiting_;
  size_t waiting_bytes_ = 0;
  size_t active_bytes_ = 0;
  /// What the next read of a bucket will return, by recent ones: at once as large as the largest, slowly smaller.
  std::map<bucket_id, size_t> read_bytes_expected_;
  protocol::monotonic now_{};
  foreground_load load_;
  // Ids in the order of their deadlines: each kind has one timeout, so its queue is sorted as it grows.
  struct due {
    protocol::monotonic at;
    uint64_t id;
  };
  std::deque<due> read_deadlines_, write_deadlines_, hedges_;
  // Counters since start.
  uint64_t gets_ = 0, puts_ = 0, removes_ = 0, failures_ = 0, repairs_ = 0, hedged_ = 0, stray_answers_ = 0,
           fallback_requests_ = 0, fallback_acks_ = 0, second_rounds_ = 0, rebased_ = 0;
};

} // namespace crema
