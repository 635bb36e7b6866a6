// <db>/SYNCED: how far the write-ahead log is known to be on disk. One line, rewritten in place after every sync:
//
//   crema-synced 1 <boot id of the machine> <sequence number> <checksum>
//
// At start it tells a torn end (written, never synced: a crash explains it) from the loss of synced writes (nothing
// explains it, so the database is refused). The file itself is synced only at open and close: what is read back after a
// power failure may be older than the last sync, never newer, so it never refuses a good database.
#pragma once

#include "storage/files.hpp"

#include <cstdint>
#include <mutex>
#include <string>

namespace crema::storage {

struct synced_state {
  std::string boot_id;   ///< Of the machine when the database was last opened. May be empty: unknown.
  uint64_t sequence = 0; ///< All writes up to this one were synced.
};

class synced_mark {
public:
  static std::string path_in(const std::string& database) { return database + "/SYNCED"; }
  /// Missing and damaged are errors: the file is made before a database gets its name.
  static status read(const std::string& database, synced_state& out);

  /// Writes `state`, durably, and keeps the file open for `advance`.
  status open(const std::string& database, synced_state state);
  /// Notes that writes up to `sequence` are on disk. Thread-safe; never goes back.
  status advance(uint64_t sequence);
  uint64_t sequence() const;
  status sync();

private:
  status write_locked();

  mutable std::mutex mutex_;
  std::string path_;
  descriptor file_;
  synced_state state_;
};

} // namespace crema::storage
