// Bugs planted on purpose, to prove that the simulator's checkers would find them (docs/simulation.md). Only the build
// preset "bugs" has them; everywhere else planted() is false at compile time and costs nothing.
//
//   if (planted(bug::ack_before_disk)) ...
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace crema::protocol {

enum class bug : uint8_t {
  none,
  ack_counted_twice,
  ack_before_disk,
  clock_skipped,
  clock_ahead,
  older_wins,
  deadline_forgotten,
  context_dropped,
  replica_id_reused,
  expired_revived,
  repair_restamps,
  read_short,
  read_before_write,
  answer_counted_twice,
  page_replaces_itself,
  context_of_maxima,
  counter_reset,
  replies_twice,
  write_repeated,
  refusal_written,
  gives_ahead,
  second_round_forgotten,
  write_error_ignored,
  stop_unsynced,
  context_not_sent,
  opens_early,
  own_forgotten,
  backup_trusted,
  hint_dropped,
  absent_forgotten,
  page_partial,
  page_outdated,
  remove_repeated,
  scrub_hasty,
  numbers_anew,
  meetings_forgotten,
  stale_epoch_served,
  joint_old_only,
  knew_not,
  copy_kept,
  former_forgotten,
  settled_early,
  acks_kept,
  vote_unsaved,
  newest_spoken,
  dropped_kept,
  count,
};

/// In the order of the enumeration.
constexpr std::array<std::string_view, static_cast<size_t>(bug::count)> bug_names{
    "none",
    "ack-counted-twice",
    "ack-before-disk",
    "clock-skipped",
    "clock-ahead",
    "older-wins",
    "deadline-forgotten",
    "context-dropped",
    "replica-id-reused",
    "expired-revived",
    "repair-restamps",
    "read-short",
    "read-before-write",
    "answer-counted-twice",
    "page-replaces-itself",
    "context-of-maxima",
    "counter-reset",
    "replies-twice",
    "write-repeated",
    "refusal-written",
    "gives-ahead",
    "second-round-forgotten",
    "write-error-ignored",
    "stop-unsynced",
    "context-not-sent",
    "opens-early",
    "own-forgotten",
    "backup-trusted",
    "hint-dropped",
    "absent-forgotten",
    "page-partial",
    "page-outdated",
    "remove-repeated",
    "scrub-hasty",
    "numbers-anew",
    "meetings-forgotten",
    "stale-epoch-served",
    "joint-old-only",
    "knew-not",
    "copy-kept",
    "former-forgotten",
    "settled-early",
    "acks-kept",
    "vote-unsaved",
    "newest-spoken",
    "dropped-kept",
};

#ifdef CREMA_PLANTED_BUGS
constexpr bool bugs_available = true;
inline bug planted_bug = bug::none; // Process-wide; set before a simulation starts.
inline bool planted(bug which) { return planted_bug == which; }
/// @returns false if there is no such bug. Empty: none.
inline bool plant(std::string_view name) {
  planted_bug = bug::none;
  for (size_t i = 0; i < bug_names.size(); ++i)
    if (bug_names[i] == name)
      planted_bug = static_cast<bug>(i);
  return name.empty() || planted_bug != bug::none;
}
#else
constexpr bool bugs_available = false;
constexpr bool planted(bug) { return false; }
constexpr bool plant(std::string_view name) { return name.empty(); }
#endif

} // namespace crema::protocol
