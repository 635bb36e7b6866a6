// Every rule: a document that breaks it, and the problem that must be reported.
#include "tests/config/config_documents.hpp"

#include <gtest/gtest.h>

#include <algorithm>

using namespace crema::config;
using namespace crema::config::test;

namespace {

struct bad_document {
  std::string text;
  std::string path;
  std::string message; ///< Part of what to_string() says.
};

bool mentions(const load_result& result, const bad_document& expected) {
  return std::any_of(result.problems.begin(), result.problems.end(), [&](const problem& p) {
    return p.path == expected.path && to_string("test.json", p).find(expected.message) != std::string::npos;
  });
}

/// Each must give exactly the one problem: a rule that is broken once is reported once.
void expect_each_is_refused(const std::vector<bad_document>& documents) {
  for (const auto& document : documents) {
    auto result = parse_config(document.text, "test.json");
    SCOPED_TRACE(document.text + "\n" + describe(result));
    EXPECT_FALSE(result.config);
    EXPECT_EQ(result.problems.size(), 1U);
    EXPECT_TRUE(mentions(result, document)) << "expected " << document.path << ": " << document.message;
  }
}

std::string long_name() { return "\"" + std::string(65, 'a') + "\""; }

} // namespace

TEST(ConfigProblems, TheDocumentThatTheOthersVaryIsValid) {
  auto result = parse_config(valid_document().dump(), "test.json");
  EXPECT_TRUE(result.config) << describe(result);
}

TEST(ConfigProblems, TextThatIsNotJsonIsRefusedWithLineAndColumn) {
  expect_each_is_refused({
      {"", "", "line 1, column 1"},
      {"{\n  \"cluster\" \"demo\"\n}", "", "line 2, column 18"},
      {"{\"cluster\": \"demo\",}", "", "line 1, column 20"},
      {"{\"cluster\": demo}", "", "line 1, column 13"},
      {"{} {}", "", "line 1, column 4"},
      {"{}\nx", "", "line 2, column 1"},
      {"{} // a comment", "", "line 1, column 4"},
      {"{/* a comment */}", "", "line 1, column 2"},
      {std::string("{}\0 anything", 12), "", "line 1, column 3: a NUL byte"},
      {"{\"cluster\": \"\xff\"}", "", "ill-formed UTF-8"},
      {"{\"cluster\": \"\xc0\xaf\"}", "", "ill-formed UTF-8"},
      {"{\"partitions\": 1e999}", "", "number overflow"},
      {"{\"partitions\": 08}", "", "line 1, column 17"},
      {"{\"cluster\": NaN}", "", "line 1, column 13"},
      {"{'cluster': 1}", "", "line 1, column 2"},
  });
}

TEST(ConfigProblems, AMessageNeverContainsRawBytesOfTheFile) {
  auto result = parse_config("{\"\x1b[31m\": \"\xff\"", "test.json");
  for (char c : describe(result))
    EXPECT_TRUE(c == '\n' || (c >= 0x20 && c < 0x7f)) << describe(result);
}

TEST(ConfigProblems, NestingIsBounded) {
  EXPECT_NE(describe(parse_config(std::string(17, '['), "test.json")).find("line 1, column 17: nested too deeply"),
            std::string::npos);
  auto deep = std::string(1000000, '[') + std::string(1000000, ']');
  EXPECT_NE(describe(parse_config(deep, "test.json")).find("nested too deeply"), std::string::npos);
}

TEST(ConfigProblems, ATooLongListOfProblemsIsCutShort) {
  std::string text = "{";
  for (int i = 0; i < 100000; ++i)
    text += (i == 0 ? "\"x\":" : ",\"x\":") + std::to_string(i);
  auto duplicates = parse_config(text + "}", "test.json");
  EXPECT_FALSE(duplicates.config);
  EXPECT_LE(duplicates.problems.size(), 100U);

  auto document = valid_document();
  for (int i = 0; i < 1000; ++i)
    document["unknown" + std::to_string(i)] = i;
  auto unknown = parse_config(document.dump(), "test.json");
  EXPECT_FALSE(unknown.config);
  EXPECT_LE(unknown.problems.size(), 100U);
}

TEST(ConfigProblems, AKeyGivenTwiceIsRefused) {
  auto text = valid_document().dump();
  auto twice = [&](const std::string& before, const std::string& key) {
    auto copy = text;
    copy.insert(copy.find(before) + before.size(), key);
    return copy;
  };
  expect_each_is_refused({
      {"{\"cluster\": \"a\",\n \"cluster\": \"b\", \"nodes\": [{\"name\": \"n1\", \"host\": \"h\"}]}", "cluster",
       "is given a second time at line 2"},
      {twice("\"nodes\":[{", "\"name\": \"n7\", "), "nodes[0].name", "second time"},
      {twice("\"demo\",", "\"logging\": {\"level\": \"warn\"},"), "logging", "second time"},
      {text.substr(0, text.size() - 1) + ",\"peers\":{\"a\":[{}]}}", "peers", "second time"},
  });
}

TEST(ConfigProblems, TheWholeMustBeAnObject) {
  auto result = parse_config("[1, 2]", "test.json");
  EXPECT_TRUE(mentions(result, {"", "", "an array is not an object"})) << describe(result);
  result = parse_config("\"text\"", "test.json");
  EXPECT_TRUE(mentions(result, {"", "", "\"text\" is a string, not an object"})) << describe(result);
}

TEST(ConfigProblems, WhatIsRequiredMustBeThere) {
  expect_each_is_refused({
      {without("/cluster"), "cluster", "is missing"},
      {without("/nodes"), "nodes", "is missing"},
      {without("/nodes/1/name"), "nodes[1].name", "is missing (allowed: 1 to 64 letters"},
      {without("/nodes/1/host"), "nodes[1].host", "is missing"},
      {without("/buckets/0/name"), "buckets[0].name", "is missing"},
  });
}

TEST(ConfigProblems, AnUnknownFieldIsNamedWithTheNearestKnownOne) {
  expect_each_is_refused({
      {with("/clutser_name", "1"), "clutser_name", "unknown field"},
      {with("/partition", "1"), "partition", "unknown field, did you mean \"partitions\"?"},
      {with("/nodes/1/pear_port", "1"), "nodes[1].pear_port", "did you mean \"peer_port\"?"},
      {with("/nodes/1/peerPort", "1"), "nodes[1].peerPort", "did you mean \"peer_port\"?"},
      {with("/nodes/1/resp-port", "1"), "nodes[1].resp-port", "did you mean \"resp_port\"?"},
      {with("/nodes/0/qqqqqqqqqqqqqqqq", "1"), "nodes[0].qqqqqqqqqqqqqqqq",
       "unknown field (allowed: one of name, host"},
      {with("/buckets/0/conflcit", "1"), "buckets[0].conflcit", "did you mean \"conflict\"?"},
      {with("/buckets/0/N", "1"), "buckets[0].N", "did you mean \"n\"?"},
      {with("/timeouts/reads_ms", "1"), "timeouts.reads_ms", "did you mean \"read_ms\"?"},
      {with("/logging/levle", "1"), "logging.levle", "did you mean \"level\"?"},
      {with("/storage/cach_mb", "1"), "storage.cach_mb", "did you mean \"cache_mb\"?"},
      {with("/limits/max_client", "1"), "limits.max_client", "did you mean \"max_clients\"?"},
      {with("/peers/heartbeat", "1"), "peers.heartbeat", "did you mean \"heartbeat_ms\"?"},
      {with("/a b\n", "1"), "\"a b\\n\"", "unknown field"},
  });
}

TEST(ConfigProblems, AFieldOfTheWrongTypeIsRefused) {
  expect_each_is_refused({
      {with("/cluster", "7"), "cluster", "7 is not a string"},
      {with("/cluster", "null"), "cluster", "null is not a string"},
      {with("/partitions", "\"256\""), "partitions", "\"256\" is a string, not an integer"},
      {with("/partitions", "256.0"), "partitions", "256.0 is not an integer"},
      {with("/nodes", "{}"), "nodes", "an object is not a list"},
      {with("/nodes/1/peer_port", "1.5"), "nodes[1].peer_port", "1.5 is not an integer"},
      {with("/nodes/1/peer_port", "\"7101\""), "nodes[1].peer_port", "\"7101\" is a string, not an integer"},
      {with("/nodes/1/peer_port", "true"), "nodes[1].peer_port", "true is a boolean, not an integer"},
      {with("/nodes/1/peer_port", "[7101]"), "nodes[1].peer_port", "an array is not an integer"},
      {with("/nodes/1/zone", "1"), "nodes[1].zone", "1 is not a string"},
      {with("/nodes/1/data_dir", "null"), "nodes[1].data_dir", "null is not a string"},
      {with("/nodes/1/weight", "\"1\""), "nodes[1].weight", "not an integer"},
      {with("/buckets", "null"), "buckets", "null is not a list"},
      {with("/buckets/1/db", "\"1\""), "buckets[1].db", "not an integer"},
      {with("/buckets/1/mode", "1"), "buckets[1].mode", "1 is not a string (allowed: one of eventual"},
      {with("/buckets/1/sloppy", "\"true\""), "buckets[1].sloppy", "\"true\" is a string, not a boolean"},
      {with("/buckets/1/sloppy", "1"), "buckets[1].sloppy", "1 is not a boolean (allowed: true or false)"},
      {with("/timeouts", "1000"), "timeouts", "1000 is not an object"},
      {with("/timeouts/read_ms", "\"1s\""), "timeouts.read_ms", "not an integer"},
      {with("/durability_interval_ms", "null"), "durability_interval_ms", "null is not an integer"},
      {with("/logging", "[]"), "logging", "an array is not an object"},
      {with("/logging/file", "1"), "logging.file", "1 is not a string (allowed: a path, or null"},
      {with("/storage", "1"), "storage", "1 is not an object"},
      {with("/limits", "1"), "limits", "1 is not an object"},
      {with("/peers", "1"), "peers", "1 is not an object"},
  });
  auto result = parse_config(with("/nodes/1", "\"n2\""), "test.json");
  EXPECT_TRUE(mentions(result, {"", "nodes[1]", "\"n2\" is a string, not an object"})) << describe(result);
  result = parse_config(with("/buckets/1", "3"), "test.json");
  EXPECT_TRUE(mentions(result, {"", "buckets[1]", "3 is not an object"})) << describe(result);
}

TEST(ConfigProblems, NumbersHaveBounds) {
  expect_each_is_refused({
      {with("/nodes/1/peer_port", "70000"), "nodes[1].peer_port",
       "test.json: nodes[1].peer_port: 70000 is out of range (allowed: a port number, 1 to 65535)"},
      {with("/nodes/1/peer_port", "0"), "nodes[1].peer_port", "0 is out of range"},
      {with("/nodes/1/resp_port", "-1"), "nodes[1].resp_port", "-1 is out of range"},
      {with("/nodes/1/http_port", "65536"), "nodes[1].http_port", "65536 is out of range"},
      {with("/nodes/1/http_port", "18446744073709551615"), "nodes[1].http_port", "18446744073709551615 is out of"},
      {with("/nodes/1/http_port", "18446744073709551617"), "nodes[1].http_port", "is not an integer"},
      {with("/nodes/1/weight", "0"), "nodes[1].weight", "0 is out of range (allowed: an integer, 1 to 1000)"},
      {with("/nodes/1/weight", "1001"), "nodes[1].weight", "1001 is out of range"},
      {with("/partitions", "4"), "partitions", "4 is out of range (allowed: a power of two, 8 to 16384)"},
      {with("/partitions", "32768"), "partitions", "32768 is out of range"},
      {with("/partitions", "100"), "partitions", "100 is not a power of two (allowed: a power of two, 8 to 16384)"},
      {with("/buckets/1/db", "1024"), "buckets[1].db", "1024 is out of range (allowed: a number, 0 to 1023)"},
      {with("/buckets/1/db", "-1"), "buckets[1].db", "-1 is out of range"},
      {with("/buckets/1/n", "0"), "buckets[1].n", "0 is out of range"},
      {with("/buckets/1/n", "17"), "buckets[1].n", "17 is out of range"},
      {with("/buckets/1/r", "0"), "buckets[1].r", "0 is out of range"},
      {with("/buckets/1/w", "0"), "buckets[1].w", "0 is out of range"},
      {with("/timeouts/read_ms", "0"), "timeouts.read_ms", "0 is out of range (allowed: milliseconds, 1 to 600000)"},
      {with("/timeouts/write_ms", "600001"), "timeouts.write_ms", "600001 is out of range"},
      {with("/durability_interval_ms", "0"), "durability_interval_ms", "0 is out of range"},
      {with("/durability_interval_ms", "60001"), "durability_interval_ms", "(allowed: milliseconds, 1 to 60000)"},
      {with("/storage/cache_mb", "0"), "storage.cache_mb", "0 is out of range"},
      {with("/storage/memtable_mb", "4097"), "storage.memtable_mb", "4097 is out of range"},
      {with("/storage/background_threads", "0"), "storage.background_threads", "0 is out of range"},
      {with("/storage/shards", "65"), "storage.shards", "65 is out of range"},
      {with("/limits/gateway_threads", "65"), "limits.gateway_threads", "65 is out of range"},
      {with("/limits/coordinators", "65"), "limits.coordinators", "65 is out of range"},
      {with("/limits/max_clients", "0"), "limits.max_clients", "0 is out of range"},
      {with("/peers/heartbeat_ms", "9"), "peers.heartbeat_ms", "9 is out of range"},
      {with("/peers/message_version", "11"), "peers.message_version", "11 is out of range"},
      {with("/peers/message_version", "14"), "peers.message_version", "14 is out of range"},
      {with("/peers/connect_timeout_ms", "600001"), "peers.connect_timeout_ms", "600001 is out of range"},
      {with("/peers/suspect_after_ms", "199"), "peers.suspect_after_ms", "199 is less than two heartbeats of 100 ms"},
      {with("/sync/interval_ms", "9"), "sync.interval_ms", "9 is out of range"},
      {with("/sync/mb_per_s_max", "0"), "sync.mb_per_s_max", "(allowed: MiB per second, 1 to 100000)"},
      {with("/sync/log_entries_max", "999"), "sync.log_entries_max", "999 is out of range"},
      {with("/sync/scrub_days", "366"), "sync.scrub_days", "(allowed: days, 0: only when asked, 0 to 365)"},
      {with("/hints/age_max_s", "0"), "hints.age_max_s", "0 is out of range"},
      {with("/hints/vnode_mb_max", "0"), "hints.vnode_mb_max", "0 is out of range"},
  });
}

TEST(ConfigProblems, NamesAreShortWordsThatCanBePartOfAPath) {
  expect_each_is_refused({
      {with("/cluster", "\"\""), "cluster", "\"\" is empty"},
      {with("/cluster", "\"my cluster\""), "cluster", "\"my cluster\" has a character that is not allowed"},
      {with("/cluster", long_name()), "cluster", "is too long (allowed: 1 to 64"},
      {with("/nodes/1/name", "\"\""), "nodes[1].name", "\"\" is empty"},
      {with("/nodes/1/name", "\"a/b\""), "nodes[1].name", "\"a/b\" has a character that is not allowed"},
      {with("/nodes/1/name", "\"..\""), "nodes[1].name", "\"..\" cannot be part of a path"},
      {with("/nodes/1/name", "\"nœud\""), "nodes[1].name", "has a character that is not allowed"},
      {with("/nodes/1/name", long_name()), "nodes[1].name", "is too long"},
      {with("/nodes/1/zone", "\"a b\""), "nodes[1].zone", "\"a b\" has a character that is not allowed"},
      {with("/buckets/1/name", "\"a\\u0000\""), "buckets[1].name", "\"a\\u0000\" has a character that is not allowed"},
      {with("/buckets/1/name", "\"12\""), "buckets[1].name", "\"12\" is a number"},
      {with("/nodes/1/data_dir", "\"\""), "nodes[1].data_dir", "\"\" is empty"},
      {with("/nodes/1/data_dir", "\"a\\u0000b\""), "nodes[1].data_dir", "NUL"},
      {with("/logging/file", "\"\""), "logging.file", "\"\" is empty"},
  });
}

TEST(ConfigProblems, AHostIsANameOrAnAddressWithoutPort) {
  expect_each_is_refused({
      {with("/nodes/1/host", "\"\""), "nodes[1].host", "\"\" is empty"},
      {with("/nodes/1/host", "\"10.0.0.2 \""), "nodes[1].host", "has a space"},
      {with("/nodes/1/host", "\"10.0.0.2:7101\""), "nodes[1].host", "\"10.0.0.2:7101\" has a port"},
      {with("/nodes/1/host", "\"http://a\""), "nodes[1].host", "has a character that is not allowed"},
      {with("/nodes/1/http_host", "\"\""), "nodes[1].http_host", "\"\" is empty"},
      {with("/nodes/1/http_host", "\"a b\""), "nodes[1].http_host", "\"a b\" has a space"},
  });
  for (const auto* host : {"\"db-1.example.org\"", "\"db_1\"", "\"fe80::1%eth0\"", "\"::1\"", "\"192.168.1.9\""})
    EXPECT_TRUE(parse_config(with("/nodes/1/host", host), "test.json").config) << host;
}

TEST(ConfigProblems, WordsMustBeOnesThatAreKnown) {
  expect_each_is_refused({
      {with("/buckets/1/mode", "\"strongest\""), "buckets[1].mode",
       "\"strongest\" is unknown, did you mean \"strong\"?"},
      {with("/buckets/1/mode", "\"causal\""), "buckets[1].mode",
       "\"causal\" is not available yet (allowed: \"eventual\")"},
      {with("/buckets/1/mode", "\"strong\""), "buckets[1].mode", "\"strong\" is not available yet"},
      {with("/buckets/1/conflict", "\"sibling\""), "buckets[1].conflict", "did you mean \"siblings\"?"},
      {with("/buckets/1/conflict", "\"LWW\""), "buckets[1].conflict", "\"LWW\" is unknown, did you mean \"lww\"?"},
      {with("/buckets/1/read_repair", "\"none\""), "buckets[1].read_repair",
       "\"none\" is unknown (allowed: one of background, foreground)"},
      {with("/buckets/1/durability", "\"always\""), "buckets[1].durability",
       "\"always\" is unknown (allowed: one of interval, fsync)"},
      {with("/logging/level", "\"warning\""), "logging.level", "\"warning\" is unknown, did you mean \"warn\"?"},
      {with("/logging/format", "\"xml\""), "logging.format", "\"xml\" is unknown"},
  });
}

TEST(ConfigProblems, CopiesAndQuorumsMustBePossible) {
  expect_each_is_refused({
      {with("/buckets/1/n", "4"), "buckets[1].n", "4 copies need as many nodes, and there are 3 (allowed: 1 to 3)"},
      {with("/buckets/1/r", "4"), "buckets[1].r", "4 is more than n, 3 (allowed: 1 to 3)"},
      {with("/buckets/1/w", "16"), "buckets[1].w", "16 is more than n, 3"},
      {with("/buckets/1", R"({"name": "b", "n": 2, "r": 3})"), "buckets[1].r", "3 is more than n, 2"},
      {with("/buckets/1", R"({"name": "b", "w": 4})"), "buckets[1].w", "4 is more than n, 3"},
  });
}

TEST(ConfigProblems, ListsMayBeNeitherEmptyNorEndless) {
  expect_each_is_refused({
      {with("/nodes", "[]"), "nodes", "has 0 elements (allowed: a list of 1 to 1024 objects)"},
      {with("/buckets", "[]"), "buckets", "has 0 elements"},
      {with("/nodes", nlohmann::json(std::vector<int>(1025)).dump()), "nodes", "has 1025 elements"},
  });
}

TEST(ConfigProblems, WhatTwoNodesOrBucketsCannotShareIsRefused) {
  expect_each_is_refused({
      {with("/nodes/2/name", "\"n1\""), "nodes[2].name", "\"n1\" is also nodes[0].name"},
      {with("/nodes/2/resp_port", "7101"), "nodes[2].resp_port",
       "port 7101 on \"10.0.0.3\" is taken by nodes[2].peer_port"},
      {with("/nodes/2/http_port", "6401"), "nodes[2].http_port",
       "port 6401 on \"0.0.0.0\" is taken by nodes[2].resp_port on \"10.0.0.3\""},
      {with("/nodes/1/http_port", "7101"), "nodes[1].http_port", "port 7101 on \"10.0.0.2\" is taken by"},
      {with("/buckets/1/name", "\"default\""), "buckets[1].name", "\"default\" is also buckets[0].name"},
      {with("/buckets/1/db", "0"), "buckets[1].db", "0 is also buckets[0].db"},
  });
}

TEST(ConfigProblems, GroupsAreForAllNodesAndLargeEnoughForAllCopies) {
  auto four = [](std::vector<std::string> groups, const std::string& n) {
    std::string nodes;
    for (size_t i = 0; i < groups.size(); ++i)
      nodes += (i > 0 ? ", " : "") + std::string{R"({"name": "n)"} + std::to_string(i) + R"(", "host": "h)" +
               std::to_string(i) + "\"" + (groups[i].empty() ? "" : ", \"group\": " + groups[i]) + "}";
    return R"({"cluster": "c", "nodes": [)" + nodes + R"(], "buckets": [{"name": "x", "n": )" + n + "}]}";
  };
  auto a = std::string{R"("a")"}, b = std::string{R"("b")"};
  auto good = parse_config(four({a, b, a, b}, "2"), "test.json");
  ASSERT_TRUE(good.config) << describe(good);
  EXPECT_EQ(good.config->nodes[2].group, "a");
  expect_each_is_refused({
      {four({a, b, a, ""}, "1"), "nodes[3].group",
       "is absent, but nodes[1] is in group \"b\" (allowed: a group for each"},
      {four({a, b, b, b}, "3"), "nodes[0].group", "group \"a\" has 1 of 3 nodes"},
      {four({a, b, a, "7"}, "1"), "nodes[3].group", "7 is not a string"},
      {four({a, b, a, R"("x y")"}, "1"), "nodes[3].group", "has a character that is not allowed"},
      {four({a, b, a, R"("")"}, "1"), "nodes[3].group", "is empty"},
  });
}
