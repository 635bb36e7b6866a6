// The simulated transport: connections between nodes, and messages under way on them. A handle to an actor of another
// node is a proxy that hands what it gets to the network (docs/adr/0006); the actors cannot tell. What arrives has gone
// through its bytes, as in production.
#pragma once

#include "apps/simulation/random.hpp"
#include "apps/simulation/world.hpp"

#include <caf/actor_proxy.hpp>
#include <caf/all.hpp>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <vector>

namespace crema::simulation {

class network;

/// "The actor real on node home, as node viewer sees it", over one connection.
class proxy final : public caf::actor_proxy {
public:
  proxy(caf::actor_config& cfg, network* net, size_t viewer, size_t home, uint64_t connection,
        caf::strong_actor_ptr real);
  void enqueue(caf::mailbox_element_ptr element, caf::execution_unit*) override;
  void kill_proxy(caf::execution_unit* ctx, caf::error why) override;

private:
  network* net_;
  size_t viewer_, home_;
  uint64_t connection_;
  caf::strong_actor_ptr real_;
};

/// What the network needs of the world around it.
class network_host {
public:
  virtual ~network_host() = default;
  virtual sim_time now() const = 0;
  virtual void after(sim_time delay, std::function<void()> what) = 0;
  /// Can the node take part in the network: running, and not paused?
  virtual bool responsive(size_t node) const = 0;
  virtual bool running(size_t node) const = 0;
  /// Do both know each other as members?
  virtual bool acquainted(size_t a, size_t b) const = 0;
  /// A connection from `viewer` to `peer` stands.
  virtual void on_link(size_t viewer, size_t peer) = 0;
  virtual void on_unlink(size_t viewer, size_t peer, const std::string& why) = 0;
  /// The bytes of a message do not make a message.
  virtual void on_malformed(size_t from, size_t to, const caf::message& what, const std::string& why) = 0;
  virtual void on_delivery(size_t from, size_t to, const caf::strong_actor_ptr& receiver, const caf::message& what) = 0;
};

class network {
public:
  network(network_host& host, caf::actor_system& system, random_stream random, size_t nodes);
  ~network();

  /// The node's process has started: it dials and can be dialled.
  void node_started(size_t node);
  /// Its process has died: connections end; peers that are in reach hear of it at once.
  void node_died(size_t node);

  void cut(size_t from, size_t to) { link(from, to).cut = true; }
  void heal(size_t from, size_t to);
  void heal_all();
  void break_connection(size_t a, size_t b, const std::string& why);
  /// `node` finds its connection broken and makes a new one before `peer` has noticed anything: what it had sent is
  /// lost.
  void break_for_one(size_t node, size_t peer);
  void set_profile(const network_profile& profile) { profile_ = profile; }
  /// Every second message of the node is lost, until told otherwise.
  void lose_words(size_t from, bool lost) { loses_words_[from] = lost; }
  void slow_link(size_t from, size_t to, std::chrono::milliseconds extra) { link(from, to).extra = extra; }

  /// `real`, an actor of `home`, as `viewer` sees it over the present connection.
  caf::strong_actor_ptr view(size_t viewer, size_t home, const caf::strong_actor_ptr& real);
  void route(size_t from, size_t to, uint64_t connection, const caf::strong_actor_ptr& real,
             caf::mailbox_element_ptr element);
  uint64_t delivered() const { return delivered_; }

private:
  struct in_flight {
    caf::strong_actor_ptr receiver, sender; // As they are at home; the sender is shown to the receiver by a proxy.
    caf::message_id id;
    caf::message content;
    uint64_t connection;
    uint64_t stream; // Of its direction.
  };
  struct direction {
    bool cut = false;
    sim_time extra{};
    uint64_t stream = 0;                             // What is on its way in an older one is lost.
    sim_time last_delivery{};                        // Messages of one direction stay in order, as in TCP.
    std::vector<std::shared_ptr<in_flight>> waiting; // Cut: held back until healed or the connection breaks.
  };
  struct pair_state {
    uint64_t connection = 0; // 0: none. Each connection has a number of its own.
    bool dialing = false;
    bool half_open = false;  // One end died out of reach of the other, who learns it from the first answer it gets.
    sim_time silent_since{}; // Nothing can have been heard since; for the connection timeout.
    sim_time unconfirmed_since{}; // Start of a cut that has lasted until now.
    uint64_t watch = 0;
  };

  direction& link(size_t from, size_t to) { return directions_[from * nodes_ + to]; }
  void kill_proxies(size_t viewer, size_t peer);
  pair_state& pair(size_t a, size_t b) { return pairs_[std::min(a, b) * nodes_ + std::max(a, b)]; }
  bool in_reach(size_t a, size_t b) { return !link(a, b).cut && !link(b, a).cut; }
  void dial_later(size_t a, size_t b, sim_time delay);
  void dial(size_t a, size_t b);
  void watch(size_t a, size_t b);
  sim_time delay();
  void send(size_t from, size_t to, std::shared_ptr<in_flight> m);
  std::optional<caf::message> as_received(size_t from, size_t to, const caf::message& sent);
  void deliver(size_t from, size_t to, const std::shared_ptr<in_flight>& m);

  network_host& host_;
  caf::actor_system& system_;
  random_stream random_;
  size_t nodes_;
  network_profile profile_;
  std::vector<direction> directions_;
  std::vector<bool> loses_words_; // By node.
  std::vector<pair_state> pairs_;
  std::map<std::tuple<size_t, size_t, caf::actor_id>, std::pair<uint64_t, caf::strong_actor_ptr>> proxies_;
  uint64_t next_connection_ = 1;
  uint64_t delivered_ = 0;
};

} // namespace crema::simulation
