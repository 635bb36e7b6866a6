// Gives the disk the space of dropped vnodes back. To drop one is a range tombstone: what it hides stays in the files
// until these are compacted, which nobody may do for weeks where little is written.
#pragma once

#include "storage/rocksdb_open.hpp"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

namespace crema::storage {

/// Compacts what is left of these vnodes; of what lies between them as well, where that is less than a file. Does
/// nothing if it is not worth it. @param stop ends it early if it becomes true.
rocksdb::Status reclaim(database& db, const std::set<vnode_id>& dropped, std::atomic<bool>& stop);

/// Does so in the background, when none was dropped for a while: a change of the members drops many.
class reclaimer {
public:
  static constexpr std::chrono::seconds pause{10};

  explicit reclaimer(database& db) : db_(db), thread_([this] { run(); }) {}
  /// What was not done yet is forgotten; the next compaction does it.
  ~reclaimer();
  reclaimer(const reclaimer&) = delete;
  reclaimer& operator=(const reclaimer&) = delete;

  void dropped(const std::vector<vnode_id>& vnodes);

private:
  void run();

  database& db_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::set<vnode_id> dropped_;
  std::chrono::steady_clock::time_point last_;
  std::atomic<bool> stopping_{false};
  std::thread thread_; ///< Last: it uses all of the above.
};

} // namespace crema::storage
