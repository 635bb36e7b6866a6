// What all connections of a node share: the options, the list of clients, and counters.
#pragma once

#include "gateway/options.hpp"

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace crema::gateway::resp {

/// A counter with one writer and any number of readers: no locked instruction on the hot path.
class counter {
public:
  void add(uint64_t n) { value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed); }
  uint64_t get() const { return value_.load(std::memory_order_relaxed); }

private:
  std::atomic<uint64_t> value_{0};
};

/// Of one gateway thread.
struct alignas(64) statistics {
  counter commands;
  counter requests; ///< Sent to the backend: one per key.
  counter batches;  ///< ... in so many batches.
  counter errors;   ///< Error replies.
  counter bytes_in;
  counter bytes_out;
};

/// What CLIENT LIST shows of a connection.
struct client_info {
  uint64_t id = 0;
  std::string address; ///< "ip:port" of the client.
  std::string local_address;
  std::string name;
  std::string library;
  std::string library_version;
  bucket_id db = 0;
  bool resp3 = false;
  uint64_t connected_at_ms = 0;
  bool late = false; ///< It came when the node was drained.
};

/// Everybody who is connected. Thread-safe; touched when clients come, go or change their name, not per command.
class client_list {
public:
  uint64_t next_id() { return next_id_.fetch_add(1, std::memory_order_relaxed); }
  void update(const client_info& info);
  void remove(uint64_t id);
  std::vector<client_info> all() const;

private:
  std::atomic<uint64_t> next_id_{1};
  mutable std::mutex mutex_;
  std::map<uint64_t, client_info> clients_;
};

class environment {
public:
  /// @pre opts.cluster_now has buckets; opts.threads > 0.
  explicit environment(options opts);

  const options& opts() const { return opts_; }
  /// The newest. Stays valid as long as the environment. Thread-safe.
  const cluster_view& view() const { return *view_.load(std::memory_order_acquire); }
  /// Thread-safe.
  void set_view(cluster_view view);
  uint64_t now_ms() const;
  bool ready() const { return !opts_.ready || opts_.ready(); }

  /// While the node is drained, clients are to ask `others`, named in words; nothing: it is not drained.
  void drain(std::optional<std::string> others);
  bool drained() const { return drained_.load(std::memory_order_relaxed); }
  /// What a client is told that wants something of it.
  std::string drained_text() const;

  statistics& of_thread(size_t i) { return *statistics_[i]; }
  size_t threads() const { return statistics_.size(); }
  uint64_t total(counter statistics::*field) const;

  client_list clients;
  std::atomic<uint64_t> connected{0};
  std::atomic<uint64_t> unfinished{0}; ///< Bytes of input that is no whole command yet, of all connections.
  std::atomic<uint64_t> kept{0};       ///< Of commands that wait until their client reads replies.
  std::atomic<uint64_t> accepted{0};
  std::atomic<uint64_t> rejected{0};
  const uint64_t started_ms;

private:
  std::atomic<bool> drained_{false};
  mutable std::mutex others_mutex_;
  std::string others_;
  options opts_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<const cluster_view>> views_; ///< All there were: they are small, and change rarely.
  std::atomic<const cluster_view*> view_;
  std::vector<std::unique_ptr<statistics>> statistics_;
};

} // namespace crema::gateway::resp
