// The memtable against RocksDB's own: two databases take the same writes and answer the same, whatever is read in
// between.
#include "storage/run_memtable.hpp"
#include "tests/storage/temporary_directory.hpp"

#include <rocksdb/db.h>

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <unistd.h>

#include <atomic>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace crema::storage::testing {

namespace {

constexpr size_t prefix_bytes = 2;

/// Where a sync costs nothing, if there is such a place: databases are made by the hundred.
std::string in_memory() { return ::access("/dev/shm/", W_OK) == 0 ? "/dev/shm/" : ::testing::TempDir(); }

std::unique_ptr<rocksdb::DB> open(const std::string& path, std::shared_ptr<rocksdb::MemTableRepFactory> memtables) {
  rocksdb::Options options;
  options.create_if_missing = true;
  options.allow_concurrent_memtable_write = false;
  if (memtables != nullptr)
    options.memtable_factory = std::move(memtables);
  rocksdb::DB* result = nullptr;
  auto status = rocksdb::DB::Open(options, path, &result);
  if (!status.ok())
    throw std::runtime_error(status.ToString());
  return std::unique_ptr<rocksdb::DB>{result};
}

/// Few prefixes, so that runs meet; some keys are shorter than a prefix, or nothing but one.
rc::Gen<std::string> keys() {
  static const std::vector<std::string> starts{"", "a", std::string("a\0", 2), "ab", "b", "b\xff", "\xff\xff"};
  static const std::vector<std::string> ends{"", "", "k", std::string("\0", 1), "\xff", "kk"};
  return rc::gen::apply(
      [](const auto& start, const auto& end, int n) { return start + end + (n < 3 ? "" : std::to_string(n)); },
      rc::gen::elementOf(starts), rc::gen::elementOf(ends), rc::gen::inRange(0, 20));
}

/// An iterator of each database at the same place, opened at the same moment.
class iterators {
public:
  iterators(rocksdb::DB& a, rocksdb::DB& b) : a_(a.NewIterator({})), b_(b.NewIterator({})) {}

  template <class Step>
  void both(Step step) {
    step(*a_);
    step(*b_);
    RC_ASSERT(a_->Valid() == b_->Valid());
    if (a_->Valid()) {
      RC_ASSERT(a_->key().ToString() == b_->key().ToString());
      RC_ASSERT(a_->value().ToString() == b_->value().ToString());
    }
  }
  bool valid() const { return a_->Valid(); }

private:
  std::unique_ptr<rocksdb::Iterator> a_;
  std::unique_ptr<rocksdb::Iterator> b_;
};

void step(iterators& both) {
  auto what = *rc::gen::inRange(0, 10);
  auto key = *keys();
  if (what == 0)
    both.both([](rocksdb::Iterator& x) { x.SeekToFirst(); });
  else if (what == 1)
    both.both([](rocksdb::Iterator& x) { x.SeekToLast(); });
  else if (what == 2)
    both.both([&](rocksdb::Iterator& x) { x.Seek(key); });
  else if (what == 3)
    both.both([&](rocksdb::Iterator& x) { x.SeekForPrev(key); });
  else if (both.valid() && what < 7)
    both.both([](rocksdb::Iterator& x) { x.Next(); });
  else if (both.valid())
    both.both([](rocksdb::Iterator& x) { x.Prev(); });
}

TEST(RunMemtable, AnswersAsASkipListDoes) {
  rc::check([] {
    temporary_directory directory{in_memory()};
    auto skip_list = open(directory / "skip_list", nullptr);
    auto runs = open(directory / "runs", make_run_memtables(prefix_bytes));
    std::vector<std::unique_ptr<iterators>> open_ones;
    auto steps = *rc::gen::inRange(1, 300);
    for (int i = 0; i < steps; ++i) {
      auto what = *rc::gen::inRange(0, 40);
      auto key = *keys();
      for (auto* db : {skip_list.get(), runs.get()}) {
        if (what < 16)
          RC_ASSERT(db->Put({}, key, std::to_string(i)).ok());
        else if (what < 19)
          RC_ASSERT(db->Delete({}, key).ok());
        else if (what == 19)
          RC_ASSERT(db->DeleteRange({}, db->DefaultColumnFamily(), key, key + "k").ok());
        else if (what == 20)
          RC_ASSERT(db->Flush({}).ok());
      }
      if (what > 20 && what < 24) {
        std::string expected, value;
        auto status = skip_list->Get({}, key, &expected);
        RC_ASSERT(runs->Get({}, key, &value).code() == status.code());
        RC_ASSERT(value == expected);
      } else if (what == 24) {
        open_ones.push_back(std::make_unique<iterators>(*skip_list, *runs));
      } else if (what == 25 && !open_ones.empty()) {
        open_ones.erase(open_ones.begin() + *rc::gen::inRange<ptrdiff_t>(0, static_cast<ptrdiff_t>(open_ones.size())));
      } else if (what > 25 && !open_ones.empty()) {
        step(*open_ones[*rc::gen::inRange<size_t>(0, open_ones.size())]);
      }
    }
    iterators all{*skip_list, *runs};
    for (all.both([](rocksdb::Iterator& x) { x.SeekToFirst(); }); all.valid();)
      all.both([](rocksdb::Iterator& x) { x.Next(); });
    for (all.both([](rocksdb::Iterator& x) { x.SeekToLast(); }); all.valid();)
      all.both([](rocksdb::Iterator& x) { x.Prev(); });
  });
}

size_t resident_bytes() {
  size_t all = 0, resident = 0;
  std::ifstream{"/proc/self/statm"} >> all >> resident;
  return resident * static_cast<size_t>(::sysconf(_SC_PAGESIZE));
}

/// As RocksDB compares: by the bytes of the key, the newest first.
class comparator final : public rocksdb::MemTableRep::KeyComparator {
public:
  int operator()(const char* a, const char* b) const override { return (*this)(a, decode_key(b)); }
  int operator()(const char* a, const rocksdb::Slice& key) const override {
    auto entry = decode_key(a);
    auto by_key = user_key(entry).compare(user_key(key));
    return by_key != 0 ? by_key : number(key).compare(number(entry));
  }

private:
  static rocksdb::Slice user_key(const rocksdb::Slice& x) { return {x.data(), x.size() - 8}; }
  static rocksdb::Slice number(const rocksdb::Slice& x) { return {x.data() + x.size() - 8, 8}; }
};

std::unique_ptr<rocksdb::MemTableRep> table_with(const comparator& compare) {
  return std::unique_ptr<rocksdb::MemTableRep>{
      make_run_memtables(prefix_bytes)->CreateMemTableRep(compare, nullptr, nullptr, nullptr)};
}

std::string internal_key(const std::string& key, char number) { return key + std::string(7, '0') + number; }

std::string entry_of(const std::string& key, char number) {
  auto internal = internal_key(key, number);
  return static_cast<char>(internal.size()) + internal;
}

TEST(RunMemtable, FindsTheLastThatIsNotAbove) { // Databases go on by themselves when it is not the last.
  comparator compare;
  auto table = table_with(compare);
  std::vector<std::string> written;
  for (const auto* key : {"ab3", "ab1", "ad1", "ab2"})
    written.push_back(entry_of(key, '5'));
  for (auto& entry : written)
    table->Insert(entry.data());
  std::unique_ptr<rocksdb::MemTableRep::Iterator> at{table->GetIterator()};
  auto found = [&](const std::string& key, char number) {
    at->SeekForPrev(internal_key(key, number), nullptr);
    return at->Valid() ? std::string{at->key() + 1, 3} : "none";
  };
  EXPECT_EQ(found("aa", '5'), "none");
  EXPECT_EQ(found("ab1", '6'), "none"); // Newer is before.
  EXPECT_EQ(found("ab1", '5'), "ab1");
  EXPECT_EQ(found("ab2", '4'), "ab2");
  EXPECT_EQ(found("ab25", '5'), "ab2");
  EXPECT_EQ(found("ac", '5'), "ab3");
  EXPECT_EQ(found("b", '5'), "ad1");
  EXPECT_TRUE(table->Contains(written[1].data()));
  EXPECT_FALSE(table->Contains(entry_of("ab4", '5').data()));
}

TEST(RunMemtable, IsReadWhileItIsWritten) {
  comparator compare;
  auto table = table_with(compare);
  constexpr int keys_written = 20'000;
  std::vector<std::string> entries;
  for (int i = 0; i < keys_written; ++i) // Not in order within a prefix.
    entries.push_back(
        entry_of(static_cast<char>('a' + i % 5) + ("x" + std::to_string(1'000'000 + i * 7919 % keys_written)), '5'));
  std::atomic<int> written = 0;
  std::thread writer{[&] {
    for (auto& entry : entries) {
      table->Insert(entry.data());
      ++written;
    }
  }};
  auto read = [&] {
    for (bool last = false; !last;) {
      int before = written;
      last = before == keys_written;
      std::unique_ptr<rocksdb::MemTableRep::Iterator> at{table->GetIterator()};
      int count = 0;
      const char* previous = nullptr;
      for (at->SeekToFirst(); at->Valid(); at->Next(), ++count) {
        ASSERT_TRUE(previous == nullptr || compare(previous, at->key()) < 0);
        previous = at->key();
      }
      ASSERT_GE(count, before);
    }
  };
  std::thread reader{read};
  read();
  reader.join();
  writer.join();
}

TEST(RunMemtable, GivesBackTheMemoryOfIterators) {
  temporary_directory directory{in_memory()};
  auto db = open(directory / "runs", make_run_memtables(prefix_bytes));
  ASSERT_TRUE(db->Put({}, "abc", "v").ok());
  std::string value;
  auto read_often = [&] {
    for (int i = 0; i < 100'000; ++i) {
      ASSERT_TRUE(db->Get({}, "abc", &value).ok());
      std::unique_ptr<rocksdb::Iterator> at{db->NewIterator({})};
      at->SeekToFirst();
    }
  };
  read_often();
  auto before = resident_bytes();
  read_often();             // Some 80 bytes for each iterator that stays.
#ifdef __SANITIZE_ADDRESS__ // Keeps what was freed, and finds by itself what was not.
  (void)before;
#else
  EXPECT_LT(resident_bytes(), before + (size_t{4} << 20));
#endif
}

TEST(RunMemtable, CountsItsMemoryTheSameWhetherItWasReadOrNot) { // RocksDB asserts that.
  comparator compare;
  auto table = table_with(compare);
  std::vector<std::string> written;
  for (int i = 1999; i >= 1000; --i)
    written.push_back(entry_of(std::to_string(i), '5'));
  for (auto& entry : written)
    table->Insert(entry.data());
  auto before = table->ApproximateMemoryUsage();
  EXPECT_GE(before, 1000 * sizeof(void*));
  std::unique_ptr<rocksdb::MemTableRep::Iterator> at{table->GetIterator()};
  int entries = 0;
  for (at->SeekToFirst(); at->Valid(); at->Next())
    ++entries;
  EXPECT_EQ(entries, 1000);
  EXPECT_EQ(table->ApproximateMemoryUsage(), before);
}

} // namespace

} // namespace crema::storage::testing
