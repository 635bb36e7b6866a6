// Changes of the topology as text: what is understood, and what is said of what is not.
#include "config/topology_changes.hpp"

#include <gtest/gtest.h>

namespace crema::config {
namespace {

using changes = std::vector<protocol::topology_change>;

changes parsed(const std::string& text) {
  auto result = topology_changes_from_json(text);
  if (auto* no = std::get_if<protocol::refused>(&result)) {
    ADD_FAILURE() << text << ": " << no->why;
    return {};
  }
  return std::get<changes>(result);
}

std::string refusal(const std::string& text) {
  auto result = topology_changes_from_json(text);
  auto* no = std::get_if<protocol::refused>(&result);
  return no != nullptr ? no->why : "it was understood";
}

template <class T>
T only(const std::string& text) {
  auto found = parsed(text);
  if (found.size() == 1 && std::holds_alternative<T>(found.front()))
    return std::get<T>(found.front());
  ADD_FAILURE() << text << " is another change";
  return {};
}

TEST(TopologyChanges, AJoiningNodeIsANameOrAllOfIt) {
  auto name = only<protocol::join_node>(R"([{"join": "n5"}])").node;
  EXPECT_EQ(name.name, "n5");
  EXPECT_EQ(name.host, "");
  EXPECT_EQ(name.peer_port, 0);
  EXPECT_EQ(name.directory, 0U);
  EXPECT_EQ(name.weight, 1U);
  auto all = only<protocol::join_node>(
                 R"([{"join": {"name": "n5", "host": "10.0.0.5", "peer_port": 7101, "resp_port": 6401, "zone": "east",
                     "weight": 3, "directory": "00fe12aB", "group": "left"}}])")
                 .node;
  EXPECT_EQ(all.host, "10.0.0.5");
  EXPECT_EQ(all.peer_port, 7101);
  EXPECT_EQ(all.resp_port, 6401);
  EXPECT_EQ(all.zone, "east");
  EXPECT_EQ(all.weight, 3U);
  EXPECT_EQ(all.directory, 0xfe12abU);
  EXPECT_EQ(all.group, "left");
}

TEST(TopologyChanges, EveryKindIsUnderstood) {
  EXPECT_EQ(only<protocol::leave_node>(R"([{"leave": "n4"}])").name, "n4");
  EXPECT_EQ(only<protocol::remove_node>(R"([{"remove": "n4"}])").name, "n4");
  auto replace = only<protocol::replace_node>(R"([{"replace": {"name": "n4", "by": {"name": "n5"}, "gone": true}}])");
  EXPECT_EQ(replace.name, "n4");
  EXPECT_EQ(replace.by.name, "n5");
  EXPECT_TRUE(replace.gone);
  EXPECT_FALSE(only<protocol::replace_node>(R"([{"replace": {"name": "n4", "by": "n5"}}])").gone);
  EXPECT_EQ(only<protocol::set_weight>(R"([{"set-weight": {"name": "n4", "weight": 2}}])").weight, 2U);
  EXPECT_EQ(only<protocol::set_zone>(R"([{"set-zone": {"name": "n4", "zone": ""}}])").zone, "");
  EXPECT_EQ(only<protocol::set_group>(R"([{"set-group": {"name": "n4", "group": "left"}}])").group, "left");
  auto groups = only<protocol::set_groups>(R"([{"set-groups": [{"name": "left", "nodes": ["n1", "n2"]}]}])").groups;
  ASSERT_EQ(groups.size(), 1U);
  EXPECT_EQ(groups[0].second, (std::vector<std::string>{"n1", "n2"}));
  EXPECT_TRUE(only<protocol::set_groups>(R"([{"set-groups": []}])").groups.empty());
  only<protocol::rebalance>(R"([{"rebalance": true}])");
  auto created = only<protocol::create_bucket>(
      R"([{"create-bucket": {"name": "carts", "db": 7, "conflict": "siblings", "n": 3, "r": 1, "w": 3, "sloppy": false,
          "durability": "fsync", "read_repair": "foreground"}}])");
  EXPECT_EQ(created.db, 7);
  EXPECT_EQ(created.conflict, conflict_rule::siblings);
  EXPECT_EQ(to_words(created), "create bucket carts (siblings, n 3, r 1, w 3, strict, durability fsync, read repair in "
                               "the foreground)");
  auto set = only<protocol::set_bucket>(R"([{"set-bucket": {"name": "carts", "n": 5}}])");
  EXPECT_EQ(set.settings.n, 5U);
  EXPECT_FALSE(set.settings.r || set.settings.w || set.settings.sloppy || set.settings.durability);
  EXPECT_EQ(only<protocol::drop_bucket>(R"([{"drop-bucket": "carts"}])").name, "carts");
  EXPECT_EQ(parsed(R"([{"join": "n5"}, {"leave": "n2"}])").size(), 2U);
}

TEST(TopologyChanges, WhatABucketIsForItsWholeLifeCannotBeSet) {
  EXPECT_EQ(refusal(R"([{"set-bucket": {"name": "carts", "conflict": "lww"}}])"),
            "changes[0].set-bucket.conflict: cannot be changed (allowed: only when the bucket is created)");
  EXPECT_NE(refusal(R"([{"create-bucket": {"name": "17"}}])").find("is a number, and SELECT takes numbers for dbs"),
            std::string::npos);
  EXPECT_NE(refusal(R"([{"create-bucket": {"name": "x", "mode": "strong"}}])").find("is not available yet"),
            std::string::npos);
  EXPECT_NE(refusal(R"([{"create-bucket": {"name": "x", "n": 17}}])").find("(allowed: a number of copies, 1 to 16)"),
            std::string::npos);
}

TEST(TopologyChanges, ARefusalNamesThePlaceTheCauseAndTheCure) {
  EXPECT_EQ(refusal(R"([{"leav": "n4"}])"), "changes[0].leav: unknown field, did you mean \"leave\"? (allowed: one of "
                                            "join, leave, remove, replace, set-weight, set-zone, set-group, "
                                            "set-groups, rebalance, create-bucket, set-bucket, drop-bucket)");
  EXPECT_EQ(refusal(R"([{"leave": "n4"}, {"join": {"name": "n5", "hots": "x"}}])"),
            "changes[1].join.hots: unknown field, did you mean \"host\"? (allowed: one of name, host, peer_port, "
            "resp_port, zone, weight, directory, group)");
  EXPECT_EQ(refusal(R"([{"set-weight": {"name": "n4", "weight": 0}}])"),
            "changes[0].set-weight.weight: 0 is out of range (allowed: an integer, 1 to 1000)");
  EXPECT_EQ(refusal(R"([{"leave": ["n4"]}])"),
            "changes[0].leave: an array is not a name (allowed: 1 to 64 letters, digits, '.', '_' or '-')");
  EXPECT_EQ(refusal(R"([{"join": "n5", "leave": "n4"}])"),
            "changes[0]: has 2 fields (allowed: one change in each object)");
  EXPECT_EQ(refusal("[]"), "changes: has 0 elements (allowed: a list of 1 to 1000 changes)");
  EXPECT_EQ(refusal(R"({"leave": "n4"})"), "changes: an object is not a list (allowed: a list of 1 to 1000 changes)");
}

TEST(TopologyChanges, WhatIsMissingOrOfTheWrongTypeIsRefused) {
  for (const auto* text : {"",
                           "x",
                           "[",
                           "null",
                           "[null]",
                           "[1]",
                           "[[]]",
                           "[{}]",
                           "[{\"rebalance\": false}]",
                           "[{\"rebalance\": 1}]",
                           R"([{"join": ""}])",
                           R"([{"join": "a b"}])",
                           R"([{"join": {}}])",
                           R"([{"join": {"name": "n", "host": 1}}])",
                           R"([{"join": {"name": "n", "host": "a b"}}])",
                           R"([{"join": {"name": "n", "peer_port": 65536}}])",
                           R"([{"join": {"name": "n", "peer_port": -1}}])",
                           R"([{"join": {"name": "n", "peer_port": 1.5}}])",
                           R"([{"join": {"name": "n", "directory": 7}}])",
                           R"([{"join": {"name": "n", "directory": "0x7"}}])",
                           R"([{"join": {"name": "n", "directory": "0"}}])",
                           R"([{"join": {"name": "n", "directory": ""}}])",
                           R"([{"join": {"name": "n", "directory": "00000000000000001"}}])",
                           R"([{"replace": "n4"}])",
                           R"([{"replace": {"name": "n4"}}])",
                           R"([{"replace": {"by": "n4"}}])",
                           R"([{"replace": {"name": "n4", "by": "n5", "gone": 1}}])",
                           R"([{"set-weight": {"name": "n4"}}])",
                           R"([{"set-weight": {"weight": 1}}])",
                           R"([{"set-zone": {"name": "n4"}}])",
                           R"([{"set-group": {"name": "n4", "group": ""}}])",
                           R"([{"set-groups": {}}])",
                           R"([{"set-groups": [{"name": "left"}]}])",
                           R"([{"set-groups": [{"name": "left", "nodes": []}]}])",
                           R"([{"set-groups": [{"name": "left", "nodes": [1]}]}])",
                           R"([{"leave": "a", "leave": "b"}])",
                           "[{\"leave\": \"\xff\"}]"})
    EXPECT_NE(refusal(text).find("(allowed: "), std::string::npos) << text << " " << refusal(text);
}

TEST(TopologyChanges, WhatIsTooLargeIsRefusedShortly) {
  std::string many = "[";
  for (size_t i = 0; i <= topology_changes_max; ++i)
    many += std::string(i > 0 ? "," : "") + "{\"nonsense\": 1}";
  EXPECT_EQ(refusal(many + "]"), "changes: has 1001 elements (allowed: a list of 1 to 1000 changes)");
  EXPECT_EQ(refusal(std::string(2'000'000, ' ')), "changes: longer than 1 MiB (allowed: at most 1000 changes)");
  EXPECT_NE(refusal(std::string(100'000, '[')).find("nested too deeply"), std::string::npos);
  EXPECT_LT(refusal("[{\"" + std::string(100'000, 'x') + "\": 1}]").size(), 1000U);
  std::string wrong = "[";
  for (int i = 0; i < 500; ++i)
    wrong += std::string(i > 0 ? "," : "") + "{\"nonsense\": 1}";
  EXPECT_LT(refusal(wrong + "]").size(), 2000U);
}

nlohmann::json from_words(const std::vector<std::string>& words) {
  auto result = topology_changes_from_words(words);
  if (auto* no = std::get_if<protocol::refused>(&result))
    return no->why;
  auto json = std::get<nlohmann::json>(result);
  EXPECT_FALSE(parsed(json.dump()).empty());
  return json;
}

TEST(TopologyWords, SayWhatTheJsonSays) {
  auto json = [](const char* text) { return nlohmann::json::parse(text); };
  EXPECT_EQ(from_words({"join", "n5", "+", "leave", "n2"}), json(R"([{"join": "n5"}, {"leave": "n2"}])"));
  EXPECT_EQ(from_words({"join", "n5", "group", "left", "weight", "2"}),
            json(R"([{"join": {"name": "n5", "group": "left", "weight": 2}}])"));
  EXPECT_EQ(from_words({"remove", "n4"}), json(R"([{"remove": "n4"}])"));
  EXPECT_EQ(from_words({"replace", "n4", "n5"}), json(R"([{"replace": {"name": "n4", "by": "n5", "gone": false}}])"));
  EXPECT_EQ(from_words({"replace", "n4", "n5", "gone"}),
            json(R"([{"replace": {"name": "n4", "by": "n5", "gone": true}}])"));
  EXPECT_EQ(from_words({"set-weight", "n4", "2"}), json(R"([{"set-weight": {"name": "n4", "weight": 2}}])"));
  EXPECT_EQ(from_words({"set-zone", "n4", ""}), json(R"([{"set-zone": {"name": "n4", "zone": ""}}])"));
  EXPECT_EQ(from_words({"set-group", "n4", "left"}), json(R"([{"set-group": {"name": "n4", "group": "left"}}])"));
  EXPECT_EQ(from_words({"set-groups", "a=n1,n2", "b=n3"}),
            json(R"([{"set-groups": [{"name": "a", "nodes": ["n1", "n2"]}, {"name": "b", "nodes": ["n3"]}]}])"));
  EXPECT_EQ(from_words({"set-groups", "none"}), json(R"([{"set-groups": []}])"));
  EXPECT_EQ(from_words({"rebalance"}), json(R"([{"rebalance": true}])"));
  EXPECT_EQ(from_words({"create-bucket", "carts", "n=3", "sloppy=false", "conflict=siblings"}),
            json(R"([{"create-bucket": {"name": "carts", "n": 3, "sloppy": false, "conflict": "siblings"}}])"));
  EXPECT_EQ(from_words({"set-bucket", "carts", "w=2"}), json(R"([{"set-bucket": {"name": "carts", "w": 2}}])"));
  EXPECT_EQ(from_words({"drop-bucket", "carts"}), json(R"([{"drop-bucket": "carts"}])"));
}

TEST(TopologyWords, ThatAreNotUnderstoodAreAnsweredWithTheUsage) {
  auto why = [](const std::vector<std::string>& words) {
    auto result = topology_changes_from_words(words);
    auto* no = std::get_if<protocol::refused>(&result);
    return no != nullptr ? no->why : "understood";
  };
  EXPECT_EQ(why({"leav", "n4"}).substr(0, 47), "\"leav\" is no change, did you mean \"leave\"? (all");
  EXPECT_EQ(why({"set-weight", "n4", "two"}), "set-weight n4 two: not understood (allowed: set-weight NODE WEIGHT)");
  EXPECT_EQ(why({"leave", "n4", "n5"}), "leave n4 n5: not understood (allowed: leave NODE)");
  for (const auto& words : std::vector<std::vector<std::string>>{{}, {"+"}, {"leave", "n4", "+"}, {"+", "leave", "n4"}})
    EXPECT_EQ(why(words), "a change is missing (allowed: one on both sides of each \"+\")");
  for (const auto& words : std::vector<std::vector<std::string>>{{"join"},
                                                                 {"join", "n5", "group"},
                                                                 {"join", "n5", "color", "red"},
                                                                 {"join", "n5", "zone", "a", "zone", "b"},
                                                                 {"join", "n5", "weight", "much"},
                                                                 {"replace", "n4"},
                                                                 {"replace", "n4", "n5", "now"},
                                                                 {"set-groups"},
                                                                 {"set-groups", "left"},
                                                                 {"rebalance", "all"}})
    EXPECT_NE(why(words).find("not understood"), std::string::npos) << why(words);
}

} // namespace
} // namespace crema::config
