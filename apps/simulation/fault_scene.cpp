#include "apps/simulation/fault_kinds.hpp"

#include <algorithm>

namespace crema::simulation {

using std::chrono::milliseconds;

fault_scene::fault_scene(world& world, random_stream r)
    : w(world), random(r), fragile(random.below(w.newest_ring().members.size())),
      machines_crash_everywhere_(random.one_in(2)), restart_due_(w.nodes()), vacant_(w.nodes()), leaves_(w.nodes()),
      seen_running_(w.nodes()) {
  for (size_t n = 0; n < w.nodes(); ++n)
    vacant_[n] = !w.member(n);
}

std::vector<size_t> fault_scene::all_present() const {
  std::vector<size_t> nodes;
  for (size_t n = 0; n < w.nodes(); ++n)
    if (w.present(n))
      nodes.push_back(n);
  return nodes;
}

size_t fault_scene::any() {
  auto nodes = all_present();
  return nodes[random.below(nodes.size())];
}

size_t fault_scene::other(size_t than) {
  auto nodes = all_present();
  nodes.erase(std::remove(nodes.begin(), nodes.end(), than), nodes.end());
  return nodes.empty() ? than : nodes[random.below(nodes.size())];
}

size_t fault_scene::down() const {
  size_t count = 0;
  for (size_t n = 0; n < w.nodes(); ++n)
    count += w.member(n) && !w.running(n) ? 1 : 0;
  return count;
}

bool fault_scene::may_strike() {
  if (events_max != 0 && log.events >= events_max)
    return false;
  ++log.events;
  return true;
}

bool fault_scene::disk_may_be_lost() const {
  auto members = w.newest_ring().members.size();
  return w.member(fragile) && !dead && (members == 1 || w.met_by(fragile) * 2 > members - 1);
}

void fault_scene::begin_without(size_t node) {
  w.crash_process(node);
  newcomer = node;
  began_without = true;
  newcomer_due_ = w.now() + milliseconds{random.between(0, 40'000)};
}

void fault_scene::crash_process(size_t n) {
  end_pause(n);
  w.crash_process(n);
}

void fault_scene::crash_machine(size_t n) {
  if (!w.stopped_cleanly(n))
    log.losses.push_back({n, w.now(), false, w.running(n) ? w.now() : seen_running_[n]});
  end_pause(n);
  w.crash_machine(n, random.one_in(2) ? 0 : random.below(w.unsynced_batches(n) + 1));
}

void fault_scene::lose_disk(size_t n) {
  log.losses.push_back({n, w.now(), true, w.now()});
  end_pause(n);
  w.lose_disk(n);
}

void fault_scene::pause(size_t n, sim_time duration) {
  if (!w.running(n) || log.paused(n, w.now(), w.now() + milliseconds{1}) > sim_time{})
    return;
  log.pauses.push_back({n, w.now(), w.now() + duration});
  w.pause(n, duration);
}

void fault_scene::cut_all_but(size_t hub) {
  for (size_t a = 0; a < w.nodes(); ++a)
    for (size_t b = 0; b < w.nodes(); ++b)
      if (a != b && a != hub && b != hub)
        w.cut(a, b);
}

void fault_scene::end_pause(size_t n) {
  for (auto& p : log.pauses)
    if (p.node == n)
      p.to = std::min(p.to, std::max(p.from, w.now()));
}

void fault_scene::restart(size_t n) {
  if (restart_due_[n])
    return;
  restart_due_[n] = true;
  auto dice = random.below(12);
  auto wait = dice < 4    ? random.between(1, 300)
              : dice < 11 ? random.between(300, 20'000)
                          : random.between(20'000, 180'000); // Longer than anybody waits for it.
  after(milliseconds{wait}, [this, n] {
    restart_due_[n] = false;
    if (over || n == dead)
      return;
    w.start(n);
    if (random.one_in(6)) // It dies while it starts.
      after(std::chrono::microseconds{random.between(0, 60'000)}, [this, n] {
        if (over || !w.running(n))
          return;
        random.one_in(2) && machine_may_crash(n) ? crash_machine(n) : crash_process(n);
        restart(n);
      });
  });
}

void fault_scene::stay_away(size_t n, sim_time duration) {
  if (restart_due_[n] || !w.running(n))
    return;
  restart_due_[n] = true;
  random.one_in(2) ? crash_process(n) : w.stop(n);
  after(duration, [this, n] {
    restart_due_[n] = false;
    if (!over && n != dead)
      w.start(n);
  });
}

void fault_scene::watch() {
  if (over)
    return;
  if (newcomer && w.running(*newcomer))
    newcomer.reset();
  watch_members();
  for (size_t n = 0; n < w.nodes(); ++n)
    if (w.running(n)) {
      seen_running_[n] = w.now();
    } else if (vacant_[n] || n == dead) {
      continue;
    } else if (n != newcomer || w.now() >= newcomer_due_) {
      end_pause(n);
      restart(n);
    }
  after(milliseconds{500}, [this] { watch(); });
}

} // namespace crema::simulation
