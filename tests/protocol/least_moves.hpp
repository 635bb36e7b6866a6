// How few (partition, owner) pairs can move: an oracle for claim, by textbook minimum-cost flow over all partitions
// (successive shortest paths). Slow, and as simple as possible.
#pragma once

#include "protocol/claim_spread.hpp"
#include "protocol/ring.hpp"

#include <algorithm>
#include <cstdint>
#include <deque>
#include <vector>

namespace crema::protocol {

class cheapest_flow {
public:
  explicit cheapest_flow(size_t nodes) : edges_of_(nodes) {}

  void edge(size_t from, size_t to, int64_t capacity, int64_t cost) {
    if (capacity == 0)
      return;
    edges_of_[from].push_back(edges_.size());
    edges_.push_back({to, capacity, cost});
    edges_of_[to].push_back(edges_.size());
    edges_.push_back({from, 0, -cost});
  }

  /// @returns the cost of the largest flow.
  int64_t run(size_t source, size_t sink) {
    int64_t total = 0;
    for (;;) {
      constexpr int64_t far = INT64_MAX / 2;
      std::vector<int64_t> distance(edges_of_.size(), far);
      std::vector<size_t> by(edges_of_.size());
      std::vector<bool> queued(edges_of_.size());
      std::deque<size_t> queue{source};
      distance[source] = 0;
      while (!queue.empty()) {
        auto node = queue.front();
        queue.pop_front();
        queued[node] = false;
        for (auto e : edges_of_[node]) {
          const auto& x = edges_[e];
          if (x.capacity == 0 || distance[node] + x.cost >= distance[x.to])
            continue;
          distance[x.to] = distance[node] + x.cost;
          by[x.to] = e;
          if (!queued[x.to])
            queue.push_back(x.to);
          queued[x.to] = true;
        }
      }
      if (distance[sink] == far)
        return total;
      auto amount = INT64_MAX;
      for (auto node = sink; node != source; node = edges_[by[node] ^ 1].to)
        amount = std::min(amount, edges_[by[node]].capacity);
      for (auto node = sink; node != source; node = edges_[by[node] ^ 1].to) {
        edges_[by[node]].capacity -= amount;
        edges_[by[node] ^ 1].capacity += amount;
      }
      total += amount * distance[sink];
    }
  }

private:
  struct one_edge {
    size_t to;
    int64_t capacity, cost;
  };
  std::vector<one_edge> edges_; // Each followed by its reverse.
  std::vector<std::vector<size_t>> edges_of_;
};

/// @param had who has the partition before. @pre every member is on a host of its own.
inline size_t least_moves(const ring_table& had, const std::vector<member>& members, uint32_t n) {
  constexpr int64_t bound = 1 << 20; // To break one costs more than all moves.
  auto k = std::min(n, static_cast<uint32_t>(members.size()));
  auto spread = spread_owners(members, static_cast<uint32_t>(had.size()), k);
  auto zones = spread.zones.size();
  cheapest_flow flow(2 + members.size() + had.size() * (1 + zones));
  auto within = [&](size_t from, size_t to, claim_bounds x) {
    flow.edge(from, to, x.low, -bound);
    flow.edge(from, to, int64_t{x.high} - x.low, 0);
  };
  for (size_t m = 0; m < members.size(); ++m) {
    within(2 + m, 1, spread.quota[m]);
    flow.edge(2 + m, 1, static_cast<int64_t>(had.size()), bound);
  }
  for (size_t p = 0; p < had.size(); ++p) {
    auto partition = 2 + members.size() + p * (1 + zones);
    flow.edge(0, partition, k, 0);
    for (size_t z = 0; z < zones; ++z)
      within(partition, partition + 1 + z, spread.zones[z]);
    for (size_t m = 0; m < members.size(); ++m) {
      auto has = std::find(had[p].begin(), had[p].end(), members[m].id) != had[p].end();
      flow.edge(partition + 1 + spread.zone_of[m], 2 + m, 1, has ? 0 : 1);
    }
  }
  auto cost = flow.run(0, 1) % bound;
  return static_cast<size_t>(cost < 0 ? cost + bound : cost);
}

} // namespace crema::protocol
