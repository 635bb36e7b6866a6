#include "storage/cached_store.hpp"

#include "protocol/object.hpp"
#include "storage/keys.hpp"

#include <boost/unordered/unordered_flat_set.hpp>

namespace crema::storage {

/// Passes effects on, and notes what they will do to the cache once they are written.
class cached_store::cached_batch final : public write_batch {
public:
  cached_batch(store& below, object_cache& cache) : inner(below.make_batch()), below_(below), cache_(cache) {}

  void merge(vnode_id vnode, std::string_view key, std::string_view operand) override {
    write_data_key(key_, vnode, key);
    auto hash = object_cache::hash(key_);
    auto* entry = cache_.find(key_, hash);
    if (entry == nullptr) {
      if (fresh_.count(hash) > 0)
        note(operand, false);
      else if (counter_.add(hash, blind_max))
        wanted_.push_back({vnode, std::string{key}});
      return inner->merge(vnode, key, operand);
    }
    if (entry->pending) { // The batch itself holds what is newest.
      note(operand, false);
      return inner->merge(vnode, key, operand);
    }
    entry->pending = true;
    if (protocol::supersedes(operand, entry->object())) {
      note(operand, true);
      return inner->merge_known(vnode, key, operand, operand);
    }
    auto joined = protocol::join_encoded(entry->object(), operand);
    note(joined ? *joined : operand, joined.has_value());
    // Many siblings: to write them all again each time would cost more than joining them when they are read.
    if (joined && joined->size() <= 2 * operand.size())
      inner->merge_known(vnode, key, operand, *joined);
    else
      inner->merge(vnode, key, operand);
  }
  void merge_known(vnode_id vnode, std::string_view key, std::string_view operand, std::string_view object) override {
    write_data_key(key_, vnode, key);
    auto hash = object_cache::hash(key_);
    if (auto* entry = cache_.find(key_, hash))
      entry->pending = true;
    else
      fresh_.insert(hash);
    note(object, true);
    inner->merge_known(vnode, key, operand, object);
  }
  void log(vnode_id vnode, const dot& d, std::string_view key) override { inner->log(vnode, d, key); }
  void bury(vnode_id vnode, timestamp due, std::string_view key) override { inner->bury(vnode, due, key); }
  void trim_log(vnode_id vnode, const protocol::dot_range& dots) override { inner->trim_log(vnode, dots); }
  void replace(vnode_id vnode, std::string_view key, std::string_view object) override {
    know(vnode, key, object);
    inner->replace(vnode, key, object);
  }
  void erase(vnode_id vnode, std::string_view key) override {
    know(vnode, key, {});
    inner->erase(vnode, key);
  }
  void unbury(vnode_id vnode, timestamp due, std::string_view key) override { inner->unbury(vnode, due, key); }
  /// Rare: everything is forgotten, and nothing learned from the rest of the batch.
  void drop_vnode(vnode_id vnode) override {
    cache_.clear();
    changes_.clear();
    noted_.clear();
    fresh_.clear();
    dropped_ = true;
    inner->drop_vnode(vnode);
  }
  void save_record(vnode_id vnode, std::string_view record) override { inner->save_record(vnode, record); }
  void save_clock(vnode_id vnode, const protocol::dot_clock& clock) override { inner->save_clock(vnode, clock); }
  void put_meta(std::string_view name, std::string_view value) override { inner->put_meta(name, value); }
  size_t operations() const override { return inner->operations(); }
  size_t bytes() const override { return inner->bytes(); }
  void clear() override {
    inner->clear();
    changes_.clear();
    noted_.clear();
    fresh_.clear();
    wanted_.clear();
    dropped_ = false;
    if (noted_.capacity() > noted_bytes_kept)
      noted_.shrink_to_fit();
  }

  /// The batch has been written: the cache follows, in the order of the effects.
  void publish() {
    size_t at = 0;
    for (const auto& c : changes_) {
      auto key = std::string_view{noted_}.substr(at, c.key_bytes);
      auto bytes = std::string_view{noted_}.substr(at + c.key_bytes, c.bytes);
      at += c.key_bytes + c.bytes;
      if (c.whole) {
        cache_.set(key, bytes);
        continue;
      }
      auto* entry = cache_.find(key);
      auto joined = entry != nullptr ? protocol::join_encoded(entry->object(), bytes) : std::nullopt;
      if (joined)
        cache_.set(key, *joined);
      else
        cache_.forget(key);
    }
    for (const auto& [vnode, key] : wanted_) {
      auto stored = below_.get(vnode, key);
      if (stored.what.ok()) // Else whoever reads it will say so.
        cache_.set(data_key(vnode, key), stored.object.value_or(""));
    }
  }

  std::unique_ptr<write_batch> inner;

private:
  static constexpr size_t noted_bytes_kept = size_t{1} << 20;
  struct change {
    uint32_t key_bytes, bytes;
    bool whole; // `bytes` are the object; else an operand.
  };

  /// After this effect the key holds `object`. Noted if the key is known: of one that is not, later merges of the batch
  /// are not noted either.
  void know(vnode_id vnode, std::string_view key, std::string_view object) {
    write_data_key(key_, vnode, key);
    auto hash = object_cache::hash(key_);
    auto* entry = cache_.find(key_, hash);
    if (entry != nullptr)
      entry->pending = true;
    else if (fresh_.count(hash) == 0)
      return;
    note(object, true);
  }

  /// Of key_.
  void note(std::string_view bytes, bool whole) {
    if (dropped_)
      return;
    noted_.append(key_).append(bytes);
    changes_.push_back({static_cast<uint32_t>(key_.size()), static_cast<uint32_t>(bytes.size()), whole});
  }

  store& below_;
  object_cache& cache_;
  std::string key_;   // Reused.
  std::string noted_; // Keys and bytes of all changes.
  std::vector<change> changes_;
  boost::unordered_flat_set<uint64_t> fresh_; // Keys (by hash) that the cache will first know when this is written.
  bool dropped_ = false;                      // A vnode, in this batch.
  merge_counter counter_;
  std::vector<std::pair<vnode_id, std::string>> wanted_; // To be known once the batch is written.
};

cached_store::cached_store(std::shared_ptr<store> below, size_t bytes_max)
    : below_(std::move(below)), cache_(bytes_max), batch_(std::make_unique<cached_batch>(*below_, cache_)) {}

cached_store::~cached_store() = default;

write_batch& cached_store::batch() { return *batch_; }

status cached_store::write() {
  auto written = below_->write(*batch_->inner);
  if (written.ok())
    batch_->publish();
  else
    cache_.clear();
  batch_->clear();
  return written;
}

void cached_store::read(const std::vector<store::key_ref>& keys, const visit_fn& visit) {
  std::vector<const object_cache::entry*> found(keys.size(), nullptr);
  std::vector<store::key_ref> missing;
  for (size_t i = 0; i < keys.size(); ++i) {
    write_data_key(key_, keys[i].vnode, keys[i].key);
    const auto* entry = cache_.find(key_);
    if (entry != nullptr)
      found[i] = entry;
    else
      missing.push_back(keys[i]);
  }
  hits_ += keys.size() - missing.size();
  misses_ += missing.size();
  auto read = missing.empty() ? std::vector<store::read_result>{} : below_->get_many(missing);
  for (size_t i = 0, next = 0; i < keys.size(); ++i) {
    if (found[i] != nullptr) {
      visit(i, found[i]->object(), {});
      continue;
    }
    const auto& result = read[next++];
    visit(i, result.object ? std::string_view{*result.object} : std::string_view{}, result.what);
  }
  // While effects wait, the store holds less than the next effect of the batch builds upon.
  if (batch_->operations() > 0)
    return;
  for (size_t i = 0; i < missing.size(); ++i) {
    if (!read[i].what.ok())
      continue;
    write_data_key(key_, missing[i].vnode, missing[i].key);
    cache_.set(key_, read[i].object ? std::string_view{*read[i].object} : std::string_view{});
  }
}

store::read_result cached_store::get(vnode_id vnode, std::string_view key) {
  store::read_result result;
  read({{vnode, key}}, [&](size_t, std::string_view object, const status& what) {
    result.what = what;
    if (!object.empty())
      result.object = object;
  });
  return result;
}

} // namespace crema::storage
