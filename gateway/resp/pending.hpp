// Commands whose replies are not written yet, in the order in which they came.
#pragma once

#include "messages/client.hpp"

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace crema::gateway::resp {

/// What a command makes of the backend's reply.
enum class shape : uint8_t {
  ready,    ///< The reply is text already.
  set_ok,   ///< SET, MSET: +OK
  value,    ///< GET: the newest value or nothing
  length,   ///< STRLEN
  ttl_s,    ///< TTL
  ttl_ms,   ///< PTTL
  type,     ///< TYPE
  existed,  ///< DEL: how many keys existed
  found,    ///< EXISTS: how many were found
  values,   ///< MGET
  kv_get,   ///< [context, [value ...]]
  kv_write, ///< context
  explain,  ///< KV.EXPLAIN key: the explanation alone
  text,     ///< KV.STATUS, KV.SYNCPOINT, KV.REPAIR, KV.TOPOLOGY: the text in the first value
  integer,  ///< DBSIZE: the number in the first value
};

/// A command on several keys: one request per key, at most `window` of them at a time.
struct wide_command {
  static constexpr size_t window = 128;
  struct item {
    uint32_t key_offset, key_size, value_offset, value_size; ///< In `bytes`.
  };
  client_request::kind what = client_request::kind::get;
  bool read_first = false;
  bucket_id bucket = 0;
  std::string bytes; ///< Its own copy: the connection's buffer moves on.
  std::vector<item> items;
  std::vector<uint64_t> hashes; ///< Of the keys that are locked.
  size_t next = 0;              ///< The first item that has not been sent.
  size_t outstanding = 0;
  size_t succeeded = 0;
  uint64_t count = 0;                             ///< DEL, EXISTS.
  std::vector<std::optional<std::string>> values; ///< MGET, by item.
  size_t value_bytes = 0;
  size_t failed_item = SIZE_MAX; ///< The first item, in the client's order, that failed, and why.
  errc failure = errc::ok;
  std::string error;

  std::string_view key(const item& x) const { return std::string_view(bytes).substr(x.key_offset, x.key_size); }
  std::string_view value(const item& x) const { return std::string_view(bytes).substr(x.value_offset, x.value_size); }
};

struct pending_command {
  shape how = shape::ready;
  bool resp3 = false;
  bool write = false;
  bool explained = false; ///< The reply is two: its own, and how it came about.
  bool locked = false;
  bool done = false; ///< `text` is the whole reply.
  uint64_t hash = 0; ///< Of the locked key, unless wide.
  size_t bytes = 0;  ///< Of the command, for the limit on what is in flight.
  vnode_id where;    ///< kv_*: what the context is bound to.
  std::string text;
  std::unique_ptr<wide_command> wide;
};

/// A ring of pending commands by sequence number, which counts from 1 and is never reused.
class command_queue {
public:
  bool empty() const { return head_ == tail_; }
  size_t size() const { return tail_ - head_; }
  uint64_t head() const { return head_; }
  pending_command& front() { return at(head_); }
  pending_command& at(uint64_t sequence) {
    assert(sequence - head_ < size());
    return ring_[sequence & (ring_.size() - 1)];
  }
  uint64_t push(pending_command&& command) {
    if (size() == ring_.size())
      grow();
    ring_[tail_ & (ring_.size() - 1)] = std::move(command);
    return tail_++;
  }
  void pop() {
    front() = {};
    ++head_;
  }
  void clear() {
    while (!empty())
      pop();
  }

private:
  void grow() {
    std::vector<pending_command> larger(ring_.empty() ? 2 : 2 * ring_.size());
    for (auto i = head_; i != tail_; ++i)
      larger[i & (larger.size() - 1)] = std::move(at(i));
    ring_ = std::move(larger);
  }

  std::vector<pending_command> ring_; // A power of two.
  uint64_t head_ = 1;
  uint64_t tail_ = 1;
};

} // namespace crema::gateway::resp
