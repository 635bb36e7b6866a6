#include "actors/node_setup.hpp"

#include "actors/interfaces.hpp"
#include "protocol/claim_groups.hpp"
#include "protocol/ring_encoding.hpp"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <map>
#include <memory>

namespace crema {

std::vector<protocol::member> members_of(const config::cluster_config& config) {
  std::vector<protocol::member> members;
  for (const auto& n : config.nodes)
    members.push_back({node_id{}, n.name, n.host, n.zone, n.weight, n.peer_port, n.resp_port});
  std::sort(members.begin(), members.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  for (size_t i = 0; i < members.size(); ++i)
    members[i].id = static_cast<node_id>(i);
  return members;
}

namespace {

void take_buckets(protocol::ring& ring, const config::cluster_config& config) {
  ring.buckets = config.buckets;
  std::sort(ring.buckets.begin(), ring.buckets.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
}

std::vector<protocol::replica_group> groups_of(const config::cluster_config& config,
                                               const std::vector<protocol::member>& members) {
  std::map<std::string, protocol::replica_group> groups;
  for (const auto& m : members) // By id.
    if (const auto& group = config.find_node(m.name)->group; !group.empty())
      groups.try_emplace(group, protocol::replica_group{group, {}}).first->second.nodes.push_back(m.id);
  std::vector<protocol::replica_group> result;
  result.reserve(groups.size());
  for (auto& [name, group] : groups)
    result.push_back(std::move(group));
  return result;
}

size_t fewest_owners(const protocol::ring& ring) {
  return std::min_element(ring.owners.begin(), ring.owners.end(),
                          [](const auto& a, const auto& b) { return a.size() < b.size(); })
      ->size();
}

} // namespace

protocol::ring claim_ring(const config::cluster_config& config) {
  protocol::ring ring;
  ring.epoch = 1;
  ring.members = members_of(config);
  uint32_t n = 1;
  for (const auto& b : config.buckets)
    n = std::max(n, b.n);
  ring.groups = groups_of(config, ring.members);
  ring.owners = ring.groups.empty() ? protocol::claim({}, ring.members, config.partitions, n)
                                    : protocol::claim_groups({}, ring.members, ring.groups, config.partitions);
  ring.since.assign(ring.owners.size(), ring.epoch);
  ring.next_id = static_cast<uint32_t>(ring.members.size());
  take_buckets(ring, config);
  return ring;
}

ring_result load_or_claim_ring(storage::store& store, const config::cluster_config& config) {
  auto agreed = load_ring_record(store);
  if (!agreed.error.empty())
    return {nullptr, agreed.error};
  if (agreed.record && agreed.record->number > 1) // Members and all are what was agreed on, not what the file says.
    return {std::make_shared<protocol::ring>(*protocol::decode_ring(agreed.record->value)), {}};
  auto stored = store.get_meta("ring");
  if (!stored.what.ok())
    return {nullptr, stored.what.error};
  if (!stored.object) {
    auto ring = std::make_shared<protocol::ring>(claim_ring(config));
    auto batch = store.make_batch();
    batch->put_meta("ring", protocol::encode_ring(*ring));
    auto written = store.write(*batch);
    if (written.ok())
      written = store.sync();
    if (!written.ok())
      return {nullptr, written.error};
    return {ring, {}};
  }
  auto ring = protocol::decode_ring(*stored.object);
  if (!ring)
    return {nullptr, "the stored ring does not decode"};
  auto owners = fewest_owners(*ring);
  for (const auto& b : config.buckets)
    if (b.n > owners)
      return {
          nullptr,
          fmt::format("buckets: \"{}\" wants n = {}, but this cluster's ring was dealt out for {} owners when it was "
                      "created (allowed: n up to {})",
                      b.name, b.n, owners, owners),
          true};
  // Addresses may change (a node moves); names, zones, weights and partitions were checked with the directory.
  auto now = members_of(config);
  for (auto& m : ring->members)
    for (const auto& c : now)
      if (c.name == m.name) {
        m.host = c.host;
        m.peer_port = c.peer_port;
        m.resp_port = c.resp_port;
      }
  take_buckets(*ring, config);
  return {std::make_shared<protocol::ring>(std::move(*ring)), {}};
}

std::string adopt_ring(storage::store& store, const protocol::ring& ring) {
  auto record = protocol::agreement_record::first(protocol::encode_ring(ring));
  record.number = ring.epoch;
  record.cast.number = ring.epoch + 1;
  return save_ring_record(store, protocol::encode(record)).error;
}

namespace {
constexpr const char* left_name = "left";
} // namespace

bool has_left(const storage::store& store, const protocol::ring& ring, const std::string& name, uint64_t directory) {
  auto in_use = ring.find(name) != nullptr; // By this node, or by another one.
  const auto& all = ring.removed;
  if (std::none_of(all.begin(), all.end(), [&](const auto& m) { return m.name == name && m.directory == directory; }))
    return !in_use;
  return in_use || ring.find_removed(name)->directory != directory || store.get_meta(left_name).object.has_value();
}

storage::status note_left(storage::store& store) {
  auto batch = store.make_batch();
  batch->put_meta(left_name, "1");
  auto written = store.write(*batch);
  return written.ok() ? store.sync() : written;
}

namespace {

/// What tells the first ring of a cluster, and so the cluster, from all others. A host may be written in several ways;
/// addresses take no part in it.
uint64_t origin_of(const config::cluster_config& config, protocol::ring first) {
  for (auto& m : first.members) {
    m.host.clear();
    m.peer_port = m.resp_port = 0;
  }
  first.buckets.clear(); // What of them must be the same everywhere is in the fingerprint.
  auto text = fmt::format("{} {}", config::fingerprint(config), protocol::encode_ring(first));
  return std::max<uint64_t>(XXH3_64bits(text.data(), text.size()), 1);
}

} // namespace

std::shared_ptr<node_env> make_env(config::cluster_config config, const std::string& name, protocol::ring_ptr ring) {
  auto env = std::make_shared<node_env>();
  env->name = name;
  env->config = std::move(config);
  for (const auto& m : ring->members)
    if (m.name == name)
      env->self = m.id;
  if (const auto* removed = ring->find_removed(name); removed != nullptr && ring->find(name) == nullptr)
    env->self = removed->id;
  env->origin = ring->origin != 0 ? ring->origin : origin_of(env->config, *ring);
  auto agreed = fmt::format("{} {}", config::fingerprint_without_nodes(env->config), env->origin);
  env->fingerprint = XXH3_64bits(agreed.data(), agreed.size());
  env->speaks.newest = env->config.peers.message_version;
  env->first_ring = std::move(ring);
  return env;
}

} // namespace crema
