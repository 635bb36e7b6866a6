#include "protocol/topology_plan.hpp"

#include "protocol/claim_groups.hpp"
#include "protocol/topology_draft.hpp"
#include "protocol/topology_epoch.hpp"
#include "protocol/topology_moves.hpp"

#include <algorithm>
#include <utility>

namespace crema::protocol {

namespace {

/// What those who stay have, or are about to have, in the order in which it should be kept: what they are to own, and
/// after it what they own, which costs nothing to keep either.
ring_table held(const ring& now, const ring_table& wanted) {
  auto table = wanted;
  for (size_t p = 0; p < table.size(); ++p)
    for (auto node : now.owners[p])
      if (std::find(table[p].begin(), table[p].end(), node) == table[p].end())
        table[p].push_back(node);
  return table;
}

ring_table with_replacements(ring_table table, const std::map<node_id, node_id>& replaced) {
  for (auto& row : table)
    for (auto& node : row)
      if (auto i = replaced.find(node); i != replaced.end())
        node = i->second;
  return table;
}

ring_table deal(const ring& now, const ring_table& wanted, const topology_draft& draft) {
  if (draft.only_replaced)
    return wanted;
  auto had = now.joint() ? held(now, wanted) : wanted;
  if (!draft.groups.empty())
    return claim_groups(had, draft.staying(), draft.groups, now.partitions());
  return claim(had, draft.staying(), now.partitions(), draft.owners_per_partition);
}

topology_job job_of(const ring& now, const std::vector<topology_change>& changes) {
  topology_job job{now.epoch + 1, {}, false, now.members, now.groups};
  if (now.joint() && now.job)
    job = *now.job;
  for (const auto& c : changes)
    job.changes.push_back(to_words(c));
  return job;
}

} // namespace

void learn_directories(std::vector<member>& members, const std::map<node_id, uint64_t>& directories) {
  for (auto& m : members)
    if (auto i = directories.find(m.id); m.directory == 0 && i != directories.end())
      m.directory = i->second;
}

namespace {

/// A change that is completed waits until who leaves has handed over what it has. If it died meanwhile, an operator may
/// say so: it is not waited for any more. Nothing: it is something else that is wanted.
std::optional<topology_plan> give_up_leaving(const ring& now, const std::vector<topology_change>& changes) {
  if (now.former.empty() || changes.empty())
    return std::nullopt;
  topology_plan plan;
  plan.after = now;
  for (const auto& change : changes) {
    const auto* removal = std::get_if<remove_node>(&change);
    auto& members = plan.after.members;
    auto member = removal == nullptr ? members.end() : std::find_if(members.begin(), members.end(), [&](const auto& m) {
      return m.name == removal->name && m.state == member_state::leaving;
    });
    if (member == members.end())
      return std::nullopt;
    member->state = member_state::gone;
    if (plan.after.job)
      plan.after.job->changes.push_back(to_words(change));
  }
  plan.nodes = shares(now.owners, now.owners, plan.after.members);
  plan.after = as_next_epoch(now, std::move(plan.after));
  return plan;
}

/// Buckets come and go, and are set, whatever is done to the members meanwhile, as long as nothing has to move.
/// Nothing: it is something else that is wanted, or it cannot be done.
std::optional<topology_plan> change_buckets_only(const ring& now, const std::vector<topology_change>& changes,
                                                 const planning& given) {
  auto drafted = draft_topology(now, changes);
  const auto* draft = std::get_if<topology_draft>(&drafted);
  if (changes.empty() || draft == nullptr || !draft->only_buckets)
    return std::nullopt;
  topology_plan plan;
  plan.after = now;
  plan.after.buckets = on_their_way(now, draft->buckets);
  plan.after.next_bucket = draft->next_bucket;
  for (const auto& b : draft->buckets) {
    const auto* before = now.find_bucket(b.id);
    auto wide = b.n > now.owners.front().size() || (now.joint() && b.n > now.next.front().size());
    if (before == nullptr ? wide : b.present() != numbers_to_be(now, *before))
      return std::nullopt; // Something has to move.
  }
  if (plan.after.buckets == now.buckets)
    return std::nullopt;
  learn_directories(plan.after.members, given.directories);
  if (plan.after.origin == 0)
    plan.after.origin = given.origin;
  plan.nodes = shares(now.owners, now.owners, plan.after.members);
  plan.warnings = bucket_warnings(now, plan.after);
  plan.after = as_next_epoch(now, std::move(plan.after));
  return plan;
}

/// Nobody goes by what was before any more.
ring settled(ring now) {
  if (now.former.empty())
    return now;
  now.former.clear();
  for (auto& b : now.buckets)
    b.other.reset();
  return now;
}

/// Rule R5. Who is gone by now reads nothing from anybody, and nobody from it.
std::string why_not_to_follow(const ring& now, const topology_draft& draft, const topology_state& state) {
  auto with_gone = now;
  with_gone.members = draft.members;
  if (now.former.empty() || !may_be_read_from_former(with_gone, state))
    return {};
  return "the change of epoch " + std::to_string(now.job ? now.job->id : now.epoch) + " is not settled yet: it waits " +
         waits_for(with_gone, state) +
         " (allowed: as soon as enough of them are heard; and to remove members that are dead)";
}

} // namespace

or_refused<topology_plan> plan_topology(const ring& now, const std::vector<topology_change>& changes,
                                        const planning& given) {
  if (auto plan = give_up_leaving(now, changes))
    return std::move(*plan);
  if (auto plan = change_buckets_only(now, changes, given))
    return std::move(*plan);
  if (changes.empty())
    return refused{"nothing is to be changed (allowed: at least one change)"};
  auto drafted = draft_topology(now, changes);
  if (auto* no = std::get_if<refused>(&drafted))
    return *no;
  const auto& draft = std::get<topology_draft>(drafted);
  if (auto why = why_not_to_follow(now, draft, given.state); !why.empty())
    return refused{why};

  const auto& running = now.joint() ? now.next : now.owners;
  auto next = deal(now, with_replacements(running, draft.replaced), draft);
  auto buckets = on_their_way(settled(now), draft.buckets);
  if (next == running && draft.members == now.members && draft.groups == now.groups && buckets == now.buckets)
    return refused{"this would change nothing (allowed: at least one change that does)"};

  topology_plan plan;
  plan.transfers = transfers(now.owners, next, draft.members, given.bytes);
  plan.moved = moved(now.owners, next);
  auto had = now.joint() ? held(now, now.next) : now.owners;
  plan.added = moved(had, next);
  plan.added_at_least = draft.only_replaced ? plan.added : moves_at_least(had, draft);
  plan.nodes = shares(now.owners, next, draft.members);
  plan.lost = lost_partitions(now.owners, draft.members);
  plan.warnings = warnings(now, draft, next);

  auto after = now;
  after.former.clear();
  after.members = draft.members;
  learn_directories(after.members, given.directories);
  after.groups = draft.groups;
  after.next_id = draft.next_id;
  after.buckets = std::move(buckets);
  after.next_bucket = draft.next_bucket;
  if (after.origin == 0)
    after.origin = given.origin;
  auto nobody_comes_or_goes = std::all_of(draft.members.begin(), draft.members.end(),
                                          [](const member& m) { return m.state == member_state::full; });
  if (next == now.owners && nobody_comes_or_goes && !change_quorums(after.buckets)) {
    after.next.clear();
    after.job.reset();
  } else {
    after.next = std::move(next);
    after.job = job_of(now, changes);
  }
  for (auto& text : bucket_warnings(now, after))
    plan.warnings.push_back(std::move(text));
  plan.after = as_next_epoch(now, std::move(after));
  return plan;
}

} // namespace crema::protocol
