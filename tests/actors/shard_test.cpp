#include "actors/shard.hpp"
#include "protocol/object.hpp"
#include "protocol/scrub.hpp"
#include "storage/memory_store.hpp"

#include <gtest/gtest.h>
#include <spdlog/sinks/null_sink.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace crema {
namespace {

using protocol::encode_lww;

constexpr uint64_t wall = 1'700'000'000'000'000;
constexpr vnode_id here{0, 0};

env_ptr one_of_three(uint64_t ahead_micros = 0, bool restored = false) {
  auto env = std::make_shared<node_env>();
  env->restored = restored;
  env->name = "n1";
  env->self = node_id{0};
  config::bucket_config b;
  b.name = "default";
  env->config.buckets = {b};
  auto ring = std::make_shared<protocol::ring>();
  ring->epoch = 1;
  ring->buckets = env->config.buckets;
  for (uint32_t i = 0; i < 3; ++i)
    ring->members.push_back({node_id{i}, "n" + std::to_string(i + 1), "h", "", 1});
  ring->owners.assign(8, {node_id{0}, node_id{1}, node_id{2}});
  env->first_ring = ring;
  env->wall_micros = [ahead_micros] { return wall + ahead_micros; };
  env->log = std::make_shared<spdlog::logger>("test", std::make_shared<spdlog::sinks::null_sink_mt>());
  return env;
}

class Shard : public testing::Test {
protected:
  Shard() { work_.be_born({here}, answer_); }

  /// A register written elsewhere. @returns what the shard says of it.
  replica_answer apply(uint64_t counter, timestamp time, const std::string& key = "k") {
    replica_op op;
    op.what = replica_op::kind::apply;
    op.key = key;
    op.dot_replica = 9;
    op.dot_counter = counter;
    op.time = time;
    op.data = encode_lww({time, {9, counter}, 0, false, "v"});
    answers_.clear();
    work_.handle(0, std::move(op), answer_);
    EXPECT_TRUE(work_.flush(answer_).ok());
    EXPECT_EQ(answers_.size(), 1U);
    return answers_.empty() ? replica_answer{} : answers_.front();
  }

  std::vector<replica_answer> answers_;
  shard::answer_fn answer_ = [this](size_t, replica_answer a) { answers_.push_back(std::move(a)); };
  shard work_{one_of_three(), storage::open_memory(storage::make_memory_disk()), 7, 0, 1, {}};
};

TEST_F(Shard, TellsOfANewerRegister) {
  EXPECT_EQ(apply(1, from_micros(wall + 5)).time, 0U);
  EXPECT_EQ(apply(2, from_micros(wall + 1)).time, from_micros(wall + 5));
  EXPECT_EQ(apply(3, from_micros(wall + 9)).time, 0U);
}

// Rule R3 of docs/topology.md: it met others for an earlier plan, and some of these may be no owners any more.
TEST_F(Shard, HasToMeetTheOwnersOfEachPlanAnew) {
  auto reported = [this] {
    work_.begin_report({}, answer_);
    EXPECT_TRUE(work_.flush(answer_).ok());
    EXPECT_TRUE(work_.sync(answer_).ok());
    auto report = work_.take_report();
    for (const auto& [note, facts] : report ? report->changed : decltype(report->changed){})
      if (note.id == here)
        return note.state;
    return protocol::vnode_state::filling;
  };
  EXPECT_EQ(reported(), protocol::vnode_state::complete);
  auto ring = std::make_shared<protocol::ring>(*one_of_three()->first_ring);
  ring->epoch = 2;
  ring->owners.assign(8, {node_id{1}, node_id{2}});
  ring->next.assign(8, {node_id{0}, node_id{1}});
  ring->since.assign(8, 2);
  work_.on_ring(ring, answer_);
  EXPECT_EQ(reported(), protocol::vnode_state::catching_up);
}

/// A shard of a node whose directory is 5, and a bucket that is created in epoch 3.
class BucketAtRunTime : public testing::Test {
protected:
  explicit BucketAtRunTime() { start(); }
  void start(uint64_t directory = 5) {
    work_ = std::make_unique<shard>(env_, store_, 7, 0, 1, store_->load_clocks().clocks, directory);
  }
  /// A process that finds this ring on its disk.
  void start_with(protocol::ring_ptr newest) {
    auto env = std::make_shared<node_env>(*env_);
    env->first_ring = std::move(newest);
    env_ = env;
    start();
  }
  std::shared_ptr<protocol::ring> ring(uint64_t epoch, uint64_t named) {
    auto r = std::make_shared<protocol::ring>(*env_->first_ring);
    r->epoch = epoch;
    r->members[0].directory = 5;
    r->members[0].named = named;
    protocol::bucket b;
    b.name = "events";
    b.id = event.bucket;
    b.created = 3;
    if (epoch >= 3)
      r->buckets.push_back(b);
    return r;
  }
  void knows(const std::shared_ptr<protocol::ring>& r) { work_->on_ring(r, answer_); }
  std::optional<protocol::vnode_state> state() {
    work_->begin_report({}, answer_);
    EXPECT_TRUE(work_->flush(answer_).ok());
    EXPECT_TRUE(work_->sync(answer_).ok());
    auto report = work_->take_report();
    for (const auto& [note, facts] : report ? report->changed : decltype(report->changed){})
      if (note.id == event)
        return note.state;
    return std::nullopt;
  }
  size_t kept() {
    size_t count = 0;
    for (auto place : {event, other_place(event)})
      EXPECT_TRUE(store_->scan(place, {}, [&](auto, auto) { return ++count > 0; }).ok());
    return count;
  }
  void write() {
    replica_op op;
    op.what = replica_op::kind::apply;
    op.bucket = event.bucket;
    op.key = "k";
    op.dot_replica = 9;
    op.dot_counter = 1;
    op.time = from_micros(wall);
    op.data = encode_lww({op.time, {9, 1}, 0, false, "v"});
    work_->handle(0, std::move(op), answer_);
    EXPECT_TRUE(work_->flush(answer_).ok());
    ASSERT_FALSE(answers_.empty());
    EXPECT_EQ(answers_.back().status, errc::ok);
    EXPECT_EQ(kept(), 1U);
  }

  static constexpr vnode_id event{1024, 0};
  env_ptr env_ = one_of_three();
  std::shared_ptr<storage::store> store_ = storage::open_memory(storage::make_memory_disk());
  std::vector<replica_answer> answers_;
  shard::answer_fn answer_ = [this](size_t, replica_answer a) { answers_.push_back(std::move(a)); };
  std::unique_ptr<shard> work_;
};

TEST_F(BucketAtRunTime, IsCompleteAtOnceInADirectoryThatWasThereBefore) {
  knows(ring(3, 3));
  EXPECT_EQ(state(), protocol::vnode_state::complete);
}

TEST_F(BucketAtRunTime, IsUnsureWhereSomethingMayHaveBeenLost) {
  knows(ring(4, 4));
  EXPECT_EQ(state(), protocol::vnode_state::unsure) << "The directory was named later than the bucket.";
  start(6);
  knows(ring(3, 3));
  EXPECT_EQ(state(), protocol::vnode_state::unsure) << "Another directory is named.";
}

TEST_F(BucketAtRunTime, IsUnsureForAnOwnerToBe) {
  auto joint = ring(3, 3);
  joint->next = joint->owners;
  joint->owners.assign(8, {node_id{1}, node_id{2}});
  knows(joint);
  EXPECT_EQ(state(), protocol::vnode_state::unsure);
}

TEST_F(BucketAtRunTime, IsDroppedWithAllThatIsInIt) {
  knows(ring(3, 3));
  write();
  auto without = ring(4, 3);
  without->buckets.pop_back();
  knows(without);
  EXPECT_EQ(kept(), 0U);
  replica_op get;
  get.what = replica_op::kind::get;
  get.bucket = event.bucket;
  get.key = "k";
  work_->handle(0, std::move(get), answer_);
  EXPECT_EQ(answers_.back().status, errc::not_owner);
}

TEST_F(BucketAtRunTime, IsDroppedAtTheNextStartIfThatHappenedMeanwhile) {
  knows(ring(3, 3));
  write();
  auto without = ring(4, 3);
  without->buckets.pop_back();
  start_with(without);
  EXPECT_EQ(kept(), 0U);
}

TEST_F(BucketAtRunTime, IsDroppedAtTheNextStartAlsoIfItsVnodeHasNoRecordYet) {
  knows(ring(4, 4)); // Unsure of what may have been lost; no record says so.
  write();
  ASSERT_TRUE(store_->load_records().records.empty());
  auto without = ring(5, 4);
  without->buckets.pop_back();
  start_with(without);
  EXPECT_EQ(kept(), 0U);
  EXPECT_TRUE(store_->load_clocks().clocks.empty());
}

// What it had taken stayed on its disk for ever, and was handed over to nobody (`crema sim --seed 96001457 --nodes 4`).
TEST_F(BucketAtRunTime, HandsOverWhatItTookWithoutARecordWhenOthersOwnItAtTheNextStart) {
  knows(ring(4, 4));
  write();
  ASSERT_TRUE(store_->load_records().records.empty());
  auto others = ring(5, 4);
  others->owners.assign(8, {node_id{1}, node_id{2}});
  start_with(others);
  auto records = store_->load_records().records;
  ASSERT_EQ(records.size(), 1U);
  auto record = protocol::decode_vnode_record(records.front().second);
  ASSERT_TRUE(record);
  EXPECT_EQ(record->role, protocol::vnode_role::temporary);
  EXPECT_TRUE(record->former);
  EXPECT_EQ(kept(), 1U);
}

TEST_F(Shard, AcknowledgesWhatItGaveItselfWhenItIsSentAgain) { // Owners may have changed since.
  replica_op put;
  put.what = replica_op::kind::put;
  put.key = "k";
  put.data = "v";
  work_.handle(0, std::move(put), answer_);
  ASSERT_TRUE(work_.flush(answer_).ok());
  ASSERT_EQ(answers_.size(), 1U);
  auto given = answers_.front();
  ASSERT_EQ(given.status, errc::ok) << given.data;
  auto again = [&](uint64_t counter) {
    replica_op op;
    op.what = replica_op::kind::apply;
    op.key = "k";
    op.dot_replica = given.dot_replica;
    op.dot_counter = counter;
    op.time = given.time;
    op.data = given.data;
    answers_.clear();
    work_.handle(0, std::move(op), answer_);
    EXPECT_TRUE(work_.flush(answer_).ok());
    return answers_.empty() ? errc::timeout : answers_.front().status;
  };
  EXPECT_EQ(again(given.dot_counter), errc::ok);
  EXPECT_NE(again(given.dot_counter + 1), errc::ok) << "which it has never given";
}

/// Three of the owners of a vnode, by hand.
class Refill : public testing::Test {
protected:
  struct owner {
    std::shared_ptr<storage::memory_disk> disk = storage::make_memory_disk();
    std::shared_ptr<storage::store> store = storage::open_memory(disk);
    std::unique_ptr<shard> work;
    std::vector<replica_answer> answers;
    shard::answer_fn answer = [this](size_t, replica_answer a) { answers.push_back(std::move(a)); };

    explicit owner(replica_id id) { start(id); }
    void start(replica_id id, uint64_t ahead_micros = 0, bool restored = false) {
      work =
          std::make_unique<shard>(one_of_three(ahead_micros, restored), store, id, 0, 1, store->load_clocks().clocks);
    }
    replica_answer ask(replica_op op) {
      answers.clear();
      work->handle(0, std::move(op), answer);
      EXPECT_TRUE(work->flush(answer).ok());
      EXPECT_EQ(answers.size(), 1U);
      return answers.empty() ? replica_answer{} : answers.front();
    }
    replica_answer apply(dot d, timestamp time, const std::string& key, bool tombstone = false) {
      replica_op op;
      op.what = replica_op::kind::apply;
      op.key = key;
      op.dot_replica = d.replica;
      op.dot_counter = d.counter;
      op.time = time;
      op.data = encode_lww({time, d, 0, tombstone, "v"});
      return ask(std::move(op));
    }
    /// The counter of the dot that a read finds; 0: nothing. -1: it does not answer.
    int64_t read(const std::string& key) {
      replica_op op;
      op.what = replica_op::kind::get;
      op.key = key;
      auto a = ask(std::move(op));
      auto x = protocol::decode_lww(a.data);
      return a.status != errc::ok ? -1 : x ? static_cast<int64_t>(x->id.counter) : 0;
    }
    protocol::dot_clock clock() {
      std::string bytes;
      EXPECT_FALSE(work->clock_of(here, bytes));
      return protocol::dot_clock::decode(bytes).value_or(protocol::dot_clock{});
    }
    /// All that it has is stable.
    void settle(timestamp horizon = 0) { work->settle({{{here, clock(), horizon}}, 0}, answer); }
    size_t logged(const protocol::dot_range& dots) const {
      size_t count = 0;
      EXPECT_TRUE(store->scan_log(here, {dots}, [&](const dot&, auto) { return ++count > 0; }).ok());
      return count;
    }
    size_t keys_in(vnode_id place) const {
      size_t count = 0;
      EXPECT_TRUE(store->scan(place, {}, [&](auto, auto) { return ++count > 0; }).ok());
      return count;
    }
  };

  /// Copies part after part, or goes on with what is there. @returns what ended it early.
  static std::optional<shard::failure> refill(owner& to, owner& from, size_t parts_max = SIZE_MAX) {
    auto progress = to.work->begin_fill({here, source, true}, to.answer);
    EXPECT_TRUE(progress);
    progress->next.about(1, here);
    progress->next.bytes_max = 1;
    for (size_t part = 0; part < parts_max; ++part) {
      fill_page page;
      if (auto failed = from.work->make_fill_page(progress->next, page, from.answer))
        return failed;
      if (auto failed = to.work->apply_fill_page(page, to.answer))
        return failed;
      if (page.done && page.stage == fill_stage::rest)
        return {};
      progress->advance(page);
    }
    return {};
  }
  /// It makes no repairs until then.
  static void forget_copies(owner& of) {
    for (int round = 0; round < 20; ++round) {
      of.work->begin_report({}, of.answer);
      EXPECT_TRUE(of.work->flush(of.answer).ok());
      EXPECT_TRUE(of.work->sync(of.answer).ok());
      of.work->take_report();
    }
  }
  static constexpr node_id source{1};

  Refill() {
    for (auto* o : {&a_, &b_})
      o->work->be_born({here}, o->answer);
  }
  static constexpr timestamp at(uint64_t n) { return from_micros(wall + n); }

  owner a_{1}, b_{2};
};

TEST_F(Refill, StaysOpenAndKeepsWhatOnlyItHas) {
  a_.apply({9, 1}, at(1), "mine");
  b_.apply({8, 1}, at(2), "theirs");
  b_.settle();
  EXPECT_FALSE(refill(a_, b_, 2));
  EXPECT_EQ(a_.read("mine"), 1);
  EXPECT_EQ(a_.apply({9, 2}, at(9), "mine").time, 0U) << "it can tell what is newest";
  EXPECT_EQ(a_.apply({9, 3}, at(8), "mine").time, at(9));
  EXPECT_FALSE(refill(a_, b_));
  EXPECT_EQ(a_.read("mine"), 2);
  EXPECT_EQ(a_.read("theirs"), 1);
  EXPECT_TRUE(a_.clock().contains({9, 3}));
  EXPECT_TRUE(a_.clock().contains({8, 1}));
  EXPECT_EQ(a_.keys_in(here), 0U) << "it has changed its place";
  // Others can learn what it had, but not what its source had trimmed.
  page_request request;
  request.about(1, here);
  request.bytes_max = 1000;
  page_message page;
  request.clock = protocol::dot_clock{}.encode();
  EXPECT_EQ(a_.work->make_page(request, page, a_.answer)->why, errc::behind);
  request.clock = b_.clock().encode();
  ASSERT_FALSE(a_.work->make_page(request, page, a_.answer));
  ASSERT_EQ(page.keys.size(), 1U);
  EXPECT_EQ(page.keys[0].key, "mine");
}

TEST_F(Refill, SeveralCatchUpKeyByKeyWhileItIsWrittenTo) {
  owner c{3};
  c.work->be_born({here}, c.answer);
  for (uint64_t i = 1; i <= 6; ++i)
    a_.apply({9, i}, at(i), "k" + std::to_string(i));
  auto fetch_one = [&](owner& peer, uintptr_t asker) {
    page_request request;
    request.about(1, here);
    request.bytes_max = 1;
    request.clock = peer.clock().encode();
    page_message page;
    ASSERT_FALSE(a_.work->make_page(request, page, a_.answer, asker));
    ASSERT_LE(page.keys.size(), 1U);
    page_applied applied;
    ASSERT_FALSE(peer.work->apply_page(page, applied, peer.answer));
  };
  uint64_t written = 6;
  for (int i = 0; i < 3; ++i) {
    fetch_one(b_, 1);
    fetch_one(c, 2);
    fetch_one(c, 2);
    for (const auto* key : {"k1", "k5"}) { // One that has been given, and one that has not.
      ++written;
      a_.apply({9, written}, at(written), key);
    }
  }
  EXPECT_FALSE(refill(a_, c)) << "it changes its place";
  for (int i = 0; i < 20; ++i) {
    fetch_one(b_, 1);
    fetch_one(c, 2);
  }
  for (auto* peer : {&b_, &c}) {
    EXPECT_EQ(peer->clock(), a_.clock());
    for (uint64_t i = 1; i <= 6; ++i) {
      auto key = "k" + std::to_string(i);
      EXPECT_EQ(peer->read(key), a_.read(key)) << key;
    }
  }
  EXPECT_EQ(a_.read("k5"), 12);
}

TEST_F(Refill, JoinsWholeVnodesWhenEachHasTrimmedWhatTheOtherLacks) {
  a_.apply({9, 1}, at(1), "k");
  a_.apply({9, 2}, at(5), "newer here");
  a_.apply({9, 3}, at(1), "newer there");
  a_.settle();
  b_.apply({8, 1}, at(2), "k2");
  b_.apply({8, 2}, at(1), "newer here");
  b_.apply({8, 3}, at(5), "newer there");
  b_.settle();
  a_.apply({9, 4}, at(7), "logged");
  EXPECT_FALSE(refill(a_, b_));
  EXPECT_EQ(a_.read("k"), 1);
  EXPECT_EQ(a_.read("k2"), 1);
  EXPECT_EQ(a_.read("newer here"), 2);
  EXPECT_EQ(a_.read("newer there"), 3);
  EXPECT_EQ(a_.read("logged"), 4);
  auto clock = a_.clock();
  a_.start(1);
  EXPECT_EQ(a_.clock(), clock) << "after a restart";
  EXPECT_EQ(a_.read("newer there"), 3);
  EXPECT_FALSE(refill(b_, a_));
  EXPECT_EQ(b_.clock(), clock);
  EXPECT_EQ(b_.read("newer here"), 2);
}

// A register that the other side knew and no longer has was beaten by a tombstone that is gone.
TEST_F(Refill, BringsNothingBackThatWasRemovedForGood) {
  for (auto* o : {&a_, &b_})
    o->apply({9, 1}, at(1), "gone there");
  b_.apply({9, 2}, at(2), "gone there", true);
  b_.settle(at(3));
  ASSERT_EQ(b_.keys_in(here), 0U);
  a_.apply({7, 1}, at(1), "other");
  a_.settle();
  EXPECT_FALSE(refill(a_, b_));
  EXPECT_EQ(a_.read("gone there"), 0);
  EXPECT_EQ(a_.read("other"), 1);
}

// Seed 2828: the log still named the tombstone, but it was gone, and the page said nothing of the register.
TEST_F(Refill, OfABackupForgetsWhatWasRemovedForGood) {
  for (auto* o : {&a_, &b_})
    o->apply({9, 1}, at(1), "k");
  a_.apply({9, 2}, at(2), "other");
  a_.start(11, 0, true);
  EXPECT_EQ(a_.read("k"), -1) << "it may lack what it acknowledged since";
  b_.apply({9, 3}, at(3), "k", true);
  b_.work->settle({{{here, {}, at(4)}}, 0}, b_.answer);
  ASSERT_EQ(b_.keys_in(here), 0U);
  EXPECT_FALSE(refill(a_, b_));
  a_.work->open({{here, a_.clock()}}, a_.answer);
  EXPECT_EQ(a_.read("k"), 0);
  EXPECT_EQ(a_.read("other"), 2) << "what only it has stays";
}

// Seed 60008980: copied from an owner that had been away and had not heard of the tombstone yet, with which all others,
// and what was on the lost disk, were done.
TEST_F(Refill, OfACopyForgetsWhatWasRemovedForGoodAfterItWasMade) {
  for (auto* o : {&a_, &b_})
    o->apply({9, 1}, at(1), "k");
  b_.apply({9, 2}, at(2), "k", true);
  owner c{3};
  EXPECT_FALSE(refill(c, a_));
  b_.work->settle({{{here, {}, at(4)}}, 0}, b_.answer);
  ASSERT_EQ(b_.keys_in(here), 0U);
  ASSERT_EQ(b_.logged({9, 2, 2}), 1U);
  page_request request;
  request.about(1, here);
  request.bytes_max = 1000;
  request.clock = c.clock().encode();
  page_message page;
  auto failed = b_.work->make_page(request, page, b_.answer);
  ASSERT_TRUE(failed);
  EXPECT_EQ(failed->why, errc::behind) << "its log reaches back, but the page would leave the register where it is";
  EXPECT_FALSE(refill(c, b_));
  c.work->open({{here, c.clock()}}, c.answer);
  EXPECT_EQ(c.read("k"), 0);
  EXPECT_EQ(c.clock(), b_.clock());
}

TEST_F(Refill, GoesOnWhileItsSourceIsWrittenTo) {
  for (uint64_t i = 1; i < 9; ++i)
    b_.apply({8, i}, at(i), "k" + std::to_string(i));
  EXPECT_TRUE(a_.work->begin_fill({here, source, true}, a_.answer));
  fill_request next;
  next.about(1, here);
  fill_page begin, rest;
  ASSERT_FALSE(b_.work->make_fill_page(next, begin, b_.answer));
  b_.apply({8, 9}, at(9), "k9");
  b_.settle(); // All have it.
  next.source = begin.source;
  next.clock = begin.clock;
  next.stage = fill_stage::rest;
  EXPECT_FALSE(b_.work->make_fill_page(next, rest, b_.answer)) << "what has changed is still in the log";
  EXPECT_EQ(rest.dots.size(), 1U);
  auto logged = [&] { return b_.logged({8, 1, 9}); };
  EXPECT_EQ(logged(), 9U);
  for (int round = 0; round < 2; ++round) {
    b_.work->begin_report({}, b_.answer);
    b_.work->take_report();
    EXPECT_TRUE(b_.work->flush(b_.answer).ok());
  }
  EXPECT_EQ(logged(), 0U) << "and is trimmed when the copy is whole";
}

// Each piece costs whoever reads the log; while one of the owners catches up there are thousands.
TEST_F(Refill, TrimsTheLogInLongPiecesWhileMoreIsWritten) {
  for (uint64_t i = 1; i <= 4500; ++i)
    a_.apply({8, i}, at(i), "k" + std::to_string(i % 10));
  auto logged = [&] { return a_.logged({8, 1, 4500}); };
  auto settle = [&](const std::vector<protocol::dot_range>& stable) {
    protocol::dot_clock clock;
    for (const auto& r : stable)
      clock.add(r);
    a_.work->settle({{{here, clock, 0}}, 0}, a_.answer);
    EXPECT_TRUE(a_.work->flush(a_.answer).ok());
  };
  settle({{8, 1, 900}});
  EXPECT_EQ(logged(), 4500U) << "too few to be worth it";
  settle({{8, 1, 1100}, {8, 1200, 1210}});
  EXPECT_EQ(logged(), 3400U) << "the short piece waits";
  settle({{8, 1, 1999}});
  EXPECT_EQ(logged(), 3400U) << "too few again";
  settle({{8, 1, 2200}, {8, 2202, 3200}});
  EXPECT_EQ(logged(), 1301U);
  settle({{8, 1, 4300}});
  EXPECT_EQ(logged(), 200U) << "a piece between others grows no more, however short it is";
  settle({{8, 1, 4500}});
  EXPECT_EQ(logged(), 0U) << "it rests";
}

// They take room from what an absent owner may lack before it is given up on.
TEST_F(Refill, TrimsShortPiecesWhenManyDotsAreInThem) {
  const uint64_t gap = 32, all = 30'000; // Half of them are more than a sixteenth of log_entries_max.
  protocol::dot_clock stable;
  for (uint64_t i = 1; i <= all; ++i) {
    a_.apply({8, i}, at(i), "k");
    if (i / gap % 2 == 0)
      stable.add(dot{8, i});
    if (i == all / 2) {
      a_.work->settle({{{here, stable, 0}}, 0}, a_.answer);
      EXPECT_EQ(a_.work->counters().at("log_entries_trimmed"), 0U);
    }
  }
  a_.work->settle({{{here, stable, 0}}, 0}, a_.answer);
  EXPECT_EQ(a_.work->counters().at("log_entries_trimmed"), stable.size());
}

// spec.py, purge_beside_copy.
TEST_F(Refill, RemovesNoTombstoneBesideACopy) {
  a_.apply({9, 1}, at(1), "k", true);
  EXPECT_FALSE(refill(a_, b_, 1));
  a_.settle(at(2));
  EXPECT_EQ(a_.keys_in(here), 1U);
  a_.work->abandon_fill(here, a_.answer);
  a_.settle(at(2));
  EXPECT_EQ(a_.keys_in(here), 0U);
}

TEST_F(Refill, LeavesTheVnodeAsItWasWhenItBreaksOff) {
  a_.apply({9, 1}, at(1), "mine");
  for (uint64_t i = 1; i < 9; ++i)
    b_.apply({8, i}, at(i), "k" + std::to_string(i));
  b_.settle();
  EXPECT_FALSE(refill(a_, b_, 4));
  EXPECT_GT(a_.keys_in(other_place(here)), 0U);
  a_.work->abandon_fill(here, a_.answer);
  EXPECT_EQ(a_.keys_in(other_place(here)), 0U);
  EXPECT_FALSE(refill(a_, b_, 4));
  a_.start(1); // Its process died.
  EXPECT_EQ(a_.keys_in(other_place(here)), 0U);
  EXPECT_EQ(a_.read("mine"), 1);
  EXPECT_EQ(a_.read("k1"), 0);
  EXPECT_FALSE(refill(a_, b_));
  EXPECT_EQ(a_.read("k1"), 1);
}

TEST_F(Refill, WithALostDiskIsClosedAndKeepsWhatArrives) {
  for (uint64_t i = 1; i < 5; ++i)
    b_.apply({8, i}, at(i), "k" + std::to_string(i));
  owner c{3};
  EXPECT_EQ(c.apply({9, 1}, at(3), "k2").time, time_unknown) << "it may have lost a newer one";
  EXPECT_EQ(c.apply({9, 2}, at(2), "k2").time, at(3)) << "but this one it has";
  EXPECT_EQ(c.read("k2"), -1);
  EXPECT_FALSE(refill(c, b_, 3));
  c.start(3);
  EXPECT_FALSE(refill(c, b_));
  EXPECT_EQ(c.read("k2"), -1) << "it has to meet the others";
  EXPECT_EQ(c.clock().size(), 6U);
  c.work->open({{here, c.clock()}}, c.answer);
  EXPECT_EQ(c.read("k1"), 1);
  EXPECT_EQ(c.read("k2"), 1);
}

TEST_F(Refill, CopiesRegistersFromTheFarFutureAndGoesOnToLoseAgainstThem) {
  constexpr auto far = at(1'000'000'000);
  b_.start(2, 1'000'000'000); // Its clock was that far ahead.
  b_.apply({8, 1}, far, "k");
  EXPECT_FALSE(refill(a_, b_));
  EXPECT_EQ(a_.read("k"), 1);
  EXPECT_EQ(a_.apply({9, 1}, at(5), "k").time, far);
  a_.start(1);
  EXPECT_EQ(a_.apply({9, 2}, at(5'000'000), "k").time, far) << "it is not taken for the newest after a restart either";
  EXPECT_EQ(a_.read("k"), 1);
}

TEST_F(Refill, GoesOnWhereAProcessThatDiedStood) {
  for (uint64_t i = 1; i < 9; ++i)
    b_.apply({8, i}, at(i), "k" + std::to_string(i));
  b_.settle();
  owner c{3};
  for (size_t done = 0; done < 6; ++done) { // One part in each life.
    EXPECT_FALSE(refill(c, b_, 1));
    EXPECT_EQ(c.keys_in(other_place(here)), done) << "the first part has no keys";
    c.start(3);
    b_.apply({8, 9 + done}, at(9 + done), "k" + std::to_string(done)); // Some are copied already.
  }
  EXPECT_FALSE(refill(c, b_));
  EXPECT_EQ(c.clock(), b_.clock());
  c.work->open({{here, c.clock()}}, c.answer);
  for (int i = 0; i < 9; ++i)
    EXPECT_EQ(c.read("k" + std::to_string(i)), b_.read("k" + std::to_string(i))) << i;
  EXPECT_EQ(c.work->counters().at("refills_resumed"), 1U) << "since the last start";
}

TEST_F(Refill, GoesOnWithASourceThatWasRestarted) {
  for (uint64_t i = 1; i < 5; ++i)
    b_.apply({8, i}, at(i), "k" + std::to_string(i));
  owner c{3};
  EXPECT_FALSE(refill(c, b_, 3));
  b_.apply({8, 5}, at(5), "k1");
  b_.start(2);
  EXPECT_FALSE(refill(c, b_));
  EXPECT_EQ(c.clock(), b_.clock());
  c.work->open({{here, c.clock()}}, c.answer);
  EXPECT_EQ(c.read("k1"), 5);
}

// The log does not tell of a repair: what was copied before would stay as it was.
TEST_F(Refill, BeginsAnewWhenItsSourceWasRepaired) {
  b_.apply({8, 1}, at(1), "k");
  owner c{3};
  EXPECT_FALSE(refill(c, b_, 2));
  forget_copies(b_);
  key_repairs repairs;
  repairs.about(1, here);
  repairs.clock = b_.clock().encode();
  auto stored = b_.store->get(here, "k").object.value();
  repairs.keys = {{"k", protocol::hash_content(conflict_rule::lww, stored, 0).held, stored}};
  keys_repaired done;
  ASSERT_FALSE(b_.work->repair_keys(repairs, done, b_.answer));
  ASSERT_EQ(done.repaired, 1U);
  b_.start(2);
  auto failed = refill(c, b_);
  ASSERT_TRUE(failed);
  EXPECT_EQ(failed->why, errc::behind);
}

// A repair of more than a batch, cut short by a crash: also then, whatever of it is on disk.
TEST_F(Refill, BeginsAnewWhenItsSourceDiedAmidARepair) {
  const std::string large(size_t{5} << 20, 'x');
  size_t half_done = 0;
  for (size_t writes = 0; writes < 4; ++writes) {
    owner from{2}, to{3};
    from.work->be_born({here}, from.answer);
    key_repairs repairs;
    for (uint64_t i = 1; i < 5; ++i) {
      auto key = "k" + std::to_string(i);
      from.apply({8, i}, at(i), key);
      auto held = protocol::hash_content(conflict_rule::lww, from.store->get(here, key).object.value(), 0).held;
      repairs.keys.push_back({key, held, encode_lww({at(i), {8, i}, 0, false, large})});
    }
    EXPECT_FALSE(refill(to, from, 2));
    forget_copies(from);
    repairs.about(1, here);
    repairs.clock = from.clock().encode();
    storage::fail_writes(*from.disk, writes);
    keys_repaired done;
    auto failed = from.work->repair_keys(repairs, done, from.answer);
    from.store = storage::open_memory(from.disk);
    auto repaired = from.store->get(here, "k1").object.value().size() > large.size();
    half_done += failed && repaired ? 1 : 0;
    from.start(2);
    failed = refill(to, from);
    EXPECT_EQ(failed ? failed->why : errc::ok, repaired ? errc::behind : errc::ok) << writes;
  }
  EXPECT_GT(half_done, 0U);
}

// A register of a part that was copied before the restart is not overwritten by an older one.
TEST_F(Refill, KnowsAfterARestartHowNewWhatWasCopiedIs) {
  auto newest = from_micros(wall + 30'000'000);
  b_.apply({8, 1}, newest, "k");
  owner c{3};
  EXPECT_FALSE(refill(c, b_, 2));
  c.start(3);
  EXPECT_FALSE(refill(c, b_));
  c.work->open({{here, c.clock()}}, c.answer);
  EXPECT_EQ(c.apply({9, 1}, newest - 1, "k").time, newest);
  EXPECT_EQ(c.read("k"), 1);
}

TEST_F(Refill, BeginsAnewWhenItsSourceLostSomething) {
  b_.apply({8, 1}, at(1), "k");
  owner c{3};
  EXPECT_FALSE(refill(c, b_, 2));
  b_.start(22); // As after a crash of its machine.
  auto failed = refill(c, b_);
  ASSERT_TRUE(failed);
  EXPECT_EQ(failed->why, errc::behind);
  c.work->abandon_fill(here, c.answer);
  EXPECT_EQ(c.keys_in(other_place(here)), 0U);
  EXPECT_FALSE(refill(c, b_));
}

TEST_F(Refill, GoesOnWithWhomItWasBegunAndWithAnotherAfterThatWasGivenUp) {
  b_.apply({8, 1}, at(1), "k");
  owner c{3};
  EXPECT_FALSE(refill(c, b_, 2));
  c.start(3);
  auto begun = c.work->begin_fill({here, node_id{2}, false}, c.answer);
  ASSERT_TRUE(begun);
  EXPECT_EQ(begun->from, source);
  EXPECT_EQ(begun->next.stage, fill_stage::log);
  c.work->abandon_fill(here, c.answer);
  begun = c.work->begin_fill({here, node_id{2}, false}, c.answer);
  ASSERT_TRUE(begun);
  EXPECT_EQ(begun->from, node_id{2});
  EXPECT_EQ(begun->next.stage, fill_stage::begin);
  EXPECT_EQ(c.keys_in(other_place(here)), 0U);
}

TEST_F(Refill, ForgetsAPartOfACopyWhereTheVnodeIsWhole) {
  b_.apply({8, 1}, at(1), "k");
  EXPECT_FALSE(refill(a_, b_, 2));
  ASSERT_EQ(a_.keys_in(other_place(here)), 1U);
  a_.start(1);
  EXPECT_EQ(a_.keys_in(other_place(here)), 0U) << "it may have caught up by the time that it hears of others";
}

TEST_F(Refill, TakesNoPartThatItDoesNotExpect) {
  owner c{3};
  auto begun = c.work->begin_fill({here, source, false}, c.answer);
  ASSERT_TRUE(begun);
  for (auto stage : {fill_stage::data, fill_stage::log, fill_stage::rest}) {
    fill_page page;
    page.about(1, here);
    page.stage = stage;
    page.done = true;
    EXPECT_TRUE(c.work->apply_fill_page(page, c.answer));
  }
  EXPECT_FALSE(refill(c, b_, 1));
  fill_page empty;
  empty.about(1, here);
  empty.stage = fill_stage::data;
  EXPECT_TRUE(c.work->apply_fill_page(empty, c.answer)) << "it does not say how to go on";
}

TEST_F(Refill, IsNotContinuedFromASourceThatWasRefilledItself) {
  for (uint64_t i = 1; i < 5; ++i)
    b_.apply({8, i}, at(i), "k" + std::to_string(i));
  EXPECT_TRUE(a_.work->begin_fill({here, source, true}, a_.answer));
  fill_request next;
  next.about(1, here);
  fill_page page;
  ASSERT_FALSE(b_.work->make_fill_page(next, page, b_.answer));
  owner c{3};
  c.work->be_born({here}, c.answer);
  EXPECT_FALSE(refill(b_, c));
  next.source = page.source;
  next.stage = fill_stage::data;
  auto failed = b_.work->make_fill_page(next, page, b_.answer);
  ASSERT_TRUE(failed);
  EXPECT_EQ(failed->why, errc::behind);
}

// Writes that were lost with the only disk that had them.
TEST_F(Refill, OwnersLearnOfClosedGapsByCatchUpAndByCopies) {
  a_.apply({9, 2}, at(2), "k");
  b_.apply({9, 2}, at(2), "k");
  auto lost = a_.clock().gaps();
  a_.work->close_gaps({here, lost}, a_.answer);
  EXPECT_EQ(a_.clock().base(9), 2U);
  page_request request;
  request.about(1, here);
  request.clock = b_.clock().encode();
  request.bytes_max = 1000;
  page_message page;
  ASSERT_FALSE(a_.work->make_page(request, page, a_.answer));
  page_applied applied;
  ASSERT_FALSE(b_.work->apply_page(page, applied, b_.answer));
  EXPECT_EQ(applied.dots_new, 1U);
  EXPECT_EQ(b_.clock(), a_.clock());
  EXPECT_EQ(b_.read("k"), 2);
  owner c{3};
  EXPECT_FALSE(refill(c, a_));
  EXPECT_EQ(c.clock(), a_.clock());
  b_.apply({9, 4}, at(4), "k");
  b_.work->close_gaps({here, b_.clock().gaps()}, b_.answer);
  EXPECT_FALSE(refill(b_, a_)) << "what only it has closed is joined into its copy";
  EXPECT_EQ(b_.clock().base(9), 4U);
  auto clock = b_.clock();
  b_.start(2);
  EXPECT_EQ(b_.clock(), clock) << "after a restart";
}

TEST_F(Refill, ClosesNothingBesideACopy) {
  a_.apply({9, 2}, at(2), "k");
  EXPECT_FALSE(refill(a_, b_, 1));
  a_.work->close_gaps({here, a_.clock().gaps()}, a_.answer);
  EXPECT_EQ(a_.clock().base(9), 0U);
}

/// Below the cache of the shard, as a disk does it.
void damage(storage::store& store, const std::string& key, const std::string& object = {}) {
  auto batch = store.make_batch();
  if (object.empty())
    batch->erase(here, key);
  else
    batch->replace(here, key, object);
  ASSERT_TRUE(store.write(*batch).ok());
}

class Scrub : public Refill {
protected:
  static std::string reg(uint64_t counter, const std::string& value = "v") {
    return encode_lww({at(counter), {9, counter}, 0, false, value});
  }
  static uint64_t held(const std::string& object) { return protocol::hash_content(conflict_rule::lww, object, 0).held; }
  scrub_found look(const std::string& after, const std::string& until, uint32_t keys_max) {
    scrub_request request;
    request.about(1, here);
    request.after = after;
    request.until = until;
    request.keys_max = keys_max;
    request.bytes_max = 1000;
    request.list = true;
    scrub_found found;
    EXPECT_FALSE(a_.work->look(request, found, a_.answer));
    return found;
  }
  /// @returns how many keys were repaired; -1: refused as a whole.
  int64_t repair(const protocol::dot_clock& then, std::vector<key_repair> keys) {
    key_repairs request;
    request.about(1, here);
    request.clock = then.encode();
    request.keys = std::move(keys);
    keys_repaired done;
    if (a_.work->repair_keys(request, done, a_.answer))
      return -1;
    EXPECT_EQ(done.repaired + done.refused.size(), request.keys.size());
    return static_cast<int64_t>(done.repaired);
  }
  std::string stored(const std::string& key) { return a_.store->get(here, key).object.value_or(""); }
};

TEST_F(Scrub, LooksAtWhatIsStoredRangeByRange) {
  for (uint64_t i = 1; i < 6; ++i)
    a_.apply({9, i}, at(i), "k" + std::to_string(i));
  auto all = look("", "", 100);
  EXPECT_TRUE(all.end);
  EXPECT_EQ(all.keys, 5U);
  EXPECT_EQ(protocol::dot_clock::decode(all.clock), a_.clock());
  auto some = look("k1", "", 2);
  EXPECT_FALSE(some.end);
  EXPECT_EQ(some.until, "k3");
  EXPECT_EQ(some.hash, look("k1", "k3", 2).hash);
  EXPECT_TRUE(look("k1", "k3", 2).end);
  damage(*a_.store, "k2", reg(2, "w"));
  EXPECT_EQ(a_.read("k2"), 2) << "clients are answered from memory";
  EXPECT_NE(look("k1", "k3", 2).hash, some.hash);
}

TEST_F(Scrub, PutsWhatIsRightInThePlaceOfWhatIsWrong) {
  a_.apply({9, 1}, at(1), "lost");
  a_.apply({9, 2}, at(2), "rotten");
  a_.apply({9, 3}, at(3), "back", true);
  a_.settle(at(4)); // The tombstone is gone.
  damage(*a_.store, "lost");
  damage(*a_.store, "rotten", encode_lww({at(9), {9, 2}, 0, false, "rubbish"}));
  damage(*a_.store, "back", reg(1));
  auto clock = a_.clock();
  auto rotten = stored("rotten");
  EXPECT_EQ(repair(clock, {{"back", held(reg(1)), ""}, {"lost", 0, reg(1)}, {"rotten", held(rotten), reg(2)}}), 3);
  EXPECT_EQ(stored("back"), "");
  EXPECT_EQ(stored("lost"), reg(1));
  EXPECT_EQ(stored("rotten"), reg(2)) << "although it is older";
  EXPECT_EQ(a_.clock(), clock);
  for (const auto* key : {"back", "lost", "rotten"})
    EXPECT_EQ(a_.read(key), key[0] == 'b' ? 0 : key[0] == 'l' ? 1 : 2);
}

TEST_F(Scrub, RepairsNoKeyThatHasChanged) {
  a_.apply({9, 1}, at(1), "k");
  a_.apply({9, 2}, at(2), "other");
  damage(*a_.store, "k");
  auto then = a_.clock();
  EXPECT_EQ(repair(then, {{"k", held(reg(5)), reg(1)}}), 0) << "it holds something else";
  EXPECT_EQ(repair(then, {{"k", 0, reg(7)}}), 0) << "a write that it does not know";
  EXPECT_EQ(repair(then, {{"k", 0, "rubbish"}}), 0);
  a_.apply({9, 3}, at(3), "unrelated");
  a_.apply({9, 4}, at(4), "k");
  damage(*a_.store, "k");
  EXPECT_EQ(repair(then, {{"k", 0, reg(1)}}), 0) << "it has learned a newer write";
  EXPECT_EQ(stored("k"), "");
  EXPECT_EQ(repair(a_.clock(), {{"k", 0, encode_lww({at(4), {9, 4}, 0, false, "v"})}}), 1);
}

TEST_F(Scrub, RepairsNothingThatItsLogOrACopyDoesNotSpeakFor) {
  a_.apply({9, 1}, at(1), "k");
  auto then = a_.clock();
  a_.apply({9, 2}, at(2), "k");
  damage(*a_.store, "k");
  a_.settle();
  EXPECT_EQ(repair(then, {{"k", 0, reg(1)}}), 0) << "the log was trimmed";
  auto future = a_.clock();
  future.add(dot{9, 3});
  EXPECT_EQ(repair(future, {{"k", 0, reg(2)}}), 0) << "it has forgotten something";
  fill_request next;
  next.about(1, here);
  fill_page page;
  ASSERT_FALSE(a_.work->make_fill_page(next, page, a_.answer));
  EXPECT_EQ(repair(a_.clock(), {{"k", 0, reg(2)}}), 0) << "it is being copied";
  EXPECT_EQ(repair(a_.clock(), {{"k", 0, reg(2)}, {"a", 0, reg(2)}}), -1) << "malformed";
}

} // namespace
} // namespace crema
