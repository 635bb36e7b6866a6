// How a memory_store survives crashes, and fails when told to.
#include "storage/memory_store.hpp"
#include "tests/storage/store_contents.hpp"

#include <gtest/gtest.h>

namespace crema::storage::testing {

namespace {

class MemoryStore : public ::testing::Test {
protected:
  /// Writes key and log entry in one batch.
  status write(uint64_t counter) {
    auto batch = store_->make_batch();
    batch->merge(here, "key", lww(counter, std::to_string(counter)));
    batch->log(here, {7, counter}, "key");
    return store_->write(*batch);
  }
  /// The value and the number of logged dots.
  std::pair<std::string, size_t> state() const {
    return {value_of(store_->get(here, "key")), log_of(*store_, here, {7, 1, last_counter}).size()};
  }
  void reopen() { store_ = open_memory(disk_); }

  std::shared_ptr<memory_disk> disk_ = make_memory_disk();
  std::unique_ptr<store> store_ = open_memory(disk_);
};

TEST_F(MemoryStore, KeepsUnsyncedWritesWhenTheProcessDies) {
  ASSERT_TRUE(write(1).ok());
  reopen();
  EXPECT_EQ(state(), std::make_pair(std::string{"1"}, size_t{1}));
}

TEST_F(MemoryStore, LosesExactlyTheUnsyncedWritesWhenTheMachineDies) {
  ASSERT_TRUE(write(1).ok());
  ASSERT_TRUE(store_->sync().ok());
  ASSERT_TRUE(write(2).ok());
  store_->request_sync();
  ASSERT_TRUE(write(3).ok());
  EXPECT_EQ(state(), std::make_pair(std::string{"3"}, size_t{3}));
  crash_machine(*disk_);
  reopen();
  EXPECT_EQ(state(), std::make_pair(std::string{"2"}, size_t{2}));
}

TEST_F(MemoryStore, KeepsAnyPrefixOfTheUnsyncedBatchesWhenTheMachineDies) {
  ASSERT_TRUE(write(1).ok());
  ASSERT_TRUE(store_->sync().ok());
  for (uint64_t i = 2; i <= 4; ++i)
    ASSERT_TRUE(write(i).ok());
  EXPECT_EQ(unsynced_batches(*disk_), 3U);
  crash_machine(*disk_, 2);
  reopen();
  EXPECT_EQ(state(), std::make_pair(std::string{"3"}, size_t{3}));
  EXPECT_EQ(unsynced_batches(*disk_), 0U);
  crash_machine(*disk_);
  reopen();
  EXPECT_EQ(state(), std::make_pair(std::string{"3"}, size_t{3})) << "what has survived is on disk";
}

TEST_F(MemoryStore, FailsToWriteWhileItsDiskIsFull) {
  ASSERT_TRUE(write(1).ok());
  set_full(*disk_, true);
  EXPECT_TRUE(is_full(*disk_));
  EXPECT_NE(write(2).error.find("space"), std::string::npos);
  set_full(*disk_, false);
  EXPECT_FALSE(write(2).ok()) << "a store that has failed goes on failing";
  reopen();
  EXPECT_TRUE(write(2).ok());
  EXPECT_EQ(state(), std::make_pair(std::string{"2"}, size_t{2}));
}

TEST_F(MemoryStore, ForgetsFaultsThatHaveNotStruckYet) {
  fail_writes(*disk_, 0);
  fail_syncs(*disk_, 0);
  set_full(*disk_, true);
  forget_faults(*disk_);
  EXPECT_TRUE(write(1).ok());
  EXPECT_TRUE(store_->sync().ok());
}

TEST_F(MemoryStore, LosesUnsyncedClocksTrimsAndNamesWhenTheMachineDies) {
  ASSERT_TRUE(write(1).ok());
  ASSERT_TRUE(store_->sync().ok());
  auto before = contents_of(*store_, {here}, {7}, {"name"});
  auto batch = store_->make_batch();
  batch->save_clock({5, 5}, {});
  batch->trim_log(here, {7, 1, 1});
  batch->put_meta("name", "value");
  ASSERT_TRUE(store_->write(*batch).ok());
  EXPECT_FALSE(contents_of(*store_, {here}, {7}, {"name"}) == before);
  crash_machine(*disk_);
  reopen();
  EXPECT_TRUE(contents_of(*store_, {here}, {7}, {"name"}) == before);
}

TEST_F(MemoryStore, WritesNothingOfABatchThatFailsAndNothingAfterIt) {
  fail_writes(*disk_, 1);
  EXPECT_TRUE(write(1).ok());
  EXPECT_FALSE(write(2).ok());
  EXPECT_FALSE(write(3).ok());
  EXPECT_FALSE(store_->sync().ok());
  EXPECT_EQ(state(), std::make_pair(std::string{"1"}, size_t{1}));
  reopen();
  EXPECT_TRUE(write(4).ok());
  EXPECT_EQ(state(), std::make_pair(std::string{"4"}, size_t{2}));
}

TEST_F(MemoryStore, ReportsAFailedBackgroundSyncAtTheNextWrite) {
  fail_syncs(*disk_, 0);
  ASSERT_TRUE(write(1).ok());
  store_->request_sync();
  auto what = write(2);
  EXPECT_NE(what.error.find("sync"), std::string::npos) << what.error;
  crash_machine(*disk_);
  reopen();
  EXPECT_EQ(state(), std::make_pair(std::string{"nothing"}, size_t{0}));
}

TEST_F(MemoryStore, ReportsAFailedSyncToItsCaller) {
  fail_syncs(*disk_, 1);
  EXPECT_TRUE(store_->sync().ok());
  EXPECT_FALSE(store_->sync().ok());
  EXPECT_FALSE(store_->sync().ok());
}

} // namespace

} // namespace crema::storage::testing
