// One simulated run from its options to its verdict, and many of them.
#pragma once

#include "apps/simulation/world.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace crema::simulation {

/// The kinds of fault a run may have; each can be asked for alone.
enum class fault_kind : uint8_t {
  delay,      ///< Slow messages, slow links, a peer that answers late by minutes.
  loss,       ///< Single messages lost, repeated, reordered (more than TCP does).
  partition,  ///< Halves, majority ring, isolated node, one-way, flapping.
  connection, ///< Connections that die with half of what was sent.
  crash,      ///< Process and machine crashes, power failures, orderly stops, restarts, crashes during restarts.
  pause,      ///< Virtual SIGSTOP, also longer than every timeout.
  busy,       ///< Work takes time, so messages pile up and go together.
  clock,      ///< Wall clocks jump and drift.
  disk,       ///< Failing writes and syncs, full disks, slow syncs, lost disks.
  topology,   ///< Members come and go; whoever is to have that agreed on dies.
};

struct run_options {
  uint64_t seed = 1;
  size_t nodes = 5;
  std::chrono::minutes duration{10}; ///< Virtual, with faults; then faults stop and the cluster gets time to settle.
  size_t clients = 8;
  std::set<fault_kind> faults;      ///< Which may strike; empty: none.
  std::vector<std::string> buckets; ///< Of the default set; empty: all.
  std::string trace_file;
  uint64_t operations_max = 0;   ///< Stop the load after so many operations (for shrinking); 0: no limit.
  uint64_t fault_events_max = 0; ///< Stop the faults after so many (for shrinking); 0: no limit.
  std::string planted;           ///< Name of a planted bug, in builds that have them.
};

struct run_result {
  std::optional<violation> failure;
  uint64_t trace_hash = 0;
  uint64_t messages = 0;
  uint64_t steps = 0;
  uint64_t operations = 0; ///< Client requests.
  uint64_t acknowledged = 0;
  uint64_t faults = 0; ///< That struck.
  uint64_t lost = 0;   ///< Writes that were on no disk any more, and gaps in clocks for it.
  sim_time simulated{};
};

/// Runs one simulation. Deterministic: equal options, equal result.
run_result run(const run_options& options);

/// Names of the default buckets.
std::vector<std::string> bucket_names();

/// Do members come and go? Of runs of up to two minutes with all kinds of faults in two of three.
bool has_topology(const run_options& options);

/// The command line that repeats this run.
std::string command_of(const run_options& options);

/// The smallest run that still fails (fewer clients, faults, operations, nodes, minutes) that `attempts` tries can
/// find.
run_options shrink(const run_options& failing, size_t attempts);

} // namespace crema::simulation
