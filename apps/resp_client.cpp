#include "apps/resp_client.hpp"

#include "config/resolve.hpp"

#include "protocol/types.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace crema::cli {

namespace {

constexpr size_t depth_max = 8;
constexpr size_t elements_max = 1024;
constexpr size_t line_bytes_max = size_t{64} * 1024;
// All siblings of a key, and a context.
constexpr size_t reply_bytes_max = (siblings_max + 2) * value_bytes_max;

bool parse_number(std::string_view text, int64_t& number) {
  auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc{} && stop == text.data() + text.size();
}

} // namespace

std::optional<address> parse_address(const std::string& text) {
  address result;
  std::string port;
  auto colon = text.rfind(':');
  if (text.rfind('[', 0) == 0) {
    auto close = text.find(']');
    if (close == std::string::npos || (close + 1 < text.size() && text[close + 1] != ':'))
      return std::nullopt;
    result.host = text.substr(1, close - 1);
    if (close + 1 < text.size())
      port = text.substr(close + 1);
  } else if (colon != std::string::npos && text.find(':') == colon) {
    result.host = text.substr(0, colon);
    port = text.substr(colon);
  } else {
    result.host = text;
  }
  if (result.host.empty())
    return std::nullopt;
  if (!port.empty()) {
    int64_t number = 0;
    if (!parse_number(std::string_view{port}.substr(1), number) || number < 1 || number > 65535)
      return std::nullopt;
    result.port = static_cast<uint16_t>(number);
  }
  return result;
}

std::string to_string(const address& where) {
  auto host = where.host.find(':') == std::string::npos ? where.host : "[" + where.host + "]";
  return host + ":" + std::to_string(where.port);
}

resp_client::~resp_client() {
  if (fd_ >= 0)
    ::close(fd_);
}

bool resp_client::fail(std::string why) {
  error_ = std::move(why);
  if (fd_ >= 0)
    ::close(fd_);
  fd_ = -1;
  return false;
}

bool resp_client::wait_for(int fd, short events) {
  for (;;) {
    auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline_ - clock::now()).count();
    pollfd waiting{fd, events, 0};
    auto ready = ::poll(&waiting, 1, static_cast<int>(std::max<int64_t>(left, 0)));
    if (ready > 0)
      return true;
    if (ready == 0) {
      errno = ETIMEDOUT;
      return false;
    }
    if (errno != EINTR)
      return false;
  }
}

bool resp_client::connect(const address& where) {
  deadline_ = clock::now() + timeout_;
  auto found = config::resolve(where.host, std::to_string(where.port), AI_NUMERICSERV, timeout_);
  if (found.error != 0)
    return fail("cannot connect to " + to_string(where) + ": " + ::gai_strerror(found.error));
  int failure = 0;
  for (const auto* a = found.list.get(); a != nullptr; a = a->ai_next) {
    int fd = ::socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
      failure = errno;
      continue;
    }
    int result = ::connect(fd, a->ai_addr, a->ai_addrlen) == 0 ? 0 : errno;
    if (result == EINPROGRESS) {
      socklen_t size = sizeof result;
      if (!wait_for(fd, POLLOUT) || ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &result, &size) != 0)
        result = errno;
    }
    if (result == 0) {
      int on = 1;
      ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      fd_ = fd;
      return true;
    }
    failure = result;
    ::close(fd);
  }
  return fail("cannot connect to " + to_string(where) + ": " + std::strerror(failure));
}

bool resp_client::send_all(std::string_view bytes) {
  while (!bytes.empty()) {
    auto sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent > 0)
      bytes.remove_prefix(static_cast<size_t>(sent));
    else if (errno == EAGAIN ? !wait_for(fd_, POLLOUT) : errno != EINTR)
      return fail(std::string{"cannot send: "} + std::strerror(errno));
  }
  return true;
}

bool resp_client::fill() {
  if (read_ == buffer_.size()) {
    buffer_.clear();
    read_ = 0;
  }
  char chunk[64 * 1024];
  for (;;) {
    auto got = ::recv(fd_, chunk, sizeof chunk, 0);
    if (got > 0) {
      buffer_.append(chunk, static_cast<size_t>(got));
      return true;
    }
    if (got == 0)
      return fail("the server closed the connection");
    if (errno == EAGAIN ? !wait_for(fd_, POLLIN) : errno != EINTR)
      return fail(errno == ETIMEDOUT ? "no reply within " + std::to_string(timeout_.count()) + " ms"
                                     : std::string{"cannot receive: "} + std::strerror(errno));
  }
}

bool resp_client::read_line(std::string& line) {
  for (size_t from = 0;;) {
    auto end = buffer_.find("\r\n", read_ + from);
    if (end != std::string::npos) {
      line.assign(buffer_, read_, end - read_);
      read_ = end + 2;
      return true;
    }
    auto size = buffer_.size() - read_;
    if (size > line_bytes_max)
      return fail("the reply is not RESP: a line without end");
    from = size > 0 ? size - 1 : 0; // The last byte may be the first half of the line's end.
    if (!fill())
      return false;
  }
}

bool resp_client::read_bytes(size_t size, std::string& bytes) {
  while (bytes.size() < size) {
    if (read_ == buffer_.size() && !fill())
      return false;
    auto part = std::min(size - bytes.size(), buffer_.size() - read_);
    bytes.append(buffer_, read_, part);
    read_ += part;
  }
  return true;
}

bool resp_client::read_reply(resp_reply& reply, size_t depth) {
  using kind = resp_reply::kind;
  std::string line;
  if (!read_line(line))
    return false;
  if (line.empty() || depth > depth_max)
    return fail("the reply is not RESP, or nested too deeply");
  reply.text = line.substr(1);
  switch (line[0]) {
  case '+':
    reply.what = kind::text;
    return true;
  case '-':
    reply.what = kind::error;
    return true;
  case ':':
    reply.what = kind::integer;
    return parse_number(reply.text, reply.integer) || fail("the reply is not RESP: a bad integer");
  case '$':
  case '*':
    break;
  default:
    return fail("the reply is not RESP");
  }
  int64_t size = 0;
  if (!parse_number(reply.text, size) || size < -1)
    return fail("the reply is not RESP: a bad length");
  reply.text.clear();
  if (size == -1)
    return true;
  auto length = static_cast<size_t>(size);
  if (line[0] == '$') {
    reply.what = kind::bulk;
    if (length > reply_bytes_max - reply_bytes_)
      return fail("the reply is too long");
    reply_bytes_ += length;
    std::string end;
    return read_bytes(length, reply.text) && read_bytes(2, end) &&
           (end == "\r\n" || fail("the reply is not RESP: a bad end"));
  }
  reply.what = kind::array;
  if (length > elements_max)
    return fail("the reply has too many elements");
  for (size_t i = 0; i < length; ++i)
    if (!read_reply(reply.elements.emplace_back(), depth + 1))
      return false;
  return true;
}

std::optional<resp_reply> resp_client::call(const std::vector<std::string>& words) {
  if (fd_ < 0)
    return std::nullopt;
  deadline_ = clock::now() + timeout_;
  reply_bytes_ = 0;
  auto request = "*" + std::to_string(words.size()) + "\r\n";
  for (const auto& word : words) {
    request += "$" + std::to_string(word.size()) + "\r\n";
    request += word;
    request += "\r\n";
  }
  resp_reply reply;
  if (!send_all(request) || !read_reply(reply, 0))
    return std::nullopt;
  return reply;
}

} // namespace crema::cli
