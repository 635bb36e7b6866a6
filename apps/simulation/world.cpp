#include "apps/simulation/world.hpp"

#include "actors/interfaces.hpp"
#include "actors/node_setup.hpp"
#include "apps/simulation/network.hpp"
#include "apps/simulation/watched_store.hpp"
#include "messages/register.hpp"
#include "protocol/planted.hpp"
#include "protocol/slot.hpp"

#include <caf/detail/test_actor_clock.hpp>
#include <caf/scheduler/test_coordinator.hpp>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <spdlog/sinks/base_sink.h>

#include <cstdio>
#include <queue>
#include <unordered_map>

namespace crema::simulation {

namespace {

constexpr uint64_t wall_start_micros = 1'700'000'000'000'000;
constexpr uint64_t steps_per_instant_max = 20'000'000; // More at one virtual time is a livelock.

struct caf_config : caf::actor_system_config {
  caf_config() {
    set("scheduler.policy", caf::atom("testing"));
    register_messages(*this);
  }
};

/// The nodes' log lines, into the trace.
class log_sink final : public spdlog::sinks::base_sink<spdlog::details::null_mutex> {
public:
  explicit log_sink(std::function<void(std::string)> out) : out_(std::move(out)) {}

protected:
  void sink_it_(const spdlog::details::log_msg& msg) override {
    out_(std::string{msg.logger_name.data(), msg.logger_name.size()} +
         " log: " + std::string{msg.payload.data(), msg.payload.size()});
  }
  void flush_() override {}

private:
  std::function<void(std::string)> out_;
};

} // namespace

struct world::impl final : network_host {
  struct node {
    std::shared_ptr<storage::memory_disk> disk = storage::make_memory_disk();
    replica_id id = 0;
    bool new_id_due = true;
    bool running = false, paused = false;
    uint64_t life = 0; // Counts starts and deaths: odd while running.
    caf::actor root;
    node_children children;
    std::shared_ptr<storage::store> store;
    std::vector<caf::resumable*> held; // Jobs of a paused node.
    int64_t wall_offset_micros = 0;
    int64_t drift_ppm = 0;
    sim_time drift_since{};
    std::chrono::milliseconds sync_time{0};
  };
  struct event {
    sim_time at;
    uint64_t order;
    std::function<void()> what;
    friend bool operator<(const event& a, const event& b) { return std::tie(b.at, b.order) < std::tie(a.at, a.order); }
  };
  struct request {
    size_t node;
    reply_fn done;
    lost_fn lost;
  };
  class sink;
  class watcher;

  explicit impl(options o)
      : opts(std::move(o)), random(opts.seed), system(config),
        net(*this, system, random.split(), opts.cluster.nodes.size()), nodes(opts.cluster.nodes.size()) {
    if (!opts.trace_file.empty())
      trace_out = std::fopen(opts.trace_file.c_str(), "w");
    origin = scheduler().clock().now();
    ring = claim_ring(opts.cluster);
  }

  ~impl() override {
    for (size_t n = 0; n < nodes.size(); ++n)
      if (nodes[n].running)
        die(n);
    events = {};
    scheduler().run();
    scheduler().clock().cancel_all();
    if (trace_out != nullptr)
      std::fclose(trace_out);
  }

  // -- network_host --------------------------------------------------------------------------------------------------
  sim_time now() const override { return clock().now() - origin; }
  void after(sim_time delay, std::function<void()> what) override {
    events.push({now() + delay, next_event++, std::move(what)});
  }
  bool responsive(size_t n) const override { return nodes[n].running && !nodes[n].paused; }
  bool running(size_t n) const override { return nodes[n].running; }
  void on_link(size_t viewer, size_t peer) override {
    const auto& there = nodes[peer].children;
    auto seen = [&](const caf::actor& real) {
      return caf::actor_cast<caf::actor>(net.view(viewer, peer, caf::actor_cast<caf::strong_actor_ptr>(real)));
    };
    peer_handles handles{seen(there.gossiper), {}};
    for (const auto& r : there.replicas)
      handles.replicas.push_back(seen(r));
    caf::anon_send(nodes[viewer].root, peer_linked{static_cast<node_id>(peer), std::move(handles)});
  }
  void on_unlink(size_t viewer, size_t peer, const std::string& why) override {
    caf::anon_send(nodes[viewer].root, peer_unlinked{static_cast<node_id>(peer), why});
  }
  void on_delivery(size_t from, size_t to, const caf::strong_actor_ptr& receiver, const caf::message& what) override {
    mix(static_cast<uint64_t>(now().count()));
    mix(from << 32 | to);
    mix(receiver->id());
    if (trace_out != nullptr)
      line(fmt::format("{} -> {} {}", name(from), name(to), caf::deep_to_string(what)));
  }

  // -- Steps ---------------------------------------------------------------------------------------------------------
  caf::scheduler::test_coordinator& scheduler() {
    return static_cast<caf::scheduler::test_coordinator&>(system.scheduler());
  }
  caf::detail::test_actor_clock& clock() const {
    auto& self = const_cast<impl&>(*this);
    return self.scheduler().clock();
  }

  static caf::actor_id id_of(caf::resumable* job) {
    auto* actor = dynamic_cast<caf::local_actor*>(job);
    return actor != nullptr ? actor->id() : 0;
  }

  /// Runs one message of one actor: any that can run, chosen by the seed. @returns false if none can.
  bool step() {
    auto& jobs = scheduler().jobs;
    while (!jobs.empty()) {
      std::swap(jobs.front(), jobs[random.below(jobs.size())]);
      auto* job = jobs.front();
      auto owner = owners_of_actors.find(id_of(job));
      if (owner == owners_of_actors.end()) {
        scheduler().run_once();
        return true;
      }
      auto& n = nodes[owner->second];
      if (n.paused && n.running) {
        jobs.pop_front();
        n.held.push_back(job);
        continue;
      }
      auto blocked_until = blocked.find(owner->first);
      if (blocked_until != blocked.end() && blocked_until->second > now()) {
        jobs.pop_front();
        parked[owner->first] = job;
        after(blocked_until->second - now(), [this, id = owner->first] { unpark(id); });
        continue;
      }
      run_front(owner->first, owner->second);
      return true;
    }
    return false;
  }

  void unpark(caf::actor_id id) {
    auto found = parked.find(id);
    if (found == parked.end())
      return;
    scheduler().jobs.push_back(found->second);
    parked.erase(found);
  }

  void run_front(caf::actor_id id, size_t owner) {
    auto before = system.latest_actor_id();
    acting = id;
    scheduler().run_once();
    acting = 0;
    ++steps;
    own_new_actors(before, owner);
  }

  void own_new_actors(caf::actor_id before, size_t owner) {
    for (auto id = before + 1; id <= system.latest_actor_id(); ++id)
      owners_of_actors[id] = owner;
  }

  bool run_until(sim_time until) {
    uint64_t here = 0;
    while (violations.empty()) {
      if (step()) {
        if (++here > steps_per_instant_max)
          report({"livelock", fmt::format("{} steps without time passing", here), now()});
        continue;
      }
      here = 0;
      auto& timers = clock().schedule();
      auto timer = timers.empty() ? sim_time::max() : timers.begin()->first - origin;
      auto own = events.empty() ? sim_time::max() : events.top().at;
      if (std::min(timer, own) > until) {
        clock().current_time = origin + until;
        return true;
      }
      if (own <= timer) {
        clock().current_time = std::max(clock().current_time, origin + own);
        auto what = std::move(const_cast<event&>(events.top()).what);
        events.pop();
        what();
      } else {
        clock().trigger_timeout();
      }
    }
    return false;
  }

  // -- Nodes ---------------------------------------------------------------------------------------------------------
  const std::string& name(size_t n) const { return opts.cluster.nodes[n].name; }

  uint64_t wall_micros(size_t n) const {
    const auto& x = nodes[n];
    auto micros = std::chrono::duration_cast<std::chrono::microseconds>(now()).count();
    auto drifted = std::chrono::duration_cast<std::chrono::microseconds>(now() - x.drift_since).count();
    return wall_start_micros + static_cast<uint64_t>(micros + x.wall_offset_micros + drifted * x.drift_ppm / 1'000'000);
  }
  void set_drift(size_t n, int64_t ppm) {
    auto& x = nodes[n];
    auto before = wall_micros(n);
    x.drift_since = now();
    x.drift_ppm = ppm;
    x.wall_offset_micros += static_cast<int64_t>(before - wall_micros(n));
  }

  void start(size_t n);
  void die(size_t n);

  void report(violation v) {
    note("VIOLATION " + v.checker + ": " + v.what);
    violations.push_back(std::move(v));
  }

  // -- Trace ---------------------------------------------------------------------------------------------------------
  void mix(uint64_t x) { hash = (hash ^ x) * 0x100000001B3ULL + (hash >> 29); }
  void line(const std::string& text) {
    if (trace_out == nullptr)
      return;
    auto micros = std::chrono::duration_cast<std::chrono::microseconds>(now()).count();
    fmt::print(trace_out, "{:>10}.{:06} {}\n", micros / 1'000'000, micros % 1'000'000, text);
  }
  void note(const std::string& text) {
    mix(static_cast<uint64_t>(now().count()));
    for (char c : text)
      mix(static_cast<uint8_t>(c));
    line(text);
  }

  options opts;
  random_stream random;
  caf_config config;
  caf::actor_system system;
  network net;
  std::vector<node> nodes;
  protocol::ring ring;
  caf::detail::test_actor_clock::time_point origin;
  std::priority_queue<event> events;
  uint64_t next_event = 0;
  std::unordered_map<caf::actor_id, size_t> owners_of_actors;
  std::unordered_map<caf::actor_id, sim_time> blocked;       // Actors waiting for a slow disk.
  std::unordered_map<caf::actor_id, caf::resumable*> parked; // Their jobs.
  caf::actor_id acting = 0;                                  // The actor that runs now.
  std::map<uint64_t, request> requests;
  uint64_t next_request = 1;
  std::map<std::pair<vnode_id, dot>, named_write> writes;
  std::vector<violation> violations;
  uint64_t steps = 0;
  uint64_t hash = 0xCBF29CE484222325ULL;
  std::FILE* trace_out = nullptr;
};

/// Replies of one life of one node.
class world::impl::sink final : public reply_sink {
public:
  sink(impl& w, size_t n) : world_(w), node_(n), life_(w.nodes[n].life) {}
  void deliver(std::vector<client_reply> replies) override {
    if (world_.nodes[node_].life != life_)
      return; // The process died with them.
    for (const auto& r : replies) {
      auto found = world_.requests.find(r.id);
      if (found == world_.requests.end()) {
        world_.report({"one reply per request", fmt::format("{} replied twice to request {}", world_.name(node_), r.id),
                       world_.now()});
        return;
      }
      auto done = std::move(found->second.done);
      world_.requests.erase(found);
      done(r);
    }
  }

private:
  impl& world_;
  size_t node_;
  uint64_t life_;
};

class world::impl::watcher final : public store_watcher {
public:
  watcher(impl& w, size_t n) : world_(w), node_(n), life_(w.nodes[n].life) {}
  bool alive() const override { return world_.nodes[node_].life == life_; }
  void named(const dot& id, vnode_id vnode, const std::string& key, const std::string& delta) override {
    auto [found, fresh] = world_.writes.emplace(std::pair{vnode, id}, named_write{key, delta, node_, world_.now()});
    auto& w = found->second;
    if (!fresh && (w.key != key || w.delta != delta))
      world_.report({"no dot given twice",
                     fmt::format("{} named two writes ({:016x}, {}): one of key {} and one of key {}",
                                 world_.name(node_), id.replica, id.counter, w.key, key),
                     world_.now()});
  }
  void block_in_sync() override {
    if (world_.nodes[node_].sync_time.count() > 0 && world_.acting != 0)
      world_.blocked[world_.acting] = world_.now() + world_.nodes[node_].sync_time;
  }
  void sync_later(std::function<void()> sync) override {
    auto time = world_.nodes[node_].sync_time;
    if (time.count() == 0)
      return sync();
    world_.after(time, [this_world = &world_, node = node_, life = life_, sync = std::move(sync)] {
      if (this_world->nodes[node].life == life)
        sync();
    });
  }

private:
  impl& world_;
  size_t node_;
  uint64_t life_;
};

void world::impl::start(size_t n) {
  auto& x = nodes[n];
  if (x.running)
    return;
  ++x.life;
  if (x.new_id_due)
    x.id = random.next() | 1;
  x.new_id_due = false;
  auto opened = storage::open_memory(x.disk);
  opened->sync().ok(); // As RocksDB: what it has replayed it flushes to synced files.
  auto store = watch_store(std::move(opened), x.id, std::make_shared<watcher>(*this, n));
  x.running = true; // From here on the store serves.
  auto loaded = load_or_claim_ring(*store, opts.cluster);
  auto clocks = store->load_clocks();
  if (!loaded.ring || !clocks.what.ok()) {
    note(name(n) + " fails to start: " + loaded.error + clocks.what.error);
    ++x.life;
    x.running = false;
    return;
  }
  note(name(n) + " starts");
  x.store = store;
  auto env = make_env(opts.cluster, name(n), loaded.ring);
  env->incarnation = random.next();
  env->own_threads = false;
  env->wall_micros = [this, n] { return wall_micros(n); };
  env->log =
      std::make_shared<spdlog::logger>(name(n), std::make_shared<log_sink>([this](std::string text) { line(text); }));
  env->log->set_level(trace_out != nullptr ? spdlog::level::debug : spdlog::level::off);
  node_options o;
  o.store = store;
  o.id = x.id;
  o.shards = opts.shards;
  o.coordinators = opts.coordinators;
  o.clocks = std::make_shared<const std::vector<std::pair<vnode_id, protocol::dot_clock>>>(std::move(clocks.clocks));
  o.spawned = [&x](const node_children& children) { x.children = children; };
  o.fatal = [this, n, life = x.life](const std::string& why) {
    note(name(n) + " fails: " + why);
    after({}, [this, n, life] { // Not from within one of its own actors.
      if (nodes[n].life == life)
        die(n);
    });
  };
  auto before = system.latest_actor_id();
  x.root = spawn_node(system, env, std::move(o));
  own_new_actors(before, n);
  auto root = x.root.id();
  scheduler().run_jobs_filtered([root](caf::resumable* job) { return id_of(job) == root; });
  own_new_actors(before, n);
  net.node_started(n);
}

void world::impl::die(size_t n) {
  auto& x = nodes[n];
  if (!x.running)
    return;
  note(name(n) + " dies");
  x.running = false;
  x.paused = false;
  ++x.life; // Nothing that its actors still do has an effect.
  net.node_died(n);
  auto dying = x.children.coordinators;
  dying.insert(dying.end(), x.children.replicas.begin(), x.children.replicas.end());
  dying.insert(dying.end(), {x.children.gossiper, x.children.handoff, x.children.ring_manager, x.root});
  x.children = {};
  x.root = nullptr;
  x.store = nullptr;
  for (auto* job : x.held)
    scheduler().jobs.push_back(job);
  x.held.clear();
  for (const auto& a : dying) {
    blocked.erase(a.id());
    unpark(a.id());
    caf::anon_send_exit(a, caf::exit_reason::kill);
  }
  dying.clear();
  scheduler().run_jobs_filtered([this, n](caf::resumable* job) {
    auto owner = owners_of_actors.find(id_of(job));
    return owner != owners_of_actors.end() && owner->second == n;
  });
  for (auto i = owners_of_actors.begin(); i != owners_of_actors.end();)
    i = i->second == n ? owners_of_actors.erase(i) : std::next(i);
  std::vector<lost_fn> lost;
  for (auto i = requests.begin(); i != requests.end();) {
    if (i->second.node != n) {
      ++i;
      continue;
    }
    lost.push_back(std::move(i->second.lost));
    i = requests.erase(i);
  }
  for (auto& f : lost)
    after(std::chrono::microseconds{100}, std::move(f));
}

// -- The interface
// ------------------------------------------------------------------------------------------------------

world::world(options opts) : impl_(std::make_unique<impl>(std::move(opts))) {
  for (size_t n = 0; n < nodes(); ++n)
    start(n);
}
world::~world() = default;

sim_time world::now() const { return impl_->now(); }
void world::after(sim_time delay, std::function<void()> what) { impl_->after(delay, std::move(what)); }
bool world::run_until(sim_time until) { return impl_->run_until(until); }

size_t world::nodes() const { return impl_->nodes.size(); }
bool world::running(size_t node) const { return impl_->running(node); }

bool world::submit(size_t node, client_request request, reply_fn done, lost_fn connection_lost) {
  auto& x = impl_->nodes[node];
  if (!x.running)
    return false;
  request.id = impl_->next_request++;
  impl_->requests[request.id] = {node, std::move(done), std::move(connection_lost)};
  const auto& all = x.children.coordinators;
  client_batch batch{std::make_shared<impl::sink>(*impl_, node), {}};
  batch.requests.push_back(std::move(request));
  caf::anon_send(all[impl_->random.below(all.size())], std::move(batch));
  return true;
}
size_t world::requests_in_flight() const { return impl_->requests.size(); }

void world::crash_process(size_t node) { impl_->die(node); }
void world::crash_machine(size_t node) {
  auto& x = impl_->nodes[node];
  x.new_id_due = true; // It did not stop cleanly, now or earlier, and this is another boot.
  impl_->die(node);
  impl_->note(impl_->name(node) + "'s machine crashes");
  storage::crash_machine(*x.disk);
}
void world::lose_disk(size_t node) {
  impl_->die(node);
  impl_->note(impl_->name(node) + " loses its disk");
  auto& x = impl_->nodes[node];
  x.disk = storage::make_memory_disk();
  x.new_id_due = !protocol::planted(protocol::bug::replica_id_reused);
}
void world::start(size_t node) { impl_->start(node); }

void world::pause(size_t node, sim_time duration) {
  auto& x = impl_->nodes[node];
  if (!x.running || x.paused)
    return;
  impl_->note(impl_->name(node) + " is stopped");
  x.paused = true;
  impl_->after(duration, [this, node, life = x.life] {
    auto& y = impl_->nodes[node];
    if (y.life != life)
      return;
    impl_->note(impl_->name(node) + " goes on");
    y.paused = false;
    for (auto* job : y.held)
      impl_->scheduler().jobs.push_back(job);
    y.held.clear();
  });
}

void world::cut(size_t from, size_t to) {
  impl_->note("cut " + impl_->name(from) + " -> " + impl_->name(to));
  impl_->net.cut(from, to);
}
void world::heal(size_t from, size_t to) {
  impl_->note("heal " + impl_->name(from) + " -> " + impl_->name(to));
  impl_->net.heal(from, to);
}
void world::heal_all() {
  impl_->note("heal all");
  impl_->net.heal_all();
}
void world::break_connection(size_t a, size_t b) {
  impl_->note("break " + impl_->name(a) + " - " + impl_->name(b));
  impl_->net.break_connection(a, b, "connection lost");
}
void world::set_network(const network_profile& profile) { impl_->net.set_profile(profile); }
void world::slow_link(size_t from, size_t to, std::chrono::milliseconds extra) {
  impl_->note(fmt::format("{} -> {} takes {} ms more", impl_->name(from), impl_->name(to), extra.count()));
  impl_->net.slow_link(from, to, extra);
}
void world::jump_clock(size_t node, std::chrono::milliseconds by) {
  impl_->note(fmt::format("clock of {} jumps by {} ms", impl_->name(node), by.count()));
  impl_->nodes[node].wall_offset_micros += by.count() * 1000;
}
void world::drift_clock(size_t node, int64_t parts_per_million) {
  impl_->note(fmt::format("clock of {} drifts by {} ppm", impl_->name(node), parts_per_million));
  impl_->set_drift(node, parts_per_million);
}
void world::fail_next_write(size_t node) {
  impl_->note("next write of " + impl_->name(node) + " fails");
  storage::fail_writes(*impl_->nodes[node].disk, 0);
}
void world::slow_disk(size_t node, std::chrono::milliseconds per_sync) {
  impl_->note(fmt::format("a sync of {} takes {} ms", impl_->name(node), per_sync.count()));
  impl_->nodes[node].sync_time = per_sync;
}

const config::cluster_config& world::cluster() const { return impl_->opts.cluster; }
std::vector<size_t> world::owners(bucket_id bucket, const std::string& key) const {
  std::vector<size_t> result;
  for (const auto& b : impl_->opts.cluster.buckets)
    if (b.db == bucket)
      for (auto o : impl_->ring.owners[protocol::partition_of(key, impl_->ring.partitions())])
        if (result.size() < b.n)
          result.push_back(to_index(o));
  return result;
}
const std::map<std::pair<vnode_id, dot>, named_write>& world::writes() const { return impl_->writes; }
std::shared_ptr<storage::store> world::store(size_t node) const {
  const auto& x = impl_->nodes[node];
  return x.store ? x.store : std::shared_ptr<storage::store>{storage::open_memory(x.disk)};
}
uint64_t world::wall_ms(size_t node) const { return impl_->wall_micros(node) / 1000; }

std::map<std::string, uint64_t> world::counters(size_t node) {
  if (!running(node))
    return {};
  auto text = std::make_shared<std::string>();
  caf::anon_send(impl_->nodes[node].root, status_query{[text](std::string json) { *text = std::move(json); }});
  for (int i = 0; i < 300 && text->empty() && violations().empty(); ++i)
    impl_->run_until(now() + std::chrono::milliseconds{10});
  auto json = nlohmann::json::parse(*text, nullptr, false);
  if (json.is_discarded() || !json.contains("counters"))
    return {};
  return json["counters"].get<std::map<std::string, uint64_t>>();
}

const std::vector<violation>& world::violations() const { return impl_->violations; }
void world::report(violation v) { impl_->report(std::move(v)); }
random_stream& world::random() { return impl_->random; }
void world::trace(const std::string& line) { impl_->note(line); }
uint64_t world::trace_hash() const { return impl_->hash; }
uint64_t world::messages() const { return impl_->net.delivered(); }
uint64_t world::steps() const { return impl_->steps; }

} // namespace crema::simulation
