// What the gateway needs to know, and where it listens.
#pragma once

#include "config/cluster_config.hpp"
#include "protocol/ring.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace prometheus {
class Registry;
}

namespace crema::gateway {

/// An address to listen on. Port 0: the system chooses.
struct endpoint {
  std::string host;
  uint16_t port = 0;
};

/// What clients may know of the cluster; it changes while the node runs.
struct cluster_view {
  struct node {
    std::string name, host;
    uint16_t resp_port = 0;
    friend bool operator==(const node& a, const node& b) {
      return a.name == b.name && a.host == b.host && a.resp_port == b.resp_port;
    }
  };
  std::vector<protocol::bucket> buckets; ///< Not empty. Connections start in the one with db 0, or the first.
  std::vector<node> nodes;

  /// By name or, if it is a number, by db.
  const protocol::bucket* find_bucket(std::string_view name_or_db) const;
  const protocol::bucket* find_bucket(bucket_id id) const;
  const protocol::bucket& default_bucket() const;
};
cluster_view view_of(const protocol::ring& ring);

struct options {
  std::string cluster;
  std::string node; ///< This node's name.
  std::string version;
  endpoint resp{"127.0.0.1", 0};
  endpoint http{"127.0.0.1", 0};
  uint32_t threads = 0; ///< For RESP connections; 0: one per two cores, at least 1.
  uint32_t max_clients = 10000;
  uint32_t partitions = 256; ///< Contexts are bound to a partition.
  cluster_view cluster_now;  ///< At the start.
  /// How long stop() lets commands in flight finish.
  std::chrono::milliseconds stop_grace{2000};

  std::function<bool(const std::string& level)> set_log_level; ///< false: no such level.
  std::function<std::string()> get_log_level;
  std::function<bool()> ready;                   ///< Commands wait until then (gateway::ready()). Unset: at once.
  std::function<uint64_t()> wall_clock_ms;       ///< Since 1970, for TTL. Unset: the system's clock.
  std::shared_ptr<prometheus::Registry> metrics; ///< Shown by GET /metrics besides the gateway's own; may be null.
};

/// What the configuration says about the gateway of node `self`; the callbacks, version and metrics stay unset.
options make_options(const config::cluster_config& cluster, const config::node_config& self);

} // namespace crema::gateway
