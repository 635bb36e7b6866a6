// Accepts RESP connections and deals them out to the gateway threads.
#pragma once

#include "gateway/resp/worker.hpp"

#include <boost/asio/ip/tcp.hpp>

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace crema::gateway::resp {

/// Opens a listening socket. @returns an error in words, or nothing.
std::optional<std::string> listen(boost::asio::ip::tcp::acceptor& acceptor, const std::string& host, uint16_t port);

class server {
public:
  server(environment& env, client_backend& backend);
  ~server();

  /// @returns an error in words if it cannot listen.
  std::optional<std::string> start();
  /// Stops accepting, lets commands in flight finish (options::stop_grace), closes all connections. May be called
  /// twice.
  void stop();
  /// environment::drained() has changed.
  void drained();
  /// environment::ready() has become true.
  void ready();
  /// Where it listens, once started.
  uint16_t port() const { return port_; }

private:
  void accept();
  void accepted(worker& home, const boost::system::error_code& e, boost::asio::ip::tcp::socket socket);
  void accept_later();

  environment& env_;
  std::vector<std::unique_ptr<worker>> workers_; // The first one accepts.
  boost::asio::ip::tcp::acceptor acceptor_;
  boost::asio::ip::tcp::endpoint peer_; // Of the connection being accepted.
  boost::asio::steady_timer retry_;
  size_t next_ = 0; // Worker to get the next connection.
  bool out_of_descriptors_ = false;
  bool running_ = false;
  uint16_t port_ = 0;
};

} // namespace crema::gateway::resp
