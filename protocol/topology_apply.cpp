// The changes, one by one (topology_draft.hpp).
#include "protocol/topology_draft.hpp"

#include <algorithm>
#include <set>
#include <utility>

namespace crema::protocol {

namespace {

using reason = std::string; // Empty: nothing is wrong.

/// Applies one change after the other; the first that is refused ends it.
class drafting {
public:
  explicit drafting(const ring& now) : now_(now) {
    x_.members = now.members;
    x_.groups = now.groups;
    x_.next_id = std::max(now.next_id, now.members.empty() ? 0 : to_index(now.members.back().id) + 1);
    x_.buckets = now.buckets;
    for (auto& b : x_.buckets)
      b.set(numbers_to_be(now, b));
    x_.next_bucket = now.next_bucket;
    x_.owners_per_partition = widest();
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
    if (auto why = check_buckets(); !why.empty())
      return refused{why};
    if (auto why = x_.check(now_); !why.empty())
      return refused{why};
    return std::move(x_);
  }

private:
  // -- The changes --

  reason apply(const join_node& c) {
    x_.only_replaced = x_.only_buckets = false;
    if (!now_.groups.empty() && c.node.group.empty())
      return "join " + c.node.name + ": names no group (allowed: one of " + x_.group_names() + ", or a new one)";
    return come(c.node);
  }

  reason apply(const leave_node& c) {
    x_.only_replaced = x_.only_buckets = false;
    auto* m = x_.find(c.name);
    if (m == nullptr)
      return unknown("leave", c.name);
    if (m->state == member_state::joining)
      return "leave " + c.name + ": it is only joining (allowed: remove it, or cancel the change)";
    if (!m->stays())
      return "leave " + c.name + ": it already does (allowed: remove it, if its process is gone for good)";
    return once(c.name, "place") ? (m->state = member_state::leaving, "") : twice(c.name);
  }

  reason apply(const remove_node& c) {
    x_.only_replaced = x_.only_buckets = false;
    auto* m = x_.find(c.name);
    if (m == nullptr)
      return unknown("remove", c.name);
    if (!once(c.name, "place"))
      return twice(c.name);
    if (m->state == member_state::gone)
      return "remove " + c.name + ": it already is being removed (allowed: another node)";
    if (m->state == member_state::joining)
      x_.forget(m->id);
    else
      m->state = member_state::gone;
    return {};
  }

  reason apply(const replace_node& c) {
    x_.only_buckets = false;
    auto* m = x_.find(c.name);
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
    return with("move", c.name, "group", [&](member& m) { x_.put(m.id, c.group); });
  }

  reason apply(const set_groups& c) {
    x_.only_replaced = x_.only_buckets = false;
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
        auto* m = x_.find(node);
        if (m == nullptr)
          return unknown("group \"" + name + "\"", node);
        if (const auto* other = x_.group_of(m->id); other != nullptr)
          return in_two_groups(node, other->name, name);
        x_.put(m->id, name);
      }
    }
    return {};
  }

  reason apply(const rebalance&) {
    x_.only_replaced = x_.only_buckets = false;
    return {};
  }

  reason apply(const create_bucket& c) {
    auto what = "create bucket " + c.name + ": ";
    if (!once(c.name, "bucket"))
      return twice("bucket " + c.name);
    if (x_.find_bucket(c.name) != nullptr)
      return what + "there is a bucket of that name (allowed: another name)";
    if (x_.next_bucket == UINT16_MAX)
      return what + "there have been too many buckets in the life of this cluster (allowed: 64511 at run time)";
    bucket b;
    b.name = c.name;
    b.created = now_.epoch + 1;
    b.id = x_.next_bucket++;
    b.conflict = c.conflict;
    auto used = [this](uint16_t db) {
      return std::any_of(x_.buckets.begin(), x_.buckets.end(), [db](const bucket& x) { return x.db == db; });
    };
    while (b.db <= db_max && used(b.db))
      ++b.db;
    b.db = c.db.value_or(b.db);
    if (b.db > db_max)
      return what + "no db is free (allowed: " + std::to_string(db_max + 1) + " buckets)";
    if (used(b.db))
      return what + "db " + std::to_string(b.db) + " is that of another bucket (allowed: one that is free)";
    b.n = c.settings.n.value_or(std::min<uint32_t>(3, static_cast<uint32_t>(x_.staying().size())));
    b.r = b.w = b.n / 2 + 1;
    x_.buckets.push_back(b);
    return change(x_.buckets.back(), c.settings, what);
  }

  reason apply(const set_bucket& c) {
    if (!once(c.name, "bucket"))
      return twice("bucket " + c.name);
    auto* b = x_.find_bucket(c.name);
    if (b == nullptr)
      return unknown_bucket("set", c.name);
    auto before = b->present();
    auto follows = [&](uint32_t x) { return c.settings.n && x == before.n / 2 + 1 ? *c.settings.n / 2 + 1 : x; };
    b->r = follows(before.r);
    b->w = follows(before.w);
    return change(*b, c.settings, "set bucket " + c.name + ": ");
  }

  reason apply(const drop_bucket& c) {
    if (!once(c.name, "bucket"))
      return twice("bucket " + c.name);
    auto* b = x_.find_bucket(c.name);
    if (b == nullptr)
      return unknown_bucket("drop", c.name);
    if (x_.buckets.size() == 1)
      return "drop bucket " + c.name + ": it is the only one (allowed: after another one was created)";
    x_.buckets.erase(x_.buckets.begin() + (b - x_.buckets.data()));
    return {};
  }

  // -- Their parts --

  static reason change(bucket& b, const bucket_settings& to, const std::string& what) {
    b.n = to.n.value_or(b.n);
    b.r = to.r.value_or(b.r);
    b.w = to.w.value_or(b.w);
    b.sloppy = to.sloppy.value_or(b.sloppy);
    b.durability = to.durability.value_or(b.durability);
    b.read_repair = to.read_repair.value_or(b.read_repair);
    if (b.n < 1 || b.n > copies_max)
      return what + "n = " + std::to_string(b.n) + " is out of range (allowed: 1 to " + std::to_string(copies_max) +
             ")";
    for (auto [name, value] : {std::pair{"r", b.r}, std::pair{"w", b.w}})
      if (value < 1 || value > b.n)
        return what + name + " = " + std::to_string(value) + " does not fit n = " + std::to_string(b.n) +
               " (allowed: 1 to " + std::to_string(b.n) + ")";
    return {};
  }

  /// How many owners a row needs follows from the buckets. Of one that is changed there must be as many nodes.
  reason check_buckets() {
    for (const auto& b : x_.buckets) {
      const auto* before = now_.find_bucket(b.id);
      auto changed = before == nullptr || numbers_to_be(now_, *before).n != b.n;
      if (auto nodes = x_.staying().size(); changed && b.n > nodes)
        return "bucket " + b.name + ": n = " + std::to_string(b.n) + " copies need as many nodes, and there are " +
               std::to_string(nodes) + " (allowed: 1 to " + std::to_string(std::min<size_t>(nodes, copies_max)) + ")";
    }
    x_.owners_per_partition = widest();
    auto width = (now_.joint() ? now_.next : now_.owners).front().size();
    if (x_.groups.empty() && width != std::min<size_t>(x_.owners_per_partition, x_.staying().size()))
      x_.only_replaced = false; // Rows are dealt anew.
    return {};
  }

  uint32_t widest() const {
    uint32_t most = 1;
    for (const auto& b : x_.buckets)
      most = std::max(most, b.n);
    return most;
  }

  reason unknown_bucket(const std::string& what, const std::string& name) const {
    std::vector<std::string> names;
    for (const auto& b : now_.buckets)
      names.push_back(b.name);
    return what + " bucket " + name + ": there is no such bucket (allowed: one of " + listed(names) + ")";
  }

  reason come(const new_node& node) {
    auto what = "join " + node.name + ": ";
    if (node.name.empty())
      return what + "has no name (allowed: 1 to 64 letters, digits, _ and -)";
    if (!once(node.name, "place"))
      return twice(node.name);
    if (const auto* m = x_.find(node.name); m != nullptr)
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
      x_.put(x_.members.back().id, node.group);
    return {};
  }

  /// Changes a member that stays.
  template <class Function>
  reason with(const std::string& what, const std::string& name, const char* kind, Function f) {
    x_.only_replaced = x_.only_buckets = false;
    auto* m = x_.find(name);
    if (m == nullptr)
      return unknown(what, name);
    if (!once(name, kind))
      return twice(name);
    if (!m->stays())
      return what + " " + name + ": it is leaving (allowed: a node that stays)";
    f(*m);
    return {};
  }

  /// What is done to a node is done once in a plan: two weights, or leaving and being replaced, are a mistake.
  bool once(const std::string& name, const char* kind) { return done_.emplace(name, kind).second; }
  static reason twice(const std::string& name) {
    return "two changes of " + name + " (allowed: one of a kind in one plan)";
  }

  static reason in_two_groups(const std::string& node, const std::string& a, const std::string& b) {
    return node + " is in the groups \"" + a + "\" and \"" + b + "\" (allowed: one)";
  }

  reason unknown(const std::string& what, const std::string& name) const {
    std::vector<std::string> names;
    for (const auto& m : x_.members)
      names.push_back(m.name);
    return what + " " + name + ": there is no such node (allowed: one of " + listed(names) + ")";
  }
  const ring& now_;
  topology_draft x_;
  std::set<std::pair<std::string, std::string>> done_; // (node, kind of change)
};

} // namespace

or_refused<topology_draft> draft_topology(const ring& now, const std::vector<topology_change>& changes) {
  return drafting(now).run(changes);
}

} // namespace crema::protocol
