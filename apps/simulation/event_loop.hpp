// Virtual time, and who acts next: CAF's deterministic scheduler, timers and events, one step after the other in one
// thread. Any actor that can run may be next; which one, the seed decides. Knows nodes only as owners of actors, which
// can be stopped, and whose actors can be blocked by a slow disk.
#pragma once

#include "apps/simulation/random.hpp"
#include "apps/simulation/world.hpp"

#include <caf/all.hpp>
#include <caf/detail/test_actor_clock.hpp>
#include <caf/scheduler/test_coordinator.hpp>

#include <functional>
#include <optional>
#include <queue>
#include <unordered_map>
#include <vector>

namespace crema::simulation {

class event_loop {
public:
  /// @param random what decides between those who can run; shared with the world.
  event_loop(random_stream& random, size_t nodes);
  /// Forgets all events and lets actors that were killed end. To be called before what events and actors use goes.
  void wind_up();

  caf::actor_system& system() { return system_; }
  sim_time now() const { return clock().now() - origin_; }
  /// Runs `what` at now() + `delay`, between two steps. Events at one time run in the order they were scheduled.
  void after(sim_time delay, std::function<void()> what);
  /// Runs `what` when the node's actors have made `steps` steps more, between two of them. One per node: a new one
  /// takes the place of the old one.
  void after_steps(size_t node, uint64_t steps, std::function<void()> what);
  /// Runs everything up to `until`. @returns false as soon as `ended` says so.
  bool run_until(sim_time until, const std::function<bool()>& ended);
  uint64_t steps() const { return steps_; } ///< Actor messages handled.
  /// So many without time passing are a livelock.
  bool livelock() const { return steps_here_ > steps_per_instant_max; }

  // -- Nodes ---------------------------------------------------------------------------------------------------------
  /// Calls `spawn`, which returns the root of a new node's actors, and lets the root run once: it spawns the others.
  caf::actor start(size_t node, const std::function<caf::actor()>& spawn);
  /// Kills these actors of a node, and forgets all it had.
  void kill(size_t node, std::vector<caf::actor> actors);
  void stop(size_t node) { nodes_[node].stopped = true; }
  void go_on(size_t node);
  /// The actor that acts now does nothing more for so long.
  void block(sim_time time);
  void block(caf::actor_id who, sim_time time);
  /// One message in `one_in` takes an actor of the node up to `up_to`, and what comes meanwhile piles up; 0: none does.
  void busy(size_t node, uint64_t one_in, sim_time up_to);

private:
  static constexpr uint64_t steps_per_instant_max = 20'000'000;

  struct config : caf::actor_system_config {
    config();
  };
  struct event {
    sim_time at;
    uint64_t order;
    std::function<void()> what;
    friend bool operator<(const event& a, const event& b) { return std::tie(b.at, b.order) < std::tie(a.at, a.order); }
  };
  struct process {
    bool stopped = false;
    std::vector<caf::resumable*> held; // Jobs that wait until it goes on.
    uint64_t busy_one_in = 0;
    sim_time busy_up_to{};
    uint64_t steps_left = 0;
    std::function<void()> when_done; // Empty: nothing is to happen.
  };

  caf::scheduler::test_coordinator& scheduler() {
    return static_cast<caf::scheduler::test_coordinator&>(system_.scheduler());
  }
  caf::detail::test_actor_clock& clock() const { return const_cast<event_loop&>(*this).scheduler().clock(); }
  bool step();
  bool act(caf::resumable* job);
  void unpark(caf::actor_id id);
  void own_new_actors(caf::actor_id before, size_t node);
  void advance(sim_time until);

  random_stream& random_;
  config config_;
  caf::actor_system system_;
  caf::detail::test_actor_clock::time_point origin_;
  std::priority_queue<event> events_;
  uint64_t next_event_ = 0;
  std::vector<process> nodes_;
  std::unordered_map<caf::actor_id, size_t> owners_;
  std::unordered_map<caf::actor_id, sim_time> blocked_;       // Until when.
  std::unordered_map<caf::actor_id, caf::resumable*> parked_; // Jobs of those.
  caf::actor_id acting_ = 0;
  uint64_t steps_ = 0;
  uint64_t steps_here_ = 0; // At this instant.
};

} // namespace crema::simulation
