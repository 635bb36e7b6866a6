#include "config/topology_difference.hpp"

#include "config/topology_changes.hpp"

#include <gtest/gtest.h>

using namespace crema;
using namespace crema::config;
using nlohmann::json;

namespace {

json member(const std::string& name, const std::string& state = "member", const std::string& zone = "",
            uint32_t weight = 1) {
  return {{"name", name}, {"state", state}, {"zone", zone}, {"weight", weight}};
}

/// Three members, and bucket "default".
class Difference : public testing::Test {
protected:
  Difference() {
    now = {{"cluster", "shop"},
           {"owners", json::array()},
           {"groups", json::array()},
           {"members", {member("n1"), member("n2"), member("n3")}},
           {"buckets",
            {{{"name", "default"},
              {"db", 0},
              {"n", 3},
              {"r", 2},
              {"w", 2},
              {"conflict", "lww"},
              {"quorum", "sloppy"},
              {"durability", "interval"},
              {"read_repair", "background"}}}}};
    for (int i = 0; i < 8; ++i)
      now["owners"].push_back({"n1", "n2", "n3"});
    for (int i = 1; i <= 3; ++i)
      add_node("n" + std::to_string(i));
    wanted.cluster = "shop";
    wanted.partitions = 8;
    wanted.buckets.emplace_back().name = "default";
  }
  void add_node(const std::string& name) { wanted.nodes.emplace_back().name = name; }
  json changes(bool drops = false) {
    auto result = topology_difference_of(wanted, json::parse(now.dump()), drops);
    auto* no = std::get_if<protocol::refused>(&result);
    EXPECT_EQ(no, nullptr) << no->why;
    auto found = no == nullptr ? std::get<topology_difference>(result) : topology_difference{};
    notes = found.notes;
    if (!found.changes.empty()) {
      auto understood = topology_changes_from_json(found.changes.dump());
      EXPECT_EQ(std::get_if<protocol::refused>(&understood), nullptr) << found.changes;
    }
    return found.changes;
  }
  std::string refusal() {
    auto result = topology_difference_of(wanted, json::parse(now.dump()), false);
    auto* no = std::get_if<protocol::refused>(&result);
    EXPECT_NE(no, nullptr);
    return no != nullptr ? no->why : "";
  }

  cluster_config wanted;
  json now;
  std::vector<std::string> notes;
};

} // namespace

TEST_F(Difference, IsNothingWhereAllIsAsTheFileSays) {
  EXPECT_EQ(changes(), json::array());
  EXPECT_TRUE(notes.empty());
}

TEST_F(Difference, NodesComeGoAndChange) {
  wanted.nodes.erase(wanted.nodes.begin() + 1);
  add_node("n4");
  wanted.nodes[0].weight = 2;
  wanted.nodes[1].zone = "b";
  EXPECT_EQ(changes(), json::parse(R"([{"set-weight": {"name": "n1", "weight": 2}},
                                       {"set-zone": {"name": "n3", "zone": "b"}},
                                       {"join": {"name": "n4", "weight": 1, "zone": ""}}, {"leave": "n2"}])"));
}

TEST_F(Difference, GroupsComeAllAtOnceAndThenOneByOne) {
  for (auto& n : wanted.nodes)
    n.group = n.name == "n3" ? "b" : "a";
  EXPECT_EQ(changes(), json::parse(R"([{"set-groups": [{"name": "a", "nodes": ["n1", "n2"]},
                                                       {"name": "b", "nodes": ["n3"]}]}])"));
  now["groups"] = json::parse(R"([{"name": "a", "nodes": ["n1", "n2", "n3"]}])");
  EXPECT_EQ(changes(), json::parse(R"([{"set-group": {"name": "n3", "group": "b"}}])"));
  for (auto& n : wanted.nodes)
    n.group.clear();
  EXPECT_EQ(changes(), json::parse(R"([{"set-groups": []}])"));
}

TEST_F(Difference, BucketsAreCreatedAndSetAndDroppedIfThatIsSaid) {
  wanted.buckets[0].set({3, 1, 3});
  wanted.buckets[0].durability = durability::fsync;
  auto& carts = wanted.buckets.emplace_back();
  carts.name = "carts";
  carts.db = 7;
  carts.conflict = conflict_rule::siblings;
  now["buckets"].push_back(now["buckets"][0]);
  now["buckets"][1]["name"] = "old";
  auto expected = json::parse(R"([{"set-bucket": {"name": "default", "n": 3, "r": 1, "w": 3, "durability": "fsync"}},
                                  {"create-bucket": {"name": "carts", "db": 7, "conflict": "siblings", "n": 3, "r": 2,
                                                     "w": 2, "sloppy": true, "durability": "interval",
                                                     "read_repair": "background"}}])");
  EXPECT_EQ(changes(), expected);
  EXPECT_EQ(notes, std::vector<std::string>{"bucket old is not in the file, and stays (--drop drops it)"});
  expected.push_back({{"drop-bucket", "old"}});
  EXPECT_EQ(changes(true), expected);
}

TEST_F(Difference, OfNumbersThatChangeThoseToBeCount) {
  now["buckets"][0]["next"] = {{"n", 2}, {"r", 2}, {"w", 2}};
  wanted.buckets[0].set({2, 2, 2});
  EXPECT_EQ(changes(), json::array());
}

TEST_F(Difference, SaysWhatCannotBeChanged) {
  wanted.partitions = 16;
  EXPECT_NE(refusal().find("the file says 16, the cluster has 8"), std::string::npos);
  wanted.partitions = 8;
  wanted.buckets[0].conflict = conflict_rule::siblings;
  EXPECT_NE(refusal().find("bucket default: the file says db 0, conflict siblings"), std::string::npos);
  wanted.buckets[0].conflict = conflict_rule::lww;
  now["members"][1]["state"] = "leaving";
  EXPECT_NE(refusal().find("n2 is on its way out of the cluster"), std::string::npos);
  wanted.cluster = "other";
  EXPECT_NE(refusal().find("the file is of cluster \"other\", the node is of \"shop\""), std::string::npos);
}

TEST_F(Difference, WhateverTheNodeTellsDoesNotHurt) {
  for (const auto& told : {json(nullptr), json(3), json::parse(R"({"members": 1, "buckets": [1, {"name": 2}]})")})
    topology_difference_of(wanted, told, true);
}
