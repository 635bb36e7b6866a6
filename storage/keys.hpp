// How keys look in RocksDB (docs/storage.md, "Keys"). On disk: a change here makes existing databases unreadable.
//
//   data   be16 bucket, be16 partition, key                          -> object
//   log    be16 bucket, be16 partition, be64 replica id, be64 counter -> key
//   graves be16 bucket, be16 partition, be64 due, key               -> nothing
//   meta   "clock/", be16 bucket, be16 partition                     -> clock
//          "vnode/", be16 bucket, be16 partition                     -> record of the vnode
//          "name/", name                                             -> administrative value
//          "format"                                                  -> version of all of this
//
// The partition is that of the vnode, or has the bit 0x8000: then it is the vnode's second place.
#pragma once

#include "protocol/types.hpp"

#include <optional>
#include <string>
#include <string_view>

namespace crema::storage {

constexpr size_t vnode_prefix_bytes = 4;
constexpr size_t log_key_bytes = 20;
constexpr std::string_view clock_prefix = "clock/";
constexpr std::string_view record_prefix = "vnode/";
constexpr std::string_view name_prefix = "name/";
constexpr std::string_view format_key = "format";
constexpr std::string_view format_version = "2";

/// The functions that write into `out` replace its content: a batch uses one buffer for all its keys.
void write_data_key(std::string& out, vnode_id vnode, std::string_view key);
void write_log_key(std::string& out, vnode_id vnode, const dot& d);

void write_grave_key(std::string& out, vnode_id vnode, timestamp due, std::string_view key);

std::string vnode_prefix(vnode_id vnode);
std::string data_key(vnode_id vnode, std::string_view key);
std::string log_key(vnode_id vnode, const dot& d);
std::string grave_key(vnode_id vnode, timestamp due, std::string_view key);
std::string clock_key(vnode_id vnode);
std::string record_key(vnode_id vnode);
std::string name_key(std::string_view name);

struct log_entry_id {
  vnode_id vnode;
  dot id;
};
/// @returns nothing unless these are the bytes of a log key.
std::optional<log_entry_id> parse_log_key(std::string_view bytes);
struct grave_id {
  vnode_id vnode;
  timestamp due = 0;
  std::string_view key; ///< Points into the bytes.
};
std::optional<grave_id> parse_grave_key(std::string_view bytes);
/// Of "clock/..." or "vnode/..." keys.
std::optional<vnode_id> parse_vnode_key(std::string_view prefix, std::string_view bytes);

/// The smallest string above every string that starts with `prefix`; nothing if there is none (all bytes are 0xFF).
std::optional<std::string> prefix_end(std::string prefix);
/// Above every key of the vnode in `data`, `log` and `graves`, and not above those of the next vnode.
std::string vnode_end(vnode_id vnode);

} // namespace crema::storage
