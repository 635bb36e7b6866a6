// A valid configuration for tests, and variations of it.
#pragma once

#include "config/cluster_config.hpp"

#include <nlohmann/json.hpp>

#include <string>

namespace crema::config::test {

/// Three nodes, two buckets, every field given.
inline nlohmann::json valid_document() {
  return nlohmann::json::parse(R"({
    "cluster": "demo",
    "partitions": 256,
    "nodes": [
      {"name": "n1", "host": "10.0.0.1", "peer_port": 7101, "resp_port": 6401, "http_port": 8101,
       "http_host": "127.0.0.1", "data_dir": "data/n1", "zone": "a", "weight": 1},
      {"name": "n2", "host": "10.0.0.2", "peer_port": 7101, "resp_port": 6401, "http_port": 8101,
       "http_host": "10.0.0.2", "data_dir": "data/n2", "zone": "a", "weight": 2},
      {"name": "n3", "host": "10.0.0.3", "peer_port": 7101, "resp_port": 6401, "http_port": 8101,
       "http_host": "0.0.0.0", "data_dir": "/var/lib/crema", "zone": "b", "weight": 1000}
    ],
    "buckets": [
      {"name": "default", "db": 0, "mode": "eventual", "n": 3, "r": 2, "w": 2, "conflict": "lww", "sloppy": true,
       "durability": "interval"},
      {"name": "carts", "db": 1, "mode": "eventual", "n": 3, "r": 1, "w": 3, "conflict": "siblings", "sloppy": false,
       "durability": "fsync", "read_repair": "foreground"}
    ],
    "timeouts": {"read_ms": 1000, "write_ms": 2000},
    "durability_interval_ms": 50,
    "logging": {"level": "debug", "file": "crema.log", "format": "json"},
    "storage": {"cache_mb": 64, "object_cache_mb": 16, "memtable_mb": 8, "background_threads": 1, "shards": 3},
    "limits": {"gateway_threads": 2, "coordinators": 4, "max_clients": 500},
    "peers": {"heartbeat_ms": 100, "suspect_after_ms": 900, "connect_timeout_ms": 700, "message_version": 12},
    "sync": {"interval_ms": 500, "mb_per_s_max": 8, "log_entries_max": 5000, "scrub_days": 30},
    "hints": {"age_max_s": 60, "vnode_mb_max": 32}
  })");
}

/// The valid document with the value at a JSON pointer ("/nodes/0/host") replaced or added.
inline std::string with(const std::string& pointer, const std::string& value) {
  auto document = valid_document();
  document[nlohmann::json::json_pointer{pointer}] = nlohmann::json::parse(value);
  return document.dump();
}

/// The valid document without the member at a JSON pointer.
inline std::string without(const std::string& pointer) {
  auto document = valid_document();
  nlohmann::json::json_pointer where{pointer};
  auto& parent = document[where.parent_pointer()];
  if (parent.is_array())
    parent.erase(std::stoul(where.back()));
  else
    parent.erase(where.back());
  return document.dump();
}

/// All problems, one a line, for the output of a failed test.
inline std::string describe(const load_result& result) {
  std::string text;
  for (const auto& p : result.problems)
    text += to_string("test.json", p) + "\n";
  return text.empty() ? "no problems" : text;
}

} // namespace crema::config::test
