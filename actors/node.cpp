#include "actors/interfaces.hpp"

#include "actors/errors.hpp"
#include "actors/handshake.hpp"
#include "actors/ring_manager.hpp"
#include "protocol/ring_encoding.hpp"
#include "protocol/topology_progress.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <random>

namespace crema {

struct node_state {
  static inline constexpr const char* name = "node";
  static constexpr std::chrono::seconds status_timeout{2};

  struct peer {
    bool linked = false;
    bool up = false;
    std::string why = "not linked yet";
    uint64_t epoch = 0;
    bool drained = false;
    std::string release;  // Empty: not known.
    uint16_t version = 0; // Of the messages on the link.
  };
  bool drained = false; // This node.
  bool left = false;    // It is no member any more.
  env_ptr env;
  node_options options;
  std::vector<caf::actor> coordinators, replicas;
  caf::actor ring_manager, gossiper, handoff;
  std::map<node_id, peer> peers; // All members but this node.
  /// Orderly stop: the actors told to stop and not gone yet; then comes the next group.
  std::vector<std::vector<caf::actor>> stop_groups;
  std::set<caf::actor_addr> stopping;
  bool stop_requested = false;
  std::string last_refusal;
  protocol::monotonic started{};
  std::optional<size_t> incomplete; ///< Vnodes that do not serve yet; nothing: not known yet.

  protocol::ring_ptr ring;

  std::vector<caf::actor> listeners() const {
    auto all = coordinators;
    all.push_back(gossiper);
    all.push_back(handoff);
    return all;
  }
  /// Of links: the ring manager too.
  std::vector<caf::actor> link_listeners() const {
    auto all = listeners();
    all.push_back(ring_manager);
    return all;
  }
};
using node_self = caf::stateful_actor<node_state>*;

void drop_unexpected(caf::scheduled_actor* self, const env_ptr& env) {
  self->set_default_handler([env](caf::scheduled_actor* me, caf::message_view& x) -> caf::result<caf::message> {
    env->log->warn("{} got a message that it does not know: {}", me->name(),
                   caf::to_string(x.move_content_to_message()));
    return caf::sec::unexpected_message;
  });
}

caf::error fatal_error(const std::string& why) { return caf::make_error(caf::sec::runtime_error, why); }

namespace {

void spawn_children(node_self self) {
  auto& st = self->state;
  auto& system = self->system();
  const auto& o = st.options;
  auto watched = [self](caf::actor child) {
    self->monitor(child);
    return child;
  };
  auto memory = load_handoff_memory(*o.store, *st.env->first_ring);
  auto directory = own_directory(*o.store, st.env->incarnation, st.env->restored);
  for (size_t i = 0; i < o.shards; ++i)
    st.replicas.push_back(watched(spawn_replica(system, st.env, {o.store, o.id, i, o.shards, o.clocks, directory.id})));
  auto record = load_ring_record(*o.store);
  for (const auto* error : {&memory.error, &directory.error, &record.error})
    if (!error->empty()) {
      st.env->log->critical("the store failed: {}", *error);
      st.options.fatal(*error);
    }
  memory.directories.own = directory.id;
  st.handoff =
      watched(spawn_handoff(system, st.env, st.replicas, caf::actor_cast<caf::actor>(self), std::move(memory)));
  for (size_t i = 0; i < o.coordinators; ++i)
    st.coordinators.push_back(watched(spawn_coordinator(system, st.env, st.replicas, st.handoff)));
  auto hear_liveness = st.coordinators;
  hear_liveness.push_back(caf::actor_cast<caf::actor>(self));
  auto hear_times = st.coordinators;
  hear_times.push_back(st.handoff);
  st.gossiper = watched(spawn_gossiper(system, st.env, hear_liveness, hear_times));
  ring_manager_options ring;
  ring.env = st.env;
  ring.store = o.store;
  ring.directory = directory.id;
  ring.record = record.record.value_or(protocol::agreement_record::first(protocol::encode_ring(*st.env->first_ring)));
  ring.random = [random = std::mt19937_64{st.env->incarnation}]() mutable { return random(); };
  ring.replicas = st.replicas;
  ring.gossiper = st.gossiper;
  ring.listeners = st.listeners();
  ring.listeners.push_back(caf::actor_cast<caf::actor>(self));
  st.ring_manager = watched(spawn_ring_manager(system, std::move(ring)));
}

void stop_next_group(node_self self) {
  auto& st = self->state;
  while (st.stopping.empty() && !st.stop_groups.empty()) {
    for (const auto& a : st.stop_groups.front()) {
      st.stopping.insert(a.address());
      self->send(a, stop_request{});
    }
    st.stop_groups.erase(st.stop_groups.begin());
  }
  if (st.stopping.empty()) {
    st.env->log->info("stopped");
    self->quit(caf::exit_reason::user_shutdown);
  }
}

std::string role_of(const node_state& st, const caf::actor_addr& who) {
  auto is = [&](const caf::actor& a) { return a && a.address() == who; };
  if (is(st.ring_manager))
    return "ring_manager";
  if (is(st.gossiper))
    return "gossiper";
  if (is(st.handoff))
    return "handoff";
  for (const auto& a : st.replicas)
    if (is(a))
      return "replica";
  return "coordinator";
}

void on_child_down(node_self self, const caf::down_msg& down) {
  auto& st = self->state;
  auto reason = self->system().render(down.reason);
  if (st.stopping.erase(down.source) > 0 && (!down.reason || down.reason == caf::exit_reason::user_shutdown))
    return stop_next_group(self);
  // No supervision tree: what a replica or coordinator held in memory cannot be trusted after it died.
  auto why = fmt::format("actor {} died: {}", role_of(st, down.source), reason);
  st.env->log->critical("{}", why);
  st.options.fatal(why);
}

/// Why this hello is not welcome; empty: it is. The same words end up in both logs.
std::string refusal(const node_state& st, const hello& x) {
  const auto& mine = st.env->config;
  if (!common_version(x.versions(), st.env->speaks))
    return no_common_version(x, *st.env);
  if (x.cluster != mine.cluster)
    return fmt::format("{} belongs to cluster \"{}\", {} to cluster \"{}\"", x.node, x.cluster, st.env->name,
                       mine.cluster);
  if (x.node == st.env->name && x.incarnation != st.env->incarnation)
    return fmt::format("two nodes are called {}: every node needs a name of its own", x.node);
  if (x.fingerprint != st.env->fingerprint)
    return fmt::format(
        "{} and {} were started with different configurations (nodes, zones, weights, partitions, buckets): "
        "every host must have the same file",
        x.node, st.env->name);
  return {};
}

/// Who is removed learns that from those that know it, and must not be switched off before they are enough.
bool majority_knows_ring(const node_state& st) {
  return protocol::known_to_majority(*st.ring, [&st](node_id node) {
    auto peer = st.peers.find(node);
    return node == st.env->self ? st.ring->epoch : peer != st.peers.end() ? peer->second.epoch : 0;
  });
}

template <class Promise>
void on_hello(node_self self, const hello& x, Promise promise) {
  auto& st = self->state;
  auto why = refusal(st, x);
  const auto& members = st.ring->members;
  auto member = std::find_if(members.begin(), members.end(), [&](const auto& m) { return m.name == x.node; });
  auto code = errc::not_owner;
  auto no_member = false; // And may stop, unless it knows a newer epoch.
  if (why.empty() && member == members.end()) {
    auto was_here = st.ring->find_removed(x.node) != nullptr;
    why = was_here ? fmt::format("{} was removed from the cluster (as of epoch {})", x.node, st.ring->epoch)
                   : fmt::format("{} is not a member of the cluster as {} knows it (epoch {}): to join, it needs an "
                                 "empty data_dir and --join",
                                 x.node, st.env->name, st.ring->epoch);
    if (was_here && majority_knows_ring(st))
      code = errc::removed;
    else if (was_here)
      why += ", which too few members are known to know: it must not be switched off yet";
    no_member = !was_here || code == errc::removed;
  }
  if (!why.empty()) {
    if (std::exchange(st.last_refusal, why) != why) // It will try again and again.
      st.env->log->log(no_member ? spdlog::level::info : spdlog::level::err, "refused a peer: {}", why);
    promise.deliver(no_member ? make_no_member(code, why, st.ring->epoch) : make_errc(code, why));
    return;
  }
  if (st.options.peer_said_hello && member->id != st.env->self)
    st.options.peer_said_hello(member->id);
  welcome w;
  w.self = hello_from(*st.env);
  w.handles.gossiper = st.gossiper;
  w.handles.handoff = st.handoff;
  w.handles.ring_manager = st.ring_manager;
  w.handles.replicas = st.replicas;
  promise.deliver(w);
}

/// Members that take requests.
std::string others_that_serve(const node_state& st) {
  std::string others;
  for (const auto& m : st.ring->members) {
    auto peer = st.peers.find(m.id);
    if (peer == st.peers.end() || !peer->second.up || peer->second.drained ||
        m.state == protocol::member_state::joining || m.state == protocol::member_state::gone)
      continue;
    auto host = m.host.find(':') == std::string::npos ? m.host : "[" + m.host + "]";
    others += fmt::format("{}{} at {}:{}", others.empty() ? "" : ", ", m.name, host, m.resp_port);
  }
  return others;
}

/// Clients are told whom to ask instead.
void tell_drained(node_self self) {
  auto& st = self->state;
  if (st.options.drained)
    st.options.drained(st.drained ? std::optional{others_that_serve(st)} : std::nullopt);
}

void set_drained(node_self self, bool drained) {
  auto& st = self->state;
  if (std::exchange(st.drained, drained) != drained)
    st.env->log->info(drained ? "drained: clients are sent to others" : "takes requests of clients again");
  self->send(st.gossiper, own_drain{drained});
  tell_drained(self);
}

/// It stops when others say that enough of them know it (on_hello): until then it may have to tell them. Who was
/// about to become a member had no vote, and has nothing to tell; nor has one whose name another node has by now, since
/// that took a majority that knew.
void no_member_any_more(node_self self) {
  auto& st = self->state;
  auto why = fmt::format("{} is no member of the cluster any more (epoch {})", st.env->name, st.ring->epoch);
  const auto* was = st.ring->find_removed(st.env->name);
  if (was == nullptr || was->id != st.env->self || st.ring->find(st.env->name) != nullptr) {
    if (st.options.removed)
      st.options.removed(why);
    return;
  }
  if (!std::exchange(st.left, true))
    st.env->log->warn("{}; this process stops when a majority of the members knows that", why);
  set_drained(self, true);
}

void on_ring(node_self self, protocol::ring_ptr ring) {
  auto& st = self->state;
  st.ring = std::move(ring);
  for (const auto& m : st.ring->members)
    if (m.id != st.env->self)
      st.peers[m.id]; // Down, if it is new.
  for (auto p = st.peers.begin(); p != st.peers.end();)
    p = st.ring->find(p->first) == nullptr && !p->second.linked ? st.peers.erase(p) : std::next(p);
  if (st.options.ring_changed)
    st.options.ring_changed(st.ring);
  if (st.ring->find(st.env->self) == nullptr)
    no_member_any_more(self);
  else if (std::exchange(st.left, false)) // By force, on the word of an operator who did not know.
    set_drained(self, false);
}

nlohmann::json status_json(node_self self) {
  const auto& st = self->state;
  const auto& ring = *st.ring;
  nlohmann::json members = nlohmann::json::array();
  std::map<node_id, size_t> owned, first;
  for (const auto& owners : ring.owners) {
    for (auto o : owners)
      ++owned[o];
    ++first[owners.front()];
  }
  for (const auto& m : ring.members) {
    auto found = st.peers.find(m.id);
    auto here = m.id == st.env->self;
    auto p = found != st.peers.end() ? found->second : node_state::peer{};
    if (here)
      p = {true, true, "this node", ring.epoch, st.drained, st.env->release, st.env->speaks.newest};
    members.push_back({{"name", m.name},
                       {"state", p.up ? "up" : "down"},
                       {"why", p.why},
                       {"host", m.host},
                       {"peer_port", m.peer_port},
                       {"resp_port", m.resp_port},
                       {"zone", m.zone},
                       {"drained", p.drained},
                       {"epoch", p.epoch},
                       {"release", p.release},
                       {"message_version", p.version},
                       {"weight", m.weight},
                       {"partitions", owned[m.id]},
                       {"primaries", first[m.id]}});
  }
  nlohmann::json buckets = nlohmann::json::array();
  for (const auto& b : ring.buckets)
    buckets.push_back(to_json(b, ring.joint()));
  auto up = self->clock().now().time_since_epoch() - st.started;
  return {{"cluster", st.env->config.cluster},
          {"node", st.env->name},
          {"epoch", ring.epoch},
          {"partitions", ring.partitions()},
          {"incarnation", fmt::format("{:016x}", st.env->incarnation)},
          {"uptime_ms", std::chrono::duration_cast<std::chrono::milliseconds>(up).count()},
          {"members", std::move(members)},
          {"buckets", std::move(buckets)}};
}

void on_drain(node_self self, const topology_query& query) {
  auto& st = self->state;
  auto drain = query.order.what == topology_order::kind::drain;
  auto others = others_that_serve(st);
  nlohmann::json told{{"node", st.env->name}, {"drained", drain}, {"others", others}};
  if (st.left)
    told = {{"error", st.env->name + " is no member of the cluster any more (allowed: drain and undrain members)"}};
  else if (drain && others.empty())
    told = {{"error", fmt::format("{} is the only node that takes requests, as far as it knows (allowed: as soon as "
                                  "another one is up, and not drained)",
                                  st.env->name)}};
  else
    set_drained(self, drain);
  query.answer(told.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

/// What operators want to know of sync; of hints the oldest.
void add_sync(nlohmann::json& status, const node_env& env, const protocol::ring& ring, const stats& s) {
  constexpr size_t hints_max = 1000;
  auto hints = nlohmann::json::array();
  auto now_ms = env.wall_ms();
  for (const auto& h : s.hints) {
    if (hints.size() == hints_max)
      break;
    std::string owners;
    for (auto id : h.waits_for)
      owners += (owners.empty() ? "" : ", ") + env.name_of(id);
    const auto* bucket = ring.find_bucket(h.vnode.bucket);
    hints.push_back({{"bucket", bucket != nullptr ? bucket->name : ""},
                     {"partition", h.vnode.partition},
                     {"for", owners},
                     {"writes", h.writes},
                     {"keys", h.keys},
                     {"bytes", h.bytes},
                     {"age_ms", now_ms - std::min(now_ms, h.since_ms)}});
  }
  auto peers = nlohmann::json::array();
  for (const auto& p : s.peers)
    peers.push_back({{"peer", env.name_of(p.id)},
                     {"heard_ms_ago", p.heard ? nlohmann::json(p.heard->count()) : nlohmann::json(nullptr)},
                     {"we_lack", p.behind},
                     {"it_lacks", p.ahead}});
  status["hints"] = std::move(hints);
  status["sync"] = std::move(peers);
}

/// Asks every child for its counters, adds them up by name, and answers when all have answered.
struct gathering {
  nlohmann::json status;
  std::map<std::string, uint64_t> sums;
  size_t waiting = 0;
  std::function<void(std::string)> answer;

  void done() {
    if (--waiting > 0)
      return;
    status["counters"] = sums;
    answer(status.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  }
};

void on_status(node_self self, const status_query& query) {
  auto& st = self->state;
  auto all = std::make_shared<gathering>();
  all->status = status_json(self);
  all->answer = query.answer;
  auto children = st.coordinators;
  children.insert(children.end(), st.replicas.begin(), st.replicas.end());
  children.push_back(st.handoff);
  all->waiting = children.size();
  for (const auto& child : children)
    self->request(child, node_state::status_timeout, stats_request{})
        .then(
            [self, all](const stats& s) {
              for (const auto& [name, value] : s.counters)
                all->sums[name] += value;
              if (!s.peers.empty())
                add_sync(all->status, *self->state.env, *self->state.ring, s);
              all->done();
            },
            [all](const caf::error&) {
              ++all->sums["status_unanswered"]; // Said rather than hidden: an actor is stuck or stopping.
              all->done();
            });
}

/// @param waited long enough for those who are not there.
void become_ready(node_self self, bool waited) {
  const auto& st = self->state;
  auto all_up = std::all_of(st.peers.begin(), st.peers.end(), [](const auto& each) { return each.second.up; });
  if (!waited && (!all_up || st.incomplete != size_t{0}))
    return;
  if (auto ready = std::exchange(self->state.options.ready, nullptr))
    ready();
}

template <class Message>
void tell(node_self self, const std::vector<caf::actor>& listeners, const Message& message) {
  for (const auto& a : listeners)
    self->send(a, message);
}

caf::behavior node(node_self self, env_ptr env, node_options options) {
  auto& st = self->state;
  st.env = std::move(env);
  st.options = std::move(options);
  st.started = self->clock().now().time_since_epoch();
  st.ring = st.env->first_ring;
  for (const auto& m : st.ring->members)
    if (m.id != st.env->self)
      st.peers[m.id] = {};
  drop_unexpected(self, st.env);
  self->set_down_handler([self](caf::down_msg& down) { on_child_down(self, down); });
  spawn_children(self);
  if (st.options.spawned)
    st.options.spawned({st.coordinators, st.replicas, st.gossiper, st.handoff, st.ring_manager});
  self->delayed_send(self, st.options.ready_wait, tick{});
  return {
      [self](const hello& x) -> caf::result<welcome> {
        auto promise = self->make_response_promise<welcome>();
        on_hello(self, x, promise);
        return promise;
      },
      [self](const peer_linked& x) {
        auto& p = self->state.peers[x.node];
        p.linked = true;
        p.why = "no heartbeat yet";
        p.version = x.version;
        p.release.clear(); // Another program may run there.
        tell(self, self->state.link_listeners(), x);
      },
      [self](const peer_unlinked& x) {
        auto& p = self->state.peers[x.node];
        p = {false, false, x.why, p.epoch, false, p.release, 0};
        tell(self, self->state.link_listeners(), x);
        if (self->state.drained)
          tell_drained(self);
      },
      [self](const ring_published& x) { on_ring(self, x.ring); },
      [self](const peer_epoch& x) { self->state.peers[x.node].epoch = x.epoch; },
      [self](const peer_notice& x) {
        self->state.peers[x.node].release = x.release;
        self->state.peers[x.node].drained = x.drained;
        if (self->state.drained)
          tell_drained(self);
      },
      [self](const peer_liveness& x) {
        auto& p = self->state.peers[x.node];
        p.up = x.up && p.linked;
        p.why = x.why;
        if (self->state.drained)
          tell_drained(self);
        become_ready(self, false);
      },
      [self](const vnodes_incomplete& x) {
        self->state.incomplete = x.count;
        become_ready(self, false);
      },
      [self](tick) { become_ready(self, true); },
      [self](const status_query& x) { on_status(self, x); },
      [self](const sync_point_query& x) { self->send(self->state.handoff, x); },
      [self](const repair_query& x) { self->send(self->state.handoff, x); },
      [self](const topology_query& x) {
        using kind = topology_order::kind;
        if (x.order.what == kind::drain || x.order.what == kind::undrain)
          on_drain(self, x);
        else
          self->send(self->state.ring_manager, x);
      },
      [self](stop_soon) { set_drained(self, true); },
      [self](const join_request& x) -> caf::result<join_answer> {
        return self->delegate(caf::actor_cast<caf::typed_actor<caf::replies_to<join_request>::with<join_answer>>>(
                                  self->state.ring_manager),
                              x);
      },
      [self](const count_query& x) { self->send(self->state.coordinators.front(), x); },
      [self](stop_request) {
        auto& s = self->state;
        if (s.stop_requested)
          return;
        s.stop_requested = true;
        // Requests in flight first; then what they need; the stores last.
        s.stop_groups = {s.coordinators, {s.handoff, s.gossiper, s.ring_manager}, s.replicas};
        stop_next_group(self);
      },
  };
}

} // namespace

caf::actor spawn_node(caf::actor_system& system, env_ptr env, node_options options) {
  return system.spawn(node, std::move(env), std::move(options));
}

} // namespace crema
