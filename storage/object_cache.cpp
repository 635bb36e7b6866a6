#include "storage/object_cache.hpp"

#define XXH_INLINE_ALL // Short inputs: the call would cost more than the hash.
#include <xxhash.h>

namespace crema::storage {

namespace {

constexpr size_t overhead_bytes = 48;  // Of an entry, in the table, in the allocator; roughly.
constexpr size_t share_of_one_max = 8; // No object takes more than this part of the cache.

} // namespace

uint64_t object_cache::hash(std::string_view key) { return XXH3_64bits(key.data(), key.size()); }

size_t object_cache::cost(const entry& x) { return sizeof(entry) + overhead_bytes + x.bytes_.capacity(); }

object_cache::entry* object_cache::find(std::string_view key, uint64_t hash) {
  auto* found = lookup(key, hash);
  if (found != nullptr)
    found->used_ = true;
  return found;
}

object_cache::entry* object_cache::lookup(std::string_view key, uint64_t hash) {
  auto found = table_.find(hash);
  if (found == table_.end())
    return nullptr;
  auto& x = slots_[found->second];
  return x.key() == key ? &x : nullptr;
}

void object_cache::set(std::string_view key, std::string_view object) {
  if (key.size() + object.size() > bytes_max_ / share_of_one_max)
    return forget(key);
  auto at = hash(key);
  auto* found = lookup(key, at);
  auto& x = found != nullptr ? *found : insert(key, at);
  bytes_ -= cost(x);
  if (x.bytes_.capacity() > 2 * (key.size() + object.size()))
    x.bytes_ = std::string{key}; // It was much larger once.
  x.bytes_.resize(x.key_bytes_);
  x.bytes_.append(object);
  bytes_ += cost(x);
  x.pending = false;
  evict();
}

void object_cache::forget(std::string_view key) {
  if (auto* found = lookup(key, hash(key)); found != nullptr)
    erase(*found);
}

void object_cache::clear() {
  table_.clear();
  slots_.clear();
  free_.clear();
  bytes_ = hand_ = 0;
}

object_cache::entry& object_cache::insert(std::string_view key, uint64_t hash) {
  if (auto other = table_.find(hash); other != table_.end())
    erase(slots_[other->second]);
  if (free_.empty()) {
    free_.push_back(static_cast<uint32_t>(slots_.size()));
    slots_.emplace_back();
  }
  auto slot = free_.back();
  free_.pop_back();
  auto& x = slots_[slot];
  x.hash_ = hash;
  x.bytes_ = std::string{key};
  x.key_bytes_ = static_cast<uint32_t>(key.size());
  x.live_ = true;
  bytes_ += cost(x);
  table_.emplace(hash, slot);
  return x;
}

void object_cache::erase(entry& x) {
  auto found = table_.find(x.hash_);
  auto slot = found->second;
  table_.erase(found);
  bytes_ -= cost(x);
  x = {};
  free_.push_back(slot);
}

void object_cache::evict() {
  while (bytes_ > bytes_max_ && !table_.empty()) {
    if (hand_ >= slots_.size())
      hand_ = 0;
    auto& x = slots_[hand_++];
    if (x.used_)
      x.used_ = false;
    else if (x.live_)
      erase(x);
  }
}

} // namespace crema::storage
