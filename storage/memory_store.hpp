// The memory twin of rocksdb_store: same batch, sync and crash semantics. Deterministic; request_sync() syncs at once.
#pragma once

#include "storage/store.hpp"

#include <memory>

namespace crema::storage {

/// What would be on the disk of a memory_store. Outlives the store, so that a test can crash a node and open it again.
class memory_disk;
std::shared_ptr<memory_disk> make_memory_disk();

/// The process dies: everything written survives; nothing to call, open the disk again.
/// The machine dies: of the batches written after the last sync the first `batches_kept` survive, as many as the kernel
/// happened to have written; a record torn in the middle is none.
void crash_machine(memory_disk& disk, size_t batches_kept = 0);
size_t unsynced_batches(memory_disk& disk);
/// A disk of its own with what `disk` holds now: a backup.
std::shared_ptr<memory_disk> copy_of(memory_disk& disk);

/// Faults to inject: the next `after` calls succeed, the one after them fails, and nothing of it is written. As with
/// rocksdb_store, a store that has failed goes on failing; open the disk again to go on. Forgotten by crash_machine.
void fail_writes(memory_disk& disk, size_t after);
void fail_syncs(memory_disk& disk, size_t after);
/// A full disk: writes fail until there is space again.
void set_full(memory_disk& disk, bool full);
bool is_full(memory_disk& disk);
/// No fault is left, and none is to come.
void forget_faults(memory_disk& disk);

std::unique_ptr<store> open_memory(std::shared_ptr<memory_disk> disk);

} // namespace crema::storage
