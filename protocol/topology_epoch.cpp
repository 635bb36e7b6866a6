#include "protocol/topology_epoch.hpp"

#include <algorithm>
#include <utility>

namespace crema::protocol {

namespace {

/// The row beside the owners of whom writes need a quorum too; empty where it is theirs.
std::vector<node_id> other_row(const ring& x, const ring_table& table, size_t p) {
  return p >= table.size() || table[p] == x.owners[p] ? std::vector<node_id>{} : table[p];
}

} // namespace

ring as_next_epoch(const ring& now, ring after) {
  after.epoch = now.epoch + 1;
  after.since.resize(after.owners.size());
  auto same_numbers = std::all_of(after.buckets.begin(), after.buckets.end(), [&now](const bucket& b) {
    const auto* before = now.find_bucket(b.id);
    return before == nullptr ? !b.other : before->present() == b.present() && before->other == b.other;
  });
  for (size_t p = 0; p < after.owners.size(); ++p) {
    auto same = same_numbers && now.owners[p] == after.owners[p] &&
                other_row(now, now.next, p) == other_row(after, after.next, p) &&
                other_row(now, now.former, p) == other_row(after, after.former, p);
    after.since[p] = same ? now.since_of(static_cast<partition_id>(p)) : after.epoch;
  }
  return after;
}

} // namespace crema::protocol
