// What the reply to a write says of what was there before: the context, and whether something existed. And what a
// write that reads first must have read.
#include "apps/simulation/checkers.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace crema::simulation {

namespace {

/// A plain SET or DEL in a siblings bucket replaces every acknowledged value: it has read a quorum.
void check_read_first(const evidence& e, const key_model& k, findings& out) {
  for (const auto& a : k.acknowledged) {
    const auto& op = e.operations[a.operation];
    if (!op.request.read_first || op.request.context)
      continue;
    expiry_clock clock{e, op};
    for (const auto& b : k.acknowledged) {
      const auto& earlier = k.writes[b.write];
      if (earlier.remove || clock.may_be_gone(earlier) || k.writes[a.write].replaces.contains(earlier.id) ||
          !must_see(e, k, e.operations[b.operation], op))
        continue;
      auto replaced = std::any_of(earlier.replaced_by.begin(), earlier.replaced_by.end(),
                                  [&](size_t j) { return k.writes[j].at <= op.completed; });
      if (!replaced)
        out.push_back({"quorum reads see acknowledged writes",
                       fmt::format("{}: its read missed {}, which it does not replace: {}", describe(op, e.cluster),
                                   name_of(earlier, e), describe(e.operations[b.operation], e.cluster)),
                       op.completed});
    }
  }
}

/// The reply to a write in a siblings bucket says: what you had seen, and your write.
void check_write_contexts(const evidence& e, const key_model& k, findings& out) {
  for (const auto& a : k.acknowledged) {
    const auto& op = e.operations[a.operation];
    if (!op.request.context)
      continue;
    auto expected = *op.request.context;
    expected.add(k.writes[a.write].id);
    if (expected != op.context)
      out.push_back(
          {"contexts are exact",
           fmt::format("{}: the reply's context is not the request's and the new write", describe(op, e.cluster)),
           op.completed});
  }
}

/// Whether there was something, as a write that reads first says (DEL counts by it).
class existence_check {
public:
  existence_check(const evidence& e, const key_model& k, const operation& op, const write_record& own, findings& out)
      : e_(e), k_(k), op_(op), own_(own), out_(out), clock_(e, op) {}

  void run() {
    // A remove has no name: of several at the same time nobody knows which one is this request's.
    auto removes = std::count_if(k_.writes.begin(), k_.writes.end(), [this](const write_record& w) {
      return w.remove && w.at >= op_.invoked && w.at <= op_.completed;
    });
    if (own_.remove && removes > 1)
      return;
    if (e_.bucket(k_.bucket).conflict == conflict_rule::siblings)
      by_context();
    else
      by_time();
  }

private:
  bool other(const write_record& w) const { return &w != &own_ && w.at <= op_.completed; }

  /// What was read is in the context of the reply.
  void by_context() {
    if (op_.request.context)
      return; // It says what the write replaces, not what was read.
    auto read = op_.context;
    read.remove(own_.id);
    bool certain = false, possible = false;
    for (const auto& w : k_.writes) {
      auto replaced = false, lost = w.closed; // `lost`: or what had replaced it. It was there once.
      for (auto j : w.replaced_by)
        if (read.contains(k_.writes[j].id))
          (k_.writes[j].closed ? lost : replaced) = true;
      if (w.remove || replaced || !read.contains(w.id) || clock_.gone_for_sure(w))
        continue;
      possible = true;
      certain = certain || (!lost && !clock_.may_be_gone(w));
    }
    if (op_.existed && !possible)
      report("that something existed, though its context says that nothing did");
    if (!op_.existed && certain)
      report("that nothing existed, though its context says that something did");
  }

  /// Something not older than the newest write that the read must have met.
  void by_time() {
    const write_record* floor = nullptr;
    const operation* acknowledged = nullptr;
    for (const auto& a : k_.acknowledged) {
      const auto& w = k_.writes[a.write];
      if (other(w) && (floor == nullptr || floor->is_older(w)) && must_see(e_, k_, e_.operations[a.operation], op_)) {
        floor = &w;
        acknowledged = &e_.operations[a.operation];
      }
    }
    auto explained = floor == nullptr && !op_.existed;
    for (const auto& w : k_.writes)
      if (other(w) && (floor == nullptr || !w.is_older(*floor)))
        explained =
            explained || (op_.existed ? !w.remove && !clock_.gone_for_sure(w) : w.remove || clock_.may_be_gone(w));
    if (!explained)
      report(fmt::format("that {} existed{}", op_.existed ? "something" : "nothing",
                         acknowledged != nullptr ? ", but must not miss: " + describe(*acknowledged, e_.cluster) : ""));
  }

  void report(const std::string& what) {
    out_.push_back({"writes say what existed", describe(op_, e_.cluster) + ": it said " + what, op_.completed});
  }

  const evidence& e_;
  const key_model& k_;
  const operation& op_;
  const write_record& own_;
  findings& out_;
  expiry_clock clock_;
};

} // namespace

void check_writes(const evidence& e, const model& m, findings& out) {
  for (const auto& [where, k] : m.keys()) {
    if (e.bucket(k.bucket).conflict == conflict_rule::siblings) {
      check_read_first(e, k, out);
      check_write_contexts(e, k, out);
    }
    for (const auto& a : k.acknowledged)
      if (const auto& op = e.operations[a.operation]; op.request.read_first)
        existence_check{e, k, op, k.writes[a.write], out}.run();
  }
}

} // namespace crema::simulation
