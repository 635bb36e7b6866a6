#include "dialogue.hpp"
#include "protocol/context.hpp"
#include "protocol/slot.hpp"

#include <gtest/gtest.h>

namespace crema::gateway::resp {
namespace {

using kind = client_request::kind;
using level = protocol::quorum_level::kind;

protocol::dot_clock clock_of(replica_id replica, uint64_t counter) {
  protocol::dot_clock clock;
  clock.add(protocol::dot_range{replica, 1, counter});
  return clock;
}

std::string token(bucket_id bucket, const std::string& key, const protocol::dot_clock& clock) {
  return protocol::encode_context({bucket, protocol::partition_of(key, 16)}, clock);
}

std::string bulk(const std::string& x) { return "$" + std::to_string(x.size()) + "\r\n" + x + "\r\n"; }

dialogue& in_carts(dialogue& d) {
  d.call({"SELECT", "carts"});
  return d;
}

TEST(KvCommands, GetReturnsTheContextAndAllSiblings) {
  dialogue d;
  in_carts(d).send({"KV.GET", "k"});
  EXPECT_EQ(d.port.open.at(0).request.what, kind::get);
  EXPECT_EQ(d.port.open.at(0).request.read.level, level::bucket_default);
  auto reply = value_reply("new");
  reply.values.push_back({"old", 0, 0});
  reply.context = clock_of(7, 3);
  d.answer(0, reply);
  EXPECT_EQ(d.heard(), "*2\r\n" + bulk(token(1, "k", clock_of(7, 3))) + "*2\r\n$3\r\nnew\r\n$3\r\nold\r\n");
}

TEST(KvCommands, GetOfAMissingKeyReturnsAContextAsWell) {
  dialogue d;
  in_carts(d).send({"KV.GET", "k"});
  client_reply reply;
  reply.context = clock_of(7, 3);
  d.answer(0, reply);
  EXPECT_EQ(d.heard(), "*2\r\n" + bulk(token(1, "k", clock_of(7, 3))) + "*0\r\n");
}

TEST(KvCommands, PutPassesItsContextOnAndReturnsTheNewOne) {
  dialogue d;
  in_carts(d).send({"KV.PUT", "k", "v", "W", "all", "PX", "500", "CONTEXT", token(1, "k", clock_of(7, 3))});
  const auto& r = d.port.open.at(0).request;
  EXPECT_EQ(r.what, kind::put);
  EXPECT_EQ(r.value, "v");
  EXPECT_EQ(r.ttl_ms, 500U);
  EXPECT_EQ(r.write.level, level::all);
  EXPECT_FALSE(r.read_first);
  ASSERT_TRUE(r.context);
  EXPECT_EQ(*r.context, clock_of(7, 3));
  client_reply reply;
  reply.context = clock_of(7, 4);
  d.answer(0, reply);
  EXPECT_EQ(d.heard(), bulk(token(1, "k", clock_of(7, 4))));
}

TEST(KvCommands, PutWithoutAContextReplacesNothing) {
  dialogue d;
  in_carts(d).send({"KV.PUT", "k", "v"});
  EXPECT_FALSE(d.port.open.at(0).request.context);
  EXPECT_FALSE(d.port.open.at(0).request.read_first);
}

TEST(KvCommands, DelWithoutAContextDeletesWhatAQuorumReadSees) {
  dialogue d;
  in_carts(d).send({"KV.DEL", "k", "W", "3"});
  const auto& r = d.port.open.at(0).request;
  EXPECT_EQ(r.what, kind::remove);
  EXPECT_TRUE(r.read_first);
  EXPECT_EQ(r.write.count, 3U);
  client_reply reply;
  reply.context = clock_of(7, 4);
  d.answer(0, reply);
  EXPECT_EQ(d.heard(), bulk(token(1, "k", clock_of(7, 4))));
}

TEST(KvCommands, DelWithAContextReadsNothing) {
  dialogue d;
  in_carts(d).send({"KV.DEL", "k", "CONTEXT", token(1, "k", clock_of(7, 3))});
  EXPECT_FALSE(d.port.open.at(0).request.read_first);
  EXPECT_TRUE(d.port.open.at(0).request.context);
}

TEST(KvCommands, AContextOfAnotherBucketOrPartitionOrADamagedOneIsRefused) {
  dialogue d;
  in_carts(d);
  auto good = token(1, "k", clock_of(7, 3));
  auto damaged = good;
  damaged[damaged.size() / 2] = damaged[damaged.size() / 2] == 'A' ? 'B' : 'A';
  std::string elsewhere = "other";
  ASSERT_NE(protocol::partition_of(elsewhere, 16), protocol::partition_of("k", 16));
  for (const auto& bad : {token(0, "k", clock_of(7, 3)), token(1, elsewhere, clock_of(7, 3)), damaged, std::string(),
                          std::string("cx1"), std::string("x\r\ny"), std::string(context_bytes_max + 1, 'A')}) {
    auto put = d.call({"KV.PUT", "k", "v", "CONTEXT", bad});
    EXPECT_EQ(put.substr(0, 22), "-ERR invalid context: ");
    EXPECT_EQ(d.call({"KV.DEL", "k", "CONTEXT", bad}), put);
  }
  EXPECT_TRUE(d.port.open.empty());
}

TEST(KvCommands, LevelsAreCheckedAgainstTheBucket) {
  dialogue d;
  EXPECT_EQ(d.call({"KV.GET", "k", "R", "4"}), "-ERR R is larger than the 3 replicas of bucket 'default'\r\n");
  EXPECT_EQ(d.call({"KV.PUT", "k", "v", "W", "4"}), "-ERR W is larger than the 3 replicas of bucket 'default'\r\n");
  EXPECT_EQ(d.call({"KV.GET", "k", "R", "0"}), "-ERR R is one, quorum, all or a number from 1 up\r\n");
  EXPECT_EQ(d.call({"KV.GET", "k", "R", "many"}), "-ERR R is one, quorum, all or a number from 1 up\r\n");
  d.send({"KV.GET", "k", "r", "ONE"});
  EXPECT_EQ(d.port.open.at(0).request.read.level, level::one);
}

TEST(KvCommands, OwnersAmongThoseCanBeAskedFor) {
  dialogue d;
  in_carts(d);
  EXPECT_EQ(d.call({"KV.GET", "k", "PR", "4"}), "-ERR PR is larger than the 3 replicas of bucket 'carts'\r\n");
  d.send({"KV.GET", "k", "PR", "2", "R", "all"});
  EXPECT_EQ(d.port.open.at(0).request.read.level, level::all);
  EXPECT_EQ(d.port.open.at(0).request.read_owners.count, 2U);
  d.send({"KV.PUT", "other", "v", "PW", "quorum"});
  EXPECT_EQ(d.port.open.at(1).request.write_owners.level, level::quorum);
  d.send({"KV.DEL", "third", "CONTEXT", token(1, "third", clock_of(7, 3)), "pw", "one"});
  EXPECT_EQ(d.port.open.at(2).request.write_owners.level, level::one);
}

TEST(KvCommands, AReadSaysHowItRepairs) {
  dialogue d;
  d.send({"KV.GET", "k", "REPAIR", "Foreground"});
  EXPECT_EQ(d.port.open.at(0).request.repair, protocol::read_repair::foreground);
  d.answer(0, value_reply("v"));
  d.heard();
  d.send({"KV.GET", "k", "R", "one", "repair", "background"});
  EXPECT_EQ(d.port.open.at(0).request.repair, protocol::read_repair::background);
  d.answer(0, value_reply("v"));
  d.heard();
  d.send({"KV.GET", "k"});
  EXPECT_FALSE(d.port.open.at(0).request.repair) << "as the bucket says";
  d.answer(0, value_reply("v"));
  d.heard();
  EXPECT_EQ(d.call({"KV.GET", "k", "REPAIR", "never"}), "-ERR REPAIR is foreground or background\r\n");
}

std::shared_ptr<const explanation> some_explanation() {
  explanation x;
  x.summary = {{"bucket", "carts"}};
  x.nodes = {{{"node", "n1"}, {"role", "owner"}}};
  return std::make_shared<explanation>(x);
}
const std::string explained_place = "*4\r\n" + bulk("bucket") + bulk("carts") + bulk("nodes") + "*1\r\n*4\r\n" +
                                    bulk("node") + bulk("n1") + bulk("role") + bulk("owner");

TEST(KvCommands, ExplainOfAKeyTellsWhereItLives) {
  dialogue d;
  in_carts(d).send({"KV.EXPLAIN", "get"}); // A key like any other.
  EXPECT_EQ(d.port.open.at(0).request.what, kind::explain);
  EXPECT_EQ(d.port.open.at(0).request.key, "get");
  client_reply reply;
  reply.explained = some_explanation();
  d.answer(0, reply);
  EXPECT_EQ(d.heard(), explained_place);
}

TEST(KvCommands, ExplainOfACommandRunsItAndTellsHowItWent) {
  dialogue d;
  in_carts(d).send({"KV.EXPLAIN", "KV.PUT", "k", "v", "W", "all"});
  EXPECT_EQ(d.port.open.at(0).request.what, kind::put);
  EXPECT_EQ(d.port.open.at(0).request.write.level, level::all);
  EXPECT_TRUE(d.port.open.at(0).request.explain);
  client_reply reply;
  reply.context = clock_of(7, 4);
  reply.explained = some_explanation();
  d.answer(0, reply);
  EXPECT_EQ(d.heard(), "*2\r\n" + bulk(token(1, "k", clock_of(7, 4))) + explained_place);
  d.send({"KV.EXPLAIN", "get", "k"});
  auto refused = error_reply(errc::no_quorum, "needed 2");
  refused.explained = some_explanation();
  d.answer(0, refused);
  EXPECT_EQ(d.heard(), "*2\r\n-NOQUORUM needed 2\r\n" + explained_place);
}

TEST(KvCommands, ExplainedCommandsKeepTheirOrder) {
  dialogue d;
  d.send({"KV.EXPLAIN", "SET", "k", "v"});
  d.send({"GET", "other"});
  d.send({"GET", "k"}); // Waits for the write.
  ASSERT_EQ(d.port.open.size(), 2U);
  EXPECT_TRUE(d.port.open.at(0).request.explain);
  EXPECT_FALSE(d.port.open.at(1).request.explain);
}

TEST(KvCommands, ExplainRefusesWhatItCannotRun) {
  dialogue d;
  for (const std::vector<std::string>& args : std::vector<std::vector<std::string>>{
           {"KV.EXPLAIN", "MGET", "a"}, {"KV.EXPLAIN", "DEL", "a", "b"}, {"KV.EXPLAIN", "KV.EXPLAIN", "a"}})
    EXPECT_EQ(d.call(args),
              "-ERR KV.EXPLAIN takes a key, or one of GET, KV.GET, SET, KV.PUT, DEL and KV.DEL with one key\r\n");
  EXPECT_EQ(d.call({"KV.EXPLAIN", "GET", "a", "b"}), "-ERR wrong number of arguments for 'get' command\r\n");
  EXPECT_EQ(d.call({"KV.EXPLAIN", "SET", "a", "b", "NX"}), "-ERR SET with NX needs a strong bucket\r\n");
  EXPECT_EQ(d.call({"KV.EXPLAIN"}), "-ERR wrong number of arguments for 'kv.explain' command\r\n");
}

TEST(KvCommands, OptionsThatDoNotBelongAreSyntaxErrors) {
  dialogue d;
  for (const std::vector<std::string>& args :
       std::vector<std::vector<std::string>>{{"KV.GET", "k", "W", "1"},
                                             {"KV.GET", "k", "PW", "1"},
                                             {"KV.PUT", "k", "v", "REPAIR", "foreground"},
                                             {"KV.PUT", "k", "v", "PR", "1"},
                                             {"KV.GET", "k", "R"},
                                             {"KV.GET", "k", "R", "1", "R", "1"},
                                             {"KV.GET", "k", "PX", "1"},
                                             {"KV.PUT", "k", "v", "R", "1"},
                                             {"KV.PUT", "k", "v", "NX"},
                                             {"KV.DEL", "k", "PX", "1"}})
    EXPECT_EQ(d.call(args), "-ERR syntax error\r\n");
  EXPECT_EQ(d.call({"KV.PUT", "k", "v", "PX", "0"}), "-ERR invalid expire time in 'kv.put' command\r\n");
  EXPECT_EQ(d.call({"KV.GET"}), "-ERR wrong number of arguments for 'kv.get' command\r\n");
}

TEST(KvCommands, ReadyTellsWhetherTheNodeServes) {
  bool ready = false;
  auto opts = test_options();
  opts.ready = [&] { return ready; };
  dialogue d(opts);
  EXPECT_EQ(d.call({"KV.READY"}), "-ERR starting\r\n");
  ready = true;
  EXPECT_EQ(d.call({"KV.READY"}), "+OK\r\n");
}

TEST(KvCommands, SyncpointBeginsOneOrAsksAboutOne) {
  dialogue d;
  d.send({"KV.SYNCPOINT"});
  d.send({"KV.SYNCPOINT", "7"});
  ASSERT_EQ(d.port.questions.size(), 2U);
  EXPECT_EQ(d.port.questions[0].sync_point, 0U);
  EXPECT_EQ(d.port.questions[1].sync_point, 7U);
  for (const auto& q : d.port.questions)
    d.talk.on_reply(q.sequence, 0, value_reply("{}"));
  EXPECT_EQ(d.heard(), "$2\r\n{}\r\n$2\r\n{}\r\n");
  EXPECT_EQ(d.call({"KV.SYNCPOINT", "0"}), "-ERR ids of sync points count from 1\r\n");
  EXPECT_EQ(d.call({"KV.SYNCPOINT", "x"}), "-ERR value is not an integer or out of range\r\n");
  EXPECT_EQ(d.call({"KV.SYNCPOINT", "1", "2"}), "-ERR KV.SYNCPOINT takes nothing, or the id of a sync point\r\n");
}

TEST(KvCommands, RepairTakesOneOrderAndSaysOfWhat) {
  dialogue d;
  d.send({"KV.REPAIR", "start", "BUCKET", "0", "partition", "17"});
  d.send({"KV.REPAIR", "START"});
  d.send({"KV.REPAIR", "Pause"});
  ASSERT_EQ(d.port.questions.size(), 3U);
  using what = repair_order::kind;
  auto order = [&](size_t i) { return d.port.questions[i].repair.value_or(repair_order{}); };
  EXPECT_EQ(order(0).what, what::start);
  EXPECT_EQ(order(0).bucket, bucket_id{0});
  EXPECT_EQ(order(0).partition, partition_id{17});
  EXPECT_EQ(order(1).what, what::start);
  EXPECT_FALSE(order(1).bucket || order(1).partition);
  EXPECT_EQ(order(2).what, what::pause);
  for (const auto& q : d.port.questions)
    d.talk.on_reply(q.sequence, 0, value_reply("{}"));
  EXPECT_EQ(d.heard(), "$2\r\n{}\r\n$2\r\n{}\r\n$2\r\n{}\r\n");
  EXPECT_EQ(d.call({"KV.REPAIR"}), "-ERR wrong number of arguments for 'kv.repair' command\r\n");
  EXPECT_EQ(d.call({"KV.REPAIR", "pause", "bucket", "0"}),
            "-ERR wrong number of arguments for 'kv.repair|pause' command\r\n");
  EXPECT_EQ(d.call({"KV.REPAIR", "start", "bucket"}), "-ERR syntax error\r\n");
  EXPECT_EQ(d.call({"KV.REPAIR", "start", "bucket", "nope"}), "-ERR no such bucket 'nope'\r\n");
  EXPECT_EQ(d.call({"KV.REPAIR", "start", "partition", "x"}), "-ERR value is not an integer or out of range\r\n");
  EXPECT_EQ(d.call({"KV.REPAIR", "start", "partition", "32768"}), "-ERR there is no such partition\r\n");
  EXPECT_EQ(d.call({"KV.REPAIR", "start", "partition", "-1"}), "-ERR there is no such partition\r\n");
}

TEST(KvCommands, TopologyTakesOneOrder) {
  using what = topology_order::kind;
  const std::pair<const char*, what> orders[] = {
      {"show", what::show},     {"COMMIT", what::commit}, {"cancel", what::cancel},  {"Pause", what::pause},
      {"RESUME", what::resume}, {"DRAIN", what::drain},   {"undrain", what::undrain}};
  dialogue d;
  for (const auto& [word, expected] : orders) {
    d.send({"KV.TOPOLOGY", word});
    ASSERT_TRUE(d.port.questions.back().topology) << word;
    EXPECT_EQ(d.port.questions.back().topology->what, expected);
    d.talk.on_reply(d.port.questions.back().sequence, 0, value_reply("{}"));
    EXPECT_EQ(d.heard(), "$2\r\n{}\r\n");
  }
  EXPECT_EQ(d.call({"KV.TOPOLOGY"}), "-ERR wrong number of arguments for 'kv.topology' command\r\n");
  EXPECT_EQ(d.call({"KV.TOPOLOGY", "show", "all"}),
            "-ERR wrong number of arguments for 'kv.topology|show' command\r\n");
  EXPECT_EQ(d.call({"KV.TOPOLOGY", "plan"}), "-ERR wrong number of arguments for 'kv.topology|plan' command\r\n");
  EXPECT_EQ(d.call({"KV.TOPOLOGY", "force"}), "-ERR wrong number of arguments for 'kv.topology|force' command\r\n");
  EXPECT_EQ(d.call({"KV.TOPOLOGY", "undo"}), "-ERR unknown subcommand 'undo' (allowed: SHOW, PLAN, COMMIT, CANCEL, "
                                             "PAUSE, RESUME, FORCE, DRAIN or UNDRAIN)\r\n");
  EXPECT_EQ(d.port.questions.size(), std::size(orders));
}

TEST(KvCommands, TopologyPlanTakesChangesAsJson) {
  dialogue d;
  d.send({"KV.TOPOLOGY", "plan", R"([{"join": "n5"}, {"leave": "n2"}])"});
  ASSERT_EQ(d.port.questions.size(), 1U);
  const auto& order = *d.port.questions[0].topology;
  EXPECT_EQ(order.what, topology_order::kind::plan);
  ASSERT_EQ(order.changes.size(), 2U);
  EXPECT_EQ(protocol::to_words(order.changes[0]), "join n5");
  EXPECT_EQ(protocol::to_words(order.changes[1]), "leave n2");
  d.talk.on_reply(d.port.questions[0].sequence, 0, error_reply(errc::storage_failure, "leave n2: no\r\nsuch node"));
  EXPECT_EQ(d.heard(), "-ERR leave n2: no  such node\r\n");
  EXPECT_EQ(d.call({"KV.TOPOLOGY", "PLAN", "[]"}),
            "-ERR changes: has 0 elements (allowed: a list of 1 to 1000 changes)\r\n");
  EXPECT_EQ(d.call({"KV.TOPOLOGY", "PLAN", "[{\"leave\": 4}]"}),
            "-ERR changes[0].leave: 4 is not a name (allowed: 1 to 64 letters, digits, '.', '_' or '-')\r\n");
}

TEST(KvCommands, TopologyForceTakesWhoIsGoneAndTheEpochThatWasShown) {
  dialogue d;
  d.send({"KV.TOPOLOGY", "FORCE", R"([{"remove": "n3"}, {"remove": "n4"}])"});
  d.send({"KV.TOPOLOGY", "force", R"([{"remove": "n3"}])", "1048600"});
  ASSERT_EQ(d.port.questions.size(), 2U);
  auto order = [&](size_t i) { return *d.port.questions[i].topology; };
  EXPECT_EQ(order(0).what, topology_order::kind::force);
  EXPECT_EQ(order(0).changes.size(), 2U);
  EXPECT_FALSE(order(0).confirmed);
  EXPECT_EQ(order(1).confirmed, 1048600U);
  for (const auto& q : d.port.questions)
    d.talk.on_reply(q.sequence, 0, value_reply("{}"));
  d.heard();
  auto confirm = [&d](const char* epoch) { return d.call({"KV.TOPOLOGY", "FORCE", R"([{"remove": "n3"}])", epoch}); };
  EXPECT_EQ(confirm("0"), "-ERR the epoch to confirm is at least 1\r\n");
  EXPECT_EQ(confirm("yes"), "-ERR value is not an integer or out of range\r\n");
}

TEST(KvCommands, StatusReturnsWhatTheBackendTells) {
  dialogue d;
  d.send({"KV.STATUS"});
  ASSERT_EQ(d.port.questions.size(), 1U);
  EXPECT_FALSE(d.port.questions[0].count_of);
  d.talk.on_reply(d.port.questions[0].sequence, 0, value_reply("{}"));
  EXPECT_EQ(d.heard(), "$2\r\n{}\r\n");
}

} // namespace
} // namespace crema::gateway::resp
