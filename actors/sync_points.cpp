// Sync points: has everything that this node had at some moment reached its owners? (docs/repair.md)
#include "actors/handoff_state.hpp"

#include <nlohmann/json.hpp>

namespace crema {

namespace {

nlohmann::json progress(handoff_self self, uint64_t id, handoff_state::sync_point& point) {
  auto& st = self->state;
  point.asked = self->clock().now();
  auto waiting_for = nlohmann::json::array();
  if (point.what)
    for (const auto& [node, writes] : st.planner->lacking(*point.what))
      waiting_for.push_back({{"node", st.env->name_of(node)},
                             {"writes", writes},
                             {"linked", node == st.env->self || st.planner->is_linked(node)}});
  return {{"id", id}, {"reached", point.what && waiting_for.empty()}, {"waiting_for", waiting_for}};
}

nlohmann::json answer_to(handoff_self self, uint64_t id) {
  auto& points = self->state.sync_points;
  if (id != 0) {
    auto found = points.find(id);
    if (found == points.end())
      return {{"error", "there is no such sync point: nobody asked about it for a minute, or the node was restarted"}};
    return progress(self, id, found->second);
  }
  if (points.size() == handoff_state::sync_points_max)
    return {{"error", "too many sync points are waited for on this node"}};
  auto& point = points[id = self->state.next_sync_point++];
  point.reports.assign(self->state.shard_latest.size(), 0);
  ask_for_reports(self);
  return progress(self, id, point);
}

} // namespace

void answer_sync_point(handoff_self self, const sync_point_query& query) {
  query.answer(answer_to(self, query.id).dump());
}

void note_report(handoff_self self, size_t shard) {
  auto& st = self->state;
  bool asks = false;
  for (auto& [id, point] : st.sync_points) {
    if (point.what)
      continue;
    point.reports[shard] = static_cast<uint8_t>(std::min(point.reports[shard] + 1, 2));
    auto [least, most] = std::minmax_element(point.reports.begin(), point.reports.end());
    if (*least == 2)
      point.what = st.planner->own_clocks();
    asks |= *least == 1 && *most == 1;
  }
  if (asks) // One that was begun after the sync point, without waiting for the next round.
    ask_for_reports(self);
}

void forget_sync_points(handoff_self self) {
  auto now = self->clock().now();
  auto& points = self->state.sync_points;
  for (auto i = points.begin(); i != points.end();)
    i = now - i->second.asked > handoff_state::sync_point_kept ? points.erase(i) : std::next(i);
}

} // namespace crema
