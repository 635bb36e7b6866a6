// Nodes that come, go and are replaced while clients write: whole nodes in one process.
#include "actors/errors.hpp"
#include "protocol/agreement_message.hpp"
#include "protocol/ring_encoding.hpp"
#include "protocol/slot.hpp"
#include "tests/actors/test_cluster.hpp"

namespace crema::test {
namespace {

using kind = topology_order::kind;

class Topology : public testing::Test {
protected:
  explicit Topology(size_t count = 4)
      : c{count,
          {bucket("default", 0, conflict_rule::lww, durability::interval, 3, 2, 2),
           bucket("carts", 1, conflict_rule::siblings, durability::fsync, 3, 2, 2)}} {
    c.run_for(std::chrono::seconds{3}); // Everybody has met everybody.
  }

  void write(size_t from, size_t to) {
    for (auto i = from; i < to; ++i)
      for (bucket_id db : {0, 1})
        if (auto done = c.ask(i % 2, put("k" + std::to_string(i), "v" + std::to_string(i), db));
            done.status != errc::ok)
          FAIL() << "k" << i << " in " << db << ": " << done.error;
    written = std::max(written, to);
  }
  void expect_all(size_t at, size_t from = 0) {
    for (size_t i = from; i < written; ++i)
      for (bucket_id db : {0, 1})
        ASSERT_EQ(values(c.ask(at, get("k" + std::to_string(i), db))), std::vector{"v" + std::to_string(i)}) << i;
  }
  nlohmann::json plan(size_t at, std::vector<protocol::topology_change> changes) {
    return c.order(at, topology_order{kind::plan, std::move(changes), {}});
  }
  void commit(size_t at, std::vector<protocol::topology_change> changes) {
    auto planned = plan(at, std::move(changes));
    ASSERT_FALSE(planned.contains("error")) << planned;
    auto done = c.order(at, kind::commit);
    ASSERT_FALSE(done.contains("error")) << done;
  }
  nlohmann::json show(size_t at = 0) { return c.order(at, kind::show); }
  /// Until the change is over.
  void wait_until_settled(size_t at = 0) {
    nlohmann::json now;
    for (int i = 0; i < 600; ++i) {
      now = show(at);
      if (now["job"].is_null() && now["phase"] == "stable")
        return;
      c.run_for(std::chrono::milliseconds{100});
    }
    FAIL() << now["phase"] << now["job"] << now["members"]
           << c.log.str().substr(c.log.str().size() > 4000 ? c.log.str().size() - 4000 : 0);
  }
  protocol::new_node newcomer(const std::string& name, uint64_t directory) {
    return {name, "10.0.0." + name.substr(1), 7101, 6401, "", 1, directory, ""};
  }

  test_cluster c;
  size_t written = 0;
};

TEST_F(Topology, IsTheSameEpochOnAllNodesWhateverTheOrderInWhichTheyStart) {
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(show(i)["epoch"], 1);
    EXPECT_EQ(show(i)["owners"], show(0)["owners"]);
  }
}

TEST_F(Topology, LosesNothingWhenANodeLeaves) {
  write(0, 40);
  commit(1, {protocol::leave_node{"n4"}});
  write(40, 60); // While it goes.
  wait_until_settled();
  EXPECT_EQ(show()["members"].size(), 3U);
  EXPECT_EQ(show()["epoch"], 4);
  write(60, 70);
  c.kill(3);
  for (size_t at = 0; at < 3; ++at)
    expect_all(at);
}

// docs/topology.md, "Who has left".
TEST_F(Topology, TellsWhoHasLeftThatItMayBeSwitchedOffOnlyWhenAMajorityKnows) {
  auto said_to_n4 = [this](size_t at) {
    auto answer = c.say_hello(at, c.nodes[3].handles.self);
    return answer ? errc::ok : errc_of(answer.error());
  };
  commit(1, {protocol::leave_node{"n4"}});
  EXPECT_EQ(said_to_n4(0), errc::ok);
  wait_until_settled();
  c.run_for(std::chrono::seconds{1}); // Everybody has heard from everybody.
  EXPECT_EQ(said_to_n4(0), errc::removed);
  c.kill(0);
  c.start(0); // What the others know it has to hear again.
  EXPECT_EQ(said_to_n4(0), errc::not_owner);
  EXPECT_NE(c.log.str().find("too few members are known to know: it must not be switched off yet"), std::string::npos);
  c.link(0, 1);
  c.link(1, 0);
  c.run_for(std::chrono::seconds{1});
  EXPECT_EQ(said_to_n4(0), errc::removed) << "two of three are a majority";
  auto stranger = c.nodes[3].handles.self;
  stranger.node = "n9";
  EXPECT_EQ(epoch_of(c.say_hello(0, stranger).error()), 4U) << "for who was to join, and missed that it was cancelled";
}

TEST_F(Topology, GivesANewNodeWhatItIsToOwn) {
  write(0, 40);
  commit(0, {protocol::join_node{newcomer("n5", 77)}});
  write(40, 50); // Nobody has heard of n5.
  EXPECT_EQ(show()["phase"], "moving");
  c.join(77);
  write(50, 60);
  wait_until_settled();
  auto now = show(4);
  EXPECT_EQ(now["members"].size(), 5U);
  EXPECT_EQ(now["members"][4]["state"], "member");
  EXPECT_GE(now["members"][4]["partitions"], 4);
  write(60, 70);
  expect_all(4);
  c.kill(0); // The new one counts like any other.
  c.run_for(std::chrono::seconds{3});
  expect_all(4);
}

TEST_F(Topology, GrowsAndShrinks) {
  write(0, 20);
  for (uint64_t id : {5, 6, 7}) {
    commit(0, {protocol::join_node{newcomer("n" + std::to_string(id), id)}});
    c.join(id);
    write(written, written + 10);
    wait_until_settled();
  }
  EXPECT_EQ(show()["members"].size(), 7U);
  for (const auto* name : {"n3", "n6", "n4", "n7"}) {
    commit(0, {protocol::leave_node{name}});
    write(written, written + 10);
    wait_until_settled();
  }
  EXPECT_EQ(show()["members"].size(), 3U);
  for (size_t n : {2, 3, 5, 6})
    c.kill(n);
  c.run_for(std::chrono::seconds{3});
  for (size_t at : {0, 1, 4})
    expect_all(at);
}

TEST_F(Topology, ReplacesADeadNode) {
  write(0, 40);
  c.kill(3);
  c.run_for(std::chrono::seconds{3});
  commit(1, {protocol::replace_node{"n4", newcomer("n5", 77), true}});
  c.join(77);
  write(40, 60);
  wait_until_settled();
  EXPECT_EQ(show()["members"].size(), 4U);
  c.kill(2);
  c.run_for(std::chrono::seconds{3});
  expect_all(4);
}

// Who vouches that a node has the disk that it had is asked once, not after each start: it may be gone by then.
TEST_F(Topology, ReplacesTheFirstNodeThatDiesAlsoWhenAllOthersHaveBeenRestartedSince) {
  write(0, 40);
  c.kill(3);
  for (size_t i = 0; i < 3; ++i)
    c.kill(i);
  for (size_t i = 0; i < 3; ++i)
    c.start(i);
  c.link_all();
  c.run_for(std::chrono::seconds{3});
  commit(1, {protocol::replace_node{"n4", newcomer("n5", 77), true}});
  c.join(77);
  wait_until_settled();
  EXPECT_EQ(show()["members"].size(), 4U);
  expect_all(4);
}

TEST_F(Topology, TakesALinkToANodeThatItHasNotHeardOfYet) {
  write(0, 40);
  for (size_t i = 0; i < 3; ++i) {
    c.unlink(i, 3);
    c.unlink(3, i);
  }
  commit(0, {protocol::join_node{newcomer("n5", 77)}});
  EXPECT_EQ(show(3)["epoch"], 1);
  c.join(77); // n5 is linked with n4, which has not heard of it.
  c.run_for(std::chrono::milliseconds{1});
  c.link_all();
  wait_until_settled();
  wait_until_settled(3);
  EXPECT_EQ(show(3)["members"].size(), 5U);
  expect_all(3);
  expect_all(4);
}

// Rule R1: or who goes by an old epoch could still read, and write, where nobody else does any more.
TEST_F(Topology, RefusesWhatIsAskedUnderAnOlderEpoch) {
  write(0, 10);
  commit(0, {protocol::leave_node{"n4"}});
  wait_until_settled();
  auto ring = protocol::decode_ring(load_ring_record(*storage::open_memory(c.nodes[0].disk)).record->value);
  ASSERT_TRUE(ring);
  std::string key;
  partition_id partition = 0;
  for (size_t i = 0; i < written && ring->since_of(partition) == 1; ++i) {
    key = "k" + std::to_string(i);
    partition = protocol::partition_of(key, ring->partitions());
  }
  auto since = ring->since_of(partition);
  ASSERT_GT(since, 1U) << "n4 had none of them";
  for (auto epoch : {uint64_t{1}, since - 1, since, ring->epoch}) {
    replica_batch batch;
    batch.epoch = epoch;
    batch.from = node_id{1};
    replica_op op;
    op.what = replica_op::kind::get;
    op.request = 1;
    op.key = key;
    op.partition = partition;
    batch.ops.push_back(op);
    auto status = c.ask_replica(0, partition % 2, batch);
    EXPECT_EQ(status, epoch < since ? errc::stale_epoch : errc::ok) << epoch;
  }
}

// Or two values could be chosen for one epoch: the second by a voter that does not know any more what it promised.
TEST_F(Topology, KeepsAVoteBeforeItIsTold) {
  ring_message prepare;
  prepare.from = node_id{0};
  prepare.what = static_cast<uint8_t>(protocol::agreement_message::kind::prepare);
  prepare.number = 2;
  prepare.attempt_round = 77;
  prepare.attempt_source = 1;
  caf::anon_send(c.nodes[1].ring_manager, prepare);
  c.sched().run();
  c.kill(1);
  auto kept = load_ring_record(*storage::open_memory(c.nodes[1].disk)).record;
  ASSERT_TRUE(kept);
  EXPECT_EQ(kept->cast.promised.round, 77U);
}

TEST_F(Topology, GoesOnWhenTheNewNodeDiesInTheMiddle) {
  write(0, 40);
  commit(0, {protocol::join_node{newcomer("n5", 77)}});
  c.join(77);
  c.kill(4);
  c.run_for(std::chrono::seconds{3});
  write(40, 60);
  EXPECT_EQ(show()["job"]["waits_for"], "to be copied to n5");
  c.start(4);
  c.link_with_all(4);
  wait_until_settled();
  expect_all(4);
}

TEST_F(Topology, TakesBackANodeThatLostItsDisk) {
  write(0, 40);
  commit(0, {protocol::set_weight{"n4", 2}}); // Directories are named from the second epoch on.
  wait_until_settled();
  c.kill(2);
  c.nodes[2].disk = storage::make_memory_disk();
  c.start(2);
  c.link_with_all(2);
  c.run_for(std::chrono::seconds{10});
  c.kill(1);
  c.run_for(std::chrono::seconds{3});
  expect_all(2);
}

TEST_F(Topology, GivesUpALeavingNodeThatDiedBeforeItWasEmpty) {
  write(0, 40);
  commit(0, {protocol::leave_node{"n4"}});
  for (int i = 0; i < 100 && show()["phase"] != "settling"; ++i)
    c.run_for(std::chrono::milliseconds{10});
  ASSERT_EQ(show()["phase"], "settling");
  c.kill(3);
  c.run_for(std::chrono::seconds{5});
  EXPECT_EQ(show()["job"]["waits_for"], "what the new owners lack, from n4");
  EXPECT_TRUE(plan(0, {protocol::remove_node{"n3"}}).contains("error"));
  commit(0, {protocol::remove_node{"n4"}});
  wait_until_settled();
  EXPECT_EQ(show()["members"].size(), 3U);
  expect_all(1);
}

// Nobody else could ever end that: n4 waits for n2, and n2 for a plan.
TEST_F(Topology, ReplacesAnOwnerThatDiesBeforeALeavingOneHasHandedOver) {
  write(0, 40);
  commit(0, {protocol::leave_node{"n4"}});
  for (int i = 0; i < 100 && show()["phase"] != "settling"; ++i)
    c.run_for(std::chrono::milliseconds{10});
  ASSERT_EQ(show()["phase"], "settling");
  c.kill(1);
  c.run_for(std::chrono::seconds{5});
  EXPECT_EQ(show()["job"]["waits_for"], "what the new owners lack, from n4");
  commit(0, {protocol::replace_node{"n2", newcomer("n5", 77), true}});
  c.join(77);
  wait_until_settled();
  EXPECT_EQ(show()["members"].size(), 3U);
  expect_all(4);
}

TEST_F(Topology, RefusesWhatCannotBe) {
  EXPECT_TRUE(plan(0, {protocol::leave_node{"n9"}}).contains("error"));
  EXPECT_TRUE(plan(0, {protocol::leave_node{"n4"}, protocol::leave_node{"n3"}}).contains("error"));
  EXPECT_TRUE(c.order(0, kind::commit).contains("error"));
  EXPECT_TRUE(c.order(0, kind::cancel).contains("error"));
  commit(0, {protocol::leave_node{"n4"}});
  wait_until_settled();
  EXPECT_EQ(show(1)["epoch"], 4);
  c.kill(1);
  c.kill(2);
  c.run_for(std::chrono::seconds{3});
  ASSERT_FALSE(plan(0, {protocol::set_weight{"n1", 3}}).contains("error"));
  auto done = c.order(0, kind::commit);
  ASSERT_TRUE(done.contains("error")) << done;
  EXPECT_NE(done["error"].get<std::string>().find("no majority"), std::string::npos) << done;
}

TEST_F(Topology, WarnsOfADeadNodeThatIsToGetSomething) {
  c.kill(3);
  c.run_for(std::chrono::seconds{3});
  auto planned = plan(0, {protocol::set_weight{"n4", 3}});
  EXPECT_NE(planned["warnings"].dump().find("n4 cannot be reached from n1: the change is not over before it has got"),
            std::string::npos)
      << planned;
  planned = plan(0, {protocol::remove_node{"n4"}});
  EXPECT_EQ(planned["warnings"].dump().find("cannot be reached"), std::string::npos) << planned;
}

class TopologyOfFive : public Topology {
protected:
  TopologyOfFive() : Topology(5) {}
  nlohmann::json force(std::vector<protocol::topology_change> members,
                       std::optional<uint64_t> confirmed = std::nullopt) {
    return c.order(0, topology_order{kind::force, std::move(members), confirmed});
  }
  const std::vector<protocol::topology_change> lost{protocol::remove_node{"n3"}, protocol::remove_node{"n4"},
                                                    protocol::remove_node{"n5"}};
};

TEST_F(TopologyOfFive, GoesOnWithoutAMajorityOnAnOperatorsWord) {
  write(0, 40);
  EXPECT_TRUE(force({protocol::remove_node{"n5"}}).contains("error")) << "it is there";
  c.kill(4);
  c.run_for(std::chrono::seconds{3});
  auto refused = force({protocol::remove_node{"n5"}});
  ASSERT_TRUE(refused.contains("error"));
  EXPECT_NE(refused["error"].get<std::string>().find("nothing has to be forced"), std::string::npos) << refused;
  EXPECT_TRUE(force({protocol::leave_node{"n5"}}).contains("error"));
  c.kill(2);
  c.kill(3);
  c.run_for(std::chrono::seconds{3});
  ASSERT_FALSE(plan(0, {protocol::set_weight{"n1", 2}}).contains("error"));
  EXPECT_TRUE(c.order(0, kind::commit).contains("error"));
  auto shown = force(lost);
  ASSERT_FALSE(shown.contains("error")) << shown;
  EXPECT_EQ(show()["epoch"], 1) << "it was only shown";
  auto epoch = shown["next_epoch"].get<uint64_t>();
  EXPECT_TRUE(force(lost, epoch + 1).contains("error")) << "not what was shown";
  auto done = force(lost, epoch);
  ASSERT_FALSE(done.contains("error")) << done;
  EXPECT_EQ(done["epoch"], epoch);
  wait_until_settled(0);
  wait_until_settled(1);
  EXPECT_EQ(show(1)["members"].size(), 2U);
  EXPECT_GT(show(1)["epoch"], epoch);
  write(40, 80); // Of what was there before, not all is.
  expect_all(0, 40);
  expect_all(1, 40);
  // From here on all is as ever.
  commit(1, {protocol::join_node{newcomer("n6", 66)}});
  c.join(66);
  wait_until_settled();
  c.kill(1);
  c.run_for(std::chrono::seconds{3});
  expect_all(5, 40);
}

TEST_F(Topology, RemovesADeadNodeAndRebuildsWhatItHad) {
  write(0, 40);
  c.kill(3);
  c.run_for(std::chrono::seconds{3});
  write(40, 60);
  commit(2, {protocol::remove_node{"n4"}});
  wait_until_settled();
  write(60, 70);
  EXPECT_EQ(show()["members"].size(), 3U);
  c.kill(2); // Of three owners two are enough.
  c.run_for(std::chrono::seconds{3});
  expect_all(0);
}

TEST_F(Topology, GoesBackToTheOwnersOfBeforeWhenItIsCancelled) {
  write(0, 20);
  commit(0, {protocol::leave_node{"n4"}});
  auto paused = c.order(0, kind::pause);
  ASSERT_FALSE(paused.contains("error")) << paused;
  write(20, 30);
  auto done = c.order(0, kind::cancel);
  ASSERT_FALSE(done.contains("error")) << done;
  wait_until_settled();
  EXPECT_EQ(show()["members"].size(), 4U);
  write(30, 40);
  expect_all(3);
}

TEST_F(Topology, GoesOnAfterEveryProcessDied) {
  write(0, 30);
  commit(0, {protocol::leave_node{"n4"}});
  for (size_t i = 0; i < 4; ++i)
    c.kill(i);
  for (size_t i = 0; i < 4; ++i)
    c.start(i);
  c.link_all();
  c.run_for(std::chrono::seconds{1});
  wait_until_settled();
  EXPECT_EQ(show()["members"].size(), 3U);
  expect_all(0);
}

} // namespace
} // namespace crema::test
