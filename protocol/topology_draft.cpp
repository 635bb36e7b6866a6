#include "protocol/topology_draft.hpp"

#include <algorithm>
#include <set>
#include <utility>

namespace crema::protocol {

namespace {

constexpr uint32_t weight_max = 1000;

using reason = std::string; // Empty: nothing is wrong.

std::string listed(const std::vector<std::string>& names) {
  std::string result;
  for (const auto& n : names)
    result += (result.empty() ? "" : ", ") + n;
  return result.empty() ? "none" : result;
}

/// Applies one change after the other; the first that is refused ends it.
class drafting {
public:
  drafting(const ring& now, const planning& given) : now_(now), given_(given) {
    x_.members = now.members;
    x_.groups = now.groups;
    x_.next_id = std::max(now.next_id, now.members.empty() ? 0 : to_index(now.members.back().id) + 1);
    x_.owners_per_partition = given.owners_per_partition;
    if (now.joint() && now.groups.empty()) { // What a change under way has set, unless rows are short of members.
      auto owners = static_cast<uint32_t>(now.next.front().size());
      auto short_of_members = owners >= x_.staying().size();
      x_.owners_per_partition = short_of_members ? std::max(owners, given.owners_per_partition) : owners;
    }
  }

  or_refused<topology_draft> run(const std::vector<topology_change>& changes) {
    auto brings_a_node = [](const topology_change& c) {
      return std::holds_alternative<join_node>(c) || std::holds_alternative<replace_node>(c);
    };
    for (bool first : {true, false}) // Who comes first: the others may name them.
      for (const auto& c : changes)
        if (brings_a_node(c) == first)
          if (auto why = std::visit([this](const auto& change) { return apply(change); }, c); !why.empty())
            return refused{why};
    if (auto why = check(); !why.empty())
      return refused{why};
    return std::move(x_);
  }

private:
  // -- The changes --

  reason apply(const join_node& c) {
    x_.only_replaced = false;
    if (!now_.groups.empty() && c.node.group.empty())
      return "join " + c.node.name + ": names no group (allowed: one of " + group_names() + ", or a new one)";
    return come(c.node);
  }

  reason apply(const leave_node& c) {
    x_.only_replaced = false;
    auto* m = find(c.name);
    if (m == nullptr)
      return unknown("leave", c.name);
    if (m->state == member_state::joining)
      return "leave " + c.name + ": it is only joining (allowed: remove it, or cancel the change)";
    if (!m->stays())
      return "leave " + c.name + ": it already does (allowed: remove it, if its process is gone for good)";
    return once(c.name, "place") ? (m->state = member_state::leaving, "") : twice(c.name);
  }

  reason apply(const remove_node& c) {
    x_.only_replaced = false;
    auto* m = find(c.name);
    if (m == nullptr)
      return unknown("remove", c.name);
    if (!once(c.name, "place"))
      return twice(c.name);
    if (m->state == member_state::gone)
      return "remove " + c.name + ": it already is being removed (allowed: another node)";
    if (m->state == member_state::joining)
      forget(m->id);
    else
      m->state = member_state::gone;
    return {};
  }

  reason apply(const replace_node& c) {
    auto* m = find(c.name);
    if (m == nullptr)
      return unknown("replace", c.name);
    if (m->state == member_state::joining)
      return "replace " + c.name + ": it is only joining (allowed: remove it and let " + c.by.name + " join)";
    if (!m->stays())
      return "replace " + c.name + ": it already leaves, and others get what it has (allowed: let " + c.by.name +
             " join)";
    if (!once(c.name, "place"))
      return twice(c.name);
    m->state = c.gone ? member_state::gone : member_state::leaving;
    auto old = m->id;
    auto by = c.by;
    by.weight = m->weight;
    by.group.clear();
    for (const auto& g : x_.groups)
      if (std::find(g.nodes.begin(), g.nodes.end(), old) != g.nodes.end())
        by.group = g.name;
    x_.replaced[old] = node_id{x_.next_id};
    return come(by);
  }

  reason apply(const set_weight& c) {
    return with("set the weight of", c.name, "weight", [&](member& m) { m.weight = c.weight; });
  }
  reason apply(const set_zone& c) {
    return with("set the zone of", c.name, "zone", [&](member& m) { m.zone = c.zone; });
  }
  reason apply(const set_group& c) {
    if (x_.groups.empty())
      return "move " + c.name + " to group " + c.group + ": this cluster has no groups (allowed: set groups)";
    return with("move", c.name, "group", [&](member& m) { put(m.id, c.group); });
  }

  reason apply(const set_owners& c) {
    x_.only_replaced = false;
    if (!once("", "owners"))
      return "two numbers of owners (allowed: one)";
    x_.owners_per_partition = c.owners;
    return {};
  }

  reason apply(const set_groups& c) {
    x_.only_replaced = false;
    if (!once("", "groups"))
      return "two lists of groups (allowed: one, with all groups)";
    x_.groups.clear();
    for (const auto& [name, nodes] : c.groups) {
      for (const auto& g : x_.groups)
        if (g.name == name)
          return "two groups \"" + name + "\" (allowed: distinct names)";
      if (nodes.empty())
        return "group \"" + name + "\" has no nodes (allowed: at least " + std::to_string(x_.owners_per_partition) +
               ")";
      for (const auto& node : nodes) {
        auto* m = find(node);
        if (m == nullptr)
          return unknown("group \"" + name + "\"", node);
        if (group_of(m->id) != nullptr)
          return node + " is in the groups \"" + group_of(m->id)->name + "\" and \"" + name + "\" (allowed: one)";
        put(m->id, name);
      }
    }
    return {};
  }

  reason apply(const rebalance&) {
    x_.only_replaced = false;
    return {};
  }

  // -- Their parts --

  reason come(const new_node& node) {
    auto what = "join " + node.name + ": ";
    if (node.name.empty())
      return what + "has no name (allowed: 1 to 64 letters, digits, _ and -)";
    if (!once(node.name, "place"))
      return twice(node.name);
    if (auto* m = find(node.name); m != nullptr)
      return what + "there is a node of that name" + (m->stays() ? "" : ", which is leaving") +
             " (allowed: another name" + (m->stays() ? ")" : ", or wait until it has left)");
    for (const auto& m : x_.members) {
      if (node.directory != 0 && m.directory == node.directory)
        return what + "its data directory is that of " + m.name + " (allowed: an empty data_dir)";
      if (node.peer_port != 0 && m.state != member_state::gone && m.host == node.host &&
          (m.peer_port == node.peer_port || m.resp_port == node.peer_port))
        return what + node.host + ":" + std::to_string(node.peer_port) + " is an address of " + m.name +
               " (allowed: another host or port)";
    }
    for (const auto& r : now_.removed) {
      auto same_directory = r.directory != 0 && r.directory == node.directory;
      auto may_be_the_same = r.name == node.name && (r.directory == 0 || node.directory == 0);
      if (same_directory)
        return what + r.name + " was removed from this cluster; its data directory must not be used again (allowed: " +
               "an empty data_dir)";
      if (may_be_the_same)
        return what + "a node of that name was removed from this cluster, and it is not known whether this is its " +
               "data directory (allowed: another name, with an empty data_dir)";
    }
    x_.members.push_back({node_id{x_.next_id++}, node.name, node.host, node.zone, node.weight, node.peer_port,
                          node.resp_port, node.directory, member_state::joining});
    if (!node.group.empty())
      put(x_.members.back().id, node.group);
    return {};
  }

  /// Changes a member that stays.
  template <class Function>
  reason with(const std::string& what, const std::string& name, const char* kind, Function f) {
    x_.only_replaced = false;
    auto* m = find(name);
    if (m == nullptr)
      return unknown(what, name);
    if (!once(name, kind))
      return twice(name);
    if (!m->stays())
      return what + " " + name + ": it is leaving (allowed: a node that stays)";
    f(*m);
    return {};
  }

  void put(node_id node, const std::string& group) {
    for (auto& g : x_.groups)
      g.nodes.erase(std::remove(g.nodes.begin(), g.nodes.end(), node), g.nodes.end());
    auto is_it = [&](const replica_group& g) { return g.name == group; };
    auto i = std::find_if(x_.groups.begin(), x_.groups.end(), is_it);
    if (i == x_.groups.end())
      i = x_.groups.insert(i, {group, {}});
    i->nodes.insert(std::lower_bound(i->nodes.begin(), i->nodes.end(), node), node);
    drop_empty_groups();
  }

  /// As if it had never come.
  void forget(node_id node) {
    x_.members.erase(std::find_if(x_.members.begin(), x_.members.end(), [&](const member& m) { return m.id == node; }));
    for (auto& g : x_.groups)
      g.nodes.erase(std::remove(g.nodes.begin(), g.nodes.end(), node), g.nodes.end());
    drop_empty_groups();
  }
  void drop_empty_groups() {
    x_.groups.erase(std::remove_if(x_.groups.begin(), x_.groups.end(), [](const auto& g) { return g.nodes.empty(); }),
                    x_.groups.end());
  }

  member* find(const std::string& name) {
    auto i = std::find_if(x_.members.begin(), x_.members.end(), [&](const member& m) { return m.name == name; });
    return i != x_.members.end() ? &*i : nullptr;
  }
  const replica_group* group_of(node_id node) const {
    for (const auto& g : x_.groups)
      if (std::find(g.nodes.begin(), g.nodes.end(), node) != g.nodes.end())
        return &g;
    return nullptr;
  }

  /// What is done to a node is done once in a plan: two weights, or leaving and being replaced, are a mistake.
  bool once(const std::string& name, const char* kind) { return done_.emplace(name, kind).second; }
  static reason twice(const std::string& name) {
    return "two changes of " + name + " (allowed: one of a kind in one plan)";
  }

  reason unknown(const std::string& what, const std::string& name) const {
    std::vector<std::string> names;
    for (const auto& m : x_.members)
      names.push_back(m.name);
    return what + " " + name + ": there is no such node (allowed: one of " + listed(names) + ")";
  }
  std::string group_names() const {
    std::vector<std::string> names;
    for (const auto& g : x_.groups)
      names.push_back(g.name);
    return listed(names);
  }

  // -- The whole --

  reason check() const {
    auto stay = x_.staying();
    auto n = x_.owners_per_partition;
    if (stay.empty())
      return "no node would be left (allowed: at least one)";
    for (const auto& m : stay)
      if (m.weight < 1 || m.weight > weight_max)
        return m.name + ": weight " + std::to_string(m.weight) + " is out of range (allowed: 1 to " +
               std::to_string(weight_max) + ")";
    auto left = "only " + std::to_string(stay.size()) + " nodes would be left";
    if (n < 1 || (done_.count({"", "owners"}) > 0 && n > stay.size()))
      return std::to_string(n) + " owners are out of range (allowed: 1 to the number of nodes, " +
             std::to_string(stay.size()) + ")";
    auto before = now_.job && now_.joint() ? now_.job->members_before.size() : now_.members.size();
    if (stay.size() < n && stay.size() < before)
      return left + " for " + std::to_string(n) + " owners of every partition (allowed: at least " + std::to_string(n) +
             " nodes: let others join or replace those that go, or keep fewer copies first)";
    return check_groups(stay);
  }

  reason check_groups(const std::vector<member>& stay) const {
    if (x_.groups.empty())
      return {};
    std::map<std::string, uint32_t> size;
    for (const auto& m : stay) {
      const auto* group = group_of(m.id);
      if (group == nullptr)
        return m.name + " is in no group (allowed: every node in one of " + group_names() + ")";
      if (group->name.empty())
        return m.name + ": its group has no name (allowed: 1 to 64 letters, digits, _ and -)";
      ++size[group->name];
    }
    for (auto [name, count] : size) {
      auto before = size_before(name);
      if (count < x_.owners_per_partition && (before == 0 || count < before))
        return "group \"" + name + "\" would have " + std::to_string(count) + " nodes for " +
               std::to_string(x_.owners_per_partition) + " owners of every partition (allowed: at least " +
               std::to_string(x_.owners_per_partition) + ", all in one plan; or none: then others get what it has)";
    }
    return {};
  }
  size_t size_before(const std::string& name) const {
    const auto& groups = now_.job && now_.joint() ? now_.job->groups_before : now_.groups;
    for (const auto& g : groups)
      if (g.name == name)
        return g.nodes.size();
    return 0;
  }

  const ring& now_;
  const planning& given_;
  topology_draft x_;
  std::set<std::pair<std::string, std::string>> done_; // (node, kind of change)
};

} // namespace

std::vector<member> topology_draft::staying() const {
  std::vector<member> result;
  std::copy_if(members.begin(), members.end(), std::back_inserter(result), [](const member& m) { return m.stays(); });
  return result;
}

or_refused<topology_draft> draft_topology(const ring& now, const std::vector<topology_change>& changes,
                                          const planning& given) {
  return drafting(now, given).run(changes);
}

} // namespace crema::protocol
