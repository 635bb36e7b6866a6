#include "protocol/slot.hpp"
#include "tests/actors/test_cluster.hpp"

namespace crema::test {
namespace {

using std::chrono::milliseconds;

std::vector<config::bucket_config> buckets(uint32_t n = 3) {
  auto quorum = n / 2 + 1;
  return {bucket("default", 0, conflict_rule::lww, durability::interval, n, quorum, quorum),
          bucket("carts", 1, conflict_rule::siblings, durability::fsync, n, quorum, quorum)};
}

TEST(Cluster, AValueWrittenThroughOneNodeIsReadThroughEveryOther) {
  test_cluster c{3, buckets()};
  for (size_t i = 0; i < 50; ++i) {
    auto key = "k" + std::to_string(i);
    ASSERT_EQ(c.ask(i % 3, put(key, "v" + std::to_string(i))).status, errc::ok);
    for (size_t at = 0; at < 3; ++at)
      EXPECT_EQ(values(c.ask(at, get(key))), std::vector<std::string>{"v" + std::to_string(i)});
  }
}

TEST(Cluster, ANodeThatOwnsNothingOfAKeyServesItAllTheSame) {
  test_cluster c{5, buckets()};
  for (size_t at = 0; at < 5; ++at)
    ASSERT_EQ(c.ask(at, put("k" + std::to_string(at), "v")).status, errc::ok);
  for (size_t at = 0; at < 5; ++at)
    for (size_t k = 0; k < 5; ++k)
      EXPECT_EQ(values(c.ask(at, get("k" + std::to_string(k)))), std::vector<std::string>{"v"});
}

TEST(Cluster, DeletesBeatAcknowledgedWritesAndCountWhatExisted) {
  test_cluster c{3, buckets()};
  for (bucket_id db : {0, 1}) {
    ASSERT_EQ(c.ask(0, put("k", "v", db)).status, errc::ok);
    auto first = c.ask(1, remove("k", db));
    EXPECT_EQ(first.status, errc::ok);
    EXPECT_TRUE(first.existed);
    EXPECT_TRUE(values(c.ask(2, get("k", db))).empty());
    EXPECT_FALSE(c.ask(2, remove("k", db)).existed);
  }
}

TEST(Cluster, ConcurrentPutsLeaveSiblingsAndAPutWithTheirContextReplacesThem) {
  test_cluster c{3, buckets()};
  ASSERT_EQ(c.ask(0, put("k", "a", 1)).status, errc::ok);
  ASSERT_EQ(c.ask(1, put("k", "b", 1)).status, errc::ok);
  auto both = c.ask(2, get("k", 1));
  EXPECT_EQ(values(both), (std::vector<std::string>{"b", "a"}));
  ASSERT_EQ(c.ask(1, put("k", "c", 1)).status, errc::ok);
  auto resolve = put("k", "ab", 1);
  resolve.context = both.context;
  ASSERT_EQ(c.ask(0, resolve).status, errc::ok);
  EXPECT_EQ(values(c.ask(2, get("k", 1))), (std::vector<std::string>{"ab", "c"}));
}

TEST(Cluster, APutReturnsAContextThatCoversItself) {
  test_cluster c{3, buckets()};
  auto first = c.ask(0, put("k", "a", 1));
  auto second = put("k", "b", 1);
  second.context = first.context;
  ASSERT_EQ(c.ask(1, second).status, errc::ok);
  EXPECT_EQ(values(c.ask(2, get("k", 1))), std::vector<std::string>{"b"});
}

TEST(Cluster, APlainSetInASiblingsBucketReplacesWhatAQuorumReadSees) {
  test_cluster c{3, buckets()};
  for (size_t i = 0; i < 5; ++i) {
    auto set = put("k", std::to_string(i), 1);
    set.read_first = true;
    ASSERT_EQ(c.ask(i % 3, set).status, errc::ok);
  }
  EXPECT_EQ(values(c.ask(0, get("k", 1))), std::vector<std::string>{"4"});
}

TEST(Cluster, TheSiblingLimitRefusesAPutWithoutContextAndSaysWhatToDo) {
  test_cluster c{3, buckets()};
  for (size_t i = 0; i < siblings_max; ++i)
    ASSERT_EQ(c.ask(0, put("k", std::to_string(i), 1)).status, errc::ok) << i;
  EXPECT_NE(c.log.str().find("a put without context on a key with 25 siblings"), std::string::npos);
  auto refused = c.ask(0, put("k", "one too many", 1));
  EXPECT_EQ(refused.status, errc::too_many_siblings);
  EXPECT_NE(refused.error.find("CONTEXT"), std::string::npos);
  auto all = c.ask(0, get("k", 1));
  EXPECT_EQ(all.values.size(), siblings_max);
  auto merged = put("k", "merged", 1);
  merged.context = all.context;
  EXPECT_EQ(c.ask(0, merged).status, errc::ok);
  EXPECT_EQ(c.ask(1, get("k", 1)).values.size(), 1U);
}

TEST(Cluster, ValuesExpireOnEveryNodeAtOnce) {
  test_cluster c{3, buckets()};
  auto brief = put("k", "v");
  brief.ttl_ms = 1000;
  ASSERT_EQ(c.ask(0, brief).status, errc::ok);
  EXPECT_EQ(c.ask(1, get("k")).values.size(), 1U);
  c.run_for(milliseconds{1100});
  for (size_t at = 0; at < 3; ++at)
    EXPECT_TRUE(c.ask(at, get("k")).values.empty());
}

// Found by the simulator: a node whose clock had been ahead gave out such times for as long again, and the others
// refused them.
TEST(Cluster, WritesThroughANodeWhoseClockWasAheadSucceedOnceItIsRight) {
  test_cluster c{3, buckets()};
  c.nodes[0].ahead = std::chrono::hours{1};
  auto wrong = c.ask(0, put("k", "from the future"));
  EXPECT_NE(wrong.status, errc::ok) << "the others refuse it";
  c.nodes[0].ahead = {};
  ASSERT_EQ(c.ask(0, put("new", "v")).status, errc::ok);
  ASSERT_EQ(c.ask(0, put("new", "v", 1)).status, errc::ok);
  EXPECT_EQ(values(c.ask(1, get("new"))), std::vector<std::string>{"v"});
  c.kill(0);
  c.start(0); // The bound of its times is on its disk.
  c.link_all();
  c.run_for(milliseconds{500});
  ASSERT_EQ(c.ask(0, put("newer", "v")).status, errc::ok);
  auto all = put("newest", "v");
  all.write = {protocol::quorum_level::kind::all, 0};
  EXPECT_EQ(c.ask(0, all).status, errc::ok) << "it takes part, with the times of others";
}

TEST(Cluster, StaysWritableInOrderWhenTheClocksOfAllNodesAreSetBack) {
  test_cluster c{3, buckets()};
  for (auto& n : c.nodes)
    n.ahead = std::chrono::hours{1};
  for (size_t at = 0; at < 3; ++at)
    ASSERT_EQ(c.ask(at, put("k", "before")).status, errc::ok);
  for (auto& n : c.nodes)
    n.ahead = {};
  auto set = put("k", "");
  set.write = {protocol::quorum_level::kind::all, 0};
  for (size_t i = 0; i < 20; ++i) {
    set.value = std::to_string(i);
    ASSERT_EQ(c.ask(i % 3, set).status, errc::ok) << i;
    EXPECT_EQ(values(c.ask((i + 1) % 3, get("k"))), std::vector<std::string>{set.value});
  }
}

TEST(Cluster, OneNodeStaysWritableWhenItsClockIsSetBack) {
  test_cluster c{1, buckets(1)};
  c.nodes[0].ahead = std::chrono::hours{1};
  ASSERT_EQ(c.ask(0, put("k", "before")).status, errc::ok);
  c.nodes[0].ahead = {};
  ASSERT_EQ(c.ask(0, put("k", "after")).status, errc::ok);
  EXPECT_EQ(values(c.ask(0, get("k"))), std::vector<std::string>{"after"});
}

TEST(Cluster, AReadRepairsFromANodeThatIsAheadWhatIsNot) {
  test_cluster c{3, buckets()};
  c.unlink(0, 2);
  c.sched().run();
  ASSERT_EQ(c.ask(0, put("k", "v")).status, errc::ok);
  c.link(0, 2);
  c.nodes[0].ahead = c.nodes[1].ahead = std::chrono::hours{1};
  ASSERT_EQ(c.ask(0, put("another", "from the future")).status, errc::ok);
  c.nodes[0].ahead = c.nodes[1].ahead = {};
  c.run_for(milliseconds{500});
  auto all = get("k");
  all.read = {protocol::quorum_level::kind::all, 0};
  ASSERT_EQ(values(c.ask(0, all)), std::vector<std::string>{"v"});
  c.run_for(milliseconds{500});
  auto one = get("k");
  one.read = {protocol::quorum_level::kind::one, 0};
  EXPECT_EQ(values(c.ask(2, one)), std::vector<std::string>{"v"}) << "n3 has it now";
}

TEST(Cluster, OneNodeDownCostsNothing) {
  test_cluster c{3, buckets()};
  ASSERT_EQ(c.ask(0, put("k", "old")).status, errc::ok);
  c.kill(2);
  EXPECT_EQ(c.ask(0, put("k", "new")).status, errc::ok);
  EXPECT_EQ(values(c.ask(1, get("k"))), std::vector<std::string>{"new"});
}

TEST(Cluster, TwoNodesDownIsNoQuorumAndNamesThem) {
  test_cluster c{3, buckets()};
  c.kill(1);
  c.kill(2);
  c.sched().run();
  auto put_reply = c.ask(0, put("k", "v"));
  EXPECT_EQ(put_reply.status, errc::no_quorum);
  EXPECT_EQ(put_reply.error, "needed 2, reachable 1: n2 down, n3 down");
  EXPECT_EQ(c.ask(0, get("k")).status, errc::no_quorum);
  auto one = get("k");
  one.read.level = protocol::quorum_level::kind::one;
  EXPECT_EQ(c.ask(0, one).status, errc::ok);
}

/// The nodes that own a key in the first bucket, and those that do not, best fallback first.
struct places {
  places(test_cluster& c, const std::string& key) {
    auto ring = claim_ring(c.cluster);
    for (auto id : ring.preference_list(protocol::partition_of(key, ring.partitions()), 3))
      (owners.size() < 3 ? owners : fallbacks).push_back(to_index(id));
  }
  std::vector<size_t> owners, fallbacks;
};

std::vector<config::bucket_config> sloppy_and_strict() {
  auto all = buckets();
  all[0].sloppy = true;
  all[1].sloppy = false;
  return all;
}

TEST(Cluster, FallbacksStandInForOwnersThatAreDown) {
  for (const auto* last : {"an owner", "no owner"}) {
    SCOPED_TRACE(last + std::string{" is up"});
    test_cluster c{5, sloppy_and_strict()};
    places where{c, "k"};
    ASSERT_EQ(c.ask(0, put("k", "old")).status, errc::ok);
    for (size_t i = last == std::string{"an owner"} ? 1 : 0; i < 3; ++i)
      c.kill(where.owners[i]);
    auto at = where.fallbacks[1];
    ASSERT_EQ(c.ask(at, put("k", "new")).status, errc::ok);
    EXPECT_EQ(values(c.ask(at, get("k"))), std::vector<std::string>{"new"});
    EXPECT_EQ(c.ask(at, put("k", "v", 1)).status, errc::no_quorum) << "the strict bucket";
    EXPECT_EQ(c.ask(at, get("k", 1)).status, errc::no_quorum);
    auto owners = put("k", "v");
    owners.write_owners = {protocol::quorum_level::kind::quorum, 0};
    auto refused = c.ask(at, owners);
    EXPECT_EQ(refused.status, errc::no_quorum);
    EXPECT_EQ(refused.error.substr(0, 28), "needed 2 owners, reachable " + std::string{last[0] == 'a' ? "1" : "0"});
  }
}

TEST(Cluster, AReadWithRepairInTheForegroundLeavesItsQuorumRepaired) {
  for (bucket_id db : {0, 1}) {
    test_cluster c{3, buckets()};
    ASSERT_EQ(c.ask(0, put("k", "old", db)).status, errc::ok);
    c.kill(2);
    auto newer = put("k", "new", db);
    newer.read_first = true;
    ASSERT_EQ(c.ask(0, newer).status, errc::ok);
    c.start(2);
    c.link_all();
    c.run_for(milliseconds{600});
    auto read = get("k", db);
    read.repair = protocol::read_repair::foreground;
    ASSERT_EQ(values(c.ask(2, read)), std::vector<std::string>{"new"}); // It owns the key: its own copy is stale.
    c.kill(0);
    c.kill(1);
    c.sched().run();
    auto alone = get("k", db);
    alone.read.level = protocol::quorum_level::kind::one;
    EXPECT_EQ(values(c.ask(2, alone)), std::vector<std::string>{"new"});
  }
}

TEST(Cluster, ALaterWriteWinsThroughANodeWhoseClockIsBehind) {
  for (auto how : {durability::interval, durability::fsync}) {
    auto all = buckets();
    all[0].durability = how;
    test_cluster c{3, all};
    c.nodes[0].ahead = std::chrono::seconds{30};
    ASSERT_EQ(c.ask(0, put("k", "first")).status, errc::ok);
    c.kill(0); // The only clock that is ahead; one of the other two has seen its time, one perhaps not.
    ASSERT_EQ(c.ask(1, put("k", "second")).status, errc::ok);
    ASSERT_EQ(c.ask(2, put("k", "third")).status, errc::ok);
    EXPECT_EQ(values(c.ask(1, get("k"))), std::vector<std::string>{"third"});
    ASSERT_EQ(c.ask(1, remove("k")).status, errc::ok);
    EXPECT_TRUE(values(c.ask(2, get("k"))).empty());
  }
}

TEST(Cluster, ALaterWriteWinsOverOneThatItsOwnGiverHasNotSeen) {
  test_cluster c{3, buckets()};
  c.nodes[0].ahead = std::chrono::seconds{30};
  c.unlink(0, 2);
  c.sched().run();
  ASSERT_EQ(c.ask(0, put("k", "first")).status, errc::ok);  // On n1 and n2.
  ASSERT_EQ(c.ask(2, put("k", "second")).status, errc::ok); // Named by n3, 30 s behind.
  EXPECT_EQ(values(c.ask(1, get("k"))), std::vector<std::string>{"second"});
  auto all = get("k");
  all.read.level = protocol::quorum_level::kind::one;
  EXPECT_EQ(values(c.ask(1, all)), std::vector<std::string>{"second"});
}

TEST(Cluster, ALaterWriteWinsAfterTheRestartOfThoseThatHaveTheNewer) {
  test_cluster c{3, buckets()};
  c.nodes[0].ahead = std::chrono::seconds{30};
  c.unlink(0, 2);
  c.sched().run();
  ASSERT_EQ(c.ask(0, put("k", "first")).status, errc::ok);
  for (size_t i : {0, 1}) {
    c.kill(i);
    c.start(i);
  }
  c.nodes[0].ahead = {};
  c.link_all();
  c.run_for(milliseconds{600});
  ASSERT_EQ(c.ask(2, put("k", "second")).status, errc::ok);
  EXPECT_EQ(values(c.ask(1, get("k"))), std::vector<std::string>{"second"});
}

TEST(Cluster, AReadRepairsAnOwnerFromAFallback) {
  test_cluster c{5, sloppy_and_strict()};
  places where{c, "k"};
  c.kill(where.owners[1]);
  c.kill(where.owners[2]);
  ASSERT_EQ(c.ask(where.owners[0], put("k", "v")).status, errc::ok);
  c.kill(where.owners[0]);
  c.start(where.owners[1]);
  c.link_all();
  c.run_for(milliseconds{600});
  EXPECT_EQ(values(c.ask(where.owners[1], get("k"))), std::vector<std::string>{"v"});
  c.run_for(milliseconds{1000});
  auto one = get("k");
  one.read.level = protocol::quorum_level::kind::one;
  EXPECT_EQ(values(c.ask(where.owners[1], one)), std::vector<std::string>{"v"});
}

TEST(Cluster, AWriteThroughATemporaryVnodeSurvivesTheRestartOfItsNode) {
  test_cluster c{5, sloppy_and_strict()};
  places where{c, "k"};
  for (auto owner : where.owners)
    c.kill(owner);
  auto at = where.fallbacks[0];
  auto one = put("k", "before");
  one.write.level = protocol::quorum_level::kind::one;
  ASSERT_EQ(c.ask(at, one).status, errc::ok);
  c.kill(at);
  c.start(at);
  c.link_all();
  c.run_for(milliseconds{600});
  EXPECT_EQ(values(c.ask(at, get("k"))), std::vector<std::string>{"before"});
  one.value = "after"; // A dot used twice would swallow it.
  ASSERT_EQ(c.ask(at, one).status, errc::ok);
  EXPECT_EQ(values(c.ask(where.fallbacks[1], get("k"))), std::vector<std::string>{"after"});
}

TEST(Cluster, ANodeThatComesBackIsUsedAgainAndReadRepairHealsIt) {
  test_cluster c{3, buckets()};
  ASSERT_EQ(c.ask(0, put("k", "old")).status, errc::ok);
  c.kill(2);
  ASSERT_EQ(c.ask(0, put("k", "new")).status, errc::ok);
  c.start(2);
  c.link_all();
  c.run_for(milliseconds{600});
  EXPECT_EQ(values(c.ask(2, get("k"))), std::vector<std::string>{"new"}); // It owns the key: its own copy is stale.
  c.run_for(milliseconds{1000});
  auto alone = get("k");
  alone.read.level = protocol::quorum_level::kind::one;
  EXPECT_EQ(values(c.ask(2, alone)), std::vector<std::string>{"new"});
}

TEST(Cluster, ARestartedNodeGoesOnCountingWhereItStopped) {
  test_cluster c{1, buckets(1)};
  for (int i = 0; i < 20; ++i)
    ASSERT_EQ(c.ask(0, put("k" + std::to_string(i), "before", 1)).status, errc::ok);
  c.kill(0);
  c.start(0);
  for (int i = 0; i < 20; ++i)
    ASSERT_EQ(c.ask(0, put("k" + std::to_string(i), "after", 1)).status, errc::ok);
  for (int i = 0; i < 20; ++i) // A dot used twice would have swallowed one of the two.
    EXPECT_EQ(values(c.ask(0, get("k" + std::to_string(i), 1))), (std::vector<std::string>{"after", "before"}));
}

TEST(Cluster, APeerWhoseHeartbeatsStopIsDownWithinThreeSeconds) {
  test_cluster c{3, buckets()};
  // n3 freezes: its links stay, nothing of it runs any more. Its gossiper gone is enough for its heartbeats to stop.
  caf::anon_send_exit(c.nodes[2].handles.handles.gossiper, caf::exit_reason::kill);
  c.run_for(milliseconds{3000});
  EXPECT_NE(c.log.str().find("n3 is down"), std::string::npos);
}

TEST(Cluster, WritesThatHaveBeenOnTheirWayForLongAreRefused) {
  test_cluster c{3, buckets()};
  auto all = put("k", "v");
  all.write = {protocol::quorum_level::kind::all, 0};
  c.run_for(milliseconds{60'000}); // Idle for long: what is known of peers' times goes on.
  ASSERT_EQ(c.ask(1, all).status, errc::ok);
  // What n2 has heard of n1 grows old: as if all that n2 sends had been sent then. (In truth nothing of n1 reaches it.)
  auto& coordinator = c.nodes[1].coordinators.front();
  caf::anon_send(coordinator, peer_time{node_id{0}, 1});
  auto refused = c.ask(1, all);
  EXPECT_NE(refused.status, errc::ok);
  EXPECT_NE(refused.error.find("late"), std::string::npos) << refused.error;
  auto read = get("k");
  read.read = {protocol::quorum_level::kind::all, 0};
  EXPECT_EQ(c.ask(1, read).status, errc::ok) << "reads harm nobody";
  EXPECT_EQ(c.ask(0, put("k", "w")).status, errc::ok) << "others are not concerned";
  caf::anon_send(coordinator, peer_time{node_id{0}, INT64_MAX});
  EXPECT_NE(c.ask(1, all).status, errc::ok) << "nor is a time believed that has never been";
  c.run_for(milliseconds{1500});
  EXPECT_EQ(c.ask(1, all).status, errc::ok) << "heard again";
}

TEST(Cluster, APeerOfAnotherClusterIsRefusedWithTheReason) {
  test_cluster c{3, buckets()};
  auto stranger = c.nodes[1].handles.self;
  stranger.cluster = "other";
  auto answer = c.say_hello(0, stranger);
  ASSERT_FALSE(answer);
  EXPECT_NE(c.log.str().find("n2 belongs to cluster \"other\""), std::string::npos);
}

TEST(Cluster, ASecondNodeOfTheSameNameIsRefused) {
  test_cluster c{3, buckets()};
  auto twin = c.nodes[0].handles.self;
  twin.incarnation += 1000;
  EXPECT_FALSE(c.say_hello(0, twin));
  EXPECT_NE(c.log.str().find("two nodes are called n1"), std::string::npos);
}

TEST(Cluster, ANodeWithAnotherConfigurationIsRefused) {
  test_cluster c{3, buckets()};
  auto different = c.nodes[1].handles.self;
  different.fingerprint ^= 1;
  EXPECT_FALSE(c.say_hello(0, different));
  EXPECT_NE(c.log.str().find("different configurations"), std::string::npos);
}

TEST(Cluster, APeerIsWelcomeIfThereIsAVersionOfMessagesThatBothSpeak) {
  test_cluster c{3, buckets()};
  auto with_versions = [&c](uint16_t oldest, uint16_t newest) {
    auto peer = c.nodes[1].handles.self;
    peer.oldest = oldest;
    peer.version = newest;
    return peer;
  };
  for (auto peer : {with_versions(1, message_version_oldest), with_versions(message_version_newest, 99)})
    EXPECT_TRUE(c.say_hello(0, peer));
  EXPECT_FALSE(c.say_hello(0, with_versions(message_version_newest + 1, 99)));
  EXPECT_NE(c.log.str().find("n2 speaks messages of version 14 to 99, n1 those of 12 to 13"), std::string::npos);
  EXPECT_FALSE(c.say_hello(0, with_versions(0, message_version_oldest - 1)));
}

TEST(Cluster, AStoreThatFailsEndsTheNodeWithTheReason) {
  test_cluster c{1, buckets(1)};
  storage::fail_writes(*c.nodes[0].disk, 0);
  auto box = std::make_shared<inbox>();
  client_batch batch{box, {put("k", "v")}};
  c.nodes[0].backend->submit(std::move(batch));
  c.sched().run();
  EXPECT_NE(c.nodes[0].fatal.find("replica died"), std::string::npos) << c.nodes[0].fatal;
  EXPECT_TRUE(box->received.empty()) << "a write that is not on disk was acknowledged";
}

TEST(Cluster, AnOrderlyStopAnswersWhatIsInFlight) {
  test_cluster c{3, buckets()};
  auto box = std::make_shared<inbox>();
  client_batch batch{box, {}};
  for (uint64_t i = 0; i < 100; ++i) {
    batch.requests.push_back(put("k" + std::to_string(i), "v"));
    batch.requests.back().id = i;
  }
  c.nodes[0].backend->submit(std::move(batch));
  caf::anon_send(c.nodes[0].root, stop_request{});
  c.run_for(milliseconds{3000});
  EXPECT_EQ(box->received.size(), 100U);
  EXPECT_TRUE(c.nodes[0].fatal.empty()) << c.nodes[0].fatal;
  EXPECT_NE(c.log.str().find("stopped"), std::string::npos);
}

TEST(Cluster, KeysAreCountedOnceWhateverTheNumberOfCopies) {
  test_cluster c{3, buckets()};
  for (int i = 0; i < 30; ++i)
    ASSERT_EQ(c.ask(0, put("k" + std::to_string(i), "v")).status, errc::ok);
  c.ask(0, remove("k3"));
  std::optional<uint64_t> count;
  c.nodes[1].backend->count_keys(0, [&](std::optional<uint64_t> n, const std::string&) { count = n; });
  c.run_for(milliseconds{100});
  EXPECT_EQ(count, 29U);
}

TEST(Cluster, ASyncPointIsReachedWhenAllOwnersHaveWhatWasThere) {
  test_cluster c{3, buckets()};
  auto ask = [&](uint64_t id) {
    std::string json;
    c.nodes[0].backend->sync_point(id, [&](std::string text) { json = std::move(text); });
    c.sched().run();
    return json;
  };
  ASSERT_EQ(c.ask(0, put("k", "v")).status, errc::ok);
  EXPECT_EQ(ask(0), R"({"id":1,"reached":false,"waiting_for":[]})") << "nobody has told yet what it has on disk";
  c.run_for(milliseconds{3000});
  EXPECT_EQ(ask(1), R"({"id":1,"reached":true,"waiting_for":[]})");
  c.kill(1);
  for (int i = 0; i < 5; ++i)
    ASSERT_EQ(c.ask(0, put("k", "w")).status, errc::ok);
  EXPECT_NE(ask(0).find("\"id\":2"), std::string::npos);
  c.run_for(milliseconds{3000});
  EXPECT_EQ(ask(2), R"({"id":2,"reached":false,"waiting_for":[{"linked":false,"node":"n2","writes":5}]})");
  EXPECT_NE(ask(1).find("\"reached\":true"), std::string::npos) << "what came later is not waited for";
  EXPECT_NE(ask(3).find("there is no such sync point"), std::string::npos);
  c.run_for(milliseconds{120'000});
  EXPECT_NE(ask(2).find("there is no such sync point"), std::string::npos) << "nobody asked for long";
}

TEST(Cluster, StatusNamesEveryMemberAndItsState) {
  test_cluster c{3, buckets()};
  c.kill(1);
  std::string json;
  c.nodes[0].backend->status([&](std::string text) { json = std::move(text); });
  c.run_for(milliseconds{100});
  EXPECT_NE(json.find("\"name\":\"n2\""), std::string::npos) << json;
  EXPECT_NE(json.find("\"state\":\"down\""), std::string::npos);
  EXPECT_NE(json.find("\"dots_given\""), std::string::npos);
}

} // namespace
} // namespace crema::test
