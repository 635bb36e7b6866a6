// The life of a change of the members, epoch by epoch (docs/topology.md). Pure functions from the ring of
// one epoch to that of the next; whether it is time for a step (who is complete, who knows of the epoch) is the
// caller's to know.
//
//   stable --plan--> joint --complete--> stable with former --settle--> stable
//     ^ |             | | ^
//     | +-- (nothing  | +-+ plan again, pause, resume
//     |      moves)   |
//     +---------------+ cancel
#pragma once

#include "protocol/ring.hpp"
#include "protocol/topology_change.hpp"
#include "protocol/topology_progress.hpp"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace crema::protocol {

/// What the ring does not tell.
struct planning {
  uint64_t origin = 0;                     ///< The ring's, if it is of epoch 1 and does not have one yet.
  std::vector<uint64_t> bytes;             ///< By partition: one owner's. Empty: not known.
  std::map<node_id, uint64_t> directories; ///< Of members of whom the ring does not know it, as far as known.
  topology_state state{};                  ///< Who knows the present epoch.
};

/// Copies from one node to another.
struct transfer {
  node_id from{}, to{};
  uint32_t partitions = 0;
  uint64_t bytes = 0;
};

/// How many partitions a node owns.
struct node_share {
  node_id id{};
  uint32_t before = 0, after = 0;
};

struct topology_plan {
  ring after;                      ///< The next epoch: joint, or settled if nothing moves.
  std::vector<transfer> transfers; ///< Sorted. A new owner may as well copy from others: an estimate.
  size_t moved = 0;                ///< (partition, owner) pairs that are to be copied in all.
  size_t added = 0;                ///< Those of them that a change under way did not already ask for.
  size_t added_at_least = 0;       ///< However it is dealt out: the balance alone asks for so many.
  std::vector<node_share> nodes;   ///< Of all members, by id.
  uint32_t lost = 0;               ///< Partitions of which all owners are gone. There is a warning too.
  std::vector<std::string> warnings;
};

/// The ring in which `changes` are under way. If some already are, these come on top, as one job; what was moved
/// already stays where it is as far as possible. When a change is completed but not settled, another one may follow as
/// soon as nobody reads from former owners any more, those that the changes call gone not counted; who leaves has not
/// left by then, and goes on handing over. Before that only members that are leaving may be removed: they are not
/// waited for any more.
or_refused<topology_plan> plan_topology(const ring& now, const std::vector<topology_change>& changes,
                                        const planning& given);

/// Of those of whom it was not known.
void learn_directories(std::vector<member>& members, const std::map<node_id, uint64_t>& directories);

/// Joint to stable: those who were to own it do; writes still go to those before as well.
/// @pre all new owners are complete.
or_refused<ring> complete_change(const ring& now);

/// Stable with former to stable: who leaves has left. Also of those who are left over when a change was cancelled that
/// followed one which was not settled.
/// @pre enough of the owners of before know the present epoch, so that nobody reads from them any more.
or_refused<ring> settle_change(const ring& now);

/// Joint to stable, with members, weights, zones and groups as before the change: who was leaving already then, still
/// is. A node that was joining may join again, under a new id.
or_refused<ring> cancel_change(const ring& now);

/// Only while joint: there is nothing to pause later.
or_refused<ring> pause_change(const ring& now, bool paused);

} // namespace crema::protocol
