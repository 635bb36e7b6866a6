#include "messages/register.hpp"

#include <caf/binary_deserializer.hpp>
#include <caf/binary_serializer.hpp>
#include <gtest/gtest.h>

namespace crema {
namespace {

struct config : caf::actor_system_config {
  config() { register_messages(*this); }
};

/// Through the wire format as a *message*, so that a missing registration shows (it would arrive empty).
template <class T>
T round_trip(caf::actor_system& system, const T& x) {
  std::vector<char> bytes;
  caf::binary_serializer sink{system, bytes};
  EXPECT_FALSE(sink(caf::make_message(x)));
  caf::message back;
  caf::binary_deserializer source{system, bytes};
  EXPECT_FALSE(source(back));
  EXPECT_EQ(back.size(), 1U);
  EXPECT_TRUE(back.match_element<T>(0));
  return back.match_element<T>(0) ? back.get_as<T>(0) : T{};
}

class Messages : public testing::Test {
protected:
  config config_;
  caf::actor_system system_{config_};
};

TEST_F(Messages, ReplicaBatchesKeepEveryField) {
  replica_batch x;
  x.epoch = 7;
  x.from = node_id{3};
  replica_op op;
  op.request = 1ULL << 60;
  op.what = replica_op::kind::apply;
  op.remove = op.has_context = op.any_time = true;
  op.bucket = 9;
  op.partition = 16383;
  op.key = std::string("k\0\xff", 3);
  op.data = "data";
  op.context = "context";
  op.ttl_ms = 5;
  op.dot_replica = ~0ULL;
  op.dot_counter = 12;
  op.time = 99;
  x.ops = {op, {}};
  auto y = round_trip(system_, x);
  ASSERT_EQ(y.ops.size(), 2U);
  const auto& o = y.ops[0];
  EXPECT_EQ(std::tie(y.version, y.epoch, y.from), std::tie(x.version, x.epoch, x.from));
  EXPECT_EQ(std::tie(o.request, o.what, o.remove, o.has_context, o.any_time, o.bucket, o.partition, o.key, o.data,
                     o.context, o.ttl_ms, o.dot_replica, o.dot_counter, o.time),
            std::tie(op.request, op.what, op.remove, op.has_context, op.any_time, op.bucket, op.partition, op.key,
                     op.data, op.context, op.ttl_ms, op.dot_replica, op.dot_counter, op.time));
}

TEST_F(Messages, AnswerBatchesKeepEveryField) {
  answer_batch x;
  x.epoch = 2;
  x.from = node_id{1};
  replica_answer a;
  a.request = 5;
  a.what = replica_answer::kind::given;
  a.status = errc::busy;
  a.durable = true;
  a.dot_replica = 8;
  a.dot_counter = 9;
  a.time = 10;
  a.digest = 11;
  a.data = "delta";
  x.answers = {a};
  auto y = round_trip(system_, x);
  ASSERT_EQ(y.answers.size(), 1U);
  const auto& b = y.answers[0];
  EXPECT_EQ(std::tie(y.version, y.epoch, y.from), std::tie(x.version, x.epoch, x.from));
  EXPECT_EQ(std::tie(b.request, b.what, b.status, b.durable, b.dot_replica, b.dot_counter, b.time, b.digest, b.data),
            std::tie(a.request, a.what, a.status, a.durable, a.dot_replica, a.dot_counter, a.time, a.digest, a.data));
}

TEST_F(Messages, ControlMessagesKeepEveryField) {
  auto c = round_trip(system_, clock_request{1, 2, 3, 4});
  EXPECT_EQ(std::tie(c.version, c.epoch, c.bucket, c.partition), std::make_tuple(1, 2U, 3, 4));
  EXPECT_EQ(round_trip(system_, clock_reply{"clock"}).clock, "clock");
  auto p = round_trip(system_, page_request{1, 2, 3, 4, "key", "clock"});
  EXPECT_EQ(std::tie(p.epoch, p.bucket, p.partition, p.key, p.clock),
            std::make_tuple(2U, 3, 4, std::string{"key"}, std::string{"clock"}));
  auto m = round_trip(system_, page_message{1, 2, 3, 4, "key", "object", {5, 6}});
  EXPECT_EQ(std::tie(m.epoch, m.bucket, m.partition, m.key, m.object, m.dots),
            std::make_tuple(2U, 3, 4, std::string{"key"}, std::string{"object"}, std::vector<uint64_t>{5, 6}));
  EXPECT_EQ(round_trip(system_, page_applied{3}).dots_new, 3U);
  auto n = round_trip(system_, count_request{1, 2, 3, {4, 5}});
  EXPECT_EQ(std::tie(n.epoch, n.bucket, n.partitions), std::make_tuple(2U, 3, std::vector<partition_id>{4, 5}));
  EXPECT_EQ(round_trip(system_, count_reply{3}).keys, 3U);
}

TEST_F(Messages, HandshakeAndHeartbeatKeepEveryField) {
  hello h{1, "cluster", "n1", 2, 3};
  auto back = round_trip(system_, h);
  EXPECT_EQ(std::tie(back.version, back.cluster, back.node, back.incarnation, back.fingerprint),
            std::tie(h.version, h.cluster, h.node, h.incarnation, h.fingerprint));
  auto w = round_trip(system_, welcome{h, {}});
  EXPECT_EQ(w.self.node, "n1");
  EXPECT_TRUE(w.handles.replicas.empty());
  auto b = round_trip(system_, heartbeat{1, node_id{4}, 5});
  EXPECT_EQ(std::tie(b.version, b.epoch), std::make_tuple(1, 5U));
  EXPECT_EQ(b.from, node_id{4});
}

} // namespace
} // namespace crema
