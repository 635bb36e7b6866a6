#include "actors/interfaces.hpp"
#include "protocol/failure_detector.hpp"

namespace crema {

// Heartbeats out, heartbeats in, and the failure detector's verdicts to those who care.
struct gossiper_state {
  static inline constexpr const char* name = "gossiper";
  env_ptr env;
  static constexpr std::chrono::nanoseconds time_told_every = std::chrono::seconds{1};
  struct peer {
    caf::actor gossiper;
    uint16_t version = message_version_newest;
    int64_t time_told = 0;
    uint64_t epoch_told = 0; // To coordinators.
    bool drained = false;    // As told to listeners; the next one as well.
    std::string release;
  };
  std::vector<caf::actor> listeners;  // Of who is up.
  std::vector<caf::actor> time_users; // And of times.
  std::unique_ptr<protocol::failure_detector> detector;
  std::map<node_id, peer> peers; // Linked ones.
  uint64_t epoch = 0;
  protocol::node_progress progress; // Of this node; so are these.
  protocol::node_usage usage;
  bool drained = false;
  caf::actor ring_manager; // Who has told a ring; null until then.
};
using gossiper_self = caf::stateful_actor<gossiper_state>*;

namespace {

protocol::monotonic now(gossiper_self self) { return self->clock().now().time_since_epoch(); }

void publish(gossiper_self self, const std::vector<protocol::failure_detector::change>& changes) {
  auto& st = self->state;
  for (const auto& c : changes) {
    st.env->log->info("{} is {}: {}", st.env->name_of(c.node), c.up ? "up" : "down", c.why);
    for (const auto& listener : st.listeners)
      self->send(listener, peer_liveness{c.node, c.up, c.why});
  }
}

void beat(gossiper_self self, const gossiper_state::peer& peer) {
  heartbeat h;
  h.version = peer.version;
  h.from = self->state.env->self;
  const auto& st = self->state;
  h.epoch = st.epoch;
  h.epoch_taken = st.progress.epoch;
  h.to_get = st.progress.to_get;
  h.got = st.progress.got;
  h.former = st.progress.former;
  h.time = now(self).count();
  h.stored = st.usage.stored;
  h.disk_free = st.usage.disk_free;
  h.drained = st.drained;
  h.release = st.env->release;
  self->send<caf::message_priority::high>(peer.gossiper, h);
}

/// How far a peer is with the ring.
void tell_progress(gossiper_self self, gossiper_state::peer& p, const heartbeat& h) {
  auto& st = self->state;
  if (st.ring_manager)
    self->send(st.ring_manager,
               peer_progress{h.from, h.epoch, {h.epoch_taken, h.to_get, h.got, h.former}, {h.stored, h.disk_free}});
  if (std::tie(p.drained, p.release) != std::tie(h.drained, h.release)) {
    p.drained = h.drained;
    p.release = h.release;
    for (const auto& listener : st.listeners)
      self->send(listener, peer_notice{h.from, h.drained, h.release});
  }
  if (std::exchange(p.epoch_told, h.epoch_taken) == h.epoch_taken)
    return;
  for (const auto& listener : st.listeners)
    self->send(listener, peer_epoch{h.from, h.epoch_taken});
}

/// Not each time: it is rarely looked at, and to be a second out does not matter.
void tell_time(gossiper_self self, node_id node, gossiper_state::peer& p, int64_t time) {
  if (time <= p.time_told || time - p.time_told < gossiper_state::time_told_every.count())
    return;
  p.time_told = time;
  for (const auto& user : self->state.time_users)
    self->send(user, peer_time{node, time});
}

caf::behavior gossiper(gossiper_self self, const env_ptr& env, std::vector<caf::actor> listeners,
                       std::vector<caf::actor> time_users) {
  auto& st = self->state;
  st.env = env;
  drop_unexpected(self, env);
  st.listeners = std::move(listeners);
  st.time_users = std::move(time_users);
  st.epoch = env->first_ring->epoch;
  protocol::failure_detector::options options;
  options.heartbeat_interval = env->config.peers.heartbeat;
  options.silence_max = env->config.peers.suspect_after;
  options.silence_min = env->config.peers.suspect_after / 2;
  st.detector = std::make_unique<protocol::failure_detector>(options);
  self->delayed_send(self, env->config.peers.heartbeat, tick{});
  return {
      [self](tick) {
        auto& s = self->state;
        publish(self, s.detector->tick(now(self)));
        for (auto& [node, peer] : s.peers)
          beat(self, peer);
        self->delayed_send(self, s.env->config.peers.heartbeat, tick{});
      },
      [self](const heartbeat& h) {
        auto& s = self->state;
        auto from = s.peers.find(h.from);
        if (!s.env->speaks.include(h.version) || from == s.peers.end())
          return;
        tell_time(self, h.from, from->second, h.time);
        tell_progress(self, from->second, h);
        publish(self, s.detector->heard(h.from, now(self)));
      },
      [self](const peer_linked& x) {
        auto& s = self->state;
        auto& peer = s.peers[x.node] = {};
        peer.gossiper = x.handles.gossiper;
        peer.version = x.version;
        publish(self, s.detector->linked(x.node, now(self)));
        beat(self, peer); // At once: who comes back is up without waiting for the next tick.
      },
      [self](const peer_unlinked& x) {
        self->state.peers.erase(x.node);
        publish(self, self->state.detector->unlinked(x.node, x.why, now(self)));
      },
      [self](const ring_published& x) {
        auto& s = self->state;
        s.ring_manager = caf::actor_cast<caf::actor>(self->current_sender());
        s.epoch = x.ring->epoch;
        for (auto& [node, peer] : s.peers) // Who is behind asks at once.
          beat(self, peer);
      },
      [self](const own_progress& x) { self->state.progress = x.what; },
      [self](const own_usage& x) { self->state.usage = x.what; },
      [self](const own_drain& x) {
        self->state.drained = x.drained;
        for (auto& [node, peer] : self->state.peers) // Whoever counts on this node, counts on others from now on.
          beat(self, peer);
      },
      [self](stop_request) { self->quit(caf::exit_reason::user_shutdown); },
  };
}

} // namespace

caf::actor spawn_gossiper(caf::actor_system& system, env_ptr env, std::vector<caf::actor> listeners,
                          std::vector<caf::actor> time_users) {
  return system.spawn(gossiper, std::move(env), std::move(listeners), std::move(time_users));
}

} // namespace crema
