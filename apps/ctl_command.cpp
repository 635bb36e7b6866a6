// crema ctl status
#include "apps/commands.hpp"
#include "apps/resp_client.hpp"
#include "apps/status_table.hpp"
#include "config/json_reader.hpp"

#include <iostream>
#include <memory>

namespace crema::cli {

namespace {

struct ctl_options {
  std::string where = "127.0.0.1:6401";
  bool json = false;
};

int status(const ctl_options& options) {
  constexpr std::chrono::seconds timeout{5};
  resp_client client{timeout};
  std::optional<resp_reply> reply;
  if (client.connect(parse_address(options.where).value_or(address{})))
    reply = client.call({"KV.STATUS"});
  if (!reply || reply->is_error()) {
    std::cerr << "crema: " << (reply ? reply->text : client.error()) << "\n";
    return exit_failure;
  }
  if (options.json) {
    std::cout << reply->text << "\n";
    return exit_ok;
  }
  std::vector<config::problem> problems;
  auto tree = config::read_json(reply->text, problems); // Bounds the nesting.
  if (!tree) {
    std::cerr << "crema: " << options.where << " did not answer with JSON\n";
    return exit_failure;
  }
  std::cout << format_status(*tree);
  return exit_ok;
}

} // namespace

void add_ctl_commands(CLI::App& app, action& chosen) {
  auto options = std::make_shared<ctl_options>();
  auto* family = app.add_subcommand("ctl", "Ask a running node");
  family->require_subcommand(1);
  family->footer("Example:\n  crema ctl status --address 127.0.0.1:6402");
  auto* command =
      family->add_subcommand("status", "Show a node's view of the cluster: epoch, members, buckets, counters");
  command->add_option("--address", options->where, "host:port of the node")
      ->capture_default_str()
      ->check([](const std::string& text) { return parse_address(text) ? "" : "must be host:port"; });
  command->add_flag("--json", options->json, "The node's answer as it came");
  command->footer("Example:\n  crema ctl status --json | jq .members");
  command->callback([options, &chosen] { chosen = [options] { return status(*options); }; });
}

} // namespace crema::cli
