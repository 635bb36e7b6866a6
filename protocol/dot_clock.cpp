#include "protocol/dot_clock.hpp"

#include <algorithm>

namespace crema::protocol {

// -- The dots of one replica --

bool dot_clock::entry::contains(uint64_t counter) const {
  if (counter <= base)
    return counter > 0;
  auto after = std::upper_bound(intervals.begin(), intervals.end(), counter,
                                [](uint64_t c, const interval& x) { return c < x.first; });
  return after != intervals.begin() && counter <= std::prev(after)->last;
}

bool dot_clock::entry::covers(const entry& other) const {
  if (other.base > base)
    return false;
  auto mine = intervals.begin();
  for (const auto& x : other.intervals) {
    if (x.last <= base)
      continue;
    // Ranges are maximal, so one of them must hold all of x.
    while (mine != intervals.end() && mine->last < x.last)
      ++mine;
    if (mine == intervals.end() || mine->first > x.first)
      return false;
  }
  return true;
}

void dot_clock::entry::add(interval range) {
  if (range.first <= base + 1) {
    base = std::max(base, range.last);
    auto keep = intervals.begin();
    for (; keep != intervals.end() && keep->first <= base + 1; ++keep)
      base = std::max(base, keep->last);
    intervals.erase(intervals.begin(), keep);
    return;
  }
  // [low, high) touch the range and become one with it.
  auto low = std::lower_bound(intervals.begin(), intervals.end(), range.first,
                              [](const interval& x, uint64_t first) { return x.last + 1 < first; });
  auto high = low;
  for (; high != intervals.end() && high->first <= range.last + 1; ++high)
    range = {std::min(range.first, high->first), std::max(range.last, high->last)};
  if (low == high) {
    intervals.insert(low, range);
  } else {
    *low = range;
    intervals.erase(low + 1, high);
  }
}

void dot_clock::entry::remove(uint64_t counter) {
  if (!contains(counter))
    return;
  if (counter <= base) {
    if (counter < base)
      intervals.insert(intervals.begin(), interval{counter + 1, base});
    base = counter - 1;
    return;
  }
  auto holder = std::lower_bound(intervals.begin(), intervals.end(), counter,
                                 [](const interval& x, uint64_t c) { return x.last < c; });
  if (holder->first == holder->last) {
    intervals.erase(holder);
  } else if (counter == holder->first) {
    ++holder->first;
  } else if (counter == holder->last) {
    --holder->last;
  } else {
    auto rest = interval{counter + 1, holder->last};
    holder->last = counter - 1;
    intervals.insert(holder + 1, rest);
  }
}

void dot_clock::entry::join(const entry& other) {
  if (covers(other))
    return; // The usual case among replicas that agree: no allocation.
  if (other.intervals.size() <= 1) {
    for (size_t i = 0; i < other.ranges(); ++i)
      add(other.range(i));
    return;
  }
  // One walk over both lists: adding range by range would be quadratic.
  entry united;
  united.intervals.reserve(intervals.size() + other.intervals.size());
  size_t i = 0;
  size_t j = 0;
  while (i < ranges() || j < other.ranges()) {
    bool mine = j == other.ranges() || (i < ranges() && range(i).first <= other.range(j).first);
    auto next = mine ? range(i++) : other.range(j++);
    if (next.first <= united.base + 1)
      united.base = std::max(united.base, next.last);
    else if (!united.intervals.empty() && next.first <= united.intervals.back().last + 1)
      united.intervals.back().last = std::max(united.intervals.back().last, next.last);
    else
      united.intervals.push_back(next);
  }
  base = united.base;
  intervals = std::move(united.intervals);
}

template <class Visit>
void dot_clock::difference(const entry& a, const entry& b, Visit visit) {
  size_t j = 0;
  for (size_t i = 0; i < a.ranges(); ++i) {
    auto left = a.range(i);
    while (j < b.ranges() && b.range(j).last < left.first)
      ++j;
    // The last range of b that touches this one may also touch the next.
    for (; j < b.ranges() && b.range(j).first <= left.last; ++j) {
      auto cut = b.range(j);
      if (cut.first > left.first)
        visit(interval{left.first, cut.first - 1});
      left.first = cut.last + 1;
      if (left.first > left.last)
        break;
    }
    if (left.first <= left.last)
      visit(left);
  }
}

void dot_clock::entry::subtract(const entry& other) {
  entry rest;
  difference(*this, other, [&](interval x) {
    if (x.first == 1)
      rest.base = x.last;
    else
      rest.intervals.push_back(x);
  });
  base = rest.base;
  intervals = std::move(rest.intervals);
}

// -- All replicas --

namespace {

/// Where the entry of `replica` is or would be.
template <class Entries>
auto place_of(Entries& entries, replica_id replica) {
  return std::lower_bound(entries.begin(), entries.end(), replica,
                          [](const auto& x, replica_id id) { return x.replica < id; });
}

} // namespace

const dot_clock::entry* dot_clock::find(replica_id replica) const {
  auto at = place_of(entries_, replica);
  return at != entries_.end() && at->replica == replica ? &*at : nullptr;
}

bool dot_clock::contains(const dot& d) const {
  const auto* known = find(d.replica);
  return known != nullptr && known->contains(d.counter);
}

bool dot_clock::add(const dot& d) {
  if (!valid(d) || contains(d))
    return false;
  add(dot_range{d.replica, d.counter, d.counter});
  return true;
}

void dot_clock::add(const dot_range& range) {
  if (range.replica == 0 || range.first == 0 || range.first > range.last || range.last > counter_max)
    return;
  auto at = place_of(entries_, range.replica);
  if (at == entries_.end() || at->replica != range.replica)
    at = entries_.insert(at, entry{range.replica, 0, {}});
  at->add({range.first, range.last});
}

void dot_clock::remove(const dot& d) {
  auto at = place_of(entries_, d.replica);
  if (at == entries_.end() || at->replica != d.replica)
    return;
  at->remove(d.counter);
  if (at->empty())
    entries_.erase(at);
}

void dot_clock::join(const dot_clock& other) {
  if (this == &other)
    return;
  size_t added = 0; // Ids of `other` that are new here; appended first, then merged into their places.
  auto known = entries_.size();
  for (size_t i = 0, j = 0; j < other.entries_.size(); ++j) {
    const auto& theirs = other.entries_[j];
    while (i < known && entries_[i].replica < theirs.replica)
      ++i;
    if (i < known && entries_[i].replica == theirs.replica) {
      entries_[i].join(theirs);
    } else {
      entries_.push_back(theirs);
      ++added;
    }
  }
  if (added > 0)
    std::inplace_merge(entries_.begin(), entries_.begin() + static_cast<std::ptrdiff_t>(known), entries_.end(),
                       [](const entry& a, const entry& b) { return a.replica < b.replica; });
}

bool dot_clock::covers(const dot_clock& other) const {
  return std::all_of(other.entries_.begin(), other.entries_.end(), [&](const entry& theirs) {
    const auto* mine = find(theirs.replica);
    return mine != nullptr && mine->covers(theirs);
  });
}

std::vector<dot_range> dot_clock::missing_from(const dot_clock& other) const {
  std::vector<dot_range> missing;
  const entry nothing;
  for (const auto& mine : entries_) {
    const auto* theirs = other.find(mine.replica);
    difference(mine, theirs != nullptr ? *theirs : nothing, [&](interval x) {
      missing.push_back({mine.replica, x.first, x.last});
    });
  }
  return missing;
}

void dot_clock::subtract(const dot_clock& other) {
  for (auto& mine : entries_)
    if (const auto* theirs = other.find(mine.replica)) {
      if (theirs->covers(mine))
        mine = entry{mine.replica, 0, {}};
      else
        mine.subtract(*theirs);
    }
  entries_.erase(std::remove_if(entries_.begin(), entries_.end(), [](const entry& x) { return x.empty(); }),
                 entries_.end());
}

void dot_clock::meet(const dot_clock& other) {
  if (other.covers(*this))
    return;
  auto only_here = *this;
  only_here.subtract(other);
  subtract(only_here);
}

uint64_t dot_clock::base(replica_id replica) const {
  const auto* known = find(replica);
  return known != nullptr ? known->base : 0;
}

uint64_t dot_clock::highest(replica_id replica) const {
  const auto* known = find(replica);
  if (known == nullptr)
    return 0;
  return known->intervals.empty() ? known->base : known->intervals.back().last;
}

std::vector<dot_range> dot_clock::ranges() const { return missing_from({}); }

bool dot_clock::has_gaps() const {
  return std::any_of(entries_.begin(), entries_.end(), [](const entry& e) { return !e.intervals.empty(); });
}

dot_clock dot_clock::gaps() const {
  dot_clock all;
  for (const auto& e : entries_)
    if (!e.intervals.empty())
      all.add(dot_range{e.replica, 1, e.intervals.back().last});
  all.subtract(*this);
  return all;
}

namespace {
/// Saturates.
template <class Range>
void add_length(uint64_t& sum, const Range& r) {
  auto more = r.last - r.first + 1;
  sum = more > UINT64_MAX - sum ? UINT64_MAX : sum + more;
}
} // namespace

uint64_t count(const std::vector<dot_range>& ranges) {
  uint64_t sum = 0;
  for (const auto& r : ranges)
    add_length(sum, r);
  return sum;
}

uint64_t dot_clock::size() const { // Without a copy of the ranges: every report asks for it, vnode by vnode.
  uint64_t sum = 0;
  for (const auto& known : entries_)
    for (size_t i = 0; i < known.ranges(); ++i)
      add_length(sum, known.range(i));
  return sum;
}

bool operator==(const dot_clock& a, const dot_clock& b) {
  auto same_interval = [](const dot_clock::interval& x, const dot_clock::interval& y) {
    return x.first == y.first && x.last == y.last;
  };
  return std::equal(a.entries_.begin(), a.entries_.end(), b.entries_.begin(), b.entries_.end(),
                    [&](const dot_clock::entry& x, const dot_clock::entry& y) {
                      return x.replica == y.replica && x.base == y.base &&
                             std::equal(x.intervals.begin(), x.intervals.end(), y.intervals.begin(), y.intervals.end(),
                                        same_interval);
                    });
}

} // namespace crema::protocol
