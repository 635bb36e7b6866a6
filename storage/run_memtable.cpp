#include "storage/run_memtable.hpp"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <new>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace crema::storage {

namespace {

using rocksdb::MemTableRep;
using key_comparator = MemTableRep::KeyComparator;

/// An entry is RocksDB's: length of the internal key, internal key, value, in memory that lives as long as the
/// memtable.
using entries = std::vector<const char*>;

/// The entries of one prefix. Never empty.
class run {
public:
  void add(const char* entry, const key_comparator& compare) {
    auto in_order = sorted_.empty() || compare(sorted_.back(), entry) < 0;
    (in_order ? sorted_ : fresh_).push_back(entry);
    if (fresh_.size() >= fresh_max)
      settle(compare);
  }

  /// Makes sorted() hold all of them. Merges from the end, and moves what lies between two fresh entries in one go: a
  /// few that come to many cost few comparisons.
  void settle(const key_comparator& compare) {
    if (fresh_.empty())
      return;
    auto less = [&](const char* a, const char* b) { return compare(a, b) < 0; };
    std::sort(fresh_.begin(), fresh_.end(), less);
    auto rest = static_cast<ptrdiff_t>(sorted_.size());
    sorted_.resize(sorted_.size() + fresh_.size());
    auto begin = sorted_.begin();
    auto end = sorted_.end();
    for (auto entry = fresh_.rbegin(); entry != fresh_.rend(); ++entry) {
      auto place = std::upper_bound(begin, begin + rest, *entry, less);
      end = std::move_backward(place, begin + rest, end);
      *--end = *entry;
      rest = place - begin;
    }
    entries{}.swap(fresh_);
    ++version_;
  }

  /// In order; without what came since settle().
  const entries& sorted() const { return sorted_; }
  /// Changes when entries of sorted() change their places.
  uint64_t version() const { return version_; }

private:
  /// Whoever reads first sorts no more than these while writers wait: 2 ms.
  static constexpr size_t fresh_max = 2048;

  entries sorted_;
  entries fresh_;
  uint64_t version_ = 0;
};

/// All entries, in the order of their prefixes. Not for several threads, but for bytes().
class runs {
  using by_prefix = std::map<std::string, run, std::less<>>;

public:
  runs(size_t prefix_bytes, const key_comparator& compare) : prefix_bytes_(prefix_bytes), compare_(compare) {}

  /// Stays right whatever is added.
  struct place {
    const char* entry = nullptr; ///< Null: there is none, and the rest says nothing.
    by_prefix::iterator at;
    size_t index = 0;
    uint64_t version = 0; ///< Of the run when `index` was right.
  };

  void add(const char* entry) {
    auto prefix = prefix_of(compare_.decode_key(entry));
    auto found = runs_.lower_bound(prefix);
    if (found == runs_.end() || found->first != prefix) {
      found = runs_.emplace_hint(found, prefix, run{});
      bytes_ += sizeof(*found);
    }
    found->second.add(entry, compare_);
    bytes_ += bytes_per_entry;
  }

  /// The first entry that is not below the key.
  place at_least(const rocksdb::Slice& internal_key) {
    auto prefix = prefix_of(internal_key);
    auto found = runs_.lower_bound(prefix);
    if (found == runs_.end() || found->first != prefix)
      return first_of(found);
    auto below = [&](const char* entry, const rocksdb::Slice& key) { return compare_(entry, key) < 0; };
    const auto& all = settled(found);
    auto index = std::lower_bound(all.begin(), all.end(), internal_key, below) - all.begin();
    return place_or_next(found, static_cast<size_t>(index));
  }

  /// The last entry that is not above the key.
  place at_most(const rocksdb::Slice& internal_key) {
    auto found = at_least(internal_key);
    if (found.entry == nullptr)
      return last();
    return compare_(found.entry, internal_key) == 0 ? found : before(found);
  }

  place first() { return first_of(runs_.begin()); }
  place last() { return last_before(runs_.end()); }
  place after(const place& x) { return place_or_next(x.at, index_of(x) + 1); }
  place before(const place& x) {
    auto index = index_of(x);
    return index > 0 ? place_of(x.at, index - 1) : last_before(x.at);
  }

  /// Changes with add() only: RocksDB relies on it for memtables that are no longer written.
  size_t bytes() const { return bytes_; }

private:
  static constexpr size_t bytes_per_entry = 2 * sizeof(const char*); // Vectors double.

  std::string_view prefix_of(const rocksdb::Slice& internal_key) const {
    constexpr size_t sequence_and_type_bytes = 8; // Behind the user's key.
    return {internal_key.data(), std::min(prefix_bytes_, internal_key.size() - sequence_and_type_bytes)};
  }

  const entries& settled(by_prefix::iterator which) {
    which->second.settle(compare_);
    return which->second.sorted();
  }

  /// What was added to the run since is left out: whoever iterates began before it, and does not see it.
  size_t index_of(const place& x) const {
    const auto& found = x.at->second;
    if (x.version == found.version())
      return x.index;
    auto less = [&](const char* a, const char* b) { return compare_(a, b) < 0; };
    const auto& all = found.sorted();
    return static_cast<size_t>(std::lower_bound(all.begin(), all.end(), x.entry, less) - all.begin());
  }

  static place place_of(by_prefix::iterator which, size_t index) {
    return {which->second.sorted()[index], which, index, which->second.version()};
  }
  place place_or_next(by_prefix::iterator which, size_t index) {
    return index < which->second.sorted().size() ? place_of(which, index) : first_of(std::next(which));
  }
  place first_of(by_prefix::iterator which) {
    if (which == runs_.end())
      return {};
    settled(which);
    return place_of(which, 0);
  }
  place last_before(by_prefix::iterator which) {
    if (which == runs_.begin())
      return {};
    --which;
    return place_of(which, settled(which).size() - 1);
  }

  const size_t prefix_bytes_;
  const key_comparator& compare_;
  by_prefix runs_;
  std::atomic<size_t> bytes_ = 0;
};

/// Memory for iterators, used again. RocksDB destroys those that it asked for with an arena but does not free them, and
/// the arena is not part of its public interface.
class iterator_pool {
public:
  explicit iterator_pool(size_t each) : each_(each) {}
  void* take() {
    std::lock_guard guard{mutex_};
    if (free_.empty()) {
      std::unique_ptr<void, release> memory{::operator new(each_)};
      all_.push_back(std::move(memory));
      free_.reserve(all_.size()); // So that giving back cannot fail.
      return all_.back().get();
    }
    auto* result = free_.back();
    free_.pop_back();
    return result;
  }
  void give_back(void* memory) {
    std::lock_guard guard{mutex_};
    free_.push_back(memory);
  }

private:
  struct release {
    void operator()(void* memory) const { ::operator delete(memory); }
  };
  const size_t each_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<void, release>> all_;
  std::vector<void*> free_;
};

/// The first base of an iterator, so that its memory is given back when nothing of the iterator is left to destroy.
class pooled {
public:
  pooled(iterator_pool* pool, void* memory) : pool_(pool), memory_(memory) {}
  pooled(const pooled&) = delete;
  pooled& operator=(const pooled&) = delete;

protected:
  ~pooled() {
    if (pool_ != nullptr)
      pool_->give_back(memory_);
  }

private:
  iterator_pool* pool_; ///< Null: it is deleted like anything else.
  void* memory_;
};

class run_memtable final : public MemTableRep {
public:
  run_memtable(size_t prefix_bytes, const key_comparator& compare, rocksdb::Allocator* allocator)
      : MemTableRep(allocator), compare_(compare), runs_(prefix_bytes, compare), pool_(sizeof(iterator)) {}

  void Insert(rocksdb::KeyHandle handle) override {
    std::lock_guard guard{mutex_};
    runs_.add(static_cast<const char*>(handle));
  }

  bool Contains(const char* key) const override {
    std::lock_guard guard{mutex_};
    auto found = runs_.at_least(compare_.decode_key(key));
    return found.entry != nullptr && compare_(found.entry, key) == 0;
  }

  size_t ApproximateMemoryUsage() override { return runs_.bytes(); }

  void Get(const rocksdb::LookupKey& key, void* arguments, bool (*callback)(void*, const char*)) override {
    lookup{*this}.Get(key, arguments, callback);
  }

  MemTableRep::Iterator* GetIterator(rocksdb::Arena* arena) override {
    if (arena == nullptr)
      return new iterator(*this, nullptr, nullptr);
    auto* memory = pool_.take();
    return new (memory) iterator(*this, &pool_, memory);
  }

private:
  class iterator final : private pooled, public MemTableRep::Iterator {
  public:
    iterator(const run_memtable& table, iterator_pool* pool, void* memory) : pooled(pool, memory), table_(table) {}

    bool Valid() const override { return at_.entry != nullptr; }
    const char* key() const override { return at_.entry; }
    void Next() override {
      move([&](runs& all) { return all.after(at_); });
    }
    void Prev() override {
      move([&](runs& all) { return all.before(at_); });
    }
    void Seek(const rocksdb::Slice& internal_key, const char* /*memtable_key*/) override {
      move([&](runs& all) { return all.at_least(internal_key); });
    }
    void SeekForPrev(const rocksdb::Slice& internal_key, const char* /*memtable_key*/) override {
      move([&](runs& all) { return all.at_most(internal_key); });
    }
    void SeekToFirst() override {
      move([](runs& all) { return all.first(); });
    }
    void SeekToLast() override {
      move([](runs& all) { return all.last(); });
    }

  private:
    template <class To>
    void move(To to) {
      std::lock_guard guard{table_.mutex_};
      at_ = to(table_.runs_);
    }

    const run_memtable& table_;
    runs::place at_;
  };

  /// Lends MemTableRep::Get() an iterator: RocksDB 7.8.3 does not delete the one that it asks for there, and does not
  /// let others see what is in a LookupKey.
  class lookup final : public MemTableRep {
  public:
    explicit lookup(const run_memtable& table) : MemTableRep(nullptr), at_(table, nullptr, nullptr) {}
    MemTableRep::Iterator* GetDynamicPrefixIterator(rocksdb::Arena* /*arena*/) override { return &at_; }
    MemTableRep::Iterator* GetIterator(rocksdb::Arena* /*arena*/) override { return &at_; }
    void Insert(rocksdb::KeyHandle /*handle*/) override {}
    bool Contains(const char* /*key*/) const override { return false; }
    size_t ApproximateMemoryUsage() override { return 0; }

  private:
    iterator at_;
  };

  const key_comparator& compare_;
  mutable std::mutex mutex_;
  mutable runs runs_; // Sorted when it is read.
  iterator_pool pool_;
};

class run_memtables final : public rocksdb::MemTableRepFactory {
public:
  explicit run_memtables(size_t prefix_bytes) : prefix_bytes_(prefix_bytes) {}
  const char* Name() const override { return "crema.run_memtable"; }
  using MemTableRepFactory::CreateMemTableRep;
  MemTableRep* CreateMemTableRep(const key_comparator& compare, rocksdb::Allocator* allocator,
                                 const rocksdb::SliceTransform* /*prefixes*/, rocksdb::Logger* /*log*/) override {
    return new run_memtable(prefix_bytes_, compare, allocator);
  }

private:
  const size_t prefix_bytes_;
};

} // namespace

std::shared_ptr<rocksdb::MemTableRepFactory> make_run_memtables(size_t prefix_bytes) {
  return std::make_shared<run_memtables>(prefix_bytes);
}

} // namespace crema::storage
