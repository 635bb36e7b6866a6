#include "gateway/options.hpp"

#include <algorithm>
#include <charconv>

namespace crema::gateway {

const protocol::bucket* cluster_view::find_bucket(std::string_view name_or_db) const {
  for (const auto& bucket : buckets)
    if (bucket.name == name_or_db)
      return &bucket;
  uint16_t db = 0;
  const auto* end = name_or_db.data() + name_or_db.size();
  auto [stop, failure] = std::from_chars(name_or_db.data(), end, db);
  if (failure != std::errc{} || stop != end)
    return nullptr;
  auto found = std::find_if(buckets.begin(), buckets.end(), [db](const auto& b) { return b.db == db; });
  return found == buckets.end() ? nullptr : &*found;
}

const protocol::bucket* cluster_view::find_bucket(bucket_id id) const {
  auto found = std::find_if(buckets.begin(), buckets.end(), [id](const auto& b) { return b.id == id; });
  return found == buckets.end() ? nullptr : &*found;
}

const protocol::bucket& cluster_view::default_bucket() const {
  auto first = std::find_if(buckets.begin(), buckets.end(), [](const auto& b) { return b.db == 0; });
  return first == buckets.end() ? buckets.front() : *first;
}

cluster_view view_of(const protocol::ring& ring) {
  cluster_view view;
  view.buckets = ring.buckets;
  for (const auto& m : ring.members)
    view.nodes.push_back({m.name, m.host, m.resp_port});
  return view;
}

} // namespace crema::gateway
