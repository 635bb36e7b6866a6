#include "protocol/ring.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>

using namespace crema;
using namespace crema::protocol;

namespace {

ring make_ring(uint32_t count, uint32_t n = 3, uint32_t partitions = 1024) {
  ring r;
  r.epoch = 1;
  for (uint32_t i = 0; i < count; ++i)
    r.members.push_back({node_id{i * 3}, "n" + std::to_string(i), "host" + std::to_string(i), "", 1});
  r.owners = claim({}, r.members, partitions, n);
  return r;
}

} // namespace

TEST(Ring, FindsMembersById) {
  auto r = make_ring(5);
  for (const auto& m : r.members)
    EXPECT_EQ(r.find(m.id), &m);
  EXPECT_EQ(r.find(node_id{1}), nullptr);
  EXPECT_EQ(r.find(node_id{100}), nullptr);
  EXPECT_EQ(ring{}.find(node_id{0}), nullptr);
}

TEST(Ring, CountsMovedPairsWhateverTheirOrder) {
  const node_id a{1}, b{2}, c{3};
  EXPECT_EQ(moved({{a, b}}, {{b, a}}), 0U);
  EXPECT_EQ(moved({{a, b}, {b, c}}, {{a, c}, {b, c}}), 1U);
  EXPECT_EQ(moved({{a, b, c}}, {{a}}), 0U);
  EXPECT_EQ(moved({}, {{a, b}, {c}}), 3U);
}

TEST(PreferenceList, StartsWithTheFirstOwnersAndContainsEveryMemberOnce) {
  for (uint32_t count : {1U, 2U, 5U, 30U}) {
    auto r = make_ring(count);
    for (uint32_t n = 1; n <= 3; ++n) {
      for (uint32_t p = 0; p < r.partitions(); p += 7) {
        auto list = r.preference_list(static_cast<partition_id>(p), n);
        auto owners = std::min<size_t>(n, r.owners[p].size());
        ASSERT_EQ(list.size(), count);
        ASSERT_EQ(std::set<node_id>(list.begin(), list.end()).size(), count);
        ASSERT_TRUE(std::equal(list.begin(), list.begin() + static_cast<std::ptrdiff_t>(owners), r.owners[p].begin()));
      }
    }
  }
}

TEST(PreferenceList, SpreadsTheLoadOfADeadNodeOverAllOthers) {
  auto r = make_ring(11, 3, 4096);
  const auto dead = r.members[4].id;
  std::map<node_id, uint32_t> stands_in;
  uint32_t lost = 0;
  for (uint32_t p = 0; p < r.partitions(); ++p) {
    auto list = r.preference_list(static_cast<partition_id>(p), 3);
    if (std::find(list.begin(), list.begin() + 3, dead) != list.begin() + 3) {
      ++lost;
      ++stands_in[list[3]];
    }
  }
  EXPECT_EQ(stands_in.size(), 10U);
  for (auto [id, count] : stands_in) {
    EXPECT_GT(count, lost / 10 / 2) << to_index(id);
    EXPECT_LT(count, lost / 10 * 3 / 2) << to_index(id);
  }
}

TEST(PreferenceList, KeepsTheOrderOfFallbacksWhenAnotherMemberComes) {
  auto r = make_ring(6);
  auto before = r.preference_list(17, 3);
  r.members.push_back({node_id{99}, "new", "new", "", 1});
  auto after = r.preference_list(17, 3);
  after.erase(std::find(after.begin(), after.end(), node_id{99}));
  EXPECT_EQ(after, before);
}

TEST(PreferenceList, IsTheSameOnEveryMachineAndInEveryRelease) {
  // Nodes of different releases must agree on it: a change of this order needs a new epoch, not a new constant here.
  ring r;
  for (uint32_t i = 0; i < 6; ++i)
    r.members.push_back({node_id{i}, "", "", "", 1});
  r.owners = {{node_id{2}, node_id{5}}, {node_id{0}, node_id{1}}};
  auto words = [&](partition_id p) {
    std::string list;
    for (auto id : r.preference_list(p, 2))
      list += std::to_string(to_index(id));
    return list;
  };
  EXPECT_EQ(words(0), "254031");
  EXPECT_EQ(words(1), "015423");
}
