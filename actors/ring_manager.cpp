// The newest ring: has the next one agreed on, keeps it on disk, and tells everybody (docs/topology.md).
//
//   decided ──▶ on disk ──▶ replicas ──▶ (all refuse older requests) ──▶ all others, peers by heartbeat
//
// What nodes tell of their progress comes in through handoff (of this one) and gossiper (of peers); the member with the
// lowest id that is up proposes the step that follows from it.
#include "actors/ring_manager_state.hpp"

#include "protocol/planted.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>

namespace crema {

using protocol::agreement;
using protocol::agreement_message;

namespace {

ring_message to_wire(node_id from, uint16_t version, const agreement_message& m) {
  ring_message x;
  x.version = version;
  x.from = from;
  x.what = static_cast<uint8_t>(m.what);
  x.number = m.number;
  x.attempt_round = m.attempt.round;
  x.attempt_source = m.attempt.source;
  x.value = m.value;
  x.answer = static_cast<uint8_t>(m.answer.what);
  x.promised_round = m.answer.promised.round;
  x.promised_source = m.answer.promised.source;
  x.accepted_round = m.answer.accepted.round;
  x.accepted_source = m.answer.accepted.source;
  x.accepted_value = m.answer.value;
  x.directory = m.directory;
  return x;
}

/// @returns nothing if it says what no version known here says.
std::optional<agreement_message> from_wire(const ring_message& x) {
  if (x.what > static_cast<uint8_t>(agreement_message::kind::want) ||
      x.answer > static_cast<uint8_t>(protocol::vote_reply::invalid))
    return std::nullopt;
  agreement_message m;
  m.what = static_cast<agreement_message::kind>(x.what);
  m.number = x.number;
  m.attempt = {x.attempt_round, x.attempt_source};
  m.value = x.value;
  m.answer = {static_cast<protocol::vote_reply>(x.answer),
              {x.promised_round, x.promised_source},
              {x.accepted_round, x.accepted_source},
              x.accepted_value};
  m.directory = x.directory;
  return m;
}

constexpr const char* record_name = "agreement";
constexpr const char* sealed_name = "sealed"; // On disk, since this is persisted: u64 directory.

} // namespace

void ring_manager_state::send(node_id to, agreement_message m) {
  if (auto found = peers.find(to); found != peers.end())
    self->send(found->second.ring_manager, to_wire(env->self, found->second.version, m));
}

bool ring_manager_state::persist(const std::string& record) {
  if (protocol::planted(protocol::bug::vote_unsaved) &&
      protocol::decode_agreement_record(record)->number == newest->epoch)
    return true;
  auto written = save_ring_record(*store, record);
  if (!written.ok())
    env->log->critical("the store failed: {}", written.error);
  return written.ok();
}

void ring_manager_state::decided(uint64_t /*number*/, const std::string& value) {
  newest = std::make_shared<const protocol::ring>(*protocol::decode_ring(value));
  news = true;
}

void ring_manager_state::attempt_ended(uint64_t request, const protocol::agreement_outcome& outcome) {
  ended.emplace_back(request, outcome);
}

namespace {

bool load_sealed(const storage::store& store, uint64_t directory) {
  auto stored = store.get_meta(sealed_name).object.value_or("");
  protocol::byte_reader in{stored};
  return in.u64() == directory && in.finished();
}

/// Those who have bound this node to its directory may be gone for good when it is to vote for the first time.
void seal(ring_manager_state& st) {
  if (st.sealed || st.agreed->number() > 1)
    return;
  std::string bytes;
  protocol::byte_writer{bytes}.u64(st.directory);
  auto batch = st.store->make_batch();
  batch->put_meta(sealed_name, bytes);
  if (auto written = st.store->write(*batch); !written.ok())
    return st.env->log->critical("the store failed: {}", written.error);
  st.sealed = true;
  st.agreed->set_sealed(true);
}

void publish_if_taken(ring_manager_self self) {
  auto& st = self->state;
  auto has_taken = [&st](const caf::actor& r) { return st.taken[r.address()] >= st.newest->epoch; };
  if (st.published == st.newest || !std::all_of(st.replicas.begin(), st.replicas.end(), has_taken))
    return;
  st.published = st.newest;
  for (const auto& listener : st.listeners)
    self->send(listener, ring_published{st.published});
}

/// To be called after whatever may have had effects.
void settle(ring_manager_self self) {
  auto& st = self->state;
  if (std::exchange(st.news, false)) {
    st.env->later_names->learn(*st.newest);
    st.env->log->info("epoch {}: {}", st.newest->epoch, describe(*st.newest));
    st.plan.reset();
    st.no_majority.reset();
    for (const auto& replica : st.replicas)
      self->send(replica, ring_published{st.newest});
    for (const auto& [node, peer] : st.peers) // At once, not when they hear of it.
      st.agreed->heard_number(node, st.peer_epochs[node], st.now(), st);
  }
  for (auto& [request, outcome] : std::exchange(st.ended, {})) {
    auto order = st.orders.find(request);
    if (order == st.orders.end())
      continue;
    auto told = outcome_json(st, outcome);
    if (outcome.what == protocol::agreement_outcome::result::no_majority)
      st.no_majority = st.now();
    if (order->second.answer)
      order->second.answer(told.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    else if (outcome.what != protocol::agreement_outcome::result::chosen)
      st.env->log->debug("{}: {}", order->second.what, told.dump());
    st.orders.erase(order);
  }
  publish_if_taken(self);
}

/// Whose turn is it to propose? So that nobody is in anybody's way the lowest of those that are up begins; who comes
/// after it waits, in case that it cannot.
std::chrono::milliseconds turn(const ring_manager_state& st) {
  auto before = std::count_if(st.ring().members.begin(), st.ring().members.end(), [&st](const auto& m) {
    return m.id < st.env->self && st.peers.count(m.id) > 0 && m.state != protocol::member_state::joining;
  });
  return before * ring_manager_state::turn_every;
}

void step_if_due(ring_manager_self self) {
  auto& st = self->state;
  if (st.agreed->busy() || st.published != st.newest || st.ring().epoch == 1)
    return;
  auto step = protocol::next_step(st.ring(), st.state);
  if (!step)
    return st.step_seen.reset();
  if (!st.step_seen)
    st.step_seen = st.now();
  if (st.now() - *st.step_seen < turn(st))
    return;
  st.step_seen.reset();
  st.env->log->info("proposing epoch {}: {}", step->next.epoch, step->why);
  propose(self, step->next, step->why, nullptr);
}

/// How full is the disk, and how fast does the change go?
void look_around(ring_manager_self self) {
  auto& st = self->state;
  st.looked = st.now();
  if (auto used = st.store->used()) {
    st.usage[st.env->self] = {used->stored, used->disk_free};
    self->send(st.gossiper, own_usage{st.usage[st.env->self]});
  }
  st.pace.note(st.now(), st.ring().epoch, protocol::progress_of(st.ring(), st.state, {}));
}

agreement_message want_newer(const ring_manager_state& st) {
  return {agreement_message::kind::want, st.agreed->number(), {}, {}, {}, 0};
}

/// Who went while it was away, and whose name another node has, is linked under that, and hears nothing.
void tell_former(ring_manager_self self, const ring_message& x) {
  auto& st = self->state;
  auto sender = caf::actor_cast<caf::actor>(self->current_sender());
  if (sender && x.number < st.agreed->number() && st.ring().find(x.from) == nullptr &&
      to_index(x.from) < st.ring().next_id)
    self->send(sender, to_wire(st.env->self, x.version,
                               {agreement_message::kind::decided, st.agreed->number(), {}, st.agreed->value(), {}, 0}));
}

caf::behavior ring_manager(ring_manager_self self, const ring_manager_options& options) {
  auto& st = self->state;
  st.self = self;
  st.env = options.env;
  st.store = options.store;
  st.replicas = options.replicas;
  st.listeners = options.listeners;
  st.gossiper = options.gossiper;
  drop_unexpected(self, st.env);
  st.newest = st.env->first_ring;
  st.agreed = std::make_unique<agreement>(st.env->self, options.directory, st.values, options.record, options.random,
                                          agreement::options{});
  st.directory = options.directory;
  st.sealed = load_sealed(*st.store, st.directory);
  st.agreed->set_sealed(st.sealed);
  st.news = true;
  settle(self);
  self->delayed_send(self, ring_manager_state::tick_interval, tick{});
  return {
      [self](tick) {
        auto& s = self->state;
        s.agreed->on_tick(s.now(), s);
        settle(self);
        step_if_due(self);
        settle(self);
        for (auto c = s.candidates.begin(); c != s.candidates.end();)
          c = s.now() - c->second.heard > ring_manager_state::candidate_kept ? s.candidates.erase(c) : std::next(c);
        if (s.now() - s.looked >= ring_manager_state::look_every)
          look_around(self);
        self->delayed_send(self, ring_manager_state::tick_interval, tick{});
      },
      [self](const ring_message& x) {
        auto& s = self->state;
        auto m = s.env->speaks.include(x.version) ? from_wire(x) : std::nullopt;
        if (!m)
          return;
        if (s.peers.count(x.from) == 0)
          return tell_former(self, x);
        s.agreed->on_message(x.from, *m, s.now(), s);
        settle(self);
      },
      [self](const ring_taken& x) {
        auto& taken = self->state.taken[caf::actor_cast<caf::actor_addr>(self->current_sender())];
        taken = std::max(taken, x.epoch);
        settle(self);
      },
      [self](ring_wanted) {
        auto& s = self->state;
        for (const auto& [node, peer] : s.peers) // Somebody has it.
          s.send(node, want_newer(s));
      },
      [self](const move_progress& x) {
        auto& s = self->state;
        s.state.progress[s.env->self] = x.what;
        s.state.directories = x.directories;
        s.first_met = x.first_met;
        if (x.bound_by >= protocol::seals_needed(s.agreed->voters().size()))
          seal(s);
        self->send(s.gossiper, own_progress{x.what});
      },
      [self](const peer_progress& x) {
        auto& s = self->state;
        s.state.progress[x.node] = x.what;
        s.usage[x.node] = x.usage;
        s.peer_epochs[x.node] = x.epoch;
        s.agreed->heard_number(x.node, x.epoch, s.now(), s);
        settle(self);
      },
      [self](const peer_linked& x) {
        auto& s = self->state;
        s.peers[x.node] = {x.handles.ring_manager, x.version};
        s.send(x.node, want_newer(s)); // It may not take this node for a peer, and tell it nothing by itself.
      },
      [self](const peer_unlinked& x) {
        self->state.peers.erase(x.node);
        self->state.peer_epochs.erase(x.node);
        self->state.usage.erase(x.node);
      },
      [self](const join_request& x) { return on_join(self, x); },
      [self](topology_query& x) {
        on_order(self, x);
        settle(self);
      },
      [self](stats_request) {
        const auto& ring = self->state.ring();
        return stats{{{"epoch", ring.epoch}, {"members", ring.members.size()}}, {}, {}};
      },
      [self](stop_request) { self->quit(caf::exit_reason::user_shutdown); },
  };
}

} // namespace

void propose(ring_manager_self self, protocol::ring next, std::string what, std::function<void(std::string)> answer) {
  auto& st = self->state;
  protocol::note_named(st.ring(), next);
  auto id = st.next_order++;
  st.orders[id] = {std::move(answer), std::move(what)};
  st.agreed->propose(id, protocol::encode_ring(next), st.now(), st);
}

caf::actor spawn_ring_manager(caf::actor_system& system, ring_manager_options options) {
  return system.spawn(ring_manager, std::move(options));
}

storage::status save_ring_record(storage::store& store, const std::string& record) {
  auto batch = store.make_batch();
  batch->put_meta(record_name, record);
  auto written = store.write(*batch);
  return written.ok() ? store.sync() : written;
}

ring_record_result load_ring_record(const storage::store& store) {
  auto stored = store.get_meta(record_name);
  if (!stored.what.ok())
    return {std::nullopt, stored.what.error};
  if (!stored.object)
    return {};
  auto record = protocol::decode_agreement_record(*stored.object);
  if (!record || !protocol::decode_ring(record->value))
    return {std::nullopt, "the stored agreement on the ring does not decode"};
  return {std::move(record), {}};
}

} // namespace crema
