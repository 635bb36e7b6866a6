// What rocksdb_store refuses, and what it takes up again after a crash. A crash is a copy of the directory of an open
// store: what the kernel holds at that moment.
#include "storage/keys.hpp"
#include "storage/rocksdb_store.hpp"
#include "storage/rocksdb_tuning.hpp"
#include "tests/storage/store_contents.hpp"
#include "tests/storage/temporary_directory.hpp"

#include <gtest/gtest.h>
#include <rocksdb/db.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

namespace crema::storage::testing {

namespace {

namespace fs = std::filesystem;

std::string name(uint64_t i) { return "key " + std::to_string(1000 + i); }

std::string read(const fs::path& path) {
  std::ifstream in{path, std::ios::binary};
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

void overwrite(const fs::path& path, const std::string& bytes) {
  std::ofstream{path, std::ios::binary | std::ios::trunc} << bytes;
}

void flip(const fs::path& path, size_t position) {
  auto bytes = read(path);
  bytes.at(position) = static_cast<char>(bytes.at(position) ^ 0x55);
  overwrite(path, bytes);
}

class RocksdbDamage : public ::testing::Test {
protected:
  RocksdbDamage() {
    spdlog::default_logger()->set_level(spdlog::level::err);
  } // A warning per crash would bury the results.

  static rocksdb_options options(const std::string& boot) {
    rocksdb_options result;
    result.boot_id = boot;
    return result;
  }
  static open_result open(const std::string& path, bool create = false, const std::string& boot = "boot 1") {
    return open_rocksdb(path, options(boot), create);
  }
  /// Writes the keys first..last, each with its log entry in a batch of its own.
  static void write(store& s, uint64_t first, uint64_t last) {
    for (auto i = first; i <= last; ++i) {
      auto batch = s.make_batch();
      batch->merge(here, name(i), lww(i, std::string(100, 'v') + std::to_string(i)));
      batch->log(here, {7, i}, name(i));
      ASSERT_TRUE(s.write(*batch).ok());
    }
  }
  /// The crash of a store that wrote and synced the first `synced` keys, then wrote up to `written`.
  std::string crashed(uint64_t synced, uint64_t written) {
    auto path = directory_ / "original";
    fs::remove_all(path);
    auto opened = open(path, true);
    EXPECT_EQ(opened.what.error, "");
    write(*opened.opened, 1, synced);
    EXPECT_TRUE(opened.opened->sync().ok());
    synced_bytes_ = fs::file_size(newest(path, ".log"));
    write(*opened.opened, synced + 1, written);
    return copy(path);
  }
  /// A closed database whose keys are all in table files.
  std::string flushed(uint64_t keys) {
    auto path = crashed(keys, keys);
    EXPECT_EQ(open(path).what.error, ""); // Replaying flushes.
    return path;
  }
  std::string copy(const std::string& from) {
    auto to = directory_ / "copy";
    fs::remove_all(to);
    fs::copy(from, to, fs::copy_options::recursive);
    return to;
  }
  /// The newest file whose name contains `part`.
  static fs::path newest(const fs::path& in, const std::string& part) {
    auto found = files(in, part);
    EXPECT_FALSE(found.empty()) << part;
    return found.empty() ? fs::path{} : found.back();
  }
  /// From the oldest to the newest.
  static std::vector<fs::path> files(const fs::path& in, const std::string& part) {
    std::vector<fs::path> found;
    for (const auto& entry : fs::directory_iterator{in})
      if (entry.path().filename().string().find(part) != std::string::npos)
        found.push_back(entry.path());
    std::sort(found.begin(), found.end());
    return found;
  }
  /// How many keys, counted from the first, are there; all of them must be, with their log entries.
  static uint64_t prefix(const store& s) {
    uint64_t count = 0;
    while (s.get(here, name(count + 1)).object)
      ++count;
    EXPECT_EQ(all_of(s, here).size(), count);
    EXPECT_EQ(log_of(s, here, {7, 1, last_counter}).size(), count);
    auto clocks = s.load_clocks().clocks;
    EXPECT_EQ(clocks.empty() ? 0 : clocks[0].second.base(7), count);
    return count;
  }
  static void expect_refused(const std::string& path, const std::string& because, const std::string& boot = "boot 1") {
    for (auto create : {false, true}) {
      auto result = open(path, create, boot);
      EXPECT_EQ(result.opened, nullptr);
      EXPECT_NE(result.what.error.find(path), std::string::npos) << result.what.error;
      EXPECT_NE(result.what.error.find(because), std::string::npos) << result.what.error;
      EXPECT_NE(result.what.error.find("away"), std::string::npos) << "no way out in: " << result.what.error;
    }
  }

  /// Changes a closed database behind our back. What is written stays in the write-ahead log.
  template <class Change>
  static void change(const std::string& path, Change how) {
    std::vector<rocksdb::ColumnFamilyHandle*> families;
    rocksdb::DB* db = nullptr;
    ASSERT_TRUE(rocksdb::DB::Open(database_options({}), path, column_families({}), &families, &db).ok());
    EXPECT_TRUE(how(*db, families).ok());
    for (auto* family : families)
      EXPECT_TRUE(db->DestroyColumnFamilyHandle(family).ok());
    delete db;
  }
  static rocksdb::Status set_format(rocksdb::DB& db, rocksdb::ColumnFamilyHandle* meta, const std::string& format) {
    return db.Put({}, meta, std::string{format_key}, format);
  }
  /// Every file with its content: to see that nothing was written.
  static std::map<std::string, std::string> snapshot(const std::string& path) {
    std::map<std::string, std::string> result;
    for (const auto& entry : fs::directory_iterator{path})
      result[entry.path()] = read(entry.path());
    return result;
  }

  temporary_directory directory_;
  uintmax_t synced_bytes_ = 0;
};

// -- Whole files ----------------------------------------------------------------------------------------------------

TEST_F(RocksdbDamage, IsNotMadeUnlessAskedFor) {
  auto result = open(directory_ / "db");
  EXPECT_EQ(result.opened, nullptr);
  EXPECT_NE(result.what.error.find("missing"), std::string::npos) << result.what.error;
  EXPECT_FALSE(fs::exists(directory_ / "db"));
}

TEST_F(RocksdbDamage, AMissingCurrentFileIsRefusedEvenWhenAskedToCreate) {
  auto path = flushed(10);
  fs::remove(path + "/CURRENT");
  expect_refused(path, "CURRENT");
}

TEST_F(RocksdbDamage, AnEmptiedCurrentFileIsRefused) {
  auto path = flushed(10);
  overwrite(path + "/CURRENT", "");
  expect_refused(path, "CURRENT");
}

TEST_F(RocksdbDamage, AMissingManifestIsRefused) {
  auto path = flushed(10);
  fs::remove(newest(path, "MANIFEST-"));
  expect_refused(path, "MANIFEST-");
}

TEST_F(RocksdbDamage, AMissingTableFileIsRefused) {
  auto path = flushed(10);
  auto file = newest(path, ".sst");
  fs::remove(file);
  expect_refused(path, file.filename());
}

TEST_F(RocksdbDamage, AMissingWriteAheadLogIsRefused) {
  auto path = crashed(10, 10);
  fs::remove(newest(path, ".log"));
  expect_refused(path, "*.log");
  expect_refused(path, "*.log", "boot 2");
}

TEST_F(RocksdbDamage, AMissingOrDamagedSyncedMarkIsRefused) {
  auto path = flushed(10);
  flip(path + "/SYNCED", 20);
  expect_refused(path, "SYNCED: is damaged");
  fs::remove(path + "/SYNCED");
  expect_refused(path, "SYNCED: is missing");
}

TEST_F(RocksdbDamage, AForeignDirectoryIsRefusedAndLeftAlone) {
  auto path = directory_ / "foreign";
  fs::create_directory(path);
  overwrite(path + "/thesis.tex", "text");
  expect_refused(path, "is not a database");
  EXPECT_EQ(read(path + "/thesis.tex"), "text");
  EXPECT_EQ(std::distance(fs::directory_iterator{path}, fs::directory_iterator{}), 1);
}

TEST_F(RocksdbDamage, ADatabaseOfAnotherProgramIsRefused) {
  auto path = directory_ / "other";
  rocksdb::Options other;
  other.create_if_missing = true;
  rocksdb::DB* db = nullptr;
  ASSERT_TRUE(rocksdb::DB::Open(other, path, &db).ok());
  delete db;
  expect_refused(path, "SYNCED");
}

/// As in format 1, which had a column family `aside`: once as the old version closed it, once as if it had been killed.
TEST_F(RocksdbDamage, ADatabaseOfFormat1IsRefusedAndLeftAlone) {
  for (auto torn : {false, true}) {
    auto path = flushed(10);
    change(path, [](rocksdb::DB& db, const auto& families) {
      rocksdb::ColumnFamilyHandle* aside = nullptr;
      auto s = db.CreateColumnFamily({}, "aside", &aside);
      if (s.ok())
        s = set_format(db, families[cf_meta], "1");
      if (s.ok())
        s = db.Put({}, aside, "key", "value");
      EXPECT_TRUE(db.DestroyColumnFamilyHandle(aside).ok());
      return s;
    });
    if (torn) {
      auto log = newest(path, ".log");
      fs::resize_file(log, fs::file_size(log) - 1);
    }
    auto before = snapshot(path);
    for (const auto* words : {"of format \"1\"", "reads format \"2\"", "Start with an empty directory"})
      expect_refused(path, words);
    EXPECT_EQ(open(path).what.error.find("olumn famil"), std::string::npos) << "in RocksDB's words";
    EXPECT_TRUE(snapshot(path) == before);
  }
}

TEST_F(RocksdbDamage, ADatabaseOfANewerFormatIsRefused) {
  auto path = flushed(10);
  change(path, [](rocksdb::DB& db, const auto& families) { return set_format(db, families[cf_meta], "3"); });
  expect_refused(path, "of format \"3\"");
}

TEST_F(RocksdbDamage, AMissingColumnFamilyIsRefusedAndNotMadeAnew) {
  auto path = flushed(10);
  change(path, [](rocksdb::DB& db, const auto& families) { return db.DropColumnFamily(families[cf_graves]); });
  auto before = snapshot(path);
  expect_refused(path, "damaged");
  EXPECT_TRUE(snapshot(path) == before);
}

TEST_F(RocksdbDamage, AFileInPlaceOfTheDirectoryIsRefused) {
  overwrite(directory_ / "file", "x");
  expect_refused(directory_ / "file", "not a directory");
}

TEST_F(RocksdbDamage, ADatabaseInUseIsRefused) {
  auto path = directory_ / "db";
  auto first = open(path, true);
  ASSERT_NE(first.opened, nullptr);
  auto second = open(path);
  EXPECT_EQ(second.opened, nullptr);
  EXPECT_NE(second.what.error.find("used by another process"), std::string::npos) << second.what.error;
}

TEST_F(RocksdbDamage, ACreationThatWasCutShortIsStartedOver) {
  fs::create_directory(directory_ / "db.new");
  overwrite(directory_ / "db.new/MANIFEST-000001", "half");
  EXPECT_EQ(open(directory_ / "db", true).what.error, "");
  EXPECT_FALSE(fs::exists(directory_ / "db.new"));
}

// -- Bytes ----------------------------------------------------------------------------------------------------------

/// Flips one byte after the other. Whatever is hit: the database is refused, or reads fail, or all is as it was.
TEST_F(RocksdbDamage, NoFlippedByteOfATableFileGoesUnnoticed) {
  auto original = directory_ / "kept";
  fs::copy(flushed(40), original, fs::copy_options::recursive);
  std::vector<std::string> files;
  for (const auto& entry : fs::directory_iterator{original})
    if (entry.path().extension() == ".sst")
      files.push_back(entry.path().filename());
  ASSERT_GE(files.size(), 2U); // data and log
  size_t refused = 0, unreadable = 0, whole = 0;
  for (const auto& file : files) {
    auto size = fs::file_size(fs::path{original} / file);
    for (size_t position = 3; position < size; position += std::max<size_t>(size / 25, 1)) {
      auto path = copy(original);
      flip(fs::path{path} / file, position);
      auto result = open(path);
      if (!result.opened) {
        EXPECT_NE(result.what.error.find(path), std::string::npos);
        ++refused;
        continue;
      }
      bool failed = !result.opened->load_clocks().what.ok();
      for (uint64_t i = 1; i <= 40; ++i) {
        auto found = result.opened->get(here, name(i));
        failed = failed || !found.what.ok();
        if (found.what.ok()) {
          EXPECT_EQ(value_of(found), std::string(100, 'v') + std::to_string(i)) << file << " at " << position;
        }
      }
      ++(failed ? unreadable : whole);
    }
  }
  EXPECT_GT(refused + unreadable, whole); // The rest lies in statistics, which no read needs.
  EXPECT_GT(unreadable, 0U);
}

TEST_F(RocksdbDamage, NoFlippedOrLostByteOfTheManifestGoesUnnoticed) {
  auto original = directory_ / "kept";
  fs::copy(flushed(10), original, fs::copy_options::recursive);
  auto manifest = newest(original, "MANIFEST-").filename();
  auto size = fs::file_size(fs::path{original} / manifest);
  for (size_t position = 0; position < size; position += std::max<size_t>(size / 40, 1)) {
    for (auto cut : {false, true}) {
      auto path = copy(original);
      if (cut)
        fs::resize_file(fs::path{path} / manifest, position);
      else
        flip(fs::path{path} / manifest, position);
      auto result = open(path);
      if (result.opened)
        EXPECT_EQ(prefix(*result.opened), 10U) << (cut ? "cut at " : "flipped at ") << position;
      else
        EXPECT_NE(result.what.error.find(path), std::string::npos);
    }
  }
  auto path = copy(original);
  flip(fs::path{path} / manifest, size / 2);
  expect_refused(path, "damaged");
}

TEST_F(RocksdbDamage, NoFlippedByteInTheSyncedPartOfTheWriteAheadLogIsAccepted) {
  crashed(300, 300); // More than one block of 32 KiB.
  auto original = directory_ / "original";
  auto size = synced_bytes_;
  ASSERT_GT(size, 40000U);
  for (const auto* boot : {"boot 1", "boot 2"})
    for (size_t position = 0; position < size; position += size / 40) {
      auto path = copy(original);
      flip(newest(path, ".log"), position);
      expect_refused(path, "write", boot);
    }
}

TEST_F(RocksdbDamage, AZeroedStretchInTheSyncedPartOfTheWriteAheadLogIsRefused) {
  crashed(600, 600);
  for (const auto* boot : {"boot 1", "boot 2"})
    for (size_t begin : {0, 4096, 32768, 65536}) {
      auto path = copy(directory_ / "original");
      auto log = newest(path, ".log");
      auto bytes = read(log);
      std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(begin), 4096, '\0');
      overwrite(log, bytes);
      expect_refused(path, "write", boot);
    }
}

TEST_F(RocksdbDamage, AWriteAheadLogCutBehindTheLastSyncGivesAWholePrefix) {
  crashed(20, 40);
  auto size = fs::file_size(newest(directory_ / "original", ".log"));
  uint64_t least = 40, most = 0;
  for (auto length = synced_bytes_; length <= size; length += 113) {
    for (const auto* boot : {"boot 1", "boot 2"}) {
      auto path = copy(directory_ / "original");
      fs::resize_file(newest(path, ".log"), length);
      auto result = open(path, false, boot);
      ASSERT_NE(result.opened, nullptr) << length << ": " << result.what.error;
      auto count = prefix(*result.opened);
      EXPECT_GE(count, 20U);
      least = std::min(least, count);
      most = std::max(most, count);
    }
  }
  EXPECT_EQ(least, 20U);
  EXPECT_GE(most, 39U);
}

TEST_F(RocksdbDamage, AWriteAheadLogCutBeforeTheLastSyncIsRefusedForGood) {
  crashed(20, 20);
  for (uintmax_t lost : {1, 100, 500}) {
    auto path = copy(directory_ / "original");
    fs::resize_file(newest(path, ".log"), synced_bytes_ - lost);
    expect_refused(path, "were synced");
    expect_refused(path, "were synced");
  }
}

/// RocksDB alone replays the second log after a first that ends too early, if only it ends between two records.
TEST_F(RocksdbDamage, AnOlderWriteAheadLogCutBetweenTwoRecordsIsRefused) {
  auto path = directory_ / "original";
  auto small = options("boot 1");
  small.memtable_bytes = 64 << 10; // `data` is flushed, and the next log begun, while `log` still needs the first.
  auto opened = open_rocksdb(path, small, true);
  ASSERT_NE(opened.opened, nullptr) << opened.what.error;
  auto first = newest(path, ".log");
  std::vector<uintmax_t> ends; // Of the records in the first log.
  for (uint64_t i = 1; files(path, ".log").size() < 2; ++i) {
    ASSERT_LT(i, 5000U);
    write(*opened.opened, i, i);
    ends.push_back(fs::file_size(first));
  }
  write(*opened.opened, ends.size() + 1, ends.size() + 20);
  ASSERT_TRUE(opened.opened->sync().ok());
  opened.opened.reset(); // Waits for the flush; what it leaves is what a crash would leave.
  ASSERT_GT(ends.size(), 10U);
  for (const auto* boot : {"boot 1", "boot 2"})
    for (auto end : {ends[0], ends[ends.size() / 2], ends[ends.size() - 5]}) {
      auto crashed = copy(path);
      ASSERT_EQ(files(crashed, ".log").size(), 2U);
      fs::resize_file(files(crashed, ".log").front(), end);
      expect_refused(crashed, "cannot be read beyond write", boot);
    }
}

TEST_F(RocksdbDamage, GarbageBehindTheLastSyncIsDroppedAfterARebootOnly) {
  crashed(200, 300);
  auto garble = [&](bool zero) {
    auto path = copy(directory_ / "original");
    auto log = newest(path, ".log");
    auto bytes = read(log);
    for (auto i = synced_bytes_ + 500; i < synced_bytes_ + 5000; ++i)
      bytes.at(i) = zero ? '\0' : static_cast<char>(bytes.at(i) ^ 0x55);
    overwrite(log, bytes);
    return path;
  };
  for (auto zero : {false, true}) {
    auto path = garble(zero);
    // The same boot: the kernel wrote all it was given. Bytes in the middle do not change by themselves.
    EXPECT_EQ(open(path).opened, nullptr);
    path = garble(zero);
    auto result = open(path, false, "boot 2");
    ASSERT_NE(result.opened, nullptr) << result.what.error;
    auto count = prefix(*result.opened);
    EXPECT_GE(count, 200U);
    EXPECT_LT(count, 210U); // 500 bytes are about two batches: nothing behind the gap may be replayed.
    // And goes on from there.
    write(*result.opened, count + 1, count + 5);
    ASSERT_TRUE(result.opened->sync().ok());
    result.opened.reset();
    result = open(path, false, "boot 2");
    ASSERT_NE(result.opened, nullptr) << result.what.error;
    EXPECT_EQ(prefix(*result.opened), count + 5);
  }
}

TEST_F(RocksdbDamage, AMachineWithoutBootIdCountsEveryStartAsAReboot) {
  crashed(20, 40);
  auto path = copy(directory_ / "original");
  auto log = newest(path, ".log");
  flip(log, synced_bytes_ + 500);
  auto result = open(path, false, "");
  ASSERT_NE(result.opened, nullptr) << result.what.error;
  EXPECT_GE(prefix(*result.opened), 20U);
}

} // namespace

} // namespace crema::storage::testing
