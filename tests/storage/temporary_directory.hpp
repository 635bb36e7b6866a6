// A directory of its own for one test, removed at its end.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

namespace crema::storage::testing {

class temporary_directory {
public:
  /// @param where ends with a slash.
  explicit temporary_directory(const std::string& where = ::testing::TempDir())
      : path_(where + "crema-storage-XXXXXX") {
    if (::mkdtemp(path_.data()) == nullptr)
      std::abort();
  }
  ~temporary_directory() {
    std::error_code code;
    std::filesystem::remove_all(path_, code);
  }
  temporary_directory(const temporary_directory&) = delete;
  temporary_directory& operator=(const temporary_directory&) = delete;

  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

private:
  std::string path_;
};

} // namespace crema::storage::testing
