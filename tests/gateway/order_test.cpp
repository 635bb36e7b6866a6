// Program order and back-pressure of one conversation.
#include "dialogue.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>

namespace crema::gateway::resp {
namespace {

TEST(Order, RepliesGoOutInTheOrderOfTheCommands) {
  dialogue d;
  d.send({"GET", "a"});
  d.send({"GET", "b"});
  d.send({"PING"});
  d.send({"GET", "c"});
  ASSERT_EQ(d.port.open.size(), 3U) << "they run concurrently";
  d.answer(2, value_reply("C"));
  d.answer(1, value_reply("B"));
  EXPECT_EQ(d.heard(), "");
  d.answer(0, value_reply("A"));
  EXPECT_EQ(d.heard(), "$1\r\nA\r\n$1\r\nB\r\n+PONG\r\n$1\r\nC\r\n");
}

TEST(Order, AReadWaitsForAnEarlierWriteOfItsKey) {
  dialogue d;
  d.send({"SET", "k", "1"});
  d.send({"GET", "k"});
  ASSERT_EQ(d.port.open.size(), 1U);
  d.answer(0, {});
  ASSERT_EQ(d.port.open.size(), 1U);
  EXPECT_EQ(d.port.open[0].request.what, client_request::kind::get);
}

TEST(Order, AWriteWaitsForAllEarlierReadsOfItsKey) {
  dialogue d;
  d.send({"GET", "k"});
  d.send({"GET", "k"});
  d.send({"SET", "k", "1"});
  ASSERT_EQ(d.port.open.size(), 2U) << "reads share";
  d.answer(1, {});
  ASSERT_EQ(d.port.open.size(), 1U);
  d.answer(0, {});
  ASSERT_EQ(d.port.open.size(), 1U);
  EXPECT_EQ(d.port.open[0].request.what, client_request::kind::put);
}

TEST(Order, WhatComesBehindAWaitingCommandWaitsToo) {
  dialogue d;
  d.send({"SET", "k", "1"});
  d.send({"SET", "k", "2"});
  d.send({"GET", "other"});
  d.send({"SELECT", "1"});
  ASSERT_EQ(d.port.open.size(), 1U);
  d.answer(0, {});
  ASSERT_EQ(d.port.open.size(), 2U);
  EXPECT_EQ(d.port.open[1].request.key, "other");
  EXPECT_EQ(d.port.open[1].request.bucket, 0);
}

TEST(Order, EqualKeysOfDifferentBucketsDoNotWaitForEachOther) {
  dialogue d;
  d.send({"SET", "k", "1"});
  d.send({"SELECT", "1"});
  d.send({"SET", "k", "2"});
  EXPECT_EQ(d.port.open.size(), 2U);
}

TEST(Order, ACommandOnSeveralKeysWaitsForEachOfThem) {
  dialogue d;
  d.send({"SET", "a", "1"});
  d.send({"SET", "b", "1"});
  d.send({"MGET", "x", "a", "b"});
  ASSERT_EQ(d.port.open.size(), 2U);
  d.answer(0, {});
  ASSERT_EQ(d.port.open.size(), 1U);
  d.answer(0, {});
  EXPECT_EQ(d.port.open.size(), 3U);
}

TEST(Order, AFailedCommandMakesRoomForTheNext) {
  dialogue d;
  d.send({"SET", "k", "1"});
  d.send({"GET", "k"});
  d.answer(0, error_reply(errc::timeout));
  EXPECT_EQ(d.port.open.size(), 1U);
}

// The backend as one map: it applies a request at the moment it answers it, in any order it likes.
client_reply carry_out(std::map<std::pair<bucket_id, std::string>, std::string>& data, const client_request& r) {
  client_reply reply;
  auto key = std::make_pair(r.bucket, r.key);
  auto found = data.find(key);
  reply.existed = found != data.end();
  if (r.what == client_request::kind::put)
    data[key] = r.value;
  else if (r.what == client_request::kind::remove)
    data.erase(key);
  else if (found != data.end())
    reply.values.push_back({found->second, 0, 0});
  return reply;
}

TEST(Order, APipelineReturnsWhatTheSameCommandsReturnOneByOne) {
  EXPECT_TRUE(rc::check([] {
    auto key = rc::gen::element<std::string>("a", "b", "c");
    auto value = rc::gen::element<std::string>("1", "2", "3");
    using words = std::vector<std::string>;
    auto one = rc::gen::oneOf(
        rc::gen::map(key,
                     [](const std::string& k) {
                       return words{"GET", k};
                     }),
        rc::gen::map(rc::gen::pair(key, value),
                     [](auto x) {
                       return words{"SET", x.first, x.second};
                     }),
        rc::gen::map(rc::gen::pair(key, key),
                     [](auto x) {
                       return words{"DEL", x.first, x.second};
                     }),
        rc::gen::map(rc::gen::pair(key, key),
                     [](auto x) {
                       return words{"MGET", x.first, x.second};
                     }),
        rc::gen::map(rc::gen::tuple(key, value, key, value),
                     [](auto x) {
                       return words{"MSET", std::get<0>(x), std::get<1>(x), std::get<2>(x), std::get<3>(x)};
                     }),
        rc::gen::map(key,
                     [](const std::string& k) {
                       return words{"EXISTS", k, "a"};
                     }),
        rc::gen::map(rc::gen::element<std::string>("0", "1"),
                     [](const std::string& db) {
                       return words{"SELECT", db};
                     }),
        rc::gen::just(words{"PING"}));
    auto commands = *rc::gen::container<std::vector<words>>(one);

    dialogue serial;
    std::map<std::pair<bucket_id, std::string>, std::string> serial_data;
    std::string expected;
    for (const auto& c : commands) {
      serial.send(c);
      while (!serial.port.open.empty())
        serial.answer(0, carry_out(serial_data, serial.port.open[0].request));
      expected += serial.heard();
    }

    dialogue pipelined;
    std::map<std::pair<bucket_id, std::string>, std::string> data;
    std::string stream, told;
    for (const auto& c : commands)
      stream += encoded(c);
    pipelined.send_bytes(stream);
    while (!pipelined.port.open.empty()) {
      auto i = *rc::gen::inRange<size_t>(0, pipelined.port.open.size());
      pipelined.answer(i, carry_out(data, pipelined.port.open[i].request));
      told += pipelined.heard();
    }
    told += pipelined.heard();
    RC_ASSERT(told == expected);
    RC_ASSERT(data == serial_data);
    RC_ASSERT(pipelined.talk.idle());
    RC_ASSERT(pipelined.talk.outstanding() == 0U);
  }));
}

TEST(BackPressure, NoMoreCommandsThanTheLimitAreInFlight) {
  dialogue d;
  std::string stream;
  for (size_t i = 0; i < 2 * commands_in_flight_max; ++i)
    stream += encoded({"SET", "k" + std::to_string(i), "v"});
  d.send_bytes(stream);
  EXPECT_EQ(d.port.open.size(), commands_in_flight_max);
  EXPECT_FALSE(d.talk.wants_input());
  d.answer(0, {});
  EXPECT_EQ(d.port.open.size(), commands_in_flight_max) << "one out, one in";
}

TEST(BackPressure, NoMoreBytesThanTheLimitAreInFlight) {
  dialogue d;
  std::string value;
  value.resize(15'000'000);
  for (int i = 0; i < 5; ++i)
    d.send({"SET", "k" + std::to_string(i), value});
  EXPECT_EQ(d.port.open.size(), 3U) << "the third passes the limit, the fourth has to wait";
}

TEST(BackPressure, NothingIsTakenInWhileTheClientDoesNotRead) {
  dialogue d;
  d.send({"GET", "big"});
  d.answer(0, value_reply(std::string(unsent_bytes_max, 'v')));
  EXPECT_FALSE(d.talk.wants_input());
  d.send({"PING"});
  EXPECT_GT(d.waiting(), 0U);
  d.heard();
  EXPECT_EQ(d.waiting(), 0U);
  EXPECT_EQ(d.heard(), "+PONG\r\n");
}

TEST(BackPressure, RepliesThatWaitForAnEarlierOneCountAsUnsent) {
  dialogue d;
  d.send({"GET", "slow"});
  d.send({"GET", "big"});
  d.answer(1, value_reply(std::string(unsent_bytes_max, 'v')));
  EXPECT_FALSE(d.talk.wants_input());
  d.answer(0, {});
  d.heard();
  EXPECT_TRUE(d.talk.wants_input());
}

TEST(BackPressure, FewReadsRunAtATimeWhileTheyReturnMuch) {
  constexpr size_t half_mib = size_t{512} * 1024;
  dialogue d;
  size_t most = 0;
  for (int i = 0; i < 400; ++i)
    d.send({"GET", "k" + std::to_string(i)});
  for (int i = 0; i < 200; ++i) {
    if (i > 32)
      most = std::max(most, d.port.open.size());
    d.answer(0, value_reply(std::string(half_mib, 'v')));
    d.heard();
  }
  EXPECT_LE(most, read_bytes_expected_max / half_mib);
  for (int i = 0; i < 100; ++i) {
    d.answer(0, {});
    d.heard();
  }
  EXPECT_GT(d.port.open.size(), 64U) << "and more again when they return little";
}

TEST(BackPressure, ASlowReaderDoesNotMakeSentBytesPileUp) {
  dialogue d;
  size_t in = 0, out = 0;
  for (int i = 0; i < 10000; ++i) {
    if (d.talk.wants_input()) {
      d.talk.consume(encoded({"ECHO", std::string(1000, 'x')}));
      ++in;
    }
    d.talk.sent(std::min<size_t>(900, d.talk.unsent().size()));
    out += 900;
  }
  EXPECT_EQ(d.talk.unsent().size(), in * 1009 - out);
  EXPECT_LE(d.talk.unsent().size(), unsent_bytes_max + 1009);
  EXPECT_GT(out, 8 * unsent_bytes_max);
  EXPECT_LE(d.talk.output_memory(), 4 * unsent_bytes_max);
}

TEST(Malformed, EndsTheConversationBehindTheRepliesToComeBefore) {
  dialogue d;
  d.send_bytes(encoded({"GET", "k"}) + "*1\r\n$x\r\n" + encoded({"PING"}));
  EXPECT_TRUE(d.talk.closing());
  EXPECT_EQ(d.heard(), "");
  d.answer(0, value_reply("v"));
  EXPECT_EQ(d.heard(), "$1\r\nv\r\n-ERR Protocol error: invalid bulk length\r\n");
  EXPECT_TRUE(d.talk.idle());
}

TEST(Malformed, AnHttpRequestIsNotExecuted) {
  dialogue d;
  d.send_bytes("POST / HTTP/1.1\r\nHost: x\r\n\r\nSET k v\r\n");
  EXPECT_TRUE(d.talk.closing());
  EXPECT_TRUE(d.port.open.empty());
}

TEST(Abandoned, RepliesToAClientThatIsGoneAreDropped) {
  dialogue d;
  d.send({"GET", "a"});
  d.send({"MGET", "b", "c"});
  d.talk.abandon();
  EXPECT_EQ(d.talk.outstanding(), 3U);
  for (int i = 0; i < 3; ++i)
    d.port.answer(0, value_reply("v"));
  EXPECT_EQ(d.talk.outstanding(), 0U);
  EXPECT_EQ(d.heard(), "");
}

} // namespace
} // namespace crema::gateway::resp
