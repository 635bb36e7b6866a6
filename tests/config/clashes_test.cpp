// Ports and directories of nodes that share a machine.
#include "tests/config/config_documents.hpp"

#include <gtest/gtest.h>

using namespace crema::config;
using namespace crema::config::test;

namespace {

load_result two_nodes(const std::string& first, const std::string& second) {
  return parse_config(R"({"cluster": "c", "nodes": [{"name": "a", )" + first + R"(}, {"name": "b", )" + second + "}]}",
                      "test.json");
}

bool refused_at(const load_result& result, const std::string& path) {
  return result.problems.size() == 1 && result.problems[0].path == path;
}

const std::string other_ports = R"(, "peer_port": 1, "resp_port": 2, "http_port": 3)";

} // namespace

TEST(ConfigClashes, DefaultPortsOnOneHostClashOnceEach) {
  auto result = two_nodes(R"("host": "h")", R"("host": "H")");
  ASSERT_EQ(result.problems.size(), 3U) << describe(result);
  EXPECT_EQ(result.problems[0].path, "nodes[1].peer_port");
  EXPECT_EQ(result.problems[1].path, "nodes[1].resp_port");
  EXPECT_EQ(result.problems[2].path, "nodes[1].http_port");
}

TEST(ConfigClashes, TheSamePortsOnDifferentHostsDoNotClash) {
  auto result = two_nodes(R"("host": "10.0.0.1")", R"("host": "10.0.0.2")");
  EXPECT_TRUE(result.config) << describe(result);
}

TEST(ConfigClashes, TheLoopbackOfOneMachineIsNotThatOfAnother) {
  auto result = two_nodes(R"("host": "10.0.0.1", "http_host": "localhost")", R"("host": "10.0.0.2")");
  EXPECT_TRUE(result.config) << describe(result);
}

TEST(ConfigClashes, DifferentKindsOfPortClashAsWell) {
  auto result = two_nodes(R"("host": "h", "peer_port": 4000)", R"("host": "h", "peer_port": 1, "resp_port": 4000,
                          "http_port": 3)");
  EXPECT_TRUE(refused_at(result, "nodes[1].resp_port")) << describe(result);
}

TEST(ConfigClashes, AnyAddressClashesWithEveryAddressOfTheMachine) {
  auto result = two_nodes(R"("host": "127.0.0.1", "resp_port": 9000)",
                          R"("host": "127.0.0.1", "http_host": "0.0.0.0", "peer_port": 1, "resp_port": 2,
                          "http_port": 9000)");
  EXPECT_TRUE(refused_at(result, "nodes[1].http_port")) << describe(result);
  result = two_nodes(R"("host": "h", "http_host": "::", "http_port": 9000)",
                     R"("host": "h", "peer_port": 9000, "resp_port": 2, "http_port": 3)");
  EXPECT_TRUE(refused_at(result, "nodes[1].peer_port")) << describe(result);
}

TEST(ConfigClashes, LocalhostIsTheLoopbackAddress) {
  auto result = two_nodes(R"("host": "localhost")", R"("host": "127.0.0.1")");
  EXPECT_EQ(result.problems.size(), 3U) << describe(result);
}

TEST(ConfigClashes, LoopbackAddressesBelongToOneMachineButDoNotShareTheirPorts) {
  auto result = two_nodes(R"("host": "127.0.0.1")", R"("host": "127.0.0.2", "http_host": "127.0.0.2")");
  EXPECT_TRUE(result.config) << describe(result);
  result = two_nodes(R"("host": "127.0.0.1")", R"("host": "127.0.0.2")");
  EXPECT_TRUE(refused_at(result, "nodes[1].http_port")) << describe(result);
}

TEST(ConfigClashes, ADataDirectoryIsTheSameHoweverItIsSpelled) {
  for (const auto* spelling : {"d", "./d", "d/", "d/.", "x/../d", ".//d"}) {
    auto result = two_nodes(R"("host": "h", "data_dir": "d")",
                            R"("host": "h", "data_dir": ")" + std::string{spelling} + "\"" + other_ports);
    EXPECT_TRUE(refused_at(result, "nodes[1].data_dir")) << spelling << "\n" << describe(result);
  }
}

TEST(ConfigClashes, ADataDirectoryMayNotLieInsideAnother) {
  const std::pair<const char*, const char*> overlapping[] = {
      {"d", "d/e"}, {"d/e/f", "d"}, {".", "d"}, {"/", "/var/crema"}, {"d", "."}};
  for (auto [first, second] : overlapping) {
    auto result = two_nodes(R"("host": "h", "data_dir": ")" + std::string{first} + "\"",
                            R"("host": "h", "data_dir": ")" + std::string{second} + "\"" + other_ports);
    EXPECT_TRUE(refused_at(result, "nodes[1].data_dir")) << first << " " << second << "\n" << describe(result);
  }
}

TEST(ConfigClashes, DirectoriesApartAreFine) {
  const std::pair<const char*, const char*> apart[] = {
      {"d", "e"}, {"d", "d-2"}, {"d/a", "d/b"}, {"d", "../d"}, {"d", "/d"}};
  for (auto [first, second] : apart) {
    auto result = two_nodes(R"("host": "h", "data_dir": ")" + std::string{first} + "\"",
                            R"("host": "h", "data_dir": ")" + std::string{second} + "\"" + other_ports);
    EXPECT_TRUE(result.config) << first << " " << second << "\n" << describe(result);
  }
}

TEST(ConfigClashes, TheSameDirectoryOnDifferentMachinesIsFine) {
  auto result = two_nodes(R"("host": "a", "data_dir": "d")", R"("host": "b", "data_dir": "d")");
  EXPECT_TRUE(result.config) << describe(result);
}

TEST(ConfigClashes, AnImplicitDbClashesWithAnExplicitOne) {
  auto result = parse_config(R"({"cluster": "c", "nodes": [{"name": "a", "host": "h"}],
                                 "buckets": [{"name": "x", "db": 1}, {"name": "y"}]})",
                             "test.json");
  EXPECT_TRUE(refused_at(result, "buckets[1].db")) << describe(result);
}

TEST(ConfigClashes, AllProblemsAreFoundInOneRun) {
  auto result = parse_config(R"({"cluster": "", "partitions": 7, "colour": 1,
                                 "nodes": [{"name": "a", "host": "h", "peer_port": 0}, {"name": "a"}],
                                 "buckets": [{"name": "b", "n": 5}], "logging": {"level": 1}})",
                             "test.json");
  std::vector<std::string> paths;
  for (const auto& p : result.problems)
    paths.push_back(p.path);
  const std::vector<std::string> expected{"cluster",       "partitions",   "nodes[0].peer_port",
                                          "nodes[1].host", "buckets[0].n", "logging.level",
                                          "colour",        "nodes[1].name"};
  EXPECT_EQ(paths, expected) << describe(result);
}
