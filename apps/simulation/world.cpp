#include "apps/simulation/world_impl.hpp"

#include "actors/node_setup.hpp"
#include "messages/register.hpp"
#include "protocol/planted.hpp"
#include "protocol/ring_encoding.hpp"
#include "protocol/slot.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>

namespace crema::simulation {

namespace {

config::cluster_config with_spares(config::cluster_config cluster, size_t spares) {
  for (size_t i = 0; i < spares; ++i) {
    config::node_config n;
    auto number = cluster.nodes.size() + 1;
    n.name = fmt::format("n{}", number);
    n.host = fmt::format("10.0.0.{}", number);
    cluster.nodes.push_back(std::move(n));
  }
  return cluster;
}

} // namespace

const config::bucket_config* find_bucket(const config::cluster_config& cluster, bucket_id id) {
  auto found = std::find_if(cluster.buckets.begin(), cluster.buckets.end(), [id](const auto& b) { return b.id == id; });
  return found != cluster.buckets.end() ? &*found : nullptr;
}

world::impl::impl(options o)
    : opts(std::move(o)), cluster(with_spares(opts.cluster, opts.spares)), traced(opts.trace_file), random(opts.seed),
      loop(random, cluster.nodes.size()), net(*this, loop.system(), random.split(), cluster.nodes.size()),
      nodes(cluster.nodes.size()) {
  for (size_t n = opts.cluster.nodes.size(); n < nodes.size(); ++n)
    nodes[n].member_by_order = true;
  note_ring(claim_ring(opts.cluster));
}

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
  nodes[viewer].linked[peer] = nodes[peer].self;
  auto version = common_version(nodes[viewer].speaks, nodes[peer].speaks).value();
  caf::anon_send(nodes[viewer].root, peer_linked{nodes[peer].self, std::move(handles), version});
}

void world::impl::on_unlink(size_t viewer, size_t peer, const std::string& why) {
  caf::anon_send(nodes[viewer].root, peer_unlinked{nodes[viewer].linked[peer], why});
}

/// Nodes refuse a peer that is no member by the ring they know.
bool world::impl::acquainted(size_t a, size_t b) const {
  auto knows = [this](size_t x, size_t y) { return nodes[x].ring && nodes[x].ring->find(nodes[y].self) != nullptr; };
  return knows(a, b) && knows(b, a);
}

void world::impl::on_malformed(size_t from, size_t to, const caf::message& what, const std::string& why) {
  report({"messages survive the wire",
          fmt::format("{} -> {} {}: {}", name(from), name(to), caf::deep_to_string(what), why), now()});
}

void world::impl::on_delivery(size_t from, size_t to, const caf::strong_actor_ptr& receiver, const caf::message& what) {
  traced.mix(static_cast<uint64_t>(now().count()));
  traced.mix(from << 32 | to);
  traced.mix(receiver->id());
  auto ended = receiver->get()->getf(caf::abstract_actor::is_terminated_flag); // It was of the node's life before.
  if (auto version = version_of(what); version && !ended && !nodes[to].speaks.include(*version))
    report({"peers are spoken to in a version they know",
            fmt::format("{} -> {} {}: version {}", name(from), name(to), caf::deep_to_string(what), *version), now()});
  if (traced.to_file())
    traced.line(now(), fmt::format("{} -> {} {}", name(from), name(to), caf::deep_to_string(what)));
}

std::string world::impl::bucket_name(bucket_id id) const {
  const auto* b = find_bucket(cluster, id);
  return b != nullptr ? b->name : "?";
}

void world::impl::report(violation v) {
  note("VIOLATION " + v.checker + ": " + v.what);
  violations.push_back(std::move(v));
}

void world::impl::note_ring(protocol::ring ring) {
  for (const auto& m : ring.members)
    for (size_t n = 0; n < nodes.size(); ++n)
      if (name(n) == m.name)
        indexes.emplace(m.id, n);
  for (const auto& b : ring.buckets)
    if (find_bucket(cluster, b.id) == nullptr) {
      cluster.buckets.push_back(b);
      if (b.id >= protocol::ring::first_of_run_time)
        cluster.buckets.back().name += fmt::format("#{}", b.id);
    }
  if (rings.empty() || ring.epoch > rings.back().ring->epoch)
    rings.push_back({std::make_shared<const protocol::ring>(std::move(ring)), now()});
}

bool world::impl::has_left(size_t n) const {
  const auto& newest = *rings.back().ring;
  return newest.find(name(n)) == nullptr && protocol::known_to_majority(newest, [this](node_id id) {
           auto at = indexes.find(id);
           return at != indexes.end() && nodes[at->second].ring ? nodes[at->second].ring->epoch : 0;
         });
}

void world::impl::has_ring(size_t n, protocol::ring_ptr ring) {
  nodes[n].ring = ring;
  nodes[n].rings.push_back({std::move(ring), now()});
}

/// A node has this on its disk now, though it may still lose it with the power.
void world::impl::on_record(size_t n, const std::string& record) {
  auto x = protocol::decode_agreement_record(record);
  auto ring = x ? protocol::decode_ring(x->value) : std::nullopt;
  if (!ring || ring->epoch != x->number)
    return report({"epochs are agreed on", name(n) + " stores an agreement that does not decode", now()});
  auto [value, fresh] = values.emplace(x->number, x->value);
  if (!fresh && value->second != x->value)
    report({"epochs are agreed on",
            fmt::format("{} has another epoch {} than others had, or itself before", name(n), x->number), now()});
  const auto& mine = nodes[n].ring;
  if (mine && ring->epoch < mine->epoch)
    report({"epochs never go back", fmt::format("{} goes from epoch {} back to {}", name(n), mine->epoch, ring->epoch),
            now()});
  if (mine && ring->epoch == mine->epoch)
    return;
  has_ring(n, std::make_shared<const protocol::ring>(*ring));
  note(fmt::format("{} has epoch {}", name(n), ring->epoch));
  note_ring(std::move(*ring));
  if (ring_written)
    ring_written(n);
}

void world::impl::on_sync(size_t n) {
  if (nodes[n].ring)
    nodes[n].epoch_synced = nodes[n].ring->epoch;
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
  for (size_t n = 0; n < impl_->opts.cluster.nodes.size(); ++n)
    start(n);
}
world::~world() = default;

sim_time world::now() const { return impl_->now(); }
void world::after(sim_time delay, std::function<void()> what) { impl_->after(delay, std::move(what)); }
bool world::run_until(sim_time until) { return impl_->run_until(until); }

size_t world::nodes() const { return impl_->nodes.size(); }
uint64_t world::starts_and_deaths() const {
  uint64_t count = 0;
  for (const auto& n : impl_->nodes)
    count += n.life;
  return count;
}
uint16_t world::message_version(size_t node) const { return impl_->nodes[node].speaks.newest; }
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
  x.directory = 0;
  impl_->has_ring(node, nullptr);
  x.epoch_synced = 0;
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
void world::hold_ring(size_t node, std::chrono::milliseconds time) {
  if (!running(node))
    return;
  impl_->note(fmt::format("{} learns of no ring for {} ms", impl_->name(node), time.count()));
  impl_->loop.block(impl_->nodes[node].children.ring_manager.id(), time);
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

const config::cluster_config& world::cluster() const { return impl_->cluster; }
std::vector<size_t> world::owners(bucket_id bucket, const std::string& key) const {
  std::vector<size_t> result;
  const auto& ring = newest_ring();
  if (const auto* b = ring.find_bucket(bucket); b != nullptr)
    for (auto id : ring.owners_of(protocol::partition_of(key, ring.partitions()), b->n))
      result.push_back(index_of(id));
  return result;
}

// -- Topology -----------------------------------------------------------------------------------------------------

const protocol::ring& world::newest_ring() const { return *impl_->rings.back().ring; }
const std::vector<world::known_ring>& world::rings() const { return impl_->rings; }
bool world::member(size_t node) const { return newest_ring().find(impl_->name(node)) != nullptr; }
bool world::has_left(size_t node) const { return impl_->has_left(node); }
uint64_t world::epoch(size_t node) const { return impl_->nodes[node].ring ? impl_->nodes[node].ring->epoch : 0; }
void world::on_ring(std::function<void(size_t node)> what) { impl_->ring_written = std::move(what); }
bool world::knew_bucket(size_t node, bucket_id bucket, bool there, sim_time from, sim_time to) const {
  const auto& known = impl_->nodes[node].rings;
  for (auto x = known.begin(); x != known.end() && x->since <= to; ++x) {
    auto next = std::next(x);
    auto at_the_time = next == known.end() || next->since > from;
    if (at_the_time && (!x->ring || (x->ring->find_bucket(bucket) != nullptr) != there))
      return false;
  }
  return !known.empty() && known.front().since <= from;
}
size_t world::index_of(node_id id) const {
  auto found = impl_->indexes.find(id);
  return found != impl_->indexes.end() ? found->second : nodes();
}

std::vector<world::ownership> world::ownerships(bucket_id bucket, const std::string& key) const {
  std::vector<ownership> result;
  auto partition = protocol::partition_of(key, newest_ring().partitions());
  auto indexes = [this](const std::vector<node_id>& ids) {
    std::vector<size_t> nodes;
    nodes.reserve(ids.size());
    for (auto id : ids)
      nodes.push_back(index_of(id));
    return nodes;
  };
  for (const auto& known : rings()) {
    const auto* b = known.ring->find_bucket(bucket);
    if (b == nullptr)
      continue;
    ownership x{result.empty() ? sim_time{} : known.since, indexes(known.ring->owners_of(partition, b->n)),
                indexes(known.ring->also_written(partition, *b)), b->present()};
    if (result.empty() || result.back().owners != x.owners || result.back().others != x.others ||
        result.back().numbers != x.numbers)
      result.push_back(std::move(x));
  }
  return result;
}

void world::order(size_t node, topology_order what, std::function<void(const std::string& json)> answer) {
  auto& x = impl_->nodes[node];
  if (!x.running)
    return;
  std::string words;
  for (const auto& change : what.changes)
    words += " " + protocol::to_words(change);
  constexpr std::array<const char*, 7> kinds{"show", "plan", "commit", "cancel", "pause", "resume", "force"};
  impl_->note(
      fmt::format("{} is given an order: {}{}", impl_->name(node), kinds[static_cast<size_t>(what.what)], words));
  // Not from within one of its actors.
  auto told = [this, node, life = x.life, answer = std::move(answer)](const std::string& json) {
    impl_->after({}, [this, node, life, answer, json] {
      if (impl_->nodes[node].life != life)
        return;
      impl_->note(fmt::format("{} says {}", impl_->name(node), json.substr(0, 300)));
      answer(json);
    });
  };
  caf::anon_send(x.root, topology_query{std::move(what), std::move(told)});
}

protocol::new_node world::newcomer(size_t node) {
  auto& x = impl_->nodes[node];
  if (x.directory == 0)
    x.directory = impl_->random.next() | 1;
  protocol::new_node n;
  n.name = impl_->name(node);
  n.host = impl_->cluster.nodes[node].host;
  n.peer_port = 7000;
  n.resp_port = 6379;
  n.directory = x.directory;
  return n;
}

void world::retire(size_t node) {
  impl_->die(node);
  impl_->note(impl_->name(node) + " is retired");
  auto& x = impl_->nodes[node];
  x.disk = storage::make_memory_disk();
  x.backup = nullptr;
  x.restored = x.stopped_cleanly = false;
  x.new_id_due = true;
  x.member_by_order = true;
  x.directory = 0;
  impl_->has_ring(node, nullptr);
  x.epoch_synced = 0;
}

const std::map<std::pair<vnode_id, dot>, named_write>& world::writes() const { return impl_->writes; }
const std::set<std::pair<vnode_id, dot>>& world::closed() const { return impl_->closed; }
std::shared_ptr<storage::store> world::store(size_t node) const {
  const auto& x = impl_->nodes[node];
  return x.store ? x.store : std::shared_ptr<storage::store>{storage::open_memory(x.disk)};
}
size_t world::met_by(size_t node) const {
  size_t count = 0;
  const auto* self = newest_ring().find(impl_->name(node));
  for (size_t n = 0; n < nodes() && self != nullptr; ++n)
    if (n != node)
      count += load_handoff_memory(*store(n), newest_ring()).directories.first.count(self->id);
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
