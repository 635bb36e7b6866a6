// Many seeds, in worker processes: a seed that crashes its process is a finding like any other, and the others go on.
#pragma once

#include "apps/simulation/simulation.hpp"

namespace crema::simulation {

struct many_options {
  run_options run; ///< The seed is taken from the range.
  uint64_t first = 1, last = 1;
  size_t jobs = 1;
  bool fail_fast = false;
  size_t shrink_attempts = 0; ///< 0: failing runs are printed as they are.
  bool quiet = false;         ///< No progress.
};

struct many_result {
  uint64_t seeds = 0, failed = 0;
  uint64_t first_failed = 0; ///< Its place in the range, from 1; 0: none failed.
};

/// Prints progress on standard error, and each failing seed, with the command that replays it, and a summary on
/// standard output.
many_result run_many(const many_options& options);

/// What a failing run prints: checker, what it saw, when, and the command.
std::string report_of(const run_options& options, const violation& failure);

} // namespace crema::simulation
