// The steps of a change after its plan (topology_plan.hpp).
#include "protocol/topology_epoch.hpp"
#include "protocol/topology_plan.hpp"

#include <algorithm>
#include <utility>

namespace crema::protocol {

namespace {

std::string the_change(const ring& now) {
  return "the change" + (now.job ? " of epoch " + std::to_string(now.job->id) : std::string());
}

/// Why there is nothing to complete, cancel or pause.
refused not_joint(const ring& now, const std::string& what) {
  if (now.former.empty())
    return {what + ": no change is under way (allowed: after a plan was committed)"};
  return {what + ": " + the_change(now) + " has been completed (allowed: while it is under way)"};
}

} // namespace

or_refused<ring> complete_change(const ring& now) {
  if (!now.joint())
    return not_joint(now, "complete");
  if (now.job && now.job->paused)
    return refused{"complete: " + the_change(now) + " is paused (allowed: after it is resumed)"};
  auto after = now;
  after.former = std::exchange(after.owners, std::exchange(after.next, {}));
  for (auto& b : after.buckets)
    if (b.other)
      b.set(std::exchange(*b.other, b.present()));
  for (auto& m : after.members)
    if (m.state == member_state::joining)
      m.state = member_state::full;
  if (after.job) {
    after.job->members_before.clear();
    after.job->groups_before.clear();
  }
  return as_next_epoch(now, std::move(after));
}

or_refused<ring> settle_change(const ring& now) {
  auto nobody_leaves = std::all_of(now.members.begin(), now.members.end(), [](const member& m) { return m.stays(); });
  if (now.joint() || (now.former.empty() && nobody_leaves))
    return refused{"settle: " + (now.joint() ? the_change(now) + " is still under way" : "no change is under way") +
                   " (allowed: after it has been completed)"};
  auto after = now;
  after.former.clear();
  for (auto& b : after.buckets)
    b.other.reset();
  after.job.reset();
  after.members.clear();
  for (const auto& m : now.members) {
    if (m.stays())
      after.members.push_back(m);
    else
      after.removed.push_back({m.id, m.name, m.directory});
  }
  for (auto& g : after.groups)
    g.nodes.erase(std::remove_if(g.nodes.begin(), g.nodes.end(), [&](node_id n) { return after.find(n) == nullptr; }),
                  g.nodes.end());
  after.groups.erase(
      std::remove_if(after.groups.begin(), after.groups.end(), [](const auto& g) { return g.nodes.empty(); }),
      after.groups.end());
  return as_next_epoch(now, std::move(after));
}

or_refused<ring> cancel_change(const ring& now) {
  if (!now.joint())
    return not_joint(now, "cancel");
  auto after = now;
  after.next.clear();
  after.job.reset();
  for (auto& b : after.buckets)
    b.other.reset();
  after.members.clear();
  for (const auto& m : now.members) {
    if (m.state == member_state::joining)
      continue; // Not in `removed`: it never owned anything that others relied on.
    after.members.push_back(m);
    after.members.back().state = member_state::full;
    for (const auto& before : now.job->members_before) {
      if (before.id == m.id) { // Only what a plan may change: an address may have changed meanwhile.
        after.members.back().state = before.state; // Who was leaving then is not empty yet.
        after.members.back().weight = before.weight;
        after.members.back().zone = before.zone;
      }
    }
  }
  after.groups = now.job->groups_before;
  return as_next_epoch(now, std::move(after));
}

or_refused<ring> pause_change(const ring& now, bool paused) {
  auto what = std::string(paused ? "pause" : "resume");
  if (!now.joint())
    return not_joint(now, what);
  if (now.job->paused == paused)
    return refused{what + ": " + the_change(now) + (paused ? " already is paused" : " is not paused") +
                   " (allowed: " + (paused ? "resume" : "pause") + ")"};
  auto after = now;
  after.job->paused = paused;
  return as_next_epoch(now, std::move(after));
}

} // namespace crema::protocol
