// JSON -> cluster_config: which fields there are, their types and their bounds.
#include "config/bucket_settings.hpp"
#include "config/json_reader.hpp"
#include "config/rules.hpp"
#include "config/schema.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

namespace crema::config {

namespace {

using nlohmann::json;

constexpr size_t file_bytes_max = size_t{16} * 1024 * 1024;
constexpr size_t nodes_max = 1024;
constexpr size_t buckets_max = 1024; // As many as there are dbs.
constexpr uint64_t milliseconds_max = 600000;

std::string check_zone(const std::string& zone) { return zone.empty() ? "" : check_name(zone); }

std::string check_path(const std::string& path) {
  if (path.empty())
    return "is empty";
  if (path.size() > 4096)
    return "is too long";
  if (path.find('\0') != std::string::npos)
    return "has a NUL character";
  return {};
}

node_config parse_node(const json& value, const std::string& path, std::vector<problem>& problems) {
  node_config node;
  object_reader reader{value, path, problems};
  reader.require("name", name_allowed);
  reader.require("host", host_allowed);
  reader.string("name", node.name, check_name, name_allowed);
  reader.string("host", node.host, check_host, host_allowed);
  reader.integer("peer_port", node.peer_port, 1, 65535, "a port number");
  reader.integer("resp_port", node.resp_port, 1, 65535, "a port number");
  reader.integer("http_port", node.http_port, 1, 65535, "a port number");
  reader.string("http_host", node.http_host, check_host, host_allowed);
  if (!node.name.empty())
    node.data_dir = "data/" + node.name;
  reader.string("data_dir", node.data_dir, check_path, "a path, absolute or relative to the working directory");
  reader.string("zone", node.zone, check_zone, "0 to 64 letters, digits, '.', '_' or '-'");
  reader.integer("weight", node.weight, 1, 1000, "an integer");
  reader.string("group", node.group, check_name, name_allowed);
  reader.report_unknown();
  return node;
}

bucket_config parse_bucket(const json& value, size_t index, size_t nodes, std::vector<problem>& problems) {
  bucket_config bucket;
  auto path = "buckets[" + std::to_string(index) + "]";
  object_reader reader{value, path, problems};
  reader.require("name", bucket_name_allowed);
  reader.string("name", bucket.name, check_bucket_name, bucket_name_allowed);
  bucket.db = static_cast<bucket_id>(index);
  if (!reader.integer("db", bucket.db, 0, protocol::db_max, "a number"))
    bucket.db = no_db;
  bucket.id = bucket.db;
  read_bucket_kind(reader, bucket.mode, bucket.conflict);
  auto settings = read_bucket_settings(reader);
  resolve_quorum({settings.n, settings.r, settings.w}, nodes, path, bucket, problems);
  bucket.sloppy = settings.sloppy.value_or(bucket.sloppy);
  bucket.durability = settings.durability.value_or(bucket.durability);
  bucket.read_repair = settings.read_repair.value_or(bucket.read_repair);
  reader.report_unknown();
  return bucket;
}

/// @returns the elements of a list of 1 to `max`; none if it is absent or wrong.
const json::array_t& parse_list(object_reader& top, const std::string& name, size_t max,
                                std::vector<problem>& problems) {
  static const json::array_t none;
  const auto* list = top.any(name);
  if (list == nullptr)
    return none;
  auto allowed = "a list of 1 to " + std::to_string(max) + " objects";
  if (!list->is_array()) {
    problems.push_back({name, wrong_type(*list, "a list"), allowed});
    return none;
  }
  if (list->empty() || list->size() > max) {
    problems.push_back({name, "has " + std::to_string(list->size()) + " elements", allowed});
    return none;
  }
  return list->get_ref<const json::array_t&>();
}

void parse_logging(const json& value, cluster_config& config, std::vector<problem>& problems) {
  object_reader reader{value, "logging", problems};
  auto& logging = config.logging;
  reader.choice<std::string>(
      "level", logging.level,
      {{"trace", "trace"}, {"debug", "debug"}, {"info", "info"}, {"warn", "warn"}, {"error", "error"}, {"off", "off"}});
  reader.choice<std::string>("format", logging.format, {{"text", "text"}, {"json", "json"}});
  if (const auto* file = reader.any("file"); file != nullptr && !file->is_null()) {
    logging.file.emplace();
    reader.string("file", *logging.file, check_path, "a path, or null for standard error");
  }
  reader.report_unknown();
}

void parse_storage(const json& value, cluster_config& config, std::vector<problem>& problems) {
  object_reader reader{value, "storage", problems};
  reader.integer("cache_mb", config.storage.cache_mb, 1, 1048576, "megabytes");
  reader.integer("object_cache_mb", config.storage.object_cache_mb, 0, 1048576, "megabytes");
  reader.integer("memtable_mb", config.storage.memtable_mb, 1, 4096, "megabytes");
  reader.integer("background_threads", config.storage.background_threads, 1, 64, "a number");
  reader.integer("shards", config.storage.shards, 0, 64, "a number (0: one per four cores)");
  reader.report_unknown();
}

void parse_limits(const json& value, cluster_config& config, std::vector<problem>& problems) {
  object_reader reader{value, "limits", problems};
  reader.integer("gateway_threads", config.limits.gateway_threads, 0, 64, "a number (0: one per two cores)");
  reader.integer("coordinators", config.limits.coordinators, 0, 64, "a number (0: one per two cores)");
  reader.integer("max_clients", config.limits.max_clients, 1, 1000000, "a number");
  reader.report_unknown();
}

void parse_peers(const json& value, cluster_config& config, std::vector<problem>& problems) {
  object_reader reader{value, "peers", problems};
  auto& peers = config.peers;
  reader.milliseconds("heartbeat_ms", peers.heartbeat, 10, 60000);
  reader.milliseconds("suspect_after_ms", peers.suspect_after, 20, milliseconds_max);
  reader.milliseconds("connect_timeout_ms", peers.connect_timeout, 10, milliseconds_max);
  reader.integer("message_version", peers.message_version, message_version_oldest, message_version_newest,
                 "a version of messages");
  reader.report_unknown();
  if (peers.suspect_after < 2 * peers.heartbeat)
    reader.report("suspect_after_ms",
                  std::to_string(peers.suspect_after.count()) + " is less than two heartbeats of " +
                      std::to_string(peers.heartbeat.count()) + " ms",
                  "at least twice peers.heartbeat_ms");
}

void parse_sync(const json& value, cluster_config& config, std::vector<problem>& problems) {
  object_reader reader{value, "sync", problems};
  reader.milliseconds("interval_ms", config.sync.interval, 10, 60000);
  reader.integer("mb_per_s_max", config.sync.mb_per_s_max, 1, 100000, "MiB per second");
  reader.integer("log_entries_max", config.sync.log_entries_max, 1000, 1'000'000'000, "entries");
  reader.integer("scrub_days", config.sync.scrub_days, 0, 365, "days, 0: only when asked");
  reader.report_unknown();
}

void parse_hints(const json& value, cluster_config& config, std::vector<problem>& problems) {
  object_reader reader{value, "hints", problems};
  uint32_t seconds = static_cast<uint32_t>(config.hints.age_max.count());
  reader.integer("age_max_s", seconds, 1, 31'536'000, "seconds");
  config.hints.age_max = std::chrono::seconds{seconds};
  reader.integer("vnode_mb_max", config.hints.vnode_mb_max, 1, 1'048'576, "MiB");
  reader.report_unknown();
}

void parse_timeouts(const json& value, cluster_config& config, std::vector<problem>& problems) {
  object_reader reader{value, "timeouts", problems};
  reader.milliseconds("read_ms", config.read_timeout, 1, milliseconds_max);
  reader.milliseconds("write_ms", config.write_timeout, 1, milliseconds_max);
  reader.report_unknown();
}

void parse_partitions(object_reader& top, cluster_config& config) {
  if (!top.integer("partitions", config.partitions, 8, 16384, "a power of two"))
    return;
  if ((config.partitions & (config.partitions - 1)) != 0)
    top.report("partitions", std::to_string(config.partitions) + " is not a power of two",
               "a power of two, 8 to 16384");
}

void parse_cluster(const json& value, bool with_nodes, cluster_config& config, std::vector<problem>& problems) {
  object_reader top{value, "", problems};
  top.require("cluster", name_allowed);
  if (with_nodes)
    top.require("nodes", "a list of objects with at least name and host");
  top.string("cluster", config.cluster, check_name, name_allowed);
  parse_partitions(top, config);

  for (const auto& node : parse_list(top, "nodes", nodes_max, problems))
    config.nodes.push_back(parse_node(node, "nodes[" + std::to_string(config.nodes.size()) + "]", problems));
  // Where the nodes are missing or wrong, nothing is said about n: it would only repeat that.
  auto nodes = config.nodes.empty() ? nodes_max : config.nodes.size();
  for (const auto& bucket : parse_list(top, "buckets", buckets_max, problems))
    config.buckets.push_back(parse_bucket(bucket, config.buckets.size(), nodes, problems));
  if (!top.has("buckets")) {
    bucket_config bucket;
    bucket.name = "default";
    resolve_quorum({}, nodes, "buckets[0]", bucket, problems);
    config.buckets.push_back(bucket);
  }

  using section = void (*)(const json&, cluster_config&, std::vector<problem>&);
  const std::pair<const char*, section> sections[] = {
      {"timeouts", parse_timeouts}, {"logging", parse_logging}, {"storage", parse_storage}, {"limits", parse_limits},
      {"peers", parse_peers},       {"sync", parse_sync},       {"hints", parse_hints}};
  for (auto [name, parse] : sections)
    if (const auto* object = top.any(name))
      parse(*object, config, problems);
  top.milliseconds("durability_interval_ms", config.durability_interval, 1, 60000);
  top.report_unknown();
}

load_result unreadable(std::string what, std::string allowed) {
  load_result result;
  result.problems.push_back({"", std::move(what), std::move(allowed)});
  return result;
}

} // namespace

namespace {

load_result parse(std::string_view json_text, const std::string& file, bool with_nodes) {
  load_result result;
  auto tree = read_json(json_text, result.problems);
  if (!tree)
    return result;
  cluster_config config;
  config.file = file;
  parse_cluster(*tree, with_nodes, config, result.problems);
  check_clashes(config, result.problems);
  if (result.problems.empty())
    result.config = std::move(config);
  return result;
}

} // namespace

load_result parse_config(std::string_view json_text, const std::string& file) { return parse(json_text, file, true); }

load_result parse_shape(std::string_view json_text, const std::string& file) { return parse(json_text, file, false); }

std::string shape_of(const cluster_config& config) {
  auto buckets = json::array();
  for (const auto& b : config.buckets) {
    json bucket{{"name", b.name},
                {"db", b.db},
                {"mode", "eventual"},
                {"conflict", b.conflict == conflict_rule::lww ? "lww" : "siblings"}};
    bucket.update(settings_of(b));
    buckets.push_back(std::move(bucket));
  }
  return json{{"cluster", config.cluster},
              {"partitions", config.partitions},
              {"buckets", std::move(buckets)},
              {"timeouts", {{"read_ms", config.read_timeout.count()}, {"write_ms", config.write_timeout.count()}}},
              {"durability_interval_ms", config.durability_interval.count()}}
      .dump(2);
}

load_result load_config(const std::string& file) {
  errno = 0;
  std::ifstream in{file, std::ios::binary};
  std::string text;
  char buffer[65536];
  // A directory opens, and fails at the first read.
  while (in && text.size() <= file_bytes_max) {
    in.read(buffer, sizeof buffer);
    text.append(buffer, static_cast<size_t>(in.gcount()));
  }
  if (text.size() > file_bytes_max)
    return unreadable("is longer than 16 MiB", "a configuration file");
  if (!in.eof())
    return unreadable(std::string{"cannot be read: "} + std::strerror(errno != 0 ? errno : EIO),
                      "a readable JSON file");
  return parse_config(text, file);
}

} // namespace crema::config
