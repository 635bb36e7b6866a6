// The state of the ring manager, and the parts its work is split into: ring_manager.cpp (the newest ring, and the steps
// of a change), ring_orders.cpp (what operators and nodes that want to join ask for).
#pragma once

#include "actors/ring_manager.hpp"
#include "protocol/ring_encoding.hpp"

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace crema {

/// What the agreement is about: encoded rings.
class ring_values final : public protocol::agreed_values {
public:
  std::vector<protocol::voter> voters_of(const std::string& value) const override {
    auto ring = protocol::decode_ring(value);
    std::vector<protocol::voter> voters;
    if (!ring)
      return voters;
    for (const auto& m : ring->members)
      if (m.votes())
        voters.push_back({m.id, ring->epoch == 1 ? 0 : m.directory});
    return voters;
  }
  bool valid_successor(const std::string& before, const std::string& after) const override {
    auto x = protocol::decode_ring(before);
    auto y = protocol::decode_ring(after);
    return x && y && y->epoch == x->epoch + 1 && y->partitions() == x->partitions() && y->next_id >= x->next_id &&
           (x->origin == 0 || x->origin == y->origin);
  }
};

struct ring_manager_state : protocol::agreement_outbox {
  static inline constexpr const char* name = "ring_manager";
  static constexpr std::chrono::milliseconds tick_interval{100};

  // Effects of the agreement.
  void send(node_id to, protocol::agreement_message m) override;
  bool persist(const std::string& record) override;
  void decided(uint64_t number, const std::string& value) override;
  void attempt_ended(uint64_t request, const protocol::agreement_outcome& outcome) override;

  monotonic_time now() const { return self->clock().now().time_since_epoch(); }
  const protocol::ring& ring() const { return *newest; }

  caf::stateful_actor<ring_manager_state>* self = nullptr;
  env_ptr env;
  std::shared_ptr<storage::store> store;
  ring_values values;
  std::unique_ptr<protocol::agreement> agreed;
  protocol::ring_ptr newest;    // On disk.
  protocol::ring_ptr published; // To all: every replica has taken it, or a newer one.
  bool news = false;            // `newest` has not been told to the replicas.
  std::vector<caf::actor> replicas, listeners;
  caf::actor gossiper; // One of the listeners.
  std::map<caf::actor_addr, uint64_t> taken;
  struct peer {
    caf::actor ring_manager;
    uint16_t version = message_version_newest;
  };
  std::map<node_id, peer> peers; // Linked ones.
  std::map<node_id, uint64_t> peer_epochs;
  protocol::topology_state state;
  std::map<node_id, protocol::node_usage> usage; // Of this node and of linked ones.
  protocol::move_pace pace;
  static constexpr std::chrono::seconds look_every{1};
  monotonic_time looked{};
  std::map<node_id, uint64_t> first_met; // Data directories: for members that nobody has named yet.
  uint64_t directory = 0;
  bool sealed = false; // Persisted.
  std::vector<std::pair<uint64_t, protocol::agreement_outcome>> ended;
  struct waiting_order {
    std::function<void(std::string)> answer; // Null: it was a step.
    std::string what;
  };
  static constexpr std::chrono::seconds turn_every{3};
  std::optional<monotonic_time> step_seen;  // That one is due.
  std::map<uint64_t, waiting_order> orders; // By attempt.
  uint64_t next_order = 1;
  std::optional<protocol::topology_plan> plan; // The last one that was asked for.
  static constexpr std::chrono::minutes failure_counts{5};
  std::optional<monotonic_time> no_majority; // When an attempt at the next epoch last found none.
  struct candidate {
    protocol::new_node node;
    uint64_t disk_free = 0;
    monotonic_time heard{};
  };
  static constexpr std::chrono::seconds candidate_kept{30}; // It asks again and again while it waits.
  std::map<std::string, candidate> candidates;              // By name.
};
using ring_manager_self = caf::stateful_actor<ring_manager_state>*;

/// Has `next` agreed on. @param answer is told what became of it, as JSON; may be null.
void propose(ring_manager_self self, protocol::ring next, std::string what, std::function<void(std::string)> answer);
/// Does, or has agreed on, what an operator wants.
void on_order(ring_manager_self self, topology_query& x);
/// What is to be told of an attempt to have something agreed on.
nlohmann::json outcome_json(const ring_manager_state& st, const protocol::agreement_outcome& x);
/// A node that wants to become a member: may it, and is it already?
caf::result<join_answer> on_join(ring_manager_self self, const join_request& x);

} // namespace crema
