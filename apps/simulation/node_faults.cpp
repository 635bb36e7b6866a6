// Faults of nodes: crashes and restarts, stops, wall clocks, disks.
#include "apps/simulation/fault_kinds.hpp"

#include <utility>

namespace crema::simulation {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class crash_fault final : public fault {
public:
  explicit crash_fault(fault_scene& scene) : s_(scene), power_failures_(s_.random.one_in(4)) {}

  void strike() override {
    auto& random = s_.random;
    if (power_failures_ && random.one_in(6)) {
      power_fails_ = true;
      return;
    }
    auto n = s_.any();
    if (s_.down() * 2 + 1 >= s_.w.nodes() && !random.one_in(4))
      return; // A minority is down already: rarely more.
    if (random.one_in(6)) {
      stops_ = random.one_in(2);
      return stops_ ? void() : stop(n);
    }
    if (n == s_.dead)
      return;
    auto crash = [this, n, machine = s_.machine_may_crash(n) && random.one_in(2)] {
      if (s_.over)
        return;
      machine ? s_.crash_machine(n) : s_.crash_process(n);
      s_.restart(n);
    };
    if (random.one_in(2))
      return crash();
    s_.w.amid_work(n, random.below(300), crash);
  }

  /// Power fails at the worst moment: clients have been told that they may rely on what was just written.
  void acknowledged(size_t node) override {
    if (s_.over)
      return;
    if (std::exchange(stops_, false))
      stop(node);
    if (!std::exchange(power_fails_, false))
      return;
    s_.after(std::chrono::microseconds{s_.random.between(0, 60'000)}, [this] {
      if (s_.over)
        return;
      s_.w.trace("power fails");
      for (size_t n = 0; n < s_.w.nodes(); ++n)
        if (s_.w.present(n) && n != s_.dead)
          s_.crash_machine(n);
      for (size_t n = 0; n < s_.w.nodes(); ++n)
        if (s_.w.present(n))
          s_.restart(n);
    });
  }

private:
  /// In good order; perhaps the machine is then switched off, with nothing to be lost.
  void stop(size_t n) {
    s_.w.stop(n);
    s_.restart(n);
    if (!s_.machine_may_crash(n) || s_.random.one_in(2))
      return;
    s_.after(milliseconds{s_.random.between(1, 100)}, [this, n] {
      if (!s_.over && s_.w.stopped_cleanly(n))
        s_.crash_machine(n);
    });
  }

  fault_scene& s_;
  bool power_failures_;      // In this run.
  bool power_fails_ = false; // After the next acknowledgement.
  bool stops_ = false;       // The node of the next acknowledgement.
};

class pause_fault final : public fault {
public:
  explicit pause_fault(fault_scene& scene) : s_(scene) {}

  void strike() override {
    auto n = s_.any();
    auto longer = s_.random.one_in(3); // Than every timeout.
    s_.pause(n, milliseconds{longer ? s_.random.between(3000, 15'000) : s_.random.between(50, 3000)});
  }

private:
  fault_scene& s_;
};

class busy_fault final : public fault {
public:
  explicit busy_fault(fault_scene& scene) : s_(scene) {}

  void strike() override {
    auto n = s_.any();
    auto one_in = s_.random.between(1, 20);
    s_.w.busy(n, one_in, std::chrono::microseconds{s_.random.between(10, 5000)});
  }
  void soothe() override {
    for (size_t n = 0; n < s_.w.nodes(); ++n)
      if (!s_.random.one_in(4))
        s_.w.busy(n, 0, {});
  }
  void end() override {
    for (size_t n = 0; n < s_.w.nodes(); ++n)
      s_.w.busy(n, 0, {});
  }

private:
  fault_scene& s_;
};

class clock_fault final : public fault {
public:
  explicit clock_fault(fault_scene& scene)
      : s_(scene), start_(static_cast<int64_t>(s_.w.wall_ms(0)) - now_ms()), wild_(s_.random.one_in(3)) {}

  void strike() override {
    auto n = s_.any();
    auto before = s_.w.wall_ms(n);
    change(n);
    s_.log.jumps.push_back({n, s_.w.now(), before, s_.w.wall_ms(n)});
  }
  void end() override {
    if (s_.log.jumps.empty())
      return;
    for (size_t n = 0; n < s_.w.nodes(); ++n) {
      auto before = s_.w.wall_ms(n);
      s_.w.drift_clock(n, 0);
      s_.w.jump_clock(n, milliseconds{start_ + now_ms() - static_cast<int64_t>(before)});
      s_.log.jumps.push_back({n, s_.w.now(), before, s_.w.wall_ms(n)});
    }
  }

private:
  void change(size_t n) {
    auto& random = s_.random;
    auto sign = random.one_in(2) ? 1 : -1;
    auto up_to = [&](uint64_t low, uint64_t high) { return sign * static_cast<int64_t>(random.between(low, high)); };
    switch (random.below(4)) {
    case 0: // Small.
      return s_.w.jump_clock(n, milliseconds{up_to(1, 2000)});
    case 1: // Up to the bound.
      return s_.w.jump_clock(n, milliseconds{up_to(2000, 55'000)});
    case 2:
      return s_.w.drift_clock(n, up_to(10, 20'000));
    default: // Beyond it: others refuse what this node writes.
      if (!wild_ && !random.one_in(4))
        return s_.w.drift_clock(n, up_to(10, 500));
      return s_.w.jump_clock(n, milliseconds{up_to(61'000, 300'000)});
    }
  }
  int64_t now_ms() const { return std::chrono::duration_cast<milliseconds>(s_.w.now()).count(); }

  fault_scene& s_;
  int64_t start_; // What an undisturbed wall clock showed at the beginning.
  bool wild_;     // In this run many go beyond the bound.
};

class disk_fault final : public fault {
public:
  explicit disk_fault(fault_scene& scene) : s_(scene), slow_since_(s_.w.nodes(), sim_time{-1}) {
    s_.disks_left = s_.random.one_in(2) ? 1 : 0;
  }

  /// Two that have nothing meet, and somebody who may have what was lost is away.
  void begin() override {
    if (!s_.newcomer || s_.newcomer == s_.fragile)
      return;
    s_.after(milliseconds{s_.random.between(5000, 25'000)}, [this] {
      if (s_.over || !s_.newcomer || !disk_goes())
        return;
      auto third = s_.other(s_.fragile);
      if (third != *s_.newcomer)
        s_.crash_process(third);
      s_.lose_disk(s_.fragile);
      s_.w.start(s_.fragile);
      s_.w.start(*s_.newcomer);
    });
  }
  void strike() override {
    auto& random = s_.random;
    auto n = s_.any();
    if (s_.disks_left > 0 && !backed_up_ && random.one_in(4)) {
      backed_up_ = true;
      s_.w.back_up(s_.fragile);
    }
    switch (random.below(8)) {
    case 0:
    case 1:
      return s_.w.fail_next_write(n);
    case 2:
      return s_.w.fail_next_write(s_.fragile);
    case 3:
      return s_.w.fail_next_sync(n);
    case 4:
      return fill(n);
    case 5:
      if (s_.disks_left > 0) {
        switch (random.below(3)) {
        case 0:
          return lose_disk();
        case 1:
          return lose_disk_after_words();
        default:
          at_worst_ = true;
          return part_others();
        }
      }
      [[fallthrough]];
    default:
      set_speed(n, milliseconds{random.one_in(4) ? random.between(100, 1500) : random.between(1, 100)});
    }
  }
  void soothe() override {
    for (size_t n = 0; n < s_.w.nodes(); ++n)
      if (slow_since_[n] >= sim_time{} && !s_.random.one_in(4))
        set_speed(n, milliseconds{0});
  }
  void end() override {
    s_.w.heal_all();
    for (size_t n = 0; n < s_.w.nodes(); ++n) {
      set_speed(n, milliseconds{0});
      s_.w.mend_disk(n);
    }
  }
  /// The disk is lost at the worst moment: perhaps only one other has what was just acknowledged.
  void acknowledged([[maybe_unused]] size_t node) override {
    if (s_.over || !std::exchange(at_worst_, false))
      return;
    s_.after(std::chrono::microseconds{s_.random.between(0, 20'000)}, [this] {
      if (!s_.over)
        lose_disk();
    });
  }

private:
  /// What is acknowledged now is mostly on two nodes: that one, and one that cannot tell the third.
  void part_others() {
    s_.cut_all_but(s_.fragile);
    s_.after(seconds{s_.random.between(5, 40)}, [this] {
      if (!s_.over)
        s_.w.heal_all();
    });
  }
  /// Half of what it says is lost before its disk is: of what it gave some is on others, and some, older, is nowhere.
  void lose_disk_after_words() {
    s_.w.lose_words(s_.fragile, true);
    s_.after(milliseconds{s_.random.between(100, 2000)}, [this] {
      s_.w.lose_words(s_.fragile, false);
      if (!s_.over)
        lose_disk();
    });
  }
  bool disk_goes() {
    if (s_.disks_left == 0 || !s_.disk_may_be_lost())
      return false;
    --s_.disks_left;
    return true;
  }
  void lose_disk() {
    if (!disk_goes())
      return;
    s_.lose_disk(s_.fragile);
    s_.restart(s_.fragile);
  }
  /// Rarely of many nodes at once: a cluster whose disks are all full serves nobody.
  void fill(size_t n) {
    if (s_.down() > 0 && !s_.random.one_in(3))
      return;
    s_.w.fill_disk(n);
    s_.after(milliseconds{s_.random.between(100, 40'000)}, [this, n] { s_.w.free_disk(n); });
  }
  void set_speed(size_t n, milliseconds per_sync) {
    if (slow_since_[n] >= sim_time{})
      s_.log.slow_disks.push_back({n, slow_since_[n], s_.w.now()});
    slow_since_[n] = per_sync.count() > 0 ? s_.w.now() : sim_time{-1};
    s_.w.slow_disk(n, per_sync);
  }

  fault_scene& s_;
  std::vector<sim_time> slow_since_; // Negative: the disk is as fast as ever.
  bool backed_up_ = false;           // It comes back as it was then.
  bool at_worst_ = false;            // One of them is, as soon as a write is acknowledged.
};

} // namespace

std::unique_ptr<fault> make_crash_fault(fault_scene& scene) { return std::make_unique<crash_fault>(scene); }
std::unique_ptr<fault> make_pause_fault(fault_scene& scene) { return std::make_unique<pause_fault>(scene); }
std::unique_ptr<fault> make_busy_fault(fault_scene& scene) { return std::make_unique<busy_fault>(scene); }
std::unique_ptr<fault> make_clock_fault(fault_scene& scene) { return std::make_unique<clock_fault>(scene); }
std::unique_ptr<fault> make_disk_fault(fault_scene& scene) { return std::make_unique<disk_fault>(scene); }

} // namespace crema::simulation
