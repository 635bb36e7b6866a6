#include "storage/data_directory.hpp"

#include "storage/files.hpp"
#include "storage/identity_file.hpp"
#include "storage/rocksdb_store.hpp"

#include <cerrno>
#include <filesystem>
#include <random>

#include <fcntl.h>
#include <mutex>
#include <sys/file.h>
#include <unistd.h>

namespace crema::storage {

namespace fs = std::filesystem;

namespace {

// A directory comes to be in this order, each step durable: CREATING, db/, identity.json, CREATING removed. So without
// identity.json, CREATING tells a creation that was cut short (start over) from a directory that lost a file (refuse).
std::string lock_path(const std::string& path) { return path + "/LOCK"; }
std::string creating_path(const std::string& path) { return path + "/CREATING"; }
std::string db_path(const std::string& path) { return path + "/db"; }
std::string damaged_path(const std::string& path) { return path + "/damaged"; }

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

status used(const std::string& path) {
  auto pid = read_file(lock_path(path)).bytes.value_or("");
  return {path + ": the data directory is used by another process" +
          (pid.empty() ? "" : " (pid " + first_line(pid) + ")") + ". Stop that one first, or choose another data_dir."};
}

/// Takes the lock of an open LOCK file. @param how LOCK_EX to keep it, LOCK_SH to see whether somebody else has it.
status take_lock(const std::string& path, const descriptor& file, int how) {
  int result;
  do
    result = ::flock(file.get(), how | LOCK_NB);
  while (result != 0 && errno == EINTR);
  if (result == 0)
    return {};
  return errno == EWOULDBLOCK ? used(path) : system_error(lock_path(path), "lock");
}

status check_unlocked(const std::string& path) {
  descriptor file{::open(lock_path(path).c_str(), O_RDONLY | O_CLOEXEC)};
  if (!file.valid())
    return errno == ENOENT ? status{} : system_error(lock_path(path), "open");
  return take_lock(path, file, LOCK_SH); // Given back when `file` is closed.
}

/// Can something be created in this directory?
status check_writable(const std::string& path) {
  return ::access(path.c_str(), R_OK | W_OK | X_OK) == 0 ? status{} : system_error(path, "write to the directory");
}

/// For a directory that does not exist: can it be made?
status check_creatable(const std::string& path) {
  auto existing = path;
  std::error_code code;
  fs::file_status kind;
  do {
    auto parent = parent_of(existing);
    if (parent == existing)
      break;
    existing = parent;
    kind = fs::status(existing, code);
  } while (kind.type() == fs::file_type::not_found);
  if (!fs::is_directory(kind))
    return {path + ": cannot create the directory: " + existing + " is not a directory"};
  return check_writable(existing);
}

status foreign(const std::string& path, const std::string& holds) {
  return {path + ": is not empty and was not made by crema (it holds \"" + holds +
          "\"). Choose an empty or a new directory as data_dir."};
}

status identity_lost(const std::string& path) {
  return {identity_path(path) + ": is missing, but " + db_path(path) +
          " is there. Restore the whole data directory from a copy (docs/storage.md, \"Restoring a copy\"), or move it "
          "away: the node then starts empty."};
}

/// What else is in there, given that identity.json is missing: only what crema leaves before it, or before a crash?
status check_empty(const std::string& path) {
  std::error_code code;
  auto unfinished = fs::exists(creating_path(path), code);
  auto entry = fs::directory_iterator{path, code};
  for (; !code && entry != fs::directory_iterator{}; entry.increment(code)) {
    auto name = entry->path().filename().string();
    if (name == "LOCK" || name == "lost+found" || name == "damaged" || unfinished)
      continue;
    if (name == "db")
      return identity_lost(path);
    return foreign(path, name);
  }
  return code ? status{path + ": cannot list the directory: " + code.message()} : status{};
}

status check_database_there(const std::string& path) {
  std::error_code code;
  if (fs::exists(db_path(path), code))
    return {};
  return {db_path(path) +
          ": is missing, but identity.json says that data was kept here. Starting empty under the old replica id would "
          "name new writes like old ones, which loses data. Restore the whole data directory from a copy "
          "(docs/storage.md, \"Restoring a copy\"), or move it away: the node then starts empty under a new id."};
}

struct inspection {
  std::optional<identity_record> record; ///< Nothing: the directory is new.
  status what;
};

/// Looks without writing, at all but the lock and the database.
inspection inspect_identity(const std::string& path, const identity& expected) {
  std::error_code code;
  auto kind = fs::status(path, code);
  if (kind.type() == fs::file_type::not_found)
    return {std::nullopt, check_creatable(path)};
  if (!fs::status_known(kind))
    return {std::nullopt, {path + ": cannot be used as data directory: " + code.message()}};
  if (!fs::is_directory(kind))
    return {std::nullopt, {path + ": is not a directory. Choose another data_dir."}};
  auto what = check_writable(path);
  if (!what.ok())
    return {std::nullopt, what};
  auto found = read_identity(path);
  if (!found.what.ok())
    return {std::nullopt, found.what};
  if (!found.record)
    return {std::nullopt, check_empty(path)};
  what = compare_identities(path, *found.record, expected);
  return {std::move(found.record), what};
}

/// The same, and is the database there?
inspection inspect(const std::string& path, const identity& expected) {
  auto found = inspect_identity(path, expected);
  if (found.what.ok() && found.record)
    found.what = check_database_there(path);
  return found;
}

replica_id random_replica_id() {
  std::random_device entropy; // getrandom(2) or RDRAND: not a seeded sequence.
  for (;;) {
    auto id = replica_id{entropy()} << 32 | entropy();
    if (id != 0)
      return id;
  }
}

/// Makes everything but identity.json. May find the remains of an attempt that a crash cut short.
status create_content(const std::string& path) {
  auto what = write_file_atomically(creating_path(path), "");
  if (!what.ok())
    return what;
  std::error_code code;
  fs::remove_all(db_path(path), code);
  if (code)
    return {db_path(path) + ": cannot remove what an unfinished start left: " + code.message()};
  auto database = open_rocksdb(db_path(path), {}, true);
  return database.what;
}

/// LOCK, open and locked, with our pid in it.
status lock_directory(const std::string& path, descriptor& file) {
  file = descriptor{::open(lock_path(path).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644)};
  if (!file.valid())
    return system_error(lock_path(path), "create");
  auto locked = take_lock(path, file, LOCK_EX);
  if (!locked.ok())
    return locked;
  auto pid = std::to_string(::getpid()) + "\n";
  if (::ftruncate(file.get(), 0) != 0 || ::pwrite(file.get(), pid.data(), pid.size(), 0) < 0)
    return system_error(lock_path(path), "write");
  return {};
}

class locked_directory final : public data_directory {
public:
  locked_directory(std::string path, descriptor lock, identity_record record, bool created, bool other_members)
      : path_(std::move(path)), lock_(std::move(lock)), record_(std::move(record)), created_(created),
        other_members_(other_members) {}

  replica_id replica() const override { return record_.replica; }
  bool created() const override { return created_; }
  bool copied() const override { return record_.copied; }
  std::string database_path() const override { return db_path(path_); }
  bool says_other_members() const override { return other_members_; }
  status note_members_agreed() override {
    std::lock_guard lock{mutex_};
    if (record_.members_agreed)
      return {};
    record_.members_agreed = true;
    return write_identity(path_, record_);
  }
  status mark_clean() override {
    std::lock_guard lock{mutex_};
    record_.clean = true;
    record_.copied = false;
    return write_identity(path_, record_);
  }

private:
  std::string path_;
  descriptor lock_;  ///< Closing it gives the lock back.
  std::mutex mutex_; // For the record.
  identity_record record_;
  bool created_, other_members_;
};

/// Brings identity.json up to date for the run that begins.
status record_start(const std::string& path, const identity& expected, const std::string& boot_id, bool created,
                    bool copied, identity_record& record) {
  auto rebooted = boot_id.empty() || boot_id != record.boot_id;
  // Counters of writes that were never synced may be lost: they must not be given out again under the same id.
  record.copied |= copied || (!created && record.replica == 0);
  if (created || copied || record.replica == 0 || (!record.clean && rebooted))
    record.replica = random_replica_id();
  auto members = record.who.members;
  record.who = expected;
  if (record.members_agreed)
    record.who.members = std::move(members);
  record.boot_id = boot_id;
  record.clean = false;
  auto what = write_identity(path, record);
  if (!what.ok())
    return what;
  std::error_code code;
  if (fs::remove(creating_path(path), code))
    return sync_directory(path);
  return code ? status{creating_path(path) + ": cannot be removed: " + code.message()} : status{};
}

} // namespace

status check_data_directory(const std::string& path, const identity& expected) {
  auto found = inspect(path, expected);
  return found.what.ok() ? check_unlocked(path) : found.what;
}

directory_result open_data_directory(const std::string& path, const identity& expected, const std::string& boot_id) {
  auto checked = check_data_directory(path, expected);
  if (!checked.ok())
    return {nullptr, checked};
  std::error_code code;
  fs::create_directories(path, code);
  if (code)
    return {nullptr, {path + ": cannot create the directory: " + code.message()}};
  auto what = sync_directory(parent_of(path));
  descriptor lock;
  if (what.ok())
    what = lock_directory(path, lock);
  if (!what.ok())
    return {nullptr, what};
  auto found = inspect(path, expected); // Again: before the lock, another process may have been here.
  if (!found.what.ok())
    return {nullptr, found.what};
  auto created = !found.record;
  auto record = found.record.value_or(identity_record{});
  auto other_members = !created && record.who.members != expected.members;
  if (created)
    what = create_content(path);
  auto copied = is_a_copy(path, record);
  record.born = {{"LOCK", birth_of(lock_path(path))}, {"db", birth_of(db_path(path))}};
  if (what.ok())
    what = record_start(path, expected, boot_id, created, copied, record);
  if (!what.ok())
    return {nullptr, what};
  return {std::make_unique<locked_directory>(path, std::move(lock), std::move(record), created, other_members), {}};
}

status set_aside(const std::string& path, const identity& expected) {
  auto found = inspect_identity(path, expected);
  if (found.what.ok() && !found.record)
    return {path + ": there is no data of this node in it; its next start makes it anew"};
  descriptor lock;
  if (found.what.ok())
    found.what = lock_directory(path, lock);
  if (found.what.ok())
    found = inspect_identity(path, expected); // Again: before the lock, another process may have been here.
  if (!found.what.ok() || !found.record)
    return found.what;
  auto to = damaged_path(path);
  std::error_code code;
  if (fs::exists(db_path(path), code) && fs::exists(db_path(to), code))
    return {to + ": something was set aside before. Remove it, if nobody needs what it holds any more"};
  fs::create_directories(to, code);
  std::vector<fs::path> all;
  for (auto entry = fs::directory_iterator{path, code}; !code && entry != fs::directory_iterator{};
       entry.increment(code))
    if (auto name = entry->path().filename();
        name != "LOCK" && name != "lost+found" && name != "damaged" && entry->path() != identity_path(path))
      all.push_back(name);
  for (const auto& name : all)
    if (!code)
      fs::rename(fs::path{path} / name, fs::path{to} / name, code);
  if (code)
    return {path + ": cannot move what it holds to " + to + ": " + code.message()};
  // The identity last: until it is gone, this can be repeated, and without a database nothing starts.
  found.record->replica = 0;
  auto what = write_identity(to, *found.record);
  if (what.ok() && !fs::remove(identity_path(path), code) && code)
    what = {identity_path(path) + ": cannot be removed: " + code.message()};
  return what.ok() ? sync_directory(path) : what;
}

std::string current_boot_id() {
  auto content = read_file("/proc/sys/kernel/random/boot_id");
  return content.bytes ? first_line(*content.bytes) : "";
}

} // namespace crema::storage
