#include "config/topology_changes.hpp"

#include "config/bucket_settings.hpp"
#include "config/json_reader.hpp"
#include "config/rules.hpp"
#include "config/schema.hpp"

#include <algorithm>
#include <charconv>
#include <iterator>

namespace crema::config {

namespace {

using nlohmann::json;
using protocol::topology_change;
using problems = std::vector<problem>;

constexpr size_t changes_bytes_max = size_t{1024} * 1024;
constexpr size_t groups_max = 1024;
constexpr size_t members_max = 1024;
constexpr size_t shown_max = 3;

// -- The rules of single values: each returns what is wrong, or "" --

std::string check_zone_name(const std::string& zone) { return zone.empty() ? "" : check_name(zone); }
const char* const zone_allowed = "0 to 64 letters, digits, '.', '_' or '-'";

bool parse_hex(const std::string& text, uint64_t& number) {
  const auto* end = text.data() + text.size();
  auto [stop, error] = std::from_chars(text.data(), end, number, 16);
  return error == std::errc{} && stop == end && text.size() <= 16;
}
std::string check_directory(const std::string& text) {
  uint64_t number = 0;
  return !parse_hex(text, number) ? "is no hexadecimal number" : number == 0 ? "is 0, which no directory has" : "";
}

/// A value that is a name itself.
std::string read_name(const json& value, const std::string& path, problems& found) {
  if (!value.is_string()) {
    found.push_back({path, wrong_type(value, "a name"), name_allowed});
    return {};
  }
  auto name = value.get<std::string>();
  if (auto why = check_name(name); !why.empty())
    found.push_back({path, config::quoted(name) + " " + why, name_allowed});
  return name;
}

void required_name(object_reader& reader, const char* field, std::string& target) {
  reader.require(field, name_allowed);
  reader.string(field, target, check_name, name_allowed);
}

// -- The kinds of changes --

protocol::new_node read_node(const json& value, const std::string& path, problems& found) {
  protocol::new_node node;
  if (!value.is_object()) { // Then it is the name of one that waits to join.
    node.name = read_name(value, path, found);
    return node;
  }
  object_reader reader{value, path, found};
  std::string directory;
  required_name(reader, "name", node.name);
  reader.string("host", node.host, check_host, host_allowed);
  reader.integer("peer_port", node.peer_port, 1, 65535, "a port number");
  reader.integer("resp_port", node.resp_port, 1, 65535, "a port number");
  reader.string("zone", node.zone, check_zone_name, zone_allowed);
  reader.integer("weight", node.weight, 1, 1000, "an integer");
  reader.string("directory", directory, check_directory, "1 to 16 hexadecimal digits, not 0");
  reader.string("group", node.group, check_name, name_allowed);
  reader.report_unknown();
  parse_hex(directory, node.directory);
  return node;
}

topology_change read_join(const json& value, const std::string& path, problems& found) {
  return protocol::join_node{read_node(value, path, found)};
}

topology_change read_leave(const json& value, const std::string& path, problems& found) {
  return protocol::leave_node{read_name(value, path, found)};
}

topology_change read_remove(const json& value, const std::string& path, problems& found) {
  return protocol::remove_node{read_name(value, path, found)};
}

topology_change read_replace(const json& value, const std::string& path, problems& found) {
  protocol::replace_node change;
  object_reader reader{value, path, found};
  required_name(reader, "name", change.name);
  reader.require("by", "the name of a node that waits to join, or an object");
  if (const auto* by = reader.any("by"))
    change.by = read_node(*by, reader.path_of("by"), found);
  reader.boolean("gone", change.gone);
  reader.report_unknown();
  return change;
}

topology_change read_set_weight(const json& value, const std::string& path, problems& found) {
  protocol::set_weight change;
  object_reader reader{value, path, found};
  required_name(reader, "name", change.name);
  reader.require("weight", "an integer, 1 to 1000");
  reader.integer("weight", change.weight, 1, 1000, "an integer");
  reader.report_unknown();
  return change;
}

topology_change read_set_zone(const json& value, const std::string& path, problems& found) {
  protocol::set_zone change;
  object_reader reader{value, path, found};
  required_name(reader, "name", change.name);
  reader.require("zone", zone_allowed);
  reader.string("zone", change.zone, check_zone_name, zone_allowed);
  reader.report_unknown();
  return change;
}

topology_change read_set_group(const json& value, const std::string& path, problems& found) {
  protocol::set_group change;
  object_reader reader{value, path, found};
  required_name(reader, "name", change.name);
  required_name(reader, "group", change.group);
  reader.report_unknown();
  return change;
}

std::vector<std::string> read_nodes_of_group(const json* value, const std::string& path, problems& found) {
  std::vector<std::string> names;
  if (value == nullptr)
    return names;
  auto allowed = "a list of 1 to " + std::to_string(members_max) + " names of nodes";
  if (!value->is_array()) {
    found.push_back({path, wrong_type(*value, "a list"), allowed});
    return names;
  }
  if (value->empty() || value->size() > members_max) {
    found.push_back({path, "has " + std::to_string(value->size()) + " elements", allowed});
    return names;
  }
  for (const auto& name : *value)
    names.push_back(read_name(name, path + "[" + std::to_string(names.size()) + "]", found));
  return names;
}

topology_change read_set_groups(const json& value, const std::string& path, problems& found) {
  protocol::set_groups change;
  auto allowed = "a list of at most " + std::to_string(groups_max) + " objects with name and nodes; none: no groups";
  if (!value.is_array()) {
    found.push_back({path, wrong_type(value, "a list"), allowed});
    return change;
  }
  if (value.size() > groups_max) {
    found.push_back({path, "has " + std::to_string(value.size()) + " elements", allowed});
    return change;
  }
  for (const auto& element : value) {
    auto& [name, nodes] = change.groups.emplace_back();
    object_reader reader{element, path + "[" + std::to_string(change.groups.size() - 1) + "]", found};
    required_name(reader, "name", name);
    reader.require("nodes", "a list of names of nodes");
    nodes = read_nodes_of_group(reader.any("nodes"), reader.path_of("nodes"), found);
    reader.report_unknown();
  }
  return change;
}

topology_change read_rebalance(const json& value, const std::string& path, problems& found) {
  if (value != json(true))
    found.push_back({path, wrong_type(value, "true"), "true"});
  return protocol::rebalance{};
}

void required_bucket(object_reader& reader, std::string& target) {
  reader.require("name", bucket_name_allowed);
  reader.string("name", target, check_bucket_name, bucket_name_allowed);
}

topology_change read_create_bucket(const json& value, const std::string& path, problems& found) {
  protocol::create_bucket change;
  object_reader reader{value, path, found};
  required_bucket(reader, change.name);
  uint16_t db = 0;
  reader.integer("db", db, 0, protocol::db_max, "a number");
  if (reader.has("db"))
    change.db = db;
  auto mode = bucket_mode::eventual;
  read_bucket_kind(reader, mode, change.conflict);
  change.settings = read_bucket_settings(reader);
  reader.report_unknown();
  return change;
}

topology_change read_set_bucket(const json& value, const std::string& path, problems& found) {
  protocol::set_bucket change;
  object_reader reader{value, path, found};
  required_bucket(reader, change.name);
  for (const auto* fixed : {"mode", "conflict", "db"})
    if (reader.any(fixed) != nullptr)
      reader.report(fixed, "cannot be changed", "only when the bucket is created");
  change.settings = read_bucket_settings(reader);
  reader.report_unknown();
  return change;
}

topology_change read_drop_bucket(const json& value, const std::string& path, problems& found) {
  return protocol::drop_bucket{read_name(value, path, found)};
}

struct change_kind {
  const char* name;
  topology_change (*read)(const json& value, const std::string& path, problems& found);
};
constexpr change_kind kinds[] = {{"join", read_join},
                                 {"leave", read_leave},
                                 {"remove", read_remove},
                                 {"replace", read_replace},
                                 {"set-weight", read_set_weight},
                                 {"set-zone", read_set_zone},
                                 {"set-group", read_set_group},
                                 {"set-groups", read_set_groups},
                                 {"rebalance", read_rebalance},
                                 {"create-bucket", read_create_bucket},
                                 {"set-bucket", read_set_bucket},
                                 {"drop-bucket", read_drop_bucket}};

void read_change(const json& value, const std::string& path, std::vector<topology_change>& changes, problems& found) {
  object_reader reader{value, path, found};
  auto before = found.size();
  for (const auto& kind : kinds)
    if (const auto* what = reader.any(kind.name))
      changes.push_back(kind.read(*what, reader.path_of(kind.name), found));
  reader.report_unknown();
  if (value.is_object() && value.size() != 1 && found.size() == before)
    found.push_back({path, "has " + std::to_string(value.size()) + " fields", "one change in each object"});
}

protocol::refused refusal(const problems& found) {
  std::string text;
  for (size_t i = 0; i < std::min(found.size(), shown_max); ++i) {
    const auto& p = found[i];
    text += (i > 0 ? "; " : "") + std::string("changes") + p.path + ": " + p.what + " (allowed: " + p.allowed + ")";
  }
  if (found.size() > shown_max)
    text += "; and " + std::to_string(found.size() - shown_max) + " more";
  return {text};
}

} // namespace

protocol::or_refused<std::vector<topology_change>> topology_changes_from_json(std::string_view text) {
  problems found;
  if (text.size() > changes_bytes_max)
    return refusal({{"", "longer than 1 MiB", "at most " + std::to_string(topology_changes_max) + " changes"}});
  auto tree = read_json(text, found);
  if (!tree) {
    for (auto& p : found)
      p.allowed = "a JSON list of changes"; // It says "one JSON object", as of a file.
    return refusal(found);
  }
  if (!tree->is_array() || tree->empty() || tree->size() > topology_changes_max) {
    auto what = !tree->is_array() ? wrong_type(*tree, "a list") : "has " + std::to_string(tree->size()) + " elements";
    return refusal({{"", what, "a list of 1 to " + std::to_string(topology_changes_max) + " changes"}});
  }
  std::vector<topology_change> changes;
  size_t at = 0;
  for (const auto& element : *tree) {
    if (found.size() >= problems_max)
      break;
    read_change(element, "[" + std::to_string(at++) + "]", changes, found);
  }
  if (!found.empty())
    return refusal(found);
  return changes;
}

} // namespace crema::config
