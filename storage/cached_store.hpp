// The objects of one shard: a store, and in front of it a cache of objects that is never wrong.
//
// The invariant: what the cache knows of a key is what the store would return. It holds because all writes to the
// keys of a shard go through its one batch, and the cache changes only when the batch has been written.
//
// Writes stay blind (docs/storage.md): nothing is read to write. But where the object is known the result of the merge
// is written instead of the operand, so that later reads find it at once, and a key that was written blind_max times
// without anybody knowing it is read once: no read has to join more operands than that.
#pragma once

#include "storage/merge_counter.hpp"
#include "storage/object_cache.hpp"
#include "storage/store.hpp"

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace crema::storage {

class cached_store {
public:
  static constexpr uint8_t blind_max = 16;

  /// @param bytes_max of the cache; 0: there is none.
  cached_store(std::shared_ptr<store> below, size_t bytes_max);
  ~cached_store();

  /// The one batch: collects effects. Reads see them after write().
  write_batch& batch();
  /// Writes the batch and empties it. After an error the store stays failed.
  status write();

  /// What a key holds. `object` is empty if there is none; it is valid during the call.
  using visit_fn = std::function<void(size_t i, std::string_view object, const status& what)>;
  /// Visits the objects of all `keys` in their order.
  void read(const std::vector<store::key_ref>& keys, const visit_fn& visit);
  store::read_result get(vnode_id vnode, std::string_view key);

  uint64_t hits() const { return hits_; }
  uint64_t misses() const { return misses_; }
  size_t cached_bytes() const { return cache_.bytes(); }

private:
  class cached_batch;

  std::shared_ptr<store> below_;
  object_cache cache_;
  std::unique_ptr<cached_batch> batch_;
  std::string key_; // Reused.
  uint64_t hits_ = 0, misses_ = 0;
};

} // namespace crema::storage
