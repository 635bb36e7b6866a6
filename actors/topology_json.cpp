#include "actors/ring_manager.hpp"

#include <fmt/format.h>

namespace crema {

namespace {

const char* to_string(protocol::member_state state) {
  switch (state) {
  case protocol::member_state::full:
    return "member";
  case protocol::member_state::joining:
    return "joining";
  case protocol::member_state::leaving:
    return "leaving";
  case protocol::member_state::gone:
    return "gone";
  }
  return "?";
}

std::string name_of(const protocol::ring& ring, node_id id) {
  const auto* m = ring.find(id);
  return m != nullptr ? m->name : "?";
}

const char* phase_of(const protocol::ring& ring) {
  return ring.joint() ? "moving" : !ring.former.empty() ? "settling" : "stable";
}

/// Names of owners, by partition.
nlohmann::json table_json(const protocol::ring& ring, const protocol::ring_table& table) {
  auto rows = nlohmann::json::array();
  for (const auto& owners : table) {
    auto row = nlohmann::json::array();
    for (auto o : owners)
      row.push_back(name_of(ring, o));
    rows.push_back(std::move(row));
  }
  return rows;
}

nlohmann::json job_json(const protocol::ring& ring, const protocol::topology_state& state,
                        const std::map<node_id, protocol::node_usage>& usage, const protocol::move_pace& pace) {
  if (!ring.job)
    return nullptr;
  auto all = protocol::progress_of(ring, state, usage);
  auto left = pace.time_left();
  return {{"id", ring.job->id},
          {"changes", ring.job->changes},
          {"paused", ring.job->paused},
          {"vnodes_to_get", all.to_get},
          {"vnodes_got", all.got},
          {"vnodes_to_hand_over", all.former},
          {"bytes_to_get", all.bytes_to_get},
          {"bytes_got", all.bytes_got},
          {"vnodes_per_second", pace.vnodes_per_second()},
          {"ms_left", left ? nlohmann::json(left->count()) : nlohmann::json(nullptr)},
          {"waits_for", protocol::waits_for(ring, state)}};
}

protocol::node_usage usage_of(const std::map<node_id, protocol::node_usage>& usage, node_id node) {
  auto found = usage.find(node);
  return found != usage.end() ? found->second : protocol::node_usage{};
}

} // namespace

nlohmann::json to_json(const protocol::bucket& b, bool joint) {
  nlohmann::json result{
      {"name", b.name},
      {"db", b.db},
      {"mode", "eventual"},
      {"n", b.n},
      {"r", b.r},
      {"w", b.w},
      {"conflict", b.conflict == conflict_rule::lww ? "lww" : "siblings"},
      {"quorum", b.sloppy ? "sloppy" : "strict"},
      {"durability", b.durability == durability::fsync ? "fsync" : "interval"},
      {"read_repair", b.read_repair == protocol::read_repair::foreground ? "foreground" : "background"}};
  if (b.other && joint)
    result["next"] = {{"n", b.other->n}, {"r", b.other->r}, {"w", b.other->w}};
  return result;
}

nlohmann::json error_json(const std::string& why) { return {{"error", why}}; }

std::string describe(const protocol::ring& ring) {
  std::string changes;
  if (ring.job)
    for (const auto& c : ring.job->changes)
      changes += (changes.empty() ? ": " : ", ") + c;
  return fmt::format("{} members, {} buckets, {}{}{}", ring.members.size(), ring.buckets.size(), phase_of(ring),
                     changes, ring.job && ring.job->paused ? " (paused)" : "");
}

nlohmann::json to_json(const protocol::ring& ring, const protocol::topology_state& state,
                       const config::cluster_config& config, const std::map<node_id, protocol::node_usage>& usage,
                       const protocol::move_pace& pace) {
  auto members = nlohmann::json::array();
  std::map<node_id, size_t> owns, is_to_own;
  for (const auto& owners : ring.owners)
    for (auto o : owners)
      ++owns[o];
  for (const auto& owners : ring.next)
    for (auto o : owners)
      ++is_to_own[o];
  auto epoch_of = [&state](node_id node) {
    auto x = state.progress.find(node);
    return x != state.progress.end() ? x->second.epoch : 0;
  };
  for (const auto& m : ring.members) {
    members.push_back({{"name", m.name},
                       {"state", to_string(m.state)},
                       {"host", m.host},
                       {"peer_port", m.peer_port},
                       {"resp_port", m.resp_port},
                       {"zone", m.zone},
                       {"weight", m.weight},
                       {"partitions", owns[m.id]},
                       {"partitions_next", ring.joint() ? is_to_own[m.id] : owns[m.id]},
                       {"stored", usage_of(usage, m.id).stored},
                       {"disk_free", usage_of(usage, m.id).disk_free},
                       {"epoch", epoch_of(m.id)}});
  }
  auto buckets = nlohmann::json::array();
  for (const auto& b : ring.buckets)
    buckets.push_back(to_json(b, ring.joint()));
  auto groups = nlohmann::json::array();
  for (const auto& g : ring.groups) {
    auto nodes = nlohmann::json::array();
    for (auto n : g.nodes)
      nodes.push_back(name_of(ring, n));
    groups.push_back({{"name", g.name}, {"nodes", std::move(nodes)}});
  }
  return {{"cluster", config.cluster},
          {"epoch", ring.epoch},
          {"majority_knows", protocol::known_to_majority(ring, epoch_of)},
          {"phase", phase_of(ring)},
          {"members", std::move(members)},
          {"groups", std::move(groups)},
          {"owners", table_json(ring, ring.owners)},
          {"next", table_json(ring, ring.next)},
          {"job", job_json(ring, state, usage, pace)},
          {"buckets", std::move(buckets)}};
}

nlohmann::json to_json(const protocol::topology_plan& plan, const protocol::ring& now,
                       const std::map<node_id, protocol::node_usage>& usage, uint64_t bytes_per_second) {
  auto transfers = nlohmann::json::array();
  uint64_t bytes = 0;
  std::map<node_id, uint64_t> gets;
  for (const auto& t : plan.transfers) {
    transfers.push_back({{"from", name_of(plan.after, t.from)},
                         {"to", name_of(plan.after, t.to)},
                         {"partitions", t.partitions},
                         {"bytes", t.bytes}});
    bytes += t.bytes;
    gets[t.to] += t.bytes;
  }
  auto seconds = protocol::time_to_copy(plan.transfers, bytes_per_second);
  auto nodes = nlohmann::json::array();
  for (const auto& n : plan.nodes) // Some may be in one of them only.
    nodes.push_back({{"name", name_of(plan.after.find(n.id) != nullptr ? plan.after : now, n.id)},
                     {"before", n.before},
                     {"after", n.after},
                     {"stored", usage_of(usage, n.id).stored},
                     {"bytes_to_get", gets[n.id]},
                     {"disk_free", usage_of(usage, n.id).disk_free}});
  nlohmann::json changes = plan.after.job ? plan.after.job->changes : std::vector<std::string>{};
  return {{"epoch", now.epoch},
          {"next_epoch", plan.after.epoch},
          {"changes", std::move(changes)},
          {"transfers", std::move(transfers)},
          {"bytes", bytes},
          {"bytes_per_second_max", bytes_per_second},
          {"seconds", seconds ? nlohmann::json(seconds->count()) : nlohmann::json(nullptr)},
          {"moved", plan.moved},
          {"added", plan.added},
          {"added_at_least", plan.added_at_least},
          {"lost", plan.lost},
          {"nodes", std::move(nodes)},
          {"warnings", plan.warnings}};
}

} // namespace crema
