// The command line: each family of commands adds itself to the parser and, when chosen, leaves what is to be done.
#pragma once

#include "config/cluster_config.hpp"

#include <CLI/CLI.hpp>

#include <functional>
#include <iostream>
#include <optional>
#include <string>
#include <vector>

namespace crema::cli {

constexpr int exit_ok = 0;
constexpr int exit_failure = 1; ///< It did not work, or the key does not exist.
constexpr int exit_usage = 2;   ///< The command line or the configuration is wrong; nothing was done.

/// Says why on standard error. @returns exit_failure.
inline int failed(const std::string& why) {
  std::cerr << "crema: " << why << "\n";
  return exit_failure;
}

/// What the chosen command does. Returns the exit code.
using action = std::function<int()>;

void add_node_command(CLI::App& app, action& chosen);
void add_rebuild_command(CLI::App& app, action& chosen);
void add_cluster_commands(CLI::App& app, action& chosen);
void add_config_commands(CLI::App& app, action& chosen);
void add_ctl_commands(CLI::App& app, action& chosen);
void add_kv_commands(CLI::App& app, action& chosen);
void add_sim_command(CLI::App& app, action& chosen);

/// Loads a configuration, or prints all its problems on standard error.
std::optional<config::cluster_config> load_or_complain(const std::string& file);
void complain(const std::string& file, const std::vector<config::problem>& problems);
/// "n1, n2, n3"
std::string node_names(const config::cluster_config& config);

} // namespace crema::cli
