// What a change of the members costs, by what nodes tell of their disks: bytes, time, room. All of it is estimated.
#pragma once

#include "protocol/ring.hpp"
#include "protocol/topology_plan.hpp"
#include "protocol/topology_progress.hpp"

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace crema::protocol {

/// What a node tells of its disk; 0: not known.
struct node_usage {
  uint64_t stored = 0;    ///< Bytes of all that it has.
  uint64_t disk_free = 0; ///< Bytes.
};

/// Of one copy of each partition: a node's partitions count as equally large, and of the owners that tell the mean is
/// taken. Empty: nobody tells.
std::vector<uint64_t> bytes_per_partition(const ring& now, const std::map<node_id, node_usage>& usage);

/// Every node takes its part at the same time, and each so many bytes a second at most, which is not all: clients go
/// first. Nothing: it is not known how much there is.
std::optional<std::chrono::seconds> time_to_copy(const std::vector<transfer>& transfers, uint64_t bytes_per_second);

/// Nodes that get more than they have room for.
std::vector<std::string> warn_of_room(const topology_plan& plan, const std::map<node_id, node_usage>& usage);

/// How far a change is, of all that members tell.
struct change_progress {
  uint64_t to_get = 0, got = 0; ///< Vnodes.
  uint64_t former = 0;
  uint64_t bytes_to_get = 0, bytes_got = 0; ///< 0: not known.
};
change_progress progress_of(const ring& now, const topology_state& state, const std::map<node_id, node_usage>& usage);

/// "512 B", "1.5 KiB", "20.0 GiB"
std::string bytes_in_words(uint64_t bytes);

/// How fast a change goes, by what was seen of it in the last seconds.
class move_pace {
public:
  using time = std::chrono::nanoseconds; ///< Of a clock that never goes back.
  void note(time now, uint64_t epoch, const change_progress& seen);
  double vnodes_per_second() const;
  /// Nothing as long as it is not known.
  std::optional<std::chrono::milliseconds> time_left() const;

private:
  struct sample {
    time at;
    uint64_t got;
  };
  std::deque<sample> samples_; // Of one epoch.
  uint64_t epoch_ = 0, to_get_ = 0;
};

} // namespace crema::protocol
