// A memtable for RocksDB that keeps entries as they come and sorts them when somebody looks: one run per key prefix,
// which for crema is a vnode, or the dots of one replica id in a vnode.
//
// A skip list finds the place of every entry as it is written, some twenty comparisons with keys that are in no cache
// of the processor. But what crema writes it rarely reads from the memtable: objects come from the cache of objects,
// the log is read in ranges and by those who lack something. Here a write appends to the run of its prefix, and a run
// is sorted when it is read or flushed (docs/adr/0008-run-memtable.md has the figures).
#pragma once

#include <rocksdb/memtablerep.h>

#include <cstddef>
#include <memory>

namespace crema::storage {

/// For column families whose keys are in the order of their bytes, and in which what is read together has the same
/// first `prefix_bytes` bytes; shorter keys are allowed. One writer at a time (`allow_concurrent_memtable_write` off),
/// any number of readers beside it.
std::shared_ptr<rocksdb::MemTableRepFactory> make_run_memtables(size_t prefix_bytes);

} // namespace crema::storage
