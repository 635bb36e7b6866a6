#include "apps/simulation/world_impl.hpp"

#include "actors/node_setup.hpp"
#include "apps/simulation/watched_store.hpp"
#include "protocol/bytes.hpp"

#include <fmt/format.h>
#include <spdlog/sinks/base_sink.h>

namespace crema::simulation {

namespace {

/// Who was removed starts once more if too few of the others may know that.
std::optional<node_id> id_in(const protocol::ring& ring, const std::string& name) {
  if (const auto* member = ring.find(name))
    return member->id;
  const auto* removed = ring.find_removed(name);
  return removed != nullptr ? std::optional{removed->id} : std::nullopt;
}

constexpr uint64_t wall_start_micros = 1'700'000'000'000'000;

/// The nodes' log lines, into the trace.
class log_sink final : public spdlog::sinks::base_sink<spdlog::details::null_mutex> {
public:
  explicit log_sink(std::function<void(const std::string&)> out) : out_(std::move(out)) {}

protected:
  void sink_it_(const spdlog::details::log_msg& msg) override {
    out_(std::string{msg.logger_name.data(), msg.logger_name.size()} +
         " log: " + std::string{msg.payload.data(), msg.payload.size()});
  }
  void flush_() override {}

private:
  std::function<void(const std::string&)> out_;
};

} // namespace

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
    if (fresh && world_.traced.to_file())
      world_.traced.line(world_.now(), fmt::format("{} names {:016x}:{} for {}/{}", world_.name(node_), id.replica,
                                                   id.counter, world_.bucket_name(vnode.bucket), key));
    if (!fresh && (w.key != key || w.delta != delta))
      world_.report({"no dot given twice",
                     fmt::format("{} named two writes ({:016x}, {}): one of key {} and one of key {}",
                                 world_.name(node_), id.replica, id.counter, w.key, key),
                     world_.now()});
  }
  void closed(const dot& id, vnode_id vnode) override { world_.note_closed(node_, id, vnode); }
  void agreed(const std::string& record) override { world_.on_record(node_, record); }
  void synced() override { world_.on_sync(node_); }
  void block_in_sync() override {
    if (world_.nodes[node_].sync_time.count() > 0)
      world_.loop.block(world_.nodes[node_].sync_time);
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

void world::impl::note_closed(size_t closer, const dot& id, vnode_id vnode) {
  if (!closed.emplace(vnode, id).second)
    return; // Others learn of it.
  for (size_t n = 0; n < nodes.size(); ++n)
    for (const auto& [place, clock] : storage::open_memory(nodes[n].disk)->load_clocks().clocks)
      if (vnode_at(place) == vnode && n != closer && clock.contains(id))
        report({"nothing that exists is closed",
                fmt::format("{} takes {:016x}:{} of {} partition {} for lost, and {} has it", name(closer), id.replica,
                            id.counter, bucket_name(vnode.bucket), vnode.partition, name(n)),
                now()});
}

std::shared_ptr<reply_sink> world::impl::make_sink(size_t n) { return std::make_shared<sink>(*this, n); }

void world::impl::start(size_t n) {
  auto& x = nodes[n];
  if (x.running)
    return;
  if (storage::is_full(*x.disk))
    return note(name(n) + " fails to start: no space left");
  auto opened = storage::open_memory(x.disk);
  // As RocksDB: what it has replayed it flushes to synced files.
  if (auto synced = opened->sync(); !synced.ok())
    return note(name(n) + " fails to start: " + synced.error);
  if ((x.member_by_order || knows_nobody(n)) && !adopt(n, *opened))
    return;
  ++x.life;
  x.stopped_cleanly = false;
  if (x.new_id_due)
    x.id = random.next() | 1;
  x.new_id_due = false;
  auto store = watch_store(std::move(opened), x.id, std::make_shared<watcher>(*this, n));
  x.running = true; // From here on the store serves.
  auto loaded = load_or_claim_ring(*store, opts.cluster);
  auto clocks = store->load_clocks();
  auto self = loaded.ring ? id_in(*loaded.ring, name(n)) : std::nullopt;
  if (!self || has_left(n) || !clocks.what.ok()) {
    note(name(n) + " fails to start: " + (loaded.ring ? "it is no member" : loaded.error) + clocks.what.error);
    ++x.life;
    x.running = false;
    return;
  }
  note(name(n) + " starts");
  x.store = store;
  if (loaded.ring->epoch < x.epoch_synced)
    report({"epochs never go back",
            fmt::format("{} starts with epoch {}, and had {}", name(n), loaded.ring->epoch, x.epoch_synced), now()});
  has_ring(n, loaded.ring);
  x.self = *self;
  auto env = make_env(opts.cluster, name(n), loaded.ring);
  env->incarnation = random.next();
  env->restored = x.restored;
  env->own_threads = false;
  env->pages = opts.pages;
  env->trims = opts.trims;
  env->release = "simulated";
  if (opts.mixed_versions) { // Dice of their own: all else goes on as it would.
    random_stream dice{(opts.seed * 1000 + n) * 1000 + x.life};
    env->speaks.newest = static_cast<uint16_t>(dice.between(env->speaks.oldest, message_version_newest));
  }
  x.speaks = env->speaks;
  env->wall_micros = [this, n] { return wall_micros(n); };
  env->log = std::make_shared<spdlog::logger>(
      name(n), std::make_shared<log_sink>([this](const std::string& text) { traced.line(now(), text); }));
  env->log->set_level(traced.to_file() ? spdlog::level::debug : spdlog::level::off);
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
  x.root = loop.start(n, [&] { return spawn_node(loop.system(), env, std::move(o)); });
  net.node_started(n);
}

/// Are all that its configuration file names strangers by now? Then a node with an empty disk is started as one that
/// joins, although it is a member already.
bool world::impl::knows_nobody(size_t n) const {
  if (rings.empty() || rings.back().ring->epoch == 1)
    return false;
  const auto& first = rings.front().ring->members;
  return std::none_of(first.begin(), first.end(), [&](const protocol::member& m) {
    return m.name != name(n) && rings.back().ring->find(m.id) != nullptr;
  });
}

bool world::impl::adopt(size_t n, storage::store& store) {
  auto& x = nodes[n];
  auto record = load_ring_record(store);
  if (!record.error.empty() || record.record)
    return true; // It has begun before.
  const auto* wanted = rings.back().ring->find(name(n));
  if (wanted == nullptr)
    return false;
  const protocol::ring* told = nullptr;
  for (const auto& other : nodes)
    if (other.running && other.ring->find(wanted->id) != nullptr &&
        (told == nullptr || told->epoch < other.ring->epoch))
      told = other.ring.get();
  if (told == nullptr)
    return false;
  if (x.directory == 0)
    x.directory = random.next() | 1;
  std::string bytes;
  protocol::byte_writer{bytes}.u64(x.directory);
  auto batch = store.make_batch();
  batch->put_meta("directory", bytes);
  auto written = store.write(*batch);
  auto error = written.ok() ? adopt_ring(store, *told) : written.error;
  note(fmt::format("{} is given epoch {} to begin with {}", name(n), told->epoch, error));
  return error.empty();
}

void world::impl::die(size_t n) {
  auto& x = nodes[n];
  if (!x.running)
    return;
  note(name(n) + " dies");
  x.running = false;
  x.paused = x.stopping = false;
  ++x.life; // Nothing that its actors still do has an effect.
  net.node_died(n);
  auto dying = x.children.coordinators;
  dying.insert(dying.end(), x.children.replicas.begin(), x.children.replicas.end());
  dying.insert(dying.end(), {x.children.gossiper, x.children.handoff, x.children.ring_manager, x.root});
  x.children = {};
  x.root = nullptr;
  x.store = nullptr;
  loop.kill(n, std::move(dying));
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

void world::impl::stop(size_t n) {
  auto& x = nodes[n];
  if (!x.running || x.stopping)
    return;
  note(name(n) + " is told to stop");
  x.stopping = true;
  x.root->attach_functor([this, n, life = x.life](const caf::error& why) {
    if (why == caf::exit_reason::user_shutdown)
      after({}, [this, n, life] { // Not from within one of its own actors.
        if (nodes[n].life != life)
          return;
        die(n);
        nodes[n].stopped_cleanly = true;
        nodes[n].restored = false;
      });
  });
  caf::anon_send(x.root, stop_request{});
}

// -- Wall clocks ------------------------------------------------------------------------------------------------------

uint64_t world::impl::wall_micros(size_t n) const {
  const auto& x = nodes[n];
  auto micros = std::chrono::duration_cast<std::chrono::microseconds>(now()).count();
  auto drifted = std::chrono::duration_cast<std::chrono::microseconds>(now() - x.drift_since).count();
  return wall_start_micros + static_cast<uint64_t>(micros + x.wall_offset_micros + drifted * x.drift_ppm / 1'000'000);
}

void world::impl::set_drift(size_t n, int64_t ppm) {
  auto& x = nodes[n];
  auto before = wall_micros(n);
  x.drift_since = now();
  x.drift_ppm = ppm;
  x.wall_offset_micros += static_cast<int64_t>(before - wall_micros(n));
}

} // namespace crema::simulation
