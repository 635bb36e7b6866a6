// Is a peer up? Two things must hold: the transport has a link to it, and its heartbeats arrive as they used to
// (phi-accrual: Hayashibara et al., "The φ Accrual Failure Detector", SRDS 2004). A pause of the observer itself (a
// stopped process, a suspended machine) is not held against its peers.
#pragma once

#include "protocol/types.hpp"

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <vector>

namespace crema::protocol {

/// Monotonic time since some fixed start.
using monotonic = std::chrono::nanoseconds;

class failure_detector {
public:
  struct options {
    std::chrono::milliseconds heartbeat_interval{250};
    double phi_down = 8.0;                       ///< Suspicion level at which a peer counts as down.
    std::chrono::milliseconds silence_max{2000}; ///< Down after this much silence whatever phi says.
    std::chrono::milliseconds silence_min{1000}; ///< Never down by phi before this much silence.
    size_t window = 100;                         ///< Inter-arrival times remembered per peer.
  };
  /// A peer went up or down, and why, in words for the log.
  struct change {
    node_id node;
    bool up;
    std::string why;
  };

  explicit failure_detector(options opts);

  /// The transport has a link to `node`. It is not up before it is heard.
  std::vector<change> linked(node_id node, monotonic now);
  /// The link is lost: down at once. `why` as the transport says.
  std::vector<change> unlinked(node_id node, std::string why, monotonic now);
  /// A heartbeat, or anything else that proves that the peer's actors run: a linked peer is up.
  std::vector<change> heard(node_id node, monotonic now);
  /// To be called every heartbeat interval. If the last call is longer ago than two intervals, the observer itself was
  /// paused and the time it missed does not count as silence of its peers.
  std::vector<change> tick(monotonic now);

  bool up(node_id node) const;
  /// The present suspicion level of a linked peer; infinity for others.
  double phi(node_id node, monotonic now) const;

private:
  struct peer {
    bool up = false;
    monotonic last{};             // When it was heard (or linked).
    std::deque<double> intervals; // Between what was heard, in seconds; never empty once linked.
  };
  double suspicion(const peer& x, monotonic now) const;
  void absorb_pause(monotonic now);

  options options_;
  std::map<node_id, peer> peers_; // Linked ones.
  monotonic last_tick_{};
  bool ticked_ = false;
};

} // namespace crema::protocol
