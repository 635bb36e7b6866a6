#include "apps/simulation/faults.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace crema::simulation {

using std::chrono::milliseconds;
using std::chrono::seconds;

sim_time fault_log::paused(size_t node, sim_time from, sim_time to) const {
  sim_time total{};
  for (const auto& p : pauses)
    if (p.node == node)
      total += std::max(sim_time{}, std::min(to, p.to) - std::max(from, p.from));
  return total;
}

bool fault_log::clock_changed(size_t node, sim_time from, sim_time to) const {
  return std::any_of(jumps.begin(), jumps.end(),
                     [&](const jump& j) { return j.node == node && j.at >= from && j.at <= to; });
}

struct fault_planner::impl {
  impl(world& world, random_stream r, std::set<fault_kind> k, sim_time end, uint64_t max)
      : w(world), random(r), kinds(k.begin(), k.end()), until(end), events_max(max), restart_due(w.nodes()),
        seen_running(w.nodes()), slow_since(w.nodes(), sim_time{-1}) {
    // With the W of the default buckets one disk may go without an acknowledged write going with it; there is no way
    // yet in which the others give it back what it had (docs/simulation.md).
    fragile = random.below(w.nodes());
    power_failures = random.one_in(4);
    machines_crash_everywhere = random.one_in(2);
    disks_left = random.one_in(2) ? 1 : 0;
    wall_start = static_cast<int64_t>(w.wall_ms(0)) - now_ms();
  }

  // -- When --------------------------------------------------------------------------------------------------------

  void calm() {
    if (over)
      return;
    after(seconds{random.between(4, 30)}, [this] { burst(); });
  }

  void burst() {
    if (over || kinds.empty())
      return;
    auto end = w.now() + seconds{random.between(3, 40)};
    auto count = random.between(1, std::min<uint64_t>(3, kinds.size()));
    std::set<fault_kind> chosen;
    while (chosen.size() < count)
      chosen.insert(kinds[random.below(kinds.size())]);
    for (auto kind : chosen) {
      auto often = random.between(300, 12'000); // Mean milliseconds between two strikes.
      strike_later(kind, end, often);
    }
    after(end - w.now(), [this] {
      soothe();
      calm();
    });
  }

  void strike_later(fault_kind kind, sim_time end, uint64_t often) {
    after(milliseconds{random.between(0, 2 * often)}, [this, kind, end, often] {
      if (over || w.now() >= end)
        return;
      if (events_max != 0 && log.events >= events_max)
        return;
      ++log.events;
      strike(kind);
      strike_later(kind, end, often);
    });
  }

  /// The end of a burst: most of what lasts ends, some of it goes on into the calm.
  void soothe() {
    if (!random.one_in(4))
      w.heal_all();
    if (!random.one_in(4))
      w.set_network({});
    for (size_t n = 0; n < w.nodes(); ++n)
      if (slow_since[n] >= sim_time{} && !random.one_in(4))
        disk_speed(n, milliseconds{0});
  }

  void strike(fault_kind kind) {
    switch (kind) {
    case fault_kind::delay:
      return delay();
    case fault_kind::loss:
      return loss();
    case fault_kind::partition:
      return partition();
    case fault_kind::connection:
      return connection();
    case fault_kind::crash:
      return crash();
    case fault_kind::pause:
      return pause(any(), random.one_in(3) ? random.between(3000, 15'000) : random.between(50, 3000));
    case fault_kind::clock:
      return clock();
    case fault_kind::disk:
      return disk();
    }
  }

  // -- What --------------------------------------------------------------------------------------------------------

  void delay() {
    switch (random.below(3)) {
    case 0: {
      network_profile p;
      p.delay_max = std::chrono::microseconds{random.between(2000, 400'000)};
      p.slow_per_10000 = static_cast<uint32_t>(random.below(500));
      p.slow_delay_max = milliseconds{random.between(500, 4000)}; // Not below delay_max.
      return set_network(p);
    }
    case 1:
      return w.slow_link(any(), any(), milliseconds{random.between(5, 3000)});
    default: {
      // A peer that answers late by minutes.
      auto from = any();
      auto to = other(from);
      late.insert({from, to});
      w.slow_link(from, to, milliseconds{random.between(10'000, 120'000)});
      return after(seconds{random.between(1, 20)}, [this, from, to] { w.slow_link(from, to, milliseconds{0}); });
    }
    }
  }

  void loss() {
    network_profile p;
    if (!random.one_in(3))
      p.loss_per_10000 = static_cast<uint32_t>(random.between(10, 2000));
    if (!random.one_in(3))
      p.duplicates_per_10000 = static_cast<uint32_t>(random.between(10, 2000));
    p.reorder = random.one_in(2);
    set_network(p);
  }

  void set_network(const network_profile& p) {
    w.trace(fmt::format("network: delay {}..{} us, slow {} up to {} ms, loss {}, duplicates {}{}", p.delay_min.count(),
                        p.delay_max.count(), p.slow_per_10000, p.slow_delay_max.count(), p.loss_per_10000,
                        p.duplicates_per_10000, p.reorder ? ", reorder" : ""));
    w.set_network(p);
  }

  void cut_groups(const std::vector<bool>& side) {
    for (size_t a = 0; a < w.nodes(); ++a)
      for (size_t b = 0; b < w.nodes(); ++b)
        if (side[a] != side[b])
          w.cut(a, b);
  }

  void partition() {
    std::vector<bool> side(w.nodes());
    switch (random.below(6)) {
    case 0: // Two sides, of any size.
      for (size_t n = 0; n < w.nodes(); ++n)
        side[n] = random.one_in(2);
      return cut_groups(side);
    case 1: // One alone.
      side[any()] = true;
      return cut_groups(side);
    case 2: // A majority ring: everyone sees two neighbours on each side at most, no two see the same.
      for (size_t a = 0; a < w.nodes(); ++a)
        for (size_t b = 0; b < w.nodes(); ++b) {
          auto distance = (a + w.nodes() - b) % w.nodes();
          if (a != b && std::min(distance, w.nodes() - distance) > std::max<size_t>(1, w.nodes() / 4))
            w.cut(a, b);
        }
      return;
    case 3: { // One way.
      auto from = any();
      return w.cut(from, other(from));
    }
    case 4: { // Everything to one node, or everything from it.
      auto one = any();
      auto to = random.one_in(2);
      for (size_t n = 0; n < w.nodes(); ++n)
        if (n != one)
          to ? w.cut(n, one) : w.cut(one, n);
      return;
    }
    default: {
      auto a = any();
      return flap(a, other(a), random.between(2, 8));
    }
    }
  }

  void flap(size_t a, size_t b, uint64_t times) {
    if (over || times == 0)
      return;
    w.cut(a, b);
    w.cut(b, a);
    after(milliseconds{random.between(20, 3000)}, [this, a, b, times] {
      w.heal(a, b);
      w.heal(b, a);
      after(milliseconds{random.between(20, 2000)}, [this, a, b, times] { flap(a, b, times - 1); });
    });
  }

  void connection() {
    auto a = any();
    for (auto times = random.between(1, 3); times > 0; --times)
      w.break_connection(a, other(a));
  }

  void crash() {
    if (power_failures && random.one_in(6)) {
      power_fails = true;
      return;
    }
    auto n = any();
    if (down() * 2 + 1 >= w.nodes() && !random.one_in(4))
      return; // A minority is down already: rarely more.
    if (random.one_in(2) || (n != fragile && !machines_crash_everywhere)) {
      w.crash_process(n);
      restart(n);
    } else {
      crash_machine(n);
      restart(n);
    }
  }

  /// At the worst moment: clients have been told that they may rely on what was just written.
  void acknowledged() {
    if (over || !std::exchange(power_fails, false))
      return;
    after(std::chrono::microseconds{random.between(0, 60'000)}, [this] {
      if (over)
        return;
      w.trace("power fails");
      for (size_t n = 0; n < w.nodes(); ++n)
        crash_machine(n);
      restart_all();
    });
  }

  void crash_machine(size_t n) {
    log.losses.push_back({n, w.now(), false, w.running(n) ? w.now() : seen_running[n]});
    end_pause(n);
    w.crash_machine(n);
  }

  void restart_all() {
    for (size_t n = 0; n < w.nodes(); ++n)
      restart(n);
  }

  void restart(size_t n) {
    end_pause(n);
    if (restart_due[n])
      return;
    restart_due[n] = true;
    auto wait = random.one_in(3) ? random.between(1, 300) : random.between(300, 20'000);
    after(milliseconds{wait}, [this, n] {
      restart_due[n] = false;
      if (over)
        return;
      w.start(n);
      if (random.one_in(6)) // It dies while it starts.
        after(std::chrono::microseconds{random.between(0, 60'000)}, [this, n] {
          if (over || !w.running(n))
            return;
          random.one_in(2) && (n == fragile || machines_crash_everywhere) ? crash_machine(n) : w.crash_process(n);
          restart(n);
        });
    });
  }

  /// Nodes may die of their own accord, of a disk that fails them.
  void watch() {
    if (over)
      return;
    for (size_t n = 0; n < w.nodes(); ++n)
      if (w.running(n))
        seen_running[n] = w.now();
      else
        restart(n);
    after(milliseconds{500}, [this] { watch(); });
  }

  void pause(size_t n, uint64_t ms) {
    if (!w.running(n) || log.paused(n, w.now(), w.now() + milliseconds{1}) > sim_time{})
      return;
    log.pauses.push_back({n, w.now(), w.now() + milliseconds{ms}});
    w.pause(n, milliseconds{ms});
  }
  void end_pause(size_t n) {
    for (auto& p : log.pauses)
      if (p.node == n)
        p.to = std::min(p.to, std::max(p.from, w.now()));
  }

  void clock() {
    auto n = any();
    log.jumps.push_back({n, w.now()});
    auto sign = random.one_in(2) ? 1 : -1;
    switch (random.below(4)) {
    case 0: // Small.
      return w.jump_clock(n, milliseconds{sign * static_cast<int64_t>(random.between(1, 2000))});
    case 1: // Up to the bound.
      return w.jump_clock(n, milliseconds{sign * static_cast<int64_t>(random.between(2000, 55'000))});
    case 2:
      return w.drift_clock(n, sign * static_cast<int64_t>(random.between(10, 20'000)));
    default: // Beyond it: others refuse what this node writes.
      if (!random.one_in(4))
        return w.drift_clock(n, sign * static_cast<int64_t>(random.between(10, 500)));
      return w.jump_clock(n, milliseconds{sign * static_cast<int64_t>(random.between(61'000, 300'000))});
    }
  }

  void disk() {
    auto n = any();
    auto what = random.below(4);
    if (what == 0)
      return w.fail_next_write(n);
    if (what == 1 && disks_left > 0) {
      --disks_left;
      log.losses.push_back({fragile, w.now(), true, w.now()});
      end_pause(fragile);
      w.lose_disk(fragile);
      return restart(fragile);
    }
    if (what == 2)
      return w.fail_next_write(fragile);
    disk_speed(n, milliseconds{random.one_in(4) ? random.between(100, 1500) : random.between(1, 100)});
  }

  void disk_speed(size_t n, milliseconds per_sync) {
    if (slow_since[n] >= sim_time{})
      log.slow_disks.push_back({n, slow_since[n], w.now()});
    slow_since[n] = per_sync.count() > 0 ? w.now() : sim_time{-1};
    w.slow_disk(n, per_sync);
  }

  // -- Helpers -----------------------------------------------------------------------------------------------------

  int64_t now_ms() const { return std::chrono::duration_cast<milliseconds>(w.now()).count(); }
  size_t any() { return random.below(w.nodes()); }
  size_t other(size_t than) {
    if (w.nodes() < 2)
      return than;
    return (than + 1 + random.below(w.nodes() - 1)) % w.nodes();
  }
  size_t down() const {
    size_t count = 0;
    for (size_t n = 0; n < w.nodes(); ++n)
      count += w.running(n) ? 0 : 1;
    return count;
  }
  void after(sim_time delay, std::function<void()> what) { w.after(delay, std::move(what)); }

  void end_all() {
    over = true;
    w.trace("faults end");
    w.heal_all();
    w.set_network({});
    for (size_t n = 0; n < w.nodes(); ++n) {
      disk_speed(n, milliseconds{0});
      for (size_t to = 0; to < w.nodes(); ++to)
        if (to != n)
          w.slow_link(n, to, milliseconds{0});
      if (!log.jumps.empty()) {
        w.drift_clock(n, 0);
        w.jump_clock(n, milliseconds{wall_start + now_ms() - static_cast<int64_t>(w.wall_ms(n))});
        log.jumps.push_back({n, w.now()});
      }
      w.start(n);
    }
    for (auto [a, b] : late) // What is on its way there would hold up what comes after it for minutes.
      w.break_connection(a, b);
    bring_back(80);
  }

  /// A write error that was ordered earlier may still kill a node.
  void bring_back(uint64_t times) {
    for (size_t n = 0; n < w.nodes(); ++n)
      if (!w.running(n))
        w.start(n);
    if (times > 0)
      after(milliseconds{500}, [this, times] { bring_back(times - 1); });
  }

  world& w;
  random_stream random;
  std::vector<fault_kind> kinds;
  sim_time until;
  uint64_t events_max;
  size_t fragile = 0; // The one node that may lose its disk; and its machine, if not all may.
  bool power_failures = false, power_fails = false, machines_crash_everywhere = false;
  uint64_t disks_left = 0;
  int64_t wall_start = 0; // What an undisturbed wall clock showed at the beginning.
  bool over = false;
  std::vector<bool> restart_due;
  std::vector<sim_time> seen_running;       // When the process was last known to run.
  std::set<std::pair<size_t, size_t>> late; // Directions in which messages may be minutes on their way.
  std::vector<sim_time> slow_since;         // Negative: the disk is as fast as ever.
  fault_log log;
};

fault_planner::fault_planner(world& w, random_stream random, std::set<fault_kind> kinds, sim_time until,
                             uint64_t events_max)
    : impl_(std::make_unique<impl>(w, random, std::move(kinds), until, events_max)) {}
fault_planner::~fault_planner() = default;

void fault_planner::start() {
  if (impl_->kinds.empty())
    return;
  impl_->calm();
  impl_->watch();
}
void fault_planner::acknowledged() { impl_->acknowledged(); }
void fault_planner::end_all() { impl_->end_all(); }
const fault_log& fault_planner::log() const { return impl_->log; }

// -- Names ----------------------------------------------------------------------------------------------------------

const std::vector<fault_kind>& all_faults() {
  static const std::vector<fault_kind> all{fault_kind::delay,      fault_kind::loss,  fault_kind::partition,
                                           fault_kind::connection, fault_kind::crash, fault_kind::pause,
                                           fault_kind::clock,      fault_kind::disk};
  return all;
}

std::string_view to_string(fault_kind kind) {
  switch (kind) {
  case fault_kind::delay:
    return "delay";
  case fault_kind::loss:
    return "loss";
  case fault_kind::partition:
    return "partition";
  case fault_kind::connection:
    return "connection";
  case fault_kind::crash:
    return "crash";
  case fault_kind::pause:
    return "pause";
  case fault_kind::clock:
    return "clock";
  case fault_kind::disk:
    return "disk";
  }
  return "?";
}

std::optional<fault_kind> parse_fault(std::string_view name) {
  for (auto kind : all_faults())
    if (to_string(kind) == name)
      return kind;
  return std::nullopt;
}

} // namespace crema::simulation
