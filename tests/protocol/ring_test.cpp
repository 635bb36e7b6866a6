#include "protocol/ring.hpp"
#include "protocol/ring_encoding.hpp"

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

// What a fallback took for others was lost with a node whose joining was cancelled (seed 869 of the simulator).
TEST(PreferenceList, HasNoFallbackThatMayBeGoneSoon) {
  ring r;
  r.epoch = 2;
  for (uint32_t i = 0; i < 6; ++i)
    r.members.push_back({node_id{i}, "n" + std::to_string(i), "h", "", 1});
  r.owners = {{node_id{0}, node_id{1}}};
  r.members[1].state = member_state::leaving;
  r.members[2].state = member_state::joining;
  r.members[3].state = member_state::leaving;
  r.members[4].state = member_state::gone;
  EXPECT_EQ(r.preference_list(0, 2), (std::vector<node_id>{node_id{0}, node_id{1}, node_id{5}}));
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

namespace {

const node_id a{0}, b{1}, c{2}, d{3};

/// Four members; what a, b and c owned is to be, or has become, what b, c and d own.
ring changing() {
  ring r;
  r.epoch = 7;
  r.origin = 5;
  for (auto id : {a, b, c, d})
    r.members.push_back({id, "n" + std::to_string(to_index(id)), "host", "zone", 2, 7101, 6401, 99,
                         id == d ? member_state::joining : member_state::full});
  r.next_id = 4;
  r.owners = {{a, b, c}, {a, b, c}};
  r.since = {7, 2};
  return r;
}

std::vector<std::string> names_of(const ring& r, const std::vector<node_id>& nodes) {
  std::vector<std::string> names;
  for (auto n : nodes)
    names.push_back(r.find(n)->name);
  return names;
}

} // namespace

TEST(Ring, WritesToOwnersToBeAndReadsFromOwners) {
  auto r = changing();
  r.next = {{d, c, b}, {c, a, b}};
  EXPECT_TRUE(r.joint());
  EXPECT_EQ(r.owners_of(0, 3), (std::vector<node_id>{a, b, c}));
  EXPECT_EQ(r.also_written(0, 3), (std::vector<node_id>{d, c, b}));
  EXPECT_EQ(r.also_written(0, 1), std::vector<node_id>{d});
  EXPECT_EQ(r.holders_of(0, 3), (std::vector<node_id>{a, b, c, d}));
  EXPECT_TRUE(r.holds(d, 0, 3));
  EXPECT_FALSE(r.owns(d, 0, 3));
  EXPECT_FALSE(r.holds(d, 1, 3));
  EXPECT_TRUE(r.also_written(1, 3).empty()) << "The same nodes in another order.";
  EXPECT_EQ(r.also_written(1, 1), std::vector<node_id>{c}) << "Whose first is another one.";
  EXPECT_EQ(names_of(r, r.preference_list(0, 3)), (std::vector<std::string>{"n0", "n1", "n2"}))
      << "Who is to own it takes no owner's place.";
}

TEST(Ring, LetsNobodyStandInWhoMayVanishWithWhatItHolds) {
  auto r = changing();
  r.owners.back() = {a};
  EXPECT_EQ(names_of(r, r.preference_list(1, 1)).size(), 3U) << "n3 is joining.";
  for (auto state : {member_state::gone, member_state::leaving}) {
    r.members[1].state = state;
    EXPECT_EQ(names_of(r, r.preference_list(1, 1)), (std::vector<std::string>{"n0", "n2"}));
  }
}

TEST(Ring, WritesToThoseWhoOwnedItBefore) {
  auto r = changing();
  r.former = r.owners;
  r.owners = {{d, c, b}, {a, b, c}};
  EXPECT_FALSE(r.joint());
  EXPECT_EQ(r.owners_of(0, 3), (std::vector<node_id>{d, c, b}));
  EXPECT_EQ(r.also_written(0, 3), (std::vector<node_id>{a, b, c}));
  EXPECT_FALSE(r.holds(a, 0, 3));
  EXPECT_TRUE(r.also_written(1, 3).empty());
}

TEST(Ring, SurvivesBeingWrittenDown) {
  auto r = changing();
  r.next = {{d, c, b}, {c, a, b}};
  r.former = {{a, b}, {b, c}};
  for (auto* table : {&r.owners, &r.next, &r.former})
    table->resize(8, table->back());
  r.since.resize(8, 3);
  r.removed = {{node_id{9}, "n9", 4711}};
  r.groups = {{"left", {a, b}}, {"right", {c, d}}};
  r.job = topology_job{7, {"join n3", "leave n0"}, true};
  r.job->members_before = {r.members[0], r.members[1]};
  r.job->groups_before = {{"all", {a, b}}};
  auto bytes = encode_ring(r);
  auto again = decode_ring(bytes);
  ASSERT_TRUE(again);
  EXPECT_TRUE(*again == r);
  for (size_t length = 0; length < bytes.size(); ++length)
    EXPECT_FALSE(decode_ring(bytes.substr(0, length))) << length;
  EXPECT_FALSE(decode_ring(bytes + "x"));
}

TEST(Ring, ReadsWhatEarlierVersionsWrote) {
  // Format 1: epoch 1; one member: id 0, name "n1", host "h", zone "", weight 1; eight partitions, owned by it.
  std::string bytes("\x01\x01\x01\x00\x02n1\x01h\x00\x01\x08", 12);
  for (int p = 0; p < 8; ++p)
    bytes.append("\x01\x00", 2);
  auto r = decode_ring(bytes);
  ASSERT_TRUE(r);
  EXPECT_EQ(r->members.front().name, "n1");
  EXPECT_EQ(r->since_of(0), 1U);
  EXPECT_EQ(r->next_id, 1U);
}
