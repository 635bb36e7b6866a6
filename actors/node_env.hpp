// What every actor of one node is given: who it is, the configuration, and the only sources of time, randomness and log
// output. Immutable and shared; production and simulation differ in how they fill it.
#pragma once

#include "config/cluster_config.hpp"
#include "protocol/failure_detector.hpp"
#include "protocol/message_version.hpp"
#include "protocol/ring.hpp"
#include "protocol/types.hpp"

#include <spdlog/logger.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace crema {

/// What nodes are called. Thread-safe; names are never forgotten, as ids are never reused.
class name_table {
public:
  const std::string& of(node_id id) const {
    static const std::string unknown = "?";
    std::lock_guard lock{mutex_};
    auto found = names_.find(id);
    return found != names_.end() ? found->second : unknown;
  }
  void learn(const protocol::ring& ring) {
    std::lock_guard lock{mutex_};
    for (const auto& m : ring.members)
      names_.emplace(m.id, m.name);
  }

private:
  mutable std::mutex mutex_;
  std::map<node_id, std::string> names_;
};

struct node_env {
  node_id self{};
  std::string name;
  config::cluster_config config; ///< Nodes and buckets are those of the ring.
  protocol::ring_ptr first_ring; ///< The ring known at start: persisted, or claimed from the configuration.
  uint64_t incarnation = 0;      ///< Random per process.
  bool restored = false;         ///< The data directory is an older copy of the one that was used last.
  uint64_t origin = 0;           ///< protocol::ring::origin, also while the ring does not say it.
  uint64_t fingerprint = 0;      ///< What peers must agree with us on.
  spoken_versions speaks;        ///< Of messages.
  std::string release;           ///< Of the program.
  bool own_threads = true;       ///< Replicas block in the store on threads of their own; off in simulation.
  struct page_limits {
    uint32_t bytes_max = 64 * 1024;       ///< Requests of clients wait while a page is made or stored.
    size_t ahead_bytes = size_t{1} << 19; ///< Of what a catch-up lacks its source remembers so much between two pages.
  };
  struct trim_limits {
    uint64_t at_once = 1024; ///< While a vnode is written to, its log is trimmed by at least so many dots,
    uint64_t piece_min = 64; ///< in pieces of at least so many.
  };
  page_limits pages;                     ///< Of sync; small in simulation, where keys are few.
  trim_limits trims;                     ///< The same.
  std::function<uint64_t()> wall_micros; ///< Microseconds since 1970; may jump.
  std::shared_ptr<spdlog::logger> log;

  const std::string& name_of(node_id id) const {
    if (id == self)
      return name;
    if (const auto* member = first_ring ? first_ring->find(id) : nullptr)
      return member->name;
    return later_names->of(id);
  }
  std::shared_ptr<name_table> later_names = std::make_shared<name_table>(); ///< Of those who came since.
  uint64_t wall_ms() const { return wall_micros() / 1000; }
};
using env_ptr = std::shared_ptr<const node_env>;

/// A peer that tells nothing for so long may have stood still: what it sends when it goes on was begun long ago.
inline std::chrono::milliseconds silence_max(const config::cluster_config& config) {
  return config.peers.suspect_after + std::chrono::seconds{3} + 2 * config.sync.interval;
}
/// A write that may have been on its way for so long is refused. In health the time that comes back with it is as old
/// as two heartbeats and a second.
inline std::chrono::milliseconds late_after(const config::cluster_config& config) {
  return std::max<std::chrono::milliseconds>(std::chrono::seconds{10}, 4 * config.peers.heartbeat);
}

} // namespace crema
