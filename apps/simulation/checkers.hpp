// What must hold of every run. Each checker compares what clients saw, or what disks hold, with the model (model.hpp)
// and adds what it finds in words that tell a user what went wrong (docs/simulation.md lists them).
#pragma once

#include "apps/simulation/model.hpp"

#include <map>
#include <string>

namespace crema::simulation {

/// Every request has exactly one reply, within its deadline and a bound, the time its node was stopped not counted; and
/// what must succeed after the faults has succeeded.
void check_replies(const evidence& e, findings& out);

/// Who knows that there is a bucket takes requests for it; who knows that there is none, or none any more, refuses
/// them.
void check_buckets(const evidence& e, findings& out);

/// Reads: nothing invented, nothing resurrected, siblings and contexts exact, quorums met, acknowledged writes there.
void check_reads(const evidence& e, const model& m, findings& out);

/// Writes: what they say they replace or what existed, and what those that read first must have read.
void check_writes(const evidence& e, const model& m, findings& out);

/// lww, W + W > N (sloppy buckets: PW + PW > N): who writes after another write was acknowledged wins over it, whatever
/// the wall clocks say.
void check_lww_order(const evidence& e, const model& m, findings& out);

/// What a read with repair in the foreground returned, every later read returns as well, or something newer; R + R > N.
void check_monotonic_reads(const evidence& e, const model& m, findings& out);

/// Sets grown through siblings hold every acknowledged element in the end. Looks at values only, at no dot or context.
void check_sets(const evidence& e, const model& m, findings& out);

/// A dot is in a vnode's clock if and only if its effect is in the vnode's state.
void check_store(const evidence& e, const model& m, size_t node, const storage::store& store, findings& out);

/// All owners of each key have the same state and the same clock, and every vnode is settled (check_vnodes).
/// @param stores by node; null of those that are no members.
void check_convergence(const evidence& e, const model& m, const std::vector<std::shared_ptr<storage::store>>& stores,
                       uint64_t now_ms, findings& out);

/// Soon after the last fault: every vnode of an owner is complete, no temporary vnode, no part of a copy.
void check_vnodes(const evidence& e, size_t node, const storage::store& store, findings& out);

/// After that: no log entry that every owner has, no tombstone, no value that expired before `now_ms`, no context of a
/// removed key.
void check_remains(const evidence& e, size_t node, const storage::store& store, uint64_t now_ms, findings& out);

/// Of a bucket that was dropped the node has nothing: no object, log entry, clock or note, and no vnode that it would
/// load. Only counters of vnodes stay, in records without a role: no dot is ever given twice.
/// @param present all buckets that there are.
void check_dropped(const evidence& e, size_t node, const storage::store& store,
                   const std::vector<protocol::bucket>& present, findings& out);

/// Nothing is in flight when nobody asks for anything, and clocks have no gaps where nothing was given out.
void check_settled(const evidence& e, size_t node, const std::map<std::string, uint64_t>& counters, findings& out);
/// The node works with as many vnodes as the ring says.
void check_held(const evidence& e, size_t node, const std::map<std::string, uint64_t>& counters, uint64_t vnodes,
                findings& out);
/// No scrub has taken anything for damage so far; to be asked before there is any.
void check_scrubs(const evidence& e, size_t node, const std::map<std::string, uint64_t>& counters, findings& out);
void check_clocks(const evidence& e, size_t node, const storage::store& store, findings& out);

} // namespace crema::simulation
