// When faults strike: bursts of a few kinds between calm periods, drawn from a seed. At the end all faults end, every
// node runs again, and the cluster gets time to settle.
#pragma once

#include "apps/simulation/simulation.hpp"

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace crema::simulation {

/// What the checkers must know of the faults of a run: what they excuse.
struct fault_log {
  /// A node lost data: all of it, or what was not synced.
  struct loss {
    size_t node;
    sim_time at;
    bool whole_disk;
    sim_time tail_from; ///< When the process had stopped; nothing has been synced since. `at`, if it ran.
  };
  struct span {
    size_t node;
    sim_time from, to;
  };
  struct jump {
    size_t node;
    sim_time at;
    uint64_t before_ms, after_ms; ///< What the clock showed.
  };
  std::vector<loss> losses;
  std::vector<span> pauses; ///< A span may end early, with the process.
  std::vector<span> slow_disks;
  std::vector<jump> jumps; ///< Of wall clocks, drift included.
  uint64_t events = 0;     ///< Faults that struck.

  /// How much of `from` .. `to` the node spent stopped.
  sim_time paused(size_t node, sim_time from, sim_time to) const;
  bool clock_changed(size_t node, sim_time from, sim_time to) const;
  /// No wall clock has shown more between `from` and `until`; 0: none has ever been touched.
  uint64_t highest_wall_ms(sim_time from, sim_time until) const;
};

class fault_planner {
public:
  /// @param events_max stop after so many faults (for shrinking); 0: no limit.
  fault_planner(world& w, random_stream random, const std::set<fault_kind>& kinds, uint64_t events_max);
  ~fault_planner();
  void begin_without(size_t node);
  void start();
  /// A client had a write acknowledged by `node` just now: some faults strike soon after one.
  void acknowledged(size_t node);
  /// Ends every fault and starts every node.
  void end_all();
  /// After that, each second. @returns what changes of the members still wait for, in words.
  std::string settle();
  const fault_log& log() const;

private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

/// "delay", "loss", ...
std::string_view to_string(fault_kind kind);
std::optional<fault_kind> parse_fault(std::string_view name);
const std::vector<fault_kind>& all_faults();

} // namespace crema::simulation
