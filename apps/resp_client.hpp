// A small blocking RESP2 client for the command line. Trusts the server no more than the server trusts clients:
// lengths, counts and nesting are bounded, and every call has a deadline.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace crema::cli {

struct resp_reply {
  enum class kind : uint8_t { text, error, integer, bulk, nil, array };
  kind what = kind::nil;
  std::string text; ///< text, error (with its code), bulk.
  int64_t integer = 0;
  std::vector<resp_reply> elements;

  bool is_error() const { return what == kind::error; }
};

struct address {
  std::string host = "127.0.0.1";
  uint16_t port = 6401;
};
/// "host:port", "host", "[::1]:6401" or "::1"; nothing if it is none of these.
std::optional<address> parse_address(const std::string& text);
std::string to_string(const address& where);

class resp_client {
public:
  /// @param timeout of connecting, and of each call.
  explicit resp_client(std::chrono::milliseconds timeout) : timeout_(timeout) {}
  resp_client(const resp_client&) = delete;
  resp_client& operator=(const resp_client&) = delete;
  ~resp_client();

  /// @returns false, and error() says why.
  bool connect(const address& where);
  /// Sends one command and waits for its reply; nothing if the connection failed: then it is of no more use.
  std::optional<resp_reply> call(const std::vector<std::string>& words);
  const std::string& error() const { return error_; }

private:
  using clock = std::chrono::steady_clock;

  bool fail(std::string why);
  bool wait_for(int fd, short events);
  bool send_all(std::string_view bytes);
  bool fill();
  bool read_line(std::string& line);
  bool read_bytes(size_t size, std::string& bytes);
  bool read_reply(resp_reply& reply, size_t depth);

  std::chrono::milliseconds timeout_;
  clock::time_point deadline_;
  int fd_ = -1;
  std::string buffer_; ///< Received, from read_ on not used yet.
  size_t read_ = 0;
  size_t reply_bytes_ = 0; ///< Of the current reply, so far.
  std::string error_;
};

} // namespace crema::cli
