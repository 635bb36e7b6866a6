// The verbs of the simulated world do what they say: what a node is like after each of its faults.
#include "apps/simulation/world.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace crema::simulation {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

world::options cluster_of(size_t nodes) {
  world::options o;
  o.cluster.cluster = "test";
  o.cluster.partitions = 8;
  for (size_t i = 1; i <= nodes; ++i) {
    config::node_config n;
    n.name = n.host = "n" + std::to_string(i);
    o.cluster.nodes.push_back(n);
  }
  config::bucket_config b;
  b.name = "registers";
  b.n = 3;
  b.r = b.w = 2;
  b.durability = durability::interval;
  b.sloppy = false;
  o.cluster.buckets = {b};
  return o;
}

class World : public testing::Test {
protected:
  explicit World(size_t nodes = 3) : World(cluster_of(nodes)) {}
  explicit World(world::options o) : w(std::move(o)) { run(seconds{3}); }
  void run(sim_time time) { ASSERT_TRUE(w.run_until(w.now() + time)); }
  /// @returns what became of it a second later; nothing: no answer.
  std::optional<errc> put(size_t node, const std::string& key) {
    auto status = std::make_shared<std::optional<errc>>();
    submit(node, key, status);
    w.run_until(w.now() + seconds{1});
    return *status;
  }
  /// How many values there are; nothing: the read failed.
  std::optional<size_t> get(size_t node, const std::string& key) {
    auto values = std::make_shared<std::optional<size_t>>();
    client_request r;
    r.what = client_request::kind::get;
    r.key = key;
    w.submit(
        node, r,
        [values](const client_reply& reply) {
          if (reply.status == errc::ok)
            *values = reply.values.size();
        },
        [] {});
    w.run_until(w.now() + seconds{5});
    return *values;
  }
  bool submit(size_t node, const std::string& key, const std::shared_ptr<std::optional<errc>>& status) {
    client_request r;
    r.what = client_request::kind::put;
    r.key = key;
    r.value = "v";
    return w.submit(
        node, r, [status](const client_reply& reply) { *status = reply.status; }, [] {});
  }
  size_t keys_of(size_t node) {
    size_t count = 0;
    for (partition_id p = 0; p < 8; ++p)
      EXPECT_TRUE(w.store(node)
                      ->scan({0, p}, {},
                             [&](std::string_view, std::string_view) {
                               ++count;
                               return true;
                             })
                      .ok());
    return count;
  }
  /// Under which replica ids has the node named writes?
  size_t ids_of(size_t node) const {
    std::set<replica_id> ids;
    for (const auto& [where, write] : w.writes())
      if (write.giver == node)
        ids.insert(where.second.replica);
    return ids.size();
  }

  world w;
};

TEST_F(World, AnOrderlyStopAnswersWhatIsUnderWayAndTurnsNewClientsAway) {
  auto under_way = std::make_shared<std::optional<errc>>();
  ASSERT_TRUE(submit(0, "k", under_way));
  w.stop(0);
  auto late = std::make_shared<std::optional<errc>>();
  EXPECT_FALSE(submit(0, "k", late));
  run(seconds{3});
  EXPECT_EQ(*under_way, errc::ok);
  EXPECT_FALSE(w.running(0));
  EXPECT_EQ(w.unsynced_batches(0), 0U);
  EXPECT_EQ(keys_of(0), 1U);
}

TEST_F(World, ANodeKeepsItsReplicaIdAfterAProcessCrashAndAfterAnOrderlyStopButNotAfterAMachineCrash) {
  ASSERT_EQ(put(0, "a"), errc::ok);
  w.crash_process(0);
  w.start(0);
  run(seconds{3});
  ASSERT_EQ(put(0, "b"), errc::ok);
  w.stop(0);
  run(seconds{3});
  w.crash_machine(0, 0); // It was not running, and all is on disk.
  w.start(0);
  run(seconds{3});
  ASSERT_EQ(put(0, "c"), errc::ok);
  EXPECT_EQ(ids_of(0), 1U);
  w.crash_machine(0, 0);
  w.start(0);
  run(seconds{3});
  ASSERT_EQ(put(0, "d"), errc::ok);
  EXPECT_EQ(ids_of(0), 2U);
}

TEST_F(World, AMachineCrashKeepsAPrefixOfWhatWasNotSynced) {
  w.slow_disk(0, milliseconds{60'000}); // The background sync does not come in time.
  for (const auto* key : {"a", "b", "c", "d"})
    ASSERT_EQ(put(0, key), errc::ok);
  ASSERT_EQ(keys_of(0), 4U);
  ASSERT_GE(w.unsynced_batches(0), 4U);
  w.crash_machine(0, 3);
  EXPECT_EQ(keys_of(0), 3U);
  w.start(0);
  w.crash_machine(0, 0);
  EXPECT_EQ(keys_of(0), 3U) << "what a start finds is on disk";
}

TEST_F(World, AFullDiskKillsTheNodeAndKeepsItFromStartingUntilThereIsSpace) {
  w.fill_disk(0);
  put(0, "k");
  EXPECT_FALSE(w.running(0));
  w.start(0);
  EXPECT_FALSE(w.running(0));
  w.free_disk(0);
  w.start(0);
  EXPECT_TRUE(w.running(0));
  run(seconds{3});
  EXPECT_EQ(put(0, "k"), errc::ok);
}

TEST_F(World, AFailedSyncKillsTheNode) {
  w.fail_next_sync(0);
  EXPECT_EQ(put(0, "k"), errc::ok) << "the sync comes later";
  put(0, "k");
  EXPECT_FALSE(w.running(0));
}

TEST_F(World, ASyncThatFailsInTheBackgroundKillsAnIdleNode) {
  for (int i = 0; i < 11; ++i) { // With and without a report that waits for it.
    w.start(0);
    run(milliseconds{3000 + 100 * i});
    w.fail_next_sync(0);
    EXPECT_EQ(put(0, "k"), errc::ok);
    run(seconds{3});
    EXPECT_FALSE(w.running(0)) << i;
  }
}

TEST_F(World, ACrashAmidWorkStrikesBetweenTwoStepsOfTheNode) {
  auto before = w.steps();
  uint64_t at = 0;
  w.amid_work(0, 7, [&] {
    at = w.steps();
    w.crash_process(0);
  });
  auto status = std::make_shared<std::optional<errc>>();
  submit(0, "k", status);
  run(seconds{3});
  EXPECT_GE(at, before + 7);
  EXPECT_FALSE(w.running(0));
}

/// A cluster of five in which one has never been there, and a write that the other two owners of its key have
/// acknowledged.
class WorldBegunWithoutOne : public World {
protected:
  WorldBegunWithoutOne() : World(5) {}
  static constexpr size_t newcomer = 3;
  size_t keeper = 0, loser = 0, bystander = 0;

  void SetUp() override {
    key_ = "k";
    auto others = [&] {
      auto all = w.owners(0, key_);
      auto found = std::find(all.begin(), all.end(), newcomer);
      if (found != all.end())
        all.erase(found);
      return all;
    };
    while (others().size() != 2)
      key_ += "k";
    loser = others()[0];
    keeper = others()[1];
    while (bystander == loser || bystander == keeper || bystander == newcomer)
      ++bystander;
    for (size_t n = 0; n < w.nodes(); ++n) // The world began with all of them.
      w.lose_disk(n);
    for (size_t n = 0; n < w.nodes(); ++n)
      if (n != newcomer)
        w.start(n);
    run(seconds{5});
    w.back_up(loser);
    ASSERT_EQ(put(bystander, key_), errc::ok);
    w.stop(keeper);
    run(seconds{1});
  }
  void expect_that_they_wait_for_the_third() {
    w.start(loser);
    w.start(newcomer);
    run(seconds{20});
    EXPECT_EQ(get(bystander, key_), std::nullopt) << "neither can know what was acknowledged";
    w.start(keeper);
    run(seconds{10});
    EXPECT_EQ(get(bystander, key_), 1U);
    EXPECT_EQ(get(loser, key_), 1U);
  }
  std::string key_;
};

TEST_F(WorldBegunWithoutOne, AnOwnerThatGotABackupBackAndANewOneDoNotBeginWithoutTheThird) {
  w.lose_disk(loser);
  expect_that_they_wait_for_the_third();
}

TEST_F(WorldBegunWithoutOne, AnOwnerThatLostItsDiskAndANewOneDoNotBeginWithoutTheThird) {
  w.lose_disk(loser);
  w.lose_disk(loser); // There was one backup.
  for (size_t n = 0; n < w.nodes(); ++n)
    if (w.running(n)) { // Who remembers does so on disk.
      w.crash_process(n);
      w.start(n);
    }
  expect_that_they_wait_for_the_third();
}

TEST_F(WorldBegunWithoutOne, ABackupThatIsStillUnsureAfterAnOrderlyStopIsNotANewDirectory) {
  w.lose_disk(loser);
  w.start(loser);
  run(seconds{3});
  w.stop(loser);
  run(seconds{3});
  expect_that_they_wait_for_the_third();
}

TEST_F(WorldBegunWithoutOne, TwoThatLostTheirDisksBeginWithTheThirdAlthoughItIsEmpty) {
  for (auto n : {loser, loser, keeper})
    w.lose_disk(n);
  w.start(loser);
  w.start(keeper);
  run(seconds{10});
  EXPECT_EQ(get(bystander, key_), std::nullopt) << "they cannot know that the third has nothing";
  w.start(newcomer);
  run(seconds{10});
  EXPECT_EQ(get(bystander, key_), 0U) << "more is lost than two acknowledgements survive";
  EXPECT_EQ(put(bystander, key_), errc::ok);
}

class WorldOfMixedVersions : public World {
protected:
  WorldOfMixedVersions() : World(options()) {}
  static world::options options() {
    auto o = cluster_of(3);
    o.mixed_versions = true;
    return o;
  }
  void restart_until(size_t node, uint16_t version) {
    for (int i = 0; i < 100 && w.message_version(node) != version; ++i) {
      w.crash_process(node);
      w.start(node);
    }
    ASSERT_EQ(w.message_version(node), version);
    run(seconds{3});
  }
};

/// That peers are spoken to in their version the world sees to by itself, in every message.
TEST_F(WorldOfMixedVersions, IsUpgradedNodeByNodeAndBack) {
  for (size_t node = 0; node < 3; ++node)
    restart_until(node, message_version_oldest);
  for (auto version : {message_version_newest, message_version_oldest})
    for (size_t upgraded = 0; upgraded < 3; ++upgraded) {
      restart_until(upgraded, version);
      for (size_t node = 0; node < 3; ++node)
        ASSERT_EQ(put(node, "of " + std::to_string(node)), errc::ok);
      for (size_t node = 0; node < 3; ++node)
        EXPECT_EQ(get(node, "of " + std::to_string((node + 1) % 3)), 1U);
    }
  for (size_t node = 0; node < 3; ++node)
    EXPECT_EQ(keys_of(node), 3U);
}

/// Four members, and one that may join.
class WorldWithASpare : public World {
protected:
  using kind = topology_order::kind;
  static constexpr size_t spare = 4;

  explicit WorldWithASpare(size_t members = 4, uint32_t copies = 3) : World(options(members, copies)) {}
  static world::options options(size_t members, uint32_t copies) {
    auto o = cluster_of(members);
    o.spares = 1;
    auto& b = o.cluster.buckets.front();
    b.n = copies;
    b.r = b.w = copies / 2 + 1;
    return o;
  }
  /// @returns what the node says, or said: it may die meanwhile.
  std::string order(size_t node, topology_order what) {
    auto told = std::make_shared<std::string>();
    w.order(node, std::move(what), [told](const std::string& json) { *told = json; });
    w.run_until(w.now() + seconds{1});
    return *told;
  }
  void commit(size_t node, protocol::topology_change change) {
    EXPECT_EQ(order(node, {kind::plan, {std::move(change)}, {}}).find("error"), std::string::npos);
    EXPECT_EQ(order(node, {kind::commit, {}, {}}).find("error"), std::string::npos);
  }
  bool settled() const {
    const auto& ring = w.newest_ring();
    return !ring.job && !ring.joint() && ring.former.empty();
  }
  void wait_until_settled() {
    for (int i = 0; i < 60 && !settled(); ++i)
      run(seconds{1});
    ASSERT_TRUE(settled());
    run(seconds{2});
    for (size_t n = 0; n < w.nodes(); ++n)
      EXPECT_TRUE(!w.member(n) || w.epoch(n) == w.newest_ring().epoch) << n;
  }
};

TEST_F(WorldWithASpare, StartsItOnceARingNamesIt) {
  ASSERT_EQ(put(0, "k"), errc::ok);
  w.start(spare);
  EXPECT_FALSE(w.running(spare)) << "nobody has heard of it";
  commit(0, protocol::join_node{w.newcomer(spare)});
  EXPECT_TRUE(w.member(spare));
  w.start(spare);
  EXPECT_TRUE(w.running(spare));
  wait_until_settled();
  EXPECT_EQ(get(spare, "k"), 1U);
  EXPECT_EQ(put(spare, "l"), errc::ok);
  EXPECT_EQ(w.rings().size(), 4U) << "as configured, joint, with former owners, settled";
}

class WorldOfTwo : public WorldWithASpare {
protected:
  WorldOfTwo() : WorldWithASpare(2, 1) {}
};

// It is the first to know that it has left, and dies before it has told the other, who has no majority alone.
TEST_F(WorldOfTwo, WhoHasLeftStartsAgainIfItMayBeTheOnlyOneThatKnows) {
  for (size_t leaving = 0; leaving < 2; ++leaving) { // By then the one with the lower id, which proposes.
    auto staying = 1 - leaving;
    w.on_ring([&](size_t n) {
      if (n == leaving && w.newest_ring().members.size() == 1)
        w.cut(leaving, staying);
    });
    commit(staying, protocol::leave_node{"n" + std::to_string(leaving + 1)});
    for (int i = 0; i < 60 && w.member(leaving); ++i)
      run(milliseconds{500});
    w.on_ring({});
    w.crash_process(leaving);
    w.heal_all();
    run(seconds{20});
    ASSERT_FALSE(w.member(leaving));
    ASSERT_LT(w.epoch(staying), w.epoch(leaving));
    EXPECT_FALSE(w.has_left(leaving));
    w.start(leaving);
    ASSERT_TRUE(w.running(leaving));
    run(seconds{5});
    EXPECT_EQ(w.epoch(staying), w.epoch(leaving));
    EXPECT_TRUE(w.has_left(leaving));
    EXPECT_EQ(put(staying, "k"), errc::ok);
    w.stop(leaving);
    run(seconds{1});
    w.start(leaving);
    EXPECT_FALSE(w.running(leaving));
    w.retire(leaving);
    commit(staying, protocol::join_node{w.newcomer(leaving)});
    w.start(leaving);
    wait_until_settled();
  }
}

TEST_F(WorldWithASpare, OneThatLeftComesBackAsAnotherUnderItsName) {
  ASSERT_EQ(put(0, "k"), errc::ok);
  commit(1, protocol::leave_node{"n4"});
  wait_until_settled();
  EXPECT_FALSE(w.member(3));
  EXPECT_TRUE(w.running(3)) << "its process is somebody's to stop";
  w.retire(3);
  w.start(3);
  EXPECT_FALSE(w.running(3));
  commit(1, protocol::join_node{w.newcomer(3)});
  w.start(3);
  wait_until_settled();
  ASSERT_TRUE(w.member(3));
  auto id = w.newest_ring().find("n4")->id;
  EXPECT_NE(id, node_id{3});
  EXPECT_EQ(w.index_of(id), 3U);
  EXPECT_EQ(w.index_of(node_id{3}), 3U) << "who it was is not forgotten";
  EXPECT_EQ(get(3, "k"), 1U);
}

/// Buckets come and go.
class WorldOfBuckets : public WorldWithASpare {
protected:
  static protocol::create_bucket late() { return {"late", {}, conflict_rule::siblings, {}}; }
  bucket_id id() const { return w.newest_ring().buckets.back().id; }
  /// What became of a put a second later; nothing: no answer.
  std::optional<errc> put_to(size_t node, bucket_id bucket) {
    auto status = std::make_shared<std::optional<errc>>();
    client_request r;
    r.what = client_request::kind::put;
    r.bucket = bucket;
    r.key = "k";
    r.value = "v";
    w.submit(
        node, r, [status](const client_reply& reply) { *status = reply.status; }, [] {});
    w.run_until(w.now() + seconds{1});
    return *status;
  }
  /// On how many disks is there something of the bucket?
  size_t disks_with(bucket_id bucket) const {
    size_t count = 0;
    for (size_t n = 0; n < w.nodes(); ++n) {
      const auto clocks = w.store(n)->load_clocks().clocks;
      count += std::any_of(clocks.begin(), clocks.end(), [&](const auto& x) { return x.first.bucket == bucket; });
    }
    return count;
  }
};

TEST_F(WorldOfBuckets, AreUsedOnAllNodesOnceTheyAreCreatedAndGoneOnceTheyAreDropped) {
  commit(0, late());
  auto bucket = id();
  ASSERT_EQ(find_bucket(w.cluster(), bucket)->name, "late#1024");
  for (size_t n = 0; n < 4; ++n)
    EXPECT_EQ(put_to(n, bucket), errc::ok) << n;
  EXPECT_EQ(w.owners(bucket, "k").size(), 3U);
  EXPECT_EQ(w.ownerships(bucket, "k").front().since, sim_time{}) << "nobody else has ever had it";
  EXPECT_EQ(disks_with(bucket), 3U);
  commit(1, protocol::drop_bucket{"late"});
  for (size_t n = 0; n < 4; ++n)
    EXPECT_EQ(put_to(n, bucket), errc::not_owner) << n;
  EXPECT_EQ(w.owners(bucket, "k").size(), 0U);
  EXPECT_EQ(w.ownerships(bucket, "k").size(), 1U) << "what was asked of it is judged all the same";
  EXPECT_EQ(disks_with(bucket), 0U);
  EXPECT_EQ(find_bucket(w.cluster(), bucket)->conflict, conflict_rule::siblings);
}

TEST_F(WorldOfBuckets, AreDroppedByWhoWasAwayAlsoIfThereIsAnotherOfThatName) {
  commit(0, late());
  auto bucket = id();
  ASSERT_EQ(put_to(0, bucket), errc::ok);
  auto away = w.owners(bucket, "k").back();
  auto at = (away + 1) % 4;
  w.crash_process(away);
  commit(at, protocol::drop_bucket{"late"});
  commit(at, late());
  EXPECT_NE(id(), bucket);
  EXPECT_EQ(find_bucket(w.cluster(), id())->name, "late#1025");
  EXPECT_EQ(disks_with(bucket), 1U) << "that of the one who is away";
  auto dropped = w.now();
  EXPECT_TRUE(w.knew_bucket(away, bucket, true, dropped - seconds{1}, dropped));
  EXPECT_TRUE(w.knew_bucket(at, bucket, false, dropped - seconds{1}, dropped));
  EXPECT_FALSE(w.knew_bucket(at, bucket, true, sim_time{}, dropped)) << "not all the time";
  EXPECT_FALSE(w.knew_bucket(at, bucket, false, sim_time{}, dropped));
  w.start(away);
  run(seconds{5});
  EXPECT_EQ(disks_with(bucket), 0U);
  EXPECT_EQ(put_to(away, bucket), errc::not_owner);
  EXPECT_EQ(put_to(away, id()), errc::ok);
}

TEST_F(WorldOfBuckets, WhoDiesBetweenTheRingAndTheDropDropsWhenItStarts) {
  commit(0, late());
  auto bucket = id();
  ASSERT_EQ(put_to(0, bucket), errc::ok);
  auto owner = w.owners(bucket, "k").back();
  auto at = (owner + 1) % 4;
  w.on_ring([this, owner](size_t node) {
    if (node == owner)
      w.amid_work(node, 0, [this, node] { w.crash_process(node); });
  });
  commit(at, protocol::drop_bucket{"late"});
  ASSERT_FALSE(w.running(owner));
  EXPECT_EQ(w.epoch(owner), w.newest_ring().epoch);
  EXPECT_EQ(disks_with(bucket), 1U);
  w.start(owner);
  run(seconds{1});
  EXPECT_EQ(disks_with(bucket), 0U);
}

TEST_F(WorldWithASpare, AProposerMayDieAnywhereOnTheWay) {
  for (uint64_t steps = 0; steps < 60; steps += 4) {
    SCOPED_TRACE(steps);
    auto weight = static_cast<uint32_t>(steps % 3 + 1);
    order(0, {kind::plan, {protocol::set_weight{"n2", weight == w.newest_ring().find("n2")->weight ? 5 : weight}}, {}});
    w.amid_work(0, steps, [this] { w.crash_process(0); });
    order(0, {kind::commit, {}, {}});
    w.crash_process(0);
    w.start(0);
    run(seconds{10}); // What was half done is done by then.
    wait_until_settled();
  }
  EXPECT_EQ(put(0, "k"), errc::ok);
}

} // namespace
} // namespace crema::simulation
