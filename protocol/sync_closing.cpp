// Gaps of a clock that nobody will ever fill, because what they name is on no disk any more (docs/protocol.md, "Lost
// writes").
#include "protocol/sync_planner.hpp"

#include <algorithm>
#include <utility>

namespace crema::protocol {

namespace {

/// Dots of a closing: each takes an entry in the log.
constexpr uint64_t lost_at_once = 4096;
/// No crash loses so many: who named a dot beyond them is broken, and the gap stays.
constexpr uint64_t lost_in_a_row_max = 1 << 24;

} // namespace

std::optional<dot_clock> sync_planner::gaps_of_all(const own_vnode& v) const {
  if (!v.note.complete() || v.note.copying || !v.note.clock.has_gaps() || !stable(v)) // Not every owner is complete.
    return std::nullopt;
  dot_clock gaps;
  for (const auto& r : v.note.clock.gaps().ranges())
    if (r.last - r.first < lost_in_a_row_max)
      gaps.add(r);
  for (const auto& m : ring_->members) {
    if (m.id == self_)
      continue;
    auto p = peers_.find(m.id);
    if (p == peers_.end() || !p->second.linked || !p->second.heard)
      return std::nullopt;
    auto note = p->second.mirror.find(v.note.id);
    if (note == p->second.mirror.end())
      continue;
    if (note->second.copying)
      return std::nullopt;
    gaps.subtract(note->second.clock);
  }
  return gaps;
}

void sync_planner::gaps_may_fill() {
  for (auto id : with_gaps_)
    own_.at(id).missing.reset();
}

/// What is on its way may fill a gap, and what is not told yet. So they must have been there for long, with every
/// member up, and after that all have told once more what they have.
void sync_planner::plan_closing(own_vnode& v, std::chrono::nanoseconds now, sync_plan& out) const {
  auto gaps = gaps_of_all(v);
  if (!gaps)
    return v.missing.reset();
  if (v.missing)
    v.missing->dots.meet(*gaps);
  if (!v.missing || v.missing->dots.empty()) {
    v.missing.reset();
    if (!gaps->empty())
      v.missing = own_vnode::missing_dots{std::move(*gaps), now, std::nullopt};
    return;
  }
  if (now - v.missing->since < lost_after_)
    return;
  if (!v.missing->asked)
    v.missing->asked = asked_;
  for (const auto& m : ring_->members)
    if (m.id != self_ && !has_told_since(m.id, v.missing->asked))
      return;
  closing_task task{v.note.id, {}};
  for (auto r : v.missing->dots.ranges()) {
    r.last = std::min(r.last, r.first + (lost_at_once - task.lost.size()) - 1);
    task.lost.add(r);
    if (task.lost.size() == lost_at_once)
      break; // The rest in the next plan.
  }
  out.closings.push_back(std::move(task));
}

} // namespace crema::protocol
