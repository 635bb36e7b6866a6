// When a change of the members goes on by itself, and how (docs/topology.md): what the nodes tell of
// themselves decides, and any member may propose what follows.
#pragma once

#include "protocol/ring.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>

namespace crema::protocol {

/// What a node tells of itself. It holds after a crash as well.
struct node_progress {
  uint64_t epoch = 0;  ///< That all of its replicas know.
  uint64_t to_get = 0; ///< Vnodes that it is to own in that epoch, and does not yet,
  uint64_t got = 0;    ///< and how many of these it has whole.
  uint64_t former = 0; ///< Vnodes that it has for others.
  friend bool operator==(const node_progress& a, const node_progress& b) {
    return a.epoch == b.epoch && a.to_get == b.to_get && a.got == b.got && a.former == b.former;
  }
};

struct topology_state {
  std::map<node_id, node_progress> progress;
  /// The data directories of nodes that run, as far as known.
  std::map<node_id, uint64_t> directories;
};

/// May somebody still read `partition` from those who owned it before the present epoch (rule R4)?
/// @param epoch_of the epoch that a node is known to know.
bool may_be_read_from_former(const ring& now, partition_id partition, const bucket& bucket,
                             const std::function<uint64_t(node_id)>& epoch_of);

/// Of any partition. Unless so, a new change may begin (rule R5), also before those that leave have handed over.
bool may_be_read_from_former(const ring& now, const topology_state& state);

/// Do so many of those that vote on the next epoch know this one that it can be forgotten only if a majority of them
/// lose their disks? Before that, who has a vote on this one no more may still be needed to find out what it is.
/// @param epoch_of the epoch that a node is known to have on its disk.
bool known_to_majority(const ring& now, const std::function<uint64_t(node_id)>& epoch_of);

struct topology_step {
  ring next;
  std::string why; ///< In words, for the log.
};
/// The ring of the next epoch if it is time for one.
std::optional<topology_step> next_step(const ring& now, const topology_state& state);

/// What the change waits for, in words; empty: for nothing that is known, or there is none.
std::string waits_for(const ring& now, const topology_state& state);

} // namespace crema::protocol
