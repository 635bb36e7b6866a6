// What every store does, on RocksDB and in memory.
#include "storage/memory_store.hpp"
#include "storage/rocksdb_store.hpp"
#include "tests/storage/store_contents.hpp"
#include "tests/storage/temporary_directory.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <iterator>
#include <limits>
#include <memory>

namespace crema::storage::testing {

namespace {

/// A disk on which a store can be opened, closed and opened again.
class backend {
public:
  virtual ~backend() = default;
  virtual std::unique_ptr<store> open() = 0;
};

class memory_backend final : public backend {
public:
  std::unique_ptr<store> open() override { return open_memory(disk_); }

private:
  std::shared_ptr<memory_disk> disk_ = make_memory_disk();
};

class rocksdb_backend final : public backend {
public:
  std::unique_ptr<store> open() override {
    auto result = open_rocksdb(directory_ / "db", {}, true);
    EXPECT_EQ(result.what.error, "");
    return std::move(result.opened);
  }

private:
  temporary_directory directory_;
};

struct kind {
  const char* name;
  std::function<std::unique_ptr<backend>()> make;
};

class Store : public ::testing::TestWithParam<kind> {
protected:
  void reopen() {
    store_.reset();
    store_ = backend_->open();
  }
  status write(const std::function<void(write_batch&)>& fill) {
    auto batch = store_->make_batch();
    fill(*batch);
    return store_->write(*batch);
  }

  std::unique_ptr<backend> backend_ = GetParam().make();
  std::unique_ptr<store> store_ = backend_->open();
};

TEST_P(Store, ReadsNothingForAKeyThatWasNeverWritten) {
  auto result = store_->get(here, "key");
  EXPECT_TRUE(result.what.ok());
  EXPECT_FALSE(result.object);
}

TEST_P(Store, ReadsBackASingleOperandUnchanged) {
  auto object = lww(1, "value");
  ASSERT_TRUE(put(*store_, here, "key", object).ok());
  EXPECT_EQ(store_->get(here, "key").object, object);
}

TEST_P(Store, JoinsOperandsInAnyOrder) {
  for (auto time : {2, 3, 1})
    ASSERT_TRUE(put(*store_, here, "key", lww(time, "value " + std::to_string(time))).ok());
  EXPECT_EQ(value_of(store_->get(here, "key")), "value 3");
}

TEST_P(Store, KeepsConcurrentSiblingsAndDropsReplacedOnes) {
  protocol::dot_clock seen;
  seen.add(dot{1, 1});
  ASSERT_TRUE(put(*store_, here, "key", sibling({1, 1}, "a")).ok());
  ASSERT_TRUE(put(*store_, here, "key", sibling({2, 1}, "b")).ok());
  ASSERT_TRUE(put(*store_, here, "key", sibling({3, 1}, "c", seen)).ok());
  auto object = protocol::decode_siblings(store_->get(here, "key").object.value_or(""));
  ASSERT_TRUE(object);
  ASSERT_EQ(object->siblings.size(), 2U);
  EXPECT_EQ(object->siblings[0].value, "b");
  EXPECT_EQ(object->siblings[1].value, "c");
}

TEST_P(Store, KeepsWhatWasWrittenAfterClosing) {
  ASSERT_TRUE(write([](write_batch& batch) {
                batch.merge(here, "key", lww(1, "old"));
                batch.log(here, {7, 1}, "key");
                batch.put_meta("name", "meta");
              }).ok());
  reopen();
  ASSERT_TRUE(put(*store_, here, "key", lww(2, "new")).ok());
  reopen();
  EXPECT_EQ(value_of(store_->get(here, "key")), "new");
  EXPECT_EQ(log_of(*store_, here, {7, 1, 9}).size(), 1U);
  EXPECT_EQ(store_->get_meta("name").object, "meta");
}

TEST_P(Store, JoinsAHotKeyWithoutLosingAWrite) {
  protocol::dot_clock seen;
  for (uint64_t i = 1; i <= 500; ++i) {
    ASSERT_TRUE(put(*store_, here, "hot", sibling({1, i}, std::to_string(i), seen)).ok());
    if (i % 10 != 0)
      seen.add(dot{1, i});
  }
  auto object = protocol::decode_siblings(store_->get(here, "hot").object.value_or(""));
  ASSERT_TRUE(object);
  EXPECT_EQ(object->siblings.size(), 50U); // Those whose dot no later write has seen: 10, 20, ... 500.
}

TEST_P(Store, ReadsWhatAMergeIsKnownToGive) {
  ASSERT_TRUE(put(*store_, here, "key", sibling({1, 1}, "a")).ok());
  auto both = protocol::join_encoded(sibling({1, 1}, "a"), sibling({2, 1}, "b"));
  ASSERT_TRUE(write([&](write_batch& batch) { batch.merge_known(here, "key", sibling({2, 1}, "b"), *both); }).ok());
  EXPECT_EQ(store_->get(here, "key").object, both);
  ASSERT_TRUE(put(*store_, here, "key", sibling({3, 1}, "c")).ok());
  auto object = protocol::decode_siblings(store_->get(here, "key").object.value_or(""));
  ASSERT_TRUE(object);
  EXPECT_EQ(object->siblings.size(), 3U);
}

TEST_P(Store, RefusesToReadAKeyWithAMalformedOperandButReadsOthers) {
  ASSERT_TRUE(put(*store_, here, "good", lww(1, "value")).ok());
  ASSERT_TRUE(put(*store_, here, "single", "\xff garbage").ok());
  ASSERT_TRUE(put(*store_, here, "mixed", lww(1, "value")).ok());
  ASSERT_TRUE(put(*store_, here, "mixed", "\xff garbage").ok());
  EXPECT_FALSE(store_->get(here, "single").what.ok());
  EXPECT_FALSE(store_->get(here, "mixed").what.ok());
  auto many = store_->get_many({{here, "mixed"}, {here, "good"}});
  EXPECT_FALSE(many[0].what.ok());
  EXPECT_EQ(value_of(many[1]), "value");
  EXPECT_FALSE(store_->scan(here, "", [](auto, auto) { return true; }).ok());
}

TEST_P(Store, RefusesToJoinObjectsOfDifferentKinds) {
  ASSERT_TRUE(put(*store_, here, "key", lww(1, "value")).ok());
  ASSERT_TRUE(put(*store_, here, "key", sibling({1, 2}, "b")).ok());
  EXPECT_FALSE(store_->get(here, "key").what.ok());
}

TEST_P(Store, ReadsManyKeysInTheOrderAskedForWithGapsForMissingOnes) {
  const vnode_id there{3, 5};
  ASSERT_TRUE(put(*store_, here, "a", lww(1, "here a")).ok());
  ASSERT_TRUE(put(*store_, there, "a", lww(1, "there a")).ok());
  ASSERT_TRUE(put(*store_, here, "b", lww(1, "here b")).ok());
  auto results = store_->get_many({{here, "b"}, {there, "b"}, {there, "a"}, {here, "a"}, {here, "b"}});
  std::vector<std::string> values;
  std::transform(results.begin(), results.end(), std::back_inserter(values), value_of);
  EXPECT_EQ(values, (std::vector<std::string>{"here b", "nothing", "there a", "here a", "here b"}));
  EXPECT_TRUE(store_->get_many({}).empty());
}

TEST_P(Store, TellsKeysOfNeighbouringVnodesApart) {
  // Big-endian prefixes whose bytes run into each other and into the key.
  const std::vector<vnode_id> vnodes{{0, 0},     {0, 255},   {0, 256},    {0, 0xFFFF},      {1, 0},
                                     {255, 256}, {256, 255}, {0xFFFF, 0}, {0xFFFF, 0xFFFE}, {0xFFFF, 0xFFFF}};
  const std::vector<std::string> keys{std::string(1, '\0'),  std::string("\0\0", 2), "\xff", "\xff\xff", "k",
                                      std::string("k\0", 2), std::string("k\0\0", 3)};
  for (auto vnode : vnodes)
    for (const auto& key : keys)
      ASSERT_TRUE(
          put(*store_, vnode, key, lww(1, std::to_string(vnode.bucket) + "/" + std::to_string(vnode.partition) + key))
              .ok());
  for (auto vnode : vnodes) {
    auto found = all_of(*store_, vnode);
    ASSERT_EQ(found.size(), keys.size());
    for (const auto& [key, object] : found)
      EXPECT_EQ(value_of({object, {}}), std::to_string(vnode.bucket) + "/" + std::to_string(vnode.partition) + key);
  }
  EXPECT_TRUE(all_of(*store_, {0, 1}).empty());
}

TEST_P(Store, ScansInKeyOrderFromAfterAKeyUntilTold) {
  for (const auto* key : {"b", "a", "ba", "c"})
    ASSERT_TRUE(put(*store_, here, key, lww(1, key)).ok());
  ASSERT_TRUE(put(*store_, here, std::string("b\0", 2), lww(1, "b0")).ok());
  std::vector<std::string> keys;
  auto what = store_->scan(here, "b", [&](std::string_view key, std::string_view) {
    keys.emplace_back(key);
    return keys.size() < 2;
  });
  EXPECT_TRUE(what.ok());
  EXPECT_EQ(keys, (std::vector<std::string>{std::string("b\0", 2), "ba"}));
  EXPECT_TRUE(all_of(*store_, here, "c").empty());
}

TEST_P(Store, ShowsAScanTheMomentItBegan) {
  for (const auto* key : {"a", "b", "c"})
    ASSERT_TRUE(put(*store_, here, key, lww(1, "old")).ok());
  entries seen;
  auto what = store_->scan(here, "", [&](std::string_view key, std::string_view object) {
    seen.emplace_back(key, value_of({std::string{object}, {}}));
    EXPECT_TRUE(put(*store_, here, "b", lww(2, "new")).ok());
    EXPECT_TRUE(put(*store_, here, "d", lww(2, "new")).ok());
    return true;
  });
  EXPECT_TRUE(what.ok());
  EXPECT_EQ(seen, (entries{{"a", "old"}, {"b", "old"}, {"c", "old"}}));
}

TEST_P(Store, HoldsTheLongestKeysAndBigValues) {
  std::string key(key_bytes_max, 'k'), value(value_bytes_max, 'v');
  key.back() = '\xff';
  ASSERT_TRUE(write([&](write_batch& batch) {
                batch.merge(here, key, lww(1, value));
                batch.log(here, {7, 1}, key);
              }).ok());
  reopen();
  EXPECT_TRUE(value_of(store_->get(here, key)) == value);
  auto log = log_of(*store_, here, {7, 1, 1});
  ASSERT_EQ(log.size(), 1U);
  EXPECT_TRUE(log[0].second == key);
}

TEST_P(Store, ScansTheLogOfOneReplicaWithinARangeInCounterOrder) {
  ASSERT_TRUE(write([](write_batch& batch) {
                for (uint64_t counter : {300, 2, 255, 256, 1})
                  batch.log(here, {7, counter}, "key " + std::to_string(counter));
                batch.log(here, {6, 255}, "another replica");
                batch.log(here, {8, 255}, "another replica");
                batch.log({3, 5}, {7, 255}, "another vnode");
                batch.log(here, {~0ULL, ~0ULL}, "the last one");
              }).ok());
  auto found = log_of(*store_, here, {7, 2, 256});
  ASSERT_EQ(found.size(), 3U);
  EXPECT_EQ(found[0], std::make_pair(dot{7, 2}, std::string{"key 2"}));
  EXPECT_EQ(found[1], std::make_pair(dot{7, 255}, std::string{"key 255"}));
  EXPECT_EQ(found[2], std::make_pair(dot{7, 256}, std::string{"key 256"}));
  EXPECT_EQ(log_of(*store_, here, {~0ULL, 1, ~0ULL}).size(), 1U);
  EXPECT_TRUE(log_of(*store_, here, {7, 3, 2}).empty());
  std::vector<dot> in_all;
  EXPECT_TRUE(
      store_
          ->scan_log(here,
                     {{6, 1, 254}, {7, 2, 2}, {7, 3, 254}, {7, 256, 300}, {7, 302, 301}, {9, 1, 9}, {~0ULL, 1, ~0ULL}},
                     [&](const dot& d, std::string_view) {
                       in_all.push_back(d);
                       return true;
                     })
          .ok());
  EXPECT_EQ(in_all, (std::vector<dot>{{7, 2}, {7, 256}, {7, 300}, {~0ULL, ~0ULL}}));
  size_t visits = 0;
  EXPECT_TRUE(store_->scan_log(here, {{7, 1, 300}}, [&](const dot&, auto) { return ++visits < 2; }).ok());
  EXPECT_EQ(visits, 2U);
}

TEST_P(Store, RemovesADotFromTheLog) {
  ASSERT_TRUE(write([](write_batch& batch) {
                batch.log(here, {7, 1}, "a");
                batch.log(here, {7, 2}, "b");
              }).ok());
  ASSERT_TRUE(write([](write_batch& batch) { batch.trim_log(here, {7, 1, 1}); }).ok());
  auto left = log_of(*store_, here, {7, 1, 9});
  ASSERT_EQ(left.size(), 1U);
  EXPECT_EQ(left[0].first, (dot{7, 2}));
}

TEST_P(Store, TrimsARangeOfOneReplicasDots) {
  ASSERT_TRUE(write([](write_batch& batch) {
                for (uint64_t counter : {1, 2, 255, 256})
                  batch.log(here, {7, counter}, "k");
                batch.log(here, {8, 2}, "k");
                batch.log({3, 5}, {7, 2}, "k");
              }).ok());
  ASSERT_TRUE(write([](write_batch& batch) { batch.trim_log(here, {7, 2, 255}); }).ok());
  reopen();
  auto left = log_of(*store_, here, {7, 1, last_counter});
  ASSERT_EQ(left.size(), 2U);
  EXPECT_EQ(left[0].first, (dot{7, 1}));
  EXPECT_EQ(left[1].first, (dot{7, 256}));
  EXPECT_EQ(log_of(*store_, here, {8, 1, 9}).size(), 1U);
  EXPECT_EQ(log_of(*store_, {3, 5}, {7, 1, 9}).size(), 1U);
}

TEST_P(Store, ReplacesAndErasesWithoutJoining) {
  ASSERT_TRUE(put(*store_, here, "a", lww(9, "newer")).ok());
  ASSERT_TRUE(put(*store_, here, "b", lww(9, "newer")).ok());
  ASSERT_TRUE(write([](write_batch& batch) {
                batch.replace(here, "a", lww(1, "older"));
                batch.erase(here, "b");
              }).ok());
  EXPECT_EQ(value_of(store_->get(here, "a")), "older");
  EXPECT_FALSE(store_->get(here, "b").object);
  ASSERT_TRUE(put(*store_, here, "b", lww(2, "again")).ok());
  EXPECT_EQ(value_of(store_->get(here, "b")), "again");
}

TEST_P(Store, VisitsGravesInTheOrderInWhichTheyAreDue) {
  ASSERT_TRUE(write([](write_batch& batch) {
                batch.bury(here, 300, "c");
                batch.bury(here, 255, "a");
                batch.bury(here, 256, "b");
                batch.bury({3, 5}, 1, "another vnode");
              }).ok());
  auto due = graves_of(*store_, here, 256);
  ASSERT_EQ(due.size(), 2U);
  EXPECT_EQ(due[0], std::make_pair(timestamp{255}, std::string{"a"}));
  EXPECT_EQ(due[1], std::make_pair(timestamp{256}, std::string{"b"}));
  ASSERT_TRUE(write([](write_batch& batch) { batch.unbury(here, 255, "a"); }).ok());
  EXPECT_EQ(graves_of(*store_, here).size(), 2U);
}

TEST_P(Store, KeepsNothingButTheRecordWhenAVnodeIsDropped) {
  protocol::dot_clock clock;
  clock.add(dot{7, 1});
  ASSERT_TRUE(write([&](write_batch& batch) {
                batch.merge(here, "k", lww(1, "v"));
                batch.log(here, {7, 1}, "k");
                batch.save_clock(here, clock);
                batch.bury(here, 5, "k");
                batch.save_record(here, "record");
                batch.merge({3, 5}, "k", lww(1, "neighbour"));
                batch.log({3, 5}, {7, 1}, "k");
              }).ok());
  ASSERT_TRUE(write([](write_batch& batch) {
                batch.drop_vnode(here);
                batch.log(here, {9, 1}, "after the drop");
              }).ok());
  reopen();
  EXPECT_TRUE(all_of(*store_, here).empty());
  EXPECT_TRUE(graves_of(*store_, here).empty());
  EXPECT_TRUE(log_of(*store_, here, {7, 1, 9}).empty());
  EXPECT_EQ(log_of(*store_, here, {9, 1, 9}).size(), 1U);
  auto clocks = store_->load_clocks().clocks;
  ASSERT_EQ(clocks.size(), 2U);
  EXPECT_FALSE(clocks[0].second.contains({7, 1}));
  auto records = store_->load_records().records;
  ASSERT_EQ(records.size(), 1U);
  EXPECT_EQ(records[0], std::make_pair(here, std::string{"record"}));
  EXPECT_EQ(value_of(store_->get({3, 5}, "k")), "neighbour");
}

/// The first and the last of all that a vnode can hold, with three keys and two dots.
void fill_to_both_ends(write_batch& batch, vnode_id vnode) {
  for (const auto& key : {std::string(1, '\0'), std::string{"k"}, std::string(key_bytes_max, '\xff')}) {
    batch.merge(vnode, key, lww(1, "value"));
    batch.bury(vnode, 0, key);
    batch.bury(vnode, std::numeric_limits<timestamp>::max(), key);
  }
  protocol::dot_clock clock;
  for (auto d : {dot{1, 1}, dot{~0ULL, last_counter}}) {
    batch.log(vnode, d, "k");
    clock.add(d);
  }
  batch.save_clock(vnode, clock);
}

/// Entries of `data`, `graves` and `log`.
std::vector<size_t> sizes(const store& s, vnode_id vnode) {
  return {all_of(s, vnode).size(), graves_of(s, vnode).size(),
          log_of(s, vnode, {1, 0, last_counter}).size() + log_of(s, vnode, {~0ULL, 0, last_counter}).size()};
}

TEST_P(Store, DropsAllOfOnePlaceOfAVnodeAndNothingOfTheOther) {
  for (bucket_id bucket : {0, 255, 0xFFFF})
    for (partition_id partition : {0, 255, 0x7FFF, 0x8000, 0x80FF, 0xFFFF}) {
      vnode_id dropped{bucket, partition};
      auto left = other_place(dropped);
      SCOPED_TRACE(std::to_string(bucket) + "/" + std::to_string(partition));
      ASSERT_TRUE(write([&](write_batch& batch) {
                    fill_to_both_ends(batch, dropped);
                    fill_to_both_ends(batch, left);
                  }).ok());
      ASSERT_EQ(sizes(*store_, dropped), (std::vector<size_t>{3, 6, 2}));
      ASSERT_TRUE(write([&](write_batch& batch) { batch.drop_vnode(dropped); }).ok());
      EXPECT_EQ(sizes(*store_, dropped), (std::vector<size_t>{0, 0, 0}));
      EXPECT_EQ(sizes(*store_, left), (std::vector<size_t>{3, 6, 2}));
      auto clocks = store_->load_clocks().clocks;
      ASSERT_EQ(clocks.size(), 1U);
      EXPECT_EQ(clocks[0].first, left);
      ASSERT_TRUE(write([&](write_batch& batch) { batch.drop_vnode(left); }).ok());
    }
}

TEST_P(Store, TellsHowFarItsWritesAreOnDisk) {
  ASSERT_TRUE(put(*store_, here, "key", lww(1, "value")).ok());
  auto written = store_->written();
  EXPECT_LT(store_->synced(), written);
  ASSERT_TRUE(store_->sync().ok());
  EXPECT_GE(store_->synced(), written);
  EXPECT_EQ(store_->written(), written);
}

TEST_P(Store, KnowsAsClockTheSavedOneAndTheLog) {
  protocol::dot_clock saved;
  saved.add(protocol::dot_range{7, 1, 10});
  saved.add(dot{9, 4});
  ASSERT_TRUE(write([&](write_batch& batch) {
                batch.save_clock(here, saved);
                batch.log(here, {7, 10}, "below the base");
                batch.log(here, {7, 11}, "k");
                batch.log(here, {7, 13}, "k");
                batch.log(here, {8, 2}, "k");
                batch.log(here, {9, 4}, "k");
                batch.log({0, 1}, {5, 1}, "k");
              }).ok());
  reopen();
  auto expected = saved;
  for (auto d : {dot{7, 11}, dot{7, 13}, dot{8, 2}})
    expected.add(d);
  protocol::dot_clock other;
  other.add(dot{5, 1});
  auto loaded = store_->load_clocks();
  ASSERT_TRUE(loaded.what.ok()) << loaded.what.error;
  ASSERT_EQ(loaded.clocks.size(), 2U);
  EXPECT_EQ(loaded.clocks[0], std::make_pair(vnode_id({0, 1}), other));
  EXPECT_EQ(loaded.clocks[1], std::make_pair(here, expected));
}

TEST_P(Store, KnowsTheSameClockAfterTheLogIsTrimmed) {
  protocol::dot_clock clock;
  ASSERT_TRUE(write([&](write_batch& batch) {
                for (uint64_t counter = 1; counter <= 100; ++counter) {
                  batch.log(here, {7, counter}, "k");
                  clock.add(dot{7, counter});
                }
              }).ok());
  ASSERT_TRUE(write([&](write_batch& batch) {
                batch.save_clock(here, clock);
                for (uint64_t counter = 1; counter <= 60; ++counter)
                  batch.trim_log(here, {7, counter, counter});
              }).ok());
  reopen();
  auto loaded = store_->load_clocks();
  ASSERT_EQ(loaded.clocks.size(), 1U);
  EXPECT_EQ(loaded.clocks[0].second, clock);
}

TEST_P(Store, KeepsAdministrativeValuesApartFromClocks) {
  protocol::dot_clock clock;
  clock.add(dot{1, 1});
  ASSERT_TRUE(write([&](write_batch& batch) {
                batch.save_clock(here, clock);
                batch.put_meta("clock/abcd", "not a clock");
                batch.put_meta("format", "not the format");
                batch.put_meta("", "no name");
              }).ok());
  reopen();
  EXPECT_EQ(store_->load_clocks().clocks.size(), 1U);
  EXPECT_EQ(store_->get_meta("clock/abcd").object, "not a clock");
  EXPECT_EQ(store_->get_meta("").object, "no name");
  EXPECT_FALSE(store_->get_meta("missing").object);
  EXPECT_TRUE(store_->get_meta("missing").what.ok());
}

TEST_P(Store, CountsAndClearsABatchAndWritesItOnlyWhenAsked) {
  auto batch = store_->make_batch();
  EXPECT_EQ(batch->operations(), 0U);
  auto empty = batch->bytes();
  batch->merge(here, "key", lww(1, "value"));
  batch->log(here, {7, 1}, "key");
  EXPECT_EQ(batch->operations(), 2U);
  EXPECT_GT(batch->bytes(), empty);
  EXPECT_FALSE(store_->get(here, "key").object);
  batch->clear();
  EXPECT_EQ(batch->operations(), 0U);
  EXPECT_EQ(batch->bytes(), empty);
  EXPECT_TRUE(store_->write(*batch).ok());
  EXPECT_FALSE(store_->get(here, "key").object);
}

TEST_P(Store, SyncsInTheForegroundAndInTheBackground) {
  ASSERT_TRUE(put(*store_, here, "key", lww(1, "value")).ok());
  store_->request_sync();
  store_->request_sync();
  EXPECT_TRUE(store_->sync().ok());
  ASSERT_TRUE(put(*store_, here, "key", lww(2, "newer")).ok());
  store_->request_sync();
  reopen();
  EXPECT_EQ(value_of(store_->get(here, "key")), "newer");
}

INSTANTIATE_TEST_SUITE_P(Every, Store,
                         ::testing::Values(kind{"RocksDB", [] { return std::make_unique<rocksdb_backend>(); }},
                                           kind{"Memory", [] { return std::make_unique<memory_backend>(); }}),
                         [](const auto& instance) { return std::string{instance.param.name}; });

} // namespace

} // namespace crema::storage::testing
