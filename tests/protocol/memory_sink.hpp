// What storage/ does with a vnode's effects, in the smallest form: objects joined on merge, and the dot log.
#pragma once

#include "protocol/vnode.hpp"

#include <map>
#include <set>
#include <string>

namespace crema::protocol {

struct memory_sink : vnode_sink {
  std::map<std::string, std::string, std::less<>> objects;
  std::map<dot, std::string> logged;
  std::set<std::pair<timestamp, std::string>> buried;
  size_t merges = 0;
  size_t malformed = 0; ///< Merges that a store could not have made.

  void merge(vnode_id, std::string_view key, std::string_view operand) override {
    ++merges;
    auto& object = objects[std::string{key}];
    if (auto joined = join_encoded(object, operand))
      object = *joined;
    else
      ++malformed;
  }
  void replace(vnode_id, std::string_view key, std::string_view object) override { objects[std::string{key}] = object; }
  void log(vnode_id, const dot& d, std::string_view key) override { logged[d] = key; }

  void bury(vnode_id, timestamp due, std::string_view key) override { buried.emplace(due, key); }

  std::string_view stored(std::string_view key) const {
    auto at = objects.find(key);
    return at == objects.end() ? std::string_view{} : at->second;
  }
};

/// A vnode with its storage.
struct test_replica {
  test_replica(conflict_rule rule, replica_id self) : node({1, 2}, rule, self, {}) {}

  vnode::given give(std::string_view key, std::optional<std::string_view> value, timestamp time,
                    const dot_clock* context = nullptr, uint64_t ttl_ms = 0) {
    return node.give({key, !value, value.value_or(""), ttl_ms, context}, time, sink);
  }
  bool apply(const vnode::given& write, std::string_view key) { return node.apply(write.id, key, write.delta, sink); }

  /// The page of `key` for a replica that knows `theirs`.
  key_page page(const std::string& key, const dot_clock& theirs) const {
    key_page result{key, node.expanded(sink.stored(key)).value_or("malformed"), {}};
    for (const auto& range : node.clock().missing_from(theirs))
      for (auto counter = range.first; counter <= range.last; ++counter) {
        auto at = sink.logged.find({range.replica, counter});
        if (at != sink.logged.end() && at->second == key)
          result.dots.push_back(at->first);
      }
    return result;
  }
  size_t apply(const key_page& page) { return node.apply_page(page, sink); }

  /// What a read returns: siblings, and as `seen` the context.
  siblings_object read(std::string_view key) const {
    return decode_siblings(node.expanded(sink.stored(key)).value_or("")).value_or(siblings_object{});
  }
  std::vector<std::string> values(std::string_view key) const {
    std::vector<std::string> result;
    for (const auto& s : read(key).siblings)
      result.push_back(s.value);
    return result;
  }
  std::optional<lww_view> winner(std::string_view key) const { return decode_lww(sink.stored(key)); }

  vnode node;
  memory_sink sink;
};

} // namespace crema::protocol
