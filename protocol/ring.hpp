// The ring: partition -> ordered owners, and how it is dealt out. Consistent hashing with Q fixed partitions shared out
// evenly (Dynamo §6.2, strategy 3).
#pragma once

#include "protocol/types.hpp"

#include <memory>
#include <string>
#include <vector>

namespace crema::protocol {

struct member {
  node_id id{};
  std::string name;
  std::string host;    ///< Replicas of one partition avoid sharing a host while there are enough.
  std::string zone;    ///< Likewise zones; "" is a zone like any other.
  uint32_t weight = 1; ///< Share of vnodes, relative to the others; >= 1.
  friend bool operator==(const member& a, const member& b) {
    return a.id == b.id && a.name == b.name && a.host == b.host && a.zone == b.zone && a.weight == b.weight;
  }
};

/// owners[p] = the nodes that own partition p, most preferred first, all distinct. A bucket with a smaller N uses the
/// first N.
using ring_table = std::vector<std::vector<node_id>>;

/// Deals partitions to members. Pure and deterministic; independent of the order of `members`.
///
/// Guarantees, with V_j(m) = the number of partitions for which m is among the first j owners, for every j <= N:
///  - V_N(m) is within one of its fair share N * Q * weight / total weight (a member's share is capped at Q, since it
///    can own a partition once; what is cut off is shared by the others). For j < N as close to this as the rest
///    allows; on a fresh table within one as well.
///  - Owners of a partition are on distinct hosts while there are at least N hosts, and in distinct zones while there
///    are at least N zones; with fewer, spread over as many as possible, hosts before zones. The same holds for its
///    first j owners. Where hosts or zones make the balance impossible (one zone with a single small node),
///    distinctness wins, and shares are as near to weight as it allows.
///  - Starting from `old` (a table of the same Q, possibly with members that are gone), no more (partition, owner)
///  pairs
///    move than needed for the above; and as little of the order changes.
///  - If hosts lie in several zones, and there is more than one host, the second and the third are only approximate.
/// @param old the table before, or empty.
/// @pre 1 <= owners_per_partition; members not empty; ids distinct. With fewer members than that, every member owns
/// all.
ring_table claim(const ring_table& old, const std::vector<member>& members, uint32_t partitions,
                 uint32_t owners_per_partition);

/// The number of (partition, owner) pairs of `to` that are not in `from`.
size_t moved(const ring_table& from, const ring_table& to);

/// An agreed ring. Immutable once published.
struct ring {
  uint64_t epoch = 0;
  std::vector<member> members; ///< Sorted by id.
  ring_table owners;

  uint32_t partitions() const { return static_cast<uint32_t>(owners.size()); }
  const member* find(node_id id) const;

  /// The first `n` owners of `partition`, or all there are.
  std::vector<node_id> owners_of(partition_id partition, uint32_t n) const;
  bool owns(node_id node, partition_id partition, uint32_t n) const;

  /// The preference list: the first `n` owners of `partition`, then every other member as a fallback in rendezvous
  /// order (Thaler & Ravishankar 1998), so that the load of a dead node spreads over all others.
  std::vector<node_id> preference_list(partition_id partition, uint32_t n) const;
};
using ring_ptr = std::shared_ptr<const ring>;

} // namespace crema::protocol
