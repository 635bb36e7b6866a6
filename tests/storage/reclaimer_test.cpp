// The space of dropped vnodes.
#include "storage/reclaimer.hpp"
#include "storage/rocksdb_batch.hpp"
#include "tests/storage/temporary_directory.hpp"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace crema::storage::testing {

namespace {

constexpr size_t vnodes = 8, keys = 6000, value_bytes = 1000;

vnode_id vnode(size_t i) { return {0, static_cast<partition_id>(i)}; }

void fill(database& db) {
  std::mt19937_64 random{1};
  std::string value(value_bytes, '\0');
  rocksdb_batch batch{db};
  for (size_t v = 0; v < vnodes; ++v)
    for (size_t i = 0; i < keys; ++i) {
      for (auto& c : value)
        c = static_cast<char>(random());
      batch.replace(vnode(v), "key-" + std::to_string(i), value);
      if (batch.bytes() < size_t{1} << 20 && i + 1 < keys)
        continue;
      ASSERT_TRUE(db.db->Write({}, &batch.raw()).ok());
      batch.clear();
    }
  ASSERT_TRUE(db.db->CompactRange({}, db.families[cf_data], nullptr, nullptr).ok());
}

double file_megabytes(database& db) {
  uint64_t bytes = 0;
  EXPECT_TRUE(db.db->GetIntProperty(db.families[cf_data], rocksdb::DB::Properties::kLiveSstFilesSize, &bytes));
  return static_cast<double>(bytes) / 1e6;
}

void drop(database& db, const std::set<vnode_id>& these) {
  rocksdb_batch batch{db};
  for (auto v : these)
    batch.drop_vnode(v);
  EXPECT_EQ(batch.dropped().size(), these.size());
  ASSERT_TRUE(db.db->Write({}, &batch.raw()).ok());
}

} // namespace

TEST(Reclaimer, GivesBackTheSpaceOfDroppedVnodesAndOfNothingElse) {
  temporary_directory directory;
  auto opened = open_database(directory / "db", {}, true);
  ASSERT_TRUE(opened.opened) << opened.what.error;
  auto& db = *opened.opened;
  fill(db);
  auto before = file_megabytes(db);
  EXPECT_GT(before, 45);
  const std::set<vnode_id> dropped{vnode(1), vnode(2), vnode(5), vnode(7)};
  drop(db, dropped);
  EXPECT_NEAR(file_megabytes(db), before, 1) << "nobody compacts";
  std::atomic<bool> stop{false};
  ASSERT_TRUE(reclaim(db, dropped, stop).ok());
  EXPECT_NEAR(file_megabytes(db), before / 2, 2);
  for (size_t v = 0; v < vnodes; ++v) {
    std::string value;
    auto found = db.db->Get({}, db.families[cf_data], data_key(vnode(v), "key-17"), &value);
    EXPECT_EQ(found.ok(), dropped.count(vnode(v)) == 0) << v;
  }
}

TEST(Reclaimer, LeavesALittleToLaterCompactions) {
  temporary_directory directory;
  auto opened = open_database(directory / "db", {}, true);
  ASSERT_TRUE(opened.opened) << opened.what.error;
  auto& db = *opened.opened;
  fill(db);
  auto before = file_megabytes(db);
  drop(db, {vnode(3)});
  std::atomic<bool> stop{false};
  ASSERT_TRUE(reclaim(db, {vnode(3)}, stop).ok());
  EXPECT_EQ(file_megabytes(db), before);
}

} // namespace crema::storage::testing
