// Operators: they order changes of the members and of the buckets, sometimes two at once, and the node that is to have
// one agreed on dies on the way.
#include "apps/simulation/fault_kinds.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <set>

namespace crema::simulation {

namespace {

using std::chrono::milliseconds;
using order_kind = topology_order::kind;

class topology_fault final : public fault {
public:
  explicit topology_fault(fault_scene& scene) : s_(scene) {
    if (s_.disks_left == 0 && s_.random.one_in(3))
      s_.disks_left = 1;
  }

  /// It has a pace of its own: a change takes longer than most bursts.
  void begin() override {
    later(2000, &topology_fault::strike);
    if (s_.random.one_in(2))
      later(500, &topology_fault::change_buckets);
    s_.w.on_ring([this](size_t n) { // It dies before all of it knows.
      if (!s_.over && s_.random.one_in(12))
        crash_amid_work(n, 30);
    });
  }

  void end() override { s_.w.heal_all(); }

  void strike() override {
    auto at = s_.any_member();
    if (!at)
      return;
    order(*at);
    if (auto other = s_.any_member(); other && s_.random.one_in(4)) // Two operators who do not know of each other.
      s_.after(milliseconds{s_.random.between(0, 20)}, [this, n = *other] {
        if (!s_.over)
          order(n);
      });
  }

private:
  void later(uint64_t least, void (topology_fault::*what)()) {
    s_.after(milliseconds{s_.random.between(least, 20'000)}, [this, what] {
      if (s_.over)
        return;
      if (s_.may_strike())
        (this->*what)();
      later(1000, what);
    });
  }

  /// Whatever else is under way.
  void change_buckets() {
    auto at = s_.any_member();
    if (auto one = s_.random_bucket(); one && at)
      plan(*at, {std::move(*one)});
  }

  void order(size_t at) {
    const auto& ring = s_.w.newest_ring();
    if (ring.joint()) {
      auto paused = ring.job && ring.job->paused;
      switch (s_.random.below(6)) {
      case 0:
        return commit(at, order_kind::cancel);
      case 1:
        return commit(at, paused ? order_kind::resume : order_kind::pause);
      case 2:
        break; // More of it.
      default:
        return paused ? commit(at, order_kind::resume) : void();
      }
    }
    std::vector<protocol::topology_change> changes;
    auto count = s_.random.one_in(4) ? 2 : 1;
    for (int i = 0; i < count; ++i)
      if (auto one = s_.random_change())
        changes.push_back(std::move(*one));
    if (!changes.empty())
      plan(at, std::move(changes));
  }

  void plan(size_t at, std::vector<protocol::topology_change> changes) {
    for (const auto& change : changes)
      if (const auto* drop = std::get_if<protocol::drop_bucket>(&change); drop != nullptr && s_.random.one_in(3))
        drop_unseen(at, drop->name);
    s_.plan(at, std::move(changes), [this, at] { commit(at, order_kind::commit); });
  }

  /// One that has something of the bucket does not hear of it for long; it may come back to another one of that name.
  void drop_unseen(size_t at, const std::string& name) {
    if (auto away = s_.other(at); away != at)
      s_.stay_away(away, milliseconds{s_.random.between(5000, 60'000)});
    if (s_.random.one_in(2))
      return;
    auto again = s_.random_creation(name);
    s_.after(milliseconds{s_.random.between(500, 15'000)}, [this, again] {
      if (auto n = s_.any_member(); n && !s_.over && again)
        s_.plan(*n, {*again}, [this, at = *n] { commit(at, order_kind::commit); });
    });
  }

  void commit(size_t at, order_kind what) {
    if (s_.over)
      return;
    if (s_.random.one_in(2))
      leave_behind();
    if (s_.random.one_in(2))
      hold_rings();
    s_.w.order(at, {what, {}, {}}, [](const std::string&) {});
    if (s_.random.one_in(4))
      crash_soon(at);
    if (s_.random.one_in(4)) // One who votes.
      crash_soon(s_.any());
  }

  /// Some do not hear of what is decided, at once or a little later, and go by what they know.
  void leave_behind() {
    auto behind = std::set<size_t>{s_.any(), s_.any()};
    auto way = s_.random.below(3);
    s_.after(milliseconds{s_.random.one_in(2) ? 0 : s_.random.between(0, 3000)}, [this, behind, way] {
      if (s_.over)
        return;
      for (size_t n = 0; n < s_.w.nodes(); ++n)
        for (auto b : behind) {
          if (behind.count(n) > 0)
            continue;
          if (way != 1)
            s_.w.cut(n, b);
          if (way != 2)
            s_.w.cut(b, n);
        }
      s_.after(milliseconds{s_.random.between(200, 10'000)}, [this, behind] {
        for (size_t n = 0; n < s_.w.nodes(); ++n)
          for (auto b : behind)
            if (n != b) {
              s_.w.heal(n, b);
              s_.w.heal(b, n);
            }
      });
    });
  }

  /// One or two do not learn of it though they can be reached, and meet those who have.
  void hold_rings() {
    auto behind = std::set<size_t>{s_.any(), s_.any()};
    s_.after(milliseconds{s_.random.one_in(2) ? 0 : s_.random.between(0, 3000)}, [this, behind] {
      if (s_.over)
        return;
      auto time = milliseconds{s_.random.between(200, 10'000)};
      for (auto b : behind)
        s_.w.hold_ring(b, time);
    });
  }

  void crash_soon(size_t at) {
    if (s_.random.one_in(2))
      crash_amid_work(at, 200);
    else
      s_.after(std::chrono::microseconds{s_.random.between(0, 100'000)}, [this, at] { crash(at); });
  }

  void crash_amid_work(size_t at, uint64_t steps_max) {
    s_.w.amid_work(at, s_.random.below(steps_max), [this, at] { crash(at); });
  }

  void crash(size_t at) {
    if (s_.over || !s_.w.running(at))
      return;
    s_.machine_may_crash(at) && s_.random.one_in(2) ? s_.crash_machine(at) : s_.crash_process(at);
    s_.restart(at);
  }

  fault_scene& s_;
};

} // namespace

// -- What operators do ------------------------------------------------------------------------------------------------

std::optional<size_t> fault_scene::any_member() {
  std::vector<size_t> up;
  for (size_t n = 0; n < w.nodes(); ++n)
    if (w.member(n) && w.running(n))
      up.push_back(n);
  return up.empty() ? std::nullopt : std::optional{up[random.below(up.size())]};
}

void fault_scene::plan(size_t at, std::vector<protocol::topology_change> changes, const std::function<void()>& done) {
  w.order(at, {topology_order::kind::plan, std::move(changes), {}}, [this, done, had = dead](const std::string& told) {
    auto plan = nlohmann::json::parse(told);
    if (plan.contains("error"))
      w.trace("no plan: " + plan["error"].get<std::string>());
    else if (dead == had)
      done();
  });
}

std::optional<protocol::topology_change> fault_scene::random_change() {
  std::vector<size_t> members, vacant;
  for (size_t n = 0; n < w.nodes(); ++n) {
    const auto* m = w.newest_ring().find(w.cluster().nodes[n].name);
    if (vacant_[n])
      vacant.push_back(n);
    else if (m != nullptr && m->stays() && n != dead)
      members.push_back(n);
  }
  auto name = [this](size_t n) { return w.cluster().nodes[n].name; };
  auto of = [this](const std::vector<size_t>& some) { return some[random.below(some.size())]; };
  auto spare = [&] {
    auto node = w.newcomer(of(vacant));
    node.weight = random.one_in(4) ? 2 : 1;
    return node;
  };
  if (dead)
    return bury(vacant);
  if (members.empty())
    return std::nullopt;
  if (random.one_in(6))
    if (auto change = random_bucket())
      return change;
  auto may_shrink = members.size() > owners_max();
  switch (random.below(9)) {
  case 0:
  case 1:
  case 2:
    if (!vacant.empty())
      return protocol::join_node{spare()};
    [[fallthrough]];
  case 3:
  case 4:
    if (may_shrink)
      return protocol::leave_node{name(of(members))};
    [[fallthrough]];
  case 5:
  case 6:
    if (!vacant.empty())
      return protocol::replace_node{name(of(members)), spare(), false};
    [[fallthrough]];
  case 7:
    if (disk_may_be_lost() && disks_left > 0 && members.size() >= 3 && w.member(fragile) && !began_without &&
        (may_shrink || !vacant.empty())) {
      --disks_left;
      w.trace("it is dead for good");
      lose_disk(fragile);
      dead = fragile;
      return bury(vacant);
    }
    [[fallthrough]];
  default:
    if (random.one_in(3))
      if (auto change = random_numbers(members.size()))
        return change;
    return protocol::set_weight{name(of(members)), static_cast<uint32_t>(random.between(1, 3))};
  }
}

/// Buckets come and go.
std::optional<protocol::topology_change> fault_scene::random_bucket() {
  constexpr size_t made_max = 2; // At a time.
  const auto& ring = w.newest_ring();
  std::vector<std::string> made, free{"late", "later", "latest"};
  for (const auto& b : ring.buckets) {
    if (b.id >= protocol::ring::first_of_run_time)
      made.push_back(b.name);
    free.erase(std::remove(free.begin(), free.end(), b.name), free.end());
  }
  if (!made.empty() && (made.size() >= made_max || random.one_in(2)))
    return protocol::drop_bucket{made[random.below(made.size())]};
  if (auto change = random_creation(free[random.below(free.size())]))
    return *change;
  return std::nullopt;
}

/// Nothing, if there have been enough.
std::optional<protocol::create_bucket> fault_scene::random_creation(const std::string& name) {
  constexpr bucket_id made_max = 6; // In all.
  const auto& ring = w.newest_ring();
  auto stay = static_cast<size_t>(
      std::count_if(ring.members.begin(), ring.members.end(), [](const auto& m) { return m.stays(); }));
  if (ring.next_bucket >= protocol::ring::first_of_run_time + made_max || stay < 2)
    return std::nullopt;
  protocol::create_bucket change;
  change.name = name;
  if (random.one_in(2))
    change.db = static_cast<uint16_t>(100 + name.size());
  change.conflict = random.one_in(2) ? conflict_rule::lww : conflict_rule::siblings;
  change.settings = random_settings(random.one_in(4) ? stay : std::min<size_t>(stay, 3), random.one_in(4));
  change.settings.sloppy = random.one_in(2);
  change.settings.durability = random.one_in(2) ? durability::interval : durability::fsync;
  change.settings.read_repair =
      random.one_in(4) ? protocol::read_repair::foreground : protocol::read_repair::background;
  return change;
}

/// Of up to `members` copies, such that reads and writes meet, and writes too, unless `few` will do; but W > 1 always:
/// a disk may be lost. @pre members >= 2
protocol::bucket_settings fault_scene::random_settings(size_t members, bool few) {
  auto n = static_cast<uint32_t>(random.between(2, std::min<size_t>(members, 5)));
  auto quorum = static_cast<uint32_t>(random.between(few ? 2 : n / 2 + 1, n));
  protocol::bucket_settings settings;
  settings.n = n;
  settings.w = quorum;
  settings.r = static_cast<uint32_t>(random.between(n - quorum + 1, n));
  return settings;
}

/// Another n, r and w for a bucket, such that reads and writes meet as before.
std::optional<protocol::topology_change> fault_scene::random_numbers(size_t members) {
  const auto& buckets = w.newest_ring().buckets;
  const auto& b = buckets[random.below(buckets.size())];
  if (b.r + b.w <= b.n || members < 2)
    return std::nullopt;
  return protocol::set_bucket{b.name, random_settings(members, false)};
}

/// @pre there is a dead one.
std::optional<protocol::topology_change> fault_scene::bury(const std::vector<size_t>& vacant) {
  const auto* m = w.newest_ring().find(w.cluster().nodes[*dead].name);
  if (m == nullptr || m->state == protocol::member_state::gone)
    return std::nullopt;
  if (!vacant.empty() && (too_few_without_dead() || random.one_in(2)))
    return protocol::replace_node{m->name, w.newcomer(vacant[random.below(vacant.size())]), true};
  return protocol::remove_node{m->name};
}

uint32_t fault_scene::staying_without_dead() const {
  const auto& members = w.newest_ring().members;
  auto stays = [this](const auto& m) { return m.stays() && m.name != w.cluster().nodes[*dead].name; };
  return static_cast<uint32_t>(std::count_if(members.begin(), members.end(), stays));
}

bool fault_scene::too_few_without_dead() const { return staying_without_dead() < owners_max(); }

/// As many as there will be nodes.
void fault_scene::keep_fewer_copies(std::vector<protocol::topology_change>& changes) const {
  auto left = staying_without_dead();
  for (const auto& b : w.newest_ring().buckets)
    if (std::max(b.n, b.beside().n) > left && left > 0) {
      protocol::set_bucket change{b.name, {}};
      change.settings.n = left;
      change.settings.r = change.settings.w = left / 2 + 1;
      changes.emplace_back(std::move(change));
    }
}

uint32_t fault_scene::owners_max() const {
  uint32_t n = 1;
  for (const auto& b : w.newest_ring().buckets)
    n = std::max({n, b.n, b.beside().n});
  return n;
}

void fault_scene::watch_members() {
  for (size_t n = 0; n < w.nodes(); ++n) {
    if (w.present(n))
      vacant_[n] = false;
    if (!w.has_left(n) || vacant_[n] || leaves_[n])
      continue;
    leaves_[n] = true; // The operator comes soon, or later.
    after(milliseconds{random.between(0, random.one_in(4) ? 60'000 : 10'000)}, [this, n] {
      leaves_[n] = false;
      if (over || !w.has_left(n))
        return;
      if (!random.one_in(4))
        w.stop(n);
      after(milliseconds{2000}, [this, n] {
        if (!over && w.has_left(n))
          retire(n);
      });
    });
  }
}

void fault_scene::retire(size_t n) {
  end_pause(n);
  w.retire(n);
  vacant_[n] = true;
  if (dead == n)
    dead.reset();
}

std::string fault_scene::settle() {
  const auto& ring = w.newest_ring();
  auto name = [this](size_t n) { return w.cluster().nodes[n].name; };
  for (size_t n = 0; n < w.nodes(); ++n) {
    vacant_[n] = vacant_[n] && !w.present(n);
    if (w.has_left(n) && !vacant_[n])
      retire(n);
    else if (!vacant_[n] && n != dead)
      w.start(n);
  }
  auto at = any_member();
  if (!at)
    return "no member runs";
  auto order = [this, n = *at](topology_order::kind what) { w.order(n, {what, {}, {}}, [](const std::string&) {}); };
  std::vector<size_t> vacant;
  for (size_t n = 0; n < w.nodes(); ++n)
    if (vacant_[n])
      vacant.push_back(n);
  auto burial = dead ? bury(vacant) : std::nullopt;
  if (ring.joint() && ring.job && ring.job->paused) {
    order(topology_order::kind::resume);
  } else if (burial && ring.joint() && vacant.empty() && too_few_without_dead()) {
    order(topology_order::kind::cancel); // Who leaves has to stay.
  } else if (burial) {
    std::vector<protocol::topology_change> changes{*burial};
    if (vacant.empty() && too_few_without_dead())
      keep_fewer_copies(changes);
    plan(*at, std::move(changes), [order] { order(topology_order::kind::commit); });
  }
  if (dead)
    return name(*dead) + " is dead for good";
  if (ring.joint() || !ring.former.empty() ||
      std::any_of(ring.members.begin(), ring.members.end(), [](const auto& m) { return !m.stays(); }))
    return "epoch " + std::to_string(ring.epoch) + " is not settled";
  for (size_t n = 0; n < w.nodes(); ++n)
    if (w.member(n) && (!w.running(n) || w.epoch(n) != ring.epoch))
      return name(n) + (w.running(n) ? " has epoch " + std::to_string(w.epoch(n)) + " and not the newest, " +
                                           std::to_string(ring.epoch)
                                     : " does not run");
  return {};
}

std::unique_ptr<fault> make_topology_fault(fault_scene& scene) { return std::make_unique<topology_fault>(scene); }

} // namespace crema::simulation
