// Handoff <-> replica: catch-up of one key (docs/protocol.md). Control traffic: one request, one response.
#pragma once

#include "messages/replica.hpp"

#include <caf/meta/type_name.hpp>

namespace crema {

/// What does the vnode know? -> clock_reply.
struct clock_request {
  uint16_t version = message_version;
  uint64_t epoch = 0;
  bucket_id bucket = 0;
  partition_id partition = 0;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, clock_request& x) {
    return f(caf::meta::type_name("crema::clock_request"), x.version, x.epoch, x.bucket, x.partition);
  }
};

struct clock_reply {
  std::string clock; ///< Encoded dot_clock.

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, clock_reply& x) {
    return f(caf::meta::type_name("crema::clock_reply"), x.clock);
  }
};

/// The state of one key, and its dots that a replica with `clock` lacks. -> page_message.
struct page_request {
  uint16_t version = message_version;
  uint64_t epoch = 0;
  bucket_id bucket = 0;
  partition_id partition = 0;
  std::string key;
  std::string clock;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, page_request& x) {
    return f(caf::meta::type_name("crema::page_request"), x.version, x.epoch, x.bucket, x.partition, x.key, x.clock);
  }
};

/// One key of catch-up. Sent to the replica that lacks it, it is answered by page_applied.
struct page_message {
  uint16_t version = message_version;
  uint64_t epoch = 0;
  bucket_id bucket = 0;
  partition_id partition = 0;
  std::string key;
  std::string object;
  std::vector<uint64_t> dots; ///< replica id, counter, replica id, counter, ...

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, page_message& x) {
    return f(caf::meta::type_name("crema::page_message"), x.version, x.epoch, x.bucket, x.partition, x.key, x.object,
             x.dots);
  }
};

struct page_applied {
  uint64_t dots_new = 0;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, page_applied& x) {
    return f(caf::meta::type_name("crema::page_applied"), x.dots_new);
  }
};

/// How many live keys do these vnodes hold? -> count_reply.
struct count_request {
  uint16_t version = message_version;
  uint64_t epoch = 0;
  bucket_id bucket = 0;
  std::vector<partition_id> partitions;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, count_request& x) {
    return f(caf::meta::type_name("crema::count_request"), x.version, x.epoch, x.bucket, x.partitions);
  }
};

struct count_reply {
  uint64_t keys = 0;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, count_reply& x) {
    return f(caf::meta::type_name("crema::count_reply"), x.keys);
  }
};

} // namespace crema
