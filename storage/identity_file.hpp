// <data_dir>/identity.json: who the directory belongs to, and what the last run left.
#pragma once

#include "storage/data_directory.hpp"

#include <map>
#include <optional>
#include <string>

namespace crema::storage {

struct identity_record {
  identity who;
  replica_id replica = 0;      ///< 0 (written as ""): take a new one at the next start.
  std::string boot_id;         ///< Of the machine when the last run began.
  bool clean = false;          ///< Did the last run stop in good order?
  bool copied = false;         ///< This directory came as a copy, and no run has stopped in good order since.
  bool members_agreed = false; ///< The members were changed while the cluster ran: what files say of them is history.
  /// When these files of the directory were made, as the file system says. A copy of one has another time; "": unknown.
  std::map<std::string, std::string> born;
};

std::string identity_path(const std::string& directory);

struct identity_result {
  std::optional<identity_record> record; ///< Nothing if there is no such file, or on error.
  status what;
};
identity_result read_identity(const std::string& directory);
/// Says in the file, beside `record.born`, when the file itself was made: so one that is put back over a later one is
/// seen, too.
status write_identity(const std::string& directory, const identity_record& record);
/// Does the file system say of one of the files that it was made at another time than the record says?
bool is_a_copy(const std::string& directory, const identity_record& record);

/// What a node with identity `expected` must not do in a directory recorded as `recorded`, in words; empty: nothing.
status compare_identities(const std::string& directory, const identity_record& recorded, const identity& expected);

} // namespace crema::storage
