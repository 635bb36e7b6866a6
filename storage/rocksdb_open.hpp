// Opening a RocksDB directory without ever losing a synced write in silence (docs/storage.md, "Opening").
#pragma once

#include "storage/rocksdb_store.hpp"
#include "storage/rocksdb_tuning.hpp"
#include "storage/synced_mark.hpp"
#include "storage/wal_check.hpp"

#include <rocksdb/db.h>

#include <memory>
#include <string>
#include <vector>

namespace crema::storage {

/// An open database, and what must live as long as it.
struct database {
  ~database();

  std::string path;
  std::unique_ptr<wal_check> check; ///< RocksDB keeps a pointer to it.
  std::unique_ptr<rocksdb::DB> db;
  std::vector<rocksdb::ColumnFamilyHandle*> families;
  synced_mark synced;
};

struct database_result {
  std::unique_ptr<database> opened; ///< Null on error.
  status what;
};
database_result open_database(const std::string& path, const rocksdb_options& options, bool create);

} // namespace crema::storage
