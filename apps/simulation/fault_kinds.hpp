// The kinds of faults: what strikes when one strikes, and how it ends. When is decided by the fault_planner.
#pragma once

#include "apps/simulation/faults.hpp"
#include "protocol/topology_change.hpp"

#include <functional>
#include <memory>
#include <optional>
#include <vector>

namespace crema::simulation {

/// What all kinds share: the world, the dice, the log, and nodes that come back.
class fault_scene {
public:
  fault_scene(world& world, random_stream r);

  void after(sim_time delay, std::function<void()> what) { w.after(delay, std::move(what)); }
  /// A member, or one that runs.
  size_t any();
  size_t other(size_t than);
  size_t down() const; ///< Members that do not run.

  void crash_process(size_t n);
  /// Any prefix of what was not synced may survive.
  void crash_machine(size_t n);
  void lose_disk(size_t n);
  void pause(size_t n, sim_time duration);
  /// The others see `hub` and nobody else, until they are healed.
  void cut_all_but(size_t hub);
  /// Starts the node after a while; it may die while it starts.
  void restart(size_t n);
  /// It stops, in good order or not, and is not started before that.
  void stay_away(size_t n, sim_time duration);
  /// The cluster begins without this one, which comes late: perhaps just when a disk was lost.
  void begin_without(size_t node);
  /// Brings back nodes that died of their own accord, of a disk that fails them; goes on until all is over.
  void watch();
  /// May this node's machine crash in this run?
  bool machine_may_crash(size_t n) const { return n == fragile || machines_crash_everywhere_; }

  world& w;
  random_stream random;
  fault_log log;
  bool over = false;
  std::optional<size_t> newcomer; ///< Has never been there yet.
  bool began_without = false;     ///< The cluster did, without one. Two owners that know nothing cannot be told apart.
  /// The one node that may lose its disk. With the W of the default buckets one disk may go without an acknowledged
  /// write going with it (docs/simulation.md), once so many have met it that it is known to be lost.
  size_t fragile;
  bool disk_may_be_lost() const;
  size_t disks_left = 0; ///< To be lost.
  /// May a fault strike that has a pace of its own? If so, it counts.
  bool may_strike();
  uint64_t events_max = 0; ///< 0: no limit.

  // -- What operators do (topology_faults.cpp) -----------------------------------------------------------------------
  std::optional<size_t> dead;         ///< For good: its disk is destroyed, and it waits for its removal.
  std::optional<size_t> any_member(); ///< That runs.
  void plan(size_t at, std::vector<protocol::topology_change> changes, const std::function<void()>& done);
  std::optional<protocol::topology_change> random_change();
  std::optional<protocol::topology_change> random_bucket();
  std::optional<protocol::create_bucket> random_creation(const std::string& name);
  /// After the faults, to be called each second: ends what they left half done. @returns what is still waited for.
  std::string settle();

private:
  std::vector<size_t> all_present() const;
  std::optional<protocol::topology_change> random_numbers(size_t members);
  protocol::bucket_settings random_settings(size_t members, bool few);
  void end_pause(size_t n);
  std::optional<protocol::topology_change> bury(const std::vector<size_t>& vacant);
  uint32_t owners_max() const;
  uint32_t staying_without_dead() const;
  bool too_few_without_dead() const;
  void keep_fewer_copies(std::vector<protocol::topology_change>& changes) const;
  /// Those that are no members any more are switched off, and their disks destroyed.
  void watch_members();
  void retire(size_t n);

  bool machines_crash_everywhere_;
  sim_time newcomer_due_{};
  std::vector<bool> restart_due_;
  std::vector<bool> vacant_;           // No member, and nothing on its disk.
  std::vector<bool> leaves_;           // Is to be switched off.
  std::vector<sim_time> seen_running_; // When the process was last known to run.
};

class fault {
public:
  virtual ~fault() = default;
  /// The first clients come, and faults may strike from now on.
  virtual void begin() {}
  virtual void strike() = 0;
  /// The end of a burst: most of what lasts ends, some of it goes on into the calm.
  virtual void soothe() {}
  /// The end of all faults.
  virtual void end() {}
  /// A client had a write acknowledged by this node just now.
  virtual void acknowledged([[maybe_unused]] size_t node) {}
};

std::unique_ptr<fault> make_fault(fault_kind kind, fault_scene& scene);

std::unique_ptr<fault> make_delay_fault(fault_scene& scene);
std::unique_ptr<fault> make_loss_fault(fault_scene& scene);
std::unique_ptr<fault> make_partition_fault(fault_scene& scene);
std::unique_ptr<fault> make_connection_fault(fault_scene& scene);
std::unique_ptr<fault> make_crash_fault(fault_scene& scene);
std::unique_ptr<fault> make_pause_fault(fault_scene& scene);
std::unique_ptr<fault> make_busy_fault(fault_scene& scene);
std::unique_ptr<fault> make_clock_fault(fault_scene& scene);
std::unique_ptr<fault> make_disk_fault(fault_scene& scene);
std::unique_ptr<fault> make_topology_fault(fault_scene& scene);

} // namespace crema::simulation
