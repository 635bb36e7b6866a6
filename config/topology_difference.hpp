// What has to be changed for a running cluster to become what a configuration file says (`crema ctl apply`).
#pragma once

#include "config/cluster_config.hpp"
#include "protocol/topology_change.hpp"

#include <nlohmann/json.hpp>

#include <string>
#include <vector>

namespace crema::config {

struct topology_difference {
  nlohmann::json changes = nlohmann::json::array(); ///< For topology_changes_from_json; empty: there is none.
  std::vector<std::string> notes;                   ///< What differs, and stays.
};

/// Compared are nodes with zone, weight and group, and buckets; nodes that the file does not name leave.
/// @param now what KV.TOPOLOGY SHOW tells; of unchecked origin.
/// @param drops buckets that the file does not name are dropped; else they stay.
/// @returns why not, if something differs that cannot be changed. Never throws.
protocol::or_refused<topology_difference> topology_difference_of(const cluster_config& wanted,
                                                                 const nlohmann::json& now, bool drops);

} // namespace crema::config
