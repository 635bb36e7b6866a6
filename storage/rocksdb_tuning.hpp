// How RocksDB is set up: everything on the safe side, small when idle, cheap per write.
#pragma once

#include "storage/rocksdb_store.hpp"

#include <rocksdb/db.h>

#include <string>
#include <vector>

namespace crema::storage {

/// The order in which the column families are listed, and so of their handles.
enum column_family : size_t { cf_default, cf_data, cf_log, cf_meta, cf_graves, cf_count };

rocksdb::DBOptions database_options(const rocksdb_options& options);
/// All of them, in the order of `column_family`. RocksDB insists on one named "default"; it stays empty.
std::vector<rocksdb::ColumnFamilyDescriptor> column_families(const rocksdb_options& options);

} // namespace crema::storage
