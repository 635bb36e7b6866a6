// Faults of the network: slow, lossy, cut, and connections that die.
#include "apps/simulation/fault_kinds.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace crema::simulation {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

void set_network(fault_scene& s, const network_profile& p) {
  s.w.trace(fmt::format("network: delay {}..{} us, slow {} up to {} ms, loss {}, duplicates {}{}", p.delay_min.count(),
                        p.delay_max.count(), p.slow_per_10000, p.slow_delay_max.count(), p.loss_per_10000,
                        p.duplicates_per_10000, p.reorder ? ", reorder" : ""));
  s.w.set_network(p);
}

class delay_fault final : public fault {
public:
  explicit delay_fault(fault_scene& scene) : s_(scene) {}

  void strike() override {
    auto& random = s_.random;
    switch (random.below(3)) {
    case 0: {
      network_profile p;
      p.delay_max = std::chrono::microseconds{random.between(2000, 400'000)};
      p.slow_per_10000 = static_cast<uint32_t>(random.below(500));
      p.slow_delay_max = milliseconds{random.between(500, 4000)}; // Not below delay_max.
      return set_network(s_, p);
    }
    case 1: {
      auto from = s_.any();
      auto to = s_.any();
      return s_.w.slow_link(from, to, milliseconds{random.between(5, 3000)});
    }
    default: {
      // A peer that answers late by minutes.
      auto from = s_.any();
      auto to = s_.other(from);
      late_.insert({from, to});
      s_.w.slow_link(from, to, milliseconds{random.between(10'000, 120'000)});
      return s_.after(seconds{random.between(1, 20)}, [this, from, to] { s_.w.slow_link(from, to, milliseconds{0}); });
    }
    }
  }
  void soothe() override {
    if (!s_.random.one_in(4))
      s_.w.set_network({});
  }
  void end() override {
    s_.w.set_network({});
    for (size_t n = 0; n < s_.w.nodes(); ++n)
      for (size_t to = 0; to < s_.w.nodes(); ++to)
        if (to != n)
          s_.w.slow_link(n, to, milliseconds{0});
    for (auto [a, b] : late_) // What is on its way there would hold up what comes after it for minutes.
      s_.w.break_connection(a, b);
  }

private:
  fault_scene& s_;
  std::set<std::pair<size_t, size_t>> late_; // Directions in which messages may be minutes on their way.
};

class loss_fault final : public fault {
public:
  explicit loss_fault(fault_scene& scene) : s_(scene) {}

  void strike() override {
    auto& random = s_.random;
    network_profile p;
    if (!random.one_in(3))
      p.loss_per_10000 = static_cast<uint32_t>(random.between(10, 2000));
    if (!random.one_in(3))
      p.duplicates_per_10000 = static_cast<uint32_t>(random.between(10, 2000));
    p.reorder = random.one_in(2);
    set_network(s_, p);
  }
  void soothe() override {
    if (!s_.random.one_in(4))
      s_.w.set_network({});
  }
  void end() override { s_.w.set_network({}); }

private:
  fault_scene& s_;
};

class partition_fault final : public fault {
public:
  explicit partition_fault(fault_scene& scene) : s_(scene) {}

  void strike() override {
    auto& w = s_.w;
    std::vector<bool> side(w.nodes());
    switch (s_.random.below(7)) {
    case 0: // Two sides, of any size.
      for (size_t n = 0; n < w.nodes(); ++n)
        side[n] = s_.random.one_in(2);
      return cut(side);
    case 1: // One alone.
      side[s_.any()] = true;
      return cut(side);
    case 2: // A majority ring: everyone sees two neighbours on each side at most, no two see the same.
      for (size_t a = 0; a < w.nodes(); ++a)
        for (size_t b = 0; b < w.nodes(); ++b) {
          auto distance = (a + w.nodes() - b) % w.nodes();
          if (a != b && std::min(distance, w.nodes() - distance) > std::max<size_t>(1, w.nodes() / 4))
            w.cut(a, b);
        }
      return;
    case 3: { // One way.
      auto from = s_.any();
      return w.cut(from, s_.other(from));
    }
    case 4: { // Everything to one node, or everything from it.
      auto one = s_.any();
      auto to = s_.random.one_in(2);
      for (size_t n = 0; n < w.nodes(); ++n)
        if (n != one)
          to ? w.cut(n, one) : w.cut(one, n);
      return;
    }
    case 5:
      return s_.cut_all_but(s_.any());
    default: {
      auto a = s_.any();
      auto b = s_.other(a);
      return flap(a, b, s_.random.between(2, 8));
    }
    }
  }
  void soothe() override {
    if (!s_.random.one_in(4))
      s_.w.heal_all();
  }
  void end() override { s_.w.heal_all(); }

private:
  void cut(const std::vector<bool>& side) {
    for (size_t a = 0; a < s_.w.nodes(); ++a)
      for (size_t b = 0; b < s_.w.nodes(); ++b)
        if (side[a] != side[b])
          s_.w.cut(a, b);
  }

  void flap(size_t a, size_t b, uint64_t times) {
    if (s_.over || times == 0)
      return;
    s_.w.cut(a, b);
    s_.w.cut(b, a);
    s_.after(milliseconds{s_.random.between(20, 3000)}, [this, a, b, times] {
      s_.w.heal(a, b);
      s_.w.heal(b, a);
      s_.after(milliseconds{s_.random.between(20, 2000)}, [this, a, b, times] { flap(a, b, times - 1); });
    });
  }

  fault_scene& s_;
};

class connection_fault final : public fault {
public:
  explicit connection_fault(fault_scene& scene) : s_(scene) {}

  void strike() override {
    auto a = s_.any();
    for (auto times = s_.random.between(1, 3); times > 0; --times)
      if (auto b = s_.other(a); s_.random.one_in(3))
        s_.w.break_for_one(a, b);
      else
        s_.w.break_connection(a, b);
  }

private:
  fault_scene& s_;
};

} // namespace

std::unique_ptr<fault> make_delay_fault(fault_scene& scene) { return std::make_unique<delay_fault>(scene); }
std::unique_ptr<fault> make_loss_fault(fault_scene& scene) { return std::make_unique<loss_fault>(scene); }
std::unique_ptr<fault> make_partition_fault(fault_scene& scene) { return std::make_unique<partition_fault>(scene); }
std::unique_ptr<fault> make_connection_fault(fault_scene& scene) { return std::make_unique<connection_fault>(scene); }

} // namespace crema::simulation
