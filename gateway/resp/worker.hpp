// One gateway thread: an event loop, the connections that belong to it, and their requests in flight.
//
// What all its connections ask for in one turn of the loop travels to the backend as one batch; replies come back by
// batches too, one wake-up each at most, and every connection they concern is written to once.
#pragma once

#include "gateway/resp/conversation.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>

#include <array>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

namespace crema::gateway::resp {

class session;
class worker;

/// Where the backend's replies arrive, from any thread. Outlives its worker as long as the backend holds on to it.
class inbox : public reply_sink, public std::enable_shared_from_this<inbox> {
public:
  explicit inbox(worker& owner) : owner_(&owner) {}
  void deliver(std::vector<client_reply> replies) override;
  /// Drops everything from now on.
  void detach();
  /// The batches that have arrived since the last call.
  void take(std::vector<std::vector<client_reply>>& batches);

private:
  std::mutex mutex_;
  worker* owner_;
  std::vector<std::vector<client_reply>> arrived_;
};

class worker : public request_port {
public:
  worker(environment& env, client_backend& backend, statistics& stats);
  ~worker() override;
  worker(const worker&) = delete;
  worker& operator=(const worker&) = delete;

  boost::asio::io_context& loop() { return loop_; }
  void start();
  /// Lets commands in flight finish, for `grace` at most, then closes all connections and ends the thread.
  void stop(std::chrono::milliseconds grace);
  /// Waits until the thread has ended.
  void join();
  /// environment::drained() has changed. Thread-safe.
  void drained();
  /// environment::ready() has become true. Thread-safe.
  void ready();

  // On the worker's thread:
  void adopt(boost::asio::ip::tcp::socket socket, const boost::asio::ip::tcp::endpoint& peer);
  void destroy(session& s);
  /// A connection has been closed; its session may live on until its requests are answered.
  void closed();
  void on_arrived();
  /// Room to read into, shared by all connections: an idle connection holds no buffer.
  std::array<char, 65536>& read_buffer() { return read_buffer_; }
  statistics& stats() { return stats_; }
  environment& env() { return env_; }

  void submit(conversation& from, uint64_t sequence, uint32_t part, client_request&& request) override;
  void ask_status(conversation& from, uint64_t sequence) override;
  void sync_point(conversation& from, uint64_t sequence, uint64_t id) override;
  void repair(conversation& from, uint64_t sequence, const repair_order& order) override;
  void topology(conversation& from, uint64_t sequence, topology_order order) override;
  void count_keys(conversation& from, uint64_t sequence, bucket_id bucket) override;

private:
  /// The answer to a question that is answered with text.
  std::function<void(std::string)> text_to(conversation& from, uint64_t sequence);

  /// A request in flight. Its id is (generation, index), so that a reply that comes twice finds nobody.
  struct slot {
    conversation* owner = nullptr;
    uint64_t sequence = 0;
    uint32_t part = 0;
    uint32_t generation = 0;
    uint32_t next_free = 0;
  };
  static constexpr uint32_t no_slot = UINT32_MAX;

  uint64_t new_id(conversation& from, uint64_t sequence, uint32_t part);
  void route(client_reply&& reply);
  void flush();
  void begin_drain(std::chrono::milliseconds grace);
  void send_idle_away();
  void end();

  environment& env_;
  client_backend& backend_;
  statistics& stats_;
  boost::asio::io_context loop_{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_{loop_.get_executor()};
  boost::asio::steady_timer grace_timer_{loop_};
  boost::asio::steady_timer idle_timer_{loop_}; // While the node is drained.
  std::shared_ptr<inbox> inbox_ = std::make_shared<inbox>(*this);
  std::thread thread_;
  bool draining_ = false;
  size_t open_ = 0; // Connections.

  std::unordered_map<session*, std::unique_ptr<session>> sessions_;
  std::vector<slot> slots_;
  uint32_t free_slot_ = no_slot;
  std::vector<client_request> outgoing_;
  size_t last_batch_ = 0;
  bool flush_posted_ = false;
  std::vector<std::vector<client_reply>> batches_; // Reused.
  std::vector<session*> touched_;                  // By the replies being handled.
  std::array<char, 65536> read_buffer_;
};

} // namespace crema::gateway::resp
