// The nodes that `crema cluster` runs on this machine: one background process each, and in the run directory
//
//   NAME.pid   its process id, and nothing else
//   NAME.log   what it writes to standard output and error, appended
//
// A pid file may be stale: the process is gone, or its number belongs to another one by now. So a node counts as
// running only if the command line of that process says so.
#pragma once

#include "config/cluster_config.hpp"

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

namespace crema::cli {

namespace fs = std::filesystem;

struct node_process {
  pid_t pid = 0;
  std::string config_file; ///< As on its command line: absolute.
};

fs::path pid_file(const fs::path& dir, const std::string& node);
fs::path log_file(const fs::path& dir, const std::string& node);

std::optional<node_process> find_running(const fs::path& dir, const std::string& node);
/// The names of all pid files in the directory, sorted.
std::vector<std::string> nodes_with_pid_file(const fs::path& dir);
std::optional<std::chrono::milliseconds> uptime(pid_t pid);

/// Starts a node in the background, in a session of its own, and writes its pid file.
/// @returns nothing, and why, if it could not be started.
std::optional<node_process> spawn_node(const fs::path& dir, const std::string& config_file, const std::string& node,
                                       std::string& error);

/// Does the host name or address belong to this machine? Loopback, an address of an interface, or the host's own name.
/// Says so on standard error if the name cannot be looked up: then it does not.
bool is_this_machine(const std::string& host);

/// Asks a node on its RESP port, once. @param answer what it said, or why it could not be asked.
bool is_ready(const config::node_config& node, std::string& answer);

} // namespace crema::cli
