// The production transport: CAF's network-transparent messaging, with what it does not give by itself (docs/adr/0005):
// a random node id per process, bounded connects, TCP_USER_TIMEOUT, a handshake, and reconnects with capped backoff.
// Tells the root actor of peers by peer_linked and peer_unlinked; a simulation sends these two by itself instead.
#pragma once

#include "actors/node_env.hpp"
#include "messages/peer.hpp"

#include <caf/all.hpp>
#include <caf/io/all.hpp>

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

namespace crema {

/// Sets what a node needs of CAF: I/O module, node id per incarnation, heartbeats, timeouts, scheduler.
void configure_caf(caf::actor_system_config& cfg);

/// Does nothing; whoever calls it has the header check of basp_guard.cpp in the program.
void basp_guard_linked();

class caf_links {
public:
  /// @param fatal is told, from any thread, why an actor of the links has ended although it should not.
  /// @param removed is told, from any thread, that this node is no member any more, and that a majority of the others
  /// knows that.
  caf_links(caf::actor_system& system, env_ptr env, std::function<void(const std::string&)> fatal,
            std::function<void(const std::string&)> removed)
      : system_(system), env_(std::move(env)), fatal_(std::move(fatal)), removed_(std::move(removed)) {}

  /// Publishes `root` on the node's peer address. @returns an error in words, or nothing.
  std::string publish(const caf::actor& root);
  /// Dials every other member of the ring, and no one else, from now on. If this node is none, asks them as well
  /// whether it may stop, until one allows it. Thread-safe.
  void follow(const caf::actor& root, const protocol::ring& ring);
  /// A peer has just spoken to us: dial it now instead of at the end of the backoff. Thread-safe.
  void nudge(node_id peer) const;
  /// Ends all connectors and dialers. Links stay until the system goes.
  void stop();

private:
  using flag = std::shared_ptr<std::atomic<bool>>;
  caf::actor connector(const flag& over);
  caf::actor watched(caf::actor a, const char* what, const flag& over) const;

  caf::actor_system& system_;
  env_ptr env_;
  std::function<void(const std::string&)> fatal_, removed_;
  flag stopping_ = std::make_shared<std::atomic<bool>>(false);
  struct link;
  static void end(const link& l);
  struct link {
    caf::actor dialer;
    flag over = std::make_shared<std::atomic<bool>>(false); // Its actors may end.
  };
  caf::actor publisher_;
  std::shared_ptr<std::atomic<uint64_t>> epoch_ = std::make_shared<std::atomic<uint64_t>>(0); // Of the newest ring.
  mutable std::mutex mutex_;
  std::map<node_id, link> links_;
};

/// Asks a member to be let in, once. Blocks for some seconds at most.
caf::expected<join_answer> ask_to_join(caf::actor_system& system, const std::string& host, uint16_t port,
                                       const join_request& request, std::chrono::milliseconds connect_timeout);

} // namespace crema
