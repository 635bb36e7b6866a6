#include "storage/cached_store.hpp"

#include "storage/memory_disk.hpp"
#include "storage/memory_store.hpp"
#include "storage/rocksdb_store.hpp"
#include "tests/storage/store_contents.hpp"
#include "tests/storage/temporary_directory.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>

namespace crema::storage::testing {

namespace {

/// Counts what reaches the store.
class counted_store final : public store {
public:
  explicit counted_store(std::unique_ptr<store> below) : below_(std::move(below)) {}
  std::unique_ptr<write_batch> make_batch() const override { return below_->make_batch(); }
  status write(write_batch& batch) override { return below_->write(batch); }
  status sync() override { return below_->sync(); }
  void request_sync() override { below_->request_sync(); }
  read_result get(vnode_id vnode, std::string_view key) const override {
    ++reads;
    return below_->get(vnode, key);
  }
  std::vector<read_result> get_many(const std::vector<key_ref>& keys) const override {
    reads += keys.size();
    return below_->get_many(keys);
  }
  status scan(vnode_id vnode, std::string_view after,
              const std::function<bool(std::string_view, std::string_view)>& visit) const override {
    return below_->scan(vnode, after, visit);
  }
  status scan_log(vnode_id vnode, const std::vector<protocol::dot_range>& ranges,
                  const std::function<bool(const dot&, std::string_view)>& visit) const override {
    return below_->scan_log(vnode, ranges, visit);
  }
  status scan_graves(vnode_id vnode, timestamp until,
                     const std::function<bool(timestamp, std::string_view)>& visit) const override {
    return below_->scan_graves(vnode, until, visit);
  }
  clocks_result load_clocks() const override { return below_->load_clocks(); }
  records_result load_records() const override { return below_->load_records(); }
  uint64_t written() const override { return below_->written(); }
  status health() const override { return below_->health(); }
  uint64_t synced() const override { return below_->synced(); }
  read_result get_meta(std::string_view name) const override { return below_->get_meta(name); }

  mutable size_t reads = 0;

private:
  std::unique_ptr<store> below_;
};

class CachedStore : public ::testing::Test {
protected:
  std::string read(std::string_view key) { return value_of(cached_.get(here, key)); }
  std::string stored(std::string_view key) { return value_of(below_->get(here, key)); }

  std::shared_ptr<memory_disk> disk_ = make_memory_disk();
  std::shared_ptr<counted_store> below_ = std::make_shared<counted_store>(open_memory(disk_));
  cached_store cached_{below_, 1 << 20};
};

TEST_F(CachedStore, ReadsAKeyFromTheStoreOnce) {
  ASSERT_TRUE(put(*below_, here, "key", lww(1, "value")).ok());
  EXPECT_EQ(read("key"), "value");
  EXPECT_EQ(read("key"), "value");
  EXPECT_EQ(read("none"), "nothing");
  EXPECT_EQ(read("none"), "nothing");
  EXPECT_EQ(below_->reads, 2U);
  EXPECT_EQ(cached_.hits(), 2U);
  EXPECT_EQ(cached_.misses(), 2U);
}

TEST_F(CachedStore, ReadsNothingToWrite) {
  cached_.batch().merge(here, "key", lww(1, "value"));
  ASSERT_TRUE(cached_.write().ok());
  EXPECT_EQ(below_->reads, 0U);
  EXPECT_EQ(stored("key"), "value");
}

TEST_F(CachedStore, ShowsAWriteWhenItIsWrittenAndNotBefore) {
  cached_.batch().merge(here, "key", lww(1, "old"));
  ASSERT_TRUE(cached_.write().ok());
  ASSERT_EQ(read("key"), "old");
  cached_.batch().merge(here, "key", lww(2, "new"));
  EXPECT_EQ(read("key"), "old");
  ASSERT_TRUE(cached_.write().ok());
  EXPECT_EQ(read("key"), "new");
  EXPECT_EQ(stored("key"), "new");
}

TEST_F(CachedStore, LetsTheLaterOfTwoRegistersWinInWhateverOrderTheyCome) {
  ASSERT_EQ(read("key"), "nothing");
  for (auto time : {2, 3, 1}) {
    cached_.batch().merge(here, "key", lww(time, "value " + std::to_string(time)));
    ASSERT_TRUE(cached_.write().ok());
  }
  EXPECT_EQ(read("key"), "value 3");
  EXPECT_EQ(stored("key"), "value 3");
}

TEST_F(CachedStore, JoinsTwoWritesOfOneBatch) {
  for (bool known : {false, true}) {
    auto key = known ? "known" : "unknown";
    if (known) {
      ASSERT_EQ(read(key), "nothing");
    }
    cached_.batch().merge(here, key, sibling({1, 1}, "a"));
    cached_.batch().merge(here, key, sibling({2, 1}, "b"));
    cached_.batch().merge(here, key, sibling({3, 1}, "c"));
    ASSERT_TRUE(cached_.write().ok());
    auto object = cached_.get(here, key).object;
    EXPECT_EQ(object, below_->get(here, key).object);
    EXPECT_EQ(protocol::decode_siblings(object.value_or(""))->siblings.size(), 3U);
  }
}

TEST_F(CachedStore, DoesNotBuildOnWhatIsReadWhileAnEarlierWriteWaits) {
  cached_.batch().merge(here, "key", sibling({1, 1}, "a"));
  ASSERT_FALSE(cached_.get(here, "key").object); // Not there yet; and that must not be remembered.
  cached_.batch().merge(here, "key", sibling({2, 1}, "b"));
  ASSERT_TRUE(cached_.write().ok());
  EXPECT_EQ(protocol::decode_siblings(cached_.get(here, "key").object.value_or(""))->siblings.size(), 2U);
  EXPECT_TRUE(below_->get(here, "key").what.ok());
}

TEST_F(CachedStore, ReadsAKeyThatWasMergedBlindTooOften) {
  for (uint64_t i = 1; i <= uint64_t{10} * cached_store::blind_max; ++i) {
    cached_.batch().merge(here, "hot", lww(i, std::to_string(i)));
    ASSERT_TRUE(cached_.write().ok());
  }
  EXPECT_EQ(below_->reads, 1U);
  EXPECT_EQ(read("hot"), "160");
  EXPECT_EQ(stored("hot"), "160");
}

TEST_F(CachedStore, KeepsManySiblingsAsTheyWereWritten) {
  for (uint64_t i = 1; i <= 60; ++i) {
    cached_.batch().merge(here, "key", sibling({i, 1}, std::string(100, 'x')));
    ASSERT_TRUE(cached_.write().ok());
  }
  size_t written = 0;
  for (const auto& batch : disk_->unsynced)
    for (const auto& effect : batch)
      if (const auto* whole = std::get_if<merge_known_effect>(&effect); whole != nullptr)
        written += whole->object.size();
  EXPECT_LT(written, 1000U);
  EXPECT_EQ(protocol::decode_siblings(cached_.get(here, "key").object.value_or(""))->siblings.size(), 60U);
}

TEST_F(CachedStore, KnowsNothingAfterAFailedWrite) {
  ASSERT_EQ(read("key"), "nothing");
  fail_writes(*disk_, 0);
  cached_.batch().merge(here, "key", lww(1, "value"));
  EXPECT_FALSE(cached_.write().ok());
  EXPECT_EQ(read("key"), "nothing");
  EXPECT_EQ(below_->reads, 2U);
  EXPECT_EQ(cached_.batch().operations(), 0U);
}

TEST_F(CachedStore, ReportsAKeyThatCannotBeRead) {
  ASSERT_EQ(read("bad"), "nothing");
  cached_.batch().merge(here, "bad", "\xff garbage");
  cached_.batch().merge(here, "good", lww(1, "value"));
  ASSERT_TRUE(cached_.write().ok());
  for (int i = 0; i < 2; ++i)
    EXPECT_EQ(read("bad").substr(0, 5), "error");
  EXPECT_EQ(read("good"), "value");
}

/// Some keys, so that they meet; more than a small cache holds.
std::string some_key() { return "key " + std::to_string(*rc::gen::inRange(0, 12)); }

/// Registers in even partitions, siblings in odd ones, now and then large.
std::string some_operand(vnode_id vnode, uint64_t counter) {
  std::string value(*rc::gen::element<size_t>(1, 1, 1, 100, 700), 'x');
  auto replica = *rc::gen::inRange<uint64_t>(1, 4);
  if (vnode.partition % 2 == 0)
    return lww(*rc::gen::inRange<uint64_t>(1, 50), value, replica);
  protocol::dot_clock seen;
  for (uint64_t r = 1; r < 4; ++r)
    if (auto last = *rc::gen::inRange<uint64_t>(0, counter); last > 0)
      seen.add(protocol::dot_range{r, 1, last});
  return sibling({replica, counter}, value, seen);
}

void behaves_like_a_plain_store(std::unique_ptr<store> below, size_t cache_bytes) {
  cached_store cached{std::shared_ptr<store>{std::move(below)}, cache_bytes};
  auto plain = open_memory(make_memory_disk());
  auto waiting = plain->make_batch();
  uint64_t counter = 1;
  auto steps = *rc::gen::inRange(1, 200);
  for (int i = 0; i < steps; ++i) {
    vnode_id vnode{1, *rc::gen::element<partition_id>(0, 1, 0x8000)};
    auto what = *rc::gen::inRange(0, 12);
    if (what < 4) {
      auto key = some_key();
      auto operand = some_operand(vnode, ++counter);
      cached.batch().merge(vnode, key, operand);
      waiting->merge(vnode, key, operand);
    } else if (what == 8) {
      auto key = some_key();
      cached.batch().erase(vnode, key);
      waiting->erase(vnode, key);
    } else if (what == 9) {
      auto key = some_key();
      auto object = some_operand(vnode, ++counter);
      cached.batch().replace(vnode, key, object);
      waiting->replace(vnode, key, object);
    } else if (what == 10 && *rc::gen::inRange(0, 4) == 0) {
      cached.batch().drop_vnode(vnode);
      waiting->drop_vnode(vnode);
    } else if (what < 6) {
      RC_ASSERT(cached.write().ok());
      RC_ASSERT(plain->write(*waiting).ok());
      waiting->clear();
    } else {
      std::vector<std::string> keys{some_key(), some_key(), some_key()};
      std::vector<store::key_ref> refs{{vnode, keys[0]}, {vnode, keys[1]}, {vnode, keys[2]}};
      auto expected = plain->get_many(refs);
      size_t visited = 0;
      cached.read(refs, [&](size_t at, std::string_view object, const status& read) {
        RC_ASSERT(at == visited++);
        RC_ASSERT(read.ok());
        RC_ASSERT(object == expected[at].object.value_or(""));
      });
      RC_ASSERT(visited == refs.size());
    }
  }
}

TEST(CachedStoreLaws, BehavesLikeTheStoreAlone) {
  EXPECT_TRUE(rc::check("in memory", [] {
    behaves_like_a_plain_store(open_memory(make_memory_disk()), *rc::gen::element<size_t>(0, 2'000, 8'000, 1 << 20));
  }));
  EXPECT_TRUE(rc::check("on RocksDB", [] {
    temporary_directory directory;
    rocksdb_options small;
    small.memtable_bytes = 128 << 10;
    behaves_like_a_plain_store(open_rocksdb(directory / "db", small, true).opened,
                               *rc::gen::element<size_t>(2'000, 8'000, 1 << 20));
  }));
}

} // namespace

} // namespace crema::storage::testing
