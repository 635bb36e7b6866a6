// A node's store as the world sees it: a memory store that dies with its process, notes every write that is named, and
// syncs as slowly as it is told.
#pragma once

#include "apps/simulation/world.hpp"
#include "storage/memory_store.hpp"

#include <functional>
#include <memory>
#include <utility>
#include <vector>

namespace crema::simulation {

/// What a watched_store needs of the world around it.
class store_watcher {
public:
  virtual ~store_watcher() = default;
  /// Does the process that opened the store still live?
  virtual bool alive() const = 0;
  /// Names that are on disk now.
  virtual void named(const dot& id, vnode_id vnode, const std::string& key, const std::string& delta) = 0;
  /// A dot is on disk that is said to be lost.
  virtual void closed(const dot& id, vnode_id vnode) = 0;
  /// The record of an agreement is on disk, and then all that was written before is synced.
  virtual void agreed(const std::string& record) = 0;
  virtual void synced() = 0;
  /// The calling actor is blocked in a sync for as long as the disk takes.
  virtual void block_in_sync() = 0;
  /// Runs `sync` when a sync in the background is done.
  virtual void sync_later(std::function<void()> sync) = 0;
};

/// @param self the replica id under which this process names writes.
std::shared_ptr<storage::store> watch_store(std::unique_ptr<storage::store> inner, replica_id self,
                                            std::shared_ptr<store_watcher> watcher);

} // namespace crema::simulation
