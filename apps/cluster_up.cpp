// crema cluster up: starts the nodes of a file that belong on this machine, and waits until each serves requests.
#include "apps/cluster_command.hpp"
#include "apps/commands.hpp"
#include "apps/run_node.hpp"
#include "config/host_check.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <deque>
#include <fstream>
#include <iostream>
#include <thread>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

namespace crema::cli {

namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

/// One node on its way up.
struct starting_node {
  const config::node_config* config = nullptr;
  node_process process;
  bool ours = false;             ///< Started by this call, so its exit code will be known.
  std::uintmax_t log_before = 0; ///< Size of its log before the start.
  std::string last_answer;
};

/// Two `up` in one directory must not both start a node. Released when the nodes are started, not when they are ready.
class directory_lock {
public:
  explicit directory_lock(const fs::path& dir) : fd_(::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
    if (fd_ >= 0)
      ::flock(fd_, LOCK_EX);
  }
  directory_lock(const directory_lock&) = delete;
  directory_lock& operator=(const directory_lock&) = delete;
  ~directory_lock() {
    if (fd_ >= 0)
      ::close(fd_);
  }

private:
  int fd_;
};

/// The last lines that a node has logged in this run.
void show_log_end(const fs::path& dir, const starting_node& node) {
  constexpr size_t lines_max = 20;
  constexpr std::uintmax_t bytes_max = std::uintmax_t{64} * 1024;
  auto path = log_file(dir, node.config->name);
  std::error_code error;
  auto size = fs::file_size(path, error);
  std::ifstream in{path, std::ios::binary};
  if (error || !in)
    return;
  in.seekg(static_cast<std::streamoff>(std::max(node.log_before, size > bytes_max ? size - bytes_max : 0)));
  std::deque<std::string> lines;
  for (std::string line; std::getline(in, line);) {
    lines.push_back(line);
    if (lines.size() > lines_max)
      lines.pop_front();
  }
  std::cerr << "the end of " << path.string() << ":\n";
  for (const auto& line : lines)
    std::cerr << "  " << line << "\n";
}

/// Reaps a node that has ended. @returns the exit code for us, or nothing while it lives.
std::optional<int> check_death(const fs::path& dir, const starting_node& node) {
  std::string how = "has ended";
  int code = exit_failure;
  if (node.ours) {
    int status = 0;
    if (::waitpid(node.process.pid, &status, WNOHANG) != node.process.pid)
      return std::nullopt;
    if (WIFSIGNALED(status)) {
      how = fmt::format("was killed by signal {}", WTERMSIG(status));
    } else {
      how = fmt::format("ended with exit code {}", WEXITSTATUS(status));
      code = WEXITSTATUS(status) == exit_usage ? exit_usage : exit_failure;
    }
  } else if (find_running(dir, node.config->name)) {
    return std::nullopt;
  }
  std::error_code ignored;
  fs::remove(pid_file(dir, node.config->name), ignored);
  std::cerr << fmt::format("crema: {} {} before the cluster was up\n", node.config->name, how);
  show_log_end(dir, node);
  return code;
}

void say_how_to_stop(const cluster_options& options) {
  std::cerr << fmt::format("the other nodes are still running; 'crema cluster down --dir {}' stops them\n",
                           options.dir);
}

int wait_until_ready(const cluster_options& options, const std::vector<starting_node>& nodes) {
  auto waiting = nodes;
  const auto start = steady_clock::now();
  const auto deadline = start + std::chrono::seconds{options.timeout_s};
  for (milliseconds pause{20};; pause = std::min(pause * 3 / 2, milliseconds{250})) {
    for (auto it = waiting.begin(); it != waiting.end();) {
      auto ready = is_ready(*it->config, it->last_answer);
      // After the question: a node that died may have left its port to another program.
      if (auto code = check_death(options.dir, *it)) {
        say_how_to_stop(options);
        return *code;
      }
      if (!ready) {
        ++it;
        continue;
      }
      auto took = std::chrono::duration_cast<milliseconds>(steady_clock::now() - start);
      std::cout << fmt::format("{}: ready after {:.1f} s\n", it->config->name, static_cast<double>(took.count()) / 1000)
                << std::flush;
      it = waiting.erase(it);
    }
    if (waiting.empty())
      break;
    if (steady_clock::now() >= deadline)
      break;
    std::this_thread::sleep_for(pause);
  }
  if (waiting.empty()) {
    for (const auto& node : nodes)
      if (auto code = check_death(options.dir, node)) // The first may have died while the last were waited for.
        return *code;
    return exit_ok;
  }
  for (const auto& node : waiting) {
    failed(fmt::format("{} is not ready after {} s: {}", node.config->name, options.timeout_s, node.last_answer));
    show_log_end(options.dir, node);
  }
  say_how_to_stop(options);
  return exit_failure;
}

/// Looks before anything is started or written: which nodes are to be started, and can they be?
int plan(const cluster_options& options, const config::cluster_config& config, std::vector<starting_node>& nodes) {
  const auto file = absolute_file(options.file);
  std::vector<config::problem> problems;
  for (const auto& node : config.nodes) {
    if (!is_this_machine(node.host))
      continue;
    starting_node starting;
    starting.config = &node;
    if (auto running = find_running(options.dir, node.name)) {
      if (running->config_file != file)
        return failed(fmt::format("{} in {} runs with another configuration, {} (pid {}): use another --dir, or stop "
                                  "it first",
                                  node.name, options.dir, running->config_file, running->pid));
      starting.process = *running;
    } else {
      auto found = check_host(config, node.name);
      problems.insert(problems.end(), found.begin(), found.end());
    }
    nodes.push_back(std::move(starting));
  }
  complain(options.file, problems);
  if (!problems.empty())
    return exit_usage;
  if (nodes.empty()) {
    std::cerr << fmt::format("crema: none of the nodes of {} has an address of this machine as its host\n",
                             options.file);
    return exit_usage;
  }
  return exit_ok;
}

int start(const cluster_options& options, std::vector<starting_node>& nodes) {
  const auto file = absolute_file(options.file);
  for (auto& node : nodes) {
    const auto& name = node.config->name;
    if (node.process.pid != 0) {
      std::cout << fmt::format("{}: already running (pid {})\n", name, node.process.pid);
      continue;
    }
    std::error_code ignored;
    auto size = fs::file_size(log_file(options.dir, name), ignored);
    node.log_before = ignored ? 0 : size;
    std::string error;
    auto process = spawn_node(options.dir, file, name, error);
    if (!process)
      return failed(fmt::format("{}: {}", name, error));
    node.process = *process;
    node.ours = true;
    std::cout << fmt::format("{}: started (pid {}, log {})\n", name, process->pid, log_file(options.dir, name).string())
              << std::flush;
  }
  return exit_ok;
}

std::string redis_cli(const config::node_config& node) {
  bool default_host = node.host == "127.0.0.1" || node.host == "localhost";
  return "redis-cli" + (default_host ? "" : " -h " + node.host) + " -p " + std::to_string(node.resp_port);
}

} // namespace

int cluster_up(const cluster_options& options) {
  auto config = load_or_complain(options.file);
  if (!config)
    return exit_usage;
  std::vector<starting_node> nodes;
  if (int code = plan(options, *config, nodes); code != exit_ok)
    return code;
  std::error_code error;
  fs::create_directories(options.dir, error);
  if (error)
    return failed(fmt::format("cannot create {}: {}", options.dir, error.message()));
  {
    directory_lock lock{options.dir};
    // Once more: somebody else may have started nodes before we held the lock.
    nodes.clear();
    if (int code = plan(options, *config, nodes); code != exit_ok)
      return code;
    if (int code = start(options, nodes); code != exit_ok)
      return code;
  }
  if (int code = wait_until_ready(options, nodes); code != exit_ok)
    return code;
  std::cout << fmt::format("\nCluster \"{}\" is up. Next:\n  {} set greeting hello\n  {} get greeting\n",
                           config->cluster, redis_cli(*nodes.front().config), redis_cli(*nodes.back().config))
            << fmt::format("  crema cluster status{}\n",
                           options.dir == cluster_options{}.dir ? "" : " --dir " + options.dir);
  return exit_ok;
}

} // namespace crema::cli
