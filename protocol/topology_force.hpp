// A majority of the members is gone for good, and nothing can be agreed on any more: an operator decides alone
// (docs/topology.md, "Force"). Pure: from the ring that is known to the one that is to replace whatever others know.
//
//   a b c d e, three owners of each partition    c d e are gone
//   a c d  ->  a, and then a b                   only c and d had it: lost
#pragma once

#include "protocol/ring.hpp"
#include "protocol/topology_change.hpp"
#include "protocol/topology_plan.hpp"

#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <vector>

namespace crema::protocol {

/// What the ring does not tell: who can be asked now.
struct force_given {
  planning plan;
  std::set<node_id> reachable; ///< This node among them.
  /// Those of them that would vote, as far as it is known.
  std::set<node_id> voting;
  /// The number that a value which is decided alone gets (agreement::forced_number).
  std::function<uint64_t(const ring& draft)> number;
};

/// The ring without the members `lost`, who are no members at once: nobody waits for them, nobody writes to them, and
/// they have no vote. Of every partition those of its owners are left that are left; where none is, others begin with
/// what they have. From there the usual change follows that gives every partition its copies again: `after` is joint. A
/// change that was under way ends: who was joining is a member, who was leaving stays. One that was completed goes on.
/// Refused while a majority can be reached, as long as it votes; and if none would be reached afterwards.
or_refused<topology_plan> plan_force(const ring& now, const std::vector<std::string>& lost, const force_given& given);

} // namespace crema::protocol
