// The clients: each does one thing after another in a loop of its own (reads a register, writes with the context it
// has, grows a set, deletes and creates again, ...), now in bursts, now at leisure. They move between nodes, lose
// patience, reconnect and try again, as real ones do.
#pragma once

#include "apps/simulation/history.hpp"

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace crema::simulation {

class workload {
public:
  struct options {
    size_t clients = 8;
    uint64_t operations_max = 0;                   ///< 0: no limit.
    std::function<void(size_t node)> acknowledged; ///< Called at each write that a node acknowledged. May be empty.
  };
  /// Uses all buckets of the world, also those that come and go.
  workload(world& w, history& h, random_stream random, options opts);
  ~workload();
  void start();
  /// No new operations; those under way may end.
  void stop();
  /// Reads every key that was used in a bucket that is there, at quorum and at all, each through a node of its own. To
  /// be called when the cluster is whole again; these reads must succeed.
  void read_everything();
  /// Writes to some keys (their names begin with `prefix`) of every bucket, through every node; these must succeed.
  void write_once_more(const std::string& prefix);
  /// Reads from each bucket that was dropped and writes to it, through every node.
  void use_dropped();

private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

} // namespace crema::simulation
