// What it costs to read a little of much.
#include "storage/keys.hpp"
#include "storage/rocksdb_open.hpp"
#include "tests/storage/temporary_directory.hpp"

#include <rocksdb/perf_context.h>
#include <rocksdb/perf_level.h>

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace crema::storage::testing {

/// A refill reads a vnode page by page, and what it reads is not kept in the cache: it must not read the index of a
/// whole file for each of them.
TEST(ScanCost, APageOfAVnodeCostsLittleMoreThanItsBytesHoweverLargeTheFile) {
  temporary_directory directory;
  constexpr vnode_id vnode{0, 1};
  constexpr size_t keys = 40'000, value_bytes = 1000, page_keys = 16;
  auto path = directory / "db";
  auto key_of = [](size_t i) { return "key-" + std::to_string(keys + i); };
  {
    auto made = open_database(path, {}, true);
    ASSERT_TRUE(made.opened) << made.what.error;
    auto& db = *made.opened;
    std::mt19937_64 random{1};
    std::string value(value_bytes, '\0');
    for (size_t i = 0; i < keys; ++i) {
      for (auto& c : value)
        c = static_cast<char>(random());
      ASSERT_TRUE(db.db->Put({}, db.families[cf_data], data_key(vnode, key_of(i)), value).ok());
    }
    ASSERT_TRUE(db.db->CompactRange({}, db.families[cf_data], nullptr, nullptr).ok());
  }
  auto opened = open_rocksdb(path, {}, false);
  ASSERT_TRUE(opened.opened) << opened.what.error;
  auto scan = [&](const std::string& after) {
    size_t visited = 0;
    auto what = opened.opened->scan(vnode, after, [&](auto, auto) { return ++visited < page_keys; });
    EXPECT_TRUE(what.ok()) << what.error;
    EXPECT_EQ(visited, page_keys);
  };
  scan(""); // Opens the files.
  rocksdb::SetPerfLevel(rocksdb::PerfLevel::kEnableCount);
  rocksdb::get_perf_context()->Reset();
  scan(key_of(keys / 2));
  EXPECT_LT(rocksdb::get_perf_context()->block_read_byte, 2 * page_keys * value_bytes);
  rocksdb::SetPerfLevel(rocksdb::PerfLevel::kDisable);
}

} // namespace crema::storage::testing
