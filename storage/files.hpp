// Small files that must be whole after a crash. Errors are in words, with the path.
#pragma once

#include "storage/store.hpp"

#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace crema::storage {

/// An open file descriptor, closed at the end of its life.
class descriptor {
public:
  descriptor() = default;
  explicit descriptor(int fd) : fd_(fd) {}
  descriptor(descriptor&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  descriptor& operator=(descriptor&& other) noexcept;
  descriptor(const descriptor&) = delete;
  descriptor& operator=(const descriptor&) = delete;
  ~descriptor();

  bool valid() const { return fd_ >= 0; }
  int get() const { return fd_; }

private:
  int fd_ = -1;
};

/// "<path>: cannot <verb>: <reason>" from errno.
status system_error(const std::string& path, const char* verb);

struct file_content {
  std::optional<std::string> bytes; ///< Nothing if there is no such file, or on error.
  status what;
};
/// Reads a file of at most 1 MiB.
file_content read_file(const std::string& path);

/// Replaces the file: after a crash at any moment it holds either the old or the new bytes. Durable on return.
status write_file_atomically(const std::string& path, std::string_view bytes);
/// The same with bytes that say when the file itself was made.
status write_file_atomically(const std::string& path, const std::function<std::string(const std::string& born)>& bytes);

/// When a file or directory was made, in words that only mean something beside each other; "" if it is not there, or
/// the file system does not tell. Renaming changes nothing; a copy has a time of its own.
std::string birth_of(const std::string& path);

/// Makes creations, renames and removals in this directory durable.
status sync_directory(const std::string& path);

/// The directory that holds `path`; "." if `path` names no directory.
std::string parent_of(const std::string& path);

} // namespace crema::storage
