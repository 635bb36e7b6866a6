// The newest ring: has the next one agreed on, keeps it on disk, and tells everybody (docs/topology.md).
//
//   decided ──▶ on disk ──▶ replicas ──▶ (all refuse older requests) ──▶ all others, peers by heartbeat
//
// What nodes tell of their progress comes in through handoff (of this one) and gossiper (of peers); the member with the
// lowest id that is up proposes the step that follows from it.
#include "actors/ring_manager.hpp"

#include "actors/errors.hpp"
#include "actors/handshake.hpp"
#include "protocol/planted.hpp"
#include "protocol/ring_encoding.hpp"
#include "protocol/topology_force.hpp"
#include "protocol/topology_plan.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>

namespace crema {

using protocol::agreement;
using protocol::agreement_message;

namespace {

/// What the agreement is about: encoded rings.
class ring_values final : public protocol::agreed_values {
public:
  std::vector<protocol::voter> voters_of(const std::string& value) const override {
    auto ring = protocol::decode_ring(value);
    std::vector<protocol::voter> voters;
    if (!ring)
      return voters;
    for (const auto& m : ring->members)
      if (m.state != protocol::member_state::joining && m.state != protocol::member_state::gone)
        voters.push_back({m.id, ring->epoch == 1 ? 0 : m.directory});
    return voters;
  }
  bool valid_successor(const std::string& before, const std::string& after) const override {
    auto x = protocol::decode_ring(before);
    auto y = protocol::decode_ring(after);
    return x && y && y->epoch == x->epoch + 1 && y->partitions() == x->partitions() && y->next_id >= x->next_id &&
           (x->origin == 0 || x->origin == y->origin);
  }
};

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

struct ring_manager_state : protocol::agreement_outbox {
  static inline constexpr const char* name = "ring_manager";
  static constexpr std::chrono::milliseconds tick_interval{100};

  // Effects of the agreement.
  void send(node_id to, agreement_message m) override {
    if (auto found = peers.find(to); found != peers.end())
      self->send(found->second.ring_manager, to_wire(env->self, found->second.version, m));
  }
  bool persist(const std::string& record) override {
    if (protocol::planted(protocol::bug::vote_unsaved) &&
        protocol::decode_agreement_record(record)->number == newest->epoch)
      return true;
    auto written = save_ring_record(*store, record);
    if (!written.ok())
      env->log->critical("the store failed: {}", written.error);
    return written.ok();
  }
  void decided(uint64_t /*number*/, const std::string& value) override {
    newest = std::make_shared<const protocol::ring>(*protocol::decode_ring(value));
    news = true;
  }
  void attempt_ended(uint64_t request, const protocol::agreement_outcome& outcome) override {
    ended.emplace_back(request, outcome);
  }

  monotonic_time now() const { return self->clock().now().time_since_epoch(); }
  const protocol::ring& ring() const { return *newest; }

  caf::stateful_actor<ring_manager_state>* self = nullptr;
  env_ptr env;
  std::shared_ptr<storage::store> store;
  ring_values values;
  std::unique_ptr<agreement> agreed;
  protocol::ring_ptr newest;    // On disk.
  protocol::ring_ptr published; // To all: every replica has taken it, or a newer one.
  bool news = false;            // `newest` has not been told to the replicas.
  std::vector<caf::actor> replicas, listeners;
  caf::actor gossiper; // One of the listeners.
  std::map<caf::actor_addr, uint64_t> taken;
  struct peer {
    caf::actor ring_manager;
    uint16_t version = message_version_newest;
  };
  std::map<node_id, peer> peers; // Linked ones.
  std::map<node_id, uint64_t> peer_epochs;
  protocol::topology_state state;
  std::map<node_id, protocol::node_usage> usage; // Of this node and of linked ones.
  protocol::move_pace pace;
  static constexpr std::chrono::seconds look_every{1};
  monotonic_time looked{};
  std::map<node_id, uint64_t> first_met; // Data directories: for members that nobody has named yet.
  uint64_t directory = 0;
  bool sealed = false; // Persisted.
  std::vector<std::pair<uint64_t, protocol::agreement_outcome>> ended;
  struct waiting_order {
    std::function<void(std::string)> answer; // Null: it was a step.
    std::string what;
  };
  static constexpr std::chrono::seconds turn_every{3};
  std::optional<monotonic_time> step_seen;  // That one is due.
  std::map<uint64_t, waiting_order> orders; // By attempt.
  uint64_t next_order = 1;
  std::optional<protocol::topology_plan> plan; // The last one that was asked for.
  static constexpr std::chrono::minutes failure_counts{5};
  std::optional<monotonic_time> no_majority; // When an attempt at the next epoch last found none.
  struct candidate {
    protocol::new_node node;
    uint64_t disk_free = 0;
    monotonic_time heard{};
  };
  static constexpr std::chrono::seconds candidate_kept{30}; // It asks again and again while it waits.
  std::map<std::string, candidate> candidates;              // By name.
};
using ring_manager_self = caf::stateful_actor<ring_manager_state>*;

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

std::string never_heard(const ring_manager_state& st);

nlohmann::json outcome_json(const ring_manager_state& st, const protocol::agreement_outcome& x) {
  using result = protocol::agreement_outcome::result;
  if (x.what == result::chosen)
    return {{"epoch", x.number}};
  std::string missing;
  for (const auto& m : x.missing)
    missing += fmt::format("{}{} {}", missing.empty() ? ": " : ", ", st.env->name_of(m.node),
                           m.said ? "cannot vote" : "does not answer");
  switch (x.what) {
  case result::other:
    return error_json(fmt::format("another change was made meanwhile (epoch {}): plan again", x.number));
  case result::no_majority:
    if (auto names = never_heard(st); st.ring().epoch == 1 && !names.empty())
      missing +=
          fmt::format("; {0} was never heard, and before the first change members vote only when almost all have "
                      "met: start {0}, with the file that all have; if it will never be there, force it: crema "
                      "ctl force-epoch remove {0}",
                      names);
    return error_json("nothing was changed: no majority of the members votes" + missing +
                      " (bring them back, try again in some seconds if they have just been started, or see `crema ctl "
                      "force-epoch --help`)");
  case result::unknown:
    return error_json("outcome unknown, the change may still happen: see `crema ctl status`" + missing);
  case result::busy:
    return error_json("another change is being agreed on: try again");
  case result::disk_failed:
    return error_json(st.env->name + " cannot write to its disk");
  default:
    return error_json("refused: this node's version of the change is not one that follows the present epoch");
  }
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

void propose(ring_manager_self self, protocol::ring next, std::string what, std::function<void(std::string)> answer) {
  auto& st = self->state;
  protocol::note_named(st.ring(), next);
  auto id = st.next_order++;
  st.orders[id] = {std::move(answer), std::move(what)};
  st.agreed->propose(id, protocol::encode_ring(next), st.now(), st);
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

// -- Orders -----------------------------------------------------------------------------------------------------------

protocol::planning given(const ring_manager_state& st) {
  protocol::planning result;
  result.origin = st.env->origin;
  result.directories = st.first_met;
  for (const auto& [node, directory] : st.state.directories)
    result.directories[node] = directory;
  result.state = st.state;
  result.bytes = protocol::bytes_per_partition(st.ring(), st.usage);
  return result;
}

uint64_t bytes_per_second_max(const ring_manager_state& st) { return uint64_t{st.env->config.sync.mb_per_s_max} << 20; }

/// Of the members of a plan, those that wait to become some among them.
std::map<node_id, protocol::node_usage> usage_in(const ring_manager_state& st, const protocol::topology_plan& plan) {
  auto usage = st.usage;
  for (const auto& m : plan.after.members)
    if (auto waits = st.candidates.find(m.name); waits != st.candidates.end() && st.ring().find(m.id) == nullptr)
      usage[m.id].disk_free = waits->second.disk_free;
  return usage;
}

nlohmann::json show(const ring_manager_state& st, protocol::topology_plan& plan) {
  auto usage = usage_in(st, plan);
  for (auto& warning : protocol::warn_of_room(plan, usage))
    plan.warnings.push_back(std::move(warning));
  return to_json(plan, st.ring(), usage, bytes_per_second_max(st));
}

/// What a plan says only by name: nodes that wait to become members.
std::string fill_in(const ring_manager_state& st, std::vector<protocol::topology_change>& changes) {
  std::string error;
  auto fill = [&](protocol::new_node& node) {
    if (!node.host.empty())
      return;
    auto found = st.candidates.find(node.name);
    if (found == st.candidates.end()) {
      std::string waiting;
      for (const auto& [name, c] : st.candidates)
        waiting += (waiting.empty() ? "" : ", ") + name;
      error = fmt::format("no node {} waits at {} to become a member: start it with `crema node --config FILE --join "
                          "HOST:PORT`, the address of {} (allowed now: {})",
                          node.name, st.env->name, st.env->name, waiting.empty() ? "none waits" : waiting);
      return;
    }
    auto group = node.group;
    node = found->second.node;
    if (!group.empty())
      node.group = group;
  };
  for (auto& change : changes) {
    if (auto* join = std::get_if<protocol::join_node>(&change))
      fill(join->node);
    else if (auto* replace = std::get_if<protocol::replace_node>(&change))
      fill(replace->by);
  }
  return error;
}

bool gains(const protocol::ring& after, node_id node) {
  for (size_t p = 0; p < after.next.size(); ++p) {
    auto is_in = [node](const auto& row) { return std::find(row.begin(), row.end(), node) != row.end(); };
    if (is_in(after.next[p]) && !is_in(after.owners[p]))
      return true;
  }
  return false;
}

/// Who leaves is waited for until it has handed over what it has, and who gets something until it has that.
void warn_of_absent(const ring_manager_state& st, protocol::topology_plan& plan) {
  for (const auto& m : plan.after.members) {
    if (m.id == st.env->self || st.peers.count(m.id) > 0 || m.state == protocol::member_state::gone)
      continue;
    auto waits = st.ring().find(m.id) == nullptr && st.candidates.count(m.name) > 0;
    if (m.state == protocol::member_state::leaving)
      plan.warnings.push_back(fmt::format("{} cannot be reached from {}: the change is not over before it has handed "
                                          "over what it has. If it is dead for good, say so: remove {}, or replace {} "
                                          "... gone",
                                          m.name, st.env->name, m.name, m.name));
    else if (!waits && gains(plan.after, m.id))
      plan.warnings.push_back(fmt::format("{} cannot be reached from {}: the change is not over before it has got what "
                                          "it is to get. Start it; if it is dead for good, say so: remove {}",
                                          m.name, st.env->name, m.name));
  }
}

/// Members that nobody has ever heard. In epoch 1 they have no name that a vote could count for.
std::string never_heard(const ring_manager_state& st) {
  auto known = given(st).directories;
  std::string names;
  for (const auto& m : st.ring().members)
    if (m.directory == 0 && known.count(m.id) == 0)
      names += (names.empty() ? "" : ", ") + m.name;
  return names;
}

/// Why a ring cannot even be proposed; empty: it can.
/// @param alone it would not help to leave out those that are missing: this node has no vote without them.
std::string not_proposable(const protocol::ring& next, bool alone) {
  std::string names;
  for (const auto& m : next.members)
    if (m.directory == 0 && m.state != protocol::member_state::gone && m.state != protocol::member_state::joining)
      names += (names.empty() ? "" : ", ") + m.name;
  if (names.empty())
    return {};
  return fmt::format("{0} was never heard, so a vote of it could not be told from one of another data directory "
                     "(allowed: start it, and commit again; if it will never be there, {1})",
                     names, alone ? "crema ctl force-epoch remove " + names : "plan to remove it in this change");
}

protocol::force_given given_to_force(const ring_manager_state& st) {
  protocol::force_given result;
  result.plan = given(st);
  result.reachable.insert(st.env->self);
  for (const auto& [node, peer] : st.peers)
    result.reachable.insert(node);
  auto failed_lately = st.no_majority && st.now() - *st.no_majority < ring_manager_state::failure_counts;
  for (const auto& m : st.ring().members) {
    auto runs_with = result.plan.directories.find(m.id);
    auto forgot = st.ring().epoch > 1 && runs_with != result.plan.directories.end() && runs_with->second != m.directory;
    if (result.reachable.count(m.id) > 0 && !forgot && !failed_lately) // Whose votes did not do are no majority.
      result.voting.insert(m.id);
  }
  result.number = [&st](const protocol::ring& draft) { return st.agreed->forced_number(protocol::encode_ring(draft)); };
  return result;
}

/// Shows what it would mean that a majority is gone for good, or if that is confirmed, goes on without.
nlohmann::json force(ring_manager_self self, const topology_order& order) {
  auto& st = self->state;
  std::vector<std::string> lost;
  for (const auto& change : order.changes) {
    const auto* removal = std::get_if<protocol::remove_node>(&change);
    if (removal == nullptr)
      return error_json(fmt::format("{}: cannot be forced (allowed: remove)", protocol::to_words(change)));
    lost.push_back(removal->name);
  }
  auto result = protocol::plan_force(st.ring(), lost, given_to_force(st));
  if (auto* no = std::get_if<protocol::refused>(&result))
    return error_json(no->why);
  auto& plan = std::get<protocol::topology_plan>(result);
  if (!order.confirmed) {
    auto shown = show(st, plan);
    shown["forced"] = lost;
    return shown;
  }
  auto epoch = plan.after.epoch;
  if (*order.confirmed != epoch)
    return error_json(fmt::format("what would be done is not what was shown any more (epoch {}, not {}): look at it "
                                  "again",
                                  epoch, *order.confirmed));
  st.env->log->warn("epoch {} is forced, on the word of an operator: {}", epoch, describe(plan.after));
  if (!st.agreed->force(epoch, protocol::encode_ring(plan.after), st))
    return error_json(st.env->name + " cannot write to its disk");
  return {{"epoch", epoch}};
}

/// A node that wants to become a member: may it, and is it already?
caf::result<join_answer> on_join(ring_manager_self self, const join_request& x) {
  auto& st = self->state;
  const auto& ring = st.ring();
  auto refuse = [&](errc code, const std::string& why) {
    st.env->log->error("refused a node that wants to join: {}", why);
    return make_errc(code, why);
  };
  if (!st.env->speaks.include(x.version))
    return refuse(errc::unknown_version, fmt::format("it speaks messages of version {}, {} those of {}", x.version,
                                                     st.env->name, to_words(st.env->speaks)));
  if (x.cluster != st.env->config.cluster)
    return refuse(errc::not_owner, fmt::format("{} is to join cluster \"{}\", {} belongs to cluster \"{}\"", x.node,
                                               x.cluster, st.env->name, st.env->config.cluster));
  for (const auto& m : ring.removed)
    if (x.directory != 0 && m.directory == x.directory)
      return refuse(errc::removed, fmt::format("{} was removed from the cluster: its data directory must not be used "
                                               "again. Give it an empty data_dir",
                                               m.name));
  join_answer answer;
  answer.version = x.version;
  answer.shape = config::shape_of(st.env->config);
  const auto* member = ring.find(x.node);
  if (member == nullptr) {
    if (x.directory == 0)
      return answer;
    auto fresh = st.candidates.count(x.node) == 0;
    st.candidates[x.node] = {
        {x.node, x.host, x.peer_port, x.resp_port, x.zone, x.weight, x.directory, x.group}, x.disk_free, st.now()};
    if (fresh)
      st.env->log->info("{} at {}:{} waits to become a member: crema ctl plan join {}, then crema ctl commit", x.node,
                        x.host, x.peer_port, x.node);
    return answer;
  }
  if (member->host != x.host || member->peer_port != x.peer_port)
    return refuse(errc::not_owner,
                  fmt::format("{} is the name of a member already, at {}:{}: give the new node another name, or let it "
                              "take that one's place: crema ctl plan replace {} NEW_NAME",
                              x.node, member->host, member->peer_port, x.node));
  st.candidates.erase(x.node);
  answer.ring = protocol::encode_ring(ring);
  return answer;
}

void on_order(ring_manager_self self, topology_query& x) {
  auto& st = self->state;
  auto tell = [&x](const nlohmann::json& json) {
    x.answer(json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  };
  auto commit = [&](protocol::or_refused<protocol::ring> next, std::string what) {
    if (auto* no = std::get_if<protocol::refused>(&next))
      return tell(error_json(no->why));
    propose(self, std::get<protocol::ring>(next), std::move(what), x.answer);
  };
  using kind = topology_order::kind;
  switch (x.order.what) {
  case kind::show:
    return tell(to_json(st.ring(), st.state, st.env->config, st.usage, st.pace));
  case kind::plan: {
    if (auto error = fill_in(st, x.order.changes); !error.empty())
      return tell(error_json(error));
    auto result = protocol::plan_topology(st.ring(), x.order.changes, given(st));
    if (auto* no = std::get_if<protocol::refused>(&result))
      return tell(error_json(no->why));
    st.plan = std::get<protocol::topology_plan>(std::move(result));
    warn_of_absent(st, *st.plan);
    return tell(show(st, *st.plan));
  }
  case kind::commit:
    if (!st.plan)
      return tell(error_json("there is nothing to commit: plan first (`crema ctl plan --help`); a plan is void as soon "
                             "as the epoch changes, and known to the node only that made it"));
    protocol::learn_directories(st.plan->after.members, given(st).directories); // Of who was met after the plan.
    if (auto why = not_proposable(st.plan->after, !st.agreed->may_vote()); !why.empty()) {
      if (!st.agreed->may_vote())
        st.no_majority = st.now();
      return tell(error_json(why));
    }
    return propose(self, st.plan->after, "commit", x.answer);
  case kind::cancel:
    return commit(protocol::cancel_change(st.ring()), "cancel");
  case kind::pause:
    return commit(protocol::pause_change(st.ring(), true), "pause");
  case kind::resume:
    return commit(protocol::pause_change(st.ring(), false), "resume");
  case kind::force:
    return tell(force(self, x.order));
  case kind::drain:
  case kind::undrain:
    return tell(error_json("not an order for the ring manager")); // The node carries it out itself.
  }
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
        if (!m || s.peers.count(x.from) == 0)
          return;
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
          s.send(node, agreement_message{agreement_message::kind::want, s.agreed->number(), {}, {}, {}, 0});
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
        self->state.peers[x.node] = {x.handles.ring_manager, x.version};
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
