// The gateway on real loopback sockets, in front of a backend in memory.
#include "gateway/gateway.hpp"

#include "dialogue.hpp"
#include "memory_backend.hpp"
#include "test_client.hpp"

#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <fcntl.h>
#include <memory>
#include <sys/resource.h>
#include <thread>

namespace crema::gateway {
namespace {

using resp::encoded;
using resp::test_options;

class Server : public testing::Test {
protected:
  void start(options opts = test_options()) {
    opts.wall_clock_ms = nullptr;
    gateway_.emplace(std::move(opts), backend);
    auto failure = gateway_->start();
    ASSERT_FALSE(failure) << *failure;
  }
  uint16_t port() const { return gateway_->resp_port(); }
  /// Waits for a condition that other threads make true. @returns false after the longest wait.
  template <class F>
  static bool eventually(F condition) {
    auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(wait_ms_max);
    while (!condition()) {
      if (std::chrono::steady_clock::now() > deadline)
        return false;
      std::this_thread::yield();
    }
    return true;
  }
  static void expect_alive(test_client& client) { EXPECT_EQ(client.call("PING\r\n", 7), "+PONG\r\n"); }

  memory_backend backend;
  std::optional<gateway> gateway_;
};

TEST_F(Server, TellsWhatIsWrongWithAnOrderAsAnError) {
  start();
  test_client client(port());
  client.send(encoded({"KV.TOPOLOGY", "show"}) + encoded({"KV.TOPOLOGY", "cancel"}));
  std::string expected = "$11\r\n{\"epoch\":1}\r\n-ERR cancel: no change is under way\r\n";
  EXPECT_EQ(client.receive(expected.size()), expected);
}

TEST_F(Server, AnswersAPipelineInOrder) {
  start();
  test_client client(port());
  std::string commands, expected;
  for (int i = 0; i < 3000; ++i) {
    auto key = "k" + std::to_string(i % 40);
    auto value = std::to_string(1000 + i);
    commands += encoded({"SET", key, value}) + encoded({"GET", key}) + encoded({"PING"});
    expected += "+OK\r\n$4\r\n" + value + "\r\n+PONG\r\n";
  }
  std::thread sender([&] { client.send(commands); });
  EXPECT_EQ(client.receive(expected.size()), expected);
  sender.join();
}

TEST_F(Server, ServesAThousandConnectionsAtOnce) {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  auto opts = test_options();
  opts.threads = 2;
  start(opts);
  std::vector<test_client> clients;
  clients.reserve(1000);
  for (int i = 0; i < 1000; ++i)
    clients.emplace_back(port());
  for (size_t i = 0; i < clients.size(); ++i)
    clients[i].send(encoded({"SET", "k" + std::to_string(i), std::to_string(1000 + i)}) +
                    encoded({"GET", "k" + std::to_string(i)}));
  for (size_t i = 0; i < clients.size(); ++i)
    ASSERT_EQ(clients[i].receive(15), "+OK\r\n$4\r\n" + std::to_string(1000 + i) + "\r\n");
  EXPECT_EQ(gateway_->clients(), 1000U);
  clients.clear();
  EXPECT_TRUE(eventually([&] { return gateway_->clients() == 0; }));
}

TEST_F(Server, OfANodeThatIsNotReadyKeepsCommandsUntilItIs) {
  std::atomic<bool> ready{false};
  auto opts = test_options();
  opts.ready = [&] { return ready.load(); };
  start(opts);
  test_client client(port());
  expect_alive(client);
  client.send(encoded({"KV.READY"}) + encoded({"SET", "k", "v"}) + encoded({"PING"}));
  EXPECT_EQ(client.receive(15), "-ERR starting\r\n");
  backend.hold();
  expect_alive(*std::make_unique<test_client>(port()));
  ready = true;
  gateway_->ready();
  EXPECT_TRUE(backend.wait_held(1)) << "not before";
  backend.release();
  EXPECT_EQ(client.receive(12), "+OK\r\n+PONG\r\n");
}

TEST_F(Server, OfADrainedNodeClosesConnectionsBehindTheirNextReply) {
  start();
  test_client before(port()), idle(port());
  expect_alive(before);
  expect_alive(idle);
  gateway_->drain("n2 at h2:6401");
  before.send(encoded({"SET", "k", "v"}) + encoded({"GET", "k"}));
  EXPECT_EQ(before.receive_all(), "+OK\r\n$1\r\nv\r\n");
  EXPECT_EQ(idle.receive_all(), "") << "a while later";
  EXPECT_TRUE(eventually([&] { return gateway_->clients() == 0; }));
}

TEST_F(Server, OfADrainedNodeAnswersOnlyOperatorsOnNewConnections) {
  start();
  gateway_->drain("n2 at h2:6401");
  test_client late(port()), of_operator(port());
  late.send(encoded({"PING"}) + encoded({"SET", "k", "v"}));
  EXPECT_EQ(late.receive_all(), "-DRAINED n1 takes no requests now: ask n2 at h2:6401\r\n");
  std::string expected = "$11\r\n{\"epoch\":1}\r\n";
  for (int i = 0; i < 2; ++i) {
    of_operator.send(encoded({"KV.TOPOLOGY", "show"}));
    EXPECT_EQ(of_operator.receive(expected.size()), expected);
  }
  gateway_->drain(std::nullopt);
  expect_alive(of_operator);
  test_client after(port());
  expect_alive(after);
}

TEST_F(Server, OfADrainedNodeFinishesWhatIsInFlight) {
  start();
  backend.hold();
  test_client client(port());
  client.send(encoded({"SET", "k", "v"}) + encoded({"SET", "l", "w"}));
  EXPECT_TRUE(backend.wait_held(2));
  gateway_->drain("");
  std::this_thread::sleep_for(std::chrono::milliseconds(1200)); // Longer than an idle one is left.
  backend.release();
  EXPECT_EQ(client.receive_all(), "+OK\r\n+OK\r\n");
}

TEST_F(Server, SendsManyConnectionsRequestsAsOneBatch) {
  start();
  backend.hold();
  std::vector<test_client> clients;
  for (int i = 0; i < 50; ++i) {
    clients.emplace_back(port());
    clients.back().send(encoded({"GET", "k" + std::to_string(i)}));
  }
  EXPECT_TRUE(backend.wait_held(50));
  backend.release();
  for (auto& client : clients)
    EXPECT_EQ(client.receive(5), "$-1\r\n");
}

TEST_F(Server, TakesALargeValueAndGivesItBack) {
  start();
  test_client client(port());
  std::string value(value_bytes_max, 'v');
  for (size_t i = 0; i < value.size(); i += 1000)
    value[i] = static_cast<char>('a' + i / 1000 % 26);
  EXPECT_EQ(client.call(encoded({"SET", "big", value}), 5), "+OK\r\n");
  auto expected = "$16777216\r\n" + value + "\r\n";
  EXPECT_TRUE(client.call(encoded({"GET", "big"}), expected.size()) == expected);
  expect_alive(client);
}

// What was taken off the connection behind the large reply waits for that to be sent; nothing else says when it is.
TEST_F(Server, GoesOnBehindALargeReply) {
  start();
  for (size_t size : {1'100'000U, 2'000'000U, 8'000'000U}) {
    test_client client(port());
    std::string value(size, 'v');
    ASSERT_EQ(client.call(encoded({"SET", "big", value}), 5), "+OK\r\n");
    auto commands = encoded({"GET", "big"}), expected = "$" + std::to_string(size) + "\r\n" + value + "\r\n";
    for (int i = 0; i < 20; ++i) {
      commands += encoded({"GET", "none"});
      expected += "$-1\r\n";
    }
    for (int i = 0; i < 5; ++i)
      ASSERT_TRUE(client.call(commands, expected.size()) == expected) << size << " bytes, pipeline " << i;
  }
}

// As redis-py's pipelines do, and redis-server allows.
TEST_F(Server, ServesAClientThatSendsAllBeforeItReads) {
  start();
  test_client client(port());
  constexpr size_t size = 1'000'000;
  std::string commands, expected, value(size, 'v');
  auto reply = "$" + std::to_string(size) + "\r\n" + value + "\r\n";
  for (int i = 0; i < 24; ++i) {
    commands += encoded({"SET", "big", value}) + encoded({"GET", "big"});
    expected += "+OK\r\n" + reply;
  }
  client.send(commands);
  EXPECT_TRUE(client.receive(expected.size()) == expected);
  expect_alive(client);
}

TEST_F(Server, SendsClientsAwayForWhomTooMuchWaits) {
  start();
  std::string value(1'000'000, 'v'), commands;
  auto reply = "$" + std::to_string(value.size()) + "\r\n" + value + "\r\n";
  for (int i = 0; i < 30; ++i)
    commands += encoded({"SET", "big", value}) + encoded({"GET", "big"});
  // What does not fit into the sockets is kept; some have to go, with an error behind the replies to what was begun.
  std::vector<test_client> clients;
  for (int i = 0; i < 12; ++i) {
    clients.emplace_back(port());
    clients.back().send(commands);
  }
  size_t refused = 0;
  for (auto& client : clients) {
    client.finish_sending();
    auto all = client.receive_all();
    auto end = all.substr(all.size() - std::min<size_t>(all.size(), 200));
    if (end.find("-BUSY 128 MiB of commands that wait until their replies are read") != std::string::npos)
      ++refused;
    else
      EXPECT_EQ(all.size(), 30 * (reply.size() + 5));
  }
  EXPECT_GE(refused, 1U);
  EXPECT_LT(refused, clients.size());
}

TEST_F(Server, RefusesALargerValueAndGoesOn) {
  start();
  test_client client(port());
  client.send(encoded({"SET", "big", std::string(value_bytes_max + 1, 'v')}));
  std::string expected = "-TOOBIG an argument of 16777217 bytes, at most 16777216 are allowed\r\n";
  EXPECT_EQ(client.receive(expected.size()), expected);
  expect_alive(client);
}

TEST_F(Server, ReadsCommandsInPieces) {
  start();
  test_client client(port());
  auto command = encoded({"SET", "k", "v"});
  for (auto c : command)
    client.send({&c, 1});
  EXPECT_EQ(client.receive(5), "+OK\r\n");
}

TEST_F(Server, ClosesBehindAMalformedCommand) {
  start();
  test_client client(port());
  client.send("PING\r\n*1\r\n$x\r\nPING\r\n" + std::string(100000, 'x'));
  EXPECT_EQ(client.receive_all(), "+PONG\r\n-ERR Protocol error: invalid bulk length\r\n");
  EXPECT_TRUE(eventually([&] { return gateway_->clients() == 0; }));
}

TEST_F(Server, ClosesBehindQuit) {
  start();
  test_client client(port());
  client.send("SET k v\r\nQUIT\r\nPING\r\n");
  EXPECT_EQ(client.receive_all(), "+OK\r\n+OK\r\n");
}

TEST_F(Server, AnswersAClientThatHasFinishedSending) {
  start();
  backend.hold();
  test_client client(port());
  client.send("SET k v\r\nGET k\r\nGET"); // The last one never ends.
  client.finish_sending();
  ASSERT_TRUE(backend.wait_held(1));
  backend.release();
  EXPECT_EQ(client.receive_all(), "+OK\r\n$1\r\nv\r\n");
}

TEST_F(Server, SurvivesAClientThatLeavesWhileItsCommandsAreInFlight) {
  start();
  backend.hold();
  {
    test_client client(port());
    client.send("SET k v\r\nSET other v\r\n");
    ASSERT_TRUE(backend.wait_held(2));
  }
  test_client other(port());
  expect_alive(other);
  backend.release();
  EXPECT_TRUE(eventually([&] { return gateway_->clients() == 1; }));
  EXPECT_EQ(other.call("GET k\r\n", 7), "$1\r\nv\r\n");
}

TEST_F(Server, DoesNotReadFromAClientThatDoesNotRead) {
  start();
  test_client writer(port());
  std::string value(100000, 'v');
  ASSERT_EQ(writer.call(encoded({"SET", "big", value}), 5), "+OK\r\n");
  test_client greedy(port(), 4096);
  // Asks for more than all buffers on the way hold, until nobody takes its requests any more.
  std::string requests;
  for (int i = 0; i < 1000; ++i)
    requests += encoded({"GET", "big"});
  size_t sent = 0;
  constexpr size_t much = size_t{64} * 1024 * 1024;
  while (sent < much && greedy.writable(1000)) {
    auto n = greedy.try_send(requests.substr(sent % requests.size()));
    ASSERT_GE(n, 0);
    sent += static_cast<size_t>(n);
  }
  EXPECT_LT(sent, much) << "the sender was stopped";
  expect_alive(writer); // Others are served.
  // Once it reads, it is served again.
  auto asked = sent / encoded({"GET", "big"}).size();
  auto reply = "$100000\r\n" + value + "\r\n";
  for (size_t i = 0; i < std::min<size_t>(asked, 500); ++i)
    ASSERT_EQ(greedy.receive(reply.size()), reply);
}

TEST_F(Server, StopsTakingCommandsInWhileTooManyAreInFlight) {
  start();
  backend.hold();
  test_client client(port());
  std::string commands, expected;
  for (int i = 0; i < 3000; ++i) {
    commands += encoded({"SET", "k" + std::to_string(i), "v"});
    expected += "+OK\r\n";
  }
  client.send(commands);
  ASSERT_TRUE(backend.wait_held(resp::commands_in_flight_max));
  test_client other(port());
  expect_alive(other);
  EXPECT_EQ(backend.held(), resp::commands_in_flight_max);
  backend.release();
  EXPECT_EQ(client.receive(expected.size()), expected);
}

TEST_F(Server, SendsClientsBeyondTheLimitAway) {
  auto opts = test_options();
  opts.max_clients = 2;
  start(opts);
  std::optional<test_client> first(std::in_place, port());
  test_client second(port());
  expect_alive(*first);
  expect_alive(second);
  test_client third(port());
  EXPECT_EQ(third.receive_all(), "-ERR max number of clients reached\r\n");
  first.reset();
  EXPECT_TRUE(eventually([&] { return gateway_->clients() == 1; }));
  test_client fourth(port());
  expect_alive(fourth);
}

TEST_F(Server, GoesOnAfterItHadRunOutOfFileDescriptors) {
  start();
  test_client before(port());
  expect_alive(before);
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  auto lowered = limit;
  // The warning is expected. Called through the logger, as UBSan then looks at its type while there are descriptors.
  spdlog::default_logger()->set_level(spdlog::level::off);
  auto next = fcntl(0, F_DUPFD, 0); // The lowest free descriptor.
  close(next);
  lowered.rlim_cur = static_cast<rlim_t>(next) + 1; // Room for the client's end only.
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &lowered), 0);
  test_client late(port());
  late.send("PING\r\n");
  expect_alive(before);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_EQ(late.receive(7), "+PONG\r\n");
  spdlog::default_logger()->set_level(spdlog::level::info);
}

TEST_F(Server, StopFinishesWhatIsInFlightAndClosesAllConnections) {
  start();
  test_client idle(port()), busy(port());
  expect_alive(idle);
  backend.hold();
  busy.send("SET k v\r\n");
  ASSERT_TRUE(backend.wait_held(1));
  auto at = port();
  std::thread stopper([&] { gateway_->stop(); });
  EXPECT_EQ(idle.receive_all(), "") << "an idle connection is closed at once";
  EXPECT_THROW(test_client{at}, std::runtime_error) << "and nobody new is accepted";
  backend.release();
  EXPECT_EQ(busy.receive_all(), "+OK\r\n");
  stopper.join();
}

TEST_F(Server, StopDoesNotWaitLongerThanItsGrace) {
  auto opts = test_options();
  opts.stop_grace = std::chrono::milliseconds(1);
  start(opts);
  test_client client(port());
  backend.hold();
  client.send("SET k v\r\n");
  ASSERT_TRUE(backend.wait_held(1));
  gateway_->stop();
  EXPECT_EQ(client.receive_all(), "");
  backend.release(); // A reply that comes after the end reaches nobody.
}

TEST_F(Server, TellsWhyItCannotListen) {
  start();
  auto opts = test_options();
  opts.resp.port = port();
  gateway second(opts, backend);
  auto failure = second.start();
  ASSERT_TRUE(failure);
  EXPECT_EQ(*failure, "RESP: cannot listen on 127.0.0.1:" + std::to_string(port()) + ": Address already in use");
  opts = test_options();
  opts.http = {"256.1.1.1", 0};
  gateway third(opts, backend);
  failure = third.start();
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->substr(0, 39), "HTTP: cannot listen on 256.1.1.1:0: Hos");
}

TEST_F(Server, AGatewayThatWasNeverStartedCanBeStopped) {
  gateway unused(test_options(), backend);
  unused.stop();
  unused.stop();
}

} // namespace
} // namespace crema::gateway
