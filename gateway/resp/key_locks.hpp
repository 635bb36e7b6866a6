// Which keys the commands in flight of one connection read and write, so that a later command that conflicts with one
// of them can wait. Keys are known by 64-bit hashes: two keys with one hash wait for each other needlessly, nothing
// worse.
#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace crema::gateway::resp {

class key_locks {
public:
  bool conflicts(uint64_t hash, bool write) const {
    if (used_ == 0)
      return false;
    const auto& e = entries_[find(hash)];
    return e.writers > 0 || (write && e.readers > 0);
  }

  void acquire(uint64_t hash, bool write) {
    if (2 * (used_ + 1) > entries_.size())
      rehash(entries_.empty() ? 8 : 2 * entries_.size());
    auto& e = entries_[find(hash)];
    if (e.free()) {
      e.hash = hash;
      ++used_;
    }
    ++(write ? e.writers : e.readers);
  }

  /// @pre acquired with the same arguments.
  void release(uint64_t hash, bool write) {
    auto i = find(hash);
    auto& e = entries_[i];
    auto& count = write ? e.writers : e.readers;
    assert(count > 0);
    --count;
    if (!e.free())
      return;
    --used_;
    close_gap(i);
    if (used_ == 0 && entries_.size() > kept)
      std::vector<entry>().swap(entries_);
  }

  bool empty() const { return used_ == 0; }

private:
  struct entry {
    uint64_t hash = 0;
    uint32_t readers = 0;
    uint32_t writers = 0;
    bool free() const { return readers == 0 && writers == 0; }
  };
  static constexpr size_t kept = 4096;

  // Multiplied, so that hashes which differ in their upper bits only do not all start at the same place.
  size_t home(uint64_t hash) const { return (hash * 0x9E3779B97F4A7C15 >> 20) & (entries_.size() - 1); }

  // The entry of `hash`, or the free one where it belongs. @pre entries_ is not empty, and not full.
  size_t find(uint64_t hash) const {
    auto mask = entries_.size() - 1;
    auto i = home(hash);
    while (!entries_[i].free() && entries_[i].hash != hash)
      i = (i + 1) & mask;
    return i;
  }

  // Linear probing without marks for the deleted: moves up what would no longer be found.
  void close_gap(size_t gap) {
    auto mask = entries_.size() - 1;
    for (auto i = (gap + 1) & mask; !entries_[i].free(); i = (i + 1) & mask) {
      if (((i - home(entries_[i].hash)) & mask) < ((i - gap) & mask))
        continue;
      entries_[gap] = entries_[i];
      entries_[i] = {};
      gap = i;
    }
  }

  void rehash(size_t size) {
    std::vector<entry> old(size);
    old.swap(entries_);
    for (const auto& e : old)
      if (!e.free())
        entries_[find(e.hash)] = e;
  }

  std::vector<entry> entries_; // A power of two, at most half full.
  size_t used_ = 0;
};

} // namespace crema::gateway::resp
