// The inside of a world, shared by world.cpp (what others ask of it) and nodes.cpp (how a node lives and dies).
#pragma once

#include "actors/interfaces.hpp"
#include "apps/simulation/event_loop.hpp"
#include "apps/simulation/network.hpp"
#include "apps/simulation/trace_log.hpp"
#include "apps/simulation/world.hpp"
#include "storage/memory_store.hpp"

namespace crema::simulation {

struct world::impl final : network_host {
  struct node {
    std::shared_ptr<storage::memory_disk> disk = storage::make_memory_disk();
    replica_id id = 0;
    bool new_id_due = true;
    bool running = false, paused = false, stopping = false;
    bool stopped_cleanly = false;
    bool restored = false; // Its disk was, from a backup, since it ran last.
    std::shared_ptr<storage::memory_disk> backup;
    uint64_t life = 0; // Counts starts and deaths: odd while running.
    caf::actor root;
    node_children children;
    std::shared_ptr<storage::store> store;
    spoken_versions speaks;           // Since its last start.
    node_id self{};                   // In the ring it was started with.
    bool member_by_order = false;     // Its next disk begins with the ring of another node, not with that of the file.
    uint64_t directory = 0;           // Of the next start with an empty disk; 0: its own affair.
    protocol::ring_ptr ring;          // The newest on its disk.
    std::vector<known_ring> rings;    // That were.
    uint64_t epoch_synced = 0;        // That its disk cannot lose any more.
    std::map<size_t, node_id> linked; // Under which id peers were told to it.
    int64_t wall_offset_micros = 0;
    int64_t drift_ppm = 0;
    sim_time drift_since{};
    std::chrono::milliseconds sync_time{0};
  };
  struct request {
    size_t node;
    reply_fn done;
    lost_fn lost;
  };
  class sink;
  class watcher;

  explicit impl(options o);
  ~impl() override;

  // -- network_host --------------------------------------------------------------------------------------------------
  sim_time now() const override { return loop.now(); }
  void after(sim_time delay, std::function<void()> what) override { loop.after(delay, std::move(what)); }
  bool responsive(size_t n) const override { return nodes[n].running && !nodes[n].paused; }
  bool running(size_t n) const override { return nodes[n].running; }
  bool acquainted(size_t a, size_t b) const override;
  void on_link(size_t viewer, size_t peer) override;
  void on_unlink(size_t viewer, size_t peer, const std::string& why) override;
  void on_malformed(size_t from, size_t to, const caf::message& what, const std::string& why) override;
  void on_delivery(size_t from, size_t to, const caf::strong_actor_ptr& receiver, const caf::message& what) override;

  // -- Nodes (nodes.cpp) ---------------------------------------------------------------------------------------------
  const std::string& name(size_t n) const { return cluster.nodes[n].name; }
  std::string bucket_name(bucket_id id) const;
  void start(size_t n);
  bool knows_nobody(size_t n) const;
  bool has_left(size_t n) const;
  /// An empty disk begins with the ring of another node. @returns false if none that runs knows one that names it.
  bool adopt(size_t n, storage::store& store);
  void die(size_t n);
  void note_ring(protocol::ring ring);
  /// The node's disk has this ring now; null: none.
  void has_ring(size_t n, protocol::ring_ptr ring);
  void on_record(size_t n, const std::string& record);
  void on_sync(size_t n);
  /// Takes the replies of this life of the node.
  std::shared_ptr<reply_sink> make_sink(size_t n);
  void stop(size_t n);
  uint64_t wall_micros(size_t n) const;
  void set_drift(size_t n, int64_t ppm);

  bool run_until(sim_time until);
  /// Runs until the node has answered, or for some seconds. @returns the answer; empty: there was none.
  std::string ask(size_t n, const std::function<void(const caf::actor&, std::function<void(std::string)>)>& send);
  void note_closed(size_t closer, const dot& id, vnode_id vnode);
  void report(violation v);
  void note(const std::string& text) { traced.note(now(), text); }

  options opts;
  config::cluster_config cluster; // With the spares, and all buckets.
  trace_log traced;
  random_stream random;
  event_loop loop;
  network net;
  std::vector<node> nodes;
  std::vector<known_ring> rings;          // By epoch.
  std::map<uint64_t, std::string> values; // By epoch, as agreed on.
  std::map<node_id, size_t> indexes;
  std::map<uint64_t, request> requests;
  uint64_t next_request = 1;
  std::map<std::pair<vnode_id, dot>, named_write> writes;
  std::set<std::pair<vnode_id, dot>> closed;
  std::vector<violation> violations;
  std::function<void(size_t)> ring_written;
};

} // namespace crema::simulation
