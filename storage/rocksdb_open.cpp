#include "storage/rocksdb_open.hpp"

#include "storage/data_directory.hpp"
#include "storage/database_format.hpp"
#include "storage/keys.hpp"

#include <spdlog/spdlog.h>

#include <filesystem>

namespace crema::storage {

namespace fs = std::filesystem;
using rocksdb::WALRecoveryMode;

namespace {

constexpr const char* cure =
    " It was neither repaired nor replaced. Restore the whole data directory of this node from a copy "
    "(docs/storage.md, \"Restoring a copy\"), or move it away (crema rebuild does): the node then starts empty, and "
    "every "
    "bucket with n > 1 gets its data back from the other owners. What exists on this node only (a cluster of one node, "
    "a bucket with n = 1, a write that no other owner has) is lost then.";

status damaged(const std::string& path, const std::string& what) {
  return {path + ": the database is damaged: " + what + "." + cure};
}

status not_ours(const std::string& path, const std::string& what) {
  return {path + ": is not a database of this version of crema: " + what +
          ". Choose another data_dir, or move this directory away."};
}

/// RocksDB looks for a missing table file under its old name as well, and reports only that.
std::string to_text(const rocksdb::Status& s) {
  auto text = s.ToString();
  for (auto at = text.find(".ldb"); at != std::string::npos; at = text.find(".ldb", at))
    text.replace(at, 4, ".sst");
  return text;
}

status explain(const std::string& path, const rocksdb::Status& s) {
  auto text = to_text(s);
  if (s.IsIOError() && text.find("lock") != std::string::npos)
    return {path + ": the database is used by another process: " + text};
  if (s.IsInvalidArgument() || s.IsNotSupported())
    return not_ours(path, text);
  if (s.IsCorruption() || s.IsNotFound() || s.IsPathNotFound())
    return damaged(path, text);
  return {path + ": the database cannot be opened: " + text};
}

rocksdb::Status open_with(database& target, rocksdb::DBOptions options, const rocksdb_options& sizes) {
  target.check = std::make_unique<wal_check>();
  options.wal_filter = target.check.get();
  rocksdb::DB* db = nullptr;
  auto s = rocksdb::DB::Open(options, target.path, column_families(sizes), &target.families, &db);
  target.db.reset(db);
  return s;
}

status fill_new_database(const std::string& path, const rocksdb_options& sizes, const std::string& boot_id) {
  database made;
  made.path = path;
  auto options = database_options(sizes);
  options.create_if_missing = true;
  options.create_missing_column_families = true;
  options.error_if_exists = true;
  auto s = open_with(made, options, sizes);
  rocksdb::WriteOptions synced;
  synced.sync = true;
  if (s.ok())
    s = made.db->Put(synced, made.families[cf_meta], rocksdb::Slice{format_key.data(), format_key.size()},
                     rocksdb::Slice{format_version.data(), format_version.size()});
  if (!s.ok())
    return {path + ": the database cannot be created: " + s.ToString()};
  return made.synced.open(path, {boot_id, made.db->GetLatestSequenceNumber()});
}

/// Makes the database under another name and renames it when it is whole, so that a directory with the final name but
/// without CURRENT is always damage and never a creation that was cut short.
status create_database(const std::string& path, const rocksdb_options& sizes, const std::string& boot_id) {
  auto unfinished = path + ".new";
  std::error_code code;
  fs::remove_all(unfinished, code);
  auto filled = fill_new_database(unfinished, sizes, boot_id);
  if (!filled.ok())
    return filled;
  fs::rename(unfinished, path, code); // Replaces an empty directory.
  if (code)
    return {path + ": the database cannot be created: " + code.message()};
  return sync_directory(parent_of(path));
}

/// Replays the write-ahead log. What counts as damage depends on what can have happened since the last sync:
///  - Nothing but an orderly stop: every file must be whole (kAbsoluteConsistency). Tried first, it changes nothing on
///    disk when it fails, and tells how far the log is good.
///  - The process died: the kernel still wrote what it had accepted, so at most the last record is cut short
///    (kTolerateCorruptedTailRecords). Anything else is damage.
///  - The machine went down: what was not synced may be cut, zeroed or written in any order. The log then counts up to
///    the first flaw (kPointInTimeRecovery).
/// In each case all that was synced must be before the flaw.
status replay(database& target, const rocksdb_options& sizes, const synced_state& synced, bool rebooted) {
  auto options = database_options(sizes);
  options.wal_recovery_mode = WALRecoveryMode::kAbsoluteConsistency;
  auto s = open_with(target, options, sizes);
  if (s.IsCorruption() && target.check->started()) {
    auto first = s;
    auto last = target.check->last();
    auto file = target.check->file();
    if (last >= synced.sequence) {
      options.wal_recovery_mode =
          rebooted ? WALRecoveryMode::kPointInTimeRecovery : WALRecoveryMode::kTolerateCorruptedTailRecords;
      s = open_with(target, options, sizes);
    }
    if (s.IsCorruption())
      return damaged(target.path, "the write-ahead log " + (file.empty() ? "(*.log)" : file) +
                                      " cannot be read beyond write " + std::to_string(last) + " (" + first.ToString() +
                                      "; writes up to " + std::to_string(synced.sequence) + " were synced)");
    if (s.ok())
      spdlog::warn("{}: the last writes before {} were incomplete in the write-ahead log and are dropped; none of them "
                   "had been synced ({})",
                   target.path, rebooted ? "the machine went down" : "the process died", first.ToString());
  }
  return s.ok() ? status{} : explain(target.path, s);
}

status check_opened(database& opened, const synced_state& synced) {
  auto last = opened.db->GetLatestSequenceNumber();
  if (last < synced.sequence)
    return damaged(opened.path, "writes up to " + std::to_string(synced.sequence) +
                                    " were synced, but only those up to " + std::to_string(last) +
                                    " are there: a write-ahead log (*.log) is missing or was shortened");
  std::string format;
  auto s = opened.db->Get({}, opened.families[cf_meta], rocksdb::Slice{format_key.data(), format_key.size()}, &format);
  if (!s.ok() && !s.IsNotFound())
    return explain(opened.path, s);
  if (format != format_version)
    return other_format(opened.path, format);
  return {};
}

} // namespace

database::~database() {
  synced.sync().ok(); // Only to be of more use at the next start.
  for (auto* family : families)
    db->DestroyColumnFamilyHandle(family).PermitUncheckedError();
}

database_result open_database(const std::string& path, const rocksdb_options& options, bool create) {
  auto boot_id = options.boot_id ? *options.boot_id : current_boot_id();
  std::error_code code;
  auto kind = fs::status(path, code);
  if (fs::exists(kind) && !fs::is_directory(kind))
    return {nullptr, not_ours(path, "it is not a directory")};
  auto there = fs::exists(kind);
  if (there)
    there = !fs::is_empty(path, code);
  if (!fs::status_known(kind) || (fs::exists(kind) && code))
    return {nullptr, {path + ": the database cannot be opened: " + code.message()}};
  if (!there && !create)
    return {nullptr, damaged(path, "it is missing")};
  if (!there) {
    auto created = create_database(path, options, boot_id);
    if (!created.ok())
      return {nullptr, created};
  }
  auto is_rocksdb = fs::exists(path + "/CURRENT", code);
  synced_state synced;
  auto marked = synced_mark::read(path, synced);
  if (!is_rocksdb && !marked.ok())
    return {nullptr, not_ours(path, "it holds neither the file CURRENT nor the file SYNCED")};
  if (!is_rocksdb)
    return {nullptr, damaged(path, path + "/CURRENT: is missing")};
  if (!marked.ok())
    return {nullptr, damaged(path, marked.error)};
  if (auto format = unfamiliar_format(path, options)) {
    auto of_another = !format->empty() && *format != format_version;
    return {nullptr, of_another ? other_format(path, *format)
                                : damaged(path, "its manifest does not name the column families that it should")};
  }

  auto opened = std::make_unique<database>();
  opened->path = path;
  auto rebooted = boot_id.empty() || boot_id != synced.boot_id;
  auto what = replay(*opened, options, synced, rebooted);
  if (what.ok())
    what = check_opened(*opened, synced);
  // What RocksDB replayed it has flushed to synced files: all of it is on disk now.
  if (what.ok())
    what = opened->synced.open(path, {boot_id, opened->db->GetLatestSequenceNumber()});
  if (!what.ok())
    return {nullptr, what};
  return {std::move(opened), {}};
}

} // namespace crema::storage
