// What happened in a run, line by line with its virtual time: into a file if there is one, always into a hash.
#pragma once

#include "apps/simulation/world.hpp"

#include <fmt/format.h>

#include <cstdio>
#include <memory>
#include <string>

namespace crema::simulation {

class trace_log {
public:
  /// @param file its name; empty: only the hash is kept.
  explicit trace_log(const std::string& file) : file_(file.empty() ? nullptr : std::fopen(file.c_str(), "w")) {}

  bool to_file() const { return file_ != nullptr; }
  uint64_t hash() const { return hash_; }
  void mix(uint64_t x) { hash_ = (hash_ ^ x) * 0x100000001B3ULL + (hash_ >> 29); }
  void note(sim_time at, const std::string& text) {
    mix(static_cast<uint64_t>(at.count()));
    for (char c : text)
      mix(static_cast<uint8_t>(c));
    line(at, text);
  }
  /// What is too long for the hash, or adds nothing to it.
  void line(sim_time at, const std::string& text) {
    if (!to_file())
      return;
    auto micros = std::chrono::duration_cast<std::chrono::microseconds>(at).count();
    fmt::print(file_.get(), "{:>10}.{:06} {}\n", micros / 1'000'000, micros % 1'000'000, text);
  }

private:
  struct close {
    void operator()(std::FILE* f) const { std::fclose(f); }
  };
  std::unique_ptr<std::FILE, close> file_;
  uint64_t hash_ = 0xCBF29CE484222325ULL;
};

} // namespace crema::simulation
