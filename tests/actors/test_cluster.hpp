// Several whole nodes in one actor system under CAF's deterministic scheduler, with virtual time and memory stores.
// Links are plain handles: a node is cut off by taking its links away.
#pragma once

#include "actors/backend.hpp"
#include "actors/handshake.hpp"
#include "actors/interfaces.hpp"
#include "actors/node_setup.hpp"
#include "messages/register.hpp"
#include "protocol/ring_encoding.hpp"
#include "storage/memory_store.hpp"

#include <caf/all.hpp>
#include <caf/scheduler/test_coordinator.hpp>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include <deque>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

namespace crema::test {

struct deterministic_config : caf::actor_system_config {
  deterministic_config() {
    set("scheduler.policy", caf::atom("testing"));
    register_messages(*this);
  }
};

/// Collects replies; one per client.
class inbox final : public reply_sink {
public:
  void deliver(std::vector<client_reply> replies) override {
    for (auto& r : replies)
      received[r.id].push_back(std::move(r));
  }
  std::map<uint64_t, std::vector<client_reply>> received; // By request id: must be one each.
};

class test_cluster {
public:
  using milliseconds = std::chrono::milliseconds;

  struct node_entry {
    caf::actor root;
    welcome handles;
    std::vector<caf::actor> coordinators;
    caf::actor ring_manager;
    std::shared_ptr<storage::memory_disk> disk = storage::make_memory_disk();
    std::string fatal; // Why it died, if it did.
    bool alive = false;
    std::unique_ptr<actor_backend> backend;
    std::chrono::seconds ahead{0}; // Of its wall clock.
  };

  explicit test_cluster(size_t count, std::vector<config::bucket_config> buckets = {}) : system_(config_) {
    cluster.cluster = "test";
    cluster.partitions = 8;
    for (size_t i = 0; i < count; ++i) {
      config::node_config n;
      n.name = "n" + std::to_string(i + 1);
      n.host = "10.0.0." + std::to_string(i + 1);
      cluster.nodes.push_back(n);
    }
    cluster.buckets = std::move(buckets);
    nodes.resize(count);
    for (size_t i = 0; i < count; ++i)
      start(i);
    link_all();
    run_for(milliseconds{500});
  }

  ~test_cluster() {
    for (size_t i = 0; i < nodes.size(); ++i)
      kill(i);
    sched().run();
    sched().clock().cancel_all();
  }

  /// Starts the next node, which the newest ring of node 0 names, on a data directory with this id.
  void join(uint64_t directory) {
    auto i = nodes.size();
    nodes.emplace_back();
    auto store = storage::open_memory(nodes[i].disk);
    auto ring = *protocol::decode_ring(load_ring_record(*storage::open_memory(nodes[0].disk)).record->value);
    std::string bytes;
    protocol::byte_writer{bytes}.u64(directory);
    auto batch = store->make_batch();
    batch->put_meta("directory", bytes);
    if (auto written = store->write(*batch); !written.ok())
      throw std::runtime_error(written.error);
    if (auto error = adopt_ring(*store, ring); !error.empty())
      throw std::runtime_error(error);
    cluster.nodes.push_back(cluster.nodes.front());
    cluster.nodes[i].name = "n" + std::to_string(i + 1);
    start(i);
    link_with_all(i);
  }

  void start(size_t i) {
    auto& n = nodes[i];
    std::shared_ptr<storage::store> store = storage::open_memory(n.disk);
    auto ring = load_or_claim_ring(*store, cluster);
    auto env = make_env(cluster, cluster.nodes[i].name, ring.ring);
    env->own_threads = false;
    env->incarnation = ++incarnations_;
    env->wall_micros = [this, &n] {
      return wall_micros() + static_cast<uint64_t>(std::chrono::microseconds{n.ahead}.count());
    };
    env->log = std::make_shared<spdlog::logger>(env->name, std::make_shared<spdlog::sinks::ostream_sink_mt>(log));
    node_options o;
    o.store = store;
    o.id = 100 + i;
    o.shards = 2;
    o.coordinators = 1;
    o.clocks =
        std::make_shared<const std::vector<std::pair<vnode_id, protocol::dot_clock>>>(store->load_clocks().clocks);
    o.fatal = [&n](const std::string& why) { n.fatal = why; };
    o.spawned = [&n](const node_children& all) {
      n.coordinators = all.coordinators;
      n.ring_manager = all.ring_manager;
    };
    n.root = spawn_node(system_, env, o);
    n.alive = true;
    sched().run();
    n.handles = say_hello(i, hello_from(*env)).value();
    n.backend = std::make_unique<actor_backend>(n.root, n.coordinators);
  }

  nlohmann::json order(size_t i, topology_order what) {
    std::optional<std::string> told;
    nodes[i].backend->topology(std::move(what), [&told](std::string json) { told = std::move(json); });
    for (int tries = 0; tries < 400 && !told; ++tries)
      run_for(milliseconds{50});
    return told ? nlohmann::json::parse(*told) : nlohmann::json{{"error", "no answer"}};
  }
  nlohmann::json order(size_t i, topology_order::kind what) { return order(i, topology_order{what, {}, {}}); }

  caf::expected<welcome> say_hello(size_t to, const hello& h) {
    caf::scoped_actor self{system_};
    auto request = self->request(nodes[to].root, caf::infinite, h);
    sched().run();
    caf::expected<welcome> result{caf::sec::none};
    request.receive([&](const welcome& w) { result = w; }, [&](const caf::error& e) { result = e; });
    return result;
  }

  /// What a replica of the node says to the first operation of a batch.
  errc ask_replica(size_t node, size_t shard, replica_batch batch) {
    caf::scoped_actor self{system_};
    self->send(nodes[node].handles.handles.replicas[shard], std::move(batch));
    run_for(milliseconds{100});
    auto said = errc::timeout;
    self->receive([&](const answer_batch& x) { said = x.answers.front().status; },
                  caf::after(std::chrono::seconds{0}) >> [] {});
    return said;
  }

  void link(size_t from, size_t to) {
    caf::anon_send(nodes[from].root, peer_linked{static_cast<node_id>(to), nodes[to].handles.handles});
  }
  void unlink(size_t from, size_t to) {
    caf::anon_send(nodes[from].root, peer_unlinked{static_cast<node_id>(to), "cut by the test"});
  }
  void link_with_all(size_t i) {
    for (size_t other = 0; other < nodes.size(); ++other)
      if (other != i && nodes[other].alive) {
        link(i, other);
        link(other, i);
      }
  }
  void link_all() {
    for (size_t a = 0; a < nodes.size(); ++a)
      for (size_t b = 0; b < nodes.size(); ++b)
        if (a != b && nodes[a].alive && nodes[b].alive)
          link(a, b);
  }
  /// The process dies: its actors, at once, and its links.
  void kill(size_t i) {
    auto& n = nodes[i];
    if (!n.alive)
      return;
    n.alive = false;
    n.backend.reset();
    for (size_t other = 0; other < nodes.size(); ++other)
      if (other != i && nodes[other].alive)
        unlink(other, i);
    auto gone = n.coordinators;
    gone.insert(gone.end(), n.handles.handles.replicas.begin(), n.handles.handles.replicas.end());
    gone.push_back(n.handles.handles.gossiper);
    gone.push_back(n.handles.handles.handoff);
    gone.push_back(n.ring_manager);
    gone.push_back(n.root);
    for (auto& a : gone)
      caf::anon_send_exit(a, caf::exit_reason::kill);
    n.coordinators.clear();
    n.handles = {};
    n.root = n.ring_manager = nullptr;
    sched().run();
  }

  /// Runs everything, timers included, up to now + `d`.
  void run_for(milliseconds d) {
    auto until = sched().clock().now() + d;
    for (;;) {
      sched().run();
      auto& timers = sched().clock().schedule();
      if (timers.empty() || timers.begin()->first > until)
        break;
      sched().trigger_timeout();
    }
    sched().clock().current_time = until;
  }

  client_reply ask(size_t at, client_request request, milliseconds limit = milliseconds{3000}) {
    auto box = std::make_shared<inbox>();
    request.id = ++requests_;
    auto id = request.id;
    client_batch batch{box, {}};
    batch.requests.push_back(std::move(request));
    nodes[at].backend->submit(std::move(batch));
    sched().run();
    for (auto waited = milliseconds{0}; box->received[id].empty() && waited < limit; waited += milliseconds{10})
      run_for(milliseconds{10});
    auto& got = box->received[id];
    EXPECT_EQ(got.size(), 1U) << "replies to one request";
    return got.empty() ? client_reply{} : got.front();
  }

  uint64_t wall_micros() {
    auto since_start = sched().clock().now().time_since_epoch();
    return 1'700'000'000'000'000 +
           static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(since_start).count());
  }
  caf::scheduler::test_coordinator& sched() {
    return dynamic_cast<caf::scheduler::test_coordinator&>(system_.scheduler());
  }

  config::cluster_config cluster;
  std::deque<node_entry> nodes; // Their addresses stay.
  std::ostringstream log;

private:
  deterministic_config config_;
  caf::actor_system system_;
  uint64_t incarnations_ = 0;
  uint64_t requests_ = 0;
};

inline config::bucket_config bucket(const std::string& name, bucket_id db, conflict_rule rule, durability how,
                                    uint32_t n, uint32_t r, uint32_t w) {
  config::bucket_config b;
  b.name = name;
  b.id = b.db = db;
  b.conflict = rule;
  b.durability = how;
  b.n = n;
  b.r = r;
  b.w = w;
  return b;
}

inline client_request get(std::string key, bucket_id db = 0) {
  client_request r;
  r.what = client_request::kind::get;
  r.bucket = db;
  r.key = std::move(key);
  return r;
}
inline client_request put(std::string key, std::string value, bucket_id db = 0) {
  client_request r;
  r.what = client_request::kind::put;
  r.bucket = db;
  r.key = std::move(key);
  r.value = std::move(value);
  return r;
}
inline client_request remove(std::string key, bucket_id db = 0) {
  client_request r;
  r.what = client_request::kind::remove;
  r.bucket = db;
  r.key = std::move(key);
  r.read_first = true;
  return r;
}
inline std::vector<std::string> values(const client_reply& r) {
  std::vector<std::string> all;
  for (const auto& v : r.values)
    all.push_back(v.value);
  return all;
}

} // namespace crema::test
