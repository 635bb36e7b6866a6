// The ring that a fresh cluster begins with, and what is made of it at the next start.
#include "actors/node_setup.hpp"

#include "storage/memory_store.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

namespace crema::test {
namespace {

config::cluster_config grouped(const std::vector<std::pair<std::string, std::string>>& nodes, uint32_t n) {
  config::cluster_config config;
  config.cluster = "test";
  config.partitions = 64;
  for (const auto& [name, group] : nodes) {
    config::node_config node;
    node.name = name;
    node.host = "10.0.0." + name.substr(1);
    node.group = group;
    config.nodes.push_back(node);
  }
  config::bucket_config bucket;
  bucket.name = "default";
  bucket.n = n;
  config.buckets.push_back(bucket);
  return config;
}

/// The sets of owners there are, by name, and how many partitions each has.
std::map<std::set<std::string>, size_t> owner_sets(const protocol::ring& ring) {
  std::map<std::set<std::string>, size_t> result;
  for (const auto& row : ring.owners) {
    std::set<std::string> names;
    for (auto id : row)
      names.insert(ring.find(id)->name);
    ++result[names];
  }
  return result;
}

} // namespace

TEST(NodeSetup, DealsPartitionsToTheGroupsOfTheConfigurationWhateverTheirOrder) {
  auto config = grouped({{"n4", "b"}, {"n1", "a"}, {"n5", "b"}, {"n2", "a"}, {"n3", "a"}}, 2);
  auto ring = claim_ring(config);
  // By weight: two groups of three and two nodes.
  EXPECT_EQ(owner_sets(ring).size(), 2U);
  EXPECT_NEAR(static_cast<double>(owner_sets(ring)[{"n1", "n2", "n3"}]), 64 * 3 / 5.0, 1);
  EXPECT_NEAR(static_cast<double>(owner_sets(ring)[{"n4", "n5"}]), 64 * 2 / 5.0, 1);
  ASSERT_EQ(ring.groups.size(), 2U);
  EXPECT_EQ(ring.groups[0].name, "a");
  std::reverse(config.nodes.begin(), config.nodes.end());
  EXPECT_EQ(claim_ring(config), ring);
}

TEST(NodeSetup, KeepsTheGroupsOnDisk) {
  auto config = grouped({{"n1", "a"}, {"n2", "a"}, {"n3", "b"}, {"n4", "b"}}, 2);
  auto store = storage::open_memory(storage::make_memory_disk());
  auto first = load_or_claim_ring(*store, config);
  auto again = load_or_claim_ring(*store, config);
  ASSERT_TRUE(first.ring && again.ring) << again.error;
  EXPECT_EQ(*again.ring, *first.ring);
  EXPECT_EQ(again.ring->groups.size(), 2U);
}

TEST(NodeSetup, RefusesABucketWithMoreCopiesThanTheSmallestGroupHasNodes) {
  auto config = grouped({{"n1", "a"}, {"n2", "a"}, {"n3", "a"}, {"n4", "b"}, {"n5", "b"}}, 2);
  auto store = storage::open_memory(storage::make_memory_disk());
  ASSERT_TRUE(load_or_claim_ring(*store, config).ring);
  config.buckets[0].n = 3;
  auto refused = load_or_claim_ring(*store, config);
  EXPECT_TRUE(refused.misconfigured);
  EXPECT_NE(refused.error.find("allowed: n up to 2"), std::string::npos) << refused.error;
}

// docs/topology.md, "Who has left".
TEST(NodeSetup, WhoWasRemovedStartsAgainUntilItWasToldThatEnoughOthersKnow) {
  auto store = storage::open_memory(storage::make_memory_disk());
  auto ring = claim_ring(grouped({{"n1", ""}, {"n2", ""}}, 1));
  EXPECT_FALSE(has_left(*store, ring, "n1", 11)) << "a member, whatever its directory";
  EXPECT_TRUE(has_left(*store, ring, "n3", 33)) << "was to join, and never had a vote";
  ring.removed = {{node_id{7}, "n3", 32}, {node_id{8}, "n3", 33}};
  EXPECT_TRUE(has_left(*store, ring, "n3", 32)) << "long ago: another one has been in its place";
  EXPECT_TRUE(has_left(*store, ring, "n3", 34)) << "never was a member";
  EXPECT_FALSE(has_left(*store, ring, "n3", 33));
  EXPECT_EQ(make_env(grouped({{"n3", ""}}, 1), "n3", std::make_shared<protocol::ring>(ring))->self, node_id{8});
  ASSERT_TRUE(note_left(*store).ok());
  EXPECT_TRUE(has_left(*store, ring, "n3", 33));
  ring.removed.push_back({node_id{9}, "n1", 11});
  EXPECT_TRUE(has_left(*store, ring, "n1", 11)) << "another one has its name";
  EXPECT_FALSE(has_left(*store, ring, "n1", 12));
}

} // namespace crema::test
