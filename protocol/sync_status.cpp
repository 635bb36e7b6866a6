// What the planner knows, for those who want to see it: operators, sync points, and who waits for copies.
#include "protocol/sync_planner.hpp"

#include <algorithm>
#include <utility>

namespace crema::protocol {

void sync_planner::note_difference(own_vnode& v, std::chrono::nanoseconds now) const {
  auto uneven = known_anywhere(v);
  auto level = v.note.whole() ? v.note.clock : dot_clock{};
  for (auto owner : holders_of(v.note.id)) {
    if (owner == self_)
      continue;
    const auto* note = mirrored(owner, v.note.id);
    level.meet(note != nullptr && note->whole() ? note->clock : dot_clock{});
  }
  uneven.subtract(level);
  v.uneven.meet(uneven);
  if (!v.uneven.empty())
    return;
  v.uneven = std::move(uneven);
  v.uneven_since = now;
}

std::chrono::nanoseconds sync_planner::oldest_difference(std::chrono::nanoseconds now) const {
  auto since = now;
  for (const auto& [id, v] : own_)
    if (v.note.role == vnode_role::owner && !v.uneven.empty())
      since = std::min(since, v.uneven_since);
  return now - since;
}

uint64_t sync_planner::dots_behind(node_id peer) const {
  uint64_t sum = 0;
  auto p = peers_.find(peer);
  if (p == peers_.end())
    return 0;
  for (const auto& [id, note] : p->second.mirror) {
    auto v = own_.find(id);
    if (v == own_.end() || v->second.note.role != vnode_role::owner)
      continue;
    for (const auto& r : note.clock.missing_from(v->second.note.clock))
      sum += r.last - r.first + 1;
  }
  return sum;
}

uint64_t sync_planner::dots_ahead(node_id peer) const {
  uint64_t sum = 0;
  for (const auto& [id, v] : own_) {
    if (!holds(peer, id))
      continue;
    const auto* note = mirrored(peer, id);
    for (const auto& r : v.note.clock.missing_from(note != nullptr ? note->clock : dot_clock{}))
      sum += r.last - r.first + 1;
  }
  return sum;
}

std::vector<hint_view> sync_planner::hints() const {
  std::vector<hint_view> result;
  for (const auto& [id, v] : own_) {
    if (v.note.role != vnode_role::temporary)
      continue;
    hint_view hint{id, {}, v.note.clock.size(), v.facts.bytes, v.facts.keys, v.facts.since_ms};
    for (auto owner : holders_of(id))
      if (!has_all(owner, v))
        hint.waits_for.push_back(owner);
    result.push_back(std::move(hint));
  }
  std::stable_sort(result.begin(), result.end(),
                   [](const hint_view& a, const hint_view& b) { return a.since_ms < b.since_ms; });
  return result;
}

std::vector<standing> sync_planner::standings(vnode_id vnode) const {
  auto own = own_.find(vnode);
  if (own == own_.end())
    return {}; // Others told it as long as it was here, if at all.
  std::vector<std::pair<node_id, const vnode_note*>> notes{{self_, &own->second.note}};
  for (const auto& [node, p] : peers_)
    if (const auto* note = mirrored(node, vnode); note != nullptr)
      notes.emplace_back(node, note);
  dot_clock known;
  for (const auto& [node, note] : notes)
    known.join(note->clock);
  std::vector<standing> result;
  result.reserve(notes.size());
  for (const auto& [node, note] : notes)
    result.push_back({node, note->role, note->clock.size(), known.size() - note->clock.size()});
  return result;
}

uint64_t sync_planner::only_on_fallbacks() const {
  uint64_t sum = 0;
  for (const auto& [id, v] : own_) {
    if (v.note.role != vnode_role::temporary)
      continue;
    auto here = v.note.clock;
    for (auto owner : owners_of(id))
      if (const auto* note = mirrored(owner, id); note != nullptr)
        here.subtract(note->clock);
    sum += here.size();
  }
  return sum;
}

sync_planner::clocks sync_planner::own_clocks() const {
  clocks result;
  for (const auto& [id, v] : own_)
    result.emplace(id, v.note.clock);
  return result;
}

std::map<node_id, uint64_t> sync_planner::lacking(const clocks& these) const {
  std::map<node_id, uint64_t> result;
  for (const auto& [id, clock] : these)
    for (auto owner : holders_of(id)) {
      auto own = own_.find(id);
      const auto* note = owner != self_ ? mirrored(owner, id) : own != own_.end() ? &own->second.note : nullptr;
      for (const auto& r : clock.missing_from(note != nullptr && note->whole() ? note->clock : dot_clock{}))
        result[owner] += r.last - r.first + 1;
    }
  return result;
}

bool sync_planner::waits_for_round_of(node_id peer) const {
  return std::any_of(own_.begin(), own_.end(), [&](const auto& v) {
    return v.second.note.state == vnode_state::catching_up && owns(peer, v.first) &&
           !has_told_since(peer, v.second.asked, epoch_to_know(v.first).value_or(0));
  });
}

bool sync_planner::copies_wait() const {
  return std::any_of(peers_.begin(), peers_.end(),
                     [this](const auto& p) { return p.second.linked && waits_for_round_of(p.first); });
}

sync_planner::progress sync_planner::moving() const {
  progress result;
  for (const auto& bucket : ring_->buckets) {
    for (uint32_t i = 0; ring_->joint() && i < ring_->partitions(); ++i) {
      auto partition = static_cast<partition_id>(i);
      auto v = own_.find({bucket.id, partition});
      if (owner_must_meet(bucket, partition)) {
        ++result.to_get;
        result.got += v != own_.end() && v->second.note.complete() && v->second.meets && v->second.meets->met &&
                      v->second.meets->since == ring_->since_of(partition);
      }
      if (ring_->owns(self_, partition, bucket.n) || !ring_->holds(self_, partition, bucket))
        continue;
      ++result.to_get;
      result.got += v != own_.end() && v->second.note.complete() && v->second.facts.epoch >= ring_->since_of(partition);
    }
  }
  for (const auto& [id, v] : own_)
    result.former += v.note.role == vnode_role::temporary ? 1 : 0;
  return result;
}

size_t sync_planner::bound_by() const {
  return static_cast<size_t>(std::count_if(peers_.begin(), peers_.end(), [this](const auto& p) {
    const auto& first = p.second.directories.first;
    auto bound = first.find(self_);
    return ring_->find(p.first) != nullptr && p.second.epoch <= 1 && bound != first.end() && directories_.own != 0 &&
           bound->second == directories_.own;
  }));
}

std::map<node_id, uint64_t> sync_planner::directories() const {
  std::map<node_id, uint64_t> result;
  for (const auto& [node, p] : peers_)
    if (p.directories.own != 0 && p.linked)
      result[node] = p.directories.own;
  result[self_] = directories_.own;
  return result;
}

size_t sync_planner::incomplete() const {
  return static_cast<size_t>(std::count_if(own_.begin(), own_.end(), [](const auto& v) {
    return v.second.note.role == vnode_role::owner && v.second.note.state != vnode_state::complete;
  }));
}

} // namespace crema::protocol
