#include "protocol/sync_planner.hpp"

#include "protocol/planted.hpp"

#include <algorithm>
#include <utility>

namespace crema::protocol {

sync_planner::sync_planner(node_id self, ring_ptr ring, std::chrono::nanoseconds lost_after)
    : self_(self), ring_(std::move(ring)), lost_after_(lost_after) {}

void sync_planner::on_ring(ring_ptr ring) {
  auto before = std::exchange(ring_, std::move(ring));
  for (auto& [id, v] : own_) {
    dirty_.insert(id);
    if (v.born_with)
      for (auto b = v.born_with->begin(); b != v.born_with->end();)
        b = owns(*b, id) ? std::next(b) : v.born_with->erase(b);
    // What others had before they knew of this may not be all that a quorum of the owners acknowledged.
    if (v.asked && ring_->since_of(id.partition) > before->since_of(id.partition))
      v.asked = asked_;
  }
  for (auto& [node, p] : peers_) // Others have to do with a vnode now.
    p.tell_all = p.tell_all || ring_->epoch > before->epoch;
  forget_departed();
}

/// Who is no member any more, and is gone, neither tells nor gets anything again: what it had is not waited for.
void sync_planner::forget_departed() {
  for (auto p = peers_.begin(); p != peers_.end();) {
    if (p->second.linked || ring_->find(p->first) != nullptr) {
      ++p;
      continue;
    }
    for (const auto& [id, note] : p->second.mirror)
      dirty_.insert(id);
    if (!p->second.mirror.empty())
      for (auto& [id, v] : own_)
        v.waiting.reset();
    times_.erase(p->first);
    p = peers_.erase(p);
  }
}

// -- What is known --------------------------------------------------------------------------------------------------

std::vector<node_id> sync_planner::owners_of(vnode_id vnode) const {
  const auto* bucket = ring_->find_bucket(vnode.bucket);
  if (bucket == nullptr || vnode.partition >= ring_->owners.size())
    return {};
  return ring_->owners_of(vnode.partition, bucket->n);
}

std::vector<node_id> sync_planner::holders_of(vnode_id vnode) const {
  const auto* bucket = ring_->find_bucket(vnode.bucket);
  if (bucket == nullptr || vnode.partition >= ring_->owners.size())
    return {};
  return ring_->holders_of(vnode.partition, *bucket);
}

std::vector<node_id> sync_planner::complete_owners(vnode_id vnode) const {
  std::vector<node_id> result;
  auto own = own_.find(vnode);
  for (auto owner : owners_of(vnode)) {
    const auto* note = owner != self_ ? note_of_linked(owner, vnode) : own != own_.end() ? &own->second.note : nullptr;
    if (note != nullptr && note->complete())
      result.push_back(owner);
  }
  return result;
}

std::vector<vnode_id> sync_planner::owned() const {
  std::vector<vnode_id> result;
  for (const auto& [id, v] : own_)
    if (v.note.role == vnode_role::owner)
      result.push_back(id);
  return result;
}

bool sync_planner::owns(node_id node, vnode_id vnode) const {
  const auto* bucket = ring_->find_bucket(vnode.bucket);
  return bucket != nullptr && ring_->owns(node, vnode.partition, bucket->n);
}

bool sync_planner::holds(node_id node, vnode_id vnode) const {
  const auto* bucket = ring_->find_bucket(vnode.bucket);
  return bucket != nullptr && ring_->holds(node, vnode.partition, *bucket);
}

/// Owners hear from each other; a fallback tells owners what it holds for them, and they tell it what they have.
bool sync_planner::shared_with(node_id peer, const peer_state& p, const vnode_note& note) const {
  if (holds(peer, note.id))
    return true;
  auto theirs = p.mirror.find(note.id);
  return note.role == vnode_role::owner && theirs != p.mirror.end() && theirs->second.role == vnode_role::temporary;
}

void sync_planner::changed(vnode_id vnode) {
  dirty_.insert(vnode);
  for (auto& [node, p] : peers_)
    p.news.insert(vnode);
}

void sync_planner::set_own(vnode_note note, vnode_facts facts) {
  auto id = note.id;
  auto& v = own_[id];
  v.note = std::move(note);
  v.facts = facts;
  if (facts.has_graves)
    with_graves_.insert(id);
  else
    with_graves_.erase(id);
  if (v.note.role == vnode_role::owner && v.note.clock.has_gaps())
    with_gaps_.insert(id);
  else
    with_gaps_.erase(id);
  if (!v.note.gives())
    v.behind.clear();
  if (v.note.state != vnode_state::catching_up)
    v.asked.reset();
  else if (!v.asked)
    v.asked = asked_;
  changed(id);
}

void sync_planner::remove_own(vnode_id vnode) {
  own_.erase(vnode);
  with_graves_.erase(vnode);
  with_gaps_.erase(vnode);
  changed(vnode);
}

void sync_planner::linked(node_id peer) {
  auto& p = peers_[peer];
  p.linked = p.tell_all = true;
  p.heard = false;
  p.answered = 0;
  p.directories.own = 0;
}

void sync_planner::unlinked(node_id peer) {
  peers_[peer].linked = false;
  forget_departed();
}

void sync_planner::begin_mirror(node_id peer, uint64_t incarnation) {
  auto& p = peers_[peer];
  p.heard = true;
  auto restarted = std::exchange(p.incarnation, incarnation) != incarnation;
  if (restarted)
    p.directories.own = 0;
  for (const auto& [id, note] : p.mirror)
    dirty_.insert(id);
  p.mirror.clear();
  times_.erase(peer);
  // What it once knew may be lost with its disk, and would be waited for in vain.
  for (auto& [id, v] : own_) {
    v.waiting.reset();
    v.missing.reset();
    if (!v.born_with)
      continue;
    if (restarted)
      v.born_with->erase(peer);
    else if (v.born_with->count(peer) > 0)
      p.news.insert(id);
  }
}

void sync_planner::set_peer(node_id peer, vnode_note note) {
  auto id = note.id;
  auto& p = peers_[peer];
  auto known = p.mirror.find(id);
  if (note.role == vnode_role::temporary && (known == p.mirror.end() || known->second.role != vnode_role::temporary))
    p.news.insert(id); // It has to learn what we have before it can drop its own.
  if (auto own = own_.find(id); own != own_.end()) {
    dirty_.insert(id);
    if (own->second.born_with && note.complete())
      own->second.born_with->erase(peer); // It has begun as well. If it is new once more, it lacks what came since.
  }
  p.mirror[id] = std::move(note);
}

void sync_planner::remove_peer(node_id peer, vnode_id vnode) {
  peers_[peer].mirror.erase(vnode);
  if (own_.count(vnode) > 0)
    dirty_.insert(vnode);
}

void sync_planner::set_peer_time(node_id peer, timestamp latest, uint64_t wall_ms, uint64_t answers, uint64_t epoch) {
  auto& p = peers_[peer];
  p.epoch = epoch;
  if (answers <= asked_)
    p.answered = std::max(p.answered, answers);
  set_time(peer, latest, wall_ms);
}

void sync_planner::set_time(node_id node, timestamp latest, uint64_t wall_ms) {
  auto& t = times_[node];
  t.latest = std::max(t.latest, latest);
  t.wall_ms = wall_ms; // It may go back, and then so must we.
  latest_ms_ = std::max({latest_ms_, wall_ms, to_micros(latest) / 1000});
}

void sync_planner::set_directories(known_directories known) {
  if (known.own == directories_.own && known.first == directories_.first)
    return;
  directories_ = std::move(known);
  for (auto& [node, p] : peers_)
    p.tell_directories = true;
}

void sync_planner::set_peer_directories(node_id peer, const known_directories& known) {
  auto& all = peers_[peer].directories;
  all.own = known.own;
  for (const auto& [node, directory] : known.first)
    if (ring_->find(node) != nullptr)
      all.first.emplace(node, directory);
}

void sync_planner::found_behind(vnode_id vnode, node_id from) {
  auto v = own_.find(vnode);
  if (v == own_.end())
    return;
  v->second.behind.insert(from);
  dirty_.insert(vnode);
}

void sync_planner::found_skewed(vnode_id vnode, node_id from) {
  auto v = own_.find(vnode);
  if (v != own_.end() && v->second.note.state == vnode_state::catching_up)
    found_behind(vnode, from);
}

void sync_planner::refilled(vnode_id vnode) {
  if (auto v = own_.find(vnode); v != own_.end())
    v->second.behind.clear();
}

void sync_planner::failed(vnode_id vnode) {
  auto v = own_.find(vnode);
  if (v != own_.end())
    ++v->second.failures;
}

const vnode_note* sync_planner::mirrored(node_id peer, vnode_id vnode) const {
  auto p = peers_.find(peer);
  if (p == peers_.end())
    return nullptr;
  auto note = p->second.mirror.find(vnode);
  return note == p->second.mirror.end() ? nullptr : &note->second;
}

bool sync_planner::is_linked(node_id peer) const {
  auto p = peers_.find(peer);
  return p != peers_.end() && p->second.linked;
}

/// Null also if the peer is not linked: what it told before may be all it ever will.
const vnode_note* sync_planner::note_of_linked(node_id peer, vnode_id vnode) const {
  return is_linked(peer) ? mirrored(peer, vnode) : nullptr;
}

/// As far as the owner told.
bool sync_planner::has_all(node_id owner, const own_vnode& v) const {
  const auto* note = mirrored(owner, v.note.id);
  return note != nullptr && note->whole() && note->clock.covers(v.note.clock);
}

bool sync_planner::has_news_for(node_id peer, vnode_id vnode, const dot_clock& clock) const {
  const auto* note = mirrored(peer, vnode);
  return note != nullptr && note->gives() && !clock.covers(note->clock);
}

std::optional<sync_planner::times> sync_planner::floor() const {
  times result{UINT64_MAX, UINT64_MAX};
  for (const auto& m : ring_->members) {
    if (planted(bug::absent_forgotten) && m.id != self_ && !is_linked(m.id))
      continue;
    auto t = times_.find(m.id);
    if (t == times_.end())
      return std::nullopt;
    result.latest = std::min(result.latest, t->second.latest);
    result.wall_ms = std::min(result.wall_ms, t->second.wall_ms);
  }
  return result;
}

timestamp sync_planner::newest_peer_time() const {
  timestamp newest = 0;
  for (const auto& [node, t] : times_)
    newest = node == self_ ? newest : std::max(newest, t.latest);
  return newest;
}

// -- What follows from it -------------------------------------------------------------------------------------------

sync_plan sync_planner::plan(std::chrono::nanoseconds now) {
  sync_plan out;
  auto all = floor();
  out.expired_ms = all ? all->wall_ms : 0;
  auto look_at = dirty_;
  look_at.insert(with_graves_.begin(), with_graves_.end());
  look_at.insert(with_gaps_.begin(), with_gaps_.end());
  for (auto id : look_at) {
    auto found = own_.find(id);
    if (found == own_.end()) {
      dirty_.erase(id);
      continue;
    }
    auto& v = found->second;
    if (ring_->find_bucket(id.bucket) == nullptr)
      continue; // The shard knows another ring.
    bool done = v.note.role == vnode_role::temporary ? plan_temporary(v, out)
                : is_whole(v.note.state)             ? plan_owner(v, out)
                                                     : plan_incomplete(v, out);
    plan_meeting(v);
    done = done && (!v.meets || v.meets->met);
    if (v.note.whole())
      plan_settling(v, all, out);
    plan_closing(v, now, out);
    if (v.note.role == vnode_role::owner)
      note_difference(v, now);
    if (done)
      dirty_.erase(id);
    else
      dirty_.insert(id);
  }
  return out;
}

/// @returns whether nothing is left to do until something changes; likewise below.
bool sync_planner::plan_owner(own_vnode& v, sync_plan& out) {
  bool all_known = true;
  auto before = out.catch_ups.size();
  std::optional<node_id> source;
  for (const auto& [node, p] : peers_) {
    if (!p.linked || !has_news_for(node, v.note.id, v.note.clock))
      continue;
    all_known = false;
    if (v.behind.count(node) == 0)
      out.catch_ups.push_back({v.note.id, node});
    if (mirrored(node, v.note.id)->complete())
      source = node;
  }
  auto first = out.catch_ups.begin() + static_cast<std::ptrdiff_t>(before);
  if (first != out.catch_ups.end()) // One at a time is begun.
    std::rotate(first, first + static_cast<std::ptrdiff_t>(v.turn(static_cast<size_t>(out.catch_ups.end() - first))),
                out.catch_ups.end());
  // A copy only when nobody's log is left to learn from; of whom it does not matter.
  auto needs_copy = !all_known && out.catch_ups.size() == before && source;
  if (needs_copy)
    out.refills.push_back({v.note.id, *source, true});
  if (all_known)
    v.behind.clear();
  if (v.note.state != vnode_state::catching_up)
    return all_known;
  if (!needs_copy && has_met_enough(v, v.asked, others_needed(v.note.id)))
    out.openings.push_back({v.note.id, v.note.clock, ring_->since_of(v.note.id.partition)});
  return false;
}

/// How many owners a write needs: all, where there are fewer than W.
uint32_t sync_planner::w_of(vnode_id vnode) const {
  return std::min(ring_->find_bucket(vnode.bucket)->w, static_cast<uint32_t>(owners_of(vnode).size()));
}

bool sync_planner::enough_in_reach(vnode_id vnode, bool majority) const {
  const auto& bucket = *ring_->find_bucket(vnode.bucket);
  auto enough = [&](const std::vector<node_id>& nodes, size_t w) {
    auto needed = std::max(std::min(w, nodes.size()), majority ? nodes.size() / 2 + 1 : 0);
    auto reached = std::count_if(nodes.begin(), nodes.end(), [this](auto n) { return n == self_ || is_linked(n); });
    return static_cast<size_t>(reached) >= needed;
  };
  auto to_be = ring_->joint() ? ring_->also_written(vnode.partition, bucket) : std::vector<node_id>{};
  return enough(owners_of(vnode), bucket.w) && (to_be.empty() || enough(to_be, bucket.beside().w));
}

/// How many other owners have to be met to find each write that W owners have acknowledged, W - 1 of them perhaps here
/// and lost.
uint32_t sync_planner::others_needed(vnode_id vnode) const {
  auto n = static_cast<uint32_t>(owners_of(vnode).size());
  auto most = owns(self_, vnode) ? n - 1 : n;
  return std::min(n - std::min(n, ring_->find_bucket(vnode.bucket)->w) + 1, most);
}

/// What else a peer tells may be older than the question, by as much as a slow link holds back.
bool sync_planner::has_told_since(node_id peer, std::optional<uint64_t> asked, uint64_t epoch) const {
  auto p = peers_.find(peer);
  return p != peers_.end() && asked && p->second.answered > *asked &&
         (p->second.epoch >= epoch || planted(bug::knew_not));
}

/// The epoch that others must know when they tell what they have, for a copy to be opened: that of the last change of
/// the vnode's owners, and of the naming of this node's data directory. Before it is named, what this node has
/// forgotten may be a newer epoch; nothing: it waits for that.
std::optional<uint64_t> sync_planner::epoch_to_know(vnode_id vnode) const {
  auto since = ring_->since_of(vnode.partition);
  const auto* self = ring_->find(self_);
  if (ring_->epoch <= 1 || self == nullptr)
    return since;
  return self->directory == directories_.own ? std::optional{std::max(since, self->named)} : std::nullopt;
}

bool sync_planner::has_met_enough(const own_vnode& v, std::optional<uint64_t> asked, uint32_t needed) const {
  if (planted(bug::opens_early))
    return true;
  auto epoch = epoch_to_know(v.note.id);
  if (!epoch)
    return false;
  uint32_t met = 0, copies = 0; // Of other copies, unless there is nobody else, each may be counting on the other.
  auto owners = owners_of(v.note.id);
  for (auto owner : owners) {
    const auto* note = note_of_linked(owner, v.note.id);
    if (owner == self_ || note == nullptr || note->role != vnode_role::owner || !note->gives() ||
        !v.note.clock.covers(note->clock) || !has_told_since(owner, asked, *epoch))
      continue;
    ++(note->state == vnode_state::catching_up ? copies : met);
  }
  auto here = owns(self_, v.note.id) ? 1U : 0U;
  return met >= needed || met + copies + here == owners.size();
}

/// Does a change of the bucket's numbers make this node meet the other owners although it has the vnode?
bool sync_planner::owner_must_meet(const bucket& bucket, partition_id partition) const {
  if (!ring_->joint() || !bucket.owners_must_meet() || !ring_->owns(self_, partition, bucket.n))
    return false;
  auto to_be = ring_->also_written(partition, bucket);
  return std::find(to_be.begin(), to_be.end(), self_) != to_be.end();
}

void sync_planner::plan_meeting(own_vnode& v) {
  auto since = ring_->since_of(v.note.id.partition);
  if (!v.note.complete() || !owner_must_meet(*ring_->find_bucket(v.note.id.bucket), v.note.id.partition))
    return v.meets.reset();
  if (!v.meets || v.meets->since != since)
    v.meets = own_vnode::meeting{since, asked_};
  auto others = static_cast<uint32_t>(owners_of(v.note.id).size()) - w_of(v.note.id); // It is complete itself.
  v.meets->met = v.meets->met || has_met_enough(v, v.meets->asked, others);
}

/// What a change that is paused gives to this node, and was not begun to be copied yet.
bool sync_planner::waits_for_resume(vnode_id vnode) const {
  return ring_->joint() && ring_->job && ring_->job->paused && !owns(self_, vnode);
}

bool sync_planner::plan_incomplete(own_vnode& v, sync_plan& out) {
  std::vector<node_id> sources, incomplete;
  std::set<node_id> unsure;
  bool born = false; // With one that told so.
  auto owners = owners_of(v.note.id);
  for (auto owner : holders_of(v.note.id)) {
    const auto* note = owner == self_ ? &v.note : note_of_linked(owner, v.note.id);
    if (note == nullptr || note->role != vnode_role::owner)
      continue;
    if (note->complete())
      sources.push_back(owner);
    if (!owns(owner, v.note.id))
      continue; // It waits for owners.
    if (!note->complete())
      incomplete.push_back(owner);
    if (note->state == vnode_state::unsure)
      unsure.insert(owner);
    born |= note->complete() && note->born_with_you;
  }
  if (born && v.note.state == vnode_state::unsure && owns(self_, v.note.id))
    out.births.push_back({v.note.id});
  else if (!sources.empty() && waits_for_resume(v.note.id))
    return false;
  else if (!sources.empty())
    out.refills.push_back({v.note.id, sources[v.turn(sources.size())], false});
  else if (v.note.state == vnode_state::unsure && unsure.count(self_) > 0 &&
           unsure.size() >= needed_for_birth(v.note.id) &&
           !may_be_missed(incomplete, owners.size() - incomplete.size(), w_of(v.note.id))) {
    out.births.push_back({v.note.id});
    if (!v.born_with) // Else it is being born.
      v.born_with = std::move(unsure);
  }
  return false;
}

/// How many owners must be unsure before the vnode may begin with what they have. Never below a majority, and never
/// below W: whoever lost fewer disks than that has lost nothing that was acknowledged, and must find it again.
uint32_t sync_planner::needed_for_birth(vnode_id vnode) const {
  return std::max(static_cast<uint32_t>(owners_of(vnode).size() / 2 + 1), w_of(vnode));
}

/// Those of `here` that have lost a disk may have acknowledged something together with those that are away, which have
/// it still: fewer than W of them have lost it then.
bool sync_planner::may_be_missed(const std::vector<node_id>& here, size_t away, size_t w) const {
  auto is_new = [this](node_id owner) { return planted(bug::meetings_forgotten) || is_new_member(owner); };
  auto lost = here.size() - static_cast<size_t>(std::count_if(here.begin(), here.end(), is_new));
  lost = std::min(lost, w - 1);
  return lost > 0 && w - lost <= away;
}

/// Do so many know a node's directory that none can have known another one?
bool sync_planner::is_new_member(node_id node) const {
  auto own = known_by(node).own;
  size_t met = 0;
  for (const auto& m : ring_->members) {
    const auto& first = known_by(m.id).first;
    auto known = first.find(node);
    if (known == first.end())
      continue;
    if (known->second != own)
      return false;
    ++met;
  }
  return own != 0 && met > ring_->members.size() / 2;
}

const known_directories& sync_planner::known_by(node_id node) const {
  static const known_directories nothing;
  auto peer = peers_.find(node);
  return node == self_ ? directories_ : peer != peers_.end() ? peer->second.directories : nothing;
}

bool sync_planner::plan_temporary(const own_vnode& v, sync_plan& out) const {
  uint32_t have = 0;
  uint32_t up_without = 0;
  auto owners = holders_of(v.note.id);
  for (auto owner : owners) {
    auto has = has_all(owner, v);
    have += has ? 1 : 0;
    up_without += is_linked(owner) && !has ? 1 : 0;
  }
  if (have == owners.size() || planted(bug::hint_dropped))
    out.drops.push_back({v.note.id, v.note.clock, false});
  else if (v.facts.overdue && up_without == 0 && enough_in_reach(v.note.id, false))
    out.drops.push_back({v.note.id, v.note.clock, true});
  else
    return !v.facts.overdue;
  return false;
}

std::optional<dot_clock> sync_planner::stable(const own_vnode& v) const {
  auto result = v.note.clock;
  for (auto owner : holders_of(v.note.id)) {
    if (owner == self_)
      continue;
    const auto* note = mirrored(owner, v.note.id);
    if (note == nullptr || !note->complete())
      return std::nullopt;
    result.meet(note->clock);
  }
  return result;
}

std::optional<dot_clock> sync_planner::known_to_all_that_are_up(const own_vnode& v) const {
  auto result = v.note.clock;
  for (auto owner : holders_of(v.note.id)) {
    if (!is_linked(owner))
      continue;
    const auto* note = mirrored(owner, v.note.id);
    if (note == nullptr || !note->whole())
      return std::nullopt;
    result.meet(note->clock);
  }
  // Two sides of a partition must not both give up on the other.
  return enough_in_reach(v.note.id, true) ? std::optional{result} : std::nullopt;
}

bool sync_planner::temporary_somewhere(vnode_id vnode) const {
  return std::any_of(peers_.begin(), peers_.end(), [vnode](const auto& p) {
    auto note = p.second.mirror.find(vnode);
    return note != p.second.mirror.end() && note->second.role == vnode_role::temporary;
  });
}

dot_clock sync_planner::known_anywhere(const own_vnode& v) const {
  auto result = v.note.clock;
  for (const auto& [node, p] : peers_) {
    auto note = p.mirror.find(v.note.id);
    if (note != p.mirror.end())
      result.join(note->second.clock);
  }
  return result;
}

void sync_planner::plan_settling(own_vnode& v, const std::optional<times>& all, sync_plan& out) const {
  // An owner that is away for so long is given up on: it will be refilled when it is back.
  if (auto rest = v.facts.log_full ? known_to_all_that_are_up(v) : std::nullopt)
    out.settles.push_back({v.note.id, std::move(*rest), v.horizon});
  auto now_stable = v.note.complete() ? stable(v) : std::nullopt;
  if (!now_stable)
    return;
  auto told = v.horizon;
  // Whoever asks a temporary vnode must not be shown what owners have removed for good.
  if (v.facts.has_graves && !temporary_somewhere(v.note.id)) {
    // Two rounds, so that what was known when the times were read is stable by now.
    if (v.waiting && now_stable->covers(v.waiting->known)) {
      v.horizon = v.waiting->time;
      v.waiting.reset();
    }
    if (!v.waiting && all && all->latest > v.horizon)
      v.waiting = own_vnode::checkpoint{known_anywhere(v), all->latest};
  }
  auto expired_ms = v.facts.has_graves && all ? all->wall_ms : v.expired_told;
  if (*now_stable == v.stable && v.horizon == told && expired_ms == v.expired_told)
    return;
  v.stable = std::move(*now_stable);
  v.expired_told = expired_ms;
  out.settles.push_back({v.note.id, v.stable, v.horizon});
}

/// Only who has spoken over this link is known to be the process that it was.
vnode_note sync_planner::note_for(node_id peer, const peer_state& p, const own_vnode& v) const {
  auto note = v.note;
  note.born_with_you = p.heard && note.complete() && v.born_with && v.born_with->count(peer) > 0;
  return note;
}

sync_news sync_planner::take_news(node_id peer) {
  sync_news out;
  auto& p = peers_[peer];
  out.full = p.tell_all;
  if (p.tell_all) {
    for (const auto& [id, v] : own_)
      if (shared_with(peer, p, v.note))
        out.changed.push_back(note_for(peer, p, v));
  } else {
    for (auto id : p.news) {
      auto v = own_.find(id);
      if (v == own_.end())
        out.gone.push_back(id);
      else if (shared_with(peer, p, v->second.note))
        out.changed.push_back(note_for(peer, p, v->second));
    }
  }
  if (p.tell_all || p.tell_directories)
    out.directories = directories_;
  p.tell_all = p.tell_directories = false;
  p.news.clear();
  return out;
}

} // namespace crema::protocol
