#include "dialogue.hpp"

#include <gtest/gtest.h>

namespace crema::gateway::resp {
namespace {

using kind = client_request::kind;

TEST(DataCommands, GetAsksForTheKeyAndReturnsTheNewestValue) {
  dialogue d;
  d.send({"GET", "k"});
  ASSERT_EQ(d.port.open.size(), 1U);
  const auto& r = d.port.open[0].request;
  EXPECT_EQ(r.what, kind::get);
  EXPECT_EQ(r.bucket, 0);
  EXPECT_EQ(r.key, "k");
  EXPECT_EQ(d.heard(), "");
  auto reply = value_reply("new");
  reply.values.push_back({"old", 0, 0});
  d.answer(0, std::move(reply));
  EXPECT_EQ(d.heard(), "$3\r\nnew\r\n");
}

TEST(DataCommands, GetOfAMissingKeyReturnsNull) {
  dialogue d;
  d.send({"get", "k"});
  d.answer(0, {});
  EXPECT_EQ(d.heard(), "$-1\r\n");
  d.call({"HELLO", "3"});
  d.send({"get", "k"});
  d.answer(0, {});
  EXPECT_EQ(d.heard(), "_\r\n");
}

TEST(DataCommands, SetPutsTheValue) {
  dialogue d;
  d.send({"SET", "k", "v"});
  const auto& r = d.port.open.at(0).request;
  EXPECT_EQ(r.what, kind::put);
  EXPECT_EQ(r.key, "k");
  EXPECT_EQ(r.value, "v");
  EXPECT_EQ(r.ttl_ms, 0U);
  EXPECT_FALSE(r.read_first);
  EXPECT_FALSE(r.context);
  d.answer(0, {});
  EXPECT_EQ(d.heard(), "+OK\r\n");
}

TEST(DataCommands, SetInASiblingsBucketReplacesWhatAQuorumReadSees) {
  dialogue d;
  EXPECT_EQ(d.call({"SELECT", "carts"}), "+OK\r\n");
  d.send({"SET", "k", "v"});
  d.send({"MSET", "a", "1"});
  d.send({"SETEX", "b", "1", "v"});
  ASSERT_EQ(d.port.open.size(), 3U);
  for (const auto& x : d.port.open) {
    EXPECT_EQ(x.request.bucket, 1);
    EXPECT_TRUE(x.request.read_first);
  }
}

TEST(DataCommands, ExpiryIsCountedInMillisecondsFromNow) {
  auto ttl = [](const std::vector<std::string>& args) {
    dialogue d;
    d.send(args);
    return d.port.open.at(0).request.ttl_ms;
  };
  auto in_seconds = std::to_string(test_now_ms / 1000 + 7);
  EXPECT_EQ(ttl({"SET", "k", "v", "EX", "10"}), 10000U);
  EXPECT_EQ(ttl({"SET", "k", "v", "px", "10"}), 10U);
  EXPECT_EQ(ttl({"SET", "k", "v", "EXAT", in_seconds}), 7000U);
  EXPECT_EQ(ttl({"SET", "k", "v", "PXAT", std::to_string(test_now_ms + 9)}), 9U);
  EXPECT_EQ(ttl({"SET", "k", "v", "PXAT", "1"}), 1U) << "in the past: gone at once";
  EXPECT_EQ(ttl({"SETEX", "k", "10", "v"}), 10000U);
  EXPECT_EQ(ttl({"PSETEX", "k", "10", "v"}), 10U);
}

TEST(DataCommands, MistakesGetTheWordsOfRedis) {
  dialogue d;
  EXPECT_EQ(d.call({"GET"}), "-ERR wrong number of arguments for 'get' command\r\n");
  EXPECT_EQ(d.call({"GET", "a", "b"}), "-ERR wrong number of arguments for 'get' command\r\n");
  EXPECT_EQ(d.call({"MSET", "a", "1", "b"}), "-ERR wrong number of arguments for 'mset' command\r\n");
  EXPECT_EQ(d.call({"SET", "k", "v", "WRONG"}), "-ERR syntax error\r\n");
  EXPECT_EQ(d.call({"SET", "k", "v", "EX"}), "-ERR syntax error\r\n");
  EXPECT_EQ(d.call({"SET", "k", "v", "EX", "1", "PX", "1"}), "-ERR syntax error\r\n");
  EXPECT_EQ(d.call({"SET", "k", "v", "NX", "XX"}), "-ERR syntax error\r\n");
  EXPECT_EQ(d.call({"SET", "k", "v", "KEEPTTL", "EX", "1"}), "-ERR syntax error\r\n");
  for (const auto* number : {"x", "1.5", "", "9223372036854775808", " 1", "1 "})
    EXPECT_EQ(d.call({"SET", "k", "v", "EX", number}), "-ERR value is not an integer or out of range\r\n") << number;
  for (const auto* number : {"0", "-1", "9223372036854775807", "9223372036854775"})
    EXPECT_EQ(d.call({"SET", "k", "v", "EX", number}), "-ERR invalid expire time in 'set' command\r\n") << number;
  EXPECT_EQ(d.call({"SETEX", "k", "0", "v"}), "-ERR invalid expire time in 'setex' command\r\n");
  EXPECT_EQ(d.call({"foo", "bar", "baz"}), "-ERR unknown command 'foo', with args beginning with: 'bar' 'baz' \r\n");
  EXPECT_TRUE(d.port.open.empty());
}

TEST(DataCommands, AnUnknownCommandIsRepeatedInPartOnly) {
  dialogue d;
  EXPECT_LT(d.call({std::string(100000, 'x'), std::string(100000, 'y'), "z"}).size(), 400U);
}

TEST(DataCommands, LengthsOfKeysAreChecked) {
  dialogue d;
  std::string longest(key_bytes_max, 'k');
  EXPECT_EQ(d.call({"GET", ""}), "-ERR empty key\r\n");
  EXPECT_EQ(d.call({"SET", longest + "k", "v"}), "-TOOBIG key of 65537 bytes, at most 65536 are allowed\r\n");
  EXPECT_EQ(d.call({"MGET", "a", ""}), "-ERR empty key\r\n");
  EXPECT_EQ(d.call({"MSET", "a", "1", "", "2"}), "-ERR empty key\r\n");
  EXPECT_EQ(d.call({"DEL", longest + "k"}), "-TOOBIG key of 65537 bytes, at most 65536 are allowed\r\n");
  EXPECT_EQ(d.call({"KV.PUT", "", "v"}), "-ERR empty key\r\n");
  EXPECT_TRUE(d.port.open.empty());
  d.send({"SET", longest, "v"});
  EXPECT_EQ(d.port.open.size(), 1U);
}

TEST(DataCommands, AnOversizedArgumentIsRefusedAndTheConversationGoesOn) {
  dialogue d;
  d.send({"SET", "k", std::string(value_bytes_max + 1, 'v')});
  EXPECT_EQ(d.heard(), "-TOOBIG an argument of 16777217 bytes, at most 16777216 are allowed\r\n");
  EXPECT_EQ(d.call({"PING"}), "+PONG\r\n");
}

TEST(DataCommands, WhatNeedsAStrongBucketIsRefused) {
  dialogue d;
  EXPECT_EQ(d.call({"SET", "k", "v", "NX"}), "-ERR SET with NX needs a strong bucket\r\n");
  EXPECT_EQ(d.call({"SET", "k", "v", "EX", "1", "XX"}), "-ERR SET with XX needs a strong bucket\r\n");
  EXPECT_EQ(d.call({"SET", "k", "v", "get"}), "-ERR SET with GET needs a strong bucket\r\n");
  EXPECT_EQ(d.call({"SET", "k", "v", "KEEPTTL"}), "-ERR SET with KEEPTTL needs a strong bucket\r\n");
  for (const std::string name : {"INCR", "DECR", "APPEND", "SETNX", "GETSET", "GETDEL", "MULTI", "EXEC", "WATCH",
                                 "MSETNX", "EXPIRE", "PERSIST", "INCRBY"})
    EXPECT_EQ(d.call({name, "k", "1"}), "-ERR " + name + " needs a strong bucket\r\n");
  EXPECT_TRUE(d.port.open.empty());
}

TEST(DataCommands, DelReadsFirstAndCountsWhatExisted) {
  dialogue d;
  d.send({"DEL", "k"});
  EXPECT_EQ(d.port.open.at(0).request.what, kind::remove);
  EXPECT_TRUE(d.port.open.at(0).request.read_first);
  client_reply existed;
  existed.existed = true;
  d.answer(0, existed);
  EXPECT_EQ(d.heard(), ":1\r\n");
  d.send({"UNLINK", "a", "b", "a", "c"});
  ASSERT_EQ(d.port.open.size(), 3U) << "each key once";
  d.answer(2, existed);
  d.answer(0, {});
  EXPECT_EQ(d.heard(), "");
  d.answer(0, existed);
  EXPECT_EQ(d.heard(), ":2\r\n");
}

TEST(DataCommands, ExistsCountsAKeyAsOftenAsItIsNamed) {
  dialogue d;
  d.send({"EXISTS", "a", "b", "a"});
  ASSERT_EQ(d.port.open.size(), 3U);
  d.answer(0, value_reply("1"));
  d.answer(0, {});
  d.answer(0, value_reply("1"));
  EXPECT_EQ(d.heard(), ":2\r\n");
  d.send({"EXISTS", "a"});
  d.answer(0, value_reply(""));
  EXPECT_EQ(d.heard(), ":1\r\n");
}

TEST(DataCommands, MgetReturnsValuesInTheOrderOfTheKeys) {
  dialogue d;
  d.send({"MGET", "a", "b", "c"});
  ASSERT_EQ(d.port.open.size(), 3U);
  d.answer(2, value_reply("C"));
  d.answer(0, value_reply("A"));
  d.answer(0, {});
  EXPECT_EQ(d.heard(), "*3\r\n$1\r\nA\r\n$-1\r\n$1\r\nC\r\n");
}

TEST(DataCommands, MgetFailsIfOneKeyFails) {
  dialogue d;
  d.send({"MGET", "a", "b", "c"});
  d.answer(2, error_reply(errc::busy, "third"));
  d.answer(1, error_reply(errc::no_quorum, "second"));
  d.answer(0, value_reply("A"));
  EXPECT_EQ(d.heard(), "-NOQUORUM second\r\n") << "the first failure in the client's order";
}

TEST(DataCommands, MgetRefusesToCollectMoreThanItsLimit) {
  dialogue d;
  d.send({"MGET", "a", "b", "c", "d", "e", "f"});
  for (int i = 0; i < 6 && !d.port.open.empty(); ++i)
    d.answer(0, value_reply(std::string(value_bytes_max, 'v')));
  EXPECT_EQ(d.heard(), "-TOOBIG the values are longer than 67108864 bytes together\r\n");
}

TEST(DataCommands, MsetWritesTheLastOfEqualKeys) {
  dialogue d;
  d.send({"MSET", "a", "1", "b", "2", "a", "3"});
  ASSERT_EQ(d.port.open.size(), 2U);
  EXPECT_EQ(d.port.open[0].request.key, "b");
  EXPECT_EQ(d.port.open[1].request.key, "a");
  EXPECT_EQ(d.port.open[1].request.value, "3");
  d.answer(0, {});
  d.answer(0, {});
  EXPECT_EQ(d.heard(), "+OK\r\n");
}

TEST(DataCommands, MsetTellsHowFarItCame) {
  dialogue d;
  d.send({"MSET", "a", "1", "b", "2"});
  d.answer(0, {});
  d.answer(0, error_reply(errc::no_quorum, "needed 2, reachable 1: n2 down"));
  EXPECT_EQ(d.heard(), "-NOQUORUM needed 2, reachable 1: n2 down; done for 1 of 2 keys\r\n");
}

TEST(DataCommands, ManyKeysAreAskedForAFewAtATime) {
  dialogue d;
  std::vector<std::string> args{"MSET"};
  for (int i = 0; i < 1000; ++i) {
    args.push_back("k" + std::to_string(i));
    args.emplace_back("v");
  }
  d.send(args);
  size_t asked = 0;
  while (!d.port.open.empty()) {
    EXPECT_LE(d.port.open.size(), wide_command::window);
    EXPECT_EQ(d.port.open[0].request.key, "k" + std::to_string(asked));
    d.answer(0, {});
    ++asked;
  }
  EXPECT_EQ(asked, 1000U);
  EXPECT_EQ(d.heard(), "+OK\r\n");
}

TEST(DataCommands, TtlIsWhatIsLeft) {
  auto told = [](const std::string& name, client_reply reply) {
    dialogue d;
    d.send({name, "k"});
    d.answer(0, std::move(reply));
    return d.heard();
  };
  EXPECT_EQ(told("TTL", {}), ":-2\r\n");
  EXPECT_EQ(told("PTTL", {}), ":-2\r\n");
  EXPECT_EQ(told("TTL", value_reply("v")), ":-1\r\n");
  EXPECT_EQ(told("PTTL", value_reply("v")), ":-1\r\n");
  EXPECT_EQ(told("TTL", value_reply("v", test_now_ms + 9600)), ":10\r\n");
  EXPECT_EQ(told("PTTL", value_reply("v", test_now_ms + 9600)), ":9600\r\n");
  EXPECT_EQ(told("PTTL", value_reply("v", test_now_ms - 1)), ":0\r\n");
}

TEST(DataCommands, StrlenAndTypeTellOfTheValue) {
  dialogue d;
  d.send({"STRLEN", "k"});
  d.send({"STRLEN", "none"});
  d.send({"TYPE", "k"});
  d.send({"TYPE", "none"});
  d.answer(0, value_reply("four"));
  d.answer(0, {});
  d.answer(0, value_reply("four"));
  d.answer(0, {});
  EXPECT_EQ(d.heard(), ":4\r\n:0\r\n+string\r\n+none\r\n");
}

TEST(DataCommands, DbsizeCountsTheSelectedBucketAfterAllEarlierCommands) {
  dialogue d;
  d.call({"SELECT", "1"});
  d.send({"SET", "k", "v"});
  d.send({"DBSIZE"});
  EXPECT_TRUE(d.port.questions.empty());
  d.answer(0, {});
  ASSERT_EQ(d.port.questions.size(), 1U);
  EXPECT_EQ(d.port.questions[0].count_of, bucket_id{1});
  d.talk.on_reply(d.port.questions[0].sequence, 0, value_reply("42"));
  EXPECT_EQ(d.heard(), "+OK\r\n:42\r\n");
}

TEST(DataCommands, EachStatusHasItsErrorCode) {
  struct {
    errc status;
    const char* cause;
    const char* read;
    const char* write;
  } cases[] = {
      {errc::timeout, "needed 2, got 1", "-TIMEOUT needed 2, got 1\r\n",
       "-TIMEOUT needed 2, got 1; outcome unknown\r\n"},
      {errc::timeout, "late, outcome unknown", "-TIMEOUT late, outcome unknown\r\n",
       "-TIMEOUT late, outcome unknown\r\n"},
      {errc::unknown_outcome, "lost n2", "-TIMEOUT lost n2; outcome unknown\r\n",
       "-TIMEOUT lost n2; outcome unknown\r\n"},
      {errc::no_quorum, "needed 2, reachable 1: n2 down, n3 down",
       "-NOQUORUM needed 2, reachable 1: n2 down, n3 down\r\n",
       "-NOQUORUM needed 2, reachable 1: n2 down, n3 down\r\n"},
      {errc::busy, "slow down", "-BUSY slow down\r\n", "-BUSY slow down\r\n"},
      {errc::too_big, "too long", "-TOOBIG too long\r\n", "-TOOBIG too long\r\n"},
      {errc::too_many_siblings, "101 siblings", "-ERR 101 siblings\r\n", "-ERR 101 siblings\r\n"},
      {errc::storage_failure, "disk\r\non fire", "-ERR disk  on fire\r\n", "-ERR disk  on fire\r\n"},
      {errc::shutting_down, "", "-ERR shutting_down\r\n", "-ERR shutting_down\r\n"},
  };
  for (const auto& x : cases) {
    dialogue d;
    d.send({"GET", "k"});
    d.answer(0, error_reply(x.status, x.cause));
    EXPECT_EQ(d.heard(), x.read);
    d.send({"SET", "k", "v"});
    d.answer(0, error_reply(x.status, x.cause));
    EXPECT_EQ(d.heard(), x.write);
  }
}

} // namespace
} // namespace crema::gateway::resp
