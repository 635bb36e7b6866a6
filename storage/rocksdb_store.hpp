// store on RocksDB (DESIGN in docs/storage.md). Column families: `data` (objects join through a merge operator), `log`
// (vnode, replica id, counter -> key), `graves`, `meta`. Keys of the first three start with (bucket, partition) in
// big-endian, so that a vnode is a range.
#pragma once

#include "storage/store.hpp"

#include <memory>
#include <optional>
#include <string>

namespace crema::storage {

struct rocksdb_options {
  size_t cache_bytes = 32 << 20;    ///< Block cache, shared by all column families; index and filter blocks included.
  size_t memtable_bytes = 16 << 20; ///< Size at which a memtable is flushed; each column family has up to two.
  int background_threads = 2;       ///< Flushes and compactions.
  /// The boot that writes belong to; default: current_boot_id(). Another boot than at the last open means that writes
  /// which were never synced may be lost or torn; an argument for tests.
  std::optional<std::string> boot_id;
};

/// Opens (or, if `create`, makes) the database in directory `path`. All checksums are on; a damaged database is refused
/// with an error that names the file, never repaired or recreated silently. With `create`, a directory that is missing
/// or empty becomes a database; one with anything else in it is opened as a database or refused.
struct open_result {
  std::unique_ptr<store> opened; ///< Null on error.
  status what;
};
open_result open_rocksdb(const std::string& path, const rocksdb_options& options, bool create);

} // namespace crema::storage
