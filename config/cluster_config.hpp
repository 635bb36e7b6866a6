// The configuration: one JSON file describes the cluster, and every host gets the same file (README, "Configuration").
#pragma once

#include "protocol/bucket.hpp"
#include "protocol/message_version.hpp"
#include "protocol/types.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace crema::config {

struct node_config {
  std::string name;
  std::string host; ///< Peer and RESP ports bind to it. Numeric address or host name.
  uint16_t peer_port = 7101;
  uint16_t resp_port = 6401;
  uint16_t http_port = 8101;
  std::string http_host = "127.0.0.1";
  std::string data_dir; ///< Default "data/<name>"; relative to the working directory.
  std::string zone;     ///< Default "".
  uint32_t weight = 1;  ///< 1..1000.
  std::string group;    ///< Placement `groups`: all nodes have one, or none has (then it is "").
};

using protocol::bucket_mode;
/// Default: n = min(3, nodes), r and w a majority of n; db: its place in the list, from 0.
using bucket_config = protocol::bucket;

struct cluster_config {
  std::string file; ///< Where it came from, for messages.
  std::string cluster;
  uint32_t partitions = 256;
  std::vector<node_config> nodes;
  std::vector<bucket_config> buckets; ///< Default: one bucket "default", db 0.
  std::chrono::milliseconds read_timeout{1000};
  std::chrono::milliseconds write_timeout{2000};
  std::chrono::milliseconds durability_interval{100};
  struct {
    std::string level = "info";      ///< trace, debug, info, warn, error, off.
    std::optional<std::string> file; ///< null: standard error.
    std::string format = "text";     ///< text or json.
  } logging;
  struct {
    uint32_t cache_mb = 32;        ///< RocksDB block cache.
    uint32_t object_cache_mb = 32; ///< Objects read or written lately, ready to be returned.
    uint32_t memtable_mb = 16;     ///< Per column family.
    uint32_t background_threads = 2;
    uint32_t shards = 0; ///< Replica actors per node; 0: one per four cores, at least 1.
  } storage;
  struct {
    uint32_t gateway_threads = 0; ///< 0: one per two cores, at least 1.
    uint32_t coordinators = 0;    ///< 0: one per two cores, at least 1.
    uint32_t max_clients = 10000;
  } limits;
  struct {
    std::chrono::milliseconds heartbeat{250};
    std::chrono::milliseconds suspect_after{2000}; ///< Silence after which a peer counts as down.
    std::chrono::milliseconds connect_timeout{1000};
    uint16_t message_version = message_version_newest; ///< The newest that is spoken.
  } peers;

  struct {
    std::chrono::milliseconds interval{1000}; ///< Owners compare what they know; the difference is fetched.
    uint32_t mb_per_s_max = 32;               ///< Sync reads and writes at most so much per second on each node.
    uint32_t log_entries_max =
        200'000;             ///< Per vnode: an owner that is away and lacks more is refilled when it is back.
    uint32_t scrub_days = 7; ///< Owners compare all that they hold so often; 0: only when asked.
  } sync;
  struct {
    std::chrono::seconds age_max{10800}; ///< A temporary vnode waits so long for owners that are away.
    uint32_t vnode_mb_max = 256;         ///< And until it has grown so large.
  } hints;

  const node_config* find_node(std::string_view name) const;
  const bucket_config* find_bucket(std::string_view name_or_db) const;
};

/// One thing that is wrong with a configuration.
struct problem {
  std::string path;    ///< Of the field: "nodes[1].peer_port", "buckets[0].r"; "" for the file itself.
  std::string what;    ///< "70000 is out of range".
  std::string allowed; ///< "a port number, 1 to 65535".
};

/// "cluster.json: nodes[1].peer_port: 70000 is out of range (allowed: a port number, 1 to 65535)"
std::string to_string(const std::string& file, const problem& p);

struct load_result {
  std::optional<cluster_config> config; ///< Present if and only if `problems` is empty.
  std::vector<problem> problems;        ///< All that were found, not only the first.
};

/// Parses and checks all that can be checked without looking at this machine: types, unknown fields (with the nearest
/// known name), ranges, duplicates, n > nodes, r or w > n, partitions, modes that are not available. Never throws.
/// @param file for messages only.
load_result parse_config(std::string_view json_text, const std::string& file);
/// What all nodes share, without the nodes, as JSON text: a node that joins is told so what it must not know from a
/// file.
std::string shape_of(const cluster_config& config);
/// The reverse; checks like parse_config.
load_result parse_shape(std::string_view json_text, const std::string& file);
/// Reads the file, then parse_config. Files above 16 MiB are refused.
load_result load_config(const std::string& file);

/// What `crema node` without a file runs: one node "n1" on 127.0.0.1, cluster "local", data in ./crema-data.
cluster_config single_node_config();

/// A digest of everything that all nodes must agree on (cluster, partitions, members with zone, weight and group,
/// buckets with their n, conflict rule and db): peers with another one are refused at the handshake.
uint64_t fingerprint(const cluster_config& config);
/// The same without the members, which may have changed since.
uint64_t fingerprint_without_nodes(const cluster_config& config);

} // namespace crema::config
