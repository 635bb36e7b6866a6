#include "actors/backend.hpp"

#include <functional>

namespace crema {

void actor_backend::submit(client_batch batch) {
  // One sink, one coordinator: the batches of a gateway thread stay whole.
  auto at = std::hash<const void*>{}(batch.sink.get()) / 64 % coordinators_.size();
  caf::anon_send(coordinators_[at], std::move(batch));
}

void actor_backend::status(std::function<void(std::string json)> answer) {
  caf::anon_send(node_, status_query{std::move(answer)});
}

void actor_backend::sync_point(uint64_t id, std::function<void(std::string json)> answer) {
  caf::anon_send(node_, sync_point_query{id, std::move(answer)});
}

void actor_backend::repair(repair_order order, std::function<void(std::string json)> answer) {
  caf::anon_send(node_, repair_query{order, std::move(answer)});
}

void actor_backend::topology(topology_order order, std::function<void(std::string json)> answer) {
  caf::anon_send(node_, topology_query{std::move(order), std::move(answer)});
}

void actor_backend::count_keys(bucket_id bucket,
                               std::function<void(std::optional<uint64_t> count, std::string error)> answer) {
  caf::anon_send(node_, count_query{bucket, std::move(answer)});
}

} // namespace crema
