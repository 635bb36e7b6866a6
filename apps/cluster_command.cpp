// crema cluster: the options, and down and status.
#include "apps/cluster_command.hpp"

#include "apps/commands.hpp"
#include "apps/status_table.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <iostream>
#include <memory>
#include <thread>

namespace crema::cli {

namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

/// Which nodes are meant: those of the file that belong on this machine, or all that have a pid file.
std::optional<std::vector<std::string>> meant_nodes(const cluster_options& options) {
  if (options.file.empty())
    return nodes_with_pid_file(options.dir);
  auto config = load_or_complain(options.file);
  if (!config)
    return std::nullopt;
  std::vector<std::string> names;
  for (const auto& node : config->nodes)
    if (is_this_machine(node.host))
      names.push_back(node.name);
  return names;
}

void forget(const cluster_options& options, const std::string& name) {
  std::error_code ignored;
  fs::remove(pid_file(options.dir, name), ignored);
}

struct stopping_node {
  std::string name;
  pid_t pid;
};

/// Waits until the nodes are gone; those that are not stay in the list.
void wait_until_gone(const cluster_options& options, std::vector<stopping_node>& nodes, milliseconds limit) {
  for (auto deadline = steady_clock::now() + limit;; std::this_thread::sleep_for(milliseconds{50})) {
    for (auto it = nodes.begin(); it != nodes.end();) {
      auto running = find_running(options.dir, it->name);
      if (running && running->pid == it->pid) {
        ++it;
        continue;
      }
      if (!running) // Else it has been started again meanwhile.
        forget(options, it->name);
      std::cout << fmt::format("{}: stopped (pid {})\n", it->name, it->pid) << std::flush;
      it = nodes.erase(it);
    }
    if (nodes.empty() || steady_clock::now() >= deadline)
      return;
  }
}

/// @param others_file for a node that is stopped, where no file was given: what its neighbours run with.
std::vector<std::string> status_row(const cluster_options& options, const std::string& others_file,
                                    const std::string& name, bool& ready) {
  auto process = find_running(options.dir, name);
  // Without a file, the node's own command line says which it is.
  auto file = !options.file.empty() ? options.file : process ? process->config_file : others_file;
  auto loaded = file.empty() ? config::load_result{} : config::load_config(file);
  const auto* node = loaded.config ? loaded.config->find_node(name) : nullptr;
  std::string answer;
  ready = process && node != nullptr && is_ready(*node, answer);
  std::vector<std::string> cells{name};
  cells.push_back(process ? std::to_string(process->pid) : "-");
  cells.emplace_back(ready ? "ready" : process ? "running" : "stopped");
  cells.push_back(node != nullptr ? node->host : "-");
  cells.push_back(node != nullptr ? std::to_string(node->resp_port) : "-");
  cells.push_back(node != nullptr ? std::to_string(node->http_port) : "-");
  cells.push_back(node != nullptr ? std::to_string(node->peer_port) : "-");
  auto up = process ? uptime(process->pid) : std::nullopt;
  cells.push_back(up ? format_duration(static_cast<uint64_t>(up->count())) : "-");
  return cells;
}

} // namespace

std::string absolute_file(const std::string& file) {
  std::error_code error;
  auto path = fs::canonical(file, error);
  return error ? fs::absolute(file).lexically_normal().string() : path.string();
}

int cluster_down(const cluster_options& options) {
  auto names = meant_nodes(options);
  if (!names)
    return exit_usage;
  std::vector<stopping_node> stopping;
  int code = exit_ok;
  for (const auto& name : *names) {
    auto running = find_running(options.dir, name);
    if (!running) {
      std::cout << fmt::format("{}: not running\n", name);
      forget(options, name);
    } else if (!options.file.empty() && running->config_file != absolute_file(options.file)) {
      std::cerr << fmt::format("crema: {} (pid {}) runs with another configuration, {}: left alone\n", name,
                               running->pid, running->config_file);
      code = exit_failure;
    } else if (::kill(running->pid, SIGTERM) != 0 && errno != ESRCH) {
      std::cerr << fmt::format("crema: {} (pid {}) cannot be stopped: {}\n", name, running->pid, std::strerror(errno));
      code = exit_failure;
    } else {
      stopping.push_back({name, running->pid});
    }
  }
  if (names->empty())
    std::cout << fmt::format("no nodes are running from {}\n", options.dir);
  wait_until_gone(options, stopping, std::chrono::seconds{10});
  if (options.force && !stopping.empty()) {
    for (const auto& node : stopping) {
      std::cerr << fmt::format("crema: {} (pid {}) did not stop within 10 s: killed\n", node.name, node.pid);
      if (find_running(options.dir, node.name))
        ::kill(node.pid, SIGKILL);
    }
    wait_until_gone(options, stopping, std::chrono::seconds{5});
  }
  for (const auto& node : stopping) {
    std::cerr << fmt::format("crema: {} (pid {}) is still running{}\n", node.name, node.pid,
                             options.force ? "" : "; --force kills it");
    code = exit_failure;
  }
  return code;
}

int cluster_status(const cluster_options& options) {
  auto names = meant_nodes(options);
  if (!names)
    return exit_usage;
  if (names->empty()) {
    std::cout << fmt::format("no nodes are running from {}\n", options.dir);
    return exit_failure;
  }
  std::vector<std::vector<std::string>> rows{{"node", "pid", "state", "host", "resp", "http", "peer", "uptime"}};
  std::string running_file;
  for (const auto& name : *names)
    if (auto process = find_running(options.dir, name))
      running_file = process->config_file;
  bool all_ready = true;
  for (const auto& name : *names) {
    bool ready = false;
    rows.push_back(status_row(options, running_file, name, ready));
    all_ready = all_ready && ready;
  }
  std::cout << format_table(rows);
  return all_ready ? exit_ok : exit_failure;
}

void add_cluster_commands(CLI::App& app, action& chosen) {
  auto options = std::make_shared<cluster_options>();
  auto* family = app.add_subcommand("cluster", "Run the nodes of a file on this machine, in the background");
  family->require_subcommand(1);
  family->footer("Example:\n  crema cluster up config/three-nodes.json");
  auto add = [&](const char* name, const char* what, bool file_required, int (*run)(const cluster_options&)) {
    auto* command = family->add_subcommand(name, what);
    auto* file = command->add_option("FILE", options->file,
                                     file_required ? "The cluster's JSON file"
                                                   : "The cluster's JSON file (default: what the pid files say)");
    file->required(file_required);
    command->add_option("--dir", options->dir, "Directory of pid and log files")->capture_default_str();
    command->callback([options, run, &chosen] { chosen = [options, run] { return run(*options); }; });
    return command;
  };
  auto* up = add("up", "Start every node whose host is this machine, and wait until they are ready", true, cluster_up);
  up->add_option("--timeout", options->timeout_s, "Seconds to wait")->capture_default_str()->check(CLI::Range(1, 3600));
  up->footer("Example:\n  crema cluster up config/three-nodes.json --dir /var/run/crema");
  auto* down = add("down", "Stop the nodes in good order", false, cluster_down);
  down->add_flag("--force", options->force, "Kill the nodes that have not stopped after 10 seconds");
  down->footer("Example:\n  crema cluster down");
  auto* status = add("status", "Show the nodes; exit code 0 if all are ready, 1 if not", false, cluster_status);
  status->footer("Example:\n  crema cluster status config/three-nodes.json");
}

} // namespace crema::cli
