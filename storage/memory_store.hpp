// The memory twin of rocksdb_store: same batch, sync and crash semantics.
#pragma once

#include "storage/store.hpp"

#include <memory>

namespace crema::storage {

/// What would be on the disk of a memory_store. Outlives the store, so that a test can crash a node and open it again.
class memory_disk;
std::shared_ptr<memory_disk> make_memory_disk();

/// The process dies: everything written survives.
/// The machine dies: what was written after the last sync is lost.
void crash_machine(memory_disk& disk);

/// Faults to inject: the next `writes` / `syncs` calls after `after` further ones fail.
void fail_writes(memory_disk& disk, size_t after);
void fail_syncs(memory_disk& disk, size_t after);

std::unique_ptr<store> open_memory(std::shared_ptr<memory_disk> disk);

} // namespace crema::storage
