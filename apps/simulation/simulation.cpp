#include "apps/simulation/simulation.hpp"

#include "apps/simulation/calm.hpp"
#include "apps/simulation/checkers.hpp"
#include "apps/simulation/damage.hpp"
#include "apps/simulation/faults.hpp"
#include "apps/simulation/workload.hpp"
#include "protocol/planted.hpp"
#include "protocol/sync_planner.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <utility>

namespace crema::simulation {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr seconds answer_time{10};   ///< In which every request under way has its answer.
constexpr seconds converge_time{10}; ///< In which owners become identical, once nothing disturbs them.
constexpr seconds clean_time{10};    ///< In which what is of no more use then goes: logs, remains of deletes.
constexpr seconds change_time{120};  ///< In which changes of the members end that were begun before.
constexpr size_t spares = 2;

config::bucket_config bucket(std::string name, bucket_id db, conflict_rule rule, durability how, uint32_t n,
                             bool sloppy = false) {
  config::bucket_config b;
  b.name = std::move(name);
  b.id = b.db = db;
  b.conflict = rule;
  b.durability = how;
  b.n = n;
  b.r = b.w = n / 2 + 1;
  b.sloppy = sloppy;
  return b;
}

std::vector<config::bucket_config> default_buckets(size_t nodes, size_t widest = 5) {
  auto three = static_cast<uint32_t>(std::min<size_t>(3, nodes));
  auto five = static_cast<uint32_t>(std::min<size_t>(widest, nodes));
  return {bucket("registers", 0, conflict_rule::lww, durability::interval, three),
          bucket("siblings", 1, conflict_rule::siblings, durability::fsync, three),
          bucket("loose", 2, conflict_rule::siblings, durability::interval, three, true),
          bucket("wide", 3, conflict_rule::lww, durability::interval, five),
          bucket("plain", 4, conflict_rule::lww, durability::interval, three, true)};
}

config::cluster_config cluster_of(const run_options& o) {
  config::cluster_config cluster;
  cluster.cluster = "simulated";
  cluster.partitions = 8; // Few: keys share clocks.
  if (o.seed % 3 == 0) {  // Owners that are away are given up on soon.
    cluster.sync.log_entries_max = 10;
    cluster.hints.age_max = std::chrono::seconds{20};
  }
  for (size_t i = 0; i < o.nodes; ++i) {
    config::node_config n;
    n.name = fmt::format("n{}", i + 1);
    n.host = fmt::format("10.0.0.{}", i + 1);
    cluster.nodes.push_back(std::move(n));
  }
  auto widest = has_topology(o) ? 3 + o.seed / 5 % 3 : 5; // So that there is room to leave.
  for (auto& b : default_buckets(o.nodes, widest))
    if (o.buckets.empty() || std::find(o.buckets.begin(), o.buckets.end(), b.name) != o.buckets.end())
      cluster.buckets.push_back(std::move(b));
  return cluster;
}

/// One run, from the first start of a node to the verdict.
class simulated_run {
public:
  explicit simulated_run(const run_options& o)
      : options_(o), seeds_(o.seed), world_(world_options(o)),
        clients_(world_, history_, seeds_.split(),
                 {o.clients, o.operations_max, [this](size_t node) { faults_.acknowledged(node); }}),
        faults_(world_, seeds_.split(), faults_of(o), o.fault_events_max), damages_(seeds_.split()) {}

  void run() {
    // A few quiet moments in between: what goes wrong early is found early, and with its time.
    constexpr int moments = 4;
    if (options_.seed % 8 == 7 && !options_.faults.empty())
      faults_.begin_without(options_.seed / 8 % options_.nodes);
    if (!advance(seconds{3}))
      return;
    clients_.start();
    faults_.start();
    scrubbing_ = options_.seed % 2 == 0;
    scrub_now_and_then();
    auto begin = world_.now();
    for (int i = 1; i <= moments; ++i) {
      if (!advance(begin + options_.duration * i / moments - world_.now()))
        return;
      if (i < moments && !check([this](const evidence& e, const model& m, findings& out) { stores(e, m, out); }))
        return;
    }
    clients_.stop();
    scrubbing_ = false;
    faults_.end_all();
    if (!changes_end() || !undisturbed(converge_time))
      return;
    if (until_times_have_passed() == sim_time{} && !converged())
      return;
    clients_.write_once_more("s"); // Although some nodes may have seen times that are far ahead.
    if (!advance(answer_time) || !advance(until_times_have_passed()) || !undisturbed(converge_time) || !converged() ||
        !verdict_on_memory())
      return;
    clients_.write_once_more("f");
    if (!undisturbed(converge_time) || !converged() || !undisturbed(clean_time) || !nothing_left() || !gaps_close())
      return;
    clients_.read_everything();
    clients_.use_dropped();
    if (advance(answer_time) && check([this](const evidence& e, const model& m, findings& out) { verdict(e, m, out); }))
      repair_damage();
  }

  run_result result() {
    run_result r;
    if (!world_.violations().empty())
      r.failure = world_.violations().front();
    r.trace_hash = world_.trace_hash();
    r.messages = world_.messages();
    r.steps = world_.steps();
    r.operations = history_.operations().size();
    r.acknowledged = history_.acknowledged();
    r.faults = faults_.log().events;
    r.lost = world_.closed().size();
    r.simulated = world_.now();
    return r;
  }

private:
  static std::set<fault_kind> faults_of(const run_options& o) {
    auto kinds = o.faults;
    if (!has_topology(o))
      kinds.erase(fault_kind::topology);
    return kinds;
  }
  static world::options world_options(const run_options& o) {
    world::options w;
    if (o.seed % 4 >= 2)
      w.pages = {800, 400}; // Else all that is lacking fits into one.
    if (o.seed % 8 >= 4)
      w.trims = {4, 2}; // Else only the log of a vnode that rests.
    w.seed = o.seed;
    w.cluster = cluster_of(o);
    w.spares = has_topology(o) ? spares : 0;
    w.mixed_versions = o.seed % 3 == 1;
    w.trace_file = o.trace_file;
    return w;
  }

  bool advance(sim_time by) { return world_.run_until(world_.now() + by); }

  evidence evidence_now() const {
    return {world_.cluster(),
            history_,
            world_.writes(),
            world_.closed(),
            faults_.log(),
            [this](bucket_id b, const std::string& key) { return world_.owners(b, key); },
            [this](bucket_id b, const std::string& key) { return world_.ownerships(b, key); },
            [this](size_t node, bucket_id b, bool there, sim_time from, sim_time to) {
              return world_.knew_bucket(node, b, there, from, to);
            }};
  }

  /// Runs checkers. @returns false if they found something.
  template <class Checkers>
  bool check(Checkers checkers) {
    auto e = evidence_now();
    findings found;
    model m{e, found};
    checkers(e, m, found);
    // The first that happened is the one to look at; what has no time of its own was found now.
    for (auto& v : found)
      if (v.at == sim_time{})
        v.at = world_.now();
    std::stable_sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.at < b.at; });
    for (auto& v : found)
      world_.report(std::move(v));
    return found.empty();
  }

  void stores(const evidence& e, const model& m, findings& out) const {
    for (size_t n = 0; n < world_.nodes(); ++n)
      if (auto store = world_.store(n))
        check_store(e, m, n, *store, out);
  }

  /// Writes that were given times far ahead, by a wrong wall clock, are taken by the others when real time has come
  /// near.
  sim_time until_times_have_passed() const {
    timestamp newest = 0;
    for (const auto& [id, write] : world_.writes())
      newest = std::max(newest, protocol::newest_time(write.delta));
    auto now = world_.wall_ms(0) * 1000;
    return std::chrono::microseconds{std::max(now, to_micros(newest)) - now};
  }

  /// Until every node has run without a stop for as long as that, and none has taken a write for lost: the others learn
  /// that from it, like a write.
  bool undisturbed(sim_time that_long) {
    // One that stops late may be back before anybody has looked.
    auto learned = [this] { return world_.closed().size() + world_.newest_ring().epoch + world_.starts_and_deaths(); };
    calm how{world_.now(), learned()};
    while (!how.lasts(that_long, world_.now())) {
      if (!advance(milliseconds{500}))
        return false;
      bool all_run = true;
      for (auto n : members())
        all_run &=
            world_.running(n) && faults_.log().paused(n, world_.now(), world_.now() + milliseconds{1}) == sim_time{};
      how.look(world_.now(), learned(), all_run);
    }
    return true;
  }

  std::vector<size_t> members() const {
    std::vector<size_t> nodes;
    for (size_t n = 0; n < world_.nodes(); ++n)
      if (world_.member(n))
        nodes.push_back(n);
    return nodes;
  }

  /// Until all members know the newest epoch, and nothing is left to be done in it.
  bool changes_end() {
    auto begun = world_.now();
    auto late = until_times_have_passed(); // Who is behind takes none of those pages before.
    for (;;) {
      auto waits_for = faults_.settle();
      if (waits_for.empty())
        return true;
      if (world_.now() - begun > change_time + late) {
        world_.report(
            {"changes end",
             fmt::format("{} after the faults: {}; {}", show(world_.now() - begun), waits_for, what_nodes_wait_for()),
             world_.now()});
        return false;
      }
      if (!advance(seconds{1}))
        return false;
    }
  }

  std::string what_nodes_wait_for() {
    auto text = std::make_shared<std::string>();
    for (auto n : members())
      world_.order(n, {topology_order::kind::show, {}, {}}, [text, n, this](const std::string& told) {
        auto json = nlohmann::json::parse(told, nullptr, false);
        *text += fmt::format(" {}: {} {}", world_.cluster().nodes[n].name, json.value("phase", ""),
                             json.contains("job") ? json["job"].dump() : "");
      });
    advance(milliseconds{100});
    return *text;
  }

  bool converged() {
    return check([this](const evidence& e, const model& m, findings& out) {
      check_convergence(e, m, all_stores(), world_.wall_ms(0), out);
      for (auto n : members())
        check_dropped(e, n, *world_.store(n), world_.newest_ring().buckets, out);
    });
  }

  /// Meanwhile clients write and faults strike: none of it may look like damage.
  void scrub_now_and_then() {
    constexpr seconds pause{7};
    world_.after(pause, [this] {
      if (!scrubbing_)
        return;
      for (size_t n = 0; n < world_.nodes(); ++n)
        world_.begin_scrub(n);
      scrub_now_and_then();
    });
  }

  /// Owners hold something else than their clocks say, and repair it when asked to.
  void repair_damage() {
    size_t damaged = 0;
    check([&](const evidence&, const model& m, findings&) { damaged = damage_some(world_, m, damages_); });
    for (size_t n = 0; n < world_.nodes(); ++n)
      world_.begin_scrub(n);
    constexpr seconds scrub_time{120};
    auto begun = world_.now();
    scrub_tally tally;
    do {
      if (!advance(seconds{2}))
        return;
      tally = scrubbed();
    } while (tally.running && world_.now() - begun < scrub_time);
    check([&](const evidence& e, const model& m, findings& out) {
      if (tally.running || tally.differences != damaged || tally.busy > 0 || tally.partial > 0)
        out.push_back(
            {"damage is repaired",
             fmt::format("of {} damaged keys {} were found ({} busy, {} vnodes partial, {})", damaged,
                         tally.differences, tally.busy, tally.partial, tally.running ? "running" : "finished"),
             {}});
      check_convergence(e, m, all_stores(), world_.wall_ms(0), out);
      stores(e, m, out);
    });
  }

  struct scrub_tally {
    bool running = false;
    uint64_t differences = 0, busy = 0, partial = 0;
  };
  /// Of each node's last scrub.
  scrub_tally scrubbed() {
    scrub_tally sum;
    for (auto n : members()) {
      auto json = nlohmann::json::parse(world_.repair(n, {}), nullptr, false);
      sum.running |= json.value("state", "running") == "running";
      sum.differences += json.value("differences", uint64_t{0});
      sum.busy += json.value("busy", uint64_t{0});
      sum.partial += json.value("partial", uint64_t{0});
    }
    return sum;
  }

  bool nothing_left() {
    return check([this](const evidence& e, const model&, findings& out) {
      for (auto n : members())
        check_remains(e, n, *world_.store(n), earliest_wall_ms(), out);
    });
  }

  /// What was lost everywhere is found to be in time, and clocks have no gaps then.
  bool gaps_close() {
    auto begun = world_.now();
    auto time = protocol::sync_planner::lost_after_least + clean_time;
    for (findings gaps; world_.now() - begun < time; gaps.clear()) {
      clocks(evidence_now(), gaps);
      if (gaps.empty())
        return true;
      if (!advance(seconds{1}))
        return false;
    }
    return check([this](const evidence& e, const model&, findings& out) { clocks(e, out); });
  }

  /// What expired before this has expired for every node, and they have told each other.
  uint64_t earliest_wall_ms() const {
    auto earliest = world_.wall_ms(0);
    for (size_t n = 1; n < world_.nodes(); ++n)
      earliest = std::min(earliest, world_.wall_ms(n));
    return earliest - std::min<uint64_t>(earliest, 5000);
  }

  std::vector<std::shared_ptr<storage::store>> all_stores() const {
    std::vector<std::shared_ptr<storage::store>> result;
    for (size_t n = 0; n < world_.nodes(); ++n)
      result.push_back(world_.member(n) ? world_.store(n) : nullptr);
    return result;
  }

  bool verdict_on_memory() {
    std::map<size_t, std::map<std::string, uint64_t>> counters;
    for (auto n : members())
      counters[n] = world_.counters(n);
    return check([&](const evidence& e, const model&, findings& out) {
      for (const auto& [n, counted] : counters) {
        check_settled(e, n, counted, out);
        check_held(e, n, counted, vnodes_of(n), out);
        check_scrubs(e, n, counted, out);
      }
    });
  }

  /// How many vnodes the node is to have.
  uint64_t vnodes_of(size_t node) const {
    const auto& ring = world_.newest_ring();
    auto self = ring.find(world_.cluster().nodes[node].name)->id;
    uint64_t count = 0;
    for (const auto& b : ring.buckets)
      for (uint32_t p = 0; p < ring.partitions(); ++p)
        count += ring.holds(self, static_cast<partition_id>(p), b) ? 1 : 0;
    return count;
  }

  void verdict(const evidence& e, const model& m, findings& out) const {
    check_replies(e, out);
    check_buckets(e, out);
    check_reads(e, m, out);
    check_writes(e, m, out);
    check_sets(e, m, out);
    stores(e, m, out);
    check_lww_order(e, m, out);
    check_monotonic_reads(e, m, out);
    clocks(e, out);
  }

  void clocks(const evidence& e, findings& out) const {
    for (size_t n = 0; n < world_.nodes(); ++n)
      check_clocks(e, n, *world_.store(n), out);
  }

  const run_options& options_;
  random_stream seeds_;
  world world_;
  history history_;
  workload clients_;
  fault_planner faults_;
  random_stream damages_;
  bool scrubbing_ = false;
};

} // namespace

bool has_topology(const run_options& options) {
  if (options.faults.count(fault_kind::topology) == 0)
    return false;
  if (options.faults.size() < all_faults().size())
    return true;
  return random_stream{options.seed}.below(3) < 2;
}

run_result run(const run_options& options) {
  protocol::plant(options.planted);
  simulated_run r{options};
  r.run();
  return r.result();
}

std::vector<std::string> bucket_names() {
  std::vector<std::string> names;
  for (const auto& b : default_buckets(5))
    names.push_back(b.name);
  return names;
}

std::string command_of(const run_options& o) {
  auto command = fmt::format("crema sim --seed {} --nodes {} --minutes {} --clients {}", o.seed, o.nodes,
                             o.duration.count(), o.clients);
  std::string list;
  for (auto f : o.faults)
    list += (list.empty() ? "" : ",") + std::string{to_string(f)};
  command += " --faults " + (o.faults.empty() ? "none" : o.faults.size() == all_faults().size() ? "all" : list);
  auto add = [&](const char* name, const auto& values) {
    if (!values.empty())
      command += fmt::format(" --{} {}", name, fmt::join(values, ","));
  };
  add("buckets", o.buckets);
  if (o.operations_max != 0)
    command += fmt::format(" --operations {}", o.operations_max);
  if (o.fault_events_max != 0)
    command += fmt::format(" --fault-events {}", o.fault_events_max);
  if (!o.planted.empty())
    command += " --bug " + o.planted;
  return command;
}

} // namespace crema::simulation
