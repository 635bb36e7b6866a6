// One dealing of partitions to members: k owners each, from given candidates, with the fewest changes against what was
// before. Part of claim (ring.hpp).
//
// This is a minimum-cost flow (partition -> zone -> host -> member -> sink; a new pair costs 1, an old one nothing),
// solved by successive shortest paths (Ahuja, Magnanti, Orlin: "Network Flows", 1993, §9.7): start from the old pairs,
// and as long as a partition lacks an owner or a member exceeds or misses its quota, shift along the cheapest path. As
// partitions are many and members few, paths are sought in the graph of members, in which an edge a -> b says that some
// partition of a can be given to b instead:
//
//   n4 has 1 too many   n4 -p17-> n2 -p3-> n9   n9 has room: p17 goes from n4 to n2, and p3 from n2 to n9
#pragma once

#include "protocol/claim_spread.hpp"

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
  claim_deal(const claim_spread& spread, uint32_t k, const rows& old, const rows& candidates);

  /// @returns k owners for every partition, in no particular order. Quotas that the candidates do not allow are
  /// exceeded as little as possible.
  rows run();

private:
  static constexpr int8_t no_edge = 2;
  static constexpr uint32_t nobody = UINT32_MAX;

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
  void count_edges(uint32_t p, int32_t by);
  void change(uint32_t p, uint32_t remove, uint32_t add);

  // Stages of run().
  void keep_old();
  void fill_evenly();
  void fill_partition(uint32_t p);
  void balance();
  bool fill_by_search(uint32_t p, bool heed_hosts, bool heed_zones);
  bool search(uint32_t p, bool heed_hosts, bool heed_zones, std::vector<uint32_t>& found, uint32_t& steps) const;

  // Shortest paths. The last node is the sink, through which members between their bounds exchange a unit.
  void distances_from_partition(uint32_t p);
  void distances_from(uint32_t node);
  void relax_all();
  void reach(uint32_t node, int64_t distance, uint32_t from);
  uint32_t nearest_end() const;
  bool shift_to(uint32_t end, uint32_t p);
  uint32_t find_partition(uint32_t a, uint32_t b, int8_t cost);
  bool has_room(uint32_t m) const { return owned_[m].size() < quota_[m].high; }
  bool has_spare(uint32_t m) const { return owned_[m].size() > quota_[m].low; }
  int64_t sink_demand() const;

  const claim_spread& spread_;
  uint32_t k_;
  const rows& old_;
  const rows& candidates_;
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
  std::vector<int64_t> distance_;
  std::vector<uint32_t> from_;
  std::vector<uint32_t> queue_;
  std::vector<bool> queued_;
};

} // namespace crema::protocol
