// The topology, plans and changes that are under way, for people. What is shown comes from a node, as JSON
// (KV.TOPOLOGY) of unchecked origin.
#pragma once

#include <nlohmann/json.hpp>

#include <chrono>
#include <deque>
#include <optional>
#include <string>

namespace crema::cli {

/// "[#####---------------]  25 %"
std::string progress_bar(uint64_t done, uint64_t all);
/// "512 B", "1.5 KiB", "20.0 GiB"
std::string format_bytes(uint64_t bytes);

/// What a plan would do.
std::string format_plan(const nlohmann::json& plan);
/// Nodes, with what they own and are to own as bars.
std::string format_ring(const nlohmann::json& topology);
/// Which nodes own which partitions, and are to own them.
std::string format_partitions(const nlohmann::json& topology);
/// The change that is under way, if there is one; some lines.
std::string format_job(const nlohmann::json& topology);

/// To a node's status: how members stand in the topology (joining, ...), and how far a change is.
void add_topology(nlohmann::json& status, const nlohmann::json& topology);

/// How fast a change goes, by the answers of the last seconds.
class change_pace {
public:
  using time = std::chrono::steady_clock::time_point;
  void note(time now, const nlohmann::json& topology);
  double vnodes_per_second() const;
  /// Nothing as long as it is not known.
  std::optional<std::chrono::milliseconds> time_left() const;

private:
  struct sample {
    time at;
    uint64_t got;
  };
  std::deque<sample> samples_; ///< Of one epoch.
  uint64_t epoch_ = 0, to_get_ = 0;
};
/// The same as format_job(), in one line, with the pace.
std::string format_progress(const nlohmann::json& topology, const change_pace& pace);

} // namespace crema::cli
