#include "messages/register.hpp"

#include <caf/binary_deserializer.hpp>
#include <caf/binary_serializer.hpp>
#include <gtest/gtest.h>

namespace crema {
namespace {

struct test_config : caf::actor_system_config {
  test_config() { register_messages(*this); }
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
  test_config config_;
  caf::actor_system system_{config_};
};

auto fields(const replica_op& x) {
  return std::tie(x.request, x.what, x.remove, x.has_context, x.any_time, x.fallback, x.bucket, x.partition, x.key,
                  x.data, x.context, x.ttl_ms, x.dot_replica, x.dot_counter, x.time);
}
auto fields(const replica_answer& x) {
  return std::tie(x.request, x.what, x.status, x.durable, x.dot_replica, x.dot_counter, x.time, x.digest, x.data);
}

/// One of each kind, with all that its kind names.
std::vector<replica_op> operations() {
  replica_op op;
  op.request = ~0ULL;
  op.bucket = 9;
  op.partition = 16383;
  op.key = std::string("k\0\xff", 3);
  std::vector<replica_op> all(5, op);
  all[0].what = replica_op::kind::put;
  all[0].data = "value";
  all[0].remove = all[0].has_context = all[0].any_time = true;
  all[0].context = "context";
  all[0].ttl_ms = 5;
  all[0].time = ~0ULL - 2;
  all[1].what = replica_op::kind::put;
  all[1].data = std::string(1000, 'x');
  all[2].what = replica_op::kind::apply;
  all[2].any_time = true;
  all[2].data = "delta";
  all[2].dot_replica = ~0ULL;
  all[2].dot_counter = 1ULL << 62;
  all[2].time = ~0ULL - 1;
  all[3].what = replica_op::kind::get;
  all[2].fallback = all[3].fallback = true;
  all[4].what = replica_op::kind::digest;
  return all;
}

std::vector<replica_answer> answers() {
  replica_answer a;
  a.request = 5;
  std::vector<replica_answer> all(6, a);
  all[0].what = replica_answer::kind::given;
  all[0].durable = true;
  all[0].dot_replica = 8;
  all[0].dot_counter = 9;
  all[0].time = 10;
  all[0].data = "delta";
  all[1] = all[0];
  all[1].durable = false;
  all[2].what = replica_answer::kind::written;
  all[2].time = 13;
  all[3].what = replica_answer::kind::object;
  all[3].digest = ~0ULL;
  all[3].data = "object";
  all[4].what = replica_answer::kind::digest;
  all[4].digest = 11;
  all[5].what = replica_answer::kind::refused;
  all[5].status = errc::busy;
  all[5].time = 12;
  all[5].data = "why";
  return all;
}

TEST_F(Messages, ReplicaBatchesKeepWhatTheKindOfAnOperationNames) {
  replica_batch x;
  x.epoch = 7;
  x.from = node_id{3};
  x.ops = operations();
  auto y = round_trip(system_, x);
  EXPECT_EQ(std::tie(y.version, y.epoch, y.from), std::tie(x.version, x.epoch, x.from));
  ASSERT_EQ(y.ops.size(), x.ops.size());
  for (size_t i = 0; i < x.ops.size(); ++i)
    EXPECT_EQ(fields(y.ops[i]), fields(x.ops[i])) << i;
  EXPECT_TRUE(round_trip(system_, replica_batch{}).ops.empty());
}

TEST_F(Messages, AnswerBatchesKeepWhatTheKindOfAnAnswerNames) {
  answer_batch x;
  x.epoch = 2;
  x.from = node_id{1};
  x.answers = answers();
  auto y = round_trip(system_, x);
  EXPECT_EQ(std::tie(y.version, y.epoch, y.from), std::tie(x.version, x.epoch, x.from));
  ASSERT_EQ(y.answers.size(), x.answers.size());
  for (size_t i = 0; i < x.answers.size(); ++i)
    EXPECT_EQ(fields(y.answers[i]), fields(x.answers[i])) << i;
}

template <class T>
void expect_only_the_version(caf::actor_system& system) {
  T x;
  x.version = message_version_newest + 1;
  EXPECT_EQ(round_trip(system, x).version, x.version) << caf::deep_to_string(x);
  x.version = message_version_oldest - 1;
  EXPECT_EQ(round_trip(system, x).version, x.version) << caf::deep_to_string(x);
}

TEST_F(Messages, OfAVersionThatIsNotSpokenArriveWithItAndWithoutContent) {
  replica_batch x;
  x.version = message_version_newest + 1;
  x.ops = operations();
  auto y = round_trip(system_, x);
  EXPECT_EQ(y.version, x.version);
  EXPECT_TRUE(y.ops.empty());
  heartbeat h;
  h.version = message_version_oldest - 1;
  h.epoch = 5;
  EXPECT_EQ(round_trip(system_, h).epoch, 0U);
  expect_only_the_version<answer_batch>(system_);
  expect_only_the_version<clock_request>(system_);
  expect_only_the_version<clock_reply>(system_);
  expect_only_the_version<page_request>(system_);
  expect_only_the_version<page_message>(system_);
  expect_only_the_version<page_applied>(system_);
  expect_only_the_version<fill_request>(system_);
  expect_only_the_version<fill_page>(system_);
  expect_only_the_version<sync_state>(system_);
  expect_only_the_version<sync_resend>(system_);
  expect_only_the_version<sync_hurry>(system_);
  expect_only_the_version<scrub_request>(system_);
  expect_only_the_version<scrub_found>(system_);
  expect_only_the_version<scrub_read>(system_);
  expect_only_the_version<scrub_states>(system_);
  expect_only_the_version<key_repairs>(system_);
  expect_only_the_version<keys_repaired>(system_);
  expect_only_the_version<count_request>(system_);
  expect_only_the_version<count_reply>(system_);
  expect_only_the_version<ring_message>(system_);
  expect_only_the_version<join_request>(system_);
  expect_only_the_version<join_answer>(system_);
}

TEST_F(Messages, InAnOlderVersionHaveTheFieldsThatItHad) {
  heartbeat h;
  h.epoch = 5;
  h.drained = true;
  h.release = "1.2.3";
  EXPECT_EQ(round_trip(system_, h).release, "1.2.3");
  h.version = 12;
  auto older = round_trip(system_, h);
  EXPECT_EQ(std::tie(older.version, older.epoch, older.drained, older.release),
            std::make_tuple(12, 5U, true, std::string{}));
}

TEST_F(Messages, HandshakesAreReadInWhateverVersion) {
  for (uint16_t newest : {11, 12, 13, 99}) {
    hello h{newest, "cluster", "n1", 2, 3, 10};
    auto w = round_trip(system_, welcome{h, {}});
    for (const auto& back : {round_trip(system_, h), w.self}) {
      EXPECT_EQ(std::tie(back.version, back.cluster, back.node, back.incarnation, back.fingerprint),
                std::tie(h.version, h.cluster, h.node, h.incarnation, h.fingerprint));
      EXPECT_EQ(back.versions().newest, newest);
      EXPECT_EQ(back.versions().oldest, newest < 12 ? newest : 10) << "those before spoke one version only";
    }
  }
}

TEST_F(Messages, TellTheirVersion) {
  EXPECT_EQ(version_of(caf::make_message(heartbeat{})), message_version_newest);
  clock_reply reply;
  reply.version = 12;
  EXPECT_EQ(version_of(caf::make_message(reply)), 12);
  EXPECT_EQ(version_of(caf::make_message(std::string{"words"})), std::nullopt);
  EXPECT_EQ(version_of(caf::message{}), std::nullopt);
}

template <class Item>
void expect_refused(std::string_view bytes) {
  std::vector<Item> items;
  EXPECT_FALSE(decode(bytes, items)) << testing::PrintToString(bytes);
}

TEST(ReplicaEncoding, RefusesWhatIsCutShortOrTooLong) {
  auto ops = encode(operations());
  for (size_t size = 0; size < ops.size(); ++size)
    expect_refused<replica_op>(std::string_view{ops}.substr(0, size));
  expect_refused<replica_op>(ops + "x");
  auto all = encode(answers());
  for (size_t size = 0; size < all.size(); ++size)
    expect_refused<replica_answer>(std::string_view{all}.substr(0, size));
  expect_refused<replica_answer>(all + "x");
}

TEST(ReplicaEncoding, RefusesUnknownKindsAndFlagsAndImpossibleCounts) {
  expect_refused<replica_op>(std::string("\1\4\0\0\0\0", 6));           // Kind 4.
  expect_refused<replica_op>(std::string("\1\x12\0\0\0\0", 6));         // A get that removes.
  expect_refused<replica_op>(std::string("\1\2\0\x80\x80\4\0\0", 8));   // Bucket 65536.
  expect_refused<replica_op>("\xff\xff\xff\xff\xff\xff\xff\xff\xff\1"); // 2^64 - 1 operations.
  expect_refused<replica_answer>(std::string("\1\5\0", 3));             // Kind 5.
  expect_refused<replica_answer>(std::string("\1\x81\0", 3));           // A written that is durable.
  expect_refused<replica_answer>("\xff\xff\xff\xff\xff\xff\xff\xff\xff\1");
}

/// Whatever comes, decoding ends, and what it accepts can be sent on.
TEST(ReplicaEncoding, SurvivesAnyChangeOfOneByte) {
  auto ops = encode(operations());
  auto all = encode(answers());
  for (auto* bytes : {&ops, &all})
    for (size_t i = 0; i < bytes->size(); ++i)
      for (int x = 0; x < 256; ++x) {
        auto changed = *bytes;
        changed[i] = static_cast<char>(x);
        std::vector<replica_op> some_ops;
        std::vector<replica_answer> some_answers;
        if (decode(changed, some_ops)) {
          std::vector<replica_op> again;
          EXPECT_TRUE(decode(encode(some_ops), again));
        }
        if (decode(changed, some_answers)) {
          std::vector<replica_answer> again;
          EXPECT_TRUE(decode(encode(some_answers), again));
        }
      }
}

TEST_F(Messages, PartsOfARefillKeepEveryField) {
  fill_request ask;
  ask.about(2, {3, 4});
  ask.stage = fill_stage::log;
  ask.source = 5;
  ask.after_key = "key";
  ask.after_replica = 6;
  ask.after_counter = 7;
  ask.clock = "clock";
  ask.trimmed = "trimmed";
  ask.bytes_max = 8;
  auto a = round_trip(system_, ask);
  EXPECT_EQ(std::tie(a.version, a.epoch, a.bucket, a.partition, a.stage, a.source, a.after_key, a.after_replica,
                     a.after_counter, a.clock, a.trimmed, a.bytes_max),
            std::tie(ask.version, ask.epoch, ask.bucket, ask.partition, ask.stage, ask.source, ask.after_key,
                     ask.after_replica, ask.after_counter, ask.clock, ask.trimmed, ask.bytes_max));
  fill_page page;
  page.about(2, {3, 4});
  page.stage = fill_stage::rest;
  page.source = 5;
  page.keys = {{"key", "object", false}};
  page.dots = {{6, 7, "other"}};
  page.clock = "clock";
  page.trimmed = "trimmed";
  page.latest = 8;
  page.done = true;
  auto p = round_trip(system_, page);
  EXPECT_EQ(
      std::tie(p.version, p.epoch, p.bucket, p.partition, p.stage, p.source, p.clock, p.trimmed, p.latest, p.done),
      std::tie(page.version, page.epoch, page.bucket, page.partition, page.stage, page.source, page.clock, page.trimmed,
               page.latest, page.done));
  ASSERT_EQ(p.keys.size(), 1U);
  EXPECT_EQ(std::tie(p.keys[0].key, p.keys[0].object, p.keys[0].present),
            std::make_tuple(std::string{"key"}, std::string{"object"}, false));
  ASSERT_EQ(p.dots.size(), 1U);
  EXPECT_EQ(std::tie(p.dots[0].replica, p.dots[0].counter, p.dots[0].key),
            std::make_tuple(6U, 7U, std::string{"other"}));
}

TEST_F(Messages, SyncStatesKeepEveryField) {
  sync_state x;
  x.epoch = 2;
  x.from = node_id{3};
  x.incarnation = 4;
  x.sequence = 5;
  x.full = true;
  x.notes = {{6, 7, 1, 2, "clock"}};
  x.latest = 8;
  x.wall_ms = 9;
  x.asks = 10;
  x.answers = 11;
  x.bearable = 12;
  x.moves = true;
  x.directory = 13;
  x.directories_met = {{node_id{14}, 15}};
  auto y = round_trip(system_, x);
  EXPECT_EQ(std::tie(y.version, y.epoch, y.from, y.incarnation, y.sequence, y.full, y.latest, y.wall_ms, y.asks,
                     y.answers, y.bearable, y.moves, y.directory, y.directories_met),
            std::tie(x.version, x.epoch, x.from, x.incarnation, x.sequence, x.full, x.latest, x.wall_ms, x.asks,
                     x.answers, x.bearable, x.moves, x.directory, x.directories_met));
  ASSERT_EQ(y.notes.size(), 1U);
  EXPECT_EQ(std::tie(y.notes[0].bucket, y.notes[0].partition, y.notes[0].role, y.notes[0].state, y.notes[0].clock),
            std::make_tuple(6, 7, 1, 2, std::string{"clock"}));
  EXPECT_EQ(round_trip(system_, sync_resend{message_version_newest, node_id{3}}).from, node_id{3});
  EXPECT_EQ(round_trip(system_, sync_hurry{message_version_newest, node_id{3}}).from, node_id{3});
}

TEST_F(Messages, ControlMessagesKeepEveryField) {
  auto about = [](auto x) {
    x.about(2, {3, 4});
    return x;
  };
  auto who = [](const auto& x) { return std::make_tuple(x.version, x.epoch, x.bucket, x.partition); };
  auto expected = std::make_tuple(message_version_newest, uint64_t{2}, bucket_id{3}, partition_id{4});
  EXPECT_EQ(who(round_trip(system_, about(clock_request{}))), expected);
  EXPECT_EQ(round_trip(system_, clock_reply{message_version_newest, "clock"}).clock, "clock");
  page_request ask;
  ask.key = "key";
  ask.clock = "clock";
  ask.bytes_max = 5;
  auto p = round_trip(system_, about(ask));
  EXPECT_EQ(who(p), expected);
  EXPECT_EQ(std::tie(p.key, p.clock, p.bytes_max), std::tie(ask.key, ask.clock, ask.bytes_max));
  page_message page;
  page.keys = {{"key", "object", {5, 6}}};
  auto m = round_trip(system_, about(page));
  EXPECT_EQ(who(m), expected);
  ASSERT_EQ(m.keys.size(), 1U);
  EXPECT_EQ(std::tie(m.keys[0].key, m.keys[0].object, m.keys[0].dots),
            std::make_tuple(std::string{"key"}, std::string{"object"}, std::vector<uint64_t>{5, 6}));
  auto applied = round_trip(system_, page_applied{message_version_newest, 3, "clock"});
  EXPECT_EQ(std::tie(applied.dots_new, applied.clock), std::make_tuple(3U, std::string{"clock"}));
  auto n = round_trip(system_, count_request{message_version_newest, 2, 3, {4, 5}});
  EXPECT_EQ(std::tie(n.epoch, n.bucket, n.partitions), std::make_tuple(2U, 3, std::vector<partition_id>{4, 5}));
  EXPECT_EQ(round_trip(system_, count_reply{message_version_newest, 3}).keys, 3U);
}

TEST_F(Messages, PartsOfAScrubKeepEveryField) {
  scrub_request ask;
  ask.about(2, {3, 4});
  ask.after = "a";
  ask.until = "b";
  ask.list = true;
  ask.keys_max = 5;
  ask.bytes_max = 6;
  ask.expires_ms = 7;
  auto a = round_trip(system_, ask);
  EXPECT_EQ(std::tie(a.version, a.epoch, a.bucket, a.partition, a.after, a.until, a.list, a.keys_max, a.bytes_max,
                     a.expires_ms),
            std::tie(ask.version, ask.epoch, ask.bucket, ask.partition, ask.after, ask.until, ask.list, ask.keys_max,
                     ask.bytes_max, ask.expires_ms));
  auto f = round_trip(system_, scrub_found{message_version_newest, true, "until", 2, 3, 4, {{"key", 5, 6}}, "clock"});
  EXPECT_EQ(std::tie(f.end, f.until, f.keys, f.bytes, f.hash, f.clock),
            std::make_tuple(true, std::string{"until"}, 2U, 3U, 4U, std::string{"clock"}));
  ASSERT_EQ(f.listed.size(), 1U);
  EXPECT_EQ(std::tie(f.listed[0].key, f.listed[0].visible, f.listed[0].held),
            std::make_tuple(std::string{"key"}, 5U, 6U));
  scrub_read read;
  read.about(2, {3, 4});
  read.keys = {"a", "b"};
  read.bytes_max = 5;
  auto r = round_trip(system_, read);
  EXPECT_EQ(std::tie(r.version, r.epoch, r.bucket, r.partition, r.keys, r.bytes_max),
            std::tie(read.version, read.epoch, read.bucket, read.partition, read.keys, read.bytes_max));
  auto s = round_trip(system_, scrub_states{message_version_newest, {"x", ""}, "clock"});
  EXPECT_EQ(std::tie(s.objects, s.clock), std::make_tuple(std::vector<std::string>{"x", ""}, std::string{"clock"}));
  key_repairs repairs;
  repairs.about(2, {3, 4});
  repairs.clock = "clock";
  repairs.keys = {{"key", 5, "object"}};
  auto k = round_trip(system_, repairs);
  EXPECT_EQ(std::tie(k.version, k.epoch, k.bucket, k.partition, k.clock),
            std::tie(repairs.version, repairs.epoch, repairs.bucket, repairs.partition, repairs.clock));
  ASSERT_EQ(k.keys.size(), 1U);
  EXPECT_EQ(std::tie(k.keys[0].key, k.keys[0].held, k.keys[0].object),
            std::make_tuple(std::string{"key"}, 5U, std::string{"object"}));
  auto d = round_trip(system_, keys_repaired{message_version_newest, 3, {4, 7}});
  EXPECT_EQ(d.repaired, 3U);
  EXPECT_EQ(d.refused, (std::vector<uint32_t>{4, 7}));
}

TEST_F(Messages, HeartbeatsKeepEveryField) {
  auto b = round_trip(system_, heartbeat{message_version_newest, node_id{4}, 5, 6, 7, 8, 9, 10, 11, 12, true, "1.2.3"});
  EXPECT_EQ(std::tie(b.version, b.epoch, b.epoch_taken, b.to_get, b.got, b.former, b.time),
            std::make_tuple(message_version_newest, 5U, 6U, 7U, 8U, 9U, 10));
  EXPECT_EQ(std::tie(b.stored, b.disk_free, b.drained, b.release),
            std::make_tuple(11U, 12U, true, std::string{"1.2.3"}));
  EXPECT_EQ(b.from, node_id{4});
}

TEST_F(Messages, AgreementAndJoiningKeepEveryField) {
  auto m =
      round_trip(system_, ring_message{message_version_newest, node_id{2}, 3, 4, 5, 6, "v", 7, 8, 9, 10, 11, "a", 12});
  EXPECT_EQ(std::tie(m.version, m.from, m.what, m.number, m.attempt_round, m.attempt_source, m.value, m.answer),
            std::make_tuple(message_version_newest, node_id{2}, 3, 4U, 5U, 6U, std::string{"v"}, 7));
  EXPECT_EQ(
      std::tie(m.promised_round, m.accepted_round, m.promised_source, m.accepted_source, m.accepted_value, m.directory),
      std::make_tuple(8U, 9U, 10U, 11U, std::string{"a"}, 12U));
  auto j = round_trip(system_, join_request{message_version_newest, "c", "n", "h", 2, 3, "z", 4, "g", 5, 6});
  EXPECT_EQ(
      std::tie(j.version, j.cluster, j.node, j.host, j.peer_port, j.resp_port, j.zone, j.weight, j.group, j.directory),
      std::make_tuple(message_version_newest, std::string{"c"}, std::string{"n"}, std::string{"h"}, 2, 3,
                      std::string{"z"}, 4U, std::string{"g"}, 5U));
  EXPECT_EQ(j.disk_free, 6U);
  auto a = round_trip(system_, join_answer{message_version_newest, "shape", "ring"});
  EXPECT_EQ(std::tie(a.version, a.shape, a.ring),
            std::make_tuple(message_version_newest, std::string{"shape"}, std::string{"ring"}));
}

} // namespace
} // namespace crema
