// Keeps this node's vnodes level with those of its peers: tells the peers what it has, mirrors what they tell, and has
// the planner turn the difference into tasks (docs/protocol.md, "Sync").
//
//   tick ──▶ report_request to the shards ──▶ shard_report, once on disk ──▶ sync_state to peers, plan, tasks
//   sync_state from a peer ──▶ mirror; plan and tasks at once only if a vnode waits for its peers
#include "actors/handoff_state.hpp"
#include "protocol/planted.hpp"

namespace crema {

const caf::actor* replica_of(handoff_state& st, node_id node, partition_id partition) {
  auto found = st.replicas.find(node);
  if (found == st.replicas.end() || found->second.empty())
    return nullptr;
  return &found->second[partition % found->second.size()];
}

uint16_t spoken_with(const handoff_state& st, node_id node) {
  auto found = st.peers.find(node);
  return found != st.peers.end() ? found->second.version : st.env->speaks.newest;
}

namespace {

/// How long a write may be on its way and still be accepted: until its coordinator gives it up, which may have stood
/// still until just before that is noticed, and then as long as what it sends is not late; and some time to find that
/// out (docs/protocol.md, "Lost writes").
std::chrono::nanoseconds lost_after(const config::cluster_config& config) {
  return std::max<std::chrono::nanoseconds>(protocol::sync_planner::lost_after_least,
                                            config.write_timeout + silence_max(config) + late_after(config) +
                                                std::chrono::seconds{10});
}

vnode_state_note to_wire(const protocol::vnode_note& note) {
  return {note.id.bucket,
          note.id.partition,
          static_cast<uint8_t>(note.role),
          static_cast<uint8_t>(note.state),
          note.clock.encode(),
          note.born_with_you,
          note.copying};
}

/// Within some rounds: those of different nodes begin at different times.
bool is_recent(handoff_self self, std::optional<caf::actor_clock::time_point> when) {
  constexpr int rounds = 4;
  return when && self->clock().now() - *when <= rounds * self->state.env->config.sync.interval;
}

bool moves(handoff_self self) {
  auto& st = self->state;
  return !st.sessions.empty() || st.repairs_running > 0 || is_recent(self, st.moved);
}

/// Under these names, and handoff_state::scrub_number, numbers are kept on disk.
constexpr const char* directory_number = "directory";
/// By id: a name may be that of another node one day.
std::string met_number(node_id node) { return "met-id/" + std::to_string(to_index(node)); }
std::string met_number_once(const std::string& node) { return "met/" + node; } // So it was kept before.

void send_state(handoff_self self, node_id node, const handoff_state::peer& to, sync_state message) {
  auto& st = self->state;
  message.version = to.version;
  message.epoch = st.epoch_told;
  message.from = st.env->self;
  message.incarnation = st.env->incarnation;
  message.sequence = ++st.sent[node];
  message.asks = st.planner->ask();
  message.answers = to.answers;
  message.bearable = st.budget.share();
  message.moves = moves(self);
  message.waits = waits_for_long(st);
  self->send(to.handoff, std::move(message));
}

/// What has changed for one peer, in messages that a slow link carries; the last one has the times.
void tell(handoff_self self, node_id node, const handoff_state::peer& to) {
  auto& st = self->state;
  auto news = st.planner->take_news(node);
  sync_state message;
  message.full = news.full;
  size_t bytes = 0;
  auto add = [&](vnode_state_note note) {
    bytes += note.clock.size() + 16;
    message.notes.push_back(std::move(note));
    if (bytes < handoff_state::notes_bytes_max)
      return;
    send_state(self, node, to, std::move(message));
    message = {};
    bytes = 0;
  };
  for (const auto& note : news.changed)
    add(to_wire(note));
  for (auto id : news.gone)
    add({id.bucket, id.partition, static_cast<uint8_t>(protocol::vnode_role::none), 0, {}, false, false});
  if (news.directories) {
    message.directory = news.directories->own;
    message.directories_met = std::move(news.directories->first);
  }
  auto earliest = std::min_element(st.shard_latest.begin(), st.shard_latest.end());
  message.latest = *earliest; // 0 until every shard has reported: then it says nothing.
  message.wall_ms = st.env->wall_ms();
  send_state(self, node, to, std::move(message));
}

} // namespace

void keep(handoff_self self, std::string name, uint64_t number) {
  auto& st = self->state;
  self->send(st.replicas[st.env->self].front(), kept_number{std::move(name), number});
}

uint64_t pace(handoff_self self) {
  auto& st = self->state;
  auto share = protocol::sync_budget::whole;
  for (const auto& [node, p] : st.peers)
    if (auto heard = st.heard.find(node); heard != st.heard.end() && is_recent(self, heard->second))
      share = std::min(share, p.bearable);
  return st.budget.rate(share);
}

void ask_for_reports(handoff_self self) {
  auto& st = self->state;
  st.round_wanted = st.reports_due > 0;
  if (st.round_wanted)
    return;
  st.reports_due = st.shard_latest.size();
  st.directories_due = st.directories;
  st.epoch_due = st.ring->epoch;
  for (auto& [node, p] : st.peers)
    p.asked_before = p.asks;
  for (const auto& replica : st.replicas[st.env->self])
    self->send(replica, report_request{*std::max_element(st.shard_latest.begin(), st.shard_latest.end()),
                                       st.planner->newest_peer_time()});
}

namespace {

void tell_all(handoff_self self) {
  for (auto& [node, p] : self->state.peers)
    tell(self, node, p);
}

/// For copies that wait for rounds of their peers: the next one is to come soon, not when its time has come.
void hurry_peers(handoff_self self) {
  auto& st = self->state;
  if (st.hurrying)
    return;
  st.hurrying = true;
  self->delayed_send(self, handoff_state::hurry_interval, resume_session{[self] {
                       auto& s = self->state;
                       s.hurrying = false;
                       for (auto& [node, p] : s.peers)
                         if (s.planner->waits_for_round_of(node))
                           self->send(p.handoff, sync_hurry{p.version, s.env->self});
                     }});
}

/// Own vnodes that are not complete, as far as is known: until the shards have told what they have, none is.
size_t incomplete(const handoff_state& st) {
  if (std::count(st.shard_latest.begin(), st.shard_latest.end(), timestamp{0}) == 0)
    return st.planner->incomplete();
  size_t owned = 0;
  for (const auto& b : st.ring->buckets)
    for (size_t p = 0; p < st.ring->owners.size(); ++p)
      owned += st.ring->owns(st.env->self, static_cast<partition_id>(p), b.n) ? 1 : 0;
  return owned;
}

/// Into the log, each once: it is named until it has been done.
void tell_births(handoff_self self, const std::vector<protocol::birth_task>& births) {
  auto& st = self->state;
  auto is_first = [&st](const auto& birth) { return st.begun_vnodes.insert(birth.vnode).second; };
  auto count = std::count_if(births.begin(), births.end(), is_first);
  if (count > 0)
    st.env->log->info("{} vnodes begin with what their owners have: none that can be reached has them whole", count);
}

} // namespace

void act(handoff_self self) {
  auto& st = self->state;
  auto plan = st.planner->plan(self->clock().now().time_since_epoch());
  const auto& mine = st.replicas[st.env->self];
  auto shard_of = [&](vnode_id id) { return id.partition % mine.size(); };
  std::map<size_t, births> born;
  for (const auto& task : plan.births)
    born[shard_of(task.vnode)].vnodes.push_back(task.vnode);
  for (auto& [shard, message] : born)
    self->send(mine[shard], std::move(message));
  if (!born.empty())
    ask_for_reports(self); // Others wait for it.
  tell_births(self, plan.births);
  std::map<size_t, openings> opened;
  auto some_new = false; // A shard that knows a newer ring refuses, and would again and again.
  for (auto& task : plan.openings) {
    some_new |= st.opened.emplace(task.vnode, task.epoch).second;
    opened[shard_of(task.vnode)].tasks.push_back(std::move(task));
  }
  for (auto& [shard, message] : opened)
    self->send(mine[shard], std::move(message));
  if (some_new)
    ask_for_reports(self);
  std::map<size_t, settlement> settled;
  for (auto& task : plan.settles)
    settled[shard_of(task.vnode)].tasks.push_back(std::move(task));
  for (auto& [shard, message] : settled) {
    message.expired_ms = plan.expired_ms;
    self->send(mine[shard], std::move(message));
  }
  for (auto& task : plan.closings) {
    auto shard = shard_of(task.vnode);
    self->send(mine[shard], closing{std::move(task)});
  }
  for (auto& task : plan.drops) {
    auto shard = shard_of(task.vnode);
    self->send(mine[shard], drop_temporary{std::move(task)});
  }
  st.refills_due.assign(plan.refills.begin(), plan.refills.end());
  st.catch_ups_due.assign(plan.catch_ups.begin(), plan.catch_ups.end());
  start_sessions(self);
  if (st.planner->copies_wait())
    hurry_peers(self);
  if (std::exchange(st.incomplete, incomplete(st)) != st.incomplete)
    self->send(st.root, vnodes_incomplete{st.incomplete});
}

namespace {

/// Keeps which directory a node has, if it is the first one of it.
void note_directory(handoff_self self, node_id node, uint64_t directory) {
  auto& st = self->state;
  if (!st.directories.first.emplace(node, directory).second)
    return;
  keep(self, met_number(node), directory);
  ask_for_reports(self); // Births wait until it is known to be met.
}

/// Of what the shards have told, which is on disk.
void tell_moves(handoff_self self) {
  auto& st = self->state;
  if (!st.ring_manager || st.epoch_told != st.ring->epoch)
    return;
  auto moving = st.planner->moving();
  self->send(st.ring_manager, move_progress{{st.epoch_told, moving.to_get, moving.got, moving.former},
                                            st.planner->bound_by(),
                                            st.planner->directories(),
                                            st.planner->first_met()});
}

void on_report(handoff_self self, shard_report& report) {
  auto& st = self->state;
  for (auto id : report.gone) // First: it may have come again since.
    st.planner->remove_own(id);
  for (auto& [note, facts] : report.changed)
    st.planner->set_own(std::move(note), facts);
  st.shard_latest[report.shard] = std::max<timestamp>(report.latest, 1);
  auto earliest = *std::min_element(st.shard_latest.begin(), st.shard_latest.end());
  if (earliest != 0)
    st.planner->set_own_time(earliest, st.env->wall_ms());
  note_report(self, report.shard);
  if (--st.reports_due > 0)
    return;
  st.planner->set_directories(st.directories_due);
  for (auto& [node, p] : st.peers)
    p.answers = p.asked_before;
  st.epoch_told = st.epoch_due;
  tell_all(self);
  tell_moves(self);
  act(self);
  if (st.round_wanted)
    ask_for_reports(self);
}

void on_state(handoff_self self, const sync_state& x) {
  auto& st = self->state;
  auto found = st.peers.find(x.from);
  if (!st.env->speaks.include(x.version) || found == st.peers.end())
    return;
  auto& p = found->second;
  auto next = x.incarnation == p.incarnation && x.sequence == p.received + 1;
  if (x.incarnation == p.incarnation && x.sequence <= p.received)
    return; // A repetition.
  if (!x.full && !next) {
    self->send(p.handoff, sync_resend{p.version, st.env->self});
    return;
  }
  p.incarnation = x.incarnation;
  p.received = x.sequence;
  p.asks = x.asks;
  p.bearable = x.bearable;
  if (x.moves)
    p.moved = self->clock().now();
  if (x.waits)
    st.planner->gaps_may_fill();
  if (x.full)
    st.planner->begin_mirror(x.from, x.incarnation);
  for (const auto& n : x.notes) {
    vnode_id id{n.bucket, n.partition};
    if (n.role == static_cast<uint8_t>(protocol::vnode_role::none)) {
      st.planner->remove_peer(x.from, id);
      continue;
    }
    auto clock = protocol::dot_clock::decode(n.clock);
    if (!clock || n.role > static_cast<uint8_t>(protocol::vnode_role::none) ||
        n.state > static_cast<uint8_t>(protocol::vnode_state::catching_up)) {
      st.env->log->error("{} sent the state of a vnode that does not decode: bucket {} partition {}",
                         st.env->name_of(x.from), n.bucket, n.partition);
      continue;
    }
    st.planner->set_peer(x.from,
                         {id, static_cast<protocol::vnode_role>(n.role), static_cast<protocol::vnode_state>(n.state),
                          std::move(*clock), n.born_with_you, n.copying});
  }
  if (x.directory != 0) {
    st.planner->set_peer_directories(x.from, {x.directory, x.directories_met});
    note_directory(self, x.from, x.directory);
  }
  if (x.latest != 0) {
    st.planner->set_peer_time(x.from, x.latest, x.wall_ms, x.answers, x.epoch);
    st.heard[x.from] = self->clock().now();
  }
  // What a peer has and we lack is mostly under way to us; what is still lacking after the next report is not. Only
  // who is new, or waits for others, has no time to lose.
  if (x.full || st.planner->incomplete() > 0)
    act(self);
}

/// What clients have felt since the last round decides how fast the background goes on.
void weigh_load(handoff_self self) {
  auto& st = self->state;
  auto working = moves(self) || std::any_of(st.peers.begin(), st.peers.end(),
                                            [&](const auto& p) { return is_recent(self, p.second.moved); });
  st.budget.on_foreground(st.load.took.tail(), st.load.took.count(), working);
  st.load = {};
}

void on_linked(handoff_self self, const peer_linked& x) {
  auto& st = self->state;
  st.replicas[x.node] = x.handles.replicas;
  st.peers[x.node] = {};
  auto& p = st.peers[x.node];
  p.handoff = x.handles.handoff;
  p.version = x.version;
  if (protocol::planted(protocol::bug::numbers_anew))
    st.sent.erase(x.node);
  st.planner->linked(x.node);
  tell(self, x.node, p);
  ask_for_reports(self); // What is newer than the last round.
}

std::map<std::string, uint64_t> counters(handoff_self self) {
  const auto& st = self->state;
  auto age = st.planner->oldest_difference(self->clock().now().time_since_epoch());
  std::map<std::string, uint64_t> all{
      {"repairs_done", st.repairs_done},
      {"repairs_failed", st.repairs_failed},
      {"repairs_dropped", st.repairs_dropped},
      {"repairs_waiting", st.repairs.size() + st.repairs_running},
      {"repaired_dots", st.repaired_dots},
      {"catch_ups", st.catch_ups},
      {"refills", st.refills},
      {"syncs_failed", st.sessions_failed},
      {"syncs_running", st.sessions.size()},
      {"sync_bytes_per_s_max", pace(self)},
      {"bytes_caught_up", st.bytes_caught_up},
      {"bytes_handed_over", st.bytes_handed_over},
      {"bytes_refilled", st.bytes_refilled},
      {"bytes_read_repaired", st.bytes_read_repaired},
      {"bytes_scrubbed", st.bytes_scrubbed},
      {"hint_writes_nowhere_else", st.planner->only_on_fallbacks()},
      {"oldest_difference_ms", static_cast<uint64_t>(age / std::chrono::milliseconds{1})},
      {"vnodes_incomplete", incomplete(st)},
      {"scrub_keys", st.scrub_keys},
      {"scrub_ranges", st.scrub_ranges},
      {"scrub_differences", st.scrub_differences},
      {"scrub_repaired", st.scrub_repaired},
      {"scrub_busy", st.scrub_busy},
      {"scrub_errors", st.scrub_errors}};
  uint64_t behind = 0;
  for (const auto& [node, p] : st.peers)
    behind = std::max(behind, st.planner->dots_behind(node));
  all["dots_behind"] = behind;
  return all;
}

stats statistics_of(handoff_self self) {
  const auto& st = self->state;
  stats result{counters(self), st.planner->hints(), {}};
  for (const auto& m : st.ring->members) {
    if (m.id == st.env->self)
      continue;
    stats::peer p;
    p.id = m.id;
    if (auto heard = st.heard.find(m.id); heard != st.heard.end())
      p.heard = std::chrono::duration_cast<std::chrono::milliseconds>(self->clock().now() - heard->second);
    p.behind = st.planner->is_linked(m.id) ? st.planner->dots_behind(m.id) : 0;
    p.ahead = st.planner->dots_ahead(m.id);
    result.peers.push_back(p);
  }
  return result;
}

/// So that whoever wonders why something is not served sees whom to bring back.
void tell_who_is_missed(handoff_self self) {
  auto& st = self->state;
  auto now = self->clock().now();
  auto incomplete = st.planner->incomplete();
  if (incomplete == 0 || !st.refilling.empty())
    st.missed_since = now;
  if (now - st.missed_since < handoff_state::missed_interval)
    return;
  st.missed_since = now;
  std::string names;
  for (const auto& m : st.ring->members)
    if (m.id != st.env->self && !st.planner->is_linked(m.id))
      names += (names.empty() ? "" : ", ") + m.name;
  if (!names.empty())
    st.env->log->warn("{} vnodes are not complete: members that cannot be reached may have what they lack: {}",
                      incomplete, names);
}

/// So that whoever waits for a node that lost its disk sees it go on.
void tell_progress(handoff_self self) {
  auto& st = self->state;
  auto now = self->clock().now();
  if (st.refilling.empty() || now - st.progress_told < handoff_state::progress_interval)
    return;
  st.progress_told = now;
  st.env->log->info("{} vnodes are not complete yet; {} are being copied; {} have been since the start, {} MB",
                    st.planner->incomplete(), st.refilling.size(), st.refills_done, st.bytes_refilled >> 20);
}

/// A process that stands still, or a page that is on its way for long, may bring what a gap is to be closed for.
void look_for_delays(handoff_self self) {
  auto& st = self->state;
  auto now = self->clock().now();
  auto limit = now - silence_max(st.env->config);
  auto stood_still = std::exchange(st.ticked, now) < limit;
  auto silent = std::any_of(st.peers.begin(), st.peers.end(), [&](const auto& p) {
    auto heard = st.heard.find(p.first);
    return heard == st.heard.end() || heard->second < limit;
  });
  if (stood_still || silent || waits_for_long(st))
    st.planner->gaps_may_fill();
}

caf::behavior handoff(handoff_self self, const env_ptr& env, std::vector<caf::actor> local_replicas, caf::actor root,
                      handoff_memory memory) {
  auto& st = self->state;
  st.env = env;
  drop_unexpected(self, env);
  st.ring = env->first_ring;
  st.root = std::move(root);
  st.shard_latest.assign(local_replicas.size(), 0);
  st.replicas[env->self] = std::move(local_replicas);
  st.planner = std::make_unique<protocol::sync_planner>(env->self, st.ring, lost_after(env->config));
  st.budget = protocol::sync_budget{uint64_t{env->config.sync.mb_per_s_max} << 20};
  st.scrubbed_ms = memory.scrubbed_ms;
  st.directories = std::move(memory.directories);
  schedule_scrub(self);
  st.ticked = st.missed_since = self->clock().now();
  note_directory(self, env->self, st.directories.own);
  self->send(self, tick{});
  return {
      [self](tick) {
        self->state.resting.clear();
        forget_sync_points(self);
        look_for_delays(self);
        ask_again(self);
        tell_progress(self);
        tell_who_is_missed(self);
        ask_for_reports(self);
        weigh_load(self);
        begin_scrub_if_due(self);
        self->delayed_send(self, self->state.env->config.sync.interval, tick{});
      },
      [self](shard_report& report) { on_report(self, report); },
      [self](const sync_state& x) { on_state(self, x); },
      [self](const sync_resend& x) {
        auto found = self->state.peers.find(x.from);
        if (!self->state.env->speaks.include(x.version) || found == self->state.peers.end())
          return;
        self->state.planner->tell_all(x.from);
        tell(self, x.from, found->second);
      },
      [self](const sync_hurry& x) {
        if (self->state.env->speaks.include(x.version))
          ask_for_reports(self);
      },
      [self](const foreground_load& x) { self->state.load.took.add(x.took); },
      [](const resume_session& x) { x.next(); },
      [self](repair_wanted& wanted) { want_repair(self, std::move(wanted)); },
      [self](const peer_linked& x) { on_linked(self, x); },
      [self](const peer_unlinked& x) {
        self->state.replicas.erase(x.node);
        self->state.peers.erase(x.node);
        self->state.planner->unlinked(x.node);
        stop_waiting_for(self, x.node);
      },
      [self](const peer_time& x) { self->state.times[x.node] = x.time; },
      [self](const ring_published& x) {
        auto& s = self->state;
        s.ring_manager = caf::actor_cast<caf::actor>(self->current_sender());
        s.ring = x.ring;
        s.planner->on_ring(x.ring);
        s.refills_due.clear(); // They may not be wanted any more; those that are come with the next plan.
        ask_for_reports(self);
      },
      [self](stats_request) { return statistics_of(self); },
      [self](const vnode_query& x) {
        vnode_standings result{self->state.planner->standings(x.vnode), {}};
        for (const auto& [node, heard] : self->state.heard)
          result.told[node] = std::chrono::duration_cast<std::chrono::milliseconds>(self->clock().now() - heard);
        return result;
      },
      [self](const repair_query& x) { answer_repair(self, x); },
      [self](const sync_point_query& x) { answer_sync_point(self, x); },
      [self](stop_request) { self->quit(caf::exit_reason::user_shutdown); },
  };
}

} // namespace

directory_id own_directory(storage::store& store, uint64_t fresh, bool restored) {
  auto stored = store.get_meta(directory_number);
  if (!stored.what.ok())
    return {0, stored.what.error};
  if (stored.object && !restored) {
    protocol::byte_reader in{*stored.object};
    if (auto id = in.u64(); in.finished() && id != 0)
      return {id, {}};
    return {0, "the stored id of the data directory does not decode"};
  }
  std::string bytes;
  protocol::byte_writer{bytes}.u64(fresh);
  auto batch = store.make_batch();
  batch->put_meta(directory_number, bytes);
  auto written = store.write(*batch);
  if (written.ok())
    written = store.sync();
  return {fresh, written.error};
}

handoff_memory load_handoff_memory(const storage::store& store, const protocol::ring& ring) {
  handoff_memory memory;
  auto load = [&](const std::string& name) -> std::optional<uint64_t> {
    auto stored = store.get_meta(name);
    if (!stored.what.ok())
      memory.error = stored.what.error;
    if (!stored.object)
      return std::nullopt;
    protocol::byte_reader in{*stored.object};
    auto number = in.u64();
    if (!in.finished())
      memory.error = fmt::format("the stored number \"{}\" does not decode", name);
    return number;
  };
  auto is_first_of_its_name = [&ring](const protocol::member& m) {
    return std::none_of(ring.removed.begin(), ring.removed.end(), [&m](const auto& r) { return r.name == m.name; });
  };
  memory.scrubbed_ms = load(handoff_state::scrub_number);
  memory.directories.own = load(directory_number).value_or(0);
  for (const auto& m : ring.members)
    if (auto met = load(met_number(m.id)))
      memory.directories.first.emplace(m.id, *met);
    else if (auto once = is_first_of_its_name(m) ? load(met_number_once(m.name)) : std::nullopt)
      memory.directories.first.emplace(m.id, *once);
  return memory;
}

caf::actor spawn_handoff(caf::actor_system& system, env_ptr env, std::vector<caf::actor> local_replicas,
                         caf::actor root, handoff_memory memory) {
  return system.spawn(handoff, std::move(env), std::move(local_replicas), std::move(root), std::move(memory));
}

} // namespace crema
