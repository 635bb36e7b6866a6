// JSON text -> a tree, strictly: no comments, no duplicate keys, nothing after the document, valid UTF-8, bounded
// nesting. Used by the configuration only.
#pragma once

#include "config/cluster_config.hpp"

#include <nlohmann/json.hpp>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace crema::config {

/// The configuration itself needs four levels.
constexpr size_t nesting_max = 16;
/// More than this many are not looked for: the file is something else.
constexpr size_t problems_max = 100;

/// @returns nothing if the text is not JSON at all; duplicate keys are reported as well, but the tree (with the first
/// value of each) is returned, so that the other problems are found in the same run. Never throws.
std::optional<nlohmann::json> read_json(std::string_view text, std::vector<problem>& problems);

/// The path of a member: "nodes[1].name"; a name that is no plain word is quoted and shortened: nodes[1]."a b".
std::string member_path(const std::string& object_path, const std::string& name);

/// Text for a message: in quotes, control characters escaped, shortened to some 60 bytes.
std::string quoted(const std::string& text);

} // namespace crema::config
