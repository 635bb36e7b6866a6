#include "storage/rocksdb_store.hpp"

#include "storage/keys.hpp"
#include "storage/reclaimer.hpp"
#include "storage/rocksdb_batch.hpp"
#include "storage/rocksdb_open.hpp"
#include "storage/sync_thread.hpp"

#include <rocksdb/perf_level.h>

#include <atomic>
#include <cassert>
#include <filesystem>
#include <limits>
#include <map>
#include <mutex>

namespace crema::storage {

namespace {

/// RocksDB counts key comparisons per thread unless told otherwise; nobody reads the counts.
void count_nothing() { rocksdb::SetPerfLevel(rocksdb::PerfLevel::kDisable); }

std::string explain(const rocksdb::Status& s) {
  auto text = s.ToString();
  return s.IsCorruption() ? text + ". The database is damaged: stop the node, and have it rebuilt from what the others "
                                   "have (crema rebuild; docs/repair.md)"
                          : text;
}

std::string to_string(vnode_id vnode) {
  return "bucket " + std::to_string(vnode.bucket) + ", partition " + std::to_string(vnode.partition);
}

class rocksdb_store final : public store {
public:
  explicit rocksdb_store(std::unique_ptr<database> opened)
      : database_(std::move(opened)), reclaimer_(*database_), background_([this] { sync().ok(); }) {}

  std::unique_ptr<write_batch> make_batch() const override { return std::make_unique<rocksdb_batch>(*database_); }

  status write(write_batch& batch) override {
    assert(dynamic_cast<rocksdb_batch*>(&batch) != nullptr); // From make_batch() of this store.
    auto& mine = static_cast<rocksdb_batch&>(batch);
    if (failed_.load(std::memory_order_acquire))
      return failure();
    if (!mine.failure().ok())
      return {database_->path + ": cannot write: " + mine.failure().ToString()};
    if (mine.operations() == 0)
      return {};
    count_nothing();
    auto s = database_->db->Write({}, &mine.raw());
    if (!s.ok())
      return fail("write", explain(s));
    if (!mine.dropped().empty())
      reclaimer_.dropped(mine.dropped());
    return {};
  }

  status sync() override {
    if (failed_.load(std::memory_order_acquire))
      return failure();
    auto written = database_->db->GetLatestSequenceNumber();
    if (written <= database_->synced.sequence())
      return {}; // An idle node leaves its disk in peace.
    auto s = database_->db->SyncWAL();
    if (!s.ok())
      return fail("sync", explain(s));
    auto noted = database_->synced.advance(written);
    return noted.ok() ? status{} : fail("sync", noted.error);
  }

  void request_sync() override { background_.request(); }
  status health() const override { return failed_.load(std::memory_order_acquire) ? failure() : status{}; }
  uint64_t written() const override { return database_->db->GetLatestSequenceNumber(); }
  uint64_t synced() const override { return database_->synced.sequence(); }

  read_result get(vnode_id vnode, std::string_view key) const override {
    count_nothing();
    std::string value;
    auto s = database_->db->Get(reading_, family(cf_data), data_key(vnode, key), &value);
    return to_result(s, vnode, std::move(value));
  }

  std::vector<read_result> get_many(const std::vector<key_ref>& keys) const override {
    count_nothing();
    std::vector<std::string> encoded;
    encoded.reserve(keys.size());
    std::vector<rocksdb::Slice> slices;
    slices.reserve(keys.size());
    for (const auto& ref : keys) {
      encoded.push_back(data_key(ref.vnode, ref.key));
      slices.emplace_back(encoded.back());
    }
    std::vector<rocksdb::PinnableSlice> values(keys.size());
    std::vector<rocksdb::Status> states(keys.size());
    database_->db->MultiGet(reading_, family(cf_data), keys.size(), slices.data(), values.data(), states.data());
    std::vector<read_result> result;
    result.reserve(keys.size());
    for (size_t i = 0; i < keys.size(); ++i)
      result.push_back(to_result(states[i], keys[i].vnode, values[i].ToString()));
    return result;
  }

  status scan(vnode_id vnode, std::string_view after,
              const std::function<bool(std::string_view, std::string_view)>& visit) const override {
    auto begin = data_key(vnode, after);
    if (!after.empty())
      begin.push_back('\0'); // The smallest key above `after`.
    return scan_range(cf_data, begin, prefix_end(vnode_prefix(vnode)), vnode,
                      [&](auto key, auto object) { return visit(key.substr(vnode_prefix_bytes), object); });
  }

  status scan_log(vnode_id vnode, const std::vector<protocol::dot_range>& ranges,
                  const std::function<bool(const dot&, std::string_view)>& visit) const override {
    // One iterator for all: to make one costs as much as to walk over some thirty entries, and there may be a range for
    // every second of them.
    auto options = scanning();
    auto end = vnode_end(vnode);
    rocksdb::Slice bound{end};
    options.iterate_upper_bound = &bound;
    std::unique_ptr<rocksdb::Iterator> it{database_->db->NewIterator(options, family(cf_log))};
    dot at; // Of the entry on which the iterator stands, if it does.
    for (const auto& r : ranges) {
      if (r.last < r.first)
        continue;
      // Nor does it go further than it has to: what has been trimmed lies there, and is stepped over one by one.
      dot first{r.replica, r.first}, last{r.replica, r.last};
      auto is_near = it->Valid() && at.replica == r.replica && at.counter + 16 >= r.first;
      if (!is_near)
        it->Seek(log_key(vnode, first));
      for (; it->Valid(); it->Next()) {
        auto entry = parse_log_key(it->key().ToStringView());
        if (!entry)
          return damaged_entry("log", vnode);
        at = entry->id;
        if (!(at < first) && !(last < at) && !visit(at, it->value().ToStringView()))
          return {};
        if (!(at < last))
          break;
      }
      if (!it->Valid())
        break;
    }
    return it->status().ok() ? status{} : cannot_read(vnode, it->status());
  }

  status scan_graves(vnode_id vnode, timestamp until,
                     const std::function<bool(timestamp, std::string_view)>& visit) const override {
    bool malformed = false;
    auto end = until == std::numeric_limits<timestamp>::max() ? vnode_end(vnode) : grave_key(vnode, until + 1, {});
    auto what = scan_range(cf_graves, vnode_prefix(vnode), end, vnode, [&](auto bytes, auto) {
      auto grave = parse_grave_key(bytes);
      malformed = !grave;
      return grave && visit(grave->due, grave->key);
    });
    return malformed ? damaged_entry("grave", vnode) : what;
  }

  clocks_result load_clocks() const override {
    std::map<vnode_id, protocol::dot_clock> clocks;
    auto what = load_saved_clocks(clocks);
    if (what.ok())
      what = join_log(clocks);
    if (!what.ok())
      return {{}, what};
    return {{clocks.begin(), clocks.end()}, {}};
  }

  records_result load_records() const override {
    records_result result;
    bool malformed = false;
    result.what = scan_range(cf_meta, std::string{record_prefix}, prefix_end(std::string{record_prefix}), {},
                             [&](std::string_view key, std::string_view bytes) {
                               auto vnode = parse_vnode_key(record_prefix, key);
                               malformed = !vnode;
                               if (vnode)
                                 result.records.emplace_back(*vnode, bytes);
                               return vnode.has_value();
                             });
    if (malformed)
      result.what = damaged_entry("record", {});
    return result;
  }

  std::optional<usage> used() const override {
    usage result;
    for (auto cf : {cf_data, cf_log})
      for (const auto* what :
           {&rocksdb::DB::Properties::kEstimateLiveDataSize, &rocksdb::DB::Properties::kCurSizeAllMemTables}) {
        uint64_t bytes = 0;
        if (database_->db->GetIntProperty(family(cf), *what, &bytes))
          result.stored += bytes;
      }
    std::error_code error;
    auto space = std::filesystem::space(database_->db->GetName(), error);
    result.disk_free = error ? 0 : space.available;
    return result;
  }

  read_result get_meta(std::string_view name) const override {
    std::string value;
    auto s = database_->db->Get(reading_, family(cf_meta), name_key(name), &value);
    if (s.ok())
      return {std::move(value), {}};
    if (s.IsNotFound())
      return {};
    return {std::nullopt, {database_->path + ": cannot read " + std::string{name} + ": " + explain(s)}};
  }

private:
  rocksdb::ColumnFamilyHandle* family(column_family which) const { return database_->families[which]; }

  status fail(const char* verb, const std::string& why) {
    std::lock_guard<std::mutex> lock{failure_mutex_};
    if (failure_.empty())
      failure_ = database_->path + ": cannot " + verb + ": " + why;
    failed_.store(true, std::memory_order_release);
    return {failure_};
  }
  status failure() const {
    std::lock_guard<std::mutex> lock{failure_mutex_};
    return {failure_};
  }

  read_result to_result(const rocksdb::Status& s, vnode_id vnode, std::string value) const {
    if (s.ok())
      return {std::move(value), {}};
    if (s.IsNotFound())
      return {};
    return {std::nullopt, cannot_read(vnode, s)};
  }
  status cannot_read(vnode_id vnode, const rocksdb::Status& s) const {
    return {database_->path + ": cannot read " + to_string(vnode) + ": " + explain(s)};
  }
  status damaged_entry(const char* what, vnode_id vnode) const {
    return {database_->path + ": malformed " + what + " entry of " + to_string(vnode)};
  }

  /// Visits begin <= key < end within one snapshot.
  template <class Visit>
  status scan_range(column_family which, const std::string& begin, const std::optional<std::string>& end,
                    vnode_id vnode, Visit visit) const {
    auto options = scanning();
    rocksdb::Slice bound;
    if (end) {
      bound = *end;
      options.iterate_upper_bound = &bound;
    }
    std::unique_ptr<rocksdb::Iterator> it{database_->db->NewIterator(options, family(which))};
    for (it->Seek(begin); it->Valid(); it->Next())
      if (!visit(it->key().ToStringView(), it->value().ToStringView()))
        break;
    return it->status().ok() ? status{} : cannot_read(vnode, it->status());
  }

  status load_saved_clocks(std::map<vnode_id, protocol::dot_clock>& clocks) const {
    bool malformed = false;
    vnode_id last;
    auto what = scan_range(cf_meta, std::string{clock_prefix}, prefix_end(std::string{clock_prefix}), {},
                           [&](std::string_view key, std::string_view bytes) {
                             auto vnode = parse_vnode_key(clock_prefix, key);
                             auto clock = protocol::dot_clock::decode(bytes);
                             malformed = !vnode || !clock;
                             last = vnode.value_or(last);
                             if (!malformed)
                               clocks.emplace(*vnode, std::move(*clock));
                             return !malformed;
                           });
    return malformed ? damaged_entry("clock", last) : what;
  }

  /// Adds the logged dots. What a saved clock's base covers is jumped over, one seek per (vnode, replica id): after a
  /// long run most of the log lies there.
  status join_log(std::map<vnode_id, protocol::dot_clock>& clocks) const {
    std::unique_ptr<rocksdb::Iterator> it{database_->db->NewIterator(scanning(), family(cf_log))};
    vnode_id vnode;
    protocol::dot_clock* clock = nullptr;
    protocol::dot_range run; // Dots in a row, not yet in the clock; none if `last` is 0.
    auto add_run = [&] {
      if (run.last != 0)
        clock->add(run);
      run = {};
    };
    for (it->SeekToFirst(); it->Valid();) {
      auto entry = parse_log_key(it->key().ToStringView());
      if (!entry || entry->id.counter == 0)
        return damaged_entry("log", vnode);
      const auto& d = entry->id;
      if (clock != nullptr && entry->vnode == vnode && run.last != 0 && d.replica == run.replica &&
          d.counter == run.last + 1) {
        run.last = d.counter;
        it->Next();
        continue;
      }
      add_run();
      vnode = entry->vnode;
      clock = &clocks[vnode];
      auto base = clock->base(d.replica);
      if (d.counter <= base && base < std::numeric_limits<uint64_t>::max()) {
        it->Seek(log_key(vnode, {d.replica, base + 1}));
        continue;
      }
      run = {d.replica, d.counter, d.counter};
      it->Next();
    }
    add_run();
    return it->status().ok() ? status{} : cannot_read(vnode, it->status());
  }

  static rocksdb::ReadOptions scanning() {
    rocksdb::ReadOptions result;
    result.verify_checksums = true;
    result.fill_cache = false; // One scan must not throw out what clients read.
    return result;
  }

  std::unique_ptr<database> database_;
  rocksdb::ReadOptions reading_; ///< Checksums are verified by default.
  /// The first error of a write or sync. After it nothing is written any more: a failed sync may have dropped what the
  /// kernel held, and a later one would succeed without it.
  std::atomic<bool> failed_{false};
  mutable std::mutex failure_mutex_;
  std::string failure_;
  reclaimer reclaimer_;    ///< It compacts the database.
  sync_thread background_; ///< Last: it syncs this.
};

} // namespace

open_result open_rocksdb(const std::string& path, const rocksdb_options& options, bool create) {
  auto result = open_database(path, options, create);
  if (!result.opened)
    return {nullptr, result.what};
  return {std::make_unique<rocksdb_store>(std::move(result.opened)), {}};
}

} // namespace crema::storage
