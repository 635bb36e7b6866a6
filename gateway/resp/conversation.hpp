// One client's conversation, without its socket: bytes in, requests to the backend out; replies in, bytes out, in the
// order of the commands.
//
// Program order: commands run concurrently unless one writes a key that another reads or writes; then the later one,
// and all behind it, wait. So a pipelined "SET k 1, GET k" returns 1.
#pragma once

#include "gateway/resp/environment.hpp"
#include "gateway/resp/key_locks.hpp"
#include "gateway/resp/parser.hpp"
#include "gateway/resp/pending.hpp"
#include "gateway/resp/writer.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace crema::gateway::resp {

struct command;
class conversation;

/// Of a client beyond any of these no more commands are begun until it is below them again.
constexpr size_t unsent_bytes_max = size_t{1024} * 1024;
constexpr size_t commands_in_flight_max = 1024;
constexpr size_t bytes_in_flight_max = size_t{32} * 1024 * 1024;
/// Reads in flight are limited such that, by the sizes seen lately, their replies stay below this together.
constexpr size_t read_bytes_expected_max = size_t{4} * 1024 * 1024;

/// Where a conversation's requests go. Each is answered by conversation::on_reply with the same sequence and part.
class request_port {
public:
  virtual ~request_port() = default;
  virtual void submit(conversation& from, uint64_t sequence, uint32_t part, client_request&& request) = 0;
  virtual void ask_status(conversation& from, uint64_t sequence) = 0;
  virtual void sync_point(conversation& from, uint64_t sequence, uint64_t id) = 0;
  virtual void repair(conversation& from, uint64_t sequence, const repair_order& order) = 0;
  virtual void topology(conversation& from, uint64_t sequence, topology_order order) = 0;
  virtual void count_keys(conversation& from, uint64_t sequence, bucket_id bucket) = 0;
};

class conversation {
public:
  conversation(environment& env, statistics& stats, request_port& port, client_info info);
  conversation(const conversation&) = delete;
  conversation& operator=(const conversation&) = delete;
  ~conversation();

  /// Runs the commands at the front of `input` that may run now. @returns the number of bytes that are done with; the
  /// rest is to be offered again, when there is more of it or wants_input() has become true.
  size_t consume(std::string_view input);
  /// The backend has answered a request.
  void on_reply(uint64_t sequence, uint32_t part, client_reply&& reply);

  /// May more commands be taken in, by the limits above and by program order?
  bool wants_input() const;
  /// What is to be written to the socket.
  std::string_view unsent() const { return std::string_view(out_).substr(sent_); }
  /// The socket has taken `size` bytes of it.
  void sent(size_t size);
  /// Memory held by the output (for tests).
  size_t output_memory() const { return out_.capacity(); }
  /// The client asked to leave, or broke the protocol: close when all is written.
  bool closing() const { return closing_; }
  /// Sends the client away with an error.
  void break_off(std::string_view error) {
    reply_out_of_turn(error);
    closing_ = true;
  }
  /// Nothing is in flight, and nothing waits to be written.
  bool idle() const { return queue_.empty() && unsent().empty(); }
  bool nothing_in_flight() const { return queue_.empty(); }
  /// Has it asked for anything that a drained node does not answer?
  bool asked_for_data() const { return asked_for_data_; }
  /// Or only for what operators want to know?
  bool asked_by_operator() const { return asked_by_operator_ && !asked_for_data_; }
  /// Requests that the backend has not answered yet.
  size_t outstanding() const { return outstanding_; }
  /// The socket is gone: replies to come are dropped.
  void abandon();

  // For the commands.
  environment& env() { return env_; }
  const protocol::bucket& bucket() const { return *bucket_; }
  void select(const protocol::bucket& bucket);
  void set_resp3(bool resp3);
  bool resp3() const { return info_.resp3; }
  /// To be followed by publish() when changed.
  client_info& info() { return info_; }
  void publish() { env_.clients.update(info_); }
  void close_after_reply() { closing_ = true; }

  /// The command becomes one request to the backend.
  void ask(client_request&& request, shape how, vnode_id where = {});
  /// ... or one for each item.
  void ask(std::unique_ptr<wide_command> wide, shape how);
  void ask_status();
  void ask_sync_point(uint64_t id);
  void ask_repair(const repair_order& order);
  void ask_topology(topology_order order);
  void ask_count();
  uint64_t hash_of(std::string_view key) const;

private:
  bool is_sent_away();
  const std::vector<std::string_view>& find_current();
  void run(const std::vector<std::string_view>& args);
  bool must_wait(const command& c, const std::vector<std::string_view>& args);
  bool still_blocked() const;
  void follow_view();
  uint64_t push(shape how);
  void send_items(uint64_t sequence, pending_command& command);
  void unlock(pending_command& command);
  void adapt_read_window(size_t reply_bytes);
  void finish(uint64_t sequence, pending_command& command);
  void reply_out_of_turn(std::string_view error);
  void unknown_command(const std::vector<std::string_view>& args, writer& out);

  environment& env_;
  statistics& stats_;
  request_port& port_;
  client_info info_;
  const cluster_view* view_;
  const protocol::bucket* bucket_; // Of the view, or dropped since.

  request_parser parser_;
  std::string out_;
  size_t sent_ = 0; // Of out_.
  bool closing_ = false;
  bool asked_for_data_ = false, asked_by_operator_ = false;
  bool abandoned_ = false;

  command_queue queue_;
  key_locks locks_;
  size_t outstanding_ = 0;
  size_t bytes_in_flight_ = 0;
  size_t bytes_ready_ = 0; // Replies that wait for an earlier one.
  size_t reads_in_flight_ = 0;
  size_t read_window_ = 4; // This many reads may be in flight. Grows with small replies, shrinks with large ones.

  enum class blocked : uint8_t { no, by_key, until_drained, until_ready };
  blocked blocked_ = blocked::no;
  uint64_t blocked_hash_ = 0;
  bool blocked_write_ = false;

  // The command being run.
  const command* current_ = nullptr;
  bool explaining_ = false; // It came as the argument of KV.EXPLAIN; its own arguments are these.
  std::vector<std::string_view> explained_args_;
  size_t current_bytes_ = 0;
  bool asked_ = false;
  std::vector<uint64_t> hashes_; // Of its keys.
  std::string scratch_;
};

} // namespace crema::gateway::resp
