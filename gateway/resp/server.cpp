#include "gateway/resp/server.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>
#include <spdlog/spdlog.h>

#include <future>

namespace crema::gateway::resp {

using boost::asio::ip::tcp;
using error = boost::system::error_code;

namespace {

// When the process or the system is out of file descriptors, a new attempt at once would fail as well.
constexpr std::chrono::milliseconds accept_pause{100};

std::vector<std::unique_ptr<worker>> make_workers(environment& env, client_backend& backend) {
  std::vector<std::unique_ptr<worker>> workers;
  for (size_t i = 0; i < env.threads(); ++i)
    workers.push_back(std::make_unique<worker>(env, backend, env.of_thread(i)));
  return workers;
}

void send_away(tcp::socket& socket) {
  static constexpr std::string_view text = "-ERR max number of clients reached\r\n";
  error ignored;
  socket.non_blocking(true, ignored);
  socket.write_some(boost::asio::buffer(text.data(), text.size()), ignored);
  socket.shutdown(tcp::socket::shutdown_send, ignored);
  char unread[4096]; // What was sent already; left unread it would turn the reply into a reset.
  socket.read_some(boost::asio::buffer(unread), ignored);
  socket.close(ignored);
}

} // namespace

std::optional<std::string> listen(tcp::acceptor& acceptor, const std::string& host, uint16_t port) {
  auto where = (host.find(':') == std::string::npos ? host : "[" + host + "]") + ":" + std::to_string(port);
  error e;
  tcp::endpoint at;
  auto address = boost::asio::ip::make_address(host, e);
  if (e) {
    tcp::resolver resolver(acceptor.get_executor());
    auto found = resolver.resolve(host, std::to_string(port), tcp::resolver::passive, e);
    if (e || found.empty())
      return "cannot listen on " + where + ": " + (e ? e.message() : "no such host");
    at = found.begin()->endpoint();
  } else {
    at = tcp::endpoint(address, port);
  }
  acceptor.open(at.protocol(), e);
  if (!e)
    acceptor.set_option(tcp::acceptor::reuse_address(true), e);
  if (!e)
    acceptor.bind(at, e);
  if (!e)
    acceptor.listen(tcp::acceptor::max_listen_connections, e);
  if (!e)
    return {};
  auto why = e.message();
  acceptor.close(e);
  return "cannot listen on " + where + ": " + why;
}

server::server(environment& env, client_backend& backend)
    : env_(env), workers_(make_workers(env, backend)), acceptor_(workers_.front()->loop()),
      retry_(workers_.front()->loop()) {}

server::~server() { stop(); }

std::optional<std::string> server::start() {
  const auto& at = env_.opts().resp;
  if (auto failure = listen(acceptor_, at.host, at.port))
    return failure;
  port_ = acceptor_.local_endpoint().port();
  running_ = true;
  accept();
  for (auto& w : workers_)
    w->start();
  return {};
}

void server::stop() {
  if (!running_)
    return;
  running_ = false;
  std::promise<void> closed;
  boost::asio::post(workers_.front()->loop(), [this, &closed] {
    error ignored;
    acceptor_.close(ignored);
    retry_.cancel();
    closed.set_value();
  });
  closed.get_future().wait();
  for (auto& w : workers_)
    w->stop(env_.opts().stop_grace);
  for (auto& w : workers_)
    w->join();
}

void server::drained() {
  for (auto& w : workers_)
    w->drained();
}

void server::ready() {
  for (auto& w : workers_)
    w->ready();
}

void server::accept() {
  auto& home = *workers_[next_++ % workers_.size()];
  acceptor_.async_accept(home.loop(), peer_,
                         [this, &home](const error& e, tcp::socket socket) { accepted(home, e, std::move(socket)); });
}

void server::accepted(worker& home, const error& e, tcp::socket socket) {
  if (!acceptor_.is_open())
    return;
  if (e) {
    if (e == boost::asio::error::connection_aborted || e == boost::asio::error::interrupted)
      return accept();
    if (!out_of_descriptors_)
      spdlog::warn("cannot accept clients: {}; trying again every {} ms", e.message(), accept_pause.count());
    out_of_descriptors_ = true;
    return accept_later();
  }
  out_of_descriptors_ = false;
  env_.accepted.fetch_add(1, std::memory_order_relaxed);
  if (env_.connected.load(std::memory_order_relaxed) >= env_.opts().max_clients) {
    env_.rejected.fetch_add(1, std::memory_order_relaxed);
    send_away(socket);
  } else {
    env_.connected.fetch_add(1, std::memory_order_relaxed);
    boost::asio::post(home.loop(),
                      [&home, peer = peer_, s = std::move(socket)]() mutable { home.adopt(std::move(s), peer); });
  }
  accept();
}

void server::accept_later() {
  retry_.expires_after(accept_pause);
  retry_.async_wait([this](const error& e) {
    if (!e)
      accept();
  });
}

} // namespace crema::gateway::resp
