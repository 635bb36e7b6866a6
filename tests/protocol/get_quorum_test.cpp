#include "protocol/get_quorum.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

using namespace crema;
using namespace crema::protocol;

namespace {

constexpr node_id a{1}, b{2}, c{3}, f{4}, g{5}, stranger{99};
using words = std::vector<std::string>;
using repairs = std::vector<std::pair<node_id, node_id>>;

std::string name(node_id id) { return std::to_string(to_index(id)); }

/// Writes down what it is told, as words: "get 1", "digest 2", "object", "failed timeout 0/2", "repair 1 from 2".
struct recorder : get_outbox {
  void send_get(node_id to) override {
    said.push_back("get " + name(to));
    gets.push_back(to);
  }
  void send_digest(node_id to) override {
    said.push_back("digest " + name(to));
    digests.push_back(to);
  }
  void reply_object(const std::string& x) override {
    said.emplace_back("object");
    object = x;
    ++replies;
  }
  std::optional<node_id> next_fallback() override {
    if (fallbacks.empty())
      return std::nullopt;
    auto next = fallbacks.front();
    fallbacks.erase(fallbacks.begin());
    return next;
  }
  void reply_failed(errc why, const shortfall& missing) override {
    said.push_back("failed " + std::string(to_string(why)) + " " + std::to_string(missing.had) + "/" +
                   std::to_string(missing.needed) + (missing.owners ? " owners" : ""));
    ++replies;
  }
  void repair(node_id stale, node_id source) override {
    EXPECT_TRUE(replies > 0 || foreground) << "the client comes first";
    said.push_back("repair " + name(stale) + " from " + name(source));
    repaired.emplace_back(stale, source);
  }
  words take() { return std::exchange(said, {}); }

  words said;
  std::vector<node_id> fallbacks; // None: a strict bucket.
  std::vector<node_id> gets, digests;
  repairs repaired;
  std::optional<std::string> object;
  int replies = 0;
  bool foreground = false;
};

std::string lww(uint64_t time, const std::string& value = "v") {
  return encode_lww({time, dot{7, time}, 0, false, value});
}
uint64_t digest_of(conflict_rule rule, const std::string& object) {
  if (object.empty())
    return 0;
  return rule == conflict_rule::lww ? digest_lww(decode_lww(object)) : digest_siblings(*decode_siblings(object));
}
uint64_t lww_digest(uint64_t time) { return digest_of(conflict_rule::lww, lww(time)); }

/// An expanded object with these siblings, whose replica knows (only) `known` besides.
std::string siblings(std::vector<dot> values, std::vector<dot> known = {}) {
  siblings_object x;
  for (const auto& d : values)
    x.siblings.push_back({d, 1, 0, "v" + std::to_string(d.counter)});
  known.insert(known.end(), values.begin(), values.end());
  for (const auto& d : known)
    x.seen.add(d);
  return encode_siblings(x);
}

/// A started read of a, b, c.
struct started {
  explicit started(uint32_t required, bool ask_all = false, conflict_rule rule = conflict_rule::lww,
                   read_repair repair = read_repair::background)
      : rule_(rule), get(rule, {a, b, c}, {true, true, true}, required, 0, ask_all, repair) {
    out.foreground = repair == read_repair::foreground;
    get.start(out);
    out.take();
  }
  void object(node_id from, const std::string& x) { get.object_received(from, x, digest_of(rule_, x), out); }
  void digest(node_id from, const std::string& x) { get.digest_received(from, digest_of(rule_, x), out); }
  conflict_rule rule_;
  recorder out;
  get_quorum get;
};

} // namespace

TEST(GetQuorum, AsksTheNearestForTheObjectAndAsManyForDigestsAsNeeded) {
  recorder out;
  get_quorum get(conflict_rule::lww, {a, b, c}, {true, true, true}, 2);
  get.start(out);
  EXPECT_EQ(out.take(), (words{"get 1", "digest 2"}));
}

TEST(GetQuorum, AsksEveryReachableOwnerIfToldSo) {
  recorder out;
  get_quorum get(conflict_rule::lww, {a, b, c}, {false, true, true}, 1, 0, true);
  get.start(out);
  EXPECT_EQ(out.take(), (words{"get 2", "digest 3"}));
}

TEST(GetQuorum, SendsNothingWhenTooFewOwnersAreReachable) {
  recorder out;
  get_quorum get(conflict_rule::lww, {a, b, c}, {true, false, false}, 2);
  get.start(out);
  EXPECT_EQ(out.take(), words{"failed no_quorum 0/2"});
  EXPECT_TRUE(get.done());
}

TEST(GetQuorum, RepliesWithTheObjectWhenTheDigestsAgree) {
  started x(2);
  x.digest(b, lww(5));
  EXPECT_FALSE(x.get.replied());
  x.object(a, lww(5));
  EXPECT_EQ(x.out.take(), words{"object"});
  EXPECT_EQ(x.out.object, lww(5));
  EXPECT_TRUE(x.get.done());
}

TEST(GetQuorum, RepliesThatThereIsNoObject) {
  started x(2);
  x.object(a, "");
  x.digest(b, "");
  EXPECT_EQ(x.out.object, "");
}

TEST(GetQuorum, FetchesTheObjectsWhenTheDigestsDifferAndRepairsTheStaleOwner) {
  started x(2);
  x.object(a, lww(5));
  x.digest(b, lww(6));
  EXPECT_EQ(x.out.take(), words{"get 2"});
  x.object(b, lww(6));
  EXPECT_EQ(x.out.take(), (words{"object", "repair 1 from 2"}));
  EXPECT_EQ(x.out.object, lww(6));
  EXPECT_TRUE(x.get.done());
}

TEST(GetQuorum, RepairsAnOwnerThatHasNothing) {
  started x(2);
  x.object(a, "");
  x.digest(b, lww(6));
  x.object(b, lww(6));
  EXPECT_EQ(x.out.object, lww(6));
  EXPECT_EQ(x.out.repaired, (repairs{{a, b}}));
}

TEST(GetQuorum, RepairsNothingIfToldSo) {
  started x(2, true, conflict_rule::lww, read_repair::none);
  x.object(a, lww(5));
  x.digest(b, lww(6));
  x.object(b, lww(6));
  x.digest(c, lww(4));
  EXPECT_TRUE(x.out.repaired.empty());
  EXPECT_TRUE(x.get.done());
}

TEST(GetQuorum, JoinsSiblingsThatAreSplitOverOwnersAndRepairsThemFromEachOther) {
  started x(2, false, conflict_rule::siblings);
  const dot left{1, 1}, right{2, 1};
  x.object(a, siblings({left}));
  x.digest(b, siblings({right}));
  x.object(b, siblings({right}));
  auto answer = decode_siblings(*x.out.object);
  ASSERT_EQ(answer->siblings.size(), 2U);
  EXPECT_TRUE(answer->seen.contains(left) && answer->seen.contains(right));
  EXPECT_EQ(x.out.repaired, (repairs{{a, b}, {b, a}}));
}

TEST(GetQuorum, KnowsThatADeletedSiblingIsNotMissing) {
  started x(2, false, conflict_rule::siblings);
  const dot gone{1, 1};
  x.object(a, siblings({gone}));
  x.digest(b, siblings({}, {gone}));
  x.object(b, siblings({}, {gone}));
  EXPECT_TRUE(decode_siblings(*x.out.object)->siblings.empty());
  EXPECT_EQ(x.out.repaired, (repairs{{a, b}}));
}

TEST(GetQuorum, RepairsFromALateOwnerThatIsNewer) {
  started x(2, true);
  x.object(a, lww(5));
  x.digest(b, lww(5));
  EXPECT_EQ(x.out.take(), words{"object"});
  EXPECT_FALSE(x.get.done());
  x.digest(c, lww(9));
  EXPECT_EQ(x.out.take(), words{"get 3"});
  x.object(c, lww(9));
  EXPECT_EQ(x.out.take(), (words{"repair 1 from 3", "repair 2 from 3"}));
  EXPECT_TRUE(x.get.done());
}

TEST(GetQuorum, RepairsAlsoWhenTheFirstSaidThatThereIsNothing) {
  started x(2, true);
  x.object(a, "");
  x.digest(b, "");
  EXPECT_EQ(x.out.object, "");
  x.digest(c, lww(9));
  x.object(c, lww(9));
  EXPECT_EQ(x.out.repaired, (repairs{{a, c}, {b, c}}));
}

TEST(GetQuorum, RepairsALateOwnerThatIsOlder) {
  started x(2, true);
  x.object(a, lww(5));
  x.digest(b, lww(5));
  x.digest(c, lww(3));
  x.object(c, lww(3));
  EXPECT_EQ(x.out.repaired, (repairs{{c, a}}));
}

TEST(GetQuorum, LooksAtWhatEveryOwnerKnowsBeforeItRepairsSiblings) {
  started x(2, true, conflict_rule::siblings);
  const dot kept{1, 1}, gone{2, 1};
  x.object(a, siblings({kept}));
  x.digest(b, siblings({kept}, {gone}));
  EXPECT_EQ(x.out.take(), words{"object"});
  x.digest(c, siblings({kept, gone}));
  EXPECT_EQ(x.out.take(), (words{"get 2", "get 3"}));
  x.object(c, siblings({kept, gone}));
  EXPECT_EQ(x.out.take(), words{}); // a must not get back what b knows to be replaced.
  x.object(b, siblings({kept}, {gone}));
  EXPECT_EQ(x.out.take(), words{"repair 3 from 2"});
}

TEST(GetQuorum, LeavesALateOwnerAloneThatAgrees) {
  started x(2, true);
  x.object(a, lww(5));
  x.digest(b, lww(5));
  x.digest(c, lww(5));
  EXPECT_EQ(x.out.take(), words{"object"});
  EXPECT_TRUE(x.get.done());
}

TEST(GetQuorum, AsksAnotherOwnerInPlaceOfOneThatFailed) {
  started object_lost(2);
  object_lost.get.failed(a, errc::no_quorum, object_lost.out);
  EXPECT_EQ(object_lost.out.take(), words{"get 3"});
  started digest_lost(2);
  digest_lost.get.failed(b, errc::no_quorum, digest_lost.out);
  EXPECT_EQ(digest_lost.out.take(), words{"digest 3"});
}

TEST(GetQuorum, AsksAnotherForTheObjectWhenAllWereAskedForDigests) {
  started x(2, true);
  x.digest(b, lww(5));
  x.get.failed(a, errc::no_quorum, x.out);
  EXPECT_EQ(x.out.take(), words{"get 2"});
  x.digest(c, lww(5));
  x.object(b, lww(5));
  EXPECT_EQ(x.out.take(), words{"object"});
}

TEST(GetQuorum, FailsWithTheReasonWhenTheQuorumCanNoLongerBeReached) {
  started x(2);
  x.get.failed(b, errc::no_quorum, x.out);
  x.object(a, lww(5));
  x.get.failed(c, errc::storage_failure, x.out);
  EXPECT_EQ(x.out.take(), (words{"digest 3", "failed storage_failure 1/2"}));
  EXPECT_TRUE(x.get.done());
}

TEST(GetQuorum, DoesNotCountADigestWhoseObjectCannotBeHad) {
  started x(2);
  x.object(a, lww(5));
  x.digest(b, lww(6));
  x.get.failed(b, errc::no_quorum, x.out);
  EXPECT_EQ(x.out.take(), (words{"get 2", "get 3"}));
  x.object(c, lww(5));
  EXPECT_EQ(x.out.take(), words{"object"});
  EXPECT_EQ(x.out.object, lww(5));
}

TEST(GetQuorum, KeepsAnAnswerWhenItsOwnerIsLostAfterwards) {
  started x(2);
  x.object(a, lww(5));
  x.get.failed(a, errc::no_quorum, x.out);
  EXPECT_EQ(x.out.take(), words{});
  x.digest(b, lww(5));
  EXPECT_EQ(x.out.take(), words{"object"});
}

TEST(GetQuorum, TreatsAMalformedObjectAsAFailureOfItsOwner) {
  for (const auto& bad : {std::string("garbage"), lww(5).substr(0, 9), siblings({{1, 1}})}) {
    started x(2);
    x.get.object_received(a, bad, 1, x.out);
    EXPECT_EQ(x.out.take(), words{"get 3"});
    started all(3);
    all.get.object_received(a, bad, 1, all.out);
    EXPECT_EQ(all.out.take(), words{"failed storage_failure 0/3"});
  }
}

TEST(GetQuorum, BelievesTheObjectMoreThanWhatIsSaidOfIt) {
  started x(2);
  x.get.object_received(a, lww(5), 12345, x.out);
  x.digest(b, lww(5));
  EXPECT_EQ(x.out.take(), words{"object"});
}

TEST(GetQuorum, HedgesWithOneMoreOwnerPerCall) {
  recorder out;
  get_quorum get(conflict_rule::lww, {a, b, c, node_id{4}}, {true, true, false, true}, 1);
  get.start(out);
  out.take();
  get.hedge(out);
  EXPECT_EQ(out.take(), words{"get 2"});
  get.hedge(out);
  EXPECT_EQ(out.take(), words{"get 4"});
  get.hedge(out);
  EXPECT_EQ(out.take(), words{});
  get.object_received(node_id{4}, lww(5), lww_digest(5), out);
  EXPECT_EQ(out.take(), words{"object"});
  get.hedge(out);
  EXPECT_EQ(out.take(), words{});
}

TEST(GetQuorum, HedgesTheObjectWhenAllOwnersWereAsked) {
  started x(2, true);
  x.digest(b, lww(5));
  x.digest(c, lww(5));
  x.get.hedge(x.out);
  EXPECT_EQ(x.out.take(), words{"get 2"});
  x.object(b, lww(5));
  EXPECT_EQ(x.out.take(), words{"object"});
}

TEST(GetQuorum, DoesNotHedgeWhatEveryOwnerMustAnswer) {
  started x(3);
  x.get.hedge(x.out);
  EXPECT_EQ(x.out.take(), words{});
}

TEST(GetQuorum, WaitsForADifferingObjectOnlyUntilTheHedge) {
  started x(2, true);
  x.digest(b, lww(5));
  x.digest(c, lww(7));
  x.object(a, lww(5));
  x.object(b, lww(5));
  EXPECT_EQ(x.out.take(), (words{"get 2", "get 3"}));
  x.get.hedge(x.out);
  EXPECT_EQ(x.out.take(), words{"object"});
  x.object(c, lww(7));
  EXPECT_EQ(x.out.take(), (words{"repair 1 from 3", "repair 2 from 3"}));
}

TEST(GetQuorum, TimesOutAtTheDeadline) {
  started x(2);
  x.object(a, lww(5));
  x.get.deadline_passed(x.out);
  EXPECT_EQ(x.out.take(), words{"failed timeout 1/2"});
  EXPECT_FALSE(x.get.done());
  x.digest(b, lww(5));
  EXPECT_EQ(x.out.take(), words{});
  EXPECT_TRUE(x.get.done());
}

// Sloppy quorums.

TEST(GetQuorum, AsksAFallbackWhenThereAreNotEnoughOwners) {
  recorder out;
  out.fallbacks = {f, g};
  get_quorum get(conflict_rule::lww, {a, b, c}, {false, true, false}, 2);
  get.start(out);
  EXPECT_EQ(out.take(), (words{"get 2", "digest 4"}));
  get.object_received(b, "", 0, out);
  get.digest_received(f, lww_digest(5), out);
  EXPECT_EQ(out.take(), words{"get 4"});
  get.object_received(f, lww(5), lww_digest(5), out);
  EXPECT_EQ(out.take(), (words{"object", "repair 2 from 4"}));
}

TEST(GetQuorum, AsksEveryOwnerBeforeAnyFallback) {
  recorder out;
  out.fallbacks = {f};
  get_quorum get(conflict_rule::lww, {a, b, c}, {false, true, true}, 2);
  get.start(out);
  EXPECT_EQ(out.take(), (words{"get 2", "digest 3"}));
  get.hedge(out);
  EXPECT_EQ(out.take(), words{"get 4"});
}

TEST(GetQuorum, NeverRepairsAFallback) {
  recorder out;
  out.fallbacks = {f};
  get_quorum get(conflict_rule::lww, {a, b}, {true, false}, 2);
  get.start(out);
  get.object_received(a, lww(5), lww_digest(5), out);
  get.digest_received(f, 0, out);
  get.object_received(f, "", 0, out);
  EXPECT_EQ(out.object, lww(5));
  EXPECT_TRUE(out.repaired.empty());
  EXPECT_TRUE(get.done());
}

TEST(GetQuorum, ReplacesAnOwnerThatIsLostOrIncompleteByAFallbackWhenNoOwnerIsLeft) {
  for (auto why : {errc::no_quorum, errc::incomplete}) {
    started x(2);
    x.out.fallbacks = {f, g};
    x.get.failed(a, why, x.out);
    EXPECT_EQ(x.out.take(), words{"get 3"});
    x.get.failed(c, why, x.out);
    EXPECT_EQ(x.out.take(), words{"get 4"});
    x.get.failed(f, why, x.out);
    EXPECT_EQ(x.out.take(), words{"get 5"});
  }
}

TEST(GetQuorum, AsksNoFallbackInPlaceOfAnOwnerThatHasAnotherReason) {
  started x(3);
  x.out.fallbacks = {f};
  x.get.failed(a, errc::storage_failure, x.out);
  EXPECT_EQ(x.out.take(), words{"failed storage_failure 0/3"});
}

TEST(GetQuorum, SaysNoQuorumWhenTooFewOwnersAreComplete) {
  started x(2);
  x.get.failed(a, errc::incomplete, x.out);
  x.get.failed(b, errc::incomplete, x.out);
  EXPECT_EQ(x.out.take(), (words{"get 3", "failed no_quorum 0/2"}));
}

TEST(GetQuorum, DoesNotCountFallbacksWhereOwnersAreAskedFor) {
  recorder out;
  out.fallbacks = {f, g};
  get_quorum two(conflict_rule::lww, {a, b, c}, {true, false, false}, 2, 2);
  two.start(out);
  EXPECT_EQ(out.take(), words{"failed no_quorum 0/2 owners"});
  out.fallbacks = {f, g};
  get_quorum one(conflict_rule::lww, {a, b, c}, {true, false, false}, 3, 1);
  one.start(out);
  EXPECT_EQ(out.take(), (words{"get 1", "digest 4", "digest 5"}));
  one.digest_received(f, lww_digest(5), out);
  one.digest_received(g, lww_digest(5), out);
  out.fallbacks = {stranger};
  one.failed(a, errc::no_quorum, out);
  EXPECT_EQ(out.take(), words{"failed no_quorum 0/1 owners"});
}

// Repair in the foreground.

TEST(GetQuorum, InTheForegroundTheReplyWaitsUntilTheQuorumHoldsIt) {
  started x(2, false, conflict_rule::lww, read_repair::foreground);
  x.object(a, lww(5));
  x.digest(b, lww(6));
  x.object(b, lww(6));
  EXPECT_EQ(x.out.take(), (words{"get 2", "repair 1 from 2"}));
  x.get.repaired(a, b, true, x.out);
  EXPECT_EQ(x.out.take(), words{"object"});
  EXPECT_EQ(x.out.object, lww(6));
  EXPECT_TRUE(x.get.done());
}

TEST(GetQuorum, InTheForegroundNothingIsWaitedForWhenTheQuorumAgreesOrEnoughHoldIt) {
  started agree(2, false, conflict_rule::lww, read_repair::foreground);
  agree.object(a, lww(5));
  agree.digest(b, lww(5));
  EXPECT_EQ(agree.out.take(), words{"object"});
  started enough(2, true, conflict_rule::lww, read_repair::foreground);
  enough.digest(b, lww(6));
  enough.digest(c, lww(6));
  enough.object(a, lww(5));
  enough.object(b, lww(6));
  enough.object(c, lww(6));
  EXPECT_EQ(enough.out.take(), (words{"get 2", "get 3", "object", "repair 1 from 2"}));
}

TEST(GetQuorum, InTheForegroundSiblingsAreRepairedFromEachOther) {
  started x(2, false, conflict_rule::siblings, read_repair::foreground);
  const dot left{1, 1}, right{2, 1};
  x.object(a, siblings({left}));
  x.digest(b, siblings({right}));
  x.object(b, siblings({right}));
  EXPECT_EQ(x.out.repaired, (repairs{{a, b}, {b, a}}));
  x.get.repaired(a, b, true, x.out);
  EXPECT_FALSE(x.get.replied());
  x.get.repaired(b, a, true, x.out);
  EXPECT_EQ(decode_siblings(*x.out.object)->siblings.size(), 2U);
}

TEST(GetQuorum, InTheForegroundAnotherIsAskedWhenARepairFails) {
  started x(2, false, conflict_rule::lww, read_repair::foreground);
  x.object(a, lww(5));
  x.digest(b, lww(6));
  x.object(b, lww(6));
  x.out.take();
  x.get.repaired(a, b, false, x.out);
  EXPECT_EQ(x.out.take(), words{"get 3"});
  x.object(c, lww(6));
  EXPECT_EQ(x.out.take(), words{"object"});
}

TEST(GetQuorum, InTheForegroundTheReadFailsWhenTooFewCanBeRepaired) {
  started x(3, false, conflict_rule::lww, read_repair::foreground);
  x.object(a, lww(5));
  for (auto node : {b, c}) {
    x.digest(node, lww(6));
    x.object(node, lww(6));
  }
  x.out.take();
  x.get.repaired(a, b, false, x.out);
  EXPECT_EQ(x.out.take(), words{"failed no_quorum 2/3"});
  started late(2, false, conflict_rule::lww, read_repair::foreground);
  late.object(a, lww(5));
  late.digest(b, lww(6));
  late.object(b, lww(6));
  late.out.take();
  late.get.deadline_passed(late.out);
  EXPECT_EQ(late.out.take(), words{"failed timeout 1/2"}) << "one holds what was read";
}

TEST(GetQuorum, InTheForegroundAFallbackIsTakenAsItIs) {
  recorder out;
  out.fallbacks = {f};
  get_quorum get(conflict_rule::lww, {a, b}, {true, false}, 2, 0, false, read_repair::foreground);
  get.start(out);
  get.object_received(a, lww(5), lww_digest(5), out);
  get.digest_received(f, 0, out);
  get.object_received(f, "", 0, out);
  EXPECT_EQ(out.object, lww(5));
}

// Laws, over random clusters, random histories of the key, and random orders, repetitions and losses of events.

namespace {

/// One key: writes, each replacing some earlier ones, of which every owner knows a random part.
class history {
public:
  history(conflict_rule rule, std::mt19937& random) : rule_(rule), random_(random) {
    auto writes = random_() % 4;
    for (uint32_t i = 0; i < writes; ++i) {
      replaces_.emplace_back();
      for (uint32_t j = 0; j < i; ++j)
        if (random_() % 2 == 0)
          replaces_.back().push_back(j);
    }
  }

  std::string random_state() {
    std::vector<uint32_t> known;
    bool all = random_() % 2 == 0;
    for (uint32_t i = 0; i < replaces_.size(); ++i)
      if (all || random_() % 2 == 0)
        known.push_back(i);
    if (rule_ == conflict_rule::lww)
      return known.empty() ? std::string{} : lww(known.back() + 1);
    std::set<uint32_t> gone;
    for (auto i : known)
      gone.insert(replaces_[i].begin(), replaces_[i].end());
    std::vector<dot> values, seen;
    for (auto i : known)
      (gone.count(i) != 0 ? seen : values).push_back(dot_of(i));
    for (auto i : gone)
      seen.push_back(dot_of(i));
    std::sort(values.begin(), values.end());
    return siblings(values, seen);
  }

private:
  static dot dot_of(uint32_t write) { return {1 + write % 2, 1 + write}; }
  conflict_rule rule_;
  std::mt19937& random_;
  std::vector<std::vector<uint32_t>> replaces_;
};

/// Would `object` gain anything from `other`?
bool covers(conflict_rule rule, const std::string& object, const std::string& other) {
  return digest_of(rule, *join_encoded(object, other)) == digest_of(rule, object);
}

class random_read {
public:
  explicit random_read(uint32_t seed)
      : random_(seed), rule_(below(2) == 0 ? conflict_rule::lww : conflict_rule::siblings), n_(1 + below(5)),
        required_(1 + below(n_)), get_(make()) {}

  void run() {
    get_.start(out_);
    bool hedged = false;
    for (int step = 0; step < 40; ++step) {
      auto who = below(10) == 0 ? stranger : everyone_[below(static_cast<uint32_t>(everyone_.size()))];
      bool before = get_.replied();
      switch (below(10)) {
      case 0:
        if (below(3) == 0)
          fail(who);
        break;
      case 3:
      case 4:
        end_a_repair();
        break;
      case 1:
        hedged = hedged || !get_.replied();
        get_.hedge(out_);
        break;
      case 2:
        if (below(10) == 0)
          get_.deadline_passed(out_);
        break;
      default:
        answer(who);
      }
      ASSERT_EQ(get_.replied(), out_.replies == 1);
      if (!before && out_.object)
        check_reply(hedged);
      if (HasFatalFailure())
        return;
    }
    finish();
  }

  bool got_object() const { return out_.object.has_value(); }
  bool got_repairs() const { return !out_.repaired.empty(); }

private:
  static bool is_owner(node_id id) { return to_index(id) < 20; }
  static bool HasFatalFailure() { return testing::Test::HasFatalFailure(); }
  uint32_t below(uint32_t n) { return static_cast<uint32_t>(random_() % n); }

  get_quorum make() {
    history key(rule_, random_);
    std::vector<bool> reachable;
    for (uint32_t i = 0; i < n_; ++i) {
      owners_.push_back(node_id{10 + i});
      reachable.push_back(below(6) != 0);
      reachable_[owners_[i]] = reachable[i];
      state_[owners_[i]] = key.random_state();
    }
    everyone_ = owners_;
    for (uint32_t i = 0; below(3) != 0; ++i) {
      node_id fallback{20 + i};
      out_.fallbacks.push_back(fallback);
      everyone_.push_back(fallback);
      reachable_[fallback] = true;
      state_[fallback] = key.random_state();
    }
    required_owners_ = below(3) == 0 ? 1 + below(required_) : 0;
    out_.foreground = below(3) == 0;
    auto repair = out_.foreground ? read_repair::foreground : read_repair::background;
    return {rule_, owners_, reachable, required_, required_owners_, below(3) == 0, repair};
  }

  void answer(node_id who) {
    // From one that was asked; sometimes from one that was not, which must not count.
    bool asked_object = std::count(out_.gets.begin(), out_.gets.end(), who) > 0;
    bool asked_digest = std::count(out_.digests.begin(), out_.digests.end(), who) > 0;
    bool asked = asked_object || asked_digest;
    const auto& state = state_[who];
    if (asked_object ? below(4) != 0 : below(20) == 0) {
      get_.object_received(who, state, digest_of(rule_, state), out_);
      if (failed_.count(who) == 0 && asked)
        gave_object_.insert(who);
    } else if (asked_digest || below(20) == 0) {
      get_.digest_received(who, digest_of(rule_, state), out_);
      if (failed_.count(who) == 0 && asked)
        gave_digest_.insert(who);
    }
  }

  void end_a_repair() {
    if (out_.repaired.empty() || !out_.foreground || out_.replies > 0)
      return;
    auto [stale, source] = out_.repaired[below(static_cast<uint32_t>(out_.repaired.size()))];
    auto done = below(4) != 0;
    if (done) {
      state_[stale] = *join_encoded(state_[stale], state_[source]);
    } else {
      failed_.insert(stale);
      gave_object_.erase(stale);
      gave_digest_.erase(stale);
    }
    get_.repaired(stale, source, done, out_);
  }

  void fail(node_id who) {
    bool asked_object = std::count(out_.gets.begin(), out_.gets.end(), who) > 0;
    bool known = is_owner(who) || asked_object || std::count(out_.digests.begin(), out_.digests.end(), who) > 0;
    if (known && gave_object_.count(who) == 0 && (asked_object || gave_digest_.count(who) == 0)) {
      failed_.insert(who);
      gave_digest_.erase(who);
    }
    get_.failed(who, errc::no_quorum, out_);
  }

  void check_reply(bool hedged) {
    auto answered = gave_object_;
    answered.insert(gave_digest_.begin(), gave_digest_.end());
    if (out_.foreground) {
      auto holds = [&](node_id id) { return !is_owner(id) || covers(rule_, state_[id], *out_.object); };
      ASSERT_GE(std::count_if(answered.begin(), answered.end(), holds), required_);
      auto owner_holds = [&](node_id id) { return is_owner(id) && holds(id); };
      ASSERT_GE(std::count_if(answered.begin(), answered.end(), owner_holds), required_owners_);
    }
    uint32_t covered = 0;
    for (auto id : answered) {
      bool covers_it = covers(rule_, *out_.object, state_[id]);
      covered += covers_it ? 1 : 0;
      if (!hedged || gave_object_.count(id) != 0) {
        ASSERT_TRUE(covers_it) << "misses what " << name(id) << " said it has";
      }
    }
    ASSERT_GE(covered, required_);
    ASSERT_GE(std::count_if(answered.begin(), answered.end(), is_owner), required_owners_);
    ASSERT_LE(get_.answered(), answered.size());
  }

  void finish() {
    get_.deadline_passed(out_);
    ASSERT_EQ(out_.replies, 1);
    // All that is still to come, comes.
    for (int round = 0; round < 4; ++round) {
      for (auto id : std::vector<node_id>(out_.digests))
        get_.digest_received(id, digest_of(rule_, state_[id]), out_);
      for (auto id : std::vector<node_id>(out_.gets))
        get_.object_received(id, state_[id], digest_of(rule_, state_[id]), out_);
    }
    ASSERT_EQ(out_.replies, 1);
    ASSERT_TRUE(get_.done());
    for (auto id : everyone_) {
      ASSERT_LE(std::count(out_.gets.begin(), out_.gets.end(), id), reachable_[id] ? 1 : 0);
      ASSERT_LE(std::count(out_.digests.begin(), out_.digests.end(), id), reachable_[id] ? 1 : 0);
    }
    check_repairs();
  }

  void check_repairs() {
    std::set<std::pair<node_id, node_id>> pairs(out_.repaired.begin(), out_.repaired.end());
    ASSERT_EQ(pairs.size(), out_.repaired.size()) << "each pair once";
    for (auto [stale, source] : out_.repaired) {
      ASSERT_TRUE(state_.count(stale) == 1 && state_.count(source) == 1) << "a node nobody knows";
      ASSERT_TRUE(is_owner(stale)) << "fallbacks are not repaired";
      ASSERT_TRUE(out_.foreground || digest_of(rule_, state_[stale]) != digest_of(rule_, state_[source]));
    }
    if (!out_.object)
      return;
    auto after = state_;
    for (int round = 0; round < 3; ++round)
      for (auto [stale, source] : out_.repaired)
        after[stale] = *join_encoded(after[stale], after[source]);
    std::string whole;
    std::set<node_id> known;
    for (const auto& ids : {out_.gets, out_.digests})
      for (auto id : ids)
        if (failed_.count(id) == 0)
          known.insert(id);
    for (auto id : known)
      whole = *join_encoded(whole, state_[id]);
    for (auto id : known)
      ASSERT_TRUE(!is_owner(id) || covers(rule_, after[id], whole))
          << name(id) << " still lacks something after the repairs";
  }

  std::mt19937 random_;
  conflict_rule rule_;
  uint32_t n_, required_, required_owners_ = 0;
  std::vector<node_id> owners_, everyone_; // Everyone: fallbacks as well.
  std::map<node_id, bool> reachable_;
  std::map<node_id, std::string> state_;
  std::set<node_id> gave_object_, gave_digest_, failed_;
  recorder out_;
  get_quorum get_;
};

} // namespace

TEST(GetQuorum, RepliesOnceWithAllThatTheAnsweredOwnersHaveAndRepairsThem) {
  int objects = 0, repaired = 0, failed = 0;
  for (uint32_t seed = 0; seed < 20000; ++seed) {
    SCOPED_TRACE("seed=" + std::to_string(seed)); // Enough to replay a failure.
    random_read read(seed);
    read.run();
    if (HasFatalFailure())
      return;
    (read.got_object() ? objects : failed)++;
    repaired += read.got_repairs() ? 1 : 0;
  }
  EXPECT_GT(objects, 3000); // Each end was reached often, or this test says little.
  EXPECT_GT(failed, 1000);
  EXPECT_GT(repaired, 1000);
}
