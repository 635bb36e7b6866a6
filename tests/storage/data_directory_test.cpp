// Whose a data directory is, which replica id names its writes, and what is refused.
#include "storage/data_directory.hpp"
#include "storage/rocksdb_store.hpp"
#include "tests/storage/temporary_directory.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <sstream>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace crema::storage::testing {

namespace {

namespace fs = std::filesystem;

identity some_identity() {
  identity result;
  result.cluster = "demo";
  result.node = "n1";
  result.partitions = 256;
  result.members = {"n1 a 1", "n2 b 1"};
  result.buckets = {{"default", 0, "lww", 2}, {"carts", 1, "siblings", 2}};
  return result;
}

std::string read(const std::string& path) {
  std::ifstream in{path};
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

void overwrite(const std::string& path, const std::string& text) { std::ofstream{path, std::ios::trunc} << text; }

void replace(const std::string& path, const std::string& from, const std::string& to) {
  auto text = read(path);
  auto at = text.find(from);
  ASSERT_NE(at, std::string::npos) << text;
  overwrite(path, text.replace(at, from.size(), to));
}

/// Every path below, with the content of files: to see that nothing was written.
std::map<std::string, std::string> snapshot(const std::string& path) {
  std::map<std::string, std::string> result;
  for (const auto& entry : fs::recursive_directory_iterator{path})
    result[entry.path()] = entry.is_regular_file() ? read(entry.path()) : "";
  return result;
}

class DataDirectory : public ::testing::Test {
protected:
  std::unique_ptr<data_directory> open(const std::string& boot = "boot 1") {
    auto result = open_data_directory(path_, identity_, boot);
    EXPECT_EQ(result.what.error, "");
    return std::move(result.opened);
  }
  /// Opens, and stops in good order or not. @returns the replica id of that run.
  replica_id run(bool clean, const std::string& boot) {
    auto directory = open(boot);
    if (!directory)
      return 0;
    if (clean) {
      EXPECT_EQ(directory->mark_clean().error, "");
    }
    return directory->replica();
  }
  /// Check and open both refuse, with all of these words, and write nothing.
  void expect_refused(const std::vector<std::string>& words) {
    auto before = snapshot(root_.path());
    auto checked = check_data_directory(path_, identity_);
    auto opened = open_data_directory(path_, identity_, "boot 1");
    EXPECT_EQ(opened.opened, nullptr);
    EXPECT_EQ(opened.what.error, checked.error);
    EXPECT_EQ(snapshot(root_.path()), before);
    for (const auto& word : words)
      EXPECT_NE(checked.error.find(word), std::string::npos) << '"' << word << "\" is not in: " << checked.error;
  }
  std::string file(const std::string& name) const { return path_ + "/" + name; }

  temporary_directory root_;
  std::string path_ = root_ / "data/n1";
  identity identity_ = some_identity();
};

// -- Life -----------------------------------------------------------------------------------------------------------

TEST_F(DataDirectory, IsMadeWithAllParentsAndAnEmptyDatabase) {
  EXPECT_EQ(check_data_directory(path_, identity_).error, "");
  EXPECT_FALSE(fs::exists(root_ / "data")); // The check wrote nothing.
  auto directory = open();
  ASSERT_NE(directory, nullptr);
  EXPECT_TRUE(directory->created());
  EXPECT_NE(directory->replica(), 0U);
  EXPECT_EQ(open_rocksdb(directory->database_path(), {}, false).what.error, "");
}

TEST_F(DataDirectory, MayBeAnEmptyDirectoryThatExists) {
  fs::create_directories(path_ + "/lost+found"); // A freshly made file system.
  auto directory = open();
  ASSERT_NE(directory, nullptr);
  EXPECT_TRUE(directory->created());
}

TEST_F(DataDirectory, IsFoundAgainAsItWasMade) {
  auto first = run(true, "boot 1");
  auto directory = open();
  ASSERT_NE(directory, nullptr);
  EXPECT_FALSE(directory->created());
  EXPECT_EQ(directory->replica(), first);
}

TEST_F(DataDirectory, GetsAReplicaIdOfItsOwn) {
  auto first = run(true, "boot 1");
  path_ = root_ / "data/other";
  EXPECT_NE(run(true, "boot 1"), first);
}

TEST_F(DataDirectory, KeepsItsReplicaIdAfterAKillOnTheSameBoot) {
  auto first = run(false, "boot 1");
  EXPECT_EQ(run(false, "boot 1"), first);
}

TEST_F(DataDirectory, KeepsItsReplicaIdOverARebootAfterACleanStop) {
  auto first = run(true, "boot 1");
  EXPECT_EQ(run(false, "boot 2"), first);
}

TEST_F(DataDirectory, TakesANewReplicaIdWhenTheMachineRebootedWithoutACleanStop) {
  auto first = run(false, "boot 1");
  auto second = run(false, "boot 2");
  EXPECT_NE(second, first);
  EXPECT_NE(second, 0U);
  EXPECT_EQ(run(false, "boot 2"), second);
}

TEST_F(DataDirectory, IsNotCleanForLongerThanOneRun) {
  auto first = run(true, "boot 1");
  EXPECT_EQ(run(false, "boot 1"), first);
  EXPECT_NE(run(false, "boot 2"), first);
}

TEST_F(DataDirectory, TakesANewIdWhenItIsACopy) {
  auto before = run(true, "boot 1");
  fs::copy(path_, path_ + ".backup", fs::copy_options::recursive);
  EXPECT_EQ(run(true, "boot 1"), before); // The original goes on.
  fs::remove_all(path_);
  fs::rename(path_ + ".backup", path_);
  auto restored = open();
  ASSERT_TRUE(restored);
  EXPECT_TRUE(restored->copied());
  EXPECT_NE(restored->replica(), before);
  auto now = restored->replica();
  restored.reset();
  restored = open();
  ASSERT_TRUE(restored);
  EXPECT_EQ(restored->replica(), now) << "once";
  EXPECT_TRUE(restored->copied()) << "who died may not have taken note of it";
  ASSERT_TRUE(restored->mark_clean().ok());
  restored.reset();
  EXPECT_FALSE(open()->copied());
}

// However a backup is put back, over what the node has written since.
TEST_F(DataDirectory, TakesANewIdWhenABackupIsPutBackInPlace) {
  auto in_place = fs::copy_options::recursive | fs::copy_options::overwrite_existing;
  auto backup = path_ + ".backup";
  std::map<std::string, std::function<void()>> ways;
  ways["over everything"] = [&] { fs::copy(backup, path_, in_place); };
  ways["the database removed before"] = [&] {
    fs::remove_all(file("db"));
    fs::copy(backup, path_, in_place);
  };
  ways["the database only"] = [&] {
    fs::remove_all(file("db"));
    fs::copy(backup + "/db", file("db"), in_place);
  };
  ways["all but LOCK"] = [&] {
    for (const auto* name : {"db", "identity.json"}) {
      fs::remove_all(file(name));
      fs::copy(backup + "/" + name, file(name), in_place);
    }
  };
  for (const auto& [how, put_back] : ways) {
    SCOPED_TRACE(how);
    fs::remove_all(path_);
    run(true, "boot 1");
    fs::copy(path_, backup, fs::copy_options::recursive);
    auto before = run(true, "boot 1");
    put_back();
    auto restored = open();
    ASSERT_TRUE(restored);
    EXPECT_TRUE(restored->copied());
    EXPECT_NE(restored->replica(), before);
    restored.reset();
    fs::remove_all(backup);
  }
}

TEST_F(DataDirectory, KeepsItsIdWhenItIsRenamed) {
  auto before = run(true, "boot 1");
  fs::rename(path_, path_ + ".elsewhere");
  fs::rename(path_ + ".elsewhere", path_);
  EXPECT_EQ(run(true, "boot 1"), before);
}

TEST_F(DataDirectory, CountsEveryUncleanStopAsARebootWhereTheBootIsUnknown) {
  auto first = run(false, "");
  EXPECT_NE(run(true, ""), first);
  auto clean = run(true, "");
  EXPECT_EQ(run(true, ""), clean);
}

TEST_F(DataDirectory, TakesANewReplicaIdWhenTheRecordedOneIsErased) { // docs/storage.md, "Restoring a copy"
  auto first = run(true, "boot 1");
  char hex[17];
  std::snprintf(hex, sizeof hex, "%016llx", static_cast<unsigned long long>(first));
  replace(file("identity.json"), hex, "");
  auto second = run(true, "boot 1");
  EXPECT_NE(second, first);
  EXPECT_NE(second, 0U);
}

TEST_F(DataDirectory, StartsACreationOverThatWasCutShort) {
  run(true, "boot 1");
  fs::remove(file("identity.json")); // As if the crash had come before it.
  overwrite(file("CREATING"), "");
  fs::remove(file("db/CURRENT"));
  auto directory = open();
  ASSERT_NE(directory, nullptr);
  EXPECT_TRUE(directory->created());
  EXPECT_FALSE(fs::exists(file("CREATING")));
  EXPECT_EQ(open_rocksdb(directory->database_path(), {}, false).what.error, "");
}

TEST_F(DataDirectory, IgnoresAnIdentityFileThatWasNeverRenamed) {
  auto first = run(true, "boot 1");
  overwrite(file("identity.json.tmp"), "{\"half");
  EXPECT_EQ(run(true, "boot 1"), first);
}

TEST_F(DataDirectory, TakesUpNewBuckets) {
  run(true, "boot 1");
  identity_.buckets.push_back({"sessions", 2, "lww", 1});
  run(true, "boot 1");
  identity_.buckets.pop_back();
  expect_refused({"\"sessions\""});
}

TEST_F(DataDirectory, RefusesABucketForMoreOwnersThanTheRingHas) {
  run(true, "boot 1");
  identity_.buckets.push_back({"wide", 2, "lww", 5});
  expect_refused({"\"wide\"", "n = 5", "n up to"});
  identity_.buckets.pop_back();
  run(true, "boot 1"); // Nothing was recorded.
}

TEST(BootId, IsTheSameForTheWholeBoot) { EXPECT_EQ(current_boot_id(), current_boot_id()); }

// -- In use ---------------------------------------------------------------------------------------------------------

TEST_F(DataDirectory, IsRefusedWhileItIsOpenAndNamesThePid) {
  auto directory = open();
  ASSERT_NE(directory, nullptr);
  expect_refused({path_, "used by another process", "pid " + std::to_string(::getpid())});
  directory.reset();
  EXPECT_EQ(check_data_directory(path_, identity_).error, "");
  EXPECT_NE(open(), nullptr);
}

TEST_F(DataDirectory, DoesNotLeakItsLockToAProgramItStarts) {
  auto directory = open();
  ASSERT_NE(directory, nullptr);
  auto mine = fs::canonical(file("LOCK"));
  size_t found = 0;
  for (const auto& entry : fs::directory_iterator{"/proc/self/fd"}) {
    std::error_code code;
    if (fs::read_symlink(entry.path(), code) != mine)
      continue;
    ++found;
    EXPECT_NE(::fcntl(std::stoi(entry.path().filename()), F_GETFD) & FD_CLOEXEC, 0);
  }
  EXPECT_EQ(found, 1U);
}

// -- Not ours -------------------------------------------------------------------------------------------------------

TEST_F(DataDirectory, OfAnotherProgramIsRefused) {
  fs::create_directories(path_);
  overwrite(file("thesis.tex"), "text");
  expect_refused({path_, "thesis.tex", "not made by crema"});
}

TEST_F(DataDirectory, ThatIsAFileIsRefused) {
  fs::create_directories(root_ / "data");
  overwrite(path_, "text");
  expect_refused({path_, "not a directory"});
}

TEST_F(DataDirectory, BelowAFileIsRefused) {
  overwrite(root_ / "data", "text");
  expect_refused({path_, root_ / "data", "not a directory"});
}

TEST_F(DataDirectory, ThatCannotBeWrittenIsRefused) {
  constexpr uid_t nobody = 65534;
  fs::create_directories(path_);
  ASSERT_EQ(::chmod(path_.c_str(), 0555), 0);
  auto was_root = ::geteuid() == 0; // Who may write everywhere.
  if (was_root) {
    ASSERT_EQ(::chmod(root_.path().c_str(), 0755), 0);
    ASSERT_EQ(::setresuid(nobody, nobody, 0), 0);
  }
  expect_refused({path_, "write"});
  if (was_root) {
    ASSERT_EQ(::setresuid(0, 0, 0), 0);
  }
  ASSERT_EQ(::chmod(path_.c_str(), 0755), 0);
}

TEST_F(DataDirectory, OfAnotherClusterIsRefused) {
  run(true, "boot 1");
  identity_.cluster = "prod";
  expect_refused({path_, "cluster \"demo\"", "\"prod\"", "data_dir"});
}

TEST_F(DataDirectory, OfAnotherNodeIsRefused) {
  run(true, "boot 1");
  identity_.node = "n2";
  expect_refused({path_, "node \"n1\"", "\"n2\"", "data_dir"});
}

TEST_F(DataDirectory, MadeWithOtherPartitionsIsRefused) {
  run(true, "boot 1");
  identity_.partitions = 128;
  expect_refused({path_, "partitions 256", "128", "data_dir"});
}

TEST_F(DataDirectory, MadeWithOtherMembersIsRefused) {
  run(true, "boot 1");
  identity_.members.push_back("n3 c 1");
  expect_refused({path_, "n2 b 1", "n3 c 1", "data_dir"});
}

TEST_F(DataDirectory, TakesOtherMembersOnceTheyWereChangedWhileTheClusterRan) {
  {
    auto opened = open_data_directory(path_, identity_, "boot 1");
    ASSERT_TRUE(opened.opened) << opened.what.error;
    EXPECT_FALSE(opened.opened->says_other_members());
    ASSERT_TRUE(opened.opened->note_members_agreed().ok());
  }
  identity_.members.push_back("n3 c 1");
  for (int start = 0; start < 2; ++start) { // Each time: what they were is not forgotten.
    auto opened = open_data_directory(path_, identity_, "boot 1");
    ASSERT_TRUE(opened.opened) << opened.what.error;
    EXPECT_TRUE(opened.opened->says_other_members());
    ASSERT_TRUE(opened.opened->mark_clean().ok());
  }
  identity_.members.pop_back();
  auto opened = open_data_directory(path_, identity_, "boot 1");
  ASSERT_TRUE(opened.opened) << opened.what.error;
  EXPECT_FALSE(opened.opened->says_other_members());
}

TEST_F(DataDirectory, MadeWithAnotherBucketKindIsRefused) {
  run(true, "boot 1");
  auto original = identity_;
  identity_.buckets[1].conflict = "lww";
  expect_refused({path_, "\"carts\"", "conflict \"siblings\"", "conflict \"lww\"", "data_dir"});
  identity_ = original;
  identity_.buckets[0].n = 1;
  expect_refused({"\"default\"", "n 2", "n 1"});
  identity_ = original;
  identity_.buckets[0].id = 5;
  expect_refused({"\"default\"", "db 0", "db 5"});
}

// -- Damaged --------------------------------------------------------------------------------------------------------

TEST_F(DataDirectory, WithADamagedIdentityIsRefused) {
  run(true, "boot 1");
  auto good = read(file("identity.json"));
  for (size_t length = 0; length + 1 < good.size(); length += 11) {
    overwrite(file("identity.json"), good.substr(0, length));
    expect_refused({file("identity.json"), "damaged", "away"});
  }
  for (const auto* bad : {"[]", "null", "{}", "{\"format\": 2}", "\xff"}) {
    overwrite(file("identity.json"), bad);
    expect_refused({file("identity.json"), "damaged"});
  }
  overwrite(file("identity.json"), good);
  replace(file("identity.json"), "\"partitions\": 256", "\"partitions\": \"many\"");
  expect_refused({file("identity.json"), "damaged"});
}

TEST_F(DataDirectory, OfAnotherFormatIsRefused) {
  run(true, "boot 1");
  auto ours = read(file("identity.json"));
  for (const auto* other : {"1", "3"}) {
    overwrite(file("identity.json"), ours);
    replace(file("identity.json"), "\"format\": 2", std::string{"\"format\": "} + other);
    expect_refused({file("identity.json"), std::string{"of format \""} + other + '"', "reads format \"2\"",
                    "empty directory", "data_dir"});
  }
}

TEST_F(DataDirectory, WithoutItsIdentityIsRefused) {
  run(true, "boot 1");
  fs::remove(file("identity.json"));
  expect_refused({file("identity.json"), "missing", "away"});
}

TEST_F(DataDirectory, WithoutItsDatabaseIsRefused) {
  run(true, "boot 1");
  fs::remove_all(file("db"));
  expect_refused({file("db"), "missing", "replica id", "away"});
}

// -- Set aside ------------------------------------------------------------------------------------------------------

TEST_F(DataDirectory, BeginsAnewWhenItWasSetAside) {
  auto first = run(true, "boot 1");
  overwrite(file("db/CURRENT"), "rotten");
  overwrite(file("notes.txt"), "of an operator");
  EXPECT_EQ(set_aside(path_, identity_).error, "");
  EXPECT_EQ(read(file("damaged/db/CURRENT")), "rotten") << "nothing is removed";
  EXPECT_NE(read(file("damaged/identity.json")), "");
  EXPECT_EQ(read(file("damaged/notes.txt")), "of an operator") << "else the next start would find it in the way";
  auto directory = open();
  ASSERT_NE(directory, nullptr);
  EXPECT_TRUE(directory->created());
  EXPECT_NE(directory->replica(), first) << "else its writes would be named like those that are lost";
  EXPECT_EQ(open_rocksdb(directory->database_path(), {}, false).what.error, "");
}

TEST_F(DataDirectory, IsSetAsideOnceUntilSomebodyHasLookedAtIt) {
  run(true, "boot 1");
  EXPECT_EQ(set_aside(path_, identity_).error, "");
  EXPECT_NE(set_aside(path_, identity_).error.find("there is no data"), std::string::npos);
  run(true, "boot 1");
  auto before = snapshot(path_);
  auto what = set_aside(path_, identity_);
  EXPECT_NE(what.error.find(file("damaged") + ": something was set aside before"), std::string::npos) << what.error;
  before[file("LOCK")] = read(file("LOCK")); // It was locked, by whom it says.
  EXPECT_EQ(snapshot(path_), before);
  fs::remove_all(file("damaged"));
  EXPECT_EQ(set_aside(path_, identity_).error, "");
}

TEST_F(DataDirectory, ThatWasSetAsideIsAnOldCopyWhenItIsPutBack) {
  auto first = run(true, "boot 1");
  EXPECT_EQ(set_aside(path_, identity_).error, "");
  run(true, "boot 1"); // Here it goes on, and others hear of it.
  for (const auto* name : {"db", "identity.json"}) {
    fs::remove_all(file(name));
    fs::rename(file(std::string{"damaged/"} + name), file(name));
  }
  auto directory = open();
  ASSERT_NE(directory, nullptr);
  EXPECT_TRUE(directory->copied());
  EXPECT_NE(directory->replica(), first);
}

TEST_F(DataDirectory, GoesOnBeingSetAsideAfterACrash) {
  run(true, "boot 1");
  fs::create_directory(file("damaged"));
  fs::rename(file("db"), file("damaged/db")); // And there it died.
  expect_refused({file("db"), "missing"});
  EXPECT_EQ(set_aside(path_, identity_).error, "");
  EXPECT_TRUE(fs::exists(file("damaged/db/CURRENT")));
  EXPECT_NE(open(), nullptr);
}

TEST_F(DataDirectory, OfSomebodyElseOrInUseIsNotSetAside) {
  auto mine = identity_;
  run(true, "boot 1");
  identity_.node = "n2";
  EXPECT_NE(set_aside(path_, identity_).error.find("n1"), std::string::npos);
  auto directory = open_data_directory(path_, mine, "boot 1");
  ASSERT_NE(directory.opened, nullptr);
  EXPECT_NE(set_aside(path_, mine).error.find("used by another process"), std::string::npos);
  EXPECT_TRUE(fs::exists(file("db/CURRENT")));
  path_ = root_ / "elsewhere";
  EXPECT_NE(set_aside(path_, mine).error.find("there is no data"), std::string::npos);
}

} // namespace

} // namespace crema::storage::testing
