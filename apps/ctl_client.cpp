#include "apps/ctl_client.hpp"

#include "config/json_reader.hpp"

#include <algorithm>
#include <iterator>

namespace crema::cli {

namespace {

const nlohmann::json& member_of(const nlohmann::json& tree, const char* name) {
  static const nlohmann::json nothing;
  if (!tree.is_object())
    return nothing;
  auto found = tree.find(name);
  return found != tree.end() ? *found : nothing;
}

std::string text_of(const nlohmann::json& value) {
  return value.is_string() ? value.get<std::string>()
                           : value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

} // namespace

std::optional<answer> ask(resp_client& client, const std::vector<std::string>& words, std::string& why) {
  auto reply = client.call(words);
  if (!reply || reply->is_error()) {
    why = reply ? reply->text : client.error();
    return std::nullopt;
  }
  std::vector<config::problem> problems;
  auto tree = config::read_json(reply->text, problems); // Bounds the nesting.
  if (!tree || !tree->is_object()) {
    why = words.front() + " was not answered with JSON";
    return std::nullopt;
  }
  return answer{reply->text, std::move(*tree)};
}

std::optional<answer> ask_at(const std::string& where, const std::vector<std::string>& words, std::string& why,
                             std::chrono::seconds timeout) {
  resp_client client{timeout};
  if (client.connect(parse_address(where).value_or(address{})))
    return ask(client, words, why);
  why = client.error();
  return std::nullopt;
}

std::vector<nlohmann::json> list_in(const nlohmann::json& tree, const char* name) {
  std::vector<nlohmann::json> objects;
  if (const auto& found = member_of(tree, name); found.is_array())
    std::copy_if(found.begin(), found.end(), std::back_inserter(objects), [](const auto& x) { return x.is_object(); });
  return objects;
}

std::string text_in(const nlohmann::json& tree, const char* name) {
  const auto& found = member_of(tree, name);
  return found.is_null() ? "" : text_of(found);
}

std::vector<std::string> texts_in(const nlohmann::json& tree, const char* name) {
  std::vector<std::string> texts;
  if (const auto& found = member_of(tree, name); found.is_array())
    std::transform(found.begin(), found.end(), std::back_inserter(texts), text_of);
  return texts;
}

uint64_t number_in(const nlohmann::json& tree, const char* name) {
  const auto& found = member_of(tree, name);
  return found.is_number_unsigned() ? found.get<uint64_t>() : 0;
}

std::string dump(const nlohmann::json& tree) {
  return tree.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

} // namespace crema::cli
