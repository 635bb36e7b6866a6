#include "apps/simulation/faults.hpp"

#include "apps/simulation/fault_kinds.hpp"

#include <algorithm>
#include <iterator>

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

uint64_t fault_log::highest_wall_ms(sim_time from, sim_time until) const {
  constexpr int64_t drift_share = 50; // At most a fiftieth (node_faults.cpp).
  auto ms = [](sim_time t) { return static_cast<uint64_t>(std::chrono::duration_cast<milliseconds>(t).count()); };
  if (jumps.empty())
    return 0;
  // Before the first jump of all, every clock was right.
  auto highest = jumps.front().before_ms - ms(jumps.front().at) + ms(until);
  for (auto j = jumps.begin(); j != jumps.end() && j->at <= until; ++j) {
    auto next = std::find_if(j + 1, jumps.end(), [&](const jump& x) { return x.node == j->node; });
    if (j->at >= from)
      highest = std::max(highest, j->before_ms);
    if (next == jumps.end() || next->at > until)
      highest = std::max(highest, j->after_ms + ms(until - j->at + (until - j->at) / drift_share) + 1);
    else if (next->at >= from)
      highest = std::max({highest, j->after_ms, next->before_ms});
  }
  return highest;
}

struct fault_planner::impl {
  impl(world& world, random_stream r, const std::set<fault_kind>& kinds, uint64_t max)
      : w(world), random(r), scene(w, random.split()) {
    scene.events_max = max;
    for (auto kind : kinds)
      faults.push_back(make_fault(kind, scene));
  }

  void calm() {
    if (scene.over)
      return;
    w.after(seconds{random.between(4, 30)}, [this] { burst(); });
  }

  void burst() {
    if (scene.over)
      return;
    auto end = w.now() + seconds{random.between(3, 40)};
    auto count = random.between(1, std::min<uint64_t>(3, faults.size()));
    std::set<size_t> chosen;
    while (chosen.size() < count)
      chosen.insert(random.below(faults.size()));
    for (auto i : chosen)
      strike_later(*faults[i], end, random.between(300, 12'000));
    w.after(end - w.now(), [this] {
      for (auto& f : faults)
        f->soothe();
      calm();
    });
  }

  /// @param often mean milliseconds between two strikes.
  void strike_later(fault& f, sim_time end, uint64_t often) {
    w.after(milliseconds{random.between(0, 2 * often)}, [this, &f, end, often] {
      if (scene.over || w.now() >= end)
        return;
      if (!scene.may_strike())
        return;
      f.strike();
      strike_later(f, end, often);
    });
  }

  void end_all() {
    scene.over = true;
    w.trace("faults end");
    for (auto& f : faults)
      f->end();
    bring_back(80);
  }

  /// A node may still be about to die, or to stop, when the faults end.
  void bring_back(uint64_t times) {
    for (size_t n = 0; n < w.nodes(); ++n)
      if (w.member(n) && n != scene.dead)
        w.start(n);
    if (times > 0)
      w.after(milliseconds{500}, [this, times] { bring_back(times - 1); });
  }

  world& w;
  random_stream random;
  fault_scene scene;
  std::vector<std::unique_ptr<fault>> faults;
};

fault_planner::fault_planner(world& w, random_stream random, const std::set<fault_kind>& kinds, uint64_t events_max)
    : impl_(std::make_unique<impl>(w, random, kinds, events_max)) {}
fault_planner::~fault_planner() = default;

void fault_planner::begin_without(size_t node) { impl_->scene.begin_without(node); }
void fault_planner::start() {
  if (impl_->faults.empty())
    return;
  for (auto& f : impl_->faults)
    f->begin();
  impl_->calm();
  impl_->scene.watch();
}
void fault_planner::acknowledged(size_t node) {
  for (auto& f : impl_->faults)
    f->acknowledged(node);
}
void fault_planner::end_all() { impl_->end_all(); }
std::string fault_planner::settle() { return impl_->scene.settle(); }
const fault_log& fault_planner::log() const { return impl_->scene.log; }

// -- Kinds ----------------------------------------------------------------------------------------------------------

namespace {

struct kind_entry {
  fault_kind kind;
  std::string_view name;
  std::unique_ptr<fault> (*make)(fault_scene&);
};
constexpr kind_entry kinds[] = {
    {fault_kind::delay, "delay", make_delay_fault},
    {fault_kind::loss, "loss", make_loss_fault},
    {fault_kind::partition, "partition", make_partition_fault},
    {fault_kind::connection, "connection", make_connection_fault},
    {fault_kind::crash, "crash", make_crash_fault},
    {fault_kind::pause, "pause", make_pause_fault},
    {fault_kind::busy, "busy", make_busy_fault},
    {fault_kind::clock, "clock", make_clock_fault},
    {fault_kind::disk, "disk", make_disk_fault},
    {fault_kind::topology, "topology", make_topology_fault},
};

const kind_entry& entry_of(fault_kind kind) {
  return *std::find_if(std::begin(kinds), std::end(kinds), [kind](const kind_entry& e) { return e.kind == kind; });
}

} // namespace

std::unique_ptr<fault> make_fault(fault_kind kind, fault_scene& scene) { return entry_of(kind).make(scene); }

const std::vector<fault_kind>& all_faults() {
  static const auto all = [] {
    std::vector<fault_kind> list;
    for (const auto& e : kinds)
      list.push_back(e.kind);
    return list;
  }();
  return all;
}

std::string_view to_string(fault_kind kind) { return entry_of(kind).name; }

std::optional<fault_kind> parse_fault(std::string_view name) {
  for (const auto& e : kinds)
    if (e.name == name)
      return e.kind;
  return std::nullopt;
}

} // namespace crema::simulation
