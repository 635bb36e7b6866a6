// The directory of one node: who it belongs to, and which replica id names its writes.
//
//   <data_dir>/LOCK            locked (flock) while a node runs in it; holds its pid
//   <data_dir>/identity.json   format, cluster, node, partitions, members, buckets, replica id, boot id, clean stop
//   <data_dir>/db/             RocksDB
//   <data_dir>/damaged/        db and identity.json that were set aside
#pragma once

#include "protocol/types.hpp"
#include "storage/store.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace crema::storage {

/// What must not change between two starts on the same directory.
struct identity {
  std::string cluster;
  std::string node;
  uint32_t partitions = 0;
  /// "name zone weight", and its group if it has one, of each member, sorted. Other ones are refused, until they are
  /// changed while the cluster runs.
  std::vector<std::string> members;
  struct bucket {
    std::string name;
    bucket_id id = 0;
    std::string conflict; ///< "lww" or "siblings".
    uint32_t n = 0;
    friend bool operator==(const bucket& a, const bucket& b) {
      return a.name == b.name && a.id == b.id && a.conflict == b.conflict && a.n == b.n;
    }
  };
  std::vector<bucket> buckets; ///< Sorted by id. New ones may be added; those recorded may not change or vanish.
};

/// Looks without writing. @returns an error in words (what is wrong with which file, what is allowed and how to go on)
/// if the directory cannot be created or written, is used by another process, is not empty and not crema's, belongs to
/// another cluster or node, or was made with other partitions, members or bucket kinds.
status check_data_directory(const std::string& path, const identity& expected);

/// A directory that is open, locked and ours.
class data_directory {
public:
  virtual ~data_directory() = default;
  /// Names this directory's writes. New (random, never 0) for a new directory, for a copy of one (its original may have
  /// gone on: a restored backup), and when the last run did not stop cleanly *and* the machine has rebooted since: the
  /// newest counters may be lost then, and a dot used twice is data loss.
  virtual replica_id replica() const = 0;
  /// Was it created by this call?
  virtual bool created() const = 0;
  /// Is it a copy of the directory that was used last? Until a run has stopped in good order.
  virtual bool copied() const = 0;
  virtual std::string database_path() const = 0;
  /// Members have been changed while the cluster ran: from now on it does not matter which ones the configuration says.
  virtual status note_members_agreed() = 0;
  /// That is so, and it says others than when the directory was made.
  virtual bool says_other_members() const = 0;
  /// To be called last in an orderly stop, after the store is synced and closed.
  virtual status mark_clean() = 0;
};

struct directory_result {
  std::unique_ptr<data_directory> opened; ///< Null on error.
  status what;
};
/// check_data_directory, then creates, locks and records what is new.
/// @param boot_id of this boot of the machine (/proc/sys/kernel/random/boot_id); an argument for tests.
directory_result open_data_directory(const std::string& path, const identity& expected, const std::string& boot_id);

/// Moves all there is into <data_dir>/damaged: the next start makes everything anew, under a new replica id. Nothing is
/// opened or removed. Repeated after a crash, it goes on. What was moved counts as an old copy should it be put back.
/// @returns an error if check_data_directory() finds one (a missing database is none), if there is nothing here, or if
/// something was set aside before: that may be the last copy of what it holds.
status set_aside(const std::string& path, const identity& expected);

/// This boot's id; empty where the kernel tells none (then every unclean stop counts as a reboot).
std::string current_boot_id();

} // namespace crema::storage
