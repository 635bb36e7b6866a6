// Objects to store, and everything that a store holds as one value to compare.
#pragma once

#include "protocol/object.hpp"
#include "storage/store.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace crema::storage::testing {

inline std::string lww(uint64_t time, std::string_view value, replica_id replica = 7) {
  protocol::lww_view x;
  x.time = from_micros(time);
  x.id = {replica, time};
  x.value = value;
  return protocol::encode_lww(x);
}

inline std::string sibling(const dot& id, std::string value, const protocol::dot_clock& seen = {}) {
  protocol::siblings_object x;
  x.siblings.push_back({id, from_micros(id.counter), 0, std::move(value)});
  x.seen = seen;
  return protocol::encode_siblings(x);
}

inline std::string value_of(const store::read_result& result) {
  if (!result.what.ok())
    return "error: " + result.what.error;
  if (!result.object)
    return "nothing";
  auto decoded = protocol::decode_lww(*result.object);
  return decoded ? std::string{decoded->value} : "malformed";
}

const vnode_id here{3, 4};

inline status put(store& s, vnode_id vnode, std::string_view key, std::string_view object) {
  auto batch = s.make_batch();
  batch->merge(vnode, key, object);
  return s.write(*batch);
}

using entries = std::vector<std::pair<std::string, std::string>>;

inline entries all_of(const store& s, vnode_id vnode, std::string_view after = {}) {
  entries result;
  auto what = s.scan(vnode, after, [&](std::string_view key, std::string_view object) {
    result.emplace_back(key, object);
    return true;
  });
  EXPECT_EQ(what.error, "");
  return result;
}

inline std::vector<std::pair<dot, std::string>> log_of(const store& s, vnode_id vnode,
                                                       const protocol::dot_range& range) {
  std::vector<std::pair<dot, std::string>> result;
  auto what = s.scan_log(vnode, {range}, [&](const dot& d, std::string_view key) {
    result.emplace_back(d, key);
    return true;
  });
  EXPECT_EQ(what.error, "");
  return result;
}

inline std::vector<std::pair<timestamp, std::string>>
graves_of(const store& s, vnode_id vnode, timestamp until = std::numeric_limits<timestamp>::max()) {
  std::vector<std::pair<timestamp, std::string>> result;
  auto what = s.scan_graves(vnode, until, [&](timestamp due, std::string_view key) {
    result.emplace_back(due, key);
    return true;
  });
  EXPECT_EQ(what.error, "");
  return result;
}

constexpr uint64_t last_counter = std::numeric_limits<uint64_t>::max();

/// All that can be read, for these vnodes, replica ids and names.
struct contents {
  std::map<vnode_id, entries> data;
  std::map<std::pair<vnode_id, replica_id>, std::vector<std::pair<dot, std::string>>> log;
  std::vector<std::pair<vnode_id, protocol::dot_clock>> clocks;
  std::map<std::string, std::optional<std::string>> meta;
  std::map<vnode_id, std::vector<std::pair<timestamp, std::string>>> graves;
  std::vector<std::pair<vnode_id, std::string>> records;
  friend bool operator==(const contents& a, const contents& b) {
    return a.data == b.data && a.log == b.log && a.clocks == b.clocks && a.meta == b.meta && a.graves == b.graves &&
           a.records == b.records;
  }
};

inline contents contents_of(const store& s, const std::vector<vnode_id>& vnodes,
                            const std::vector<replica_id>& replicas, const std::vector<std::string>& names) {
  contents result;
  for (auto vnode : vnodes) {
    result.data[vnode] = all_of(s, vnode);
    for (auto replica : replicas)
      result.log[{vnode, replica}] = log_of(s, vnode, {replica, 0, last_counter});
    result.graves[vnode] = graves_of(s, vnode);
  }
  auto clocks = s.load_clocks();
  EXPECT_EQ(clocks.what.error, "");
  result.clocks = clocks.clocks;
  auto records = s.load_records();
  EXPECT_EQ(records.what.error, "");
  result.records = records.records;
  for (const auto& name : names)
    result.meta[name] = s.get_meta(name).object;
  return result;
}

} // namespace crema::storage::testing
