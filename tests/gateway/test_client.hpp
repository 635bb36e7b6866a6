// A blocking client on a real socket. Every wait ends after 30 seconds at the latest.
#pragma once

#include <arpa/inet.h>
#include <cerrno>
#include <chrono>
#include <netinet/in.h>
#include <poll.h>
#include <stdexcept>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <unistd.h>
#include <vector>

namespace crema::gateway {

constexpr int wait_ms_max = 30000;

class test_client {
public:
  explicit test_client(uint16_t port, int receive_buffer = 0) : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    if (receive_buffer > 0)
      setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd_ < 0 || connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0)
      throw std::runtime_error("cannot connect");
  }
  test_client(test_client&& other) noexcept : fd_(std::exchange(other.fd_, -1)), got_(std::move(other.got_)) {}
  test_client(const test_client&) = delete;
  test_client& operator=(const test_client&) = delete;
  test_client& operator=(test_client&&) = delete;
  ~test_client() {
    if (fd_ >= 0)
      close(fd_);
  }

  void send(std::string_view bytes) {
    while (!bytes.empty()) {
      if (!ready(POLLOUT, wait_ms_max))
        throw std::runtime_error("cannot send: timeout");
      auto n = try_send(bytes);
      if (n < 0)
        throw std::runtime_error("cannot send");
      bytes.remove_prefix(static_cast<size_t>(n));
    }
  }
  /// Sends what goes without waiting. @returns the number of bytes; 0 if none; -1 if the connection is broken.
  ssize_t try_send(std::string_view bytes) {
    auto n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    return n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) ? 0 : n;
  }
  /// Waits for room to send. @returns false if there is none within `ms`.
  bool writable(int ms) { return ready(POLLOUT, ms); }
  void finish_sending() { shutdown(fd_, SHUT_WR); }

  /// The next `size` bytes; fewer if the connection ends first.
  std::string receive(size_t size) {
    while (got_.size() < size && more()) {
    }
    auto result = got_.substr(0, size);
    got_.erase(0, result.size());
    return result;
  }
  /// All bytes up to the end of the connection.
  std::string receive_all() {
    while (more()) {
    }
    return std::exchange(got_, {});
  }
  /// Sends, and reads as many bytes as the expected reply has.
  std::string call(std::string_view command, size_t reply_bytes) {
    send(command);
    return receive(reply_bytes);
  }

private:
  bool ready(short what, int ms) {
    pollfd p{fd_, what, 0};
    return poll(&p, 1, ms) > 0;
  }
  bool more() {
    if (!ready(POLLIN, wait_ms_max))
      throw std::runtime_error("nothing to read: timeout; so far: " + got_.substr(0, 200));
    char buffer[65536];
    auto n = recv(fd_, buffer, sizeof buffer, 0);
    if (n <= 0)
      return false; // The end, or reset.
    got_.append(buffer, static_cast<size_t>(n));
    return true;
  }

  int fd_;
  std::string got_;
};

} // namespace crema::gateway
