#include "gateway/http/server.hpp"

#include "gateway/resp/server.hpp"

#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <spdlog/spdlog.h>

#include <csignal>
#include <mutex>
#include <pthread.h>
#include <thread>

namespace crema::gateway::http {

namespace asio = boost::asio;
namespace beast = boost::beast;
using asio::ip::tcp;
using request = beast::http::request<beast::http::string_body>;
using response = beast::http::response<beast::http::string_body>;
using error = beast::error_code;

namespace {

constexpr uint32_t header_bytes_max = 8 * 1024;
constexpr uint64_t body_bytes_max = uint64_t{64} * 1024;
constexpr int connections_max = 256;
constexpr std::chrono::seconds io_timeout{10};
constexpr std::chrono::seconds status_timeout{5};
constexpr std::chrono::milliseconds accept_pause{100};

response make_response(const request& to, beast::http::status status, const char* type, std::string body) {
  response result{status, to.version()};
  result.set(beast::http::field::server, "crema");
  result.set(beast::http::field::content_type, type);
  result.set(beast::http::field::cache_control, "no-store");
  result.keep_alive(to.keep_alive());
  auto size = body.size();
  if (to.method() != beast::http::verb::head)
    result.body() = std::move(body);
  result.content_length(size);
  return result;
}

// The loop, as long as there is one: for answers that come from other threads.
struct loop_guard {
  std::mutex mutex;
  asio::io_context* loop = nullptr;
};

// One client: read a request, answer it, and again.
class connection : public std::enable_shared_from_this<connection> {
public:
  connection(tcp::socket socket, const pages& shown, std::shared_ptr<loop_guard> loop, int& open)
      : stream_(std::move(socket)), deadline_(stream_.get_executor()), pages_(shown), loop_(std::move(loop)),
        open_(open) {
    ++open_;
  }
  ~connection() { --open_; }

  void read() {
    parser_.emplace();
    parser_->header_limit(header_bytes_max);
    parser_->body_limit(body_bytes_max);
    stream_.expires_after(io_timeout);
    beast::http::async_read(stream_, buffer_, *parser_, [self = shared_from_this()](const error& e, size_t) {
      if (!e)
        self->handle(self->parser_->get());
      else if (e != beast::http::error::end_of_stream && e != beast::error::timeout)
        self->refuse(e);
    });
  }

private:
  enum class page : uint8_t { status, metrics }; // Both are made of the status.

  void handle(const request& r) {
    using beast::http::status;
    auto target = std::string(r.target().substr(0, r.target().find('?')));
    bool get = r.method() == beast::http::verb::get || r.method() == beast::http::verb::head;
    if (get && target == "/health") {
      auto why_not = pages_.not_ready ? pages_.not_ready() : "";
      write(make_response(r, why_not.empty() ? status::ok : status::service_unavailable, "text/plain",
                          why_not.empty() ? "ok" : why_not));
    } else if (get && target == "/metrics") {
      ask_status(page::metrics);
    } else if (get && target == "/status") {
      ask_status(page::status);
    } else {
      write(make_response(r, status::not_found, "text/plain", "not found\n"));
    }
  }

  // The first of answer and deadline writes the response.
  void ask_status(page wanted) {
    wanted_ = wanted;
    answered_ = false;
    deadline_.expires_after(status_timeout);
    deadline_.async_wait([self = shared_from_this()](const error& e) {
      if (!e)
        self->answer({});
    });
    // Whoever holds on to the callback must not hold on to the connection, nor reach a loop that is gone.
    pages_.status([weak = weak_from_this(), loop = loop_](const std::string& json) {
      std::lock_guard lock(loop->mutex);
      if (loop->loop == nullptr)
        return;
      asio::post(*loop->loop, [weak, json] {
        if (auto self = weak.lock())
          self->answer(json);
      });
    });
  }

  // @param json the status; empty: it did not come in time.
  void answer(std::string json) {
    using beast::http::status;
    if (std::exchange(answered_, true))
      return;
    deadline_.cancel();
    const auto& r = parser_->get();
    if (wanted_ == page::metrics)
      write(make_response(r, status::ok, "text/plain; version=0.0.4; charset=utf-8", pages_.metrics(json)));
    else if (json.empty())
      write(make_response(r, status::service_unavailable, "application/json", R"({"error":"the status timed out"})"));
    else
      write(make_response(r, status::ok, "application/json", std::move(json)));
  }

  // Not HTTP, or too much of it.
  void refuse(const error& e) {
    using beast::http::status;
    bool too_big = e == beast::http::error::header_limit || e == beast::http::error::body_limit;
    if (!too_big && e.category() != beast::http::make_error_code(beast::http::error::bad_method).category())
      return;
    auto answer =
        make_response({}, too_big ? status::payload_too_large : status::bad_request, "text/plain", e.message() + "\n");
    answer.keep_alive(false);
    write(std::move(answer));
  }

  void write(response&& r) {
    response_ = std::move(r);
    stream_.expires_after(io_timeout);
    beast::http::async_write(stream_, *response_, [self = shared_from_this()](const error& e, size_t) {
      if (e)
        return;
      if (self->response_->keep_alive())
        return self->read();
      error ignored;
      self->stream_.socket().shutdown(tcp::socket::shutdown_send, ignored);
    });
  }

  beast::tcp_stream stream_;
  asio::steady_timer deadline_;
  const pages& pages_;
  std::shared_ptr<loop_guard> loop_;
  int& open_;
  beast::flat_buffer buffer_{header_bytes_max + body_bytes_max};
  std::optional<beast::http::request_parser<beast::http::string_body>> parser_;
  std::optional<response> response_;
  bool answered_ = false;
  page wanted_ = page::status;
};

} // namespace

struct server::implementation {
  explicit implementation(pages x) : shown(std::move(x)) { guard->loop = &loop; }

  void accept() {
    acceptor.async_accept([this](const error& e, tcp::socket socket) {
      if (!acceptor.is_open())
        return;
      if (!e && open < connections_max) {
        std::make_shared<connection>(std::move(socket), shown, guard, open)->read();
      }
      if (!e)
        return accept();
      retry.expires_after(accept_pause); // Out of descriptors, most likely.
      retry.async_wait([this](const error& cancelled) {
        if (!cancelled)
          accept();
      });
    });
  }

  pages shown;
  int open = 0; // Connections; outlives them, as it stands before the loop.
  std::shared_ptr<loop_guard> guard = std::make_shared<loop_guard>();
  asio::io_context loop{1};
  tcp::acceptor acceptor{loop};
  asio::steady_timer retry{loop};
  std::thread thread;
};

server::server(pages shown) : implementation_(std::make_unique<implementation>(std::move(shown))) {}

server::~server() { stop(); }

std::optional<std::string> server::start(const std::string& host, uint16_t port) {
  auto& x = *implementation_;
  if (auto failure = resp::listen(x.acceptor, host, port))
    return failure;
  port_ = x.acceptor.local_endpoint().port();
  x.accept();
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  x.thread = std::thread([&x] {
    pthread_setname_np(pthread_self(), "crema-http");
    x.loop.run();
  });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return {};
}

void server::stop() {
  if (!implementation_)
    return;
  auto& x = *implementation_;
  {
    std::lock_guard lock(x.guard->mutex);
    x.guard->loop = nullptr;
  }
  x.loop.stop();
  if (x.thread.joinable())
    x.thread.join();
  implementation_.reset(); // With the loop go the connections.
}

} // namespace crema::gateway::http
