// The actor that holds the newest ring and has the next one agreed on (ring_manager.cpp), and what it shows of them.
#pragma once

#include "actors/interfaces.hpp"
#include "protocol/agreement.hpp"
#include "protocol/topology_costs.hpp"
#include "protocol/topology_plan.hpp"
#include "protocol/topology_progress.hpp"

#include <nlohmann/json.hpp>

namespace crema {

using monotonic_time = std::chrono::nanoseconds;

/// "3 members", "joint: join n4", ...
std::string describe(const protocol::ring& ring);
nlohmann::json error_json(const std::string& why);
/// @param joint owners change.
nlohmann::json to_json(const protocol::bucket& bucket, bool joint);
/// The topology and how far its change is: docs/operations.md.
/// @param usage,pace as far as it is known.
nlohmann::json to_json(const protocol::ring& ring, const protocol::topology_state& state,
                       const config::cluster_config& config, const std::map<node_id, protocol::node_usage>& usage,
                       const protocol::move_pace& pace);
/// @param bytes_per_second that a node may take.
nlohmann::json to_json(const protocol::topology_plan& plan, const protocol::ring& now,
                       const std::map<node_id, protocol::node_usage>& usage, uint64_t bytes_per_second);

} // namespace crema
