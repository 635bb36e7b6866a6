#include "protocol/missing_keys.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace crema::protocol {
namespace {

using given = std::vector<std::pair<std::string, std::vector<dot>>>;

/// A log, and who reads it.
class source {
public:
  explicit source(size_t keys) : keys_(keys * 118) {} ///< About so many are kept.

  void write(const dot& d, std::string key) {
    mine_.add(d);
    log_[{d.replica, d.counter}] = std::move(key);
  }
  /// The keys that a peer with this clock lacks, at most `limit`; looks up in the log what has to be.
  given page(const dot_clock& theirs, size_t limit) {
    given result;
    do {
      for (const auto& r : keys_.unread(mine_, theirs))
        for (auto it = log_.lower_bound({r.replica, r.first});
             it != log_.end() && it->first.first == r.replica && it->first.second <= r.last; ++it) {
          keys_.note({it->first.first, it->first.second}, it->second);
          ++looked_up;
        }
      for (const auto* next = keys_.next(nullptr); next != nullptr && result.size() < limit;
           next = keys_.next(&next->first))
        result.emplace_back(next->first, next->second);
    } while (result.empty() && keys_.is_through());
    return result;
  }
  bool serves(const dot_clock& theirs) const { return keys_.serves(theirs); }
  const dot_clock& clock() const { return mine_; }
  const std::map<std::pair<replica_id, uint64_t>, std::string>& log() const { return log_; }
  size_t looked_up = 0;

private:
  missing_keys keys_;
  dot_clock mine_;
  std::map<std::pair<replica_id, uint64_t>, std::string> log_;
};

void learn(const given& page, dot_clock& theirs) {
  for (const auto& [key, dots] : page)
    for (const auto& d : dots)
      theirs.add(d);
}

TEST(MissingKeys, GivesEachKeyWithAllItsDotsAndLooksThemUpOnce) {
  source s{100};
  for (uint64_t i = 1; i <= 6; ++i)
    s.write({7, i}, i % 2 == 0 ? "even" : "odd");
  dot_clock theirs;
  auto first = s.page(theirs, 1);
  EXPECT_EQ(first, (given{{"even", {{7, 2}, {7, 4}, {7, 6}}}}));
  EXPECT_EQ(s.page(theirs, 1), first) << "the first one was lost on the way";
  learn(first, theirs);
  EXPECT_EQ(s.page(theirs, 1), (given{{"odd", {{7, 1}, {7, 3}, {7, 5}}}}));
  EXPECT_EQ(s.looked_up, 6U);
}

TEST(MissingKeys, LearnsWhatIsWrittenBetweenTwoPages) {
  source s{100};
  s.write({7, 1}, "a");
  s.write({7, 2}, "b");
  dot_clock theirs;
  learn(s.page(theirs, 1), theirs);
  s.write({7, 3}, "b");
  s.write({8, 1}, "a");
  EXPECT_EQ(s.page(theirs, 9), (given{{"a", {{8, 1}}}, {"b", {{7, 2}, {7, 3}}}}));
  EXPECT_EQ(s.looked_up, 4U);
}

TEST(MissingKeys, LeavesOutWhatThePeerLearnedElsewhere) {
  source s{100};
  s.write({7, 1}, "a");
  s.write({7, 2}, "b");
  s.write({7, 3}, "b");
  dot_clock theirs;
  s.page(theirs, 1);
  theirs.add(dot{7, 1});
  theirs.add(dot{7, 3});
  EXPECT_EQ(s.page(theirs, 9), (given{{"b", {{7, 2}}}}));
  EXPECT_FALSE(s.serves({})) << "it has forgotten what that peer lacks";
}

TEST(MissingKeys, LooksUpWhatItCouldNotKeepWhenTheOthersAreDone) {
  source s{2}; // Each key with one dot takes 117 bytes.
  for (uint64_t i = 1; i <= 5; ++i)
    s.write({7, i}, std::string(1, static_cast<char>('a' + i)));
  dot_clock theirs;
  for (size_t expected : {2, 2, 1, 0}) {
    auto page = s.page(theirs, 9);
    EXPECT_EQ(page.size(), expected);
    learn(page, theirs);
  }
  EXPECT_EQ(theirs, s.clock());
}

RC_GTEST_PROP(MissingKeys, APageNeverShowsAKeyWithoutADotAndAllKeysComeInTheEnd, ()) {
  source s{*rc::gen::inRange<size_t>(1, 6)};
  dot_clock theirs;
  auto key = rc::gen::map(rc::gen::inRange(0, 9), [](int k) { return "k" + std::to_string(k); });
  std::map<replica_id, uint64_t> counters;
  auto write = [&] {
    auto replica = *rc::gen::inRange<replica_id>(1, 4);
    s.write({replica, ++counters[replica]}, *key);
  };
  auto check_page = [&](size_t limit) {
    auto page = s.page(theirs, limit);
    for (const auto& [k, dots] : page)
      for (const auto& [d, logged] : s.log())
        if (dot id{d.first, d.second}; logged == k && !theirs.contains(id))
          RC_ASSERT(std::find(dots.begin(), dots.end(), id) != dots.end());
    return page;
  };
  for (int steps = *rc::gen::inRange(0, 40); steps > 0; --steps)
    switch (*rc::gen::inRange(0, 4)) {
    case 0:
    case 1:
      write();
      break;
    case 2: { // The peer hears of a write on another way.
      auto ranges = s.clock().missing_from(theirs);
      if (!ranges.empty())
        theirs.add(dot{ranges[0].replica, ranges[0].last});
      break;
    }
    default:
      auto page = check_page(*rc::gen::inRange<size_t>(1, 4));
      if (*rc::gen::arbitrary<bool>()) // Or it is lost.
        learn(page, theirs);
    }
  for (int rounds = 0; rounds < 100 && !theirs.covers(s.clock()); ++rounds)
    learn(check_page(2), theirs);
  RC_ASSERT(theirs.covers(s.clock()));
}

} // namespace
} // namespace crema::protocol
