#pragma once

#include "config/cluster_config.hpp"

#include <string>

namespace crema {

/// Runs one node in the foreground until SIGTERM or SIGINT.
/// @pre `node_name` is a node of `config`.
/// @returns the exit code: 0 after an orderly stop, 1 on a failure, 2 if the configuration cannot be used on this host.
int run_node(const config::cluster_config& config, const std::string& node_name);

} // namespace crema
