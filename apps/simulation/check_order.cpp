// What follows from the order of operations alone: two quorums meet in a node that saw both.
#include "apps/simulation/checkers.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace crema::simulation {

namespace {

using protocol::quorum_level;

/// How many owners a request needed: in a sloppy bucket only PR and PW ask for any.
uint32_t owners_of(const config::bucket_config& b, const quorum_level& all, const quorum_level& owners, uint32_t n,
                   uint32_t by_default) {
  auto only = owners.resolve(n, 0).value_or(0);
  return b.sloppy ? only : std::max(only, all.resolve(n, std::min(by_default, n)).value_or(0));
}

uint32_t owners_of(const config::bucket_config& b, const protocol::quorums& numbers, const operation& op) {
  return op.is_read() ? owners_of(b, op.request.read, op.request.read_owners, numbers.n, numbers.r)
                      : owners_of(b, op.request.write, op.request.write_owners, numbers.n, numbers.w);
}

/// Did the later of the two ask an owner that had what the earlier one left on its owners?
bool quorums_meet(const evidence& e, const key_model& k, const operation& earlier, const operation& later) {
  if (earlier.completed >= later.invoked)
    return false;
  const auto& bucket = e.bucket(k.bucket);
  auto numbers = k.numbers(bucket, earlier.invoked, later.completed);
  if (!numbers)
    return false;
  auto left = owners_of(bucket, *numbers, earlier), asked = owners_of(bucket, *numbers, later);
  // An owner that lost its disk acknowledges before it has met those who know the earlier one (docs/protocol.md, "Later
  // writes win").
  auto lost = may_have_lost(e, k, earlier, later.completed).all();
  return left > lost && left - lost + asked > numbers->n &&
         ((lost == 0 && carried_over(e, k, earlier, later, left, asked)) ||
          !k.changed_owners(earlier.invoked, later.completed));
}

/// The writes that a read returned.
std::vector<const write_record*> shown_by(const key_model& k, const operation& read) {
  std::vector<const write_record*> result;
  for (const auto& v : read.values)
    for (const auto& w : k.writes)
      if (!w.remove && w.value == v.value && w.time == v.time)
        result.push_back(&w);
  return result;
}

/// May `read` follow one that returned `w`: does it return that, or what came after it?
bool follows(const evidence& e, const key_model& k, const operation& read, const write_record& w) {
  auto shown = shown_by(k, read);
  if (e.bucket(k.bucket).conflict == conflict_rule::lww && !shown.empty())
    return !shown.front()->is_older(w);
  auto before = [&](const write_record* x) { return w.replaces.contains(x->id); };
  if (std::any_of(shown.begin(), shown.end(), before))
    return false;
  auto it = [&](const write_record* x) { return x == &w; };
  if (std::any_of(shown.begin(), shown.end(), it) || w.expires_at != 0)
    return true;
  if (e.bucket(k.bucket).conflict == conflict_rule::siblings)
    return std::any_of(w.replaced_by.begin(), w.replaced_by.end(),
                       [&](size_t i) { return k.writes[i].at <= read.completed; });
  return std::any_of(k.writes.begin(), k.writes.end(), [&](const write_record& x) {
    return !x.is_older(w) && x.at <= read.completed && (x.remove || x.expires_at != 0);
  });
}

} // namespace

void check_lww_order(const evidence& e, const model& m, findings& out) {
  for (const auto& [where, k] : m.keys()) {
    if (e.bucket(k.bucket).conflict != conflict_rule::lww)
      continue;
    for (const auto& a : k.acknowledged)
      for (const auto& b : k.acknowledged) {
        const auto& first = e.operations[a.operation];
        const auto& second = e.operations[b.operation];
        if (!k.writes[a.write].is_older(k.writes[b.newest_write]) && quorums_meet(e, k, first, second))
          out.push_back({"later writes win",
                         fmt::format("{}. Later {}, and yet {} wins over {}", describe(first, e.cluster),
                                     describe(second, e.cluster), name_of(k.writes[a.write], e),
                                     name_of(k.writes[b.newest_write], e)),
                         second.completed});
      }
  }
}

void check_monotonic_reads(const evidence& e, const model& m, findings& out) {
  for (const auto& [where, k] : m.keys())
    for (auto i : k.reads) {
      const auto& first = e.operations[i];
      if (first.request.repair != protocol::read_repair::foreground)
        continue;
      auto shown = shown_by(k, first);
      for (auto j : k.reads) {
        const auto& second = e.operations[j];
        // What it showed is with R owners. Of those who are to be owners nobody knows that.
        auto may_be_left_behind =
            k.was_changing(first.invoked, first.completed) && k.changed_owners(first.invoked, second.completed);
        if (may_be_left_behind || !quorums_meet(e, k, first, second))
          continue;
        for (const auto* w : shown)
          if (!follows(e, k, second, *w))
            out.push_back({"monotonic reads",
                           fmt::format("{}: it returned {}. Later {}, and has neither that nor what came after it",
                                       describe(first, e.cluster), name_of(*w, e), describe(second, e.cluster)),
                           second.completed});
      }
    }
}

} // namespace crema::simulation
