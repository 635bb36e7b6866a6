#include "config/host_check.hpp"

#include <gtest/gtest.h>

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

using namespace crema::config;

namespace {

/// A listening socket on a port of 127.0.0.1 that the system chose.
class busy_port {
public:
  busy_port() : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    EXPECT_EQ(::bind(fd_, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(::listen(fd_, 1), 0);
    EXPECT_EQ(::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size), 0);
    number_ = ntohs(address.sin_port);
  }
  busy_port(const busy_port&) = delete;
  busy_port& operator=(const busy_port&) = delete;
  ~busy_port() { ::close(fd_); }
  uint16_t number() const { return number_; }

private:
  int fd_;
  uint16_t number_ = 0;
};

/// Port 0 lets the system choose: such a node's ports are always free.
node_config node_with_free_ports() {
  node_config node;
  node.name = "n2";
  node.host = node.http_host = "127.0.0.1";
  node.peer_port = node.resp_port = node.http_port = 0;
  return node;
}

} // namespace

TEST(HostCheck, FreePortsAreNoProblem) { EXPECT_TRUE(check_ports(node_with_free_ports()).empty()); }

TEST(HostCheck, APortThatIsInUseIsNamed) {
  busy_port busy;
  auto node = node_with_free_ports();
  node.resp_port = busy.number();
  auto problems = check_ports(node, "nodes[1]");
  ASSERT_EQ(problems.size(), 1U);
  EXPECT_EQ(problems[0].path, "nodes[1].resp_port");
  EXPECT_EQ(problems[0].what, "127.0.0.1:" + std::to_string(busy.number()) + " is in use");
  EXPECT_FALSE(problems[0].allowed.empty());
}

TEST(HostCheck, APortInUseOnOneAddressCannotBeBoundOnAll) {
  busy_port busy;
  auto node = node_with_free_ports();
  node.http_host = "0.0.0.0";
  node.http_port = busy.number();
  auto problems = check_ports(node);
  ASSERT_EQ(problems.size(), 1U);
  EXPECT_EQ(problems[0].path, "nodes[\"n2\"].http_port");
}

TEST(HostCheck, AnAddressOfAnotherMachineCannotBeBound) {
  auto node = node_with_free_ports();
  node.host = "192.0.2.1"; // Reserved for documentation (RFC 5737).
  auto problems = check_ports(node, "nodes[0]");
  ASSERT_EQ(problems.size(), 2U);
  EXPECT_EQ(problems[0].path, "nodes[0].peer_port");
  EXPECT_EQ(problems[1].path, "nodes[0].resp_port");
  EXPECT_NE(problems[0].what.find("192.0.2.1:0 cannot be bound: "), std::string::npos) << problems[0].what;
  EXPECT_EQ(problems[0].allowed, "an address of this machine");
}

TEST(HostCheck, AHostThatIsNoAddressCannotBeBound) {
  auto node = node_with_free_ports();
  node.http_host = "999.1.1.1.invalid";
  auto problems = check_ports(node);
  ASSERT_EQ(problems.size(), 1U);
  EXPECT_NE(problems[0].what.find("cannot be bound: "), std::string::npos) << problems[0].what;
}

TEST(HostCheck, AnswersWhereANodeStandsInItsFile) {
  auto config = single_node_config();
  EXPECT_EQ(node_path(config, "n1"), "nodes[0]");
  EXPECT_EQ(node_path(config, "n7"), "nodes[\"n7\"]");
}
