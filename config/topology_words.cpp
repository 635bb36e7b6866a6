// Changes of the topology in words (topology_changes.hpp).
#include "config/schema.hpp"
#include "config/topology_changes.hpp"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <optional>

namespace crema::config {

namespace {

using nlohmann::json;
using arguments = std::vector<std::string>;

std::optional<uint64_t> number_of(const std::string& text) {
  uint64_t number = 0;
  const auto* end = text.data() + text.size();
  auto [stop, error] = std::from_chars(text.data(), end, number);
  return error == std::errc{} && stop == end ? std::optional{number} : std::nullopt;
}

/// Each returns what the JSON object says of its kind; nothing if the words do not fit the usage.
std::optional<json> one_name(const arguments& words) {
  return words.size() == 1 ? std::optional<json>{words[0]} : std::nullopt;
}

std::optional<json> join_of(const arguments& words) {
  if (words.size() % 2 == 0)
    return std::nullopt;
  if (words.size() == 1)
    return words[0];
  json node{{"name", words[0]}};
  for (size_t i = 1; i < words.size(); i += 2) {
    const auto& field = words[i];
    auto weight = number_of(words[i + 1]);
    if ((field != "group" && field != "zone" && field != "weight") || node.contains(field) ||
        (field == "weight" && !weight))
      return std::nullopt;
    node[field] = field == "weight" ? json(*weight) : json(words[i + 1]);
  }
  return node;
}

std::optional<json> replace_of(const arguments& words) {
  if (words.size() != 2 && !(words.size() == 3 && words[2] == "gone"))
    return std::nullopt;
  return json{{"name", words[0]}, {"by", words[1]}, {"gone", words.size() == 3}};
}

std::optional<json> weight_of(const arguments& words) {
  auto weight = words.size() == 2 ? number_of(words[1]) : std::nullopt;
  return weight ? std::optional<json>{json{{"name", words[0]}, {"weight", *weight}}} : std::nullopt;
}

std::optional<json> zone_of(const arguments& words) {
  return words.size() == 2 ? std::optional<json>{json{{"name", words[0]}, {"zone", words[1]}}} : std::nullopt;
}

std::optional<json> group_of(const arguments& words) {
  return words.size() == 2 ? std::optional<json>{json{{"name", words[0]}, {"group", words[1]}}} : std::nullopt;
}

/// "left=n1,n2,n3", ..., or "none"
std::optional<json> groups_of(const arguments& words) {
  auto groups = json::array();
  if (words == arguments{"none"})
    return groups;
  for (const auto& word : words) {
    auto equals = word.find('=');
    if (equals == std::string::npos)
      return std::nullopt;
    auto nodes = json::array();
    for (size_t at = equals + 1, comma = 0; comma != std::string::npos; at = comma + 1) {
      comma = word.find(',', at);
      nodes.push_back(word.substr(at, comma == std::string::npos ? comma : comma - at));
    }
    groups.push_back({{"name", word.substr(0, equals)}, {"nodes", std::move(nodes)}});
  }
  return groups.empty() ? std::nullopt : std::optional<json>{std::move(groups)};
}

/// "carts", "n=3", "conflict=siblings", ...
std::optional<json> bucket_of(const arguments& words) {
  if (words.empty())
    return std::nullopt;
  json bucket{{"name", words[0]}};
  for (size_t i = 1; i < words.size(); ++i) {
    auto equals = words[i].find('=');
    auto field = words[i].substr(0, equals);
    if (equals == std::string::npos || bucket.contains(field))
      return std::nullopt;
    auto value = words[i].substr(equals + 1);
    auto number = number_of(value);
    bucket[field] = number ? json(*number) : value == "true" || value == "false" ? json(value == "true") : json(value);
  }
  return bucket;
}

std::optional<json> nothing_more(const arguments& words) {
  return words.empty() ? std::optional<json>{true} : std::nullopt;
}

struct word_kind {
  const char* name;
  const char* usage;
  std::optional<json> (*read)(const arguments& words);
};
constexpr word_kind word_kinds[] = {
    {"join", "join NODE [group GROUP] [zone ZONE] [weight WEIGHT]", join_of},
    {"leave", "leave NODE", one_name},
    {"remove", "remove NODE", one_name},
    {"replace", "replace NODE BY [gone]", replace_of},
    {"set-weight", "set-weight NODE WEIGHT", weight_of},
    {"set-zone", "set-zone NODE ZONE", zone_of},
    {"set-group", "set-group NODE GROUP", group_of},
    {"set-groups", "set-groups GROUP=NODE,NODE,... [GROUP=NODE,...]..., or set-groups none", groups_of},
    {"rebalance", "rebalance", nothing_more},
    {"create-bucket", "create-bucket NAME [FIELD=VALUE]...", bucket_of},
    {"set-bucket", "set-bucket NAME FIELD=VALUE...", bucket_of},
    {"drop-bucket", "drop-bucket NAME", one_name}};

protocol::or_refused<json> one_change(const arguments& words) {
  if (words.empty())
    return protocol::refused{"a change is missing (allowed: one on both sides of each \"+\")"};
  std::vector<std::string> names;
  for (const auto& kind : word_kinds) {
    names.emplace_back(kind.name);
    if (words.front() != kind.name)
      continue;
    if (auto value = kind.read({words.begin() + 1, words.end()}))
      return json{{kind.name, std::move(*value)}};
    std::string text;
    for (const auto& word : words)
      text += (text.empty() ? "" : " ") + word;
    return protocol::refused{text + ": not understood (allowed: " + kind.usage + ")"};
  }
  std::string allowed;
  for (const auto& name : names)
    allowed += (allowed.empty() ? "" : ", ") + name;
  auto guess = nearest(words.front(), names);
  return protocol::refused{config::quoted(words.front()) + " is no change" +
                           (guess.empty() ? "" : ", did you mean \"" + guess + "\"?") + " (allowed: " + allowed + ")"};
}

} // namespace

protocol::or_refused<json> topology_changes_from_words(const std::vector<std::string>& words) {
  auto changes = json::array();
  for (auto from = words.begin();;) {
    auto to = std::find(from, words.end(), "+");
    auto change = one_change({from, to});
    if (auto* no = std::get_if<protocol::refused>(&change))
      return *no;
    changes.push_back(std::get<json>(std::move(change)));
    if (to == words.end())
      return changes;
    from = to + 1;
  }
}

std::vector<std::string> topology_change_usages() {
  std::vector<std::string> usages;
  std::transform(std::begin(word_kinds), std::end(word_kinds), std::back_inserter(usages),
                 [](const word_kind& kind) { return kind.usage; });
  return usages;
}

} // namespace crema::config
