// The topology, plans and changes that are under way, for people. What is shown comes from a node, as JSON
// (KV.TOPOLOGY) of unchecked origin.
#pragma once

#include <nlohmann/json.hpp>

#include <string>

namespace crema::cli {

/// "[#####---------------]  25 %"
std::string progress_bar(uint64_t done, uint64_t all);

/// What a plan would do.
std::string format_plan(const nlohmann::json& plan);
/// Nodes, with what they own and are to own as bars.
std::string format_ring(const nlohmann::json& topology);
/// Which nodes own which partitions, and are to own them.
std::string format_partitions(const nlohmann::json& topology);
/// The change that is under way, if there is one; some lines.
std::string format_job(const nlohmann::json& topology);

/// To a node's status: who is drained, as part of its state.
void show_drained(nlohmann::json& status);

/// To a node's status: how members stand in the topology (joining, ...), and how far a change is.
void add_topology(nlohmann::json& status, const nlohmann::json& topology);

/// The same as format_job(), in one line.
std::string format_progress(const nlohmann::json& topology);

} // namespace crema::cli
