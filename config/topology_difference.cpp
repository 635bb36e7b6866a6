#include "config/topology_difference.hpp"

#include "config/bucket_settings.hpp"

#include <algorithm>
#include <map>
#include <optional>
#include <set>

namespace crema::config {

namespace {

using nlohmann::json;
using protocol::refused;

std::string text_in(const json& tree, const char* name) {
  auto found = tree.is_object() ? tree.find(name) : tree.end();
  return tree.is_object() && found != tree.end() && found->is_string() ? found->get<std::string>() : std::string();
}

uint64_t number_in(const json& tree, const char* name) {
  auto found = tree.is_object() ? tree.find(name) : tree.end();
  return tree.is_object() && found != tree.end() && found->is_number_unsigned() ? found->get<uint64_t>() : 0;
}

std::vector<json> list_in(const json& tree, const char* name) {
  auto found = tree.is_object() ? tree.find(name) : tree.end();
  return tree.is_object() && found != tree.end() && found->is_array() ? found->get<std::vector<json>>()
                                                                      : std::vector<json>();
}

/// The reading of a file against what a node tells.
class comparing {
public:
  comparing(const cluster_config& wanted, const json& now) : wanted_(wanted), now_(now) {
    for (const auto& m : list_in(now, "members"))
      members_[text_in(m, "name")] = m;
    for (const auto& g : list_in(now, "groups"))
      for (const auto& node : list_in(g, "nodes"))
        if (node.is_string())
          groups_[node.get<std::string>()] = text_in(g, "name");
  }

  protocol::or_refused<topology_difference> run(bool drops) {
    for (auto step : {&comparing::compare_cluster, &comparing::compare_nodes, &comparing::compare_groups,
                      &comparing::compare_buckets})
      if (auto why = (this->*step)(); !why.empty())
        return refused{why};
    for (const auto& b : list_in(now_, "buckets")) {
      auto name = text_in(b, "name");
      if (wanted_.find_bucket(name) != nullptr)
        continue;
      if (drops)
        result_.changes.push_back({{"drop-bucket", name}});
      else
        result_.notes.push_back("bucket " + name + " is not in the file, and stays (--drop drops it)");
    }
    return std::move(result_);
  }

private:
  using reason = std::string; // Empty: nothing is wrong.

  reason compare_cluster() {
    if (auto cluster = text_in(now_, "cluster"); cluster != wanted_.cluster)
      return "the file is of cluster \"" + wanted_.cluster + "\", the node is of \"" + cluster +
             "\" (allowed: a node of the same cluster)";
    if (auto partitions = list_in(now_, "owners").size(); partitions != wanted_.partitions)
      return "partitions: the file says " + std::to_string(wanted_.partitions) + ", the cluster has " +
             std::to_string(partitions) + " (allowed: the number that it was created with)";
    return {};
  }

  reason compare_nodes() {
    for (const auto& n : wanted_.nodes) {
      auto member = members_.find(n.name);
      if (member == members_.end()) {
        json node{{"name", n.name}, {"weight", n.weight}, {"zone", n.zone}};
        if (!n.group.empty())
          node["group"] = n.group;
        result_.changes.push_back({{"join", std::move(node)}});
        continue;
      }
      auto state = text_in(member->second, "state");
      if (state != "member" && state != "joining")
        return n.name + " is on its way out of the cluster (allowed: after `crema ctl jobs --watch`; or without it in "
                        "the file)";
      if (number_in(member->second, "weight") != n.weight)
        result_.changes.push_back({{"set-weight", {{"name", n.name}, {"weight", n.weight}}}});
      if (text_in(member->second, "zone") != n.zone)
        result_.changes.push_back({{"set-zone", {{"name", n.name}, {"zone", n.zone}}}});
    }
    for (const auto& [name, member] : members_) {
      auto state = text_in(member, "state");
      if (wanted_.find_node(name) == nullptr && (state == "member" || state == "joining"))
        result_.changes.push_back({{state == "member" ? "leave" : "remove", name}});
    }
    return {};
  }

  reason compare_groups() {
    std::map<std::string, json> groups;
    for (const auto& n : wanted_.nodes)
      if (!n.group.empty())
        groups.try_emplace(n.group, json::array()).first->second.push_back(n.name);
    if (groups.empty() != groups_.empty()) { // All at once: there are groups, or there are none.
      auto all = json::array();
      for (auto& [name, nodes] : groups)
        all.push_back({{"name", name}, {"nodes", std::move(nodes)}});
      result_.changes.push_back({{"set-groups", std::move(all)}});
      return {};
    }
    for (const auto& n : wanted_.nodes)
      if (auto now = groups_.find(n.name); now != groups_.end() && now->second != n.group)
        result_.changes.push_back({{"set-group", {{"name", n.name}, {"group", n.group}}}});
    return {};
  }

  reason compare_buckets() {
    std::map<std::string, json> there;
    for (const auto& b : list_in(now_, "buckets"))
      there[text_in(b, "name")] = b;
    for (const auto& b : wanted_.buckets) {
      auto known = there.find(b.name);
      auto all = settings_of(b);
      if (known == there.end()) {
        all["name"] = b.name;
        all["db"] = b.db;
        all["conflict"] = b.conflict == conflict_rule::lww ? "lww" : "siblings";
        result_.changes.push_back({{"create-bucket", std::move(all)}});
        continue;
      }
      const auto& now = known->second;
      if (text_in(now, "conflict") != (b.conflict == conflict_rule::lww ? "lww" : "siblings") ||
          number_in(now, "db") != b.db)
        return "bucket " + b.name + ": the file says db " + std::to_string(b.db) + ", conflict " +
               (b.conflict == conflict_rule::lww ? "lww" : "siblings") + ", the cluster has db " +
               std::to_string(number_in(now, "db")) + ", conflict " + text_in(now, "conflict") +
               " (allowed: what it was created with, or another name)";
      auto before = fields_now(now);
      json settings{{"name", b.name}};
      auto other_numbers = before["n"] != all["n"] || before["r"] != all["r"] || before["w"] != all["w"];
      for (const auto& [field, value] : all.items())
        if (before[field] != value || (other_numbers && (field == "n" || field == "r" || field == "w")))
          settings[field] = value;
      if (settings.size() > 1)
        result_.changes.push_back({{"set-bucket", std::move(settings)}});
    }
    return {};
  }

  /// As they are, or are about to be.
  static json fields_now(const json& b) {
    auto next = b.find("next");
    const auto& numbers = next != b.end() && next->is_object() ? *next : b;
    return {{"n", number_in(numbers, "n")},           {"r", number_in(numbers, "r")},
            {"w", number_in(numbers, "w")},           {"sloppy", text_in(b, "quorum") == "sloppy"},
            {"durability", text_in(b, "durability")}, {"read_repair", text_in(b, "read_repair")}};
  }

  const cluster_config& wanted_;
  const json& now_;
  std::map<std::string, json> members_;       // By name.
  std::map<std::string, std::string> groups_; // By node.
  topology_difference result_;
};

} // namespace

protocol::or_refused<topology_difference> topology_difference_of(const cluster_config& wanted, const json& now,
                                                                 bool drops) {
  return comparing(wanted, now).run(drops);
}

} // namespace crema::config
