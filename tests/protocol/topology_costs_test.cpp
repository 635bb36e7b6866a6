#include "protocol/topology_costs.hpp"
#include "tests/protocol/topology_life.hpp"

#include <gtest/gtest.h>

#include <string>

using namespace crema;
using namespace crema::protocol;

namespace {

constexpr uint64_t mib = uint64_t{1} << 20;

/// Three owners of 64 partitions on four nodes: each owns 48.
class Costs : public testing::Test {
protected:
  Costs() : life(first_ring(members(4), 3), 3) {
    for (uint32_t i = 0; i < 4; ++i)
      usage[node_id{i}] = {48 * mib, 100 * mib};
  }
  topology_life life;
  std::map<node_id, node_usage> usage;
};

TEST_F(Costs, APartitionIsAsLargeAsItsOwnersSay) {
  EXPECT_EQ(bytes_per_partition(life.now, usage), std::vector<uint64_t>(64, mib));
  usage[node_id{0}].stored = 96 * mib;
  auto bytes = bytes_per_partition(life.now, usage);
  for (size_t p = 0; p < bytes.size(); ++p)
    EXPECT_EQ(bytes[p], life.now.owns(node_id{0}, static_cast<partition_id>(p), 3) ? 4 * mib / 3 : mib);
  usage.erase(node_id{1}); // It is down: the others tell.
  EXPECT_EQ(bytes_per_partition(life.now, usage).size(), 64U);
  EXPECT_TRUE(bytes_per_partition(life.now, {}).empty());
}

TEST_F(Costs, APlanTellsBytesAndTheTimeThatTheBusiestNodeNeeds) {
  life.given.bytes = bytes_per_partition(life.now, usage);
  auto plan = allowed(plan_topology(life.now, {leave_node{"n3"}}, life.given));
  std::map<node_id, uint64_t> gets;
  uint64_t all = 0, most = 0;
  for (const auto& t : plan.transfers) {
    EXPECT_EQ(t.bytes, t.partitions * mib);
    all += t.bytes;
    most = std::max(most, gets[t.to] += t.bytes);
  }
  EXPECT_EQ(all, 48 * mib);
  EXPECT_EQ(time_to_copy(plan.transfers, mib), std::chrono::seconds{most / mib}) << "all at the same time";
  EXPECT_EQ(time_to_copy(plan.transfers, 1000 * mib), std::chrono::seconds{1});
  EXPECT_FALSE(time_to_copy({}, mib));
}

TEST_F(Costs, WarnsOfNodesThatHaveNoRoom) {
  life.given.bytes = bytes_per_partition(life.now, usage);
  auto plan = allowed(plan_topology(life.now, {leave_node{"n3"}}, life.given));
  EXPECT_TRUE(warn_of_room(plan, usage).empty());
  usage[node_id{1}].disk_free = 10 * mib;
  usage[node_id{2}].disk_free = 0; // Not known.
  auto warned = warn_of_room(plan, usage);
  ASSERT_EQ(warned.size(), 1U);
  EXPECT_EQ(warned[0], "n1 is to get about 16.0 MiB, and 10.0 MiB are free on its disk");
}

TEST_F(Costs, ProgressIsWhatAllTellOfThisEpoch) {
  life.plan({leave_node{"n3"}});
  topology_state state;
  state.progress[node_id{0}] = {life.now.epoch, 16, 4, 0};
  state.progress[node_id{1}] = {life.now.epoch, 16, 16, 1};
  state.progress[node_id{2}] = {life.now.epoch - 1, 99, 99, 9}; // Of before.
  auto x = progress_of(life.now, state, usage);
  EXPECT_EQ(std::make_tuple(x.to_get, x.got, x.former), std::make_tuple(32U, 20U, 1U));
  EXPECT_EQ(x.bytes_to_get, 48 * mib);
  EXPECT_EQ(x.bytes_got, 4 * mib + 16 * mib);
  EXPECT_EQ(progress_of(life.now, state, {}).bytes_to_get, 0U);
}

TEST(MovePace, IsOfTheLastSecondsOfOneEpoch) {
  using std::chrono::seconds;
  move_pace pace;
  change_progress x{100, 0, 0, 0, 0};
  pace.note(seconds{1}, 2, x);
  EXPECT_FALSE(pace.time_left());
  x.got = 10;
  pace.note(seconds{6}, 2, x);
  EXPECT_DOUBLE_EQ(pace.vnodes_per_second(), 2);
  EXPECT_EQ(pace.time_left(), seconds{45});
  x.got = 100;
  pace.note(seconds{20}, 2, x);
  EXPECT_FALSE(pace.time_left()) << "it is done";
  x.to_get = 120;
  pace.note(seconds{21}, 2, x);
  EXPECT_EQ(pace.vnodes_per_second(), 0) << "somebody has told more: it begins anew";
  pace.note(seconds{22}, 3, x);
  EXPECT_FALSE(pace.time_left());
}

TEST(BytesInWords, HaveAUnit) {
  EXPECT_EQ(bytes_in_words(512), "512 B");
  EXPECT_EQ(bytes_in_words(1536), "1.5 KiB");
  EXPECT_EQ(bytes_in_words(uint64_t{20} << 30), "20.0 GiB");
}

} // namespace
