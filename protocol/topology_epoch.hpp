// What every new epoch of the ring has in common. Part of topology_plan.hpp.
#pragma once

#include "protocol/ring.hpp"

namespace crema::protocol {

/// `after` as the epoch that follows `now`: with its number, and `since` of every partition of which the owners, those
/// to be or those that were differ, be it in their order only: a bucket with fewer owners sees other ones then.
ring as_next_epoch(const ring& now, ring after);

} // namespace crema::protocol
