// What an operator may want of the members and of who owns what. Several of these make one plan (topology_plan.hpp).
#pragma once

#include "protocol/bucket_change.hpp"
#include "protocol/types.hpp"

#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace crema::protocol {

/// Why something is not done, and what would be ("… (allowed: …)").
struct refused {
  std::string why;
};
template <class T>
using or_refused = std::variant<T, refused>;

/// A node that is to become a member.
struct new_node {
  std::string name, host;
  uint16_t peer_port = 0, resp_port = 0;
  std::string zone;
  uint32_t weight = 1;
  uint64_t directory = 0; ///< The random id of its data directory.
  std::string group;      ///< With placement `groups`: one that there is, or a new one.
};

struct join_node {
  new_node node;
};
/// The node hands over what it has, and is then no member any more.
struct leave_node {
  std::string name;
};
/// Its process is gone for good, with its data: nobody waits for it. Of a node that is still joining: it does not.
struct remove_node {
  std::string name;
};
/// `by` takes the places of `name` in every row, and its weight and group; nothing else moves.
struct replace_node {
  std::string name;
  new_node by;
  bool gone = false; ///< Its process is gone for good; else it leaves.
};
struct set_weight {
  std::string name;
  uint32_t weight = 1; ///< 1 .. 1000
};
struct set_zone {
  std::string name, zone;
};
/// From now on placement `groups`, with these; or `ring`, with none.
struct set_groups {
  std::vector<std::pair<std::string, std::vector<std::string>>> groups; ///< (name, names of nodes)
};
/// Moves a node to another group, or a new one.
struct set_group {
  std::string name, group;
};
/// Evens out what is uneven: after replacements by nodes elsewhere, say.
struct rebalance {};

using topology_change = std::variant<join_node, leave_node, remove_node, replace_node, set_weight, set_zone, set_groups,
                                     set_group, rebalance, create_bucket, set_bucket, drop_bucket>;

/// "join n4", "set the weight of n2 to 3", ...
std::string to_words(const topology_change& change);

} // namespace crema::protocol
