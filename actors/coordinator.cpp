#include "actors/interfaces.hpp"
#include "actors/request_desk.hpp"
#include "protocol/planted.hpp"

#include <algorithm>
#include <fmt/format.h>

namespace crema {

// A thin shell around request_desk: batches of client requests in; per flush one message per destination out.
struct coordinator_state : desk_port {
  static inline constexpr const char* name = "coordinator";
  static constexpr size_t ops_per_message_max = 1024;
  static constexpr size_t bytes_per_message_max = size_t{512} << 10; // A slow link must carry one within its timeout.
  static constexpr std::chrono::milliseconds tick_interval{10};
  static constexpr std::chrono::milliseconds load_interval{500};
  static constexpr std::chrono::seconds explain_timeout{1};
  static constexpr std::chrono::seconds count_timeout{30};

  struct outgoing {
    std::vector<replica_op> ops;
    size_t bytes = 0;
    size_t expected = 0; // As many operations as the last message had.
  };
  struct peer {
    bool linked = false;
    bool up = false;
    std::string why = "not linked yet";
    int64_t time = 0;                 // Of its clock, as last heard.
    std::vector<caf::actor> replicas; // By shard.
    std::vector<outgoing> out;        // By shard.
    uint16_t version = 0;             // Of messages.
  };

  void send(node_id to, replica_op op) override {
    auto& p = peers[to_index(to)];
    if (p.replicas.empty())
      return; // Lost between two events; the desk hears of it next.
    auto shard = op.partition % p.replicas.size();
    auto& out = p.out[shard];
    out.bytes += op.key.size() + op.data.size() + op.context.size() + 64;
    if (out.ops.empty())
      out.ops.reserve(out.expected);
    out.ops.push_back(std::move(op));
    if (out.ops.size() >= ops_per_message_max || out.bytes >= bytes_per_message_max)
      send_out(p, shard);
  }
  void reply(const std::shared_ptr<reply_sink>& sink, client_reply r) override {
    if (r.explained == nullptr)
      return deliver(sink, std::move(r));
    auto vnode = r.explained->vnode;
    auto done = [this, sink, r = std::move(r)](const vnode_standings& x) {
      auto told = r;
      auto all = std::make_shared<explanation>(*r.explained);
      explain_standings(x, *all);
      told.explained = std::move(all);
      deliver(sink, std::move(told));
      want_flush();
    };
    self->request(handoff, explain_timeout, vnode_query{vnode}).then(done, [done](const caf::error&) {
      done(vnode_standings{});
    });
  }
  void explain_standings(const vnode_standings& x, explanation& out) const {
    for (auto& row : out.nodes) {
      auto is_this = [&](const protocol::standing& s) { return env->name_of(s.node) == row.front().second; };
      auto found = std::find_if(x.nodes.begin(), x.nodes.end(), is_this);
      if (found == x.nodes.end())
        continue;
      if (found->role == protocol::vnode_role::temporary)
        row.emplace_back("stands_in_with_writes", std::to_string(found->writes));
      else
        row.emplace_back("lacks_writes", std::to_string(found->lacks));
      if (auto told = x.told.find(found->node); told != x.told.end())
        row.emplace_back("told_ms_ago", std::to_string(told->second.count()));
    }
  }
  void deliver(const std::shared_ptr<reply_sink>& sink, client_reply r) {
    for (auto& x : replies) {
      if (x.first == sink) {
        x.second.push_back(std::move(r));
        return;
      }
    }
    replies.emplace_back(sink, std::vector<client_reply>{});
    replies.back().second.push_back(std::move(r));
  }
  void repair(repair_wanted wanted) override { self->send(handoff, std::move(wanted)); }
  void want_ring() override {
    if (ring_manager)
      self->send(ring_manager, ring_wanted{});
  }

  void send_out(peer& p, size_t shard) {
    auto& out = p.out[shard];
    if (out.ops.empty())
      return;
    replica_batch batch;
    batch.version = protocol::planted(protocol::bug::newest_spoken) ? message_version_newest : p.version;
    batch.epoch = ring->epoch;
    batch.from = env->self;
    batch.heard = &p == &peers[to_index(env->self)] ? now().count() : p.time;
    batch.ops = std::move(out.ops);
    out = {{}, 0, batch.ops.size()};
    self->send(p.replicas[shard], std::move(batch));
  }
  void send_all() {
    for (auto& p : peers)
      for (size_t shard = 0; shard < p.out.size(); ++shard)
        send_out(p, shard);
  }
  void flush_all() {
    flush_pending = false;
    send_all();
    for (auto& [sink, batch] : replies)
      sink->deliver(std::move(batch));
    replies.clear();
    if (now() >= load_due) {
      load_due = now() + load_interval;
      if (auto load = desk->take_load(); load.took.count() > 0)
        self->send(handoff, load);
    }
    if (!tick_pending && !desk->idle()) {
      tick_pending = true;
      self->delayed_send(self, tick_interval, tick{});
    }
    if (stopping && desk->idle())
      self->quit(caf::exit_reason::user_shutdown);
  }
  void use(protocol::ring_ptr newer) {
    ring = std::move(newer);
    for (const auto& m : ring->members)
      peer_of(m.id);
  }
  /// It may be linked before this actor knows the ring that names it.
  peer& peer_of(node_id id) {
    if (to_index(id) >= peers.size())
      peers.resize(to_index(id) + size_t{1});
    return peers[to_index(id)];
  }
  void want_flush() {
    if (flush_pending)
      return;
    flush_pending = true;
    self->send(self, flush{});
  }
  protocol::monotonic now() const { return self->clock().now().time_since_epoch(); }

  caf::stateful_actor<coordinator_state>* self = nullptr;
  env_ptr env;
  protocol::ring_ptr ring;
  std::unique_ptr<request_desk> desk;
  caf::actor handoff;
  caf::actor ring_manager; // Who has told a ring; null until then.
  std::vector<peer> peers; // By node index.
  std::vector<std::pair<std::shared_ptr<reply_sink>, std::vector<client_reply>>> replies;
  protocol::monotonic load_due{}; // When handoff is told next how long requests take.
  bool flush_pending = false;
  bool tick_pending = false;
  bool stopping = false;
};
using coordinator_self = caf::stateful_actor<coordinator_state>*;

namespace {

void set_link(coordinator_state& st, node_id node, bool linked, std::vector<caf::actor> replicas, uint16_t version,
              std::string why) {
  auto& p = st.peer_of(node);
  p.linked = linked;
  p.version = version;
  p.replicas = std::move(replicas);
  p.out.clear(); // What waits for dead handles is lost; the desk is told.
  p.out.resize(p.replicas.size());
  p.why = std::move(why);
  if (!linked)
    p.up = false;
  st.desk->on_node(node, p.linked && p.up, p.why);
}

/// One counting of keys over all nodes: for each partition the first owner that is up is asked.
struct counting {
  std::function<void(std::optional<uint64_t>, std::string)> answer;
  size_t waiting = 0;
  uint64_t keys = 0;
  std::string error;

  void add(uint64_t n, std::string problem) {
    keys += n;
    if (!problem.empty())
      error = std::move(problem);
    if (--waiting == 0)
      answer(error.empty() ? std::optional<uint64_t>{keys} : std::nullopt, error);
  }
};

void count_keys(coordinator_self self, const count_query& query) {
  auto& st = self->state;
  const auto* bucket = st.ring->find_bucket(query.bucket);
  if (bucket == nullptr)
    return query.answer(std::nullopt, "no such bucket");
  std::map<std::pair<uint32_t, size_t>, count_request> requests; // By node and shard.
  for (uint32_t p = 0; p < st.ring->partitions(); ++p) {
    auto owners = st.ring->owners_of(static_cast<partition_id>(p), bucket->n);
    auto owner = std::find_if(owners.begin(), owners.end(), [&](node_id o) { return st.peers[to_index(o)].up; });
    if (owner == owners.end())
      return query.answer(std::nullopt, fmt::format("NOQUORUM no owner of partition {} is reachable", p));
    auto& r = requests[{to_index(*owner), p % st.peers[to_index(*owner)].replicas.size()}];
    r.version = st.peers[to_index(*owner)].version;
    r.epoch = st.ring->epoch;
    r.bucket = query.bucket;
    r.partitions.push_back(static_cast<partition_id>(p));
  }
  auto all = std::make_shared<counting>();
  all->answer = query.answer;
  all->waiting = requests.size();
  for (auto& [where, request] : requests)
    self->request(st.peers[where.first].replicas[where.second], coordinator_state::count_timeout, std::move(request))
        .then([all](const count_reply& r) { all->add(r.keys, {}); },
              [all, self](const caf::error& e) { all->add(0, self->system().render(e)); });
}

caf::behavior coordinator(coordinator_self self, const env_ptr& env, std::vector<caf::actor> local_replicas,
                          caf::actor handoff) {
  auto& st = self->state;
  st.self = self;
  st.env = env;
  drop_unexpected(self, env);
  st.handoff = std::move(handoff);
  st.desk = std::make_unique<request_desk>(env, st);
  st.use(env->first_ring);
  st.peer_of(env->self).up = true;
  set_link(st, env->self, true, std::move(local_replicas), env->speaks.newest, {});
  return {
      [self](client_batch& batch) {
        auto& s = self->state;
        auto now = s.now();
        for (auto& request : batch.requests)
          s.desk->on_request(batch.sink, std::move(request), now);
        s.want_flush();
      },
      [self](answer_batch& batch) {
        auto& s = self->state;
        if (!s.env->speaks.include(batch.version) || to_index(batch.from) >= s.peers.size())
          return;
        auto now = s.now();
        s.desk->on_time(now); // After a standstill: what is over does not go on.
        for (auto& a : batch.answers)
          s.desk->on_answer(batch.from, std::move(a), now);
        s.want_flush();
      },
      [self](const repair_done& x) {
        self->state.desk->on_time(self->state.now());
        self->state.desk->on_repaired(x, self->state.now());
        self->state.want_flush();
      },
      [self](flush) { self->state.flush_all(); },
      [self](tick) {
        auto& s = self->state;
        s.tick_pending = false;
        s.desk->on_time(s.now());
        s.want_flush();
      },
      [self](const peer_linked& x) {
        set_link(self->state, x.node, true, x.handles.replicas, x.version, "no heartbeat yet");
        self->state.want_flush();
      },
      [self](const peer_unlinked& x) {
        set_link(self->state, x.node, false, {}, 0, x.why);
        self->state.want_flush();
      },
      [self](const peer_liveness& x) {
        auto& p = self->state.peer_of(x.node);
        p.up = x.up && p.linked;
        p.why = x.why;
        self->state.desk->on_node(x.node, p.up, x.why);
        self->state.want_flush();
      },
      [self](const peer_epoch& x) { self->state.desk->on_epoch(x.node, x.epoch); },
      [self](const peer_notice& x) { self->state.desk->on_drain(x.node, x.drained); },
      [self](const peer_time& x) { self->state.peer_of(x.node).time = x.time; },
      [self](const ring_published& x) {
        auto& s = self->state;
        s.ring_manager = caf::actor_cast<caf::actor>(self->current_sender());
        s.send_all(); // What goes by the ring so far.
        s.use(x.ring);
        s.desk->on_ring(x.ring);
        s.want_flush();
      },
      [self](const count_query& x) { count_keys(self, x); },
      [self](stats_request) {
        return stats{self->state.desk->counters(), {}, {}};
      },
      [self](stop_request) {
        self->state.stopping = true;
        self->state.want_flush();
      },
  };
}

} // namespace

caf::actor spawn_coordinator(caf::actor_system& system, env_ptr env, std::vector<caf::actor> local_replicas,
                             caf::actor handoff) {
  return system.spawn(coordinator, std::move(env), std::move(local_replicas), std::move(handoff));
}

} // namespace crema
