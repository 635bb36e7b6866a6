// Which format a database has, seen without writing to it. RocksDB by itself would say of another format only that it
// has other column families, and after it has written to the directory.
#pragma once

#include "storage/rocksdb_store.hpp"

#include <optional>
#include <string>

namespace crema::storage {

/// The error for data of another format than ours; `path` is the directory or the file that tells.
status other_format(const std::string& path, const std::string& found);

/// The format that a database with other column families than ours says it has; empty if it does not say.
/// @returns nothing if its column families are ours, or cannot be listed: opening it tells more then.
std::optional<std::string> unfamiliar_format(const std::string& path, const rocksdb_options& options);

} // namespace crema::storage
