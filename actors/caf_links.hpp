// The production transport: CAF's network-transparent messaging, with what it does not give by itself (docs/adr/0005):
// a random node id per process, bounded connects, TCP_USER_TIMEOUT, a handshake, and reconnects with capped backoff.
// Tells the root actor of peers by peer_linked and peer_unlinked; a simulation sends these two by itself instead.
#pragma once

#include "actors/node_env.hpp"

#include <caf/all.hpp>
#include <caf/io/all.hpp>

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>

namespace crema {

/// Sets what a node needs of CAF: I/O module, node id per incarnation, heartbeats, timeouts, scheduler.
void configure_caf(caf::actor_system_config& cfg);

/// Does nothing; whoever calls it has the header check of basp_guard.cpp in the program.
void basp_guard_linked();

class caf_links {
public:
  /// @param fatal is told, from any thread, why an actor of the links has ended although it should not.
  caf_links(caf::actor_system& system, env_ptr env, std::function<void(const std::string&)> fatal)
      : system_(system), env_(std::move(env)), fatal_(std::move(fatal)) {}

  /// Publishes `root` on the node's peer address. @returns an error in words, or nothing.
  std::string publish(const caf::actor& root);
  /// Starts to dial every other member, for as long as the node lives.
  void dial(const caf::actor& root);
  /// A peer has just spoken to us: dial it now instead of at the end of the backoff. Thread-safe after dial().
  void nudge(node_id peer) const;
  /// Ends all connectors and dialers. Links stay until the system goes.
  void stop();

private:
  caf::actor connector();
  caf::actor watched(caf::actor a, const char* what) const;

  caf::actor_system& system_;
  env_ptr env_;
  std::function<void(const std::string&)> fatal_;
  std::shared_ptr<std::atomic<bool>> stopping_ = std::make_shared<std::atomic<bool>>(false);
  caf::actor publisher_;
  std::map<node_id, caf::actor> dialers_;
};

} // namespace crema
