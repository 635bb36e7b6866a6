// crema node, crema config check
#include "apps/commands.hpp"
#include "apps/run_node.hpp"
#include "config/host_check.hpp"

#include <fmt/format.h>

#include <charconv>
#include <iostream>
#include <memory>

namespace crema::cli {

namespace {

struct node_options {
  std::string config;
  std::string node;
  bool force = false;
  std::string join;
};

/// "host:port", "[::1]:7101"
std::optional<peer_address> parse_address(const std::string& text) {
  auto colon = text.rfind(':');
  if (colon == std::string::npos || colon == 0)
    return std::nullopt;
  peer_address result{text.substr(0, colon), 0};
  if (result.host.front() == '[' && result.host.back() == ']')
    result.host = result.host.substr(1, result.host.size() - 2);
  const auto* first = text.data() + colon + 1;
  const auto* last = text.data() + text.size();
  auto [end, error] = std::from_chars(first, last, result.port);
  if (error != std::errc{} || end != last || result.port == 0 || result.host.empty())
    return std::nullopt;
  return result;
}

int unknown_node(const config::cluster_config& config, const std::string& name) {
  std::cerr << fmt::format("crema: {} has no node \"{}\" (allowed: {})\n", config.file, name, node_names(config));
  return exit_usage;
}

int node(const node_options& options) {
  if (options.config.empty())
    return run_node(config::single_node_config(), "n1");
  auto config = load_or_complain(options.config);
  if (!config)
    return exit_usage;
  std::optional<peer_address> join;
  if (!options.join.empty() && !(join = parse_address(options.join))) {
    std::cerr << fmt::format("crema: --join: \"{}\" is no address of a member (allowed: HOST:PEER_PORT, as in "
                             "10.0.0.1:7101)\n",
                             options.join);
    return exit_usage;
  }
  if (options.node.empty()) {
    if (config->nodes.size() == 1)
      return run_node(*config, config->nodes.front().name, join);
    std::cerr << fmt::format("crema: {} has {} nodes: say which with --node (allowed: {})\n", config->file,
                             config->nodes.size(), node_names(*config));
    return exit_usage;
  }
  if (config->find_node(options.node) == nullptr)
    return unknown_node(*config, options.node);
  return run_node(*config, options.node, join);
}

/// Buckets of which this node may have the only copy.
std::string only_copies(const config::cluster_config& config) {
  std::string result;
  for (const auto& b : config.buckets)
    if (b.n == 1)
      result += (result.empty() ? "" : ", ") + b.name;
  return result;
}

int rebuild(const node_options& options) {
  auto config = load_or_complain(options.config);
  if (!config)
    return exit_usage;
  const auto* me = config->find_node(options.node);
  if (me == nullptr)
    return unknown_node(*config, options.node);
  if (auto lost = only_copies(*config); !lost.empty() && !options.force)
    return failed(fmt::format("no other node has what {} has of: {} (n = 1). It would be lost, for the node; --force "
                              "does it all the same",
                              me->name, lost));
  if (auto error = set_aside(*config, me->name); !error.empty())
    return failed(error);
  std::cout << fmt::format("{0}: its data is in {1}/damaged now. Start it: it begins empty, gets back what the other "
                           "owners have, and is ready for reads when it has.\nHow far it is: crema ctl status. Remove "
                           "{1}/damaged when it is whole.\n",
                           me->name, me->data_dir);
  return exit_ok;
}

int config_check(const node_options& options) {
  auto config = load_or_complain(options.config);
  if (!config)
    return exit_usage;
  if (!options.node.empty()) {
    const auto* me = config->find_node(options.node);
    if (me == nullptr)
      return unknown_node(*config, options.node);
    auto problems = check_host(*config, me->name);
    if (!problems.empty()) {
      complain(config->file, problems);
      return exit_usage;
    }
  }
  std::cout << fmt::format("{}: ok: cluster \"{}\", {} nodes, {} buckets, {} partitions\n", config->file,
                           config->cluster, config->nodes.size(), config->buckets.size(), config->partitions);
  return exit_ok;
}

} // namespace

std::optional<config::cluster_config> load_or_complain(const std::string& file) {
  auto result = config::load_config(file);
  complain(file, result.problems);
  return std::move(result.config);
}

void complain(const std::string& file, const std::vector<config::problem>& problems) {
  for (const auto& p : problems)
    std::cerr << config::to_string(file, p) << "\n";
}

std::string node_names(const config::cluster_config& config) {
  std::string result;
  for (const auto& node : config.nodes)
    result += (result.empty() ? "" : ", ") + node.name;
  return result;
}

void add_node_command(CLI::App& app, action& chosen) {
  auto options = std::make_shared<node_options>();
  auto* command = app.add_subcommand("node", "Run one node in the foreground, until SIGTERM or Ctrl-C");
  auto* file = command->add_option("--config", options->config,
                                   "The cluster's JSON file (default: a single node with its data in ./crema-data)");
  command->add_option("--node", options->node, "Which node of the file to run (may be left out if there is one)")
      ->needs(file);
  command
      ->add_option("--join", options->join,
                   "HOST:PEER_PORT of any member of a running cluster: become a member too. The file needs only the "
                   "cluster's name and this node's own section; all else is the cluster's. The node waits until a "
                   "member is told `crema ctl plan join NAME` and `crema ctl commit`. May stay on the command line "
                   "for later starts")
      ->needs(file);
  command->footer("Examples:\n  crema node\n  crema node --config config/three-nodes.json --node n1\n"
                  "  crema node --config n4.json --join 10.0.0.1:7101");
  command->callback([options, &chosen] { chosen = [options] { return node(*options); }; });
}

void add_rebuild_command(CLI::App& app, action& chosen) {
  auto options = std::make_shared<node_options>();
  auto* command = app.add_subcommand(
      "rebuild", "Set the damaged data of a node that is stopped aside, so that it is filled again by the others");
  command->add_option("--config", options->config, "The cluster's JSON file")->required();
  command->add_option("--node", options->node, "Which node of the file")->required();
  command->add_flag("--force", options->force, "Also if no other node has a copy of some of it");
  command->footer(
      "To be run on the node's host. Nothing is removed: the data is moved to a directory beside it. Writes "
      "that only this node has are not on the others: wait for crema ctl sync-point before, if it runs.\n"
      "Example:\n  crema rebuild --config config/three-nodes.json --node n2");
  command->callback([options, &chosen] { chosen = [options] { return rebuild(*options); }; });
}

void add_config_commands(CLI::App& app, action& chosen) {
  auto options = std::make_shared<node_options>();
  auto* family = app.add_subcommand("config", "Work with configuration files");
  family->require_subcommand(1);
  family->footer("Example:\n  crema config check config/three-nodes.json");
  auto* check = family->add_subcommand("check", "Check a configuration file, and report all that is wrong with it");
  check->add_option("FILE", options->config, "The cluster's JSON file")->required();
  check->add_option("--node", options->node, "Check as well that this node's ports can be bound on this host");
  check->footer("Example:\n  crema config check config/three-nodes.json --node n1");
  check->callback([options, &chosen] { chosen = [options] { return config_check(*options); }; });
}

} // namespace crema::cli
