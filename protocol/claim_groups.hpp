// Placement `groups`: partitions are dealt to groups of nodes, and every node of a group has all that the group has.
#pragma once

#include "protocol/claim_spread.hpp"
#include "protocol/ring.hpp"

#include <cstdint>
#include <vector>

namespace crema::protocol {

/// How many partitions each group should have: its part of the weight of all nodes, rounded down and up. Nodes that are
/// no members do not count.
std::vector<claim_bounds> group_quotas(const std::vector<member>& members, const std::vector<replica_group>& groups,
                                       uint32_t partitions);

/// Deals partitions to groups. Pure and deterministic; independent of the order of `members` and `groups`.
///
///  - Every row is all members of one group.
///  - Every group has its quota of partitions, and with that no fewer (partition, owner) pairs move than must: exactly.
///  - The order in a row is claim's (ring.hpp), for every group on its own: the first owners of its partitions, the
///    first two, ... are shared out by weight and spread over hosts and zones, and change as little as may be.
/// @param old the table before, or empty. A row may name more nodes than own it: whoever has it already.
/// @pre every member is in exactly one group; nodes of groups that are no members are ignored.
ring_table claim_groups(const ring_table& old, const std::vector<member>& members,
                        const std::vector<replica_group>& groups, uint32_t partitions);

} // namespace crema::protocol
