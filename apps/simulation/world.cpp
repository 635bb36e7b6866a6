#include "apps/simulation/world_impl.hpp"

#include "actors/node_setup.hpp"
#include "protocol/planted.hpp"
#include "protocol/slot.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace crema::simulation {

world::impl::impl(options o)
    : opts(std::move(o)), traced(opts.trace_file), random(opts.seed), loop(random, opts.cluster.nodes.size()),
      net(*this, loop.system(), random.split(), opts.cluster.nodes.size()), nodes(opts.cluster.nodes.size()),
      ring(claim_ring(opts.cluster)) {}

world::impl::~impl() {
  for (size_t n = 0; n < nodes.size(); ++n)
    die(n);
  loop.wind_up();
}

void world::impl::on_link(size_t viewer, size_t peer) {
  const auto& there = nodes[peer].children;
  auto seen = [&](const caf::actor& real) {
    return caf::actor_cast<caf::actor>(net.view(viewer, peer, caf::actor_cast<caf::strong_actor_ptr>(real)));
  };
  peer_handles handles{seen(there.gossiper), seen(there.handoff), seen(there.ring_manager), {}};
  for (const auto& r : there.replicas)
    handles.replicas.push_back(seen(r));
  caf::anon_send(nodes[viewer].root, peer_linked{static_cast<node_id>(peer), std::move(handles)});
}

void world::impl::on_unlink(size_t viewer, size_t peer, const std::string& why) {
  caf::anon_send(nodes[viewer].root, peer_unlinked{static_cast<node_id>(peer), why});
}

void world::impl::on_malformed(size_t from, size_t to, const caf::message& what, const std::string& why) {
  report({"messages survive the wire",
          fmt::format("{} -> {} {}: {}", name(from), name(to), caf::deep_to_string(what), why), now()});
}

void world::impl::on_delivery(size_t from, size_t to, const caf::strong_actor_ptr& receiver, const caf::message& what) {
  traced.mix(static_cast<uint64_t>(now().count()));
  traced.mix(from << 32 | to);
  traced.mix(receiver->id());
  if (traced.to_file())
    traced.line(now(), fmt::format("{} -> {} {}", name(from), name(to), caf::deep_to_string(what)));
}

std::string world::impl::bucket_name(bucket_id id) const {
  for (const auto& b : opts.cluster.buckets)
    if (b.db == id)
      return b.name;
  return "?";
}

void world::impl::report(violation v) {
  note("VIOLATION " + v.checker + ": " + v.what);
  violations.push_back(std::move(v));
}

bool world::impl::run_until(sim_time until) {
  return loop.run_until(until, [this] {
    if (loop.livelock())
      report({"livelock", "the cluster works on and on without time passing", now()});
    return !violations.empty();
  });
}

// -- The interface ----------------------------------------------------------------------------------------------------

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
  std::vector<submission> one;
  one.push_back({std::move(request), std::move(done), std::move(connection_lost)});
  return submit_together(node, std::move(one));
}

bool world::submit_together(size_t node, std::vector<submission> requests) {
  auto& x = impl_->nodes[node];
  if (!x.running || x.stopping)
    return false;
  const auto& all = x.children.coordinators;
  client_batch batch{impl_->make_sink(node), {}};
  for (auto& s : requests) {
    s.request.id = impl_->next_request++;
    impl_->requests[s.request.id] = {node, std::move(s.done), std::move(s.connection_lost)};
    batch.requests.push_back(std::move(s.request));
  }
  caf::anon_send(all[impl_->random.below(all.size())], std::move(batch));
  return true;
}
size_t world::requests_in_flight() const { return impl_->requests.size(); }

void world::crash_process(size_t node) { impl_->die(node); }
void world::amid_work(size_t node, uint64_t steps, std::function<void()> crash) {
  impl_->loop.after_steps(node, steps, std::move(crash));
}
void world::stop(size_t node) { impl_->stop(node); }
void world::crash_machine(size_t node, size_t kept) {
  auto& x = impl_->nodes[node];
  impl_->die(node);
  x.new_id_due |= !x.stopped_cleanly; // This is another boot.
  impl_->note(fmt::format("{}'s machine crashes; {} of {} batches that were not synced survive", impl_->name(node),
                          kept, unsynced_batches(node)));
  storage::crash_machine(*x.disk, kept);
}
size_t world::unsynced_batches(size_t node) const { return storage::unsynced_batches(*impl_->nodes[node].disk); }
void world::lose_disk(size_t node) {
  impl_->die(node);
  auto& x = impl_->nodes[node];
  x.restored = x.backup != nullptr;
  impl_->note(impl_->name(node) + " loses its disk" + (x.restored ? "; a backup is put in its place" : ""));
  x.disk = x.restored ? std::exchange(x.backup, nullptr) : storage::make_memory_disk();
  x.new_id_due = !protocol::planted(protocol::bug::replica_id_reused);
  x.stopped_cleanly = false;
}
void world::back_up(size_t node) {
  impl_->note("the disk of " + impl_->name(node) + " is backed up");
  impl_->nodes[node].backup = storage::copy_of(*impl_->nodes[node].disk);
}
void world::start(size_t node) { impl_->start(node); }

void world::pause(size_t node, sim_time duration) {
  auto& x = impl_->nodes[node];
  if (!x.running || x.paused)
    return;
  impl_->note(impl_->name(node) + " is stopped");
  x.paused = true;
  impl_->loop.stop(node);
  impl_->after(duration, [this, node, life = x.life] {
    auto& y = impl_->nodes[node];
    if (y.life != life)
      return;
    impl_->note(impl_->name(node) + " goes on");
    y.paused = false;
    impl_->loop.go_on(node);
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
void world::busy(size_t node, uint64_t one_in, std::chrono::microseconds up_to) {
  impl_->note(
      fmt::format("{} is busy with one message in {}, for up to {} us", impl_->name(node), one_in, up_to.count()));
  impl_->loop.busy(node, one_in, up_to);
}
bool world::stopped_cleanly(size_t node) const { return impl_->nodes[node].stopped_cleanly && !running(node); }
void world::heal_all() {
  impl_->note("heal all");
  impl_->net.heal_all();
}
void world::break_connection(size_t a, size_t b) {
  impl_->note("break " + impl_->name(a) + " - " + impl_->name(b));
  impl_->net.break_connection(a, b, "connection lost");
}
void world::break_for_one(size_t node, size_t peer) {
  impl_->note(fmt::format("{} loses its connection to {} and makes a new one", impl_->name(node), impl_->name(peer)));
  impl_->net.break_for_one(node, peer);
}
void world::set_network(const network_profile& profile) { impl_->net.set_profile(profile); }
void world::lose_words(size_t node, bool lost) {
  impl_->note(fmt::format("every second message of {} is {}", impl_->name(node), lost ? "lost" : "delivered again"));
  impl_->net.lose_words(node, lost);
}
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
void world::fail_next_sync(size_t node) {
  impl_->note("next sync of " + impl_->name(node) + " fails");
  storage::fail_syncs(*impl_->nodes[node].disk, 0);
}
void world::fill_disk(size_t node) {
  impl_->note("the disk of " + impl_->name(node) + " is full");
  storage::set_full(*impl_->nodes[node].disk, true);
}
void world::free_disk(size_t node) {
  impl_->note("the disk of " + impl_->name(node) + " has space again");
  storage::set_full(*impl_->nodes[node].disk, false);
}
void world::mend_disk(size_t node) {
  impl_->note("the disk of " + impl_->name(node) + " is mended");
  storage::forget_faults(*impl_->nodes[node].disk);
}
void world::damage(size_t node, vnode_id place, const std::string& key, const std::string& object) {
  impl_->note(fmt::format("the disk of {} {} {} of bucket {} partition {}", impl_->name(node),
                          object.empty() ? "loses" : "damages", key, place.bucket, place.partition));
  auto below = storage::open_memory(impl_->nodes[node].disk);
  auto batch = below->make_batch();
  if (object.empty())
    batch->erase(place, key);
  else
    batch->replace(place, key, object);
  if (auto written = below->write(*batch); !written.ok())
    report({"damage", written.error, now()});
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
const std::set<std::pair<vnode_id, dot>>& world::closed() const { return impl_->closed; }
std::shared_ptr<storage::store> world::store(size_t node) const {
  const auto& x = impl_->nodes[node];
  return x.store ? x.store : std::shared_ptr<storage::store>{storage::open_memory(x.disk)};
}
size_t world::met_by(size_t node) const {
  size_t count = 0;
  for (size_t n = 0; n < nodes(); ++n)
    if (n != node)
      count += load_handoff_memory(*store(n), impl_->ring).directories.first.count(static_cast<node_id>(node));
  return count;
}
uint64_t world::wall_ms(size_t node) const { return impl_->wall_micros(node) / 1000; }

std::string world::impl::ask(size_t n,
                             const std::function<void(const caf::actor&, std::function<void(std::string)>)>& send) {
  if (!running(n))
    return {};
  auto text = std::make_shared<std::string>();
  send(nodes[n].root, [text](std::string json) { *text = std::move(json); });
  for (int i = 0; i < 300 && text->empty() && violations.empty(); ++i)
    run_until(now() + std::chrono::milliseconds{10});
  return *text;
}

std::map<std::string, uint64_t> world::counters(size_t node) {
  auto json = nlohmann::json::parse(
      impl_->ask(node,
                 [](const caf::actor& root, auto answer) { caf::anon_send(root, status_query{std::move(answer)}); }),
      nullptr, false);
  if (json.is_discarded() || !json.contains("counters"))
    return {};
  return json["counters"].get<std::map<std::string, uint64_t>>();
}

void world::begin_scrub(size_t node) {
  if (running(node))
    caf::anon_send(impl_->nodes[node].root,
                   repair_query{{repair_order::kind::start, {}, {}}, [](const std::string&) {}});
}

std::string world::repair(size_t node, repair_order order) {
  return impl_->ask(node, [&order](const caf::actor& root, auto answer) {
    caf::anon_send(root, repair_query{order, std::move(answer)});
  });
}

const std::vector<violation>& world::violations() const { return impl_->violations; }
void world::report(violation v) { impl_->report(std::move(v)); }
random_stream& world::random() { return impl_->random; }
void world::trace(const std::string& line) { impl_->note(line); }
uint64_t world::trace_hash() const { return impl_->traced.hash(); }
uint64_t world::messages() const { return impl_->net.delivered(); }
uint64_t world::steps() const { return impl_->loop.steps(); }

} // namespace crema::simulation
