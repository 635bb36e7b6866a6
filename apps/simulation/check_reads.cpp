#include "apps/simulation/checkers.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <unordered_map>

namespace crema::simulation {

namespace {

/// One read against the model of its key.
class read_check {
public:
  read_check(const evidence& e, const key_model& k, const std::vector<size_t>& acknowledgement_of,
             const operation& read, findings& out)
      : e_(e), k_(k), acknowledgement_of_(acknowledgement_of), read_(read), out_(out), clock_(e, read),
        shown_(k.writes.size(), false) {}

  /// The writes of each value: two, if it was written again.
  using writes_by_value = std::unordered_multimap<std::string_view, size_t>;

  void run(const writes_by_value& by_value) {
    for (const auto& v : read_.values) {
      auto [first, end] = by_value.equal_range(v.value);
      auto found = std::find_if(first, end, [&](const auto& x) { return k_.writes[x.second].time == v.time; });
      if (found == end)
        found = first;
      if (first == end || k_.writes[found->second].at > read_.completed)
        return report("nothing invented", fmt::format("it returned {}, which nobody had written", write_name(v.value)));
      const auto& w = k_.writes[found->second];
      if (shown_[found->second])
        return report("siblings are exact", fmt::format("it returned {} twice", name_of(w, e_)));
      shown_[found->second] = true;
      if (v.time != w.time || v.expires_at != w.expires_at)
        return report("nothing invented", fmt::format("it returned {} with another time or expiry", name_of(w, e_)));
      if (clock_.gone_for_sure(w))
        return report("nothing resurrected", fmt::format("it returned {}, which had expired", name_of(w, e_)));
    }
    if (e_.bucket(k_.bucket).conflict == conflict_rule::lww)
      check_register();
    else
      check_siblings();
  }

private:
  bool may_be_gone(const write_record& w) const { return clock_.may_be_gone(w); }
  bool must_see_write(size_t write) const {
    auto op = acknowledgement_of_[write];
    return op != history::none && must_see(e_, k_, e_.operations[op], read_);
  }
  /// What is missed at the end, with every owner asked, is lost.
  std::string missing() const {
    return read_.must_succeed ? "no acknowledged write lost" : "quorum reads see acknowledged writes";
  }

  void check_register() {
    const write_record* floor = nullptr; // The newest that the read must have met.
    for (size_t i = 0; i < k_.writes.size(); ++i)
      if ((floor == nullptr || floor->is_older(k_.writes[i])) && must_see_write(i))
        floor = &k_.writes[i];
    if (read_.values.size() > 1)
      return report("siblings are exact", "it returned two values of a register");
    if (floor == nullptr)
      return;
    auto acknowledged = [&] { return describe(e_.operations[acknowledgement_of_[index_of(*floor)]], e_.cluster); };
    for (size_t i = 0; i < k_.writes.size(); ++i)
      if (shown_[i] && k_.writes[i].is_older(*floor))
        return report(floor->remove ? "nothing resurrected" : missing(),
                      fmt::format("it returned {}, but must not miss the newer {}: {}", name_of(k_.writes[i], e_),
                                  name_of(*floor, e_), acknowledged()));
    if (!read_.values.empty())
      return;
    auto explains = [&](const write_record& w) {
      return !w.is_older(*floor) && w.at <= read_.completed && (w.remove || may_be_gone(w));
    };
    if (std::none_of(k_.writes.begin(), k_.writes.end(), explains))
      report(missing(),
             fmt::format("it returned nothing, but must not miss {}: {}", name_of(*floor, e_), acknowledged()));
  }

  void check_siblings() {
    std::vector<bool> claimed(k_.writes.size());
    for (size_t i = 0; i < k_.writes.size(); ++i)
      claimed[i] = read_.context.contains(k_.writes[i].id);
    for (size_t i = 0; i < k_.writes.size(); ++i) {
      const auto& w = k_.writes[i];
      auto claimed_and = [&](bool closed) {
        return std::find_if(w.replaced_by.rbegin(), w.replaced_by.rend(),
                            [&](size_t j) { return claimed[j] && k_.writes[j].closed == closed; });
      };
      auto by = claimed_and(false);
      auto replaced = by != w.replaced_by.rend();
      if (shown_[i] && !claimed[i])
        return report("contexts are exact",
                      fmt::format("its context does not contain {}, which it returned", name_of(w, e_)));
      if (shown_[i] && replaced)
        return report("siblings are exact",
                      fmt::format("it returned {}, though its context contains {}, which replaced it", name_of(w, e_),
                                  name_of(k_.writes[*by], e_)));
      auto lost = w.closed || claimed_and(true) != w.replaced_by.rend(); // Perhaps; it was there once.
      if (claimed[i] && !w.remove && !replaced && !shown_[i] && !lost && !may_be_gone(w))
        return report(
            "contexts are exact",
            fmt::format("its context claims {}, which it did not return and nothing in the context replaced: a "
                        "write with this context would destroy a value that nobody has seen",
                        name_of(w, e_)));
      if (shown_[i])
        check_not_replaced(w);
    }
    for (size_t i = 0; i < k_.writes.size(); ++i)
      if (!shown_[i] && !k_.writes[i].remove && must_see_write(i) && !accounted_for(i))
        return report(missing(),
                      fmt::format("it did not return {}, nor anything that replaced it: {}", name_of(k_.writes[i], e_),
                                  describe(e_.operations[acknowledgement_of_[i]], e_.cluster)));
  }

  void check_not_replaced(const write_record& w) {
    for (auto j : w.replaced_by)
      if (must_see_write(j))
        return report("nothing resurrected", fmt::format("it returned {}, which {} had replaced: {}", name_of(w, e_),
                                                         name_of(k_.writes[j], e_),
                                                         describe(e_.operations[acknowledgement_of_[j]], e_.cluster)));
  }

  /// The value itself, or something that replaced it, explains what the read returned.
  bool accounted_for(size_t start) {
    std::vector<bool> visited(k_.writes.size());
    std::vector<size_t> open{start};
    while (!open.empty()) {
      auto i = open.back();
      open.pop_back();
      const auto& w = k_.writes[i];
      if (shown_[i] || w.remove || may_be_gone(w))
        return true;
      for (auto j : w.replaced_by) // The newest last: it explains most.
        if (!visited[j] && k_.writes[j].at <= read_.completed)
          open.push_back(j);
      visited[i] = true;
    }
    return false;
  }

  size_t index_of(const write_record& w) const { return static_cast<size_t>(&w - k_.writes.data()); }
  void report(std::string checker, const std::string& what) {
    out_.push_back({std::move(checker), describe(read_, e_.cluster) + ": " + what, read_.completed});
  }

  const evidence& e_;
  const key_model& k_;
  const std::vector<size_t>& acknowledgement_of_;
  const operation& read_;
  findings& out_;
  expiry_clock clock_;
  std::vector<bool> shown_;
};

} // namespace

void check_reads(const evidence& e, const model& m, findings& out) {
  for (const auto& [where, k] : m.keys()) {
    std::vector<size_t> acknowledgement_of(k.writes.size(), history::none);
    for (const auto& a : k.acknowledged)
      acknowledgement_of[a.write] = a.operation;
    read_check::writes_by_value by_value;
    for (size_t i = 0; i < k.writes.size(); ++i)
      if (!k.writes[i].remove)
        by_value.emplace(k.writes[i].value, i);
    for (auto r : k.reads)
      read_check{e, k, acknowledgement_of, e.operations[r], out}.run(by_value);
  }
}

void check_sets(const evidence& e, const model& m, findings& out) {
  for (const auto& [where, k] : m.keys()) {
    if (k.key.rfind("set", 0) != 0)
      continue;
    for (auto r : k.reads) {
      const auto& read = e.operations[r];
      if (!read.must_succeed)
        continue;
      std::set<std::string_view> present;
      for (const auto& v : read.values)
        for (auto element : elements_of(v.value))
          present.insert(element);
      for (auto w : k.confirmed) {
        const auto& op = e.operations[w];
        if (!must_see(e, k, op, read))
          continue;
        for (auto element : elements_of(op.request.value))
          if (present.count(element) == 0)
            out.push_back({"no acknowledged write lost",
                           fmt::format("{}: the set lacks element {}: {}", describe(read, e.cluster), element,
                                       describe(op, e.cluster)),
                           read.completed});
      }
    }
  }
}

void check_buckets(const evidence& e, findings& out) {
  // What its disk says is known to a node's coordinators, however busy they are and however long it learns of no ring.
  constexpr std::chrono::seconds soon{30};
  for (const auto& op : e.operations.operations()) {
    if (op.result == outcome::pending || op.result == outcome::lost)
      continue;
    auto from = op.invoked - soon;
    if (!e.knew_bucket || e.faults.paused(op.node, from, op.completed) > sim_time{})
      continue;
    auto knew = [&](bool there) { return e.knew_bucket(op.node, op.request.bucket, there, from, op.completed); };
    auto refused = op.status == errc::not_owner && (op.error.find("no such bucket") != std::string::npos ||
                                                    op.error.find("bucket was dropped") != std::string::npos);
    if (refused ? knew(true) : knew(false))
      out.push_back({"buckets are there as agreed",
                     fmt::format("{}, and yet its node has known for long that the bucket is {}",
                                 describe(op, e.cluster), refused ? "there" : "not there"),
                     op.completed});
  }
}

void check_replies(const evidence& e, findings& out) {
  constexpr std::chrono::milliseconds slack{100};
  for (const auto& op : e.operations.operations()) {
    if (op.must_succeed && op.result != outcome::ok)
      out.push_back({"serves again after faults", describe(op, e.cluster), op.invoked});
    if (op.result == outcome::lost)
      continue;
    if (op.result == outcome::pending) {
      out.push_back({"one reply per request", describe(op, e.cluster), op.invoked});
      continue;
    }
    auto allowed = op.is_read() ? e.cluster.read_timeout : e.cluster.write_timeout;
    if (op.request.read_first)
      allowed += e.cluster.read_timeout;
    auto took = op.completed - op.invoked - e.faults.paused(op.node, op.invoked, op.completed);
    if (took > allowed + slack)
      out.push_back(
          {"replies in time",
           fmt::format("{}: it took {} ms of its node's time, {} ms are allowed", describe(op, e.cluster),
                       std::chrono::duration_cast<std::chrono::milliseconds>(took).count(), (allowed + slack).count()),
           op.completed});
  }
}

} // namespace crema::simulation
