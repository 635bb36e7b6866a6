#include "config/cluster_config.hpp"

#include "protocol/bytes.hpp"

#include <xxhash.h>

#include <algorithm>
#include <charconv>

namespace crema::config {

namespace {

/// Pointers to the elements, sorted by name: an agreement must not depend on the order in a file.
template <class T>
std::vector<const T*> sorted_by_name(const std::vector<T>& elements) {
  std::vector<const T*> result;
  result.reserve(elements.size());
  for (const auto& element : elements)
    result.push_back(&element);
  std::sort(result.begin(), result.end(), [](const T* a, const T* b) { return a->name < b->name; });
  return result;
}

template <class T>
const T* find_name(const std::vector<T>& elements, std::string_view name) {
  auto found = std::find_if(elements.begin(), elements.end(), [&](const T& x) { return x.name == name; });
  return found == elements.end() ? nullptr : &*found;
}

} // namespace

const node_config* cluster_config::find_node(std::string_view name) const { return find_name(nodes, name); }

const bucket_config* cluster_config::find_bucket(std::string_view name_or_db) const {
  if (const auto* bucket = find_name(buckets, name_or_db))
    return bucket;
  bucket_id db = 0;
  const auto* end = name_or_db.data() + name_or_db.size();
  auto [stop, error] = std::from_chars(name_or_db.data(), end, db);
  if (error != std::errc{} || stop != end)
    return nullptr;
  auto found = std::find_if(buckets.begin(), buckets.end(), [&](const bucket_config& x) { return x.db == db; });
  return found == buckets.end() ? nullptr : &*found;
}

std::string to_string(const std::string& file, const problem& p) {
  auto result = file + ": ";
  if (!p.path.empty())
    result += p.path + ": ";
  result += p.what;
  if (!p.allowed.empty())
    result += " (allowed: " + p.allowed + ")";
  return result;
}

cluster_config single_node_config() {
  cluster_config config;
  config.file = "built-in configuration";
  config.cluster = "local";
  node_config node;
  node.name = "n1";
  node.host = "127.0.0.1";
  node.data_dir = "crema-data";
  config.nodes.push_back(std::move(node));
  bucket_config bucket;
  bucket.name = "default";
  bucket.n = bucket.r = bucket.w = 1;
  config.buckets.push_back(std::move(bucket));
  return config;
}

namespace {

/// Compared between nodes: a change of this layout needs another first byte.
uint64_t fingerprint_of(const cluster_config& config, const std::vector<node_config>& nodes) {
  std::string text;
  protocol::byte_writer out{text};
  auto grouped = std::any_of(nodes.begin(), nodes.end(), [](const auto& node) { return !node.group.empty(); });
  out.u8(grouped ? 2 : 1);
  out.bytes(config.cluster);
  out.varint(config.partitions);
  out.varint(nodes.size());
  for (const auto* node : sorted_by_name(nodes)) {
    out.bytes(node->name);
    out.bytes(node->host); // The ring keeps copies on distinct hosts.
    out.bytes(node->zone);
    out.varint(node->weight);
    if (grouped)
      out.bytes(node->group);
  }
  out.varint(config.buckets.size());
  for (const auto* bucket : sorted_by_name(config.buckets)) {
    out.bytes(bucket->name);
    out.varint(bucket->db);
    out.varint(bucket->n);
    out.u8(static_cast<uint8_t>(bucket->mode));
    out.u8(static_cast<uint8_t>(bucket->conflict));
  }
  return XXH3_64bits(text.data(), text.size());
}

} // namespace

uint64_t fingerprint(const cluster_config& config) { return fingerprint_of(config, config.nodes); }

uint64_t fingerprint_without_nodes(const cluster_config& config) { return fingerprint_of(config, {}); }

} // namespace crema::config
