#pragma once

#include "config/cluster_config.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace crema {

/// What keeps the node from running on this host as it is now: ports, data directory. Writes nothing.
/// @pre `node_name` is a node of `config`.
std::vector<config::problem> check_host(const config::cluster_config& config, const std::string& node_name);

/// Where a member of a running cluster listens for peers.
struct peer_address {
  std::string host;
  uint16_t port = 0;
};

/// Runs one node in the foreground until SIGTERM or SIGINT.
/// @pre `node_name` is a node of `config`.
/// @param join becomes a member of the cluster of this one, unless it is already: partitions, buckets and timeouts are
/// those of the cluster then, whatever `config` says.
/// @returns the exit code: 0 after an orderly stop, 1 on a failure, 2 if the configuration cannot be used on this host.
int run_node(const config::cluster_config& config, const std::string& node_name,
             const std::optional<peer_address>& join = std::nullopt);

/// Moves the data of a node that does not run aside, so that it begins empty (storage::set_aside).
/// @pre `node_name` is a node of `config`.
/// @returns an error, or nothing.
std::string set_aside(const config::cluster_config& config, const std::string& node_name);

} // namespace crema
