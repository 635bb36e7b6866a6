// The one part of the configuration's checks that looks at this machine.
#pragma once

#include "config/cluster_config.hpp"

#include <string>
#include <vector>

namespace crema::config {

/// Where a node stands in its file: "nodes[1]".
std::string node_path(const cluster_config& config, const std::string& name);

/// Binds each of the node's three ports for a moment: which are in use, or cannot be bound on this machine?
/// @param path of the node, for the problems; "" stands for its name: nodes["n2"].
std::vector<problem> check_ports(const node_config& node, std::string path = {});

} // namespace crema::config
