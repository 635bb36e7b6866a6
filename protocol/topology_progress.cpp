#include "protocol/topology_progress.hpp"

#include "protocol/planted.hpp"
#include "protocol/topology_plan.hpp"

#include <algorithm>
#include <set>
#include <variant>

namespace crema::protocol {

namespace {

const node_progress& progress_of(const topology_state& state, node_id node) {
  static const node_progress nothing;
  auto found = state.progress.find(node);
  return found != state.progress.end() ? found->second : nothing;
}

/// Those that are to own what they do not own yet, or have to meet the others for what they own.
std::set<node_id> gaining(const ring& now) {
  std::set<node_id> nodes;
  for (const auto& bucket : now.buckets)
    for (uint32_t i = 0; i < now.partitions(); ++i) {
      auto partition = static_cast<partition_id>(i);
      for (auto node : now.also_written(partition, bucket))
        if (!now.owns(node, partition, bucket.n) || bucket.owners_must_meet())
          nodes.insert(node);
    }
  return nodes;
}

bool has_all(const ring& now, const node_progress& x) { return x.epoch == now.epoch && x.got == x.to_get; }

/// The first partition of which somebody may still read from former owners.
std::optional<partition_id> read_from_former(const ring& now, const topology_state& state) {
  auto epoch_of = [&state](node_id node) { return progress_of(state, node).epoch; };
  for (const auto& bucket : now.buckets)
    for (uint32_t i = 0; i < now.partitions(); ++i)
      if (may_be_read_from_former(now, static_cast<partition_id>(i), bucket, epoch_of))
        return static_cast<partition_id>(i);
  return std::nullopt;
}

/// Members that leave and still have something.
std::vector<node_id> not_empty(const ring& now, const topology_state& state) {
  std::vector<node_id> nodes;
  for (const auto& m : now.members) {
    const auto& x = progress_of(state, m.id);
    if (m.state == member_state::leaving && (x.epoch != now.epoch || x.former > 0))
      nodes.push_back(m.id);
  }
  return nodes;
}

std::string name_of(const ring& now, node_id node) {
  const auto* m = now.find(node);
  return m != nullptr ? m->name : "?";
}

template <class Nodes>
std::string names_of(const ring& now, const Nodes& nodes) {
  std::string text;
  for (auto node : nodes)
    text += (text.empty() ? "" : ", ") + name_of(now, node);
  return text;
}

/// A member that runs with another data directory than the one that it is known by lost its disk, or is heard for the
/// first time. It has no vote before it is known by the new one (docs/topology.md, "Agreement").
std::optional<topology_step> new_directory(const ring& now, const topology_state& state) {
  if (now.epoch == 1)
    return std::nullopt; // Nobody's is named, and nobody's needs to be.
  for (const auto& m : now.members) {
    auto found = state.directories.find(m.id);
    if (found == state.directories.end() || found->second == 0 || found->second == m.directory)
      continue;
    topology_step step{now, m.name + " has a new data directory"};
    ++step.next.epoch;
    for (auto& x : step.next.members)
      if (x.id == m.id)
        x.directory = found->second;
    return step;
  }
  return std::nullopt;
}

bool somebody_leaves(const ring& now) {
  return std::any_of(now.members.begin(), now.members.end(), [](const member& m) { return !m.stays(); });
}

std::optional<topology_step> step_to(or_refused<ring> next, std::string why) {
  auto* ring = std::get_if<protocol::ring>(&next);
  return ring != nullptr ? std::optional{topology_step{std::move(*ring), std::move(why)}} : std::nullopt;
}

} // namespace

bool may_be_read_from_former(const ring& now, partition_id partition, const bucket& bucket,
                             const std::function<uint64_t(node_id)>& epoch_of) {
  if (now.joint() || now.former.empty())
    return false;
  auto former = now.also_written(partition, bucket);
  if (former.empty())
    return false;
  auto know = static_cast<size_t>(std::count_if(former.begin(), former.end(), [&](node_id node) {
    const auto* m = now.find(node);
    return epoch_of(node) >= now.since_of(partition) || (m != nullptr && m->state == member_state::gone);
  }));
  return know + bucket.beside().r < former.size() + 1;
}

bool may_be_read_from_former(const ring& now, const topology_state& state) {
  return read_from_former(now, state).has_value();
}

bool known_to_majority(const ring& now, const std::function<uint64_t(node_id)>& epoch_of) {
  size_t voters = 0, know = 0;
  for (const auto& m : now.members)
    if (m.votes()) {
      ++voters;
      know += epoch_of(m.id) >= now.epoch ? 1 : 0;
    }
  return 2 * know > voters;
}

std::optional<topology_step> next_step(const ring& now, const topology_state& state) {
  if (auto step = new_directory(now, state))
    return step;
  if (now.joint()) {
    auto nodes = gaining(now);
    auto ready =
        std::all_of(nodes.begin(), nodes.end(), [&](node_id node) { return has_all(now, progress_of(state, node)); });
    if (ready && !(now.job && now.job->paused))
      return step_to(complete_change(now), "all new owners have what they are to own");
  } else if ((!now.former.empty() || somebody_leaves(now)) &&
             (planted(bug::settled_early) || (!read_from_former(now, state) && not_empty(now, state).empty()))) {
    return step_to(settle_change(now), "nobody reads from former owners any more");
  }
  return std::nullopt;
}

std::string waits_for(const ring& now, const topology_state& state) {
  if (now.joint()) {
    if (now.job && now.job->paused)
      return "paused";
    std::vector<node_id> waiting;
    for (auto node : gaining(now))
      if (!has_all(now, progress_of(state, node)))
        waiting.push_back(node);
    return waiting.empty() ? "" : "to be copied to " + names_of(now, waiting);
  }
  if (auto partition = read_from_former(now, state)) {
    std::vector<node_id> unaware;
    for (auto node : now.former[*partition]) {
      const auto* m = now.find(node);
      if (progress_of(state, node).epoch < now.since_of(*partition) && (m == nullptr || m->state != member_state::gone))
        unaware.push_back(node);
    }
    return "to be heard by " + names_of(now, unaware);
  }
  auto leaving = not_empty(now, state);
  return leaving.empty() ? "" : "what the new owners lack, from " + names_of(now, leaving);
}

} // namespace crema::protocol
