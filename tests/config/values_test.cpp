// What a good document means: its values, the defaults, the examples, lookups, and the fingerprint of single changes.
#include "tests/config/config_documents.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>

#include <unistd.h>

using namespace crema;
using namespace crema::config;
using namespace crema::config::test;
using namespace std::chrono_literals;

namespace {

cluster_config parse_valid(const std::string& text) {
  auto result = parse_config(text, "test.json");
  EXPECT_TRUE(result.config) << describe(result);
  return result.config.value_or(cluster_config{});
}

const std::string two_fields = R"({"cluster": "c", "nodes": [{"name": "a", "host": "h"}, {"name": "b", "host": "i"},
  {"name": "c", "host": "j"}, {"name": "d", "host": "k"}])";

} // namespace

TEST(ConfigValues, EveryFieldIsRead) {
  auto config = parse_valid(valid_document().dump());
  EXPECT_EQ(config.file, "test.json");
  EXPECT_EQ(config.cluster, "demo");
  EXPECT_EQ(config.partitions, 256U);
  ASSERT_EQ(config.nodes.size(), 3U);
  const auto& n3 = config.nodes[2];
  EXPECT_EQ(n3.name, "n3");
  EXPECT_EQ(n3.host, "10.0.0.3");
  EXPECT_EQ(n3.peer_port, 7101);
  EXPECT_EQ(n3.resp_port, 6401);
  EXPECT_EQ(n3.http_port, 8101);
  EXPECT_EQ(n3.http_host, "0.0.0.0");
  EXPECT_EQ(n3.data_dir, "/var/lib/crema");
  EXPECT_EQ(n3.zone, "b");
  EXPECT_EQ(n3.weight, 1000U);
  ASSERT_EQ(config.buckets.size(), 2U);
  const auto& carts = config.buckets[1];
  EXPECT_EQ(carts.name, "carts");
  EXPECT_EQ(carts.db, 1);
  EXPECT_EQ(carts.mode, bucket_mode::eventual);
  EXPECT_EQ(carts.n, 3U);
  EXPECT_EQ(carts.r, 1U);
  EXPECT_EQ(carts.w, 3U);
  EXPECT_EQ(carts.conflict, conflict_rule::siblings);
  EXPECT_FALSE(carts.sloppy);
  EXPECT_EQ(carts.durability, durability::fsync);
  EXPECT_EQ(carts.read_repair, protocol::read_repair::foreground);
  EXPECT_EQ(config.read_timeout, 1000ms);
  EXPECT_EQ(config.write_timeout, 2000ms);
  EXPECT_EQ(config.durability_interval, 50ms);
  EXPECT_EQ(config.logging.level, "debug");
  EXPECT_EQ(config.logging.file, "crema.log");
  EXPECT_EQ(config.logging.format, "json");
  EXPECT_EQ(config.storage.cache_mb, 64U);
  EXPECT_EQ(config.storage.object_cache_mb, 16U);
  EXPECT_EQ(config.storage.memtable_mb, 8U);
  EXPECT_EQ(config.storage.background_threads, 1U);
  EXPECT_EQ(config.storage.shards, 3U);
  EXPECT_EQ(config.limits.gateway_threads, 2U);
  EXPECT_EQ(config.limits.coordinators, 4U);
  EXPECT_EQ(config.limits.max_clients, 500U);
  EXPECT_EQ(config.peers.heartbeat, 100ms);
  EXPECT_EQ(config.peers.suspect_after, 900ms);
  EXPECT_EQ(config.peers.connect_timeout, 700ms);
  EXPECT_EQ(config.peers.message_version, 12);
  EXPECT_EQ(config.sync.interval, 500ms);
  EXPECT_EQ(config.sync.mb_per_s_max, 8U);
  EXPECT_EQ(config.sync.log_entries_max, 5000U);
  EXPECT_EQ(config.sync.scrub_days, 30U);
  EXPECT_EQ(config.hints.age_max, 60s);
  EXPECT_EQ(config.hints.vnode_mb_max, 32U);
}

TEST(ConfigValues, ClusterAndNodesAreAllThatMustBeGiven) {
  auto config = parse_valid(two_fields + "}");
  EXPECT_EQ(config.partitions, 256U);
  const auto& node = config.nodes[1];
  EXPECT_EQ(node.peer_port, 7101);
  EXPECT_EQ(node.resp_port, 6401);
  EXPECT_EQ(node.http_port, 8101);
  EXPECT_EQ(node.http_host, "127.0.0.1");
  EXPECT_EQ(node.data_dir, "data/b");
  EXPECT_EQ(node.zone, "");
  EXPECT_EQ(node.weight, 1U);
  ASSERT_EQ(config.buckets.size(), 1U);
  const auto& bucket = config.buckets[0];
  EXPECT_EQ(bucket.name, "default");
  EXPECT_EQ(bucket.db, 0);
  EXPECT_EQ(bucket.n, 3U);
  EXPECT_EQ(bucket.r, 2U);
  EXPECT_EQ(bucket.w, 2U);
  EXPECT_EQ(bucket.conflict, conflict_rule::lww);
  EXPECT_TRUE(bucket.sloppy);
  EXPECT_EQ(bucket.durability, durability::interval);
  EXPECT_EQ(bucket.read_repair, protocol::read_repair::background);
  EXPECT_FALSE(config.logging.file);
}

TEST(ConfigValues, NIsAtMostTheNumberOfNodesByDefault) {
  auto config = parse_valid(R"({"cluster": "c", "nodes": [{"name": "a", "host": "h"}, {"name": "b", "host": "i"}],
                               "buckets": [{"name": "x"}]})");
  EXPECT_EQ(config.buckets[0].n, 2U);
  EXPECT_EQ(config.buckets[0].r, 2U);
  EXPECT_EQ(config.buckets[0].w, 2U);
}

TEST(ConfigValues, QuorumsAreAMajorityOfNByDefault) {
  for (auto [n, majority] : {std::pair{1U, 1U}, {2U, 2U}, {3U, 2U}, {4U, 3U}}) {
    auto config = parse_valid(two_fields + R"(, "buckets": [{"name": "x", "n": )" + std::to_string(n) + "}]}");
    EXPECT_EQ(config.buckets[0].n, n);
    EXPECT_EQ(config.buckets[0].r, majority);
    EXPECT_EQ(config.buckets[0].w, majority);
  }
}

TEST(ConfigValues, WithOneNodeThereIsOneCopyWhateverTheBucketsSay) {
  auto config = parse_valid(R"({"cluster": "c", "nodes": [{"name": "a", "host": "h"}],
    "buckets": [{"name": "x", "n": 3, "r": 2, "w": 3}, {"name": "y"}, {"name": "z", "r": 2, "w": 2}]})");
  for (const auto& bucket : config.buckets) {
    EXPECT_EQ(bucket.n, 1U) << bucket.name;
    EXPECT_EQ(bucket.r, 1U) << bucket.name;
    EXPECT_EQ(bucket.w, 1U) << bucket.name;
  }
}

TEST(ConfigValues, ABucketsDbIsItsPlaceInTheList) {
  auto config = parse_valid(two_fields + R"(, "buckets": [{"name": "x"}, {"name": "y", "db": 1023}, {"name": "z"}]})");
  EXPECT_EQ(config.buckets[0].db, 0);
  EXPECT_EQ(config.buckets[1].db, 1023);
  EXPECT_EQ(config.buckets[2].db, 2);
}

TEST(ConfigValues, NullMeansLoggingToStandardError) {
  EXPECT_FALSE(parse_valid(with("/logging/file", "null")).logging.file);
}

TEST(ConfigValues, NodesKeepTheOrderOfTheFile) {
  auto config = parse_valid(R"({"cluster": "c", "nodes": [{"name": "z", "host": "h"}, {"name": "a", "host": "i"}]})");
  EXPECT_EQ(config.nodes[0].name, "z");
  EXPECT_EQ(config.nodes[1].name, "a");
}

TEST(ConfigValues, ABucketIsFoundByNameOrDb) {
  auto config = parse_valid(with("/buckets/1/db", "12"));
  ASSERT_NE(config.find_bucket("carts"), nullptr);
  EXPECT_EQ(config.find_bucket("12"), config.find_bucket("carts"));
  EXPECT_EQ(config.find_bucket("0"), config.find_bucket("default"));
  for (const auto* unknown : {"", "1", "-1", "12x", " 12", "99999999999999999999", "65548", "cart"})
    EXPECT_EQ(config.find_bucket(unknown), nullptr) << unknown;
}

TEST(ConfigValues, ANodeIsFoundByName) {
  auto config = parse_valid(valid_document().dump());
  ASSERT_NE(config.find_node("n2"), nullptr);
  EXPECT_EQ(config.find_node("n2")->host, "10.0.0.2");
  EXPECT_EQ(config.find_node("n4"), nullptr);
}

TEST(ConfigValues, TheBuiltInConfigurationIsOneNode) {
  auto config = single_node_config();
  ASSERT_EQ(config.nodes.size(), 1U);
  EXPECT_EQ(config.nodes[0].name, "n1");
  EXPECT_EQ(config.nodes[0].host, "127.0.0.1");
  EXPECT_EQ(config.nodes[0].data_dir, "crema-data");
  ASSERT_EQ(config.buckets.size(), 1U);
  EXPECT_EQ(config.buckets[0].n, 1U);
  EXPECT_EQ(config.buckets[0].r, 1U);
  EXPECT_EQ(config.buckets[0].w, 1U);
}

TEST(ConfigValues, EveryExampleLoads) {
  for (auto [file, nodes, zones, groups] : {std::tuple{"one-node.json", 1U, 1U, 1U},
                                            {"three-nodes.json", 3U, 1U, 1U},
                                            {"five-nodes-two-zones.json", 5U, 2U, 1U},
                                            {"six-nodes-three-zones.json", 6U, 3U, 1U},
                                            {"six-nodes-two-groups.json", 6U, 1U, 2U}}) {
    auto result = load_config(std::string{CREMA_SOURCE_DIR} + "/config/" + file);
    ASSERT_TRUE(result.config) << file << "\n" << describe(result);
    EXPECT_EQ(result.config->nodes.size(), nodes);
    std::set<std::string> names, group_names;
    for (const auto& node : result.config->nodes) {
      names.insert(node.zone);
      group_names.insert(node.group);
    }
    EXPECT_EQ(names.size(), zones) << file;
    EXPECT_EQ(group_names.size(), groups) << file;
  }
}

TEST(ConfigValues, AFileThatCannotBeReadIsAProblemInWords) {
  auto missing = load_config("/nonexistent/crema.json");
  ASSERT_EQ(missing.problems.size(), 1U);
  EXPECT_EQ(to_string("crema.json", missing.problems[0]),
            "crema.json: cannot be read: No such file or directory (allowed: a readable JSON file)");
  auto directory = load_config("/");
  ASSERT_EQ(directory.problems.size(), 1U);
  EXPECT_NE(directory.problems[0].what.find("cannot be read"), std::string::npos) << describe(directory);
}

TEST(ConfigValues, AFileAbove16MiBIsRefused) {
  auto file = std::filesystem::temp_directory_path() / ("crema-config-" + std::to_string(::getpid()) + ".json");
  {
    std::ofstream out{file};
    out << valid_document() << std::string(size_t{16} << 20, ' ');
  }
  auto result = load_config(file.string());
  std::filesystem::remove(file);
  ASSERT_EQ(result.problems.size(), 1U);
  EXPECT_EQ(result.problems[0].what, "is longer than 16 MiB");
}

TEST(ConfigFingerprint, ChangesWithEverythingThatNodesMustAgreeOn) {
  std::set<uint64_t> seen{fingerprint(parse_valid(valid_document().dump()))};
  const std::pair<const char*, const char*> changes[] = {
      {"/cluster", "\"other\""},        {"/partitions", "512"},   {"/nodes/0/name", "\"n9\""},
      {"/nodes/0/zone", "\"c\""},       {"/nodes/0/weight", "7"}, {"/nodes/0/host", "\"10.0.0.9\""},
      {"/buckets/1/name", "\"trays\""}, {"/buckets/1/db", "7"},   {"/buckets/1/conflict", "\"lww\""},
  };
  for (auto [pointer, value] : changes)
    EXPECT_TRUE(seen.insert(fingerprint(parse_valid(with(pointer, value)))).second) << pointer;
  EXPECT_TRUE(seen.insert(fingerprint(parse_valid(without("/buckets/1")))).second);
  EXPECT_TRUE(seen.insert(fingerprint(parse_valid(with("/buckets/1", R"({"name": "carts", "n": 2})")))).second);
  EXPECT_TRUE(seen.insert(fingerprint(parse_valid(with("/nodes/3", R"({"name": "n4", "host": "x"})")))).second);
}

TEST(ConfigFingerprint, ChangesWithTheGroups) {
  auto grouped = [](const std::string& a, const std::string& b) {
    return fingerprint(parse_valid(R"({"cluster": "c", "nodes": [{"name": "a", "host": "h")" + a +
                                   R"(}, {"name": "b", "host": "i")" + b +
                                   R"(}], "buckets": [{"name": "x", "n": 1}]})"));
  };
  auto left = R"(, "group": "left")", right = R"(, "group": "right")";
  std::set<uint64_t> seen{grouped("", ""), grouped(left, left), grouped(left, right), grouped(right, left)};
  EXPECT_EQ(seen.size(), 4U);
}

TEST(ConfigFingerprint, DoesNotDependOnWhatIsANodesOwnBusiness) {
  auto original = fingerprint(parse_valid(valid_document().dump()));
  const std::pair<const char*, const char*> changes[] = {
      {"/nodes/0/peer_port", "1"},
      {"/nodes/0/data_dir", "\"x\""},
      {"/nodes/0/http_host", "\"0.0.0.0\""},
      {"/buckets/0/r", "1"},
      {"/buckets/0/w", "1"},
      {"/buckets/0/durability", "\"fsync\""},
      {"/buckets/0/read_repair", "\"foreground\""},
      {"/timeouts/read_ms", "1"},
      {"/logging/level", "\"off\""},
      {"/storage/cache_mb", "1"},
      {"/storage/object_cache_mb", "0"},
      {"/durability_interval_ms", "1"},
      {"/limits/max_clients", "1"},
      {"/peers/heartbeat_ms", "10"},
  };
  for (auto [pointer, value] : changes)
    EXPECT_EQ(fingerprint(parse_valid(with(pointer, value))), original) << pointer;
}

TEST(ConfigFingerprint, IsTheSameInEveryVersionOfTheProgram) {
  // A change of this value keeps nodes of two versions apart: raise the layout's first byte, and say so in the
  // changelog.
  EXPECT_EQ(fingerprint(single_node_config()), 9889741663645651350U);
}
