#include "protocol/topology_plan.hpp"

#include "protocol/ring_encoding.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

using namespace crema;
using namespace crema::protocol;

namespace {

new_node node(const std::string& name) {
  new_node x;
  x.name = name;
  x.host = "host-" + name;
  return x;
}

ring cluster(uint32_t count, uint32_t n) {
  ring r;
  r.epoch = 1;
  for (uint32_t i = 1; i <= count; ++i)
    r.members.push_back({node_id{i - 1}, "n" + std::to_string(i), "host-n" + std::to_string(i), "", 1});
  r.next_id = count;
  r.owners = claim({}, r.members, 64, n);
  r.since.assign(64, 1);
  return r;
}

} // namespace

TEST(TopologyPlan, Smoke) {
  auto r = cluster(3, 3);
  planning given;
  given.owners_per_partition = 3;
  given.origin = 42;
  auto plan = plan_topology(r, {join_node{node("n4")}}, given);
  ASSERT_TRUE(std::holds_alternative<topology_plan>(plan)) << std::get<refused>(plan).why;
  auto& p = std::get<topology_plan>(plan);
  EXPECT_EQ(p.moved, 48U);
  EXPECT_EQ(p.added_at_least, 48U);
  EXPECT_EQ(p.after.origin, 42U);
  auto done = complete_change(p.after);
  ASSERT_TRUE(std::holds_alternative<ring>(done));
  auto settled = settle_change(std::get<ring>(done));
  ASSERT_TRUE(std::holds_alternative<ring>(settled));
  EXPECT_EQ(std::get<ring>(settled).epoch, 4U);
  EXPECT_EQ(std::get<ring>(settled).members.size(), 4U);
}
