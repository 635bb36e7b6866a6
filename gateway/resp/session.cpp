#include "gateway/resp/session.hpp"

#include "gateway/resp/worker.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>
#include <fmt/format.h>

#include <sys/socket.h>

#include <cerrno>
#include <utility>

namespace crema::gateway::resp {

using boost::asio::ip::tcp;
using error = boost::system::error_code;

namespace {

// A connection with more to read lets the others have their turn after so many reads.
constexpr int reads_per_turn = 4;
// Of what a client still sends when it is sent away, this much is read: bytes left unread make the system reset the
// connection, and then the client may lose the last reply.
constexpr int last_reads = 16;

// So much of one connection is not worth counting; all that is counted is together at most this on a node.
constexpr size_t unfinished_free = size_t{64} << 10;
constexpr uint64_t unfinished_max = uint64_t{256} << 20;
// So much is taken from one client that does not read its replies, and from all such clients.
constexpr size_t kept_max = size_t{32} << 20;
constexpr uint64_t kept_by_all_max = uint64_t{128} << 20;
// A connection whose kept commands run lets the others have their turn after so much output.
constexpr int outputs_per_turn = 4;

/// Kept back until send_kept_back(), or until the connection is ended.
size_t send_with_more(tcp::socket& socket, std::string_view bytes, error& e) {
  auto size = ::send(socket.native_handle(), bytes.data(), bytes.size(), MSG_MORE | MSG_NOSIGNAL | MSG_DONTWAIT);
  e = size < 0 ? error(errno, boost::system::system_category()) : error();
  return size < 0 ? 0 : static_cast<size_t>(size);
}

void send_kept_back(tcp::socket& socket) {
  error ignored;
  socket.set_option(tcp::no_delay(true), ignored);
}

bool would_block(const error& e) { return e == boost::asio::error::would_block || e == boost::asio::error::try_again; }

} // namespace

session::session(worker& home, tcp::socket socket, client_info info)
    : conversation(home.env(), home.stats(), home, std::move(info)), home_(home), socket_(std::move(socket)) {
  error ignored;
  socket_.set_option(tcp::no_delay(true), ignored);
  socket_.set_option(tcp::socket::keep_alive(true), ignored);
}

void session::start() {
  error e;
  socket_.non_blocking(true, e);
  if (e)
    return close();
  wait_readable();
}

void session::wake(bool& waiting, void (session::*go_on)()) {
  --handlers_;
  waiting = false;
  if (!closed_)
    (this->*go_on)();
  if (finished())
    home_.destroy(*this);
}

void session::wait_readable() {
  if (reading_ || closed_)
    return;
  reading_ = true;
  ++handlers_;
  socket_.async_wait(tcp::socket::wait_read, [this](const error&) { wake(reading_, &session::on_readable); });
}

void session::wait_writable() {
  if (writing_ || closed_)
    return;
  writing_ = true;
  ++handlers_;
  socket_.async_wait(tcp::socket::wait_write, [this](const error&) { wake(writing_, &session::pump); });
}

void session::on_readable() {
  for (int i = 0; i < reads_per_turn && may_read() && read_once(); ++i) {
  }
  pump();
}

bool session::read_once() {
  auto& buffer = home_.read_buffer();
  error e;
  auto size = socket_.read_some(boost::asio::buffer(buffer), e);
  if (e) {
    if (e == boost::asio::error::eof)
      eof_ = true; // It may still read the replies to what it sent.
    else if (!would_block(e))
      close();
    return false;
  }
  home_.stats().bytes_in.add(size);
  take_in(std::string_view(buffer.data(), size));
  return size == buffer.size();
}

bool session::take_in(std::string_view fresh) {
  if (input_.empty()) { // The usual case: nothing is left over, and nothing will be.
    auto consumed = consume(fresh);
    input_.assign(fresh.substr(consumed));
    return consumed > 0;
  }
  input_.append(fresh);
  auto consumed = consume(std::string_view(input_).substr(used_));
  used_ += consumed;
  if (used_ == input_.size()) {
    std::string().swap(input_);
    used_ = 0;
  } else if (used_ > input_.size() / 2) {
    input_.erase(0, used_);
    used_ = 0;
  }
  count_input();
  return consumed > 0;
}

/// Each connection may hold one large command that is not whole yet, and some that wait, but not all of them at once.
void session::count_input() {
  auto now = input_.size() > unfinished_free ? input_.size() : 0;
  auto waits = !wants_input();
  if (now == counted_ && waits == kept_)
    return;
  auto counter = [this]() -> std::atomic<uint64_t>& { return kept_ ? env().kept : env().unfinished; };
  counter() -= counted_;
  kept_ = waits;
  auto all = counter() += now;
  auto before = std::exchange(counted_, now);
  auto limit = kept_ ? kept_by_all_max : unfinished_max;
  if (now <= before || all <= limit)
    return;
  break_off(fmt::format("BUSY {} MiB of commands that {} are held for all clients together; {}", limit >> 20,
                        kept_ ? "wait until their replies are read" : "are not whole yet",
                        kept_ ? "read replies while you send" : "send large values over fewer connections at once"));
  std::string().swap(input_);
  used_ = 0;
  count_input();
}

void session::pump_later() {
  if (pumping_ || closed_)
    return;
  pumping_ = true;
  ++handlers_;
  boost::asio::post(socket_.get_executor(), [this] { wake(pumping_, &session::pump); });
}

bool session::may_keep() const {
  return writing_ && (closing() || input_.size() - used_ < kept_max); // What comes behind the end is dropped.
}

void session::pump() {
  write();
  // What was too much to take in may not be any more, now that this is written.
  int turns = 0;
  while (!closed_ && !input_.empty() && wants_input() && take_in({})) {
    write();
    if (++turns == outputs_per_turn)
      return pump_later();
  }
  if (closed_)
    return;
  if (may_read())
    wait_readable();
  check_end();
}

void session::write() {
  auto last = env().drained() && !unsent().empty() && leaves_after_this();
  while (!closed_ && !unsent().empty()) {
    error e;
    auto rest = unsent();
    // The end of the connection travels with the reply: a client that looks before it asks again sends nothing in vain.
    auto size =
        last ? send_with_more(socket_, rest, e) : socket_.write_some(boost::asio::buffer(rest.data(), rest.size()), e);
    if (would_block(e))
      return wait_writable();
    if (e)
      return close();
    home_.stats().bytes_out.add(size);
    sent(size);
  }
  if (last && leaves_after_this())
    eof_ = true; // pump() closes.
  else if (last)
    send_kept_back(socket_);
}

bool session::leaves_after_this() {
  error e;
  return !closed_ && asked_for_data() && nothing_in_flight() && input_.empty() && socket_.available(e) == 0;
}

void session::leave_if_idle() {
  error e;
  if (closed_ || !idle() || !input_.empty() || socket_.available(e) > 0 || asked_by_operator())
    return;
  eof_ = true;
  check_end();
}

void session::check_end() {
  if (closed_ || !idle() || !(eof_ || closing()))
    return;
  error e;
  for (int i = 0; i < last_reads && !e; ++i)
    socket_.read_some(boost::asio::buffer(home_.read_buffer()), e);
  socket_.shutdown(tcp::socket::shutdown_both, e);
  close();
}

void session::drain() {
  if (closed_)
    return;
  eof_ = true;
  input_.clear();
  used_ = 0;
  check_end();
}

void session::close() {
  if (closed_)
    return;
  closed_ = true;
  input_.clear();
  count_input();
  abandon();
  error ignored;
  socket_.close(ignored);
  home_.closed();
}

} // namespace crema::gateway::resp
