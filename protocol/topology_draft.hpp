// Who is to be a member, and how: the first half of a plan (topology_plan.hpp). All that an operator can get wrong is
// found here, and told with its cure.
#pragma once

#include "protocol/ring.hpp"
#include "protocol/topology_change.hpp"
#include "protocol/topology_plan.hpp"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace crema::protocol {

struct topology_draft {
  std::vector<member> members; ///< Sorted by id; with those that leave.
  std::vector<replica_group> groups;
  std::vector<bucket> buckets; ///< Sorted by id; n, r and w as they are to be.
  bucket_id next_bucket = ring::first_of_run_time;
  uint32_t next_id = 0;
  uint32_t owners_per_partition = 1;   ///< The largest N of any bucket. Rows are shorter while members are fewer.
  std::map<node_id, node_id> replaced; ///< By whom.
  bool only_replaced = true;           ///< Nothing else is asked for.
  bool only_buckets = true;            ///< Nothing else is asked for.

  std::vector<member> staying() const;
  member* find(const std::string& name);
  bucket* find_bucket(const std::string& name);
  const replica_group* group_of(node_id node) const;
  std::string group_names() const;

  /// Into a group, new or not, and out of the one that it was in.
  void put(node_id node, const std::string& group);
  /// As if it had never come.
  void forget(node_id node);

  /// @returns why this cannot be, as a whole; empty: it can.
  std::string check(const ring& now) const;
};

/// The same buckets, on their way from what they are in `now` to what is drafted.
/// @pre `now` has no former owners, unless no numbers change.
std::vector<bucket> on_their_way(const ring& now, const std::vector<bucket>& drafted);
/// n, r and w of a bucket of `x` when the change that is under way is done, if one is.
quorums numbers_to_be(const ring& x, const bucket& b);
/// Are any of these?
bool change_quorums(const std::vector<bucket>& buckets);

/// "n1, n2, n3"
std::string listed(const std::vector<std::string>& names);

or_refused<topology_draft> draft_topology(const ring& now, const std::vector<topology_change>& changes);

} // namespace crema::protocol
