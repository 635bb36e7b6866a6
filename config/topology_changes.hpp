// What an operator wants of the topology, as text: JSON for programs (KV.TOPOLOGY PLAN), words for people (crema ctl
// plan).
//
//   [{"join": "n5"}, {"leave": "n2"}, {"set-weight": {"name": "n4", "weight": 2}}]
//   join n5 + leave n2 + set-weight n4 2
#pragma once

#include "protocol/topology_change.hpp"

#include <nlohmann/json.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace crema::config {

/// At most so many in one plan.
constexpr size_t topology_changes_max = 1000;

/// Of a node that joins or replaces another only the name is required. What else is left out is as in a `new_node`: no
/// host and no ports. The text may come from anybody. Never throws.
protocol::or_refused<std::vector<protocol::topology_change>> topology_changes_from_json(std::string_view text);

/// The same in words, several changes with a "+" of its own between them, as JSON for the above, which is to check what
/// is named.
protocol::or_refused<nlohmann::json> topology_changes_from_words(const std::vector<std::string>& words);

/// The words there are, one kind of change per element: "join NODE [group GROUP] [zone ZONE] [weight WEIGHT]", ...
std::vector<std::string> topology_change_usages();

} // namespace crema::config
