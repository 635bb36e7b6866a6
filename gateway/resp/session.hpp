// One client's socket around its conversation. Reads and writes are tried at once; only when the socket would block
// does it wait in the event loop.
#pragma once

#include "gateway/resp/conversation.hpp"

#include <boost/asio/ip/tcp.hpp>

#include <string>

namespace crema::gateway::resp {

class worker;

class session : public conversation {
public:
  session(worker& home, boost::asio::ip::tcp::socket socket, client_info info);

  void start();
  /// Something has changed (replies, room to write): take in what may be taken in, write what there is.
  void pump();
  /// Takes in no more; closes when all that is in flight is answered and written.
  void drain();
  /// The node is drained: closes, unless something is on its way.
  void leave_if_idle();
  /// Closes at once.
  void close();
  /// Closed, and nothing refers to it any more.
  bool finished() const { return closed_ && handlers_ == 0 && outstanding() == 0; }

  bool touched = false; ///< Is in the worker's list of sessions to pump.

private:
  void on_readable();
  /// @returns false if there is no more to read for now.
  bool read_once();
  /// Runs what may run of the input and then of `fresh`, which follows it. @returns whether anything was consumed.
  bool take_in(std::string_view fresh);
  void count_input();
  bool may_read() const { return !eof_ && (wants_input() || may_keep()); }
  /// Many clients send all they have before they read a reply. Both sides would wait for ever.
  bool may_keep() const;
  void write();
  /// Is what is to be written the end of all that was asked, on a node that is drained?
  bool leaves_after_this();
  void pump_later();
  /// What `waiting` stood for has come: goes on, unless the connection was closed meanwhile.
  void wake(bool& waiting, void (session::*go_on)());
  void wait_readable();
  void wait_writable();
  void check_end();

  worker& home_;
  boost::asio::ip::tcp::socket socket_;
  std::string input_;  // Bytes read, but not consumed yet.
  size_t used_ = 0;    // ... of which these, at the front, are consumed.
  size_t counted_ = 0; // Of them, in environment::unfinished or
  bool kept_ = false;  // environment::kept.
  bool eof_ = false;   // Nothing is read any more.
  bool closed_ = false;
  bool reading_ = false; // Waits to become readable.
  bool writing_ = false; // Waits to become writable.
  bool pumping_ = false; // Waits for its next turn.
  int handlers_ = 0;     // Waits in the event loop.
};

} // namespace crema::gateway::resp
