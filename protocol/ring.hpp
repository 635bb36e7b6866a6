// The ring: partition -> ordered owners, and how it is dealt out. Consistent hashing with Q fixed partitions shared out
// evenly (Dynamo §6.2, strategy 3).
#pragma once

#include "protocol/bucket.hpp"
#include "protocol/types.hpp"

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

namespace crema::protocol {

/// On disk and on the wire.
enum class member_state : uint8_t {
  full = 0,
  joining = 1, ///< Not asked for reads, and has no vote, before it has what it is to own.
  leaving = 2, ///< Owns nothing more once its data has been moved; has a vote until then.
  gone = 3,    ///< An operator said that its process is gone for good: like leaving, but nobody waits for it.
};

struct member {
  node_id id{};
  std::string name;
  std::string host;    ///< Replicas of one partition avoid sharing a host while there are enough.
  std::string zone;    ///< Likewise zones; "" is a zone like any other.
  uint32_t weight = 1; ///< Share of vnodes, relative to the others; >= 1.
  uint16_t peer_port = 0, resp_port = 0;
  uint64_t directory = 0; ///< The random id of its data directory; 0: not known, as in the first epoch.
  member_state state = member_state::full;
  uint64_t named = 0; ///< The epoch that first named this directory.

  bool stays() const { return state == member_state::full || state == member_state::joining; }
  bool votes() const { return state == member_state::full || state == member_state::leaving; } ///< On the next epoch.
  friend bool operator==(const member& a, const member& b) {
    return std::tie(a.id, a.name, a.host, a.zone, a.weight, a.peer_port, a.resp_port, a.directory, a.state, a.named) ==
           std::tie(b.id, b.name, b.host, b.zone, b.weight, b.peer_port, b.resp_port, b.directory, b.state, b.named);
  }
  friend bool operator!=(const member& a, const member& b) { return !(a == b); }
};

/// Was a member, and never is again with the data that it had then.
struct former_member {
  node_id id{};
  std::string name;
  uint64_t directory = 0; ///< 0: was never known.
  friend bool operator==(const former_member& a, const former_member& b) {
    return a.id == b.id && a.name == b.name && a.directory == b.directory;
  }
};

/// Placement `groups`: all owners of a partition are the nodes of one group.
struct replica_group {
  std::string name;
  std::vector<node_id> nodes; ///< Ascending.
  friend bool operator==(const replica_group& a, const replica_group& b) {
    return a.name == b.name && a.nodes == b.nodes;
  }
};

/// What is being done to the members, as an operator asked for it.
struct topology_job {
  uint64_t id = 0;                      ///< The epoch that began it.
  std::vector<std::string> changes;     ///< In words: "join n4", ...
  bool paused = false;                  ///< Nothing is moved meanwhile.
  std::vector<member> members_before{}; ///< While joint: what to go back to if it is cancelled.
  std::vector<replica_group> groups_before{};
  friend bool operator==(const topology_job& a, const topology_job& b) {
    return std::tie(a.id, a.changes, a.paused, a.members_before, a.groups_before) ==
           std::tie(b.id, b.changes, b.paused, b.members_before, b.groups_before);
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

/// The agreed topology: who is a member, and who owns what (docs/topology.md). Immutable once published.
///
/// While owners change, a partition has two sets of them. *Joint*: `owners` are read, and writes need a quorum of
/// `owners` and one of `next`. Then `next` become the `owners`, and while some may still read from those before,
/// `former`, writes need a quorum of these as well.
struct ring {
  /// Buckets of the configuration have lower ids.
  static constexpr bucket_id first_of_run_time = 1024;

  uint64_t epoch = 0;
  uint64_t origin = 0;         ///< Of epoch 1: tells clusters of the same name apart. 0 in epoch 1.
  std::vector<member> members; ///< Sorted by id.
  std::vector<former_member> removed;
  uint32_t next_id = 0; ///< No member had this id or a higher one.
  std::vector<replica_group> groups;
  std::vector<bucket> buckets;               ///< Sorted by id.
  bucket_id next_bucket = first_of_run_time; ///< No bucket had this id or a higher one.
  ring_table owners;
  ring_table next;             ///< Empty, unless joint.
  ring_table former;           ///< Empty, or of as many partitions.
  std::vector<uint64_t> since; ///< By partition: the epoch in which its owners, next or former were last changed.
  std::optional<topology_job> job;

  uint32_t partitions() const { return static_cast<uint32_t>(owners.size()); }
  const member* find(node_id id) const;
  const member* find(std::string_view name) const;
  /// The last one of that name.
  const former_member* find_removed(std::string_view name) const;
  const bucket* find_bucket(bucket_id id) const;
  bool joint() const { return !next.empty(); }
  /// The epoch from which on requests for this partition are understood.
  uint64_t since_of(partition_id partition) const { return partition < since.size() ? since[partition] : 0; }

  /// Who is read: the first `n` owners of `partition`, or all there are.
  std::vector<node_id> owners_of(partition_id partition, uint32_t n) const;
  bool owns(node_id node, partition_id partition, uint32_t n) const;
  /// Of whom writes need a quorum too, beside owners_of(): the owners to be, or those that were. Empty: of nobody, also
  /// where they are the same nodes, of whom as many must answer.
  std::vector<node_id> also_written(partition_id partition, copies n) const;
  /// Who has a vnode of the partition: owners, and owners to be.
  std::vector<node_id> holders_of(partition_id partition, copies n) const;
  bool holds(node_id node, partition_id partition, copies n) const;

  /// The preference list: the first `n` owners of `partition`, then every other member as a fallback in rendezvous
  /// order (Thaler & Ravishankar 1998), so that the load of a dead node spreads over all others. Owners to be are no
  /// fallbacks, nor is who joins, leaves or is gone: what it held might go with it.
  std::vector<node_id> preference_list(partition_id partition, copies n) const;
};
using ring_ptr = std::shared_ptr<const ring>;
/// To be called for each next ring: notes which directories it is the first to name.
void note_named(const ring& before, ring& next);
bool operator==(const ring& a, const ring& b);

} // namespace crema::protocol
