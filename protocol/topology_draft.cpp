#include "protocol/topology_draft.hpp"

#include <algorithm>
#include <iterator>

namespace crema::protocol {

namespace {

constexpr uint32_t weight_max = 1000;

void take_out(std::vector<replica_group>& groups, node_id node) {
  for (auto& g : groups)
    g.nodes.erase(std::remove(g.nodes.begin(), g.nodes.end(), node), g.nodes.end());
  groups.erase(std::remove_if(groups.begin(), groups.end(), [](const auto& g) { return g.nodes.empty(); }),
               groups.end());
}

size_t size_before(const ring& now, const std::string& name) {
  for (const auto& g : now.job&& now.joint() ? now.job->groups_before : now.groups)
    if (g.name == name)
      return g.nodes.size();
  return 0;
}

std::string check_groups(const topology_draft& draft, const ring& now) {
  std::map<std::string, uint32_t> size;
  for (const auto& m : draft.staying()) {
    const auto* group = draft.group_of(m.id);
    if (group == nullptr)
      return m.name + " is in no group (allowed: every node in one of " + draft.group_names() + ")";
    if (group->name.empty())
      return m.name + ": its group has no name (allowed: 1 to 64 letters, digits, _ and -)";
    ++size[group->name];
  }
  auto n = draft.owners_per_partition;
  for (const auto& [name, count] : size) {
    auto before = size_before(now, name);
    if (count < n && (before == 0 || count < before)) // One that was too small already may grow step by step.
      return "group \"" + name + "\" would have " + std::to_string(count) + " nodes for " + std::to_string(n) +
             " owners of every partition (allowed: at least " + std::to_string(n) +
             ", all in one plan; or none: then others get what it has)";
  }
  return {};
}

} // namespace

std::string listed(const std::vector<std::string>& names) {
  std::string result;
  for (const auto& n : names)
    result += (result.empty() ? "" : ", ") + n;
  return result.empty() ? "none" : result;
}

std::vector<member> topology_draft::staying() const {
  std::vector<member> result;
  std::copy_if(members.begin(), members.end(), std::back_inserter(result), [](const member& m) { return m.stays(); });
  return result;
}

member* topology_draft::find(const std::string& name) {
  auto i = std::find_if(members.begin(), members.end(), [&](const member& m) { return m.name == name; });
  return i != members.end() ? &*i : nullptr;
}

bucket* topology_draft::find_bucket(const std::string& name) {
  auto i = std::find_if(buckets.begin(), buckets.end(), [&](const bucket& b) { return b.name == name; });
  return i != buckets.end() ? &*i : nullptr;
}

const replica_group* topology_draft::group_of(node_id node) const {
  for (const auto& g : groups)
    if (std::find(g.nodes.begin(), g.nodes.end(), node) != g.nodes.end())
      return &g;
  return nullptr;
}

std::string topology_draft::group_names() const {
  std::vector<std::string> names;
  for (const auto& g : groups)
    names.push_back(g.name);
  return listed(names);
}

void topology_draft::put(node_id node, const std::string& group) {
  take_out(groups, node);
  auto i = std::find_if(groups.begin(), groups.end(), [&](const replica_group& g) { return g.name == group; });
  if (i == groups.end())
    i = groups.insert(i, {group, {}});
  i->nodes.insert(std::lower_bound(i->nodes.begin(), i->nodes.end(), node), node);
}

void topology_draft::forget(node_id node) {
  members.erase(std::find_if(members.begin(), members.end(), [&](const member& m) { return m.id == node; }));
  take_out(groups, node);
}

std::vector<bucket> on_their_way(const ring& now, const std::vector<bucket>& drafted) {
  auto result = drafted;
  for (auto& b : result) {
    auto wanted = b.present();
    if (const auto* known = now.find_bucket(b.id); known != nullptr) {
      b.set(known->present());
      b.other = now.former.empty() ? std::nullopt : known->other;
    } else {
      auto width = static_cast<uint32_t>(now.owners.front().size());
      for (const auto& row : now.owners)
        width = std::min(width, static_cast<uint32_t>(row.size()));
      if (wanted.n > width) // It begins with as many copies as there are places.
        b.set({width, width / 2 + 1, width / 2 + 1});
    }
    if (b.present() != wanted && now.former.empty())
      b.other = wanted;
  }
  return result;
}

quorums numbers_to_be(const ring& x, const bucket& b) { return x.joint() ? b.beside() : b.present(); }

bool change_quorums(const std::vector<bucket>& buckets) {
  return std::any_of(buckets.begin(), buckets.end(), [](const bucket& b) { return b.other.has_value(); });
}

std::string topology_draft::check(const ring& now) const {
  auto stay = staying();
  auto n = owners_per_partition;
  auto count = std::to_string(stay.size());
  if (stay.empty())
    return "no node would be left (allowed: at least one)";
  for (const auto& m : stay)
    if (m.weight < 1 || m.weight > weight_max)
      return m.name + ": weight " + std::to_string(m.weight) + " is out of range (allowed: 1 to " +
             std::to_string(weight_max) + ")";
  const auto& members_before = now.job && now.joint() ? now.job->members_before : now.members;
  auto before = std::count_if(members_before.begin(), members_before.end(), [](const member& m) { return m.stays(); });
  if (stay.size() < n && static_cast<std::ptrdiff_t>(stay.size()) < before)
    return "only " + count + " nodes would be left for " + std::to_string(n) +
           " owners of every partition (allowed: at least " + std::to_string(n) +
           " nodes: let others join or replace those that go, or keep fewer copies first)";
  return groups.empty() ? std::string() : check_groups(*this, now);
}

} // namespace crema::protocol
