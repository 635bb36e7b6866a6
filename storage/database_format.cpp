#include "storage/database_format.hpp"

#include "storage/keys.hpp"
#include "storage/rocksdb_tuning.hpp"

#include <rocksdb/db.h>

#include <memory>
#include <set>
#include <vector>

namespace crema::storage {

namespace {

/// Every version so far keeps its format in the column family "meta", under the same key.
std::string read_format(const std::string& path, const rocksdb::DBOptions& options,
                        const std::vector<rocksdb::ColumnFamilyDescriptor>& families) {
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* db = nullptr;
  auto s = rocksdb::DB::OpenForReadOnly(options, path, {families[cf_default], families[cf_meta]}, &handles, &db);
  std::unique_ptr<rocksdb::DB> opened{db};
  std::string format;
  if (s.ok())
    s = db->Get({}, handles[1], rocksdb::Slice{format_key.data(), format_key.size()}, &format);
  for (auto* handle : handles)
    db->DestroyColumnFamilyHandle(handle).PermitUncheckedError();
  return s.ok() ? format : "";
}

} // namespace

status other_format(const std::string& path, const std::string& found) {
  return {path + ": is of format \"" + found + "\", this version of crema reads format \"" +
          std::string{format_version} +
          "\". The data was left as it is. Start with an empty directory (choose another data_dir, or move this one "
          "away), or run the version that wrote it."};
}

std::optional<std::string> unfamiliar_format(const std::string& path, const rocksdb_options& sizes) {
  auto options = database_options(sizes);
  std::vector<std::string> found;
  if (!rocksdb::DB::ListColumnFamilies(options, path, &found).ok())
    return std::nullopt;
  auto ours = column_families(sizes);
  std::set<std::string> names;
  for (const auto& family : ours)
    names.insert(family.name);
  if (std::set<std::string>(found.begin(), found.end()) == names)
    return std::nullopt;
  // The format was synced before all else: a flaw further on in the write-ahead log does not matter here.
  options.wal_recovery_mode = rocksdb::WALRecoveryMode::kPointInTimeRecovery;
  return read_format(path, options, ours);
}

} // namespace crema::storage
