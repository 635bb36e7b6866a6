// One dealing of partitions to members: k owners each, from given candidates, with the fewest changes against what was
// before. Part of claim (ring.hpp).
//
// This is a minimum-cost flow (partition -> zone -> host -> member -> sink; a new pair costs 1, an old one nothing),
// solved by successive shortest paths (Ahuja, Magnanti, Orlin: "Network Flows", 1993, §9.7): start with as many old
// pairs in every partition as its hosts and zones allow, and as long as a member exceeds or misses its quota, shift
// along the cheapest path. As partitions are many and members few, paths are sought in the graph of members, in which
// an edge a -> b says that some partition of a can be given to b instead:
//
//   n4 has 1 too many   n4 -p17-> n2 -p3-> n9   n9 has room: p17 goes from n4 to n2, and p3 from n2 to n9
#pragma once

#include "protocol/claim_spread.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

namespace crema::protocol {

class claim_deal {
public:
  /// rows[p] = numbers of members.
  using rows = std::vector<std::vector<uint32_t>>;

  /// @param old who had the partition before, in the order in which to keep them.
  /// @param candidates who may own it; empty: everyone.
  /// @param fixed whether all of `old` stay, fewer than k each.
  claim_deal(const claim_spread& spread, uint32_t k, const rows& old, const rows& candidates, bool fixed = false);

  /// @returns k owners for every partition, in no particular order. Quotas that the candidates do not allow are
  /// exceeded as little as possible.
  rows run();

private:
  static constexpr int8_t no_edge = 2;
  static constexpr uint32_t nobody = UINT32_MAX;

  /// Spreads choices that are otherwise equal, so that the partitions of a node have many different co-owners.
  static uint64_t scatter(uint32_t p, uint32_t m);
  static bool contains(const std::vector<uint32_t>& row, uint32_t m) {
    return std::find(row.begin(), row.end(), m) != row.end();
  }

  // What holds for one partition.
  void look_at(uint32_t p);
  void look_away();
  bool was_owner(uint32_t m) const { return old_mark_[m] == mark_; }
  bool is_owner(uint32_t m) const { return owner_mark_[m] == mark_; }
  bool can_add(uint32_t m) const;
  bool can_replace(uint32_t a, uint32_t b) const;
  template <class Function>
  void for_candidates(uint32_t p, Function f) const;

  // Changes.
  void add(uint32_t p, uint32_t m);
  void remove(uint32_t p, uint32_t m);
  void replace(uint32_t p, uint32_t a, uint32_t b);
  void count_edges(uint32_t p, int32_t by);

  // Stages of run().
  void keep_old();
  void complete();
  void complete_by_search(uint32_t p);
  bool search(uint32_t p, bool heed_hosts, bool heed_zones, std::vector<uint32_t>& found, uint32_t& steps) const;

  // Shortest paths (claim_paths.cpp). The last node is the sink, through which members between their bounds exchange a
  // unit.
  void balance();
  void distances_from(uint32_t node);
  void relax_all();
  void reach(uint32_t node, int64_t distance, uint32_t from);
  uint32_t nearest_end() const;
  bool shift_from(uint32_t node);
  bool shift_to(uint32_t end);
  uint32_t find_partition(uint32_t a, uint32_t b, int8_t cost);
  bool has_room(uint32_t m) const { return owned_[m].size() < quota_[m].high; }
  bool has_spare(uint32_t m) const { return owned_[m].size() > quota_[m].low; }
  int64_t sink_demand() const;

  const claim_spread& spread_;
  uint32_t k_;
  const rows& old_;
  const rows& candidates_;
  bool fixed_;
  bool exact_; // No cycle of edges has negative cost. Untrue beyond a flow network, and once quotas were widened.
  uint32_t members_;
  std::vector<claim_bounds> quota_;
  rows owners_;                               // By partition.
  rows place_;                                // place_[p][i] = where p is in owned_[owners_[p][i]].
  rows owned_;                                // By member: its partitions.
  std::vector<std::array<uint32_t, 3>> ways_; // [a * members + b][cost + 1]: partitions by which a -> b at -1, 0, 1.
  std::vector<int8_t> cost_;                  // The least of them, or no_edge.

  // The partition looked at.
  uint32_t mark_ = 0;
  std::vector<uint32_t> old_mark_, owner_mark_;
  std::vector<uint32_t> on_host_, in_zone_;
  const std::vector<uint32_t>* looked_at_ = nullptr;
  uint32_t base_need_ = 0;          // Owners that the lower bounds demand of an empty partition,
  std::vector<uint32_t> host_need_; // and by zone, of its hosts.

  // The last search for paths.
  uint64_t shifts_left_; // Paths that end early must not go on for ever.
  std::vector<int64_t> distance_;
  std::vector<uint32_t> from_;
  std::vector<uint32_t> queue_;
  std::vector<bool> queued_;
};

} // namespace crema::protocol
