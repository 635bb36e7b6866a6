#include "protocol/topology_force.hpp"

#include "protocol/claim_groups.hpp"
#include "protocol/topology_draft.hpp"
#include "protocol/topology_moves.hpp"

#include <algorithm>
#include <iterator>

namespace crema::protocol {

namespace {

bool votes(const member& m) { return m.state != member_state::joining; }

std::string number(size_t n, const std::string& one) { return std::to_string(n) + " " + one + (n == 1 ? "" : "s"); }

/// "0, 3-5, 9"; of many the first ones.
std::string ranges(const std::vector<uint32_t>& partitions) {
  constexpr size_t shown_max = 12;
  std::string text;
  size_t shown = 0;
  for (size_t i = 0; i < partitions.size(); ++shown) {
    if (shown == shown_max)
      return text + ", ...";
    auto last = i;
    while (last + 1 < partitions.size() && partitions[last + 1] == partitions[last] + 1)
      ++last;
    text += (text.empty() ? "" : ", ") + std::to_string(partitions[i]);
    if (last > i)
      text += "-" + std::to_string(partitions[last]);
    i = last + 1;
  }
  return text;
}

class forcing {
public:
  forcing(const ring& now, const force_given& given) : now_(now), given_(given) {}

  or_refused<topology_plan> run(const std::vector<std::string>& names) {
    if (auto why = take(names); !why.empty())
      return refused{why};
    if (auto why = check_majorities(); !why.empty())
      return refused{why};
    auto settles = !now_.former.empty();
    auto base = without_lost();
    auto wanted = dealt(base);
    topology_plan plan;
    find_owners(base, wanted, plan);
    warn_of_writes(plan);
    if (settles)
      plan.warnings.push_back("the change that was completed is settled first: only after that copies are made again, "
                              "by `crema ctl plan rebalance` and `crema ctl commit`");
    else
      add_moves(base, wanted, plan);
    plan.nodes = shares(now_.owners, settles ? base.owners : wanted, now_.members);
    base.job = job_of(base, settles);
    if (!settles && wanted != base.owners)
      base.next = std::move(wanted);
    number_it(base, now_.epoch + 1); // Then it is the same wherever the same is known.
    number_it(base, given_.number(base));
    plan.after = std::move(base);
    return plan;
  }

private:
  std::string take(const std::vector<std::string>& names) {
    if (names.empty())
      return "nobody is named (allowed: the members that are gone for good)";
    for (const auto& name : names) {
      const auto* m = now_.find(name);
      if (m == nullptr) {
        std::vector<std::string> all;
        for (const auto& each : now_.members)
          all.push_back(each.name);
        return "force-epoch remove " + name + ": there is no such node (allowed: one of " + listed(all) + ")";
      }
      if (given_.reachable.count(m->id) > 0)
        return "force-epoch remove " + name + ": it can be reached, so it is not gone (allowed: members that are)";
      if (!lost_.insert(m->id).second)
        return "force-epoch remove " + name + ": named twice (allowed: once)";
      changes_.push_back("force: " + to_words(remove_node{name}));
    }
    return {};
  }

  std::string check_majorities() const {
    std::vector<std::string> there, left, silent, unknown;
    size_t voters = 0, after = 0, reached = 0;
    for (const auto& m : now_.members) {
      auto known = m.directory != 0 || given_.plan.directories.count(m.id) > 0;
      voters += votes(m) ? 1 : 0;
      if (votes(m) && given_.voting.count(m.id) > 0)
        there.push_back(m.name);
      if (lost_.count(m.id) > 0)
        continue;
      ++after;
      reached += given_.reachable.count(m.id);
      if (given_.reachable.count(m.id) == 0)
        silent.push_back(m.name);
      if (!known)
        unknown.push_back(m.name);
    }
    if (there.size() > voters / 2)
      return "a majority of the members can be reached, " + std::to_string(there.size()) + " of " +
             std::to_string(voters) + " (" + listed(there) +
             "): nothing has to be forced (allowed: `crema ctl plan remove ...`, `crema ctl commit`; and this, if that "
             "has just failed)";
    if (!unknown.empty())
      return listed(unknown) + " would be left, but no data directory of it was ever met, so it could not vote "
                               "(allowed: as soon as it is there; or name it too)";
    if (reached <= after / 2)
      return "of the " + std::to_string(after) + " members that would be left only " + std::to_string(reached) +
             " can be reached, no majority again: " + listed(silent) +
             " cannot (allowed: when they are there; or name those too that are gone for good)";
    return {};
  }

  ring_table left_of(const ring_table& table) const {
    auto rows = table;
    for (auto& row : rows)
      row.erase(std::remove_if(row.begin(), row.end(), [this](node_id x) { return lost_.count(x) > 0; }), row.end());
    return rows;
  }

  ring without_lost() const {
    auto base = now_;
    base.members.clear();
    for (auto m : now_.members) {
      if (auto known = given_.plan.directories.find(m.id); m.directory == 0 && known != given_.plan.directories.end())
        m.directory = known->second;
      if (lost_.count(m.id) > 0) {
        base.removed.push_back({m.id, m.name, m.directory});
        continue;
      }
      if (now_.former.empty())
        m.state = member_state::full;
      base.members.push_back(std::move(m));
    }
    for (auto& g : base.groups)
      g.nodes.erase(std::remove_if(g.nodes.begin(), g.nodes.end(), [this](node_id x) { return lost_.count(x) > 0; }),
                    g.nodes.end());
    base.groups.erase(
        std::remove_if(base.groups.begin(), base.groups.end(), [](const auto& g) { return g.nodes.empty(); }),
        base.groups.end());
    if (base.origin == 0)
      base.origin = given_.plan.origin;
    base.owners = left_of(now_.owners);
    base.former = left_of(now_.former);
    base.next.clear();
    if (now_.former.empty()) // Numbers that were to be are given up as well.
      for (auto& b : base.buckets)
        b.other.reset();
    return base;
  }

  topology_draft draft_of(const ring& base) const {
    topology_draft draft;
    for (const auto& m : base.members)
      if (m.stays() ||
          std::none_of(base.members.begin(), base.members.end(), [](const member& x) { return x.stays(); }))
        draft.members.push_back(m);
    draft.groups = base.groups;
    for (const auto& b : base.buckets)
      draft.owners_per_partition = std::max(draft.owners_per_partition, b.n);
    return draft;
  }

  ring_table dealt(const ring& base) const {
    auto draft = draft_of(base);
    if (!draft.groups.empty())
      return claim_groups(base.owners, draft.members, draft.groups, base.partitions());
    return claim(base.owners, draft.members, base.partitions(), draft.owners_per_partition);
  }

  /// For partitions of which no owner is left: who has a part of it, or else who is to own it.
  void find_owners(ring& base, const ring_table& wanted, topology_plan& plan) const {
    std::vector<uint32_t> lost;
    auto next = left_of(now_.next);
    for (size_t p = 0; p < base.owners.size(); ++p) {
      auto has_some = [p](const ring_table& rows) { return p < rows.size() && !rows[p].empty(); };
      if (base.owners[p].empty()) {
        lost.push_back(static_cast<uint32_t>(p));
        base.owners[p] = has_some(next) ? next[p] : has_some(base.former) ? base.former[p] : wanted[p];
      }
      if (p < base.former.size() && base.former[p].empty())
        base.former[p] = base.owners[p];
    }
    plan.lost = static_cast<uint32_t>(lost.size());
    if (!lost.empty())
      plan.warnings.push_back(number(lost.size(), "partition") +
                              " whose owners are all gone: all that was in them is lost, but for what others took for "
                              "them while they were down: " +
                              ranges(lost));
  }

  void add_moves(const ring& base, const ring_table& wanted, topology_plan& plan) const {
    auto draft = draft_of(base);
    plan.transfers = transfers(base.owners, wanted, base.members, given_.plan.bytes);
    plan.moved = plan.added = moved(base.owners, wanted);
    plan.added_at_least = std::min(plan.added, moves_at_least(base.owners, draft));
    for (auto& warning : warnings(base, draft, wanted))
      plan.warnings.push_back(std::move(warning));
  }

  topology_job job_of(const ring& base, bool settles) const {
    topology_job job;
    if (settles && now_.job)
      job = *now_.job;
    else
      job = {0, {}, false, base.members, base.groups};
    job.changes.insert(job.changes.end(), changes_.begin(), changes_.end());
    return job;
  }

  /// Acknowledged writes of which all copies may be gone.
  void warn_of_writes(topology_plan& plan) const {
    for (const auto& b : now_.buckets) {
      std::vector<uint32_t> some;
      for (uint32_t p = 0; p < now_.partitions(); ++p) {
        auto owners = now_.owners_of(static_cast<partition_id>(p), b.n);
        auto gone = static_cast<size_t>(
            std::count_if(owners.begin(), owners.end(), [this](node_id x) { return lost_.count(x) > 0; }));
        if (gone < owners.size() && gone >= std::min<size_t>(b.w, owners.size()))
          some.push_back(p);
      }
      if (!some.empty())
        plan.warnings.push_back("bucket " + b.name + ": of " + number(some.size(), "partition") + " " +
                                std::to_string(b.w) + " or more of the " + std::to_string(b.n) +
                                " owners are gone: acknowledged writes that only they had are lost (w = " +
                                std::to_string(b.w) + "): " + ranges(some));
    }
    if (std::any_of(now_.buckets.begin(), now_.buckets.end(), [](const auto& b) { return b.sloppy; }))
      plan.warnings.push_back(
          "lost as well: writes to sloppy buckets that those who are gone took for others while these were "
          "down, as far as they had not handed them over");
    plan.warnings.push_back("if they are alive after all: what clients are told there from now on is lost, and they "
                            "stop as soon as they hear of this. Stop them before, if they can be reached by any way");
  }

  /// Everything that depends on the number of the epoch.
  void number_it(ring& x, uint64_t epoch) const {
    x.epoch = epoch;
    x.since.assign(x.owners.size(), epoch); // Who knows what was decided elsewhere meanwhile?
    for (auto& m : x.members) {
      const auto* before = now_.find(m.id);
      m.named = before != nullptr && before->directory == m.directory ? before->named : epoch;
    }
    if (!x.joint() && x.former.empty())
      x.job.reset(); // Nothing is copied.
    else if (now_.former.empty())
      x.job->id = epoch;
    if (x.joint())
      x.job->members_before = x.members;
  }

  const ring& now_;
  const force_given& given_;
  std::set<node_id> lost_;
  std::vector<std::string> changes_;
};

} // namespace

or_refused<topology_plan> plan_force(const ring& now, const std::vector<std::string>& lost, const force_given& given) {
  return forcing(now, given).run(lost);
}

} // namespace crema::protocol
