#include "tests/protocol/memory_sink.hpp"

#include <gtest/gtest.h>

namespace crema::protocol {
namespace {

using values = std::vector<std::string>;
constexpr auto lww = conflict_rule::lww;
constexpr auto siblings = conflict_rule::siblings;
constexpr timestamp noon = from_micros(1'700'000'000'000'000);
constexpr uint64_t noon_ms = 1'700'000'000'000;

TEST(Vnode, CountsItsWritesFromOne) {
  test_replica a(lww, 7);
  EXPECT_EQ(a.give("k", "v", 1).id, (dot{7, 1}));
  EXPECT_EQ(a.give("other", "v", 2).id, (dot{7, 2}));
  EXPECT_EQ(a.node.clock().base(7), 2U);
}

TEST(Vnode, CountsOnFromTheClockItIsGiven) {
  dot_clock clock;
  clock.add(dot_range{7, 1, 40});
  vnode node({1, 2}, lww, 7, clock);
  memory_sink sink;
  EXPECT_EQ(node.give({"k", false, "v", 0, nullptr}, 1, sink).id, (dot{7, 41}));
}

TEST(Vnode, DoesNotReuseADotThatCameBackToIt) {
  test_replica a(lww, 7);
  test_replica before_the_restore(lww, 7);
  before_the_restore.give("k", "1", 1);
  auto lost = before_the_restore.give("k", "2", 2);
  EXPECT_TRUE(a.apply(lost, "k"));
  EXPECT_EQ(a.give("k", "3", 3).id, (dot{7, 3}));
}

TEST(Vnode, MergesAndLogsEachWriteOnce) {
  test_replica a(siblings, 1);
  test_replica b(siblings, 2);
  auto write = a.give("k", "v", 1);
  EXPECT_EQ(a.sink.merges, 1U);
  EXPECT_EQ(a.sink.logged.at(write.id), "k");
  EXPECT_TRUE(b.apply(write, "k"));
  EXPECT_FALSE(b.apply(write, "k"));
  EXPECT_EQ(b.sink.merges, 1U);
  EXPECT_EQ(b.sink.logged.at(write.id), "k");
  EXPECT_EQ(b.node.clock(), a.node.clock());
}

TEST(Vnode, LwwKeepsTheLatestInWhateverOrderDeltasCome) {
  test_replica a(lww, 1);
  test_replica b(lww, 2);
  auto first = a.give("k", "first", 1);
  auto second = a.give("k", "second", 2);
  b.apply(second, "k");
  b.apply(first, "k");
  EXPECT_EQ(b.winner("k")->value, "second");
}

TEST(Vnode, LwwDeleteIsATombstone) {
  test_replica a(lww, 1);
  a.give("k", "v", 1);
  a.give("k", std::nullopt, 2, nullptr, 1000);
  auto x = a.winner("k");
  EXPECT_TRUE(x->tombstone);
  EXPECT_EQ(x->expires_at, 0U);
  EXPECT_EQ(a.node.sibling_count(a.sink.stored("k")), 0U);
}

TEST(Vnode, LwwPaysNoHeedToContexts) {
  test_replica a(lww, 1);
  dot_clock context;
  context.add(dot_range{1, 1, 100});
  a.give("k", "v", 1, &context);
  EXPECT_EQ(a.winner("k")->value, "v");
}

TEST(Vnode, SiblingsArePutSideBySideWithoutAContextAndReplacedWithOne) {
  test_replica a(siblings, 1);
  a.give("k", "x", 1);
  a.give("k", "y", 2);
  EXPECT_EQ(a.values("k"), (values{"x", "y"}));
  EXPECT_EQ(a.node.sibling_count(a.sink.stored("k")), 2U);
  auto context = a.read("k").seen;
  a.give("k", "z", 3, &context);
  EXPECT_EQ(a.values("k"), values{"z"});
}

TEST(Vnode, ADeleteRemovesWhatItsContextHasSeenAndNoMore) {
  test_replica a(siblings, 1);
  a.give("k", "seen", 1);
  auto context = a.read("k").seen;
  a.give("k", "unseen", 2);
  a.give("k", std::nullopt, 3, &context);
  EXPECT_EQ(a.values("k"), values{"unseen"});
}

TEST(Vnode, ADeleteWithoutAContextRemovesNothing) {
  test_replica a(siblings, 1);
  a.give("k", "v", 1);
  a.give("k", std::nullopt, 2);
  EXPECT_EQ(a.values("k"), values{"v"});
}

TEST(Vnode, AValueThatComesAfterItsReplacementStaysAway) {
  test_replica a(siblings, 1);
  test_replica b(siblings, 2);
  auto old = a.give("k", "old", 1);
  auto context = a.read("k").seen;
  auto replacement = a.give("k", "new", 2, &context);
  b.apply(replacement, "k");
  EXPECT_TRUE(b.apply(old, "k"));
  EXPECT_EQ(b.values("k"), values{"new"});
  EXPECT_EQ(b.node.clock(), a.node.clock());
}

TEST(Vnode, AContextFromTheFutureCannotMakeAWriteVanish) {
  test_replica a(siblings, 1);
  dot_clock hostile;
  hostile.add(dot_range{1, 1, counter_max});
  auto first = a.give("k", "first", 1, &hostile);
  EXPECT_TRUE(a.node.accepts({1, 2}, a.give("k", "second", 2).delta));
  EXPECT_EQ(a.values("k"), (values{"first", "second"}));
  test_replica b(siblings, 2);
  EXPECT_TRUE(b.apply(first, "k"));
  EXPECT_EQ(b.values("k"), values{"first"});
}

// -- Expiry --

TEST(Vnode, CountsTheTimeToLiveFromTheTimestampOfTheWrite) {
  test_replica a(lww, 1);
  test_replica b(siblings, 2);
  a.give("k", "v", noon, nullptr, 1500);
  b.give("k", "v", noon, nullptr, 1500);
  EXPECT_EQ(a.winner("k")->expires_at, noon_ms + 1500);
  EXPECT_EQ(b.read("k").siblings.at(0).expires_at, noon_ms + 1500);
}

TEST(Vnode, HasTheSameExpiryOnEveryReplica) {
  test_replica a(lww, 1);
  test_replica b(lww, 2);
  auto write = a.give("k", "v", noon, nullptr, 5);
  b.apply(write, "k");
  EXPECT_EQ(b.sink.stored("k"), a.sink.stored("k"));
}

TEST(Vnode, TakesAnEndlessTimeToLiveForTheLastMillisecond) {
  test_replica a(lww, 1);
  a.give("k", "v", noon, nullptr, UINT64_MAX);
  EXPECT_EQ(a.winner("k")->expires_at, UINT64_MAX);
}

TEST(Vnode, AWriteWithoutTimeToLiveDoesNotExpireAndEndsAnEarlierExpiry) {
  test_replica a(lww, 1);
  a.give("k", "v", noon, nullptr, 5);
  a.give("k", "v", noon + 1);
  EXPECT_EQ(a.winner("k")->expires_at, 0U);
}

// -- Hostile deltas --

TEST(Vnode, RefusesDeltasThatWouldMakeAKeyUnreadable) {
  test_replica a(siblings, 1);
  test_replica b(lww, 2);
  auto of_a = a.give("k", "v", 1);
  auto of_b = b.give("k", "v", 1);
  EXPECT_TRUE(a.node.accepts(of_a.id, of_a.delta));
  EXPECT_TRUE(b.node.accepts(of_b.id, of_b.delta));
  EXPECT_FALSE(a.node.accepts(of_b.id, of_b.delta)) << "of the other kind";
  EXPECT_FALSE(b.node.accepts(of_a.id, of_a.delta)) << "of the other kind";
  EXPECT_FALSE(a.node.accepts({9, 9}, of_a.delta)) << "of another dot";
  EXPECT_FALSE(b.node.accepts({9, 9}, of_b.delta)) << "of another dot";
  EXPECT_FALSE(a.node.accepts({9, 9}, ""));
  EXPECT_FALSE(a.node.accepts({9, 9}, "rubbish"));
  EXPECT_FALSE(b.node.accepts({9, 9}, "rubbish"));
  EXPECT_FALSE(a.node.accepts({0, 1}, encode_siblings(siblings_object{}))) << "replica id 0";
  EXPECT_FALSE(a.node.accepts({9, 0}, encode_siblings(siblings_object{}))) << "counter 0";
  auto replaces_itself = *decode_siblings(of_a.delta);
  replaces_itself.seen.add(of_a.id);
  EXPECT_FALSE(a.node.accepts(of_a.id, encode_siblings(replaces_itself)));
  auto two = siblings_object{{{{8, 8}, 0, 0, ""}, {{9, 9}, 0, 0, ""}}, {}};
  EXPECT_FALSE(a.node.accepts({9, 9}, encode_siblings(two)));
}

TEST(Vnode, DoesNothingWithADeltaItRefuses) {
  test_replica a(siblings, 1);
  EXPECT_FALSE(a.node.apply({9, 9}, "k", "rubbish", a.sink));
  EXPECT_TRUE(a.node.clock().empty());
  EXPECT_TRUE(a.sink.objects.empty());
  EXPECT_TRUE(a.sink.logged.empty());
}

TEST(Vnode, LetsNoPeerBringItsCounterToItsEnd) {
  test_replica a(lww, 1);
  dot last{1, counter_max};
  EXPECT_FALSE(a.node.apply(last, "k", encode_lww({1, last, 0, false, "v"}), a.sink));
  EXPECT_EQ(a.apply(key_page{"k", encode_lww({1, last, 0, false, "v"}), {last}}), 0U);
  EXPECT_EQ(a.give("k", "v", 1).id, (dot{1, 1}));
}

// -- Pages --

TEST(Vnode, APageBringsStateAndDotsTogether) {
  test_replica a(siblings, 1);
  test_replica b(siblings, 2);
  a.give("k", "x", 1);
  a.give("other", "o", 2);
  auto page = a.page("k", b.node.clock());
  EXPECT_EQ(b.apply(page), 1U);
  EXPECT_EQ(b.values("k"), values{"x"});
  EXPECT_EQ(b.values("other"), values{});
  EXPECT_EQ(b.sink.logged.size(), 1U);
  EXPECT_TRUE(b.node.clock().contains({1, 1}));
  EXPECT_FALSE(b.node.clock().contains({1, 2})) << "a dot of another key";
  EXPECT_EQ(b.apply(page), 0U);
}

TEST(Vnode, APageTakesAwayWhatThePeerHasReplaced) {
  test_replica a(siblings, 1);
  test_replica b(siblings, 2);
  b.apply(a.give("k", "old", 1), "k");
  auto context = a.read("k").seen;
  a.give("k", "new", 2, &context);
  b.give("k", "mine", 3);
  EXPECT_EQ(b.apply(a.page("k", b.node.clock())), 1U);
  EXPECT_EQ(b.values("k"), (values{"new", "mine"}));
}

TEST(Vnode, APageBringsBackNothingThatWasReplacedHere) {
  test_replica a(siblings, 1);
  test_replica b(siblings, 2);
  b.apply(a.give("k", "old", 1), "k");
  auto context = b.read("k").seen;
  b.give("k", std::nullopt, 2, &context);
  b.sink.objects.clear(); // As a store may do: stripped by the clock, nothing is left of the object.
  a.give("k", "new", 3);
  EXPECT_EQ(b.apply(a.page("k", b.node.clock())), 1U);
  EXPECT_EQ(b.values("k"), values{"new"});
}

TEST(Vnode, APageKeepsASiblingThatBothHave) {
  test_replica a(siblings, 1);
  test_replica b(siblings, 2);
  b.apply(a.give("k", "both", 1), "k");
  a.give("k", "more", 2);
  b.apply(a.page("k", b.node.clock()));
  EXPECT_EQ(b.values("k"), (values{"both", "more"}));
}

TEST(Vnode, ALwwPageBringsBackNoTombstoneThatWasPurgedHere) {
  test_replica a(lww, 1);
  test_replica b(lww, 2);
  b.apply(a.give("k", std::nullopt, 5), "k");
  b.sink.objects.clear();
  a.give("k", "older", 1);
  EXPECT_EQ(b.apply(a.page("k", b.node.clock())), 1U);
  EXPECT_EQ(b.sink.stored("k"), "");
  EXPECT_EQ(b.node.clock(), a.node.clock());
}

TEST(Vnode, ALwwPageOfAPurgedKeyBringsItsDots) {
  test_replica a(lww, 1);
  test_replica b(lww, 2);
  a.give("k", std::nullopt, 5);
  a.sink.objects.clear();
  EXPECT_EQ(b.apply(a.page("k", b.node.clock())), 1U);
  EXPECT_EQ(b.node.clock(), a.node.clock());
}

TEST(Vnode, ClosesGapsByWritesOfNoKeyAndPagesTellOfThem) {
  for (auto rule : {lww, siblings}) {
    test_replica a(rule, 1), b(rule, 2), gone(rule, 3);
    gone.give("k", "lost", 1);
    auto later = gone.give("k", "later", 2);
    a.apply(later, "k");
    b.apply(later, "k");
    dot_clock lost = a.node.clock().gaps();
    lost.add(dot{1, 1}); // Of its own dots it knows better.
    EXPECT_EQ(a.node.close(lost, a.sink), 1U);
    EXPECT_EQ(a.node.close(lost, a.sink), 0U);
    EXPECT_EQ(a.node.clock().base(3), 2U);
    EXPECT_EQ(a.node.clock().base(1), 0U);
    EXPECT_EQ(a.sink.logged.at({3, 1}), "");
    EXPECT_EQ(b.apply(key_page{"", "", {{3, 1}}}), 1U);
    EXPECT_EQ(b.node.clock(), a.node.clock());
    EXPECT_EQ(b.sink.stored("k"), a.sink.stored("k"));
    EXPECT_EQ(b.sink.objects.count(""), 0U);
  }
}

TEST(Vnode, RefusesAPageThatWouldBreakTheInvariant) {
  test_replica a(siblings, 1);
  test_replica b(siblings, 2);
  a.give("k", "x", 1);
  a.give("k", "y", 2);
  auto honest = a.page("k", b.node.clock());
  auto incomplete = honest;
  incomplete.dots.pop_back();
  EXPECT_EQ(b.apply(incomplete), 0U) << "a sibling whose dot is not there";
  auto unseen = honest;
  unseen.dots.push_back({1, 3});
  EXPECT_EQ(b.apply(unseen), 0U) << "a dot whose effect the state does not claim";
  auto impossible = honest;
  impossible.dots.push_back({0, 3});
  EXPECT_EQ(b.apply(impossible), 0U);
  auto malformed = honest;
  malformed.object = "rubbish";
  EXPECT_EQ(b.apply(malformed), 0U);
  malformed.object.clear();
  EXPECT_EQ(b.apply(malformed), 0U);
  EXPECT_TRUE(b.node.clock().empty());
  EXPECT_TRUE(b.sink.objects.empty());
  EXPECT_TRUE(b.sink.logged.empty());
  EXPECT_EQ(b.apply(honest), 2U);
}

TEST(Vnode, RefusesALwwPageThatWouldBreakTheInvariant) {
  test_replica a(lww, 1);
  test_replica b(lww, 2);
  a.give("k", "x", 1);
  a.give("k", "y", 2);
  auto page = a.page("k", b.node.clock());
  page.dots.pop_back();
  EXPECT_EQ(b.apply(page), 0U);
  page.object = "rubbish";
  EXPECT_EQ(b.apply(page), 0U);
  EXPECT_TRUE(b.node.clock().empty());
  EXPECT_TRUE(b.sink.objects.empty());
}

// -- Reading --

TEST(Vnode, AReadOfAnAbsentKeyHasAContextToo) {
  test_replica a(siblings, 1);
  a.give("other", "v", 1);
  EXPECT_TRUE(a.read("k").siblings.empty());
  EXPECT_EQ(a.read("k").seen, a.node.clock());
}

TEST(Vnode, ReadsALwwObjectAsItIsStored) {
  test_replica a(lww, 1);
  a.give("k", "v", 1);
  EXPECT_EQ(a.node.expanded(a.sink.stored("k")), a.sink.stored("k"));
  EXPECT_EQ(a.node.expanded(""), "");
  EXPECT_EQ(a.node.sibling_count(a.sink.stored("k")), 1U);
  EXPECT_EQ(a.node.sibling_count(""), 0U);
}

TEST(Vnode, SaysWhenStoredBytesAreMalformed) {
  for (auto rule : {lww, siblings}) {
    test_replica a(rule, 1);
    EXPECT_FALSE(a.node.expanded("rubbish"));
    EXPECT_FALSE(a.node.digest("rubbish"));
    EXPECT_EQ(a.node.sibling_count("rubbish"), 0U);
  }
}

TEST(Vnode, DigestsAgreeWhenReadsDo) {
  for (auto rule : {lww, siblings}) {
    test_replica a(rule, 1);
    test_replica b(rule, 2);
    EXPECT_EQ(a.node.digest(""), 0U);
    auto write = a.give("k", "v", 1);
    EXPECT_NE(a.node.digest(a.sink.stored("k")), b.node.digest(b.sink.stored("k")));
    b.give("other", "v", 1);
    b.apply(write, "k");
    EXPECT_EQ(a.node.digest(a.sink.stored("k")), b.node.digest(b.sink.stored("k")));
  }
}

TEST(Vnode, CountsOnFromWhatItEverGave) {
  vnode node({1, 2}, lww, 7, {}, 40); // A temporary vnode that comes back.
  memory_sink sink;
  EXPECT_EQ(node.give({"k", false, "v", 0, nullptr}, 1, sink).id, (dot{7, 41}));
  EXPECT_EQ(node.counter(), 41U);
  EXPECT_EQ(node.clock().size(), 1U);
}

TEST(Vnode, BuriesWhatLeavesRemains) {
  test_replica a(lww, 1);
  a.give("value", "v", noon);
  EXPECT_TRUE(a.sink.buried.empty());
  auto removal = a.give("removed", std::nullopt, noon + 1);
  auto expiring = a.give("expiring", "v", noon + 2, nullptr, 5000);
  std::set<std::pair<timestamp, std::string>> expected{{noon + 1, "removed"},
                                                       {from_micros((noon_ms + 5000) * 1000), "expiring"}};
  EXPECT_EQ(a.sink.buried, expected);
  test_replica b(lww, 2);
  b.apply(removal, "removed");
  b.apply(a.page("expiring", b.node.clock()));
  EXPECT_EQ(b.sink.buried, expected);
  EXPECT_EQ(b.node.clock().size(), 2U);
}

TEST(Vnode, ErasesATombstoneOnlyWhenNothingOlderCanTurnUp) {
  test_replica a(lww, 1);
  a.give("k", std::nullopt, noon);
  auto before = a.node.clean(a.sink.stored("k"), noon, noon - 1, 0);
  EXPECT_FALSE(before.erase || before.settled);
  auto after = a.node.clean(a.sink.stored("k"), noon, noon, 0);
  EXPECT_TRUE(after.erase && after.settled);
}

TEST(Vnode, LeavesAValueThatCameAfterItsTombstone) {
  test_replica a(lww, 1);
  a.give("k", std::nullopt, noon);
  a.give("k", "v", noon + 1);
  auto what = a.node.clean(a.sink.stored("k"), noon, noon + 9, UINT64_MAX);
  EXPECT_FALSE(what.erase);
  EXPECT_TRUE(what.settled);
}

TEST(Vnode, ErasesARegisterThatHasExpiredEverywhere) {
  test_replica a(lww, 1);
  a.give("k", "v", noon, nullptr, 5000);
  auto due = a.sink.buried.begin()->first;
  EXPECT_FALSE(a.node.clean(a.sink.stored("k"), due, noon + 1, noon_ms + 4999).erase);
  EXPECT_FALSE(a.node.clean(a.sink.stored("k"), due, noon - 1, noon_ms + 5000).erase);
  EXPECT_TRUE(a.node.clean(a.sink.stored("k"), due, noon, noon_ms + 5000).erase);
}

TEST(Vnode, ErasesARemovedKeyOfSiblingsOnceItKnowsAllThatWasReplaced) {
  test_replica a(siblings, 1);
  test_replica b(siblings, 2);
  auto value = a.give("k", "v", noon);
  auto context = a.node.clock();
  auto removal = a.give("k", std::nullopt, noon + 1, &context);
  EXPECT_EQ(a.sink.buried.count({0, "k"}), 1U);
  EXPECT_TRUE(a.node.clean(a.sink.stored("k"), 0, 0, 0).erase);
  b.apply(removal, "k");
  auto early = b.node.clean(b.sink.stored("k"), 0, 0, 0);
  EXPECT_FALSE(early.erase || early.settled);
  b.apply(value, "k");
  EXPECT_TRUE(b.node.clean(b.sink.stored("k"), 0, 0, 0).erase);
}

TEST(Vnode, DropsExpiredSiblingsAndKeepsTheOthers) {
  test_replica a(siblings, 1);
  a.give("k", "short", noon, nullptr, 1000);
  a.give("k", "long", noon + 1, nullptr, 9000);
  a.give("k", "ever", noon + 2);
  ASSERT_EQ(a.sink.buried.size(), 2U);
  auto first_due = a.sink.buried.begin()->first;
  EXPECT_FALSE(a.node.clean(a.sink.stored("k"), first_due, 0, noon_ms + 999).settled);
  auto what = a.node.clean(a.sink.stored("k"), first_due, 0, noon_ms + 1000);
  EXPECT_TRUE(what.settled && !what.erase);
  ASSERT_TRUE(what.replace);
  a.sink.objects["k"] = *what.replace;
  EXPECT_EQ(a.values("k"), (values{"long", "ever"}));
}

TEST(Vnode, BuriesWhatAPageLeavesWithoutItsKnownValues) {
  test_replica owner(siblings, 1), fallback(siblings, 2);
  auto value = owner.give("k", "v", noon);
  fallback.apply(value, "k");
  auto seen = owner.node.clock();
  owner.give("k", std::nullopt, noon, &seen);
  owner.sink.objects.clear(); // It has been cleaned.
  owner.sink.buried.clear();
  dot_clock nothing;
  fallback.give("k", std::nullopt, noon, &nothing); // A remove by one who has seen nothing.
  EXPECT_EQ(owner.apply(fallback.page("k", owner.node.clock())), 1U);
  EXPECT_TRUE(owner.values("k").empty());
  EXPECT_EQ(owner.sink.buried.size(), 1U) << "the page has a value, but what is merged of it has none";
}

// Seed 113: the one that expired later stayed for ever.
TEST(Vnode, BuriesEachOfTheSiblingsThatExpireInAPage) {
  test_replica owner(siblings, 1), late(siblings, 2);
  owner.give("k", "soon", noon, nullptr, 1000);
  owner.give("k", "later", noon + 1, nullptr, 5000);
  EXPECT_EQ(late.apply(owner.page("k", late.node.clock())), 2U);
  EXPECT_EQ(late.sink.buried, owner.sink.buried);
  EXPECT_EQ(late.sink.buried.size(), 2U);
  vnode copy({1, 2}, siblings, 9, {});
  memory_sink sink;
  EXPECT_TRUE(copy.adopt("k", owner.sink.stored("k"), sink));
  EXPECT_EQ(sink.buried, owner.sink.buried);
}

TEST(Vnode, JoinedKeepsWhatTheOtherSideHasNotSeenGoing) {
  test_replica a(siblings, 1), b(siblings, 2);
  auto both = a.give("k", "both", noon);
  auto gone = a.give("k", "gone", noon + 1);
  b.apply(both, "k");
  b.apply(gone, "k");
  dot_clock seen;
  seen.add(gone.id);
  b.give("k", std::nullopt, noon + 2, &seen); // Removes the one.
  b.give("k", "only there", noon + 3);
  a.give("k", "only here", noon + 4);
  auto here = a.node.joined(a.sink.stored("k"), b.sink.stored("k"), b.node.clock());
  auto there = b.node.joined(b.sink.stored("k"), a.sink.stored("k"), a.node.clock());
  ASSERT_TRUE(here);
  EXPECT_EQ(here, there);
  auto decoded = decode_siblings(*here).value_or(siblings_object{});
  values found;
  for (const auto& s : decoded.siblings)
    found.push_back(s.value);
  std::sort(found.begin(), found.end());
  EXPECT_EQ(found, (values{"both", "only here", "only there"}));
  EXPECT_TRUE(decoded.seen.empty()) << "both clocks together say it";
  // What was replaced though neither knows it stays known as replaced.
  dot_clock unknown;
  unknown.add(dot{9, 1});
  b.give("k", "more", noon + 5, &unknown);
  here = a.node.joined(a.sink.stored("k"), b.sink.stored("k"), b.node.clock());
  decoded = decode_siblings(here.value_or("")).value_or(siblings_object{});
  EXPECT_TRUE(decoded.seen.contains({9, 1}));
}

TEST(Vnode, JoinedOfNothingAndWhatTheOtherSideRemovedIsNothing) {
  test_replica a(siblings, 1), b(siblings, 2);
  auto w = a.give("k", "v", noon);
  dot_clock seen;
  seen.add(w.id);
  b.apply(w, "k");
  b.give("k", std::nullopt, noon + 1, &seen);
  EXPECT_EQ(a.node.joined(a.sink.stored("k"), "", b.node.clock()), std::string{});
  EXPECT_EQ(a.node.joined("", a.sink.stored("k"), {}), std::string{}) << "it was here, and is no more";
  EXPECT_FALSE(a.node.joined("rubbish", "", {}));
  EXPECT_FALSE(a.node.joined("", "rubbish", {}));
}

TEST(Vnode, JoinedRegistersAreTheNewerOneAndStayGone) {
  test_replica a(lww, 1), b(lww, 2);
  auto older = a.give("k", "older", noon);
  auto newer = b.give("k", "newer", noon + 1);
  auto a_has = a.sink.stored("k"), b_has = b.sink.stored("k");
  EXPECT_EQ(a.node.joined(a_has, b_has, b.node.clock()), b_has);
  EXPECT_EQ(b.node.joined(b_has, a_has, a.node.clock()), b_has);
  auto closed = a.node.clock();
  closed.add(newer.id);
  EXPECT_EQ(b.node.joined(b_has, a_has, closed), a_has) << "it was lost, and there they know";
  EXPECT_EQ(a.node.joined(a_has, "", {}), a_has) << "nobody there knows it";
  EXPECT_EQ(a.node.joined(a_has, "", a.node.clock()), std::string{}) << "what beat it there has been removed for good";
  EXPECT_EQ(a.node.joined("", a_has, a.node.clock()), std::string{});
  EXPECT_EQ(b.node.joined("", a_has, a.node.clock()), a_has);
}

TEST(Vnode, AdoptsWhatAPeerStoresAndRefusesRubbish) {
  test_replica a(siblings, 1);
  a.give("k", "v", noon, nullptr, 1000);
  vnode copy({1, 2}, siblings, 9, {});
  memory_sink sink;
  EXPECT_TRUE(copy.adopt("k", a.sink.stored("k"), sink));
  EXPECT_EQ(sink.objects, a.sink.objects);
  EXPECT_EQ(sink.buried, a.sink.buried);
  EXPECT_TRUE(sink.logged.empty());
  EXPECT_FALSE(copy.adopt("k", "rubbish", sink));
  EXPECT_FALSE(copy.adopt("k", "", sink));
}

} // namespace
} // namespace crema::protocol
