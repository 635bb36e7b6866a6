// What clients speak: RESP and HTTP, on threads of their own, in front of a client_backend.
#pragma once

#include "gateway/options.hpp"
#include "messages/client.hpp"

#include <memory>
#include <optional>
#include <string>

namespace crema::gateway {

class gateway {
public:
  /// @param backend must outlive the gateway.
  gateway(options opts, client_backend& backend);
  ~gateway();
  gateway(const gateway&) = delete;
  gateway& operator=(const gateway&) = delete;

  /// Opens both ports and starts the threads. @returns an error in words, and then nothing is left running.
  std::optional<std::string> start();
  /// Stops accepting, lets commands in flight finish (options::stop_grace at most), closes everything and ends the
  /// threads. Blocks; the backend must still answer. May be called twice.
  void stop();
  /// options::ready has become true: what clients have asked for so far is done now. Thread-safe.
  void ready();
  /// While `others` are named, which take requests: connections are closed behind the reply to a command, or, idle, a
  /// second later; on new ones, only what operators ask is answered. Nothing: as before. Thread-safe.
  void drain(std::optional<std::string> others);

  /// The cluster has changed. Thread-safe.
  void set_view(cluster_view view);

  /// Where it listens, once started; of interest if the system chose.
  uint16_t resp_port() const;
  uint16_t http_port() const;
  /// RESP connections.
  size_t clients() const;

private:
  struct implementation;
  std::unique_ptr<implementation> implementation_;
};

} // namespace crema::gateway
