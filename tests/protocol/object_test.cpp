#include "protocol/object.hpp"
#include "tests/protocol/generators.hpp"

#include <gtest/gtest.h>

namespace crema::protocol {
namespace {

siblings_object joined(siblings_object a, const siblings_object& b) {
  join(a, b);
  return a;
}

siblings_object one(const dot& id, const std::string& value, const dot_clock& seen = {}) {
  return {{{id, 10 * id.counter, 0, value}}, seen};
}

// -- Registers --

TEST(LwwObject, ComesBackAsItWas) {
  auto bytes = encode_lww({77, {5, 6}, 88, false, "value"});
  auto x = decode_lww(bytes);
  ASSERT_TRUE(x);
  EXPECT_EQ(x->time, 77U);
  EXPECT_EQ(x->id, (dot{5, 6}));
  EXPECT_EQ(x->expires_at, 88U);
  EXPECT_FALSE(x->tombstone);
  EXPECT_EQ(x->value, "value");
}

TEST(LwwObject, HasTheDocumentedBytes) {
  EXPECT_EQ(encode_lww({1, {2, 3}, 0, false, "v"}),
            std::string("\x10\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0\3v", 26));
  EXPECT_EQ(encode_lww({1, {2, 3}, 4, false, ""}),
            std::string("\x12\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0\3\0\0\0\0\0\0\0\4", 33));
  EXPECT_EQ(encode_lww({1, {2, 3}, 4, true, "v"}),
            std::string("\x11\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0\3", 25));
}

TEST(LwwObject, RefusesMalformedBytes) {
  auto bytes = encode_lww({1, {2, 3}, 0, false, ""});
  EXPECT_FALSE(decode_lww(""));
  EXPECT_FALSE(decode_lww(bytes.substr(0, 24))) << "cut short";
  EXPECT_FALSE(decode_lww("\x13" + bytes.substr(1))) << "unknown format";
  EXPECT_FALSE(decode_lww("\x11" + bytes.substr(1) + "v")) << "a tombstone with a value";
  EXPECT_FALSE(decode_lww("\x12" + bytes.substr(1) + std::string(8, '\0'))) << "an expiry that says never";
  EXPECT_FALSE(decode_lww("\x12" + bytes.substr(1) + "1234567")) << "half an expiry";
  EXPECT_FALSE(decode_lww(encode_lww({1, {0, 3}, 0, false, ""}))) << "replica id 0";
  EXPECT_FALSE(decode_lww(encode_lww({1, {2, 0}, 0, false, ""}))) << "counter 0";
  EXPECT_FALSE(decode_lww(encode_lww({1, {2, counter_max + 1}, 0, false, ""}))) << "counter too large";
}

TEST(LwwJoin, TheLargerTimestampWins) {
  auto older = encode_lww({1, {9, 9}, 0, false, "older"});
  auto newer = encode_lww({2, {1, 1}, 0, false, "newer"});
  EXPECT_EQ(join_encoded(older, newer), newer);
  EXPECT_EQ(join_encoded(newer, older), newer);
}

TEST(LwwJoin, TheLargerDotWinsAmongEqualTimestamps) {
  auto smaller = encode_lww({1, {1, 9}, 0, false, "a"});
  auto larger = encode_lww({1, {2, 1}, 0, true, ""});
  EXPECT_EQ(join_encoded(smaller, larger), larger);
  EXPECT_EQ(join_encoded(larger, smaller), larger);
}

TEST(LwwJoin, ATombstoneBeatsWhatIsOlder) {
  auto value = encode_lww({1, {1, 1}, 0, false, "v"});
  auto tombstone = encode_lww({2, {1, 2}, 0, true, {}});
  EXPECT_EQ(join_encoded(tombstone, value), tombstone);
}

TEST(NewestTime, IsThatOfTheRegisterOrOfTheNewestSibling) {
  EXPECT_EQ(newest_time(encode_lww({7, {1, 1}, 0, false, "v"})), 7U);
  EXPECT_EQ(newest_time(encode_lww({7, {1, 1}, 0, true, {}})), 7U);
  siblings_object two{{{{2, 3}, 5, 0, "a"}, {{2, 4}, 4, 0, "b"}}, {}};
  EXPECT_EQ(newest_time(encode_siblings(two)), 5U);
  EXPECT_EQ(newest_time(encode_siblings(siblings_object{})), 0U);
  EXPECT_EQ(newest_time(""), 0U);
  EXPECT_EQ(newest_time("rubbish"), 0U);
}

TEST(JoinEncoded, TakesEmptyBytesForNoObject) {
  auto lww = encode_lww({1, {1, 1}, 0, false, "v"});
  auto siblings = encode_siblings(one({1, 1}, "v"));
  EXPECT_EQ(join_encoded("", lww), lww);
  EXPECT_EQ(join_encoded(siblings, ""), siblings);
  EXPECT_EQ(join_encoded("", ""), "");
}

TEST(JoinEncoded, RefusesTwoKindsAndMalformedBytes) {
  auto lww = encode_lww({1, {1, 1}, 0, false, "v"});
  auto siblings = encode_siblings(one({1, 1}, "v"));
  EXPECT_FALSE(join_encoded(lww, siblings));
  EXPECT_FALSE(join_encoded(siblings, lww));
  EXPECT_FALSE(join_encoded(lww, "rubbish"));
  EXPECT_FALSE(join_encoded("rubbish", siblings));
  EXPECT_FALSE(join_encoded("rubbish", ""));
  EXPECT_FALSE(join_encoded("rubbish", "rubbish"));
}

// -- Siblings --

TEST(SiblingsObject, HasTheDocumentedBytes) {
  siblings_object x{{{{2, 3}, 4, 5, "v"}}, clock_of(std::vector<dot>{{6, 1}})};
  EXPECT_EQ(encode_siblings(x), std::string("\x20\1\2\0\0\0\0\0\0\0\3\4\0\0\0\0\0\0\0\5\1v\1\6\0\0\0\0\0\0\0\1\0", 33));
}

TEST(SiblingsObject, RefusesMalformedBytes) {
  auto bytes = encode_siblings(one({2, 3}, "value"));
  EXPECT_TRUE(decode_siblings(bytes));
  EXPECT_FALSE(decode_siblings(""));
  EXPECT_FALSE(decode_siblings(bytes.substr(0, bytes.size() - 1))) << "cut short";
  EXPECT_FALSE(decode_siblings(bytes + '\0')) << "bytes left over";
  EXPECT_FALSE(decode_siblings("\x21" + bytes.substr(1))) << "unknown format";
  EXPECT_FALSE(decode_siblings(encode_siblings(one({0, 3}, "")))) << "replica id 0";
  EXPECT_FALSE(decode_siblings(encode_siblings(one({2, 0}, "")))) << "counter 0";
  siblings_object twice{{{{2, 3}, 0, 0, ""}, {{2, 3}, 0, 0, ""}}, {}};
  EXPECT_FALSE(decode_siblings(encode_siblings(twice))) << "one dot twice";
  siblings_object unsorted{{{{2, 3}, 0, 0, ""}, {{1, 4}, 0, 0, ""}}, {}};
  EXPECT_FALSE(decode_siblings(encode_siblings(unsorted))) << "not sorted";
}

TEST(SiblingsObject, BelievesNoCountThatTheInputCannotHold) {
  std::string bytes;
  byte_writer out(bytes);
  out.u8(0x20);
  out.varint(uint64_t{1} << 60);
  EXPECT_FALSE(decode_siblings(bytes + std::string(100, '\1')));
}

TEST(SiblingsJoin, KeepsConcurrentValuesSideBySide) {
  auto both = joined(one({1, 1}, "a"), one({2, 1}, "b"));
  ASSERT_EQ(both.siblings.size(), 2U);
  EXPECT_EQ(both.siblings[0].value, "a");
  EXPECT_EQ(both.siblings[1].value, "b");
}

TEST(SiblingsJoin, DropsWhatTheOtherSideHasSeenReplaced) {
  auto after = joined(one({1, 1}, "old"), one({2, 1}, "new", clock_of(std::vector<dot>{{1, 1}})));
  ASSERT_EQ(after.siblings.size(), 1U);
  EXPECT_EQ(after.siblings[0].value, "new");
}

TEST(SiblingsJoin, DoesNotTakeAValueThatWasReplacedBeforeItCame) {
  siblings_object deleted{{}, clock_of(std::vector<dot>{{1, 1}})};
  EXPECT_EQ(joined(deleted, one({1, 1}, "late")), deleted);
}

TEST(SiblingsObject, StripsWhatTheClockCovers) {
  auto x = one({1, 3}, "v", clock_of(std::vector<dot>{{1, 1}, {1, 2}, {2, 7}}));
  strip(x, clock_of(std::vector<dot>{{1, 1}, {1, 2}, {1, 3}}));
  EXPECT_EQ(x, one({1, 3}, "v", clock_of(std::vector<dot>{{2, 7}})));
}

TEST(SiblingsObject, ExpandedSaysAllThatItsReplicaKnows) {
  auto x = expand(one({1, 3}, "v", clock_of(std::vector<dot>{{2, 7}})), clock_of(std::vector<dot>{{1, 3}}));
  EXPECT_EQ(x, one({1, 3}, "v", clock_of(std::vector<dot>{{1, 3}, {2, 7}})));
}

TEST(SiblingsObject, FromAPeerBringsNoSiblingThatWeKnowAndKillsNoneThatItHas) {
  auto known = dot{1, 1};
  auto fresh = dot{2, 1};
  siblings_object page{{{known, 1, 0, "known"}, {fresh, 2, 0, "fresh"}},
                       clock_of(std::vector<dot>{known, fresh, {3, 1}})};
  auto operand = without_known(page, clock_of(std::vector<dot>{known, {3, 1}}));
  siblings_object expected{{{fresh, 2, 0, "fresh"}}, clock_of(std::vector<dot>{{3, 1}})};
  EXPECT_EQ(operand, expected);
}

// -- Reading --

TEST(Expiry, IsReachedAtItsMillisecondAndNeverForZero) {
  EXPECT_FALSE(expired(100, 99));
  EXPECT_TRUE(expired(100, 100));
  EXPECT_FALSE(expired(0, UINT64_MAX));
}

TEST(Digest, IsZeroForNothing) {
  EXPECT_EQ(digest_lww(std::nullopt), 0U);
  EXPECT_EQ(digest_siblings(siblings_object{}), 0U);
  EXPECT_EQ(digest_siblings(siblings_object{{}, clock_of(std::vector<dot>{{1, 1}})}), 0U);
}

TEST(DigestLaws, OfSiblingsDependsOnTheirDotsAndOnNothingElse) {
  EXPECT_TRUE(rc::check([] {
    auto dots_in = [](const siblings_object& x) {
      dot_set dots;
      for (const auto& s : x.siblings)
        dots.insert(s.id);
      return dots;
    };
    auto a = *any_siblings();
    auto b = *rc::gen::oneOf(any_siblings(), rc::gen::map(any_clock(), [a](const dot_clock& seen) {
                               return siblings_object{a.siblings, seen};
                             }));
    RC_CLASSIFY(dots_in(a) == dots_in(b), "same dots");
    RC_ASSERT((digest_siblings(a) == digest_siblings(b)) == (dots_in(a) == dots_in(b)));
    auto bytes = encode_siblings(a);
    RC_ASSERT(digest_siblings(*view_siblings(bytes)) == digest_siblings(a));
  }));
}

TEST(DigestLaws, OfRegistersDependsOnTimestampAndDot) {
  EXPECT_TRUE(rc::check([] {
    auto a = *any_lww();
    auto b = *any_lww();
    auto x = decode_lww(a);
    auto y = decode_lww(b);
    RC_ASSERT((digest_lww(x) == digest_lww(y)) == (x->time == y->time && x->id == y->id));
  }));
}

// -- The laws of join. They hold for all well-formed objects, not only for those that a history leaves behind. --

TEST(JoinLaws, SiblingsJoinIsCommutativeAssociativeAndIdempotent) {
  EXPECT_TRUE(rc::check([] {
    auto a = *any_siblings();
    auto b = *any_siblings();
    auto c = *any_siblings();
    RC_ASSERT(joined(a, b) == joined(b, a));
    RC_ASSERT(joined(joined(a, b), c) == joined(a, joined(b, c)));
    RC_ASSERT(joined(a, a) == a);
    RC_ASSERT(joined(joined(a, b), b) == joined(a, b));
  }));
}

TEST(JoinLaws, LwwJoinIsCommutativeAssociativeAndIdempotent) {
  EXPECT_TRUE(rc::check([] {
    auto a = *any_lww();
    auto b = *any_lww();
    auto c = *any_lww();
    RC_ASSERT(join_encoded(a, b) == join_encoded(b, a));
    RC_ASSERT(join_encoded(*join_encoded(a, b), c) == join_encoded(a, *join_encoded(b, c)));
    RC_ASSERT(join_encoded(a, a) == a);
    RC_ASSERT(supersedes(a, b) == (join_encoded(a, b) == a));
  }));
}

TEST(JoinLaws, OnlyRegistersSupersedeEachOther) {
  auto lww = encode_lww({from_micros(1), {1, 1}, 0, false, "value"});
  auto siblings = encode_siblings(siblings_object{});
  EXPECT_TRUE(supersedes(lww, lww));
  EXPECT_FALSE(supersedes(lww, siblings));
  EXPECT_FALSE(supersedes(siblings, lww));
  EXPECT_FALSE(supersedes(siblings, siblings));
  EXPECT_FALSE(supersedes(lww, ""));
  EXPECT_FALSE(supersedes("rubbish", "rubbish"));
}

TEST(JoinLaws, JoiningBytesIsJoiningObjects) {
  EXPECT_TRUE(rc::check([] {
    auto a = *any_siblings();
    auto b = *any_siblings();
    RC_ASSERT(join_encoded(encode_siblings(a), encode_siblings(b)) == encode_siblings(joined(a, b)));
  }));
}

TEST(JoinLaws, TheObjectOfNothingChangesNothing) {
  EXPECT_TRUE(rc::check([] {
    auto a = *any_siblings();
    RC_ASSERT(joined(a, {}) == a);
    RC_ASSERT(joined({}, a) == a);
  }));
}

TEST(EncodingLaws, DecodeIsTheInverseOfEncode) {
  EXPECT_TRUE(rc::check([] {
    auto x = *any_siblings();
    RC_ASSERT(decode_siblings(encode_siblings(x)) == x);
    auto lww = *any_lww();
    RC_ASSERT(decode_lww(lww).has_value());
    RC_ASSERT(encode_lww(*decode_lww(lww)) == lww);
  }));
}

TEST(EncodingLaws, WhateverDecodesIsCanonical) {
  EXPECT_TRUE(rc::check([](const std::string& noise) {
    auto bytes = *rc::gen::oneOf(damaged(encode_siblings(*any_siblings())), damaged(*any_lww()), rc::gen::just(noise));
    auto siblings = decode_siblings(bytes);
    auto lww = decode_lww(bytes);
    RC_CLASSIFY(siblings.has_value(), "siblings");
    RC_CLASSIFY(lww.has_value(), "lww");
    RC_ASSERT(view_siblings(bytes).has_value() == siblings.has_value());
    if (siblings)
      RC_ASSERT(encode_siblings(*siblings) == bytes);
    if (lww)
      RC_ASSERT(encode_lww(*lww) == bytes);
    RC_ASSERT(!(siblings && lww));
    RC_ASSERT(join_encoded(bytes, "").has_value() == (siblings || lww || bytes.empty()));
  }));
}

} // namespace
} // namespace crema::protocol
