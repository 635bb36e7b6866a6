// Objects that were read or written lately, by vnode and key, within a bound of memory. A plain container: who fills it
// keeps it true (cached_store.hpp). Not for several threads.
//
// What is evicted is chosen by the clock algorithm (Corbató 1968): a hand goes round and takes what was not used since
// it came by last.
#pragma once

#include "protocol/types.hpp"

#include <boost/unordered/unordered_flat_map.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace crema::storage {

class object_cache {
public:
  class entry {
  public:
    /// Empty: the key has none.
    std::string_view object() const { return std::string_view{bytes_}.substr(key_bytes_); }
    bool pending = false; ///< A batch that has not been written changes it.

  private:
    friend class object_cache;
    std::string_view key() const { return std::string_view{bytes_}.substr(0, key_bytes_); }

    uint64_t hash_ = 0;
    std::string bytes_; // The key, with its vnode, and the object: one block of memory.
    uint32_t key_bytes_ = 0;
    bool live_ = false; // Else its slot is free.
    bool used_ = false; // Since the hand came by.
  };

  /// @param bytes_max of memory, with what entries cost themselves; 0: nothing is kept.
  explicit object_cache(size_t bytes_max) : bytes_max_(bytes_max) {}

  /// Keys are given with their vnode (keys.hpp, data_key).
  static uint64_t hash(std::string_view key);

  /// Null if the object of the key is not known. Valid until the next change.
  entry* find(std::string_view key) { return find(key, hash(key)); }
  entry* find(std::string_view key, uint64_t hash);
  /// Makes the object of a key known. Forgets the key if that takes too large a part of the cache.
  void set(std::string_view key, std::string_view object);
  void forget(std::string_view key);
  void clear();

  size_t bytes() const { return bytes_; }
  size_t entries() const { return table_.size(); }

private:
  static size_t cost(const entry& x);
  entry& insert(std::string_view key, uint64_t hash);
  entry* lookup(std::string_view key, uint64_t hash);
  void erase(entry& x);
  void evict();

  size_t bytes_max_;
  size_t bytes_ = 0;
  std::vector<entry> slots_;
  std::vector<uint32_t> free_;
  size_t hand_ = 0;
  /// Slots by the hash of their keys. Of two keys with one hash the later stays.
  boost::unordered_flat_map<uint64_t, uint32_t> table_;
};

} // namespace crema::storage
