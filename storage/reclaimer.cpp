#include "storage/reclaimer.hpp"

#include "storage/keys.hpp"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace crema::storage {

namespace {

constexpr uint64_t worth_bytes = uint64_t{16} << 20; // Less is not worth reading all files of a small database.
constexpr uint64_t near_bytes = uint64_t{64} << 20;  // About a file.

/// [first, second)
using span = std::pair<std::string, std::string>;

/// What is in files, hidden or not.
uint64_t bytes_in(database& db, column_family which, const std::string& begin, const std::string& end) {
  rocksdb::Range range{begin, end};
  uint64_t bytes = 0;
  auto s = db.db->GetApproximateSizes(rocksdb::SizeApproximationOptions{}, db.families[which], &range, 1, &bytes);
  return s.ok() ? bytes : 0;
}

} // namespace

rocksdb::Status reclaim(database& db, const std::set<vnode_id>& dropped, std::atomic<bool>& stop) {
  for (auto which : {cf_data, cf_log}) {
    uint64_t all = 0;
    std::vector<span> spans;
    for (auto vnode : dropped) { // In the order of their keys.
      auto begin = vnode_prefix(vnode), end = vnode_end(vnode);
      auto bytes = bytes_in(db, which, begin, end);
      if (bytes == 0)
        continue;
      all += bytes;
      if (!spans.empty() && bytes_in(db, which, spans.back().second, begin) < near_bytes)
        spans.back().second = std::move(end); // Else a file would be written anew for each of them.
      else
        spans.emplace_back(std::move(begin), std::move(end));
    }
    if (all < worth_bytes)
      continue;
    rocksdb::CompactRangeOptions options;
    options.exclusive_manual_compaction = false;
    options.max_subcompactions = 1;
    options.canceled = &stop;
    for (const auto& [first, last] : spans) {
      rocksdb::Slice begin{first}, end{last};
      auto s = db.db->CompactRange(options, db.families[which], &begin, &end);
      if (!s.ok() || stop)
        return s;
    }
  }
  return {};
}

reclaimer::~reclaimer() {
  {
    std::lock_guard<std::mutex> lock{mutex_};
    stopping_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void reclaimer::dropped(const std::vector<vnode_id>& vnodes) {
  {
    std::lock_guard<std::mutex> lock{mutex_};
    dropped_.insert(vnodes.begin(), vnodes.end());
    last_ = std::chrono::steady_clock::now();
  }
  changed_.notify_one();
}

void reclaimer::run() {
  std::unique_lock<std::mutex> lock{mutex_};
  for (;;) {
    changed_.wait(lock, [this] { return stopping_ || !dropped_.empty(); });
    while (!stopping_ && std::chrono::steady_clock::now() < last_ + pause)
      changed_.wait_until(lock, last_ + pause);
    if (stopping_)
      return;
    auto dropped = std::exchange(dropped_, {});
    lock.unlock();
    // An error of a compaction shows at the next write, which fails as well.
    static_cast<void>(reclaim(db_, dropped, stopping_).ok());
    lock.lock();
  }
}

} // namespace crema::storage
