// Watches RocksDB replay its write-ahead log and finds what RocksDB overlooks: records that are missing in the middle.
// RocksDB checks each record by itself, but skips zeroed blocks in silence and replays the next file after a shortened
// one. Every record says the sequence number it starts at and how many it uses, so a gap shows.
#pragma once

#include <rocksdb/wal_filter.h>

#include <cstdint>
#include <optional>
#include <string>

namespace crema::storage {

class wal_check final : public rocksdb::WalFilter {
public:
  const char* Name() const override { return "crema.wal_check"; }
  void ColumnFamilyLogNumberMap(const std::map<uint32_t, uint64_t>&, const std::map<std::string, uint32_t>&) override {
    started_ = true;
  }
  WalProcessingOption LogRecordFound(unsigned long long number, const std::string& file,
                                     const rocksdb::WriteBatch& batch, rocksdb::WriteBatch* replacement,
                                     bool* replaced) override;

  /// Did the replay begin? (If not, what failed was something before it: CURRENT, MANIFEST, a table file.)
  bool started() const { return started_; }
  /// The last sequence number up to which nothing is missing; 0 if no record was read.
  uint64_t last() const { return next_ ? *next_ - 1 : 0; }
  /// The file of the last good record; empty if there was none.
  const std::string& file() const { return file_; }

private:
  bool started_ = false;
  std::optional<uint64_t> next_; ///< The sequence number that the next record must start at.
  std::string file_;
};

} // namespace crema::storage
