#include "storage/files.hpp"

#include <cerrno>
#include <cstring>
#include <filesystem>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace crema::storage {

namespace {
constexpr size_t file_bytes_max = 1 << 20;
}

descriptor& descriptor::operator=(descriptor&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

descriptor::~descriptor() {
  if (fd_ >= 0)
    ::close(fd_);
}

status system_error(const std::string& path, const char* verb) {
  auto code = errno;
  return {path + ": cannot " + verb + ": " + std::generic_category().message(code)};
}

file_content read_file(const std::string& path) {
  descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (!file.valid()) {
    if (errno == ENOENT)
      return {};
    return {std::nullopt, system_error(path, "open")};
  }
  std::string bytes;
  char buffer[4096];
  for (;;) {
    auto n = ::read(file.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return {std::nullopt, system_error(path, "read")};
    if (n == 0)
      return {std::move(bytes), {}};
    bytes.append(buffer, static_cast<size_t>(n));
    if (bytes.size() > file_bytes_max)
      return {std::nullopt, {path + ": is larger than 1 MiB, which no file of crema with this name is"}};
  }
}

namespace {

std::string birth_of(int directory, const char* path, int flags) {
  struct statx found {};
  if (::statx(directory, path, flags, STATX_BTIME, &found) != 0 || (found.stx_mask & STATX_BTIME) == 0)
    return {};
  return std::to_string(found.stx_btime.tv_sec) + "." + std::to_string(found.stx_btime.tv_nsec);
}

} // namespace

std::string birth_of(const std::string& path) { return birth_of(AT_FDCWD, path.c_str(), 0); }

status write_file_atomically(const std::string& path, std::string_view bytes) {
  return write_file_atomically(path, [&](const std::string&) { return std::string{bytes}; });
}

status write_file_atomically(const std::string& path,
                             const std::function<std::string(const std::string& born)>& content) {
  auto temporary = path + ".tmp";
  descriptor file{::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)};
  if (!file.valid())
    return system_error(temporary, "create");
  auto all = content(birth_of(file.get(), "", AT_EMPTY_PATH));
  std::string_view bytes{all};
  while (!bytes.empty()) {
    auto n = ::write(file.get(), bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return system_error(temporary, "write");
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  if (::fsync(file.get()) != 0)
    return system_error(temporary, "sync");
  if (::rename(temporary.c_str(), path.c_str()) != 0)
    return system_error(path, "replace");
  return sync_directory(parent_of(path));
}

status sync_directory(const std::string& path) {
  descriptor directory{::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (!directory.valid())
    return system_error(path, "open");
  if (::fsync(directory.get()) != 0)
    return system_error(path, "sync");
  return {};
}

std::string parent_of(const std::string& path) {
  auto p = std::filesystem::path{path};
  if (!p.has_filename()) // "a/b/"
    p = p.parent_path();
  auto parent = p.parent_path();
  return parent.empty() ? "." : parent.string();
}

} // namespace crema::storage
