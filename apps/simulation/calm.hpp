// For how long a cluster has had time to become level: what a verdict waits for.
#pragma once

#include "apps/simulation/world.hpp"

namespace crema::simulation {

class calm {
public:
  /// @param closed how many writes have been taken for lost so far.
  calm(sim_time now, size_t closed) : since_(now), closed_(closed) {}

  /// To be called at intervals. A node that does not run is a disturbance, and so is a write that was taken for lost:
  /// the others learn that like a write.
  void look(sim_time now, size_t closed, bool all_run) {
    if (closed != closed_ || !all_run)
      since_ = now;
    closed_ = closed;
  }
  bool lasts(sim_time that_long, sim_time now) const { return now - since_ >= that_long; }

private:
  sim_time since_;
  size_t closed_;
};

} // namespace crema::simulation
