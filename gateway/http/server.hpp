// A small HTTP server for operators: GET /health, /status and /metrics, on a thread of its own.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace crema::gateway::http {

/// What the pages show. Called on the server's thread.
struct pages {
  /// /health: empty: 200 "ok", else 503 and this.
  std::function<std::string()> not_ready;
  std::function<void(std::function<void(std::string json)>)> status; ///< /status; answers from any thread.
  /// /metrics, as Prometheus text, from the status (empty, if it did not come in time).
  std::function<std::string(const std::string& json)> metrics;
};

class server {
public:
  explicit server(pages shown);
  ~server();

  /// @returns an error in words if it cannot listen.
  std::optional<std::string> start(const std::string& host, uint16_t port);
  /// Closes everything at once. May be called twice.
  void stop();
  uint16_t port() const { return port_; }

private:
  struct implementation;
  std::unique_ptr<implementation> implementation_; ///< Null once stopped.
  uint16_t port_ = 0;
};

} // namespace crema::gateway::http
