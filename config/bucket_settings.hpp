// The fields of a bucket that the configuration and changes of buckets have in common.
#pragma once

#include "config/schema.hpp"
#include "protocol/bucket_change.hpp"

#include <optional>
#include <string>

namespace crema::config {

/// @returns what is wrong with the name of a bucket, or "".
std::string check_bucket_name(const std::string& name);
inline const char* const bucket_name_allowed = "1 to 64 letters, digits, '.', '_' or '-', not only digits";

/// n, r, w, sloppy, durability and read_repair, as far as they are there. A value that is wrong is 0 or absent.
protocol::bucket_settings read_bucket_settings(object_reader& reader);
/// The reverse.
nlohmann::json settings_of(const protocol::bucket& bucket);
/// What a bucket is from its first to its last day.
void read_bucket_kind(object_reader& reader, bucket_mode& mode, conflict_rule& conflict);

} // namespace crema::config
