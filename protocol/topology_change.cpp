#include "protocol/topology_change.hpp"

namespace crema::protocol {

namespace {

struct words {
  std::string operator()(const join_node& x) const {
    return "join " + x.node.name + (x.node.group.empty() ? "" : " to group " + x.node.group);
  }
  std::string operator()(const leave_node& x) const { return "leave " + x.name; }
  std::string operator()(const remove_node& x) const { return "remove " + x.name; }
  std::string operator()(const replace_node& x) const {
    return "replace " + x.name + (x.gone ? ", which is gone, by " : " by ") + x.by.name;
  }
  std::string operator()(const set_weight& x) const {
    return "set the weight of " + x.name + " to " + std::to_string(x.weight);
  }
  std::string operator()(const set_zone& x) const { return "set the zone of " + x.name + " to \"" + x.zone + "\""; }
  std::string operator()(const set_groups& x) const {
    if (x.groups.empty())
      return "dissolve the groups";
    std::string result = "set the groups to";
    const char* before = " ";
    for (const auto& [name, nodes] : x.groups) {
      result += before + name + ":";
      before = "; ";
      for (const auto& n : nodes)
        result += " " + n;
    }
    return result;
  }
  std::string operator()(const set_group& x) const { return "move " + x.name + " to group " + x.group; }
  std::string operator()(const rebalance&) const { return "rebalance"; }
  std::string operator()(const create_bucket& x) const { return to_words(x); }
  std::string operator()(const set_bucket& x) const { return to_words(x); }
  std::string operator()(const drop_bucket& x) const { return to_words(x); }
};

} // namespace

std::string to_words(const topology_change& change) { return std::visit(words{}, change); }

} // namespace crema::protocol
