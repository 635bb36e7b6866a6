// What a plan means: what is copied from where, whether less would do, and what is to be thought of. Part of
// topology_plan.hpp.
#pragma once

#include "protocol/topology_draft.hpp"
#include "protocol/topology_plan.hpp"

#include <cstddef>
#include <vector>

namespace crema::protocol {

/// A new owner copies from an owner that is not gone; sources are chosen so that all give about as much.
/// @param members those of `to` and of `from`, with their states.
std::vector<transfer> transfers(const ring_table& from, const ring_table& to, const std::vector<member>& members,
                                const std::vector<uint64_t>& bytes);

/// Partitions of which nobody has a copy any more.
uint32_t lost_partitions(const ring_table& owners, const std::vector<member>& members);

/// By how much nodes fall short of their shares, or exceed them, with what they had: so much must move, whatever one
/// does.
/// @param had what counts as had already, by partition.
size_t moves_at_least(const ring_table& had, const topology_draft& draft);

/// All members of `now` and of `draft`.
std::vector<node_share> shares(const ring_table& before, const ring_table& after, const std::vector<member>& members);

/// Of what an operator should think before committing to `next`. None of it is an error.
std::vector<std::string> warnings(const ring& now, const topology_draft& draft, const ring_table& next);
/// The same of what is done to buckets.
/// @param after the ring to be.
std::vector<std::string> bucket_warnings(const ring& now, const ring& after);

} // namespace crema::protocol
