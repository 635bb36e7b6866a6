#include "storage/synced_mark.hpp"

#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include <xxhash.h>

#include <fcntl.h>
#include <unistd.h>

namespace crema::storage {

namespace {

constexpr std::string_view head = "crema-synced 1 ";
constexpr const char* unknown_boot = "-";
constexpr size_t sequence_digits = 20;
constexpr size_t checksum_digits = 16;
constexpr size_t tail_bytes = 1 + sequence_digits + 1 + checksum_digits + 1;

std::string checksum(const std::string& text) {
  char hex[17];
  std::snprintf(hex, sizeof hex, "%016" PRIx64, static_cast<uint64_t>(XXH3_64bits(text.data(), text.size())));
  return hex;
}

/// Of a fixed length for a given boot id, so that a rewrite in place replaces all of the line.
std::string to_line(const synced_state& state) {
  char sequence[21];
  std::snprintf(sequence, sizeof sequence, "%020" PRIu64, state.sequence);
  auto text = std::string{head} + (state.boot_id.empty() ? unknown_boot : state.boot_id) + " " + sequence;
  return text + " " + checksum(text) + "\n";
}

} // namespace

status synced_mark::read(const std::string& database, synced_state& out) {
  auto path = path_in(database);
  auto content = read_file(path);
  if (!content.what.ok())
    return content.what;
  if (!content.bytes)
    return {path + ": is missing"};
  // From both ends, because the kernel's boot id is whatever it is.
  const auto& line = *content.bytes;
  synced_state state;
  if (line.size() > head.size() + tail_bytes) {
    auto end = line.size() - tail_bytes;
    state.boot_id = line.substr(head.size(), end - head.size());
    if (state.boot_id == unknown_boot)
      state.boot_id.clear();
    state.sequence = std::strtoull(line.substr(end + 1, sequence_digits).c_str(), nullptr, 10);
  }
  if (to_line(state) != line)
    return {path + ": is damaged"};
  out = std::move(state);
  return {};
}

status synced_mark::open(const std::string& database, synced_state state) {
  std::lock_guard<std::mutex> lock{mutex_};
  path_ = path_in(database);
  state_ = std::move(state);
  auto written = write_file_atomically(path_, to_line(state_));
  if (!written.ok())
    return written;
  file_ = descriptor{::open(path_.c_str(), O_WRONLY | O_CLOEXEC)};
  return file_.valid() ? status{} : system_error(path_, "open");
}

status synced_mark::advance(uint64_t sequence) {
  std::lock_guard<std::mutex> lock{mutex_};
  if (sequence <= state_.sequence)
    return {};
  state_.sequence = sequence;
  return write_locked();
}

uint64_t synced_mark::sequence() const {
  std::lock_guard<std::mutex> lock{mutex_};
  return state_.sequence;
}

status synced_mark::write_locked() {
  auto line = to_line(state_);
  // One write within one sector: a crash leaves the old line or the new one.
  ssize_t n;
  do
    n = ::pwrite(file_.get(), line.data(), line.size(), 0);
  while (n < 0 && errno == EINTR);
  return n == static_cast<ssize_t>(line.size()) ? status{} : system_error(path_, "write");
}

status synced_mark::sync() {
  std::lock_guard<std::mutex> lock{mutex_};
  return ::fdatasync(file_.get()) == 0 ? status{} : system_error(path_, "sync");
}

} // namespace crema::storage
