#include "config/host_check.hpp"

#include "config/resolve.hpp"

#include <cerrno>
#include <cstring>

#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

namespace crema::config {

namespace {

/// @returns 0, or the errno of the failure.
int try_bind(const addrinfo& address) {
  int fd = ::socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0)
    return errno;
  // As the servers do: connections of a node that stopped a moment ago are no obstacle.
  int on = 1;
  int result = 0;
  if (::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
      (address.ai_family == AF_INET6 && ::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) != 0) ||
      ::bind(fd, address.ai_addr, address.ai_addrlen) != 0)
    result = errno;
  ::close(fd);
  return result;
}

/// @returns false if the host has no address.
bool check_port(const std::string& host, uint16_t port, const std::string& path, std::vector<problem>& problems) {
  const auto shown = (host.find(':') == std::string::npos ? host : "[" + host + "]") + ":" + std::to_string(port);
  auto found = resolve(host, std::to_string(port), AI_PASSIVE | AI_NUMERICSERV, lookup_limit);
  if (found.error != 0) {
    problems.push_back({path, shown + " cannot be bound: " + ::gai_strerror(found.error),
                        "an address of this machine, or a name that resolves to one"});
    return false;
  }
  // A name may have addresses of a family that this machine lacks: one that can be bound is enough.
  int failure = 0;
  bool bound = false;
  for (const auto* address = found.list.get(); address != nullptr; address = address->ai_next) {
    int error = try_bind(*address);
    if (error == EADDRINUSE) {
      problems.push_back({path, shown + " is in use", "a port that no other process listens on"});
      return true;
    }
    bound = bound || error == 0;
    failure = error != 0 ? error : failure;
  }
  if (!bound)
    problems.push_back(
        {path, shown + " cannot be bound: " + std::strerror(failure),
         failure == EACCES ? "a port that this user may bind, usually 1024 or above" : "an address of this machine"});
  return true;
}

} // namespace

std::string node_path(const cluster_config& config, const std::string& name) {
  for (size_t i = 0; i < config.nodes.size(); ++i)
    if (config.nodes[i].name == name)
      return "nodes[" + std::to_string(i) + "]";
  return "nodes[\"" + name + "\"]";
}

std::vector<problem> check_ports(const node_config& node, std::string path) {
  if (path.empty())
    path = "nodes[\"" + node.name + "\"]";
  std::vector<problem> problems;
  if (check_port(node.host, node.peer_port, path + ".peer_port", problems)) // Else said once, and not waited for again.
    check_port(node.host, node.resp_port, path + ".resp_port", problems);
  check_port(node.http_host, node.http_port, path + ".http_port", problems);
  return problems;
}

} // namespace crema::config
