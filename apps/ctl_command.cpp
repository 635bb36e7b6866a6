// crema ctl status, hints
#include "apps/commands.hpp"
#include "apps/resp_client.hpp"
#include "apps/status_table.hpp"
#include "config/json_reader.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iostream>
#include <iterator>
#include <memory>

namespace crema::cli {

namespace {

struct ctl_options {
  std::string where = "127.0.0.1:6401";
  bool json = false;
};

struct answer {
  std::string text; ///< As it came.
  nlohmann::json tree;
};

/// The status of one node. @returns nothing, and the reason in `why`, if it cannot be had.
std::optional<answer> status_of(const std::string& where, std::string& why) {
  constexpr std::chrono::seconds timeout{5};
  resp_client client{timeout};
  std::optional<resp_reply> reply;
  if (client.connect(parse_address(where).value_or(address{})))
    reply = client.call({"KV.STATUS"});
  if (!reply || reply->is_error()) {
    why = reply ? reply->text : client.error();
    return std::nullopt;
  }
  std::vector<config::problem> problems;
  auto tree = config::read_json(reply->text, problems); // Bounds the nesting.
  if (!tree || !tree->is_object()) {
    why = where + " did not answer with JSON";
    return std::nullopt;
  }
  return answer{reply->text, std::move(*tree)};
}

int status(const ctl_options& options) {
  std::string why;
  auto found = status_of(options.where, why);
  if (!found)
    return failed(why);
  std::cout << (options.json ? found->text + "\n" : format_status(found->tree));
  return exit_ok;
}

/// What answers hold is not checked: nothing may be as expected.
std::vector<nlohmann::json> list_in(const nlohmann::json& tree, const char* name) {
  std::vector<nlohmann::json> objects;
  if (auto found = tree.find(name); found != tree.end() && found->is_array())
    std::copy_if(found->begin(), found->end(), std::back_inserter(objects),
                 [](const auto& x) { return x.is_object(); });
  return objects;
}
std::string text_in(const nlohmann::json& tree, const char* name) {
  auto found = tree.find(name);
  return found == tree.end() ? "" : found->is_string() ? found->get<std::string>() : found->dump();
}

/// Of every member that the asked node knows.
int hints(const ctl_options& options) {
  std::string why;
  auto first = status_of(options.where, why);
  if (!first)
    return failed(why);
  auto all = nlohmann::json::array();
  auto code = exit_ok;
  for (const auto& member : list_in(first->tree, "members")) {
    auto host = text_in(member, "host");
    if (host.find(':') != std::string::npos)
      host = fmt::format("[{}]", host);
    auto where = host + ":" + text_in(member, "resp_port");
    auto name = text_in(member, "name");
    auto status = name == text_in(first->tree, "node") ? first : status_of(where, why);
    if (!status) {
      code = failed(fmt::format("{} is not asked: {}", name, why));
      continue;
    }
    for (auto hint : list_in(status->tree, "hints")) {
      hint["on"] = name;
      all.push_back(std::move(hint));
    }
  }
  if (options.json)
    std::cout << all.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
  else
    std::cout << (all.empty() ? "no writes are held for owners that could not be reached\n" : format_hints(all));
  return code;
}

} // namespace

void add_ctl_commands(CLI::App& app, action& chosen) {
  auto options = std::make_shared<ctl_options>();
  auto* family = app.add_subcommand("ctl", "Ask a running node");
  family->require_subcommand(1);
  family->footer("Example:\n  crema ctl status --address 127.0.0.1:6402");
  auto add = [&](const char* name, const char* what, int (*run)(const ctl_options&)) {
    auto* command = family->add_subcommand(name, what);
    command->add_option("--address", options->where, "host:port of a node")
        ->capture_default_str()
        ->check([](const std::string& text) { return parse_address(text) ? "" : "must be host:port"; });
    command->add_flag("--json", options->json, "For programs");
    command->callback([options, run, &chosen] { chosen = [options, run] { return run(*options); }; });
    return command;
  };
  add("status", "Show a node's view of the cluster: epoch, members, buckets, sync, counters", status)
      ->footer("Example:\n  crema ctl status --json | jq .members");
  add("hints", "List what nodes hold for owners that could not be reached: for whom, how much, since when", hints)
      ->footer("All members are asked; 1 is returned if one does not answer.\nExample:\n  crema ctl hints --address "
               "127.0.0.1:6402");
}

} // namespace crema::cli
