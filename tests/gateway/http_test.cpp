#include "gateway/gateway.hpp"

#include "dialogue.hpp"
#include "memory_backend.hpp"
#include "test_client.hpp"

#include <gtest/gtest.h>
#include <prometheus/counter.h>
#include <prometheus/registry.h>

#include <atomic>

namespace crema::gateway {
namespace {

class Http : public testing::Test {
protected:
  void start(options opts = resp::test_options()) {
    gateway_.emplace(std::move(opts), backend);
    auto failure = gateway_->start();
    ASSERT_FALSE(failure) << *failure;
  }
  std::string ask(const std::string& request) {
    test_client client(gateway_->http_port());
    client.send(request);
    return client.receive_all();
  }
  std::string get(const std::string& target) { return ask("GET " + target + " HTTP/1.0\r\n\r\n"); }
  static std::string first_line(const std::string& x) { return x.substr(0, x.find('\r')); }
  static std::string body(const std::string& x) { return x.substr(x.find("\r\n\r\n") + 4); }

  memory_backend backend;
  std::optional<gateway> gateway_;
};

TEST_F(Http, HealthTellsWhetherTheNodeIsReady) {
  std::atomic<bool> ready{false};
  auto opts = resp::test_options();
  opts.ready = [&] { return ready.load(); };
  start(opts);
  auto answer = get("/health");
  EXPECT_EQ(first_line(answer), "HTTP/1.0 503 Service Unavailable");
  EXPECT_EQ(body(answer), "starting");
  ready = true;
  answer = get("/health");
  EXPECT_EQ(first_line(answer), "HTTP/1.0 200 OK");
  EXPECT_EQ(body(answer), "ok");
  gateway_->drain("n2 at h:1");
  answer = get("/health");
  EXPECT_EQ(first_line(answer), "HTTP/1.0 503 Service Unavailable");
  EXPECT_EQ(body(answer), "drained");
}

TEST_F(Http, StatusIsWhatTheBackendTells) {
  start();
  auto answer = get("/status?pretty");
  EXPECT_NE(answer.find("Content-Type: application/json\r\n"), std::string::npos);
  EXPECT_EQ(body(answer), R"({"node":"n1"})");
}

TEST_F(Http, MetricsAreTheRegistrysAndTheGatewaysOwn) {
  auto opts = resp::test_options();
  opts.metrics = std::make_shared<prometheus::Registry>();
  prometheus::BuildCounter().Name("crema_test_total").Help("For the test").Register(*opts.metrics).Add({}).Increment(3);
  start(opts);
  test_client client(gateway_->resp_port());
  client.call("PING\r\nNONSENSE\r\n", 7);
  auto answer = get("/metrics");
  EXPECT_NE(answer.find("Content-Type: text/plain; version=0.0.4"), std::string::npos);
  EXPECT_NE(answer.find("crema_test_total 3\n"), std::string::npos);
  EXPECT_NE(answer.find("crema_clients_connected 1\n"), std::string::npos);
  EXPECT_NE(answer.find("crema_commands_total 2\n"), std::string::npos);
  EXPECT_NE(answer.find("crema_command_errors_total 1\n"), std::string::npos);
}

TEST_F(Http, MetricsHaveTheCountersOfTheNode) {
  backend.status_json = R"({"counters":{"fallback_acks":7,"odd":"x"}})";
  start();
  auto answer = get("/metrics");
  EXPECT_NE(answer.find("crema_node_fallback_acks 7\n"), std::string::npos) << answer;
  EXPECT_EQ(answer.find("odd"), std::string::npos);
}

TEST_F(Http, EverythingElseIsNotFound) {
  start();
  EXPECT_EQ(first_line(get("/")), "HTTP/1.0 404 Not Found");
  EXPECT_EQ(first_line(get("/healthy")), "HTTP/1.0 404 Not Found");
  EXPECT_EQ(first_line(ask("POST /health HTTP/1.0\r\nContent-Length: 0\r\n\r\n")), "HTTP/1.0 404 Not Found");
}

TEST_F(Http, HeadAnswersWithoutABody) {
  start();
  auto answer = ask("HEAD /health HTTP/1.0\r\n\r\n");
  EXPECT_NE(answer.find("Content-Length: 2\r\n"), std::string::npos);
  EXPECT_EQ(body(answer), "");
}

TEST_F(Http, AConnectionIsKeptForMoreRequests) {
  start();
  auto answer =
      ask("GET /health HTTP/1.1\r\nHost: x\r\n\r\nGET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_EQ(first_line(answer), "HTTP/1.1 200 OK");
  EXPECT_NE(answer.find("ok", answer.find("ok\r") + 1), std::string::npos);
  EXPECT_NE(answer.rfind("HTTP/1.1 200 OK"), 0U);
}

TEST_F(Http, WhatIsNotHttpOrTooLongIsRefused) {
  start();
  EXPECT_EQ(first_line(ask("nonsense\r\n\r\n")).substr(0, 12), "HTTP/1.1 400");
  EXPECT_EQ(first_line(ask("GET / HTTP/1.1\r\nLong: " + std::string(9000, 'x') + "\r\n\r\n")).substr(0, 12),
            "HTTP/1.1 413");
  EXPECT_EQ(first_line(ask("POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n")).substr(0, 12), "HTTP/1.1 413");
  EXPECT_EQ(body(get("/health")), "ok");
}

TEST_F(Http, AStatusThatNobodyAnswersDoesNotKeepTheGatewayFromStopping) {
  start();
  backend.hold();
  test_client client(gateway_->http_port());
  client.send("GET /status HTTP/1.0\r\n\r\n");
  EXPECT_EQ(body(get("/health")), "ok");
  gateway_->stop();
  EXPECT_EQ(client.receive_all(), "");
}

} // namespace
} // namespace crema::gateway
