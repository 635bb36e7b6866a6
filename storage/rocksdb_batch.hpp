// A batch of effects for RocksDB: written to one write-ahead log record, so all of it happens or nothing.
#pragma once

#include "storage/keys.hpp"
#include "storage/rocksdb_open.hpp"

#include <rocksdb/write_batch.h>

#include <string>
#include <vector>

namespace crema::storage {

class rocksdb_batch final : public write_batch {
public:
  /// `target` must outlive the batch.
  explicit rocksdb_batch(const database& target) : families_(&target.families) {}

  void merge(vnode_id vnode, std::string_view key, std::string_view operand) override {
    write_data_key(key_, vnode, key);
    check(batch_.Merge(family(cf_data), key_, slice(operand)));
  }
  void merge_known(vnode_id vnode, std::string_view key, std::string_view /*operand*/,
                   std::string_view object) override {
    write_data_key(key_, vnode, key);
    check(batch_.Put(family(cf_data), key_, slice(object)));
  }
  void log(vnode_id vnode, const dot& d, std::string_view key) override {
    write_log_key(key_, vnode, d);
    check(batch_.Put(family(cf_log), key_, slice(key)));
  }
  void bury(vnode_id vnode, timestamp due, std::string_view key) override {
    write_grave_key(key_, vnode, due, key);
    check(batch_.Put(family(cf_graves), key_, {}));
  }
  void trim_log(vnode_id vnode, const protocol::dot_range& dots) override {
    if (dots.last < dots.first)
      return;
    write_log_key(key_, vnode, {dots.replica, dots.first});
    auto end = log_key(vnode, {dots.replica, dots.last}) + '\0';
    check(batch_.DeleteRange(family(cf_log), key_, end));
  }
  void replace(vnode_id vnode, std::string_view key, std::string_view object) override {
    write_data_key(key_, vnode, key);
    check(batch_.Put(family(cf_data), key_, slice(object)));
  }
  void erase(vnode_id vnode, std::string_view key) override {
    write_data_key(key_, vnode, key);
    check(batch_.Delete(family(cf_data), key_));
  }
  void unbury(vnode_id vnode, timestamp due, std::string_view key) override {
    write_grave_key(key_, vnode, due, key);
    check(batch_.Delete(family(cf_graves), key_));
  }
  void drop_vnode(vnode_id vnode) override {
    auto begin = vnode_prefix(vnode);
    auto end = vnode_end(vnode);
    for (auto which : {cf_data, cf_log, cf_graves})
      check(batch_.DeleteRange(family(which), begin, end));
    check(batch_.Delete(family(cf_meta), clock_key(vnode)));
    dropped_.push_back(vnode);
  }
  void save_record(vnode_id vnode, std::string_view record) override {
    check(batch_.Put(family(cf_meta), record_key(vnode), slice(record)));
  }
  void save_clock(vnode_id vnode, const protocol::dot_clock& clock) override {
    check(batch_.Put(family(cf_meta), clock_key(vnode), clock.encode()));
  }
  void put_meta(std::string_view name, std::string_view value) override {
    check(batch_.Put(family(cf_meta), name_key(name), slice(value)));
  }
  size_t operations() const override { return batch_.Count(); }
  size_t bytes() const override { return batch_.GetDataSize(); }
  void clear() override {
    batch_.Clear();
    dropped_.clear();
    failure_ = {};
  }

  rocksdb::WriteBatch& raw() { return batch_; }
  const std::vector<vnode_id>& dropped() const { return dropped_; }
  /// Why an effect could not be added (a key or value above 4 GiB); the batch then must not be written.
  const rocksdb::Status& failure() const { return failure_; }

private:
  static rocksdb::Slice slice(std::string_view x) { return {x.data(), x.size()}; }
  rocksdb::ColumnFamilyHandle* family(column_family which) const { return (*families_)[which]; }
  void check(const rocksdb::Status& s) {
    if (!s.ok())
      failure_ = s;
  }

  const std::vector<rocksdb::ColumnFamilyHandle*>* families_;
  rocksdb::WriteBatch batch_;
  std::vector<vnode_id> dropped_;
  std::string key_; ///< Reused.
  rocksdb::Status failure_;
};

} // namespace crema::storage
