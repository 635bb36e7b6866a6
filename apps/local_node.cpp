#include "apps/local_node.hpp"

#include "apps/resp_client.hpp"
#include "config/resolve.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstring>
#include <ctime>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <sstream>

#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace crema::cli {

namespace {

std::string read_all(const fs::path& file) {
  std::ifstream in{file, std::ios::binary};
  return {std::istreambuf_iterator<char>{in}, {}};
}

std::optional<pid_t> read_pid(const fs::path& file) {
  auto text = read_all(file);
  while (!text.empty() && (text.back() == '\n' || text.back() == ' '))
    text.pop_back();
  pid_t pid = 0;
  auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), pid);
  // kill() gives 0, 1 and negative numbers other meanings.
  if (error != std::errc{} || stop != text.data() + text.size() || pid <= 1)
    return std::nullopt;
  return pid;
}

/// Through a temporary file: a reader never sees half a number.
bool write_pid(const fs::path& file, pid_t pid) {
  auto temporary = file;
  temporary += ".new";
  std::ofstream out{temporary, std::ios::trunc};
  out << pid << "\n";
  out.close();
  std::error_code error;
  if (out)
    fs::rename(temporary, file, error);
  return out && !error;
}

/// @returns the value behind an option of a command line, or nothing.
std::optional<std::string> option_value(const std::vector<std::string>& words, const std::string& option) {
  auto found = std::find(words.begin(), words.end(), option);
  if (found == words.end() || std::next(found) == words.end())
    return std::nullopt;
  return *std::next(found);
}

/// In the child, between fork and exec: system calls only. Does not return.
[[noreturn]] void become_node(int log, int report, char* const* arguments) {
  ::setsid();
  int null = ::open("/dev/null", O_RDONLY);
  if (null >= 0 && ::dup2(null, STDIN_FILENO) >= 0 && ::dup2(log, STDOUT_FILENO) >= 0 &&
      ::dup2(log, STDERR_FILENO) >= 0) {
    if (null > STDERR_FILENO)
      ::close(null);
    // This very binary, even if its file has been replaced since.
    ::execv("/proc/self/exe", arguments);
  }
  int error = errno;
  [[maybe_unused]] auto written = ::write(report, &error, sizeof error);
  ::_exit(127);
}

bool same_address(const sockaddr* a, const sockaddr* b) {
  if (a->sa_family != b->sa_family)
    return false;
  if (a->sa_family == AF_INET)
    return reinterpret_cast<const sockaddr_in*>(a)->sin_addr.s_addr ==
           reinterpret_cast<const sockaddr_in*>(b)->sin_addr.s_addr;
  return a->sa_family == AF_INET6 &&
         std::memcmp(&reinterpret_cast<const sockaddr_in6*>(a)->sin6_addr,
                     &reinterpret_cast<const sockaddr_in6*>(b)->sin6_addr, sizeof(in6_addr)) == 0;
}

/// Loopback, or "any address".
bool is_always_here(const sockaddr* address) {
  if (address->sa_family == AF_INET) {
    auto ip = ntohl(reinterpret_cast<const sockaddr_in*>(address)->sin_addr.s_addr);
    return ip == INADDR_ANY || ip >> 24 == 127;
  }
  if (address->sa_family != AF_INET6)
    return false;
  const auto& ip = reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr;
  return IN6_IS_ADDR_UNSPECIFIED(&ip) || IN6_IS_ADDR_LOOPBACK(&ip);
}

} // namespace

fs::path pid_file(const fs::path& dir, const std::string& node) { return dir / (node + ".pid"); }
fs::path log_file(const fs::path& dir, const std::string& node) { return dir / (node + ".log"); }

std::optional<node_process> find_running(const fs::path& dir, const std::string& node) {
  auto pid = read_pid(pid_file(dir, node));
  if (!pid)
    return std::nullopt;
  // Empty for a process that has ended and is not reaped yet.
  auto text = read_all("/proc/" + std::to_string(*pid) + "/cmdline");
  std::vector<std::string> words;
  std::istringstream in{text};
  for (std::string word; std::getline(in, word, '\0');)
    words.push_back(word);
  auto file = option_value(words, "--config");
  if (words.size() < 2 || words[1] != "node" || option_value(words, "--node") != node || !file)
    return std::nullopt;
  return node_process{*pid, *file};
}

std::vector<std::string> nodes_with_pid_file(const fs::path& dir) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it{dir, error}, end; !error && it != end; it.increment(error))
    if (it->path().extension() == ".pid")
      names.push_back(it->path().stem().string());
  std::sort(names.begin(), names.end());
  return names;
}

std::optional<std::chrono::milliseconds> uptime(pid_t pid) {
  auto text = read_all("/proc/" + std::to_string(pid) + "/stat");
  // The name in parentheses may hold anything; the start time is the 20th word after it (proc(5)), in clock ticks.
  auto close = text.rfind(')');
  if (close == std::string::npos)
    return std::nullopt;
  std::istringstream in{text.substr(close + 1)};
  std::string word;
  for (int i = 0; i < 20; ++i)
    in >> word;
  int64_t ticks = 0;
  timespec now{};
  if (std::from_chars(word.data(), word.data() + word.size(), ticks).ec != std::errc{} ||
      ::clock_gettime(CLOCK_BOOTTIME, &now) != 0)
    return std::nullopt;
  auto started_ms = ticks * 1000 / ::sysconf(_SC_CLK_TCK);
  return std::chrono::milliseconds{std::max<int64_t>(0, now.tv_sec * 1000 + now.tv_nsec / 1000000 - started_ms)};
}

std::optional<node_process> spawn_node(const fs::path& dir, const std::string& config_file, const std::string& node,
                                       std::string& error) {
  auto log_path = log_file(dir, node);
  int log = ::open(log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (log < 0) {
    error = "cannot write " + log_path.string() + ": " + std::strerror(errno);
    return std::nullopt;
  }
  // Closed by a successful exec; carries errno otherwise.
  int report[2];
  if (::pipe2(report, O_CLOEXEC) != 0) {
    error = std::string{"cannot make a pipe: "} + std::strerror(errno);
    ::close(log);
    return std::nullopt;
  }
  std::error_code ignored;
  auto self = fs::read_symlink("/proc/self/exe", ignored).string();
  std::vector<std::string> words{self.empty() ? "crema" : self, "node", "--config", config_file, "--node", node};
  std::vector<char*> arguments;
  arguments.reserve(words.size() + 1);
  for (auto& word : words)
    arguments.push_back(word.data());
  arguments.push_back(nullptr);
  auto pid = ::fork();
  if (pid == 0)
    become_node(log, report[1], arguments.data());
  int fork_error = errno;
  ::close(log);
  ::close(report[1]);
  int exec_error = 0;
  bool failed = pid < 0;
  if (failed)
    error = std::string{"cannot start a process: "} + std::strerror(fork_error);
  else if (::read(report[0], &exec_error, sizeof exec_error) == sizeof exec_error) {
    failed = true;
    error = std::string{"cannot execute "} + words[0] + ": " + std::strerror(exec_error);
  }
  ::close(report[0]);
  if (failed)
    return std::nullopt;
  if (!write_pid(pid_file(dir, node), pid)) {
    // A node that nobody could stop later must not stay.
    ::kill(pid, SIGTERM);
    error = "cannot write " + pid_file(dir, node).string();
    return std::nullopt;
  }
  return node_process{pid, config_file};
}

bool is_this_machine(const std::string& host) {
  char own_name[256] = {};
  if (::gethostname(own_name, sizeof own_name - 1) == 0 && host == own_name)
    return true;
  auto found = config::resolve(host, "", 0, config::lookup_limit);
  if (found.error != 0)
    std::cerr << fmt::format("crema: {} cannot be looked up ({}), and counts as another machine\n", host,
                             ::gai_strerror(found.error));
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0)
    list = nullptr;
  std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> interfaces{list, &::freeifaddrs};
  for (const auto* a = found.list.get(); a != nullptr; a = a->ai_next) {
    if (is_always_here(a->ai_addr))
      return true;
    for (const auto* i = list; i != nullptr; i = i->ifa_next)
      if (i->ifa_addr != nullptr && same_address(a->ai_addr, i->ifa_addr))
        return true;
  }
  return false;
}

bool is_ready(const config::node_config& node, std::string& answer) {
  resp_client client{std::chrono::seconds{1}};
  std::optional<resp_reply> reply;
  if (client.connect({node.host, node.resp_port}))
    reply = client.call({"KV.READY"});
  answer = reply ? reply->text : client.error();
  return reply && reply->what == resp_reply::kind::text && reply->text == "OK";
}

} // namespace crema::cli
