#include "actors/request_desk.hpp"
#include "protocol/slot.hpp"

#include <gtest/gtest.h>
#include <spdlog/sinks/null_sink.h>

#include <random>

namespace crema {
namespace {

using protocol::monotonic;
using std::chrono::milliseconds;

struct recorder final : desk_port {
  void send(node_id to, replica_op op) override { sent.emplace_back(to, std::move(op)); }
  void reply(const std::shared_ptr<reply_sink>&, client_reply r) override { replies[r.id].push_back(std::move(r)); }
  void repair(repair_wanted wanted) override { repairs.push_back(std::move(wanted)); }
  void want_ring() override { ++rings_wanted; }
  int rings_wanted = 0;
  std::vector<std::pair<node_id, replica_op>> sent;
  std::map<uint64_t, std::vector<client_reply>> replies;
  std::vector<repair_wanted> repairs;
};

/// n3, n1 and n2 own everything, what is more are fallbacks; this node is n1.
env_ptr make_env(uint32_t nodes = 3, bool sloppy = false) {
  auto env = std::make_shared<node_env>();
  env->name = "n1";
  env->self = node_id{0};
  config::bucket_config b;
  b.name = "default";
  b.sloppy = sloppy;
  env->config.buckets = {b};
  auto ring = std::make_shared<protocol::ring>();
  ring->epoch = 1;
  ring->buckets = env->config.buckets;
  for (uint32_t i = 0; i < nodes; ++i)
    ring->members.push_back({node_id{i}, "n" + std::to_string(i + 1), "h" + std::to_string(i), "", 1});
  ring->owners.assign(8, {node_id{2}, node_id{0}, node_id{1}});
  env->first_ring = ring;
  env->wall_micros = [] { return uint64_t{1'700'000'000'000'000}; };
  env->log = std::make_shared<spdlog::logger>("test", std::make_shared<spdlog::sinks::null_sink_mt>());
  return env;
}

class Desk : public testing::Test {
protected:
  explicit Desk(env_ptr e = make_env()) : env(std::move(e)) {}
  void up(uint32_t node) { desk.on_node(node_id{node}, true, "heard"); }
  void down(uint32_t node) { desk.on_node(node_id{node}, false, "gone"); }
  void ask(uint64_t id, client_request::kind what, std::string value = {}) {
    client_request r;
    r.id = id;
    r.what = what;
    r.key = "k";
    r.value = std::move(value);
    desk.on_request(nullptr, std::move(r), now);
  }
  /// A plain SET in a siblings bucket, or one that says what existed.
  void ask_reading_first(uint64_t id, protocol::quorum_level read = {}) {
    client_request r;
    r.id = id;
    r.what = client_request::kind::put;
    r.key = "k";
    r.value = "v";
    r.read_first = true;
    r.read = read;
    desk.on_request(nullptr, std::move(r), now);
  }
  void answer(size_t sent, replica_answer::kind what, errc status = errc::ok) {
    auto [to, op] = port.sent.at(sent);
    replica_answer a;
    a.request = op.request;
    a.what = what;
    a.status = status;
    a.durable = true;
    a.dot_replica = 7;
    a.dot_counter = 1;
    a.time = what == replica_answer::kind::given ? 5 : 0;
    if (what == replica_answer::kind::given)
      a.data = protocol::encode_lww({5, {7, 1}, 0, false, "v"});
    desk.on_answer(to, std::move(a), now);
  }
  void give(size_t sent, uint64_t counter, std::string delta) {
    replica_answer a;
    a.request = port.sent.at(sent).second.request;
    a.what = replica_answer::kind::given;
    a.durable = true;
    a.dot_replica = 7;
    a.dot_counter = counter;
    a.data = std::move(delta);
    desk.on_answer(port.sent.at(sent).first, std::move(a), now);
  }
  size_t bytes_sent_to(uint32_t node) const {
    size_t bytes = 0;
    for (const auto& [to, op] : port.sent)
      bytes += to == node_id{node} ? op.data.size() : 0;
    return bytes;
  }
  const client_reply& only_reply(uint64_t id) {
    static const client_reply none;
    auto& all = port.replies[id];
    EXPECT_EQ(all.size(), 1U) << "replies to request " << id;
    return all.empty() ? none : all.front();
  }

  recorder port;
  env_ptr env;
  request_desk desk{env, port};
  monotonic now{0};
};

TEST_F(Desk, AsksItsOwnNodeForTheDotAndSendsTheDeltaToTheOthers) {
  up(1);
  up(2);
  ask(1, client_request::kind::put, "v");
  ASSERT_EQ(port.sent.size(), 1U);
  EXPECT_EQ(port.sent[0].first, node_id{0});
  EXPECT_EQ(port.sent[0].second.what, replica_op::kind::put);
  answer(0, replica_answer::kind::given);
  ASSERT_EQ(port.sent.size(), 3U);
  EXPECT_EQ(port.sent[1].second.what, replica_op::kind::apply);
  EXPECT_EQ(port.sent[1].second.dot_replica, 7U);
  EXPECT_TRUE(port.replies.empty()) << "one acknowledgement is not two";
  answer(1, replica_answer::kind::written);
  EXPECT_EQ(only_reply(1).status, errc::ok);
  answer(2, replica_answer::kind::written);
  EXPECT_TRUE(desk.idle());
}

TEST_F(Desk, ADrainedNodeIsAskedLast) {
  up(1);
  up(2);
  desk.on_drain(node_id{2}, true);
  ask(1, client_request::kind::get);
  ASSERT_EQ(port.sent.size(), 2U);
  EXPECT_EQ(port.sent[1].first, node_id{1}) << "not the next in the ring";
  desk.on_node(node_id{1}, false, "gone"); // It is asked all the same when it is needed.
  ASSERT_EQ(port.sent.size(), 3U);
  EXPECT_EQ(port.sent[2].first, node_id{2});
  desk.on_drain(node_id{2}, false);
  up(1);
  port.sent.clear();
  ask(2, client_request::kind::get);
  EXPECT_EQ(port.sent.at(1).first, node_id{2});
  desk.on_drain(node_id{2}, true);
  desk.on_node(node_id{2}, false, "gone");
  up(2); // Another process.
  port.sent.clear();
  ask(3, client_request::kind::get);
  EXPECT_EQ(port.sent.at(1).first, node_id{2});
}

TEST_F(Desk, AWriteThatMissesItsDeadlineSaysThatTheOutcomeIsUnknownAndWhoWasSilent) {
  up(1);
  up(2);
  ask(1, client_request::kind::put, "v");
  answer(0, replica_answer::kind::given);
  now += env->config.write_timeout;
  desk.on_time(now);
  EXPECT_EQ(only_reply(1).status, errc::timeout);
  EXPECT_NE(only_reply(1).error.find("n3 silent"), std::string::npos) << only_reply(1).error;
  EXPECT_NE(only_reply(1).error.find("outcome unknown"), std::string::npos);
  EXPECT_TRUE(desk.idle());
}

TEST_F(Desk, AnAnswerAfterTheDeadlineChangesNothing) {
  up(1);
  up(2);
  ask(1, client_request::kind::get);
  now += env->config.read_timeout;
  desk.on_time(now);
  answer(0, replica_answer::kind::object);
  answer(1, replica_answer::kind::digest);
  EXPECT_EQ(only_reply(1).status, errc::timeout);
}

TEST_F(Desk, APeerThatDoesNotAnswerIsLeftOutBeforeItsQueueGrowsWithoutBound) {
  up(1);
  up(2);
  std::string big(1 << 20, 'x');
  for (uint64_t id = 0; id < 200; ++id) {
    auto first = port.sent.size();
    ask(id, client_request::kind::put, big);
    ASSERT_EQ(port.sent.size(), first + 1);
    give(first, id + 1, big);
    for (auto i = first + 1; i < port.sent.size(); ++i)
      if (port.sent[i].first == node_id{1}) // n3 says nothing.
        answer(i, replica_answer::kind::written);
    EXPECT_EQ(only_reply(id).status, errc::ok);
  }
  EXPECT_LE(bytes_sent_to(2), request_desk::peer_bytes_max + (2U << 20));
  EXPECT_GE(bytes_sent_to(1), 200U << 20);
}

TEST_F(Desk, WhatWouldHoldTooMuchTogetherWaitsItsTurnAndIsRefusedAtTheDeadline) {
  up(1);
  up(2);
  std::string big(1 << 20, 'x');
  for (uint64_t id = 0; id < 100; ++id)
    ask(id, client_request::kind::put, big);
  auto started = port.sent.size();
  EXPECT_LE(started, request_desk::active_bytes_max >> 20);
  give(0, 1, big);
  answer(started, replica_answer::kind::written);
  EXPECT_EQ(only_reply(0).status, errc::ok);
  EXPECT_EQ(port.sent.back().second.what, replica_op::kind::put) << "its place is given to one that waits";
  now += env->config.write_timeout;
  desk.on_time(now);
  EXPECT_EQ(only_reply(1).status, errc::timeout);
  EXPECT_EQ(only_reply(99).status, errc::busy);
  EXPECT_TRUE(desk.idle());
}

TEST_F(Desk, ReadsOfAnUnknownBucketStartFewAtATimeAndMoreOnceTheyProveSmall) {
  up(1);
  up(2);
  for (uint64_t id = 0; id < 5000; ++id)
    ask(id, client_request::kind::get);
  auto first = port.sent.size();
  EXPECT_LT(first, 100U);
  EXPECT_TRUE(port.replies.empty()) << "those that wait hold no values yet: none is refused";
  for (size_t i = 0; i < port.sent.size(); ++i)
    answer(i, port.sent[i].second.what == replica_op::kind::get ? replica_answer::kind::object
                                                                : replica_answer::kind::digest);
  EXPECT_EQ(port.replies.size(), 5000U);
  EXPECT_TRUE(desk.idle());
}

TEST_F(Desk, TheOwnersRefusalIsTheClientsError) {
  up(1);
  up(2);
  ask(1, client_request::kind::put, "v");
  answer(0, replica_answer::kind::refused, errc::storage_failure);
  EXPECT_EQ(only_reply(1).status, errc::storage_failure);
  EXPECT_TRUE(desk.idle());
}

TEST_F(Desk, AsksTheNextOwnerForTheSameWriteWhenTheClockOfTheGiverIsAhead) {
  up(1);
  up(2);
  ask(1, client_request::kind::put, "v");
  answer(0, replica_answer::kind::refused, errc::clock_skew);
  ASSERT_EQ(port.sent.size(), 2U);
  auto& [to, op] = port.sent[1];
  EXPECT_NE(to, node_id{0});
  EXPECT_EQ(op.what, replica_op::kind::put);
  EXPECT_EQ(op.data, "v");
  EXPECT_FALSE(op.any_time);
  give(1, 1, "delta");
  ASSERT_EQ(port.sent.size(), 4U);
  EXPECT_EQ(port.sent[2].first, node_id{0}) << "the one that gave nothing is an owner like any other";
  EXPECT_EQ(port.sent[2].second.data, "delta");
  answer(2, replica_answer::kind::written);
  EXPECT_EQ(only_reply(1).status, errc::ok);
}

TEST_F(Desk, ALateRefusalIsNotOneOfTheGiverThatIsToGiveAtAnyTime) {
  up(1);
  ask(1, client_request::kind::put, "v");
  answer(0, replica_answer::kind::refused, errc::clock_skew);
  answer(1, replica_answer::kind::refused, errc::clock_skew);
  ASSERT_EQ(port.sent.size(), 3U);
  EXPECT_EQ(port.sent[2].first, node_id{0});
  EXPECT_TRUE(port.sent[2].second.any_time);
  answer(0, replica_answer::kind::refused, errc::clock_skew); // The network says it twice.
  EXPECT_TRUE(port.replies.empty());
  give(2, 1, "delta");
  ASSERT_EQ(port.sent.size(), 4U);
  EXPECT_TRUE(port.sent[3].second.any_time);
  answer(3, replica_answer::kind::written);
  EXPECT_EQ(only_reply(1).status, errc::ok);
  EXPECT_TRUE(desk.idle());
}

TEST_F(Desk, AnOwnerLostBeforeTheDotIsNotSentTheDelta) {
  up(1);
  up(2);
  ask(1, client_request::kind::put, "v");
  desk.on_node(node_id{1}, false, "gone");
  give(0, 1, "delta");
  ASSERT_EQ(port.sent.size(), 2U);
  EXPECT_EQ(port.sent[1].first, node_id{2});
  answer(1, replica_answer::kind::written);
  EXPECT_EQ(only_reply(1).status, errc::ok);
  EXPECT_TRUE(desk.idle());
}

// Found by the simulator (seed 66): the read ended with the hedge, nobody started the write, and there was no reply.
TEST_F(Desk, AWriteGoesOnWhenTheHedgeEndsTheReadBeforeIt) {
  up(1);
  up(2);
  ask_reading_first(1, {protocol::quorum_level::kind::one, 0});
  ASSERT_EQ(port.sent.size(), 3U) << "the object from one, digests from two";
  replica_answer digest;
  digest.request = port.sent[1].second.request;
  digest.what = replica_answer::kind::digest;
  digest.digest = 5;
  desk.on_answer(port.sent[1].first, digest, now);
  answer(0, replica_answer::kind::object); // Differs: the other object is asked for.
  ASSERT_EQ(port.sent.size(), 4U);
  now += env->config.read_timeout / 4;
  desk.on_time(now);
  ASSERT_EQ(port.sent.size(), 5U);
  EXPECT_EQ(port.sent[4].second.what, replica_op::kind::put);
  now += env->config.write_timeout;
  desk.on_time(now);
  EXPECT_EQ(only_reply(1).status, errc::timeout);
}

TEST_F(Desk, ALateRefusalOfTheReadIsNotOneOfTheWriteThatFollowed) {
  up(1);
  up(2);
  ask_reading_first(1);
  answer(0, replica_answer::kind::object);
  answer(1, replica_answer::kind::digest);
  auto write = port.sent.size() - 1;
  ASSERT_EQ(port.sent[write].second.what, replica_op::kind::put);
  answer(0, replica_answer::kind::refused, errc::storage_failure);
  EXPECT_TRUE(port.replies.empty());
  give(write, 1, "delta");
  answer(write + 1, replica_answer::kind::written);
  EXPECT_EQ(only_reply(1).status, errc::ok);
}

/// Five nodes, three of them owners.
class SloppyDesk : public Desk {
protected:
  SloppyDesk() : Desk(make_env(5, true)) {
    for (uint32_t i = 1; i < 5; ++i)
      up(i);
  }
  /// The fallbacks of the key's partition, the first one first.
  std::vector<node_id> fallbacks() const {
    auto list = env->first_ring->preference_list(protocol::partition_of("k", 8), 3);
    return {list.begin() + 3, list.end()};
  }
};

TEST_F(SloppyDesk, AWriteGoesToTheNextFallbackInPlaceOfAnOwnerThatIsDown) {
  down(2);
  ask(1, client_request::kind::put, "v");
  answer(0, replica_answer::kind::given);
  ASSERT_EQ(port.sent.size(), 3U);
  EXPECT_EQ(port.sent[1].first, node_id{1});
  EXPECT_FALSE(port.sent[1].second.fallback);
  EXPECT_EQ(port.sent[2].first, fallbacks()[0]);
  EXPECT_TRUE(port.sent[2].second.fallback);
  answer(2, replica_answer::kind::written);
  EXPECT_EQ(only_reply(1).status, errc::ok);
  EXPECT_EQ(desk.counters()["fallback_requests"], 1U);
  EXPECT_EQ(desk.counters()["fallback_acks"], 1U);
}

TEST_F(SloppyDesk, AnOwnerThatIsLostBeforeItIsAskedIsReplacedAsWell) {
  ask(1, client_request::kind::put, "v");
  down(2);
  answer(0, replica_answer::kind::given);
  ASSERT_EQ(port.sent.size(), 3U);
  EXPECT_EQ(port.sent[2].first, fallbacks()[0]);
  down(1); // It has been asked.
  ASSERT_EQ(port.sent.size(), 4U);
  EXPECT_EQ(port.sent[3].first, fallbacks()[1]);
}

TEST_F(SloppyDesk, AReadAsksAFallbackWhenTooFewOwnersAreUp) {
  down(1);
  down(2);
  ask(1, client_request::kind::get);
  ASSERT_EQ(port.sent.size(), 2U);
  EXPECT_EQ(port.sent[1].first, fallbacks()[0]);
  EXPECT_TRUE(port.sent[1].second.fallback);
  answer(0, replica_answer::kind::object);
  answer(1, replica_answer::kind::digest);
  EXPECT_EQ(only_reply(1).status, errc::ok);
}

TEST_F(SloppyDesk, WhatIsMissingIsNamed) {
  down(1);
  down(2);
  client_request r;
  r.id = 1;
  r.what = client_request::kind::put;
  r.key = "k";
  r.write_owners = {protocol::quorum_level::kind::number, 2};
  desk.on_request(nullptr, r, now);
  EXPECT_EQ(only_reply(1).error, "needed 2 owners, reachable 1: n2 down, n3 down");
  r.id = 2;
  r.what = client_request::kind::get;
  r.read_owners = r.write_owners;
  desk.on_request(nullptr, r, now);
  EXPECT_EQ(only_reply(2).error, "needed 2 owners, reachable 1: n2 down, n3 down");
  down(3);
  down(4);
  ask(3, client_request::kind::put, "v");
  EXPECT_EQ(only_reply(3).status, errc::no_quorum);
  EXPECT_EQ(only_reply(3).error.substr(0, 43), "needed 2, reachable 1: n2 down, n3 down, n4");
}

TEST_F(Desk, AReadWithRepairInTheForegroundWaitsForIt) {
  up(1);
  up(2);
  auto object = [&](size_t sent, timestamp time) {
    replica_answer a;
    a.request = port.sent.at(sent).second.request;
    a.what = port.sent.at(sent).second.what == replica_op::kind::digest ? replica_answer::kind::digest
                                                                        : replica_answer::kind::object;
    a.data = protocol::encode_lww({time, {7, time}, 0, false, "v" + std::to_string(time)});
    a.digest = protocol::digest_lww(protocol::decode_lww(a.data));
    desk.on_answer(port.sent.at(sent).first, std::move(a), now);
  };
  client_request r;
  r.what = client_request::kind::get;
  r.key = "k";
  for (auto done : {true, false}) {
    ++r.id;
    r.repair = protocol::read_repair::foreground;
    auto first = port.sent.size();
    desk.on_request(nullptr, r, now);
    object(first, 5);
    object(first + 1, 6);
    object(first + 2, 6);
    auto wanted = port.repairs.back();
    EXPECT_EQ(wanted.stale, port.sent.at(first).first);
    ASSERT_NE(wanted.request, 0U);
    EXPECT_TRUE(port.replies[r.id].empty());
    desk.on_repaired({wanted.request, wanted.stale, wanted.source, done}, now);
    if (!done) // Another one is asked.
      object(port.sent.size() - 1, 6);
    EXPECT_EQ(only_reply(r.id).values.at(0).value, "v6");
    EXPECT_TRUE(desk.idle());
  }
}

/// "x=1 y=2", of the named fields.
std::string pick(const explanation::fields& all, std::initializer_list<std::string_view> names) {
  std::string text;
  for (auto name : names)
    for (const auto& [n, value] : all)
      if (n == name)
        text.append(text.empty() ? "" : " ").append(n).append("=").append(value);
  return text;
}

TEST_F(SloppyDesk, ExplainsWhereAKeyLives) {
  down(2);
  client_request r;
  r.id = 1;
  r.what = client_request::kind::explain;
  r.key = "k";
  desk.on_request(nullptr, r, now);
  const auto& told = *only_reply(1).explained;
  EXPECT_EQ(pick(told.summary, {"bucket", "copies", "quorum"}), "bucket=default copies=3 quorum=sloppy");
  ASSERT_EQ(told.nodes.size(), 5U);
  EXPECT_EQ(pick(told.nodes[0], {"node", "role", "state", "why"}), "node=n3 role=owner state=down why=gone");
  EXPECT_EQ(pick(told.nodes[1], {"node", "role", "state", "why", "complete"}),
            "node=n1 role=owner state=up why=this node complete=as far as known");
  EXPECT_EQ(pick(told.nodes[3], {"role", "state"}), "role=fallback state=up");
}

TEST_F(SloppyDesk, ExplainsAWrite) {
  down(2);
  client_request r;
  r.id = 1;
  r.what = client_request::kind::put;
  r.key = "k";
  r.value = "v";
  r.explain = true;
  desk.on_request(nullptr, r, now);
  answer(0, replica_answer::kind::refused, errc::incomplete);
  now += std::chrono::microseconds{250};
  answer(1, replica_answer::kind::given);
  auto fallback = port.sent.size() - 1;
  ASSERT_TRUE(port.sent[fallback].second.fallback);
  answer(fallback, replica_answer::kind::written);
  const auto& told = *only_reply(1).explained;
  EXPECT_EQ(pick(told.summary, {"acks", "acks_of_fallbacks", "second_round", "replied_after_us"}),
            "acks=2 acks_of_fallbacks=1 second_round=no replied_after_us=250");
  ASSERT_EQ(told.exchanges.size(), 4U);
  EXPECT_EQ(pick(told.exchanges[0], {"node", "asked", "answer"}), "node=n1 asked=put answer=refused: incomplete");
  EXPECT_EQ(pick(told.exchanges[1], {"node", "role", "asked", "asked_after_us", "answer", "dot", "answered_after_us"}),
            "node=n2 role=owner asked=put asked_after_us=0 answer=given dot=0000000000000007:1 answered_after_us=250");
  EXPECT_EQ(pick(told.exchanges[2], {"node", "asked", "answer"}), "node=n1 asked=apply answer=none yet");
  EXPECT_EQ(pick(told.exchanges[3], {"role", "asked", "answer", "newer"}), "role=fallback asked=apply answer=written");
  EXPECT_EQ(pick(told.nodes[1], {"node", "complete"}), "node=n1 complete=no");
}

TEST_F(Desk, ExplainsARead) {
  up(1);
  up(2);
  client_request r;
  r.id = 1;
  r.key = "k";
  r.explain = true;
  desk.on_request(nullptr, r, now);
  for (size_t i = 0; i < 3; ++i) {
    const auto& op = port.sent.at(i).second;
    replica_answer a;
    a.request = op.request;
    a.what = op.what == replica_op::kind::digest ? replica_answer::kind::digest : replica_answer::kind::object;
    auto time = i == 0 ? 5U : 6U;
    a.data = protocol::encode_lww({time, {7, time}, 0, false, "v"});
    a.digest = protocol::digest_lww(protocol::decode_lww(a.data));
    desk.on_answer(port.sent.at(i).first, std::move(a), now);
  }
  const auto& told = *only_reply(1).explained;
  EXPECT_EQ(pick(told.summary, {"hedged", "repairs", "second_round"}), "hedged=no repairs=0");
  ASSERT_EQ(told.exchanges.size(), 3U);
  EXPECT_EQ(pick(told.exchanges[0], {"asked", "answer", "dot", "time", "holds"}),
            "asked=get answer=object dot=0000000000000007:5 time=0.000000+5 holds=1 bytes");
  EXPECT_EQ(pick(told.exchanges[1], {"asked", "answer"}), "asked=digest answer=digest");
}

TEST_F(Desk, AWriteThatMeetsANewerOneIsWrittenAgainWithALaterTime) {
  up(1);
  up(2);
  ask(1, client_request::kind::put, "v");
  answer(0, replica_answer::kind::given);
  ASSERT_EQ(port.sent.size(), 3U);
  replica_answer newer;
  newer.request = port.sent[1].second.request;
  newer.what = replica_answer::kind::written;
  newer.time = 70;
  desk.on_answer(port.sent[1].first, newer, now);
  ASSERT_EQ(port.sent.size(), 4U);
  EXPECT_EQ(port.sent[3].second.what, replica_op::kind::put);
  EXPECT_EQ(port.sent[3].second.data, "v");
  EXPECT_EQ(port.sent[3].second.time, 70U);
  answer(2, replica_answer::kind::written); // Of the first round.
  EXPECT_TRUE(port.replies.empty());
  answer(3, replica_answer::kind::given);
  ASSERT_EQ(port.sent.size(), 6U) << "all owners get the second write as well";
  answer(1, replica_answer::kind::written);
  EXPECT_TRUE(port.replies.empty()) << "an acknowledgement of the first round, repeated";
  answer(4, replica_answer::kind::written);
  EXPECT_EQ(only_reply(1).status, errc::ok);
  EXPECT_EQ(desk.counters()["second_rounds"], 1U);
  answer(5, replica_answer::kind::written);
  EXPECT_TRUE(desk.idle());
}

TEST_F(Desk, ASecondRoundThatMissesTheDeadlineIsAnUnknownOutcome) {
  up(1);
  up(2);
  ask(1, client_request::kind::put, "v");
  answer(0, replica_answer::kind::given);
  replica_answer newer;
  newer.request = port.sent[1].second.request;
  newer.what = replica_answer::kind::written;
  newer.time = 70;
  desk.on_answer(port.sent[1].first, newer, now);
  answer(3, replica_answer::kind::refused, errc::storage_failure);
  EXPECT_EQ(only_reply(1).status, errc::unknown_outcome) << "the first write happened";
  EXPECT_TRUE(desk.idle());
}

TEST_F(Desk, TheNextOwnerIsAskedForTheDotWhenOneIsIncomplete) {
  up(1);
  up(2);
  ask(1, client_request::kind::put, "v");
  answer(0, replica_answer::kind::refused, errc::incomplete);
  ASSERT_EQ(port.sent.size(), 2U);
  EXPECT_EQ(port.sent[1].second.what, replica_op::kind::put);
  EXPECT_EQ(port.sent[1].second.data, "v");
  answer(1, replica_answer::kind::given);
  ASSERT_EQ(port.sent.size(), 4U);
  EXPECT_EQ(port.sent[2].first, node_id{0}) << "it is sent the delta all the same";
  answer(2, replica_answer::kind::written);
  EXPECT_EQ(only_reply(1).status, errc::ok);
}

TEST_F(SloppyDesk, ANodeThatIsIncompleteIsNamed) {
  down(1);
  down(2);
  for (auto fallback : fallbacks())
    desk.on_node(fallback, false, "gone");
  up(1);
  ask(1, client_request::kind::get);
  answer(0, replica_answer::kind::object);
  answer(1, replica_answer::kind::refused, errc::incomplete);
  EXPECT_EQ(only_reply(1).status, errc::no_quorum);
  EXPECT_EQ(only_reply(1).error.substr(0, 49), "needed 2, reachable 1: n2 incomplete, n3 down, n4");
}

TEST_F(Desk, EveryRequestGetsOneReplyWhateverHappens) {
  auto sloppy = make_env(5, true);
  for (uint32_t seed = 0; seed < 2000; ++seed) {
    SCOPED_TRACE("seed=" + std::to_string(seed));
    std::mt19937 rng{seed};
    recorder out;
    request_desk d{rng() % 2 == 0 ? env : sloppy, out};
    monotonic t{0};
    uint64_t id = 0;
    for (int step = 0; step < 120; ++step) {
      switch (rng() % 6) {
      case 0:
      case 1: {
        client_request r;
        r.id = ++id;
        r.what = static_cast<client_request::kind>(rng() % 3);
        r.read_first = rng() % 3 == 0;
        if (rng() % 3 == 0)
          r.read_owners = r.write_owners = {protocol::quorum_level::kind::number, 1 + static_cast<uint32_t>(rng() % 3)};
        r.key = "k" + std::to_string(rng() % 3);
        d.on_request(nullptr, std::move(r), t);
        break;
      }
      case 2:
        d.on_node(node_id{1 + static_cast<uint32_t>(rng() % 4)}, rng() % 2 == 0, "test");
        break;
      case 3:
        t += milliseconds{rng() % 700};
        d.on_time(t);
        break;
      default:
        if (out.sent.empty())
          break;
        const auto& [to, op] = out.sent[rng() % out.sent.size()]; // Any of them, any number of times.
        replica_answer a;
        a.request = op.request;
        a.what = rng() % 5 == 0                        ? replica_answer::kind::refused
                 : op.what == replica_op::kind::put    ? replica_answer::kind::given
                 : op.what == replica_op::kind::apply  ? replica_answer::kind::written
                 : op.what == replica_op::kind::digest ? replica_answer::kind::digest
                                                       : replica_answer::kind::object;
        a.status = a.what != replica_answer::kind::refused ? errc::ok
                   : rng() % 2 == 0                        ? errc::storage_failure
                   : rng() % 3 == 0                        ? errc::storage_failure
                   : rng() % 2 == 0                        ? errc::clock_skew
                                                           : errc::incomplete;
        a.durable = rng() % 2 == 0;
        a.dot_replica = 7;
        a.dot_counter = 1 + rng() % 3;
        a.time = a.what == replica_answer::kind::written && rng() % 4 != 0 ? 0 : a.dot_counter;
        if (a.what == replica_answer::kind::given)
          a.data = protocol::encode_lww({a.time, {7, a.dot_counter}, 0, false, "v"});
        if (a.what == replica_answer::kind::object && rng() % 2 == 0) {
          a.data = protocol::encode_lww({a.time, {7, a.dot_counter}, 0, false, "v"});
          a.digest = protocol::digest_lww(protocol::decode_lww(a.data));
        }
        d.on_answer(to, std::move(a), t);
      }
    }
    for (int i = 0; i < 3; ++i) {
      t += std::chrono::seconds{3};
      d.on_time(t);
    }
    ASSERT_TRUE(d.idle());
    ASSERT_EQ(out.replies.size(), id);
    for (const auto& [request, replies] : out.replies)
      ASSERT_EQ(replies.size(), 1U) << request;
  }
}

// -- While owners change
// -----------------------------------------------------------------------------------------------

/// Four nodes; n4 is to own what n2 owns.
class ChangingDesk : public Desk {
protected:
  ChangingDesk() : Desk(make_env(4)) {
    for (uint32_t n : {1U, 2U, 3U})
      up(n);
  }
  protocol::ring next_ring(uint64_t epoch) const {
    auto r = *env->first_ring;
    r.epoch = epoch;
    r.since.assign(r.owners.size(), epoch);
    return r;
  }
  void publish(protocol::ring r) { desk.on_ring(std::make_shared<protocol::ring>(std::move(r))); }
  void publish_joint() {
    auto r = next_ring(2);
    r.next.assign(8, {node_id{2}, node_id{0}, node_id{3}});
    publish(r);
  }
  void publish_stable() {
    auto r = next_ring(3);
    r.former = r.owners;
    r.owners.assign(8, {node_id{2}, node_id{0}, node_id{3}});
    publish(r);
  }
  /// Whom the last `count` operations went to.
  std::vector<uint32_t> last(size_t count) const {
    std::vector<uint32_t> nodes;
    for (auto i = port.sent.size() - count; i < port.sent.size(); ++i)
      nodes.push_back(to_index(port.sent[i].first));
    return nodes;
  }
};

TEST_F(ChangingDesk, WritesToOwnersToBeAndReadsFromOwners) {
  publish_joint();
  ask(1, client_request::kind::put, "v");
  answer(0, replica_answer::kind::given);
  EXPECT_EQ(last(3), (std::vector<uint32_t>{2, 1, 3}));
  EXPECT_FALSE(port.sent.back().second.fallback) << "It has a vnode of its own.";
  answer(2, replica_answer::kind::written);
  EXPECT_TRUE(port.replies.empty()) << "n1 and n2 are a quorum of the owners only.";
  answer(3, replica_answer::kind::written);
  EXPECT_EQ(only_reply(1).status, errc::ok);
  auto before = port.sent.size();
  for (uint64_t id = 2; id < 40; ++id)
    ask(id, client_request::kind::get);
  for (; before < port.sent.size(); ++before)
    EXPECT_NE(to_index(port.sent[before].first), 3U);
}

TEST_F(ChangingDesk, WritesToFormerOwnersUntilEnoughOfThemKnow) {
  publish_stable();
  ask(1, client_request::kind::put, "v");
  answer(0, replica_answer::kind::given);
  EXPECT_EQ(last(3), (std::vector<uint32_t>{2, 3, 1}));
  EXPECT_TRUE(port.sent.back().second.fallback) << "It keeps what it gets in a temporary vnode.";
  answer(2, replica_answer::kind::written);
  EXPECT_TRUE(port.replies.empty()) << "Somebody may still read n2 and n3.";
  answer(1, replica_answer::kind::written);
  EXPECT_EQ(only_reply(1).status, errc::ok);
  desk.on_epoch(node_id{3}, 3);
  ask(2, client_request::kind::put, "v");
  answer(4, replica_answer::kind::given);
  EXPECT_EQ(last(3), (std::vector<uint32_t>{2, 3, 1})) << "n4 was none of them.";
  desk.on_epoch(node_id{2}, 3); // And this node: two of three.
  ask(3, client_request::kind::put, "v");
  answer(8, replica_answer::kind::given);
  EXPECT_EQ(last(2), (std::vector<uint32_t>{2, 3}));
}

TEST_F(ChangingDesk, NamesThoseWhoseQuorumIsMissingEachOnce) {
  publish_joint();
  down(2);
  down(3);
  ask(1, client_request::kind::put, "v");
  EXPECT_EQ(only_reply(1).error,
            "needed 2 of those that the key moves between, reachable 1: n3 down, n4 down"); // n1 and n2 own it.
  up(3);
  down(1);
  ask(2, client_request::kind::put, "v");
  EXPECT_EQ(only_reply(2).error, "needed 2, reachable 1: n2 down, n3 down");
  auto with_former = next_ring(3);
  with_former.former = with_former.owners;
  with_former.owners.assign(8, {node_id{2}, node_id{0}, node_id{3}});
  with_former.buckets.front().sloppy = true;
  publish(with_former);
  down(3);
  ask(3, client_request::kind::put, "v");
  EXPECT_EQ(only_reply(3).error, "needed 2, reachable 1: n2 down, n3 down, n4 down"); // n2 might stand in.
}

// Links come up as soon as anybody has heard of a node.
TEST_F(ChangingDesk, RemembersWhoWasUpBeforeTheRingNamedIt) {
  up(7);
  desk.on_epoch(node_id{8}, 2);
  auto r = next_ring(2);
  r.members.push_back({node_id{7}, "n8", "h", "", 1});
  r.next.assign(8, {node_id{2}, node_id{0}, node_id{7}});
  publish(r);
  ask(1, client_request::kind::put, "v");
  answer(0, replica_answer::kind::given);
  EXPECT_EQ(last(3), (std::vector<uint32_t>{2, 1, 7}));
}

TEST_F(ChangingDesk, ExplainsWhoIsToOwnTheKeyAndWhoDid) {
  auto explained = [this](uint64_t id) {
    ask(id, client_request::kind::explain);
    std::vector<std::string> rows;
    for (const auto& row : only_reply(id).explained->nodes) {
      std::string text;
      for (const auto& [name, value] : row)
        if (name == "node" || name == "role" || name == "part")
          text += (text.empty() ? "" : ", ") + value;
      rows.push_back(text);
    }
    return rows;
  };
  EXPECT_EQ(explained(1), (std::vector<std::string>{"n3, owner", "n1, owner", "n2, owner", "n4, fallback"}));
  publish_joint();
  EXPECT_EQ(explained(2), (std::vector<std::string>{"n3, owner, read and written", "n1, owner, read and written",
                                                    "n2, owner, read and written, until those to be are complete",
                                                    "n4, owner to be, written, not read yet"}));
  publish_stable();
  EXPECT_EQ(explained(3), (std::vector<std::string>{"n3, owner, read and written", "n1, owner, read and written",
                                                    "n4, owner, read and written",
                                                    "n2, former owner, written, as somebody may still read from it"}));
  desk.on_epoch(node_id{1}, 3);
  desk.on_epoch(node_id{2}, 3);
  EXPECT_EQ(explained(4).back(), "n2, former owner, hands over what it has");
}

TEST_F(ChangingDesk, EndsWhatIsUnderWayInABucketThatIsDropped) {
  ask(1, client_request::kind::put, "v");
  ask(2, client_request::kind::get);
  auto r = next_ring(2);
  r.buckets.front().id = 7;
  publish(r);
  for (auto id : {1U, 2U})
    EXPECT_EQ(only_reply(id).error, "the bucket was dropped meanwhile");
  EXPECT_EQ(only_reply(1).status, errc::unknown_outcome) << "who has not heard of it yet may show the write";
  EXPECT_EQ(only_reply(2).status, errc::not_owner);
  EXPECT_TRUE(desk.idle());
  ask(3, client_request::kind::get);
  EXPECT_EQ(only_reply(3).error, "n1 knows no such bucket");
}

TEST_F(ChangingDesk, WritesByBothNumbersOfABucketThatChanges) {
  auto r = next_ring(2);
  r.next = r.owners;
  r.buckets.front().other = protocol::quorums{3, 1, 3};
  publish(r);
  ask(1, client_request::kind::put, "v");
  answer(0, replica_answer::kind::given);
  answer(1, replica_answer::kind::written);
  EXPECT_TRUE(port.replies.empty()) << "two of three will not do when one is read";
  answer(2, replica_answer::kind::written);
  EXPECT_EQ(only_reply(1).status, errc::ok);
}

TEST_F(ChangingDesk, BeginsAReadAnewUnderANewRing) {
  ask(1, client_request::kind::get);
  auto old = port.sent.size();
  publish_stable();
  EXPECT_EQ(port.sent.size(), 2 * old);
  answer(0, replica_answer::kind::object);
  answer(1, replica_answer::kind::digest);
  EXPECT_TRUE(port.replies.empty()) << "Answers to what was asked by the old one.";
  answer(old, replica_answer::kind::object);
  answer(old + 1, replica_answer::kind::digest);
  EXPECT_EQ(only_reply(1).status, errc::ok);
}

// It was answered twice: that R is more than N, and when its deadline had passed (`crema sim --seed 2558492712`).
TEST_F(ChangingDesk, AsksAllWhereAReadWantsMoreOwnersThanThereAreByNow) {
  client_request r;
  r.id = 1;
  r.what = client_request::kind::get;
  r.key = "k";
  r.read = r.read_owners = {protocol::quorum_level::kind::number, 3};
  desk.on_request(nullptr, r, now);
  auto old = port.sent.size();
  auto fewer = next_ring(2);
  fewer.buckets.front().n = 2;
  publish(fewer);
  ASSERT_EQ(port.sent.size(), old + 2);
  answer(old, replica_answer::kind::object);
  EXPECT_TRUE(port.replies.empty());
  answer(old + 1, replica_answer::kind::digest);
  EXPECT_EQ(only_reply(1).status, errc::ok);
  EXPECT_TRUE(desk.idle());
  r.id = 2;
  desk.on_request(nullptr, r, now);
  EXPECT_EQ(only_reply(2).error, "R or PR is more than N 2");
}

TEST_F(ChangingDesk, WaitsForTheRingThatAReplicaKnows) {
  ask(1, client_request::kind::get);
  ask(2, client_request::kind::put, "v");
  auto put = port.sent.size() - 1;
  answer(0, replica_answer::kind::refused, errc::stale_epoch);
  answer(put, replica_answer::kind::refused, errc::stale_epoch);
  EXPECT_EQ(port.rings_wanted, 2);
  EXPECT_TRUE(port.replies.empty());
  publish_joint();
  EXPECT_TRUE(port.replies.empty());
  EXPECT_EQ(port.sent.back().second.what, replica_op::kind::put) << "Another one is asked for the dot.";
  answer(port.sent.size() - 1, replica_answer::kind::given);
  for (auto i = put + 1; i < port.sent.size(); ++i)
    if (port.sent[i].second.what == replica_op::kind::apply)
      answer(i, replica_answer::kind::written);
  EXPECT_EQ(only_reply(2).status, errc::ok);
}

TEST_F(ChangingDesk, FailsAtTheDeadlineIfTheRingDoesNotCome) {
  ask(1, client_request::kind::get);
  answer(0, replica_answer::kind::refused, errc::stale_epoch);
  now += std::chrono::seconds{3};
  desk.on_time(now);
  EXPECT_EQ(only_reply(1).status, errc::timeout);
}

} // namespace
} // namespace crema
