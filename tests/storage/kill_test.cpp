// A process that writes is killed (SIGKILL) at random moments, many times on the same directory. After each kill the
// clock must say exactly what the data says, and must cover all that the process reported as written.
//
// The writer is this program, run again with CREMA_TEST_WRITER set: a process that forks must not have threads, and
// RocksDB has some.
#include "protocol/vnode.hpp"
#include "storage/rocksdb_store.hpp"
#include "tests/storage/store_contents.hpp"
#include "tests/storage/temporary_directory.hpp"

#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <random>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace crema::storage::testing {

namespace {

constexpr replica_id self = 77;
constexpr uint64_t shared_keys = 40; ///< Keys that are overwritten again and again, per vnode.
constexpr size_t vnode_count = 6;

vnode_id vnode_of(size_t index) { return {static_cast<bucket_id>(index % 2), static_cast<partition_id>(index * 51)}; }
conflict_rule rule_of(vnode_id vnode) { return vnode.bucket == 0 ? conflict_rule::lww : conflict_rule::siblings; }

/// The key that a dot writes. Every third is the dot's own, so that its effect can be seen for ever; the others share.
std::string key_of(uint64_t counter) {
  return counter % 3 == 0 ? "own " + std::to_string(counter) : "shared " + std::to_string(counter % shared_keys);
}

rocksdb_options small_options() {
  rocksdb_options result;
  result.memtable_bytes = 64 << 10; // So that flushes, compactions and new log files are under way when the kill comes.
  return result;
}

std::map<vnode_id, protocol::dot_clock> clocks_of(const store& s) {
  auto loaded = s.load_clocks();
  EXPECT_EQ(loaded.what.error, "");
  return {loaded.clocks.begin(), loaded.clocks.end()};
}

// -- The writer -----------------------------------------------------------------------------------------------------

/// Reported through the pipe once it is written.
struct report {
  uint64_t vnode_index;
  uint64_t counter;
};

class writer {
public:
  writer(const std::string& path, int pipe, uint32_t seed) : pipe_(pipe), random_(seed) {
    tell({{vnode_count, 0}}); // It lives: a kill may come while the database opens.
    store_ = open_rocksdb(path, small_options(), true).opened;
    if (!store_)
      std::_Exit(1);
    auto clocks = clocks_of(*store_);
    for (size_t i = 0; i < vnode_count; ++i) {
      auto id = vnode_of(i);
      vnodes_.emplace_back(id, rule_of(id), self, clocks[id]);
      for (const auto& range : clocks[id].ranges())
        time_ = std::max(time_, from_micros(range.last));
    }
  }

  [[noreturn]] void run() {
    for (;;)
      write_batch();
  }

private:
  void write_batch() {
    auto batch = store_->make_batch();
    std::vector<report> reports;
    auto count = random_() % 30 + 1;
    for (size_t i = 0; i < count; ++i) {
      auto index = random_() % vnode_count;
      auto counter = give(vnodes_[index], *batch);
      reports.push_back({index, counter});
    }
    if (random_() % 8 == 0)
      trim(vnodes_[random_() % vnode_count], *batch);
    if (!store_->write(*batch).ok())
      std::_Exit(2);
    tell(reports);
    if (random_() % 50 == 0)
      store_->request_sync();
  }

  uint64_t give(protocol::vnode& vnode, protocol::vnode_sink& sink) {
    auto counter = vnode.clock().highest(self) + 1;
    auto key = key_of(counter);
    auto value = std::to_string(counter) + std::string(random_() % 200, '.');
    protocol::write_intent intent;
    intent.key = key;
    intent.value = value;
    auto seen = vnode.clock();
    intent.context = rule_of(vnode.id()) == conflict_rule::siblings ? &seen : nullptr;
    auto given = vnode.give(intent, ++time_, sink);
    if (given.id != dot{self, counter})
      std::_Exit(3);
    return counter;
  }

  /// As if all owners knew all but the last dots: saves the clock and shortens the log.
  void trim(const protocol::vnode& vnode, storage::write_batch& batch) {
    batch.save_clock(vnode.id(), vnode.clock());
    auto last = vnode.clock().base(self);
    for (auto counter = last > 60 ? last - 60 : 1; counter + 5 < last; ++counter)
      batch.trim_log(vnode.id(), {self, counter, counter});
  }

  void tell(const std::vector<report>& reports) {
    auto size = reports.size() * sizeof(report); // At most 480 bytes: below PIPE_BUF, so all of it or nothing.
    if (::write(pipe_, reports.data(), size) != static_cast<ssize_t>(size))
      std::_Exit(4);
  }

  int pipe_;
  std::mt19937 random_;
  timestamp time_ = 0;
  std::unique_ptr<store> store_;
  std::vector<protocol::vnode> vnodes_;
};

/// Runs before any test, and instead of them in the writing process: "<path> <pipe> <seed>".
class become_the_writer final : public ::testing::Environment {
public:
  void SetUp() override {
    const auto* told = std::getenv("CREMA_TEST_WRITER");
    if (told == nullptr)
      return;
    spdlog::set_level(spdlog::level::err);
    std::istringstream in{told};
    std::string path;
    int pipe = -1;
    uint32_t seed = 0;
    in >> path >> pipe >> seed;
    writer{path, pipe, seed}.run();
  }
};
const auto* const registered = ::testing::AddGlobalTestEnvironment(new become_the_writer);

// -- The killer -----------------------------------------------------------------------------------------------------

class Kill : public ::testing::Test {
protected:
  /// Runs a writer until it has reported `enough` writes, kills it, and takes note of all it reported.
  void write_and_kill(uint32_t seed, size_t enough) {
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    auto told = "CREMA_TEST_WRITER=" + path_ + " " + std::to_string(ends[1]) + " " + std::to_string(seed);
    std::string program = "/proc/self/exe", filter = "--gtest_filter=Kill.*";
    std::array<char*, 3> arguments{program.data(), filter.data(), nullptr};
    std::array<char*, 2> environment{told.data(), nullptr};
    auto child = ::fork();
    if (child == 0) {
      ::close(ends[0]);
      ::dup2(::open("/dev/null", O_WRONLY), STDOUT_FILENO); // The test framework would greet again.
      ::execve(program.c_str(), arguments.data(), environment.data());
      std::_Exit(127);
    }
    ASSERT_GT(child, 0);
    ::close(ends[1]);
    size_t reports = 0;
    report next{};
    bool killed = false;
    // After the kill as well: what it reported before its death counts.
    while (read_report(ends[0], next)) {
      if (next.vnode_index < vnode_count) {
        auto& highest = reported_[vnode_of(next.vnode_index)];
        ASSERT_EQ(next.counter, std::max(highest, found_[vnode_of(next.vnode_index)]) + 1) << "a dot was given twice";
        highest = next.counter;
      }
      if (!killed && reports++ >= enough) {
        ::kill(child, SIGKILL);
        killed = true;
      }
    }
    ::close(ends[0]);
    int state = 0;
    ASSERT_EQ(::waitpid(child, &state, 0), child);
    ASSERT_TRUE(WIFSIGNALED(state) && WTERMSIG(state) == SIGKILL) << "the writer failed by itself: " << state;
  }

  static bool read_report(int from, report& into) {
    size_t have = 0;
    while (have < sizeof into) {
      auto n = ::read(from, reinterpret_cast<char*>(&into) + have, sizeof into - have);
      if (n <= 0)
        return false;
      have += static_cast<size_t>(n);
    }
    return true;
  }

  void check() {
    auto opened = open_rocksdb(path_, small_options(), true);
    ASSERT_NE(opened.opened, nullptr) << opened.what.error;
    auto clocks = clocks_of(*opened.opened);
    for (size_t i = 0; i < vnode_count; ++i) {
      auto vnode = vnode_of(i);
      auto known = clocks[vnode].highest(self);
      ASSERT_EQ(known, clocks[vnode].base(self)) << "a gap in what one process wrote in order";
      ASSERT_GE(known, reported_[vnode]) << "a reported write is lost";
      found_[vnode] = known;
      check_state(*opened.opened, vnode, known);
    }
  }

  /// The dots 1..known, and no others, have had their effect.
  static void check_state(const store& s, vnode_id vnode, uint64_t known) {
    std::map<std::string, uint64_t> expected; // Key -> the last dot that wrote it.
    for (uint64_t counter = 1; counter <= known; ++counter)
      expected[key_of(counter)] = counter;
    std::map<std::string, uint64_t> found;
    for (const auto& [key, object] : all_of(s, vnode))
      found[key] = last_dot(vnode, object);
    ASSERT_EQ(found, expected);
    for (const auto& [d, key] : log_of(s, vnode, {self, 1, last_counter})) {
      ASSERT_LE(d.counter, known);
      ASSERT_EQ(key, key_of(d.counter));
    }
  }

  static uint64_t last_dot(vnode_id vnode, const std::string& object) {
    if (rule_of(vnode) == conflict_rule::lww) {
      auto decoded = protocol::decode_lww(object);
      return decoded ? decoded->id.counter : 0;
    }
    auto decoded = protocol::decode_siblings(object); // Each write replaced all before it: one is left.
    return decoded && decoded->siblings.size() == 1 ? decoded->siblings[0].id.counter : 0;
  }

  temporary_directory directory_;
  std::string path_ = directory_ / "db";
  std::map<vnode_id, uint64_t> reported_; ///< The highest counter that was reported as written.
  std::map<vnode_id, uint64_t> found_;    ///< What the clock said after the last kill.
};

TEST_F(Kill, LeavesAClockThatSaysExactlyWhatTheDataSays) {
  std::mt19937 random{20240229};
  for (uint32_t round = 0; round < 36; ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    // Every sixth round while the writer opens the database, or soon after.
    size_t enough = round % 6 == 5 ? random() % 2 : random() % 3000;
    ASSERT_NO_FATAL_FAILURE(write_and_kill(round, enough));
    ASSERT_NO_FATAL_FAILURE(check());
  }
  for (const auto& [vnode, counter] : found_)
    EXPECT_GT(counter, 1000U); // The rounds did build on each other.
}

} // namespace

} // namespace crema::storage::testing
