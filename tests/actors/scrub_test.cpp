// Scrubs of whole nodes: their stores are damaged below them.
#include "protocol/scrub.hpp"
#include "protocol/slot.hpp"
#include "tests/actors/test_cluster.hpp"

#include <nlohmann/json.hpp>

namespace crema::test {
namespace {

using std::chrono::milliseconds;
using kind = repair_order::kind;

std::vector<config::bucket_config> registers_and_siblings() {
  return {bucket("default", 0, conflict_rule::lww, durability::interval, 3, 2, 2),
          bucket("carts", 1, conflict_rule::siblings, durability::fsync, 3, 2, 2)};
}

class Scrubs : public testing::Test {
protected:
  vnode_id vnode_of(const std::string& key, bucket_id db) {
    return {db, protocol::partition_of(key, c_.cluster.partitions)};
  }
  std::string stored(size_t node, const std::string& key, bucket_id db = 0) {
    return storage::open_memory(c_.nodes[node].disk)->get(vnode_of(key, db), key).object.value_or("");
  }
  /// Below the node and its cache. Empty: the key is lost.
  void damage(size_t node, const std::string& key, const std::string& object = {}, bucket_id db = 0) {
    auto store = storage::open_memory(c_.nodes[node].disk);
    auto batch = store->make_batch();
    if (object.empty())
      batch->erase(vnode_of(key, db), key);
    else
      batch->replace(vnode_of(key, db), key, object);
    ASSERT_TRUE(store->write(*batch).ok());
  }
  /// What a client could see of all that the node stores.
  std::map<std::tuple<bucket_id, partition_id, std::string>, uint64_t> visible(size_t node) {
    std::map<std::tuple<bucket_id, partition_id, std::string>, uint64_t> all;
    auto store = storage::open_memory(c_.nodes[node].disk);
    for (bucket_id db : {0, 1})
      for (uint32_t p = 0; p < c_.cluster.partitions; ++p) {
        vnode_id id{db, static_cast<partition_id>(p)};
        EXPECT_TRUE(store
                        ->scan(id, {},
                               [&](std::string_view key, std::string_view object) {
                                 auto rule = db == 0 ? conflict_rule::lww : conflict_rule::siblings;
                                 if (auto hash = protocol::hash_content(rule, object, 0).visible)
                                   all[{db, id.partition, std::string{key}}] = hash;
                                 return true;
                               })
                        .ok());
      }
    return all;
  }
  void expect_level() {
    EXPECT_EQ(visible(1), visible(0));
    EXPECT_EQ(visible(2), visible(0));
  }
  nlohmann::json order(size_t at, kind what, std::optional<bucket_id> db = {}) {
    std::string json;
    repair_order o;
    o.what = what;
    o.bucket = db;
    c_.nodes[at].backend->repair(o, [&](std::string text) { json = std::move(text); });
    c_.sched().run();
    return nlohmann::json::parse(json);
  }
  void order_all(kind what) {
    for (size_t at = 0; at < 3; ++at)
      if (c_.nodes[at].alive)
        order(at, what);
  }
  uint64_t sum(const char* name) {
    uint64_t total = 0;
    for (size_t at = 0; at < 3; ++at)
      total += c_.nodes[at].alive ? order(at, kind::status)[name].get<uint64_t>() : 0;
    return total;
  }
  void fill() {
    for (int i = 0; i < 40; ++i)
      ASSERT_EQ(c_.ask(0, put("k" + std::to_string(i), "v" + std::to_string(i), static_cast<bucket_id>(i % 2))).status,
                errc::ok);
    c_.run_for(milliseconds{3000});
  }

  test_cluster c_{3, registers_and_siblings()};
};

TEST_F(Scrubs, RepairWhateverOwnersHoldWrongly) {
  fill();
  auto healthy = visible(0);
  auto x = protocol::decode_lww(stored(1, "k4"));
  ASSERT_TRUE(x);
  auto later = protocol::encode_lww({x->time + 1, x->id, 0, false, "a bit has rotted"});
  damage(0, "k10"); // The loss was handed on.
  damage(1, "k10");
  damage(1, "k2");
  damage(1, "k4", later);
  damage(2, "k6", "rubbish");
  damage(2, "k1", {}, 1);
  auto two = protocol::decode_siblings(stored(0, "k3", 1)).value();
  two.siblings.front().value = "rotten";
  damage(0, "k3", protocol::encode_siblings(two), 1);
  order_all(kind::start);
  c_.run_for(milliseconds{30'000});
  for (size_t at = 0; at < 3; ++at)
    EXPECT_EQ(order(at, kind::status)["state"], "finished");
  EXPECT_EQ(sum("differences"), 6U) << c_.log.str();
  EXPECT_EQ(sum("repaired"), 7U);
  EXPECT_EQ(sum("busy"), 0U);
  EXPECT_EQ(sum("partial"), 0U);
  EXPECT_EQ(sum("vnodes"), 16U) << "each is compared once";
  EXPECT_EQ(visible(0), healthy);
  expect_level();
  EXPECT_EQ(values(c_.ask(1, get("k4"))), std::vector<std::string>{"v4"});
  EXPECT_NE(c_.log.str().find("keys of n2 were not what they should be"), std::string::npos);
  order_all(kind::start);
  c_.run_for(milliseconds{30'000});
  EXPECT_EQ(sum("differences"), 0U);
}

TEST_F(Scrubs, BeginLongRangesWhereOneOwnerLostEverything) {
  for (int i = 0; i < 3000; ++i)
    ASSERT_EQ(c_.ask(0, put("{same}" + std::to_string(i), "v")).status, errc::ok);
  c_.run_for(milliseconds{3000});
  auto healthy = visible(0);
  for (int i = 0; i < 3000; ++i)
    if (i % 1000 != 0)
      damage(0, "{same}" + std::to_string(i));
  order_all(kind::start);
  c_.run_for(milliseconds{60'000});
  EXPECT_EQ(sum("repaired"), 2997U);
  EXPECT_EQ(visible(0), healthy);
  expect_level();
}

TEST_F(Scrubs, FindNothingWrongWhileClientsWrite) {
  fill();
  for (int round = 0; round < 30; ++round) {
    order_all(kind::start);
    for (int i = 0; i < 10; ++i) {
      auto key = "k" + std::to_string((round * 7 + i) % 40);
      auto db = static_cast<bucket_id>(i % 2);
      c_.ask(static_cast<size_t>(i) % 3, i % 3 == 0 ? remove(key, db) : put(key, "w" + std::to_string(round), db));
    }
    if (round % 10 == 9)
      c_.run_for(milliseconds{10'000});
  }
  c_.run_for(milliseconds{30'000});
  EXPECT_EQ(c_.log.str().find("not what they should be"), std::string::npos) << c_.log.str();
  expect_level();
}

TEST_F(Scrubs, ArePausedResumedAndCancelled) {
  fill();
  damage(1, "k2");
  damage(1, "k4");
  EXPECT_EQ(order(0, kind::pause)["error"], "no repair runs");
  order_all(kind::start);
  order_all(kind::pause);
  c_.run_for(milliseconds{20'000});
  EXPECT_EQ(sum("repaired"), 0U);
  order_all(kind::resume);
  c_.run_for(milliseconds{20'000});
  EXPECT_EQ(sum("repaired"), 2U);
  expect_level();
  damage(1, "k2");
  order_all(kind::start);
  order_all(kind::cancel);
  c_.run_for(milliseconds{20'000});
  EXPECT_EQ(sum("repaired"), 0U);
  EXPECT_EQ(stored(1, "k2"), "");
  order_all(kind::start);
  EXPECT_TRUE(order(0, kind::start, bucket_id{1}).contains("error") || order(0, kind::status)["state"] == "finished");
  c_.run_for(milliseconds{20'000});
  expect_level();
}

TEST_F(Scrubs, GoOnWithoutAnOwnerThatDies) {
  fill();
  for (int i = 0; i < 40; i += 2)
    damage(1, "k" + std::to_string(i));
  order_all(kind::start);
  c_.kill(2);
  c_.run_for(milliseconds{60'000});
  for (size_t at = 0; at < 2; ++at) {
    EXPECT_EQ(order(at, kind::status)["state"], "finished");
    EXPECT_GT(order(at, kind::status)["partial"], 0U);
  }
  c_.start(2);
  c_.link_all();
  c_.run_for(milliseconds{3000});
  order_all(kind::start);
  c_.run_for(milliseconds{30'000});
  EXPECT_EQ(sum("partial"), 0U);
  expect_level();
  EXPECT_NE(stored(1, "k2"), "");
}

TEST_F(Scrubs, BeginByThemselvesWhenTheLastOneWasLongAgo) {
  fill();
  c_.kill(0);
  auto noted = [this] {
    auto bytes = storage::open_memory(c_.nodes[0].disk)->get_meta("scrub").object.value_or("");
    return protocol::byte_reader{bytes}.u64();
  };
  EXPECT_EQ(noted(), 0U);
  auto now_ms = c_.wall_micros() / 1000;
  std::string long_ago;
  protocol::byte_writer{long_ago}.u64(now_ms - std::chrono::milliseconds{std::chrono::hours{24 * 8}}.count());
  auto store = storage::open_memory(c_.nodes[0].disk);
  auto batch = store->make_batch();
  batch->put_meta("scrub", long_ago);
  ASSERT_TRUE(store->write(*batch).ok());
  c_.start(0);
  c_.link_all();
  c_.run_for(milliseconds{60'000});
  EXPECT_EQ(order(0, kind::status)["state"], "none") << "its peers have to be heard first";
  c_.run_for(milliseconds{600'000});
  auto status = order(0, kind::status);
  EXPECT_EQ(status["state"], "finished");
  EXPECT_EQ(status["by_itself"], true);
  EXPECT_EQ(order(1, kind::status)["state"], "none");
  EXPECT_GT(noted(), now_ms);
  c_.kill(0);
  c_.start(0);
  c_.link_all();
  c_.run_for(milliseconds{700'000});
  EXPECT_EQ(order(0, kind::status)["state"], "none") << "it is remembered over restarts";
}

} // namespace
} // namespace crema::test
