// What a memory_store keeps: two images of the content, one as the process sees it, one as it is on disk.
#pragma once

#include "storage/store.hpp"

#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

namespace crema::storage {

struct merge_effect {
  vnode_id vnode;
  std::string key, operand;
};
struct merge_known_effect {
  vnode_id vnode;
  std::string key, operand, object;
};
struct log_effect {
  vnode_id vnode;
  dot id;
  std::string key;
};
struct bury_effect {
  vnode_id vnode;
  timestamp due;
  std::string key;
};
struct trim_log_effect {
  vnode_id vnode;
  protocol::dot_range dots;
};
struct replace_effect {
  vnode_id vnode;
  std::string key;
  std::optional<std::string> object; ///< Nothing: the key goes.
};
struct unbury_effect {
  vnode_id vnode;
  timestamp due;
  std::string key;
};
struct drop_vnode_effect {
  vnode_id vnode;
};
struct save_record_effect {
  vnode_id vnode;
  std::string record;
};
struct save_clock_effect {
  vnode_id vnode;
  protocol::dot_clock clock;
};
struct put_meta_effect {
  std::string name, value;
};
using store_effect =
    std::variant<merge_effect, merge_known_effect, log_effect, bury_effect, trim_log_effect, replace_effect,
                 unbury_effect, drop_vnode_effect, save_record_effect, save_clock_effect, put_meta_effect>;

/// One image of everything in a store.
struct memory_image {
  struct object {
    std::string bytes;
    bool damaged = false; ///< What was merged was malformed, or not what it was said to become: the key cannot be read.
  };
  std::map<std::pair<vnode_id, std::string>, object, std::less<>> data;
  std::map<std::pair<vnode_id, dot>, std::string> log;
  std::set<std::tuple<vnode_id, timestamp, std::string>> graves;
  std::map<vnode_id, std::string> records;
  std::map<vnode_id, protocol::dot_clock> clocks;
  std::map<std::string, std::string, std::less<>> meta;

  void apply(const store_effect& effect);
};

/// Counts calls down to the one that is to fail.
struct fault {
  std::optional<size_t> after;
  bool strikes();
};

class memory_disk {
public:
  std::mutex mutex;
  memory_image now;                                ///< What the process sees; survives its death.
  memory_image synced;                             ///< What survives the death of the machine.
  std::vector<std::vector<store_effect>> unsynced; ///< Batches; now = synced + unsynced.
  uint64_t writes = 0;                             ///< Batches written since the disk was made.
  fault write_fault, sync_fault;
  bool full = false;

  /// The first `batches` of what is unsynced are on disk.
  void sync(size_t batches);
};

} // namespace crema::storage
