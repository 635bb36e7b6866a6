// What claim aims at: how many of a partition's k owners each host and each zone may hold, and how many partitions each
// member should own. Part of claim (ring.hpp).
#pragma once

#include "protocol/ring.hpp"

#include <cstdint>
#include <vector>

namespace crema::protocol {

/// Both included.
struct claim_bounds {
  uint32_t low = 0;
  uint32_t high = 0;
};

/// Members, hosts and zones are numbered from 0; members in the order of their ids.
struct claim_spread {
  bool nested = true;            ///< Every host lies in one zone.
  std::vector<uint32_t> host_of; ///< By member.
  std::vector<uint32_t> zone_of;
  std::vector<claim_bounds> hosts; ///< Owners of one partition on this host.
  std::vector<claim_bounds> zones; ///< Likewise in this zone.
  std::vector<claim_bounds> quota; ///< Partitions of a member: its fair share, rounded down and up.
  std::vector<double> share;       ///< Its fair share.
};

/// Owners of a partition are spread as evenly over hosts as possible (one each while there are k), and within that as
/// evenly over zones; shares are proportional to weight as far as this spread allows.
/// @param members sorted by id. @pre 1 <= k <= members.size()
claim_spread spread_owners(const std::vector<member>& members, uint32_t partitions, uint32_t k);

} // namespace crema::protocol
