#include "apps/simulation/simulation.hpp"

#include "apps/simulation/faults.hpp"

#include <algorithm>

namespace crema::simulation {

namespace {

/// Tries smaller runs, and keeps those that still fail in the same way.
class shrinker {
public:
  shrinker(const run_options& failing, size_t attempts) : best_(failing), attempts_(attempts) {
    best_.trace_file.clear();
    if (!has_topology(best_))
      best_.faults.erase(fault_kind::topology); // Or it would begin to strike once another kind is left out.
    auto first = run(best_);
    if (first.failure) {
      checker_ = first.failure->checker;
      note(first);
    }
  }

  run_options result() {
    if (checker_.empty())
      return best_; // It does not fail: nothing to shrink.
    for (bool better = true; better && attempts_ > 0;)
      better = fewer_faults() | fewer_buckets() | less_of_everything();
    return best_;
  }

private:
  bool attempt(const run_options& smaller) {
    if (attempts_ == 0)
      return false;
    --attempts_;
    auto r = run(smaller);
    if (!r.failure || r.failure->checker != checker_)
      return false;
    best_ = smaller;
    note(r);
    return true;
  }
  void note(const run_result& r) {
    operations_ = r.operations;
    faults_ = r.faults;
    failed_at_ = r.failure->at;
  }

  bool fewer_faults() {
    bool better = false;
    for (auto f : std::set<fault_kind>{best_.faults}) {
      auto smaller = best_;
      smaller.faults.erase(f);
      better |= attempt(smaller);
    }
    return better;
  }

  bool fewer_buckets() {
    auto names = best_.buckets.empty() ? bucket_names() : best_.buckets;
    if (names.size() < 2)
      return false;
    for (const auto& name : names) {
      auto smaller = best_;
      smaller.buckets = {name};
      if (attempt(smaller))
        return true;
    }
    return false;
  }

  bool less_of_everything() {
    bool better = false;
    auto halve = [&](auto get, uint64_t now, uint64_t least) {
      while (now / 2 >= least && attempts_ > 0) {
        auto smaller = best_;
        get(smaller, now / 2);
        if (!attempt(smaller))
          return;
        better = true;
        now /= 2;
      }
    };
    auto minutes = std::chrono::duration_cast<std::chrono::minutes>(failed_at_).count() + 1;
    if (minutes < best_.duration.count()) {
      auto smaller = best_;
      smaller.duration = std::chrono::minutes{minutes};
      better |= attempt(smaller);
    }
    halve([](auto& o, uint64_t n) { o.duration = std::chrono::minutes{n}; },
          static_cast<uint64_t>(best_.duration.count()), 1);
    halve([](auto& o, uint64_t n) { o.clients = n; }, best_.clients, 1);
    if (best_.nodes > 3) {
      auto smaller = best_;
      --smaller.nodes;
      better |= attempt(smaller);
    }
    halve([](auto& o, uint64_t n) { o.fault_events_max = n; }, faults_, 1);
    halve([](auto& o, uint64_t n) { o.operations_max = n; }, operations_, 1);
    return better;
  }

  run_options best_;
  size_t attempts_;
  std::string checker_;
  uint64_t operations_ = 0, faults_ = 0; // Of the best run.
  sim_time failed_at_{};
};

} // namespace

run_options shrink(const run_options& failing, size_t attempts) { return shrinker{failing, attempts}.result(); }

} // namespace crema::simulation
