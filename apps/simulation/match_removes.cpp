#include "apps/simulation/match_removes.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace crema::simulation {

namespace {

/// The most pairs of `left` and `right`, each in one pair, along the edges that are added (augmenting paths).
class matching {
public:
  matching(size_t left, size_t right) : edges_(left), partner_(right, history::none) {}

  void add(size_t left, size_t right) { edges_[left].push_back(right); }
  const std::vector<size_t>& edges(size_t left) const { return edges_[left]; }
  /// @returns false if `left` stays alone.
  bool match(size_t left) {
    seen_.assign(partner_.size(), false);
    return find(left);
  }

private:
  bool find(size_t left) {
    for (auto right : edges_[left]) {
      if (seen_[right])
        continue;
      seen_[right] = true;
      if (partner_[right] == history::none || find(partner_[right])) {
        partner_[right] = left;
        return true;
      }
    }
    return false;
  }

  std::vector<std::vector<size_t>> edges_;
  std::vector<size_t> partner_; // Of each on the right.
  std::vector<bool> seen_;
};

class remove_check {
public:
  remove_check(const evidence& e, const key_model& k, findings& out)
      : e_(e), k_(k), out_(out), lww_(e.bucket(k.bucket).conflict == conflict_rule::lww) {
    for (size_t i = 0; i < k.writes.size(); ++i)
      if (k.writes[i].remove)
        named_.push_back(i);
    for (auto i : k.removes)
      (e.operations[i].result == outcome::not_done ? refused_ : asked_).push_back(i);
  }

  void run() {
    // On the right each request twice: for its first write, and for its second.
    matching requests{named_.size(), 2 * asked_.size()};
    for (size_t n = 0; n < named_.size(); ++n)
      for (size_t a = 0; a < asked_.size(); ++a)
        if (may_be_of(e_, k_, e_.operations[asked_[a]], written(n)))
          requests.add(n, a);
    check_acknowledged(requests);
    auto alone = unmatched(requests);
    if (alone.empty())
      return;
    if (lww_) {
      add_second_rounds(requests);
      alone.erase(std::remove_if(alone.begin(), alone.end(), [&](size_t n) { return requests.match(n); }), alone.end());
    }
    for (auto n : alone)
      report(n, requests.edges(n));
  }

private:
  const write_record& written(size_t n) const { return k_.writes[named_[n]]; }

  std::vector<size_t> unmatched(matching& requests) const {
    std::vector<size_t> alone;
    for (size_t n = 0; n < named_.size(); ++n)
      if (!requests.match(n))
        alone.push_back(n);
    return alone;
  }

  /// Two requests that were acknowledged are two writes. One that read first and found nothing need not write.
  void check_acknowledged(const matching& requests) {
    matching writes{asked_.size(), named_.size()};
    for (size_t n = 0; n < named_.size(); ++n)
      for (auto a : requests.edges(n))
        writes.add(a, n);
    for (size_t a = 0; a < asked_.size(); ++a) {
      const auto& op = e_.operations[asked_[a]];
      if (op.acknowledged() && (!op.request.read_first || op.existed) && !writes.match(a))
        out_.push_back({"no acknowledged write lost",
                        fmt::format("{}, but no node wrote such a remove meanwhile that is of no other request",
                                    describe(op, e_.cluster)),
                        op.completed});
    }
  }

  /// docs/protocol.md, "Later writes win": once more, as a write that was there was newer than the first.
  void add_second_rounds(matching& requests) {
    std::vector<std::vector<size_t>> writes_of(asked_.size());
    for (size_t n = 0; n < named_.size(); ++n)
      for (auto a : requests.edges(n))
        writes_of[a].push_back(n);
    for (size_t n = 0; n < named_.size(); ++n) {
      const auto* met = newest_before(written(n));
      if (met == nullptr)
        continue;
      auto first_rounds = requests.edges(n);
      for (auto a : first_rounds)
        if (std::any_of(writes_of[a].begin(), writes_of[a].end(),
                        [&](size_t first) { return first < n && written(first).is_older(*met); }))
          requests.add(n, asked_.size() + a);
    }
  }

  /// Of what it may have been written again for: it was there, and it is older.
  const write_record* newest_before(const write_record& second) const {
    const write_record* newest = nullptr;
    for (const auto& w : k_.writes)
      if (w.at <= second.at && w.time < second.time && (newest == nullptr || newest->is_older(w)))
        newest = &w;
    return newest;
  }

  void report(size_t n, const std::vector<size_t>& fitting) {
    const auto& w = written(n);
    auto what = fmt::format("{}: {}", name_of(k_, e_), name_of(w, e_));
    if (!fitting.empty()) {
      const auto& op = e_.operations[asked_[fitting.back() % asked_.size()]];
      out_.push_back(
          {"one write per request",
           fmt::format("{} is one more than was asked for, the last time by: {}", what, describe(op, e_.cluster)),
           w.at});
      return;
    }
    what += ", which no client asked for";
    auto refused = std::find_if(refused_.rbegin(), refused_.rend(),
                                [&](size_t i) { return may_be_of(e_, k_, e_.operations[i], w); });
    if (refused != refused_.rend())
      what += fmt::format("; but a request was refused, and may have been written all the same: {}",
                          describe(e_.operations[*refused], e_.cluster));
    out_.push_back({"writes are what was asked for", what, w.at});
  }

  const evidence& e_;
  const key_model& k_;
  findings& out_;
  bool lww_;
  std::vector<size_t> named_;           // Indexes of writes.
  std::vector<size_t> asked_, refused_; // Indexes of operations.
};

} // namespace

void match_removes(const evidence& e, const key_model& k, findings& out) { remove_check{e, k, out}.run(); }

} // namespace crema::simulation
