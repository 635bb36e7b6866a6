#include "protocol/agreement.hpp"

#include "agreement_world.hpp"

#include <gtest/gtest.h>

namespace crema::protocol {
namespace {

using agreement_test::left_out;
using agreement_test::plan;
using agreement_test::texts;
using agreement_test::weather;
using agreement_test::world;
using kind = agreement_message::kind;
using result = agreement_outcome::result;
using std::chrono::milliseconds;
using std::chrono::seconds;

struct totals {
  size_t decided = 0, finished = 0, forced = 0, lost_disks = 0, stuck = 0;
};

/// @returns what went wrong; empty: nothing.
std::string run(const plan& how, totals* sum = nullptr) {
  world w{how};
  w.run();
  auto missing = w.violation().empty() ? w.calm() : std::string{};
  if (sum != nullptr) {
    sum->decided += w.decided();
    sum->finished += w.finished();
    sum->forced += w.forced();
    sum->lost_disks += w.lost_disks();
    sum->stuck += w.stuck() ? 1 : 0;
  }
  if (!w.violation().empty())
    return w.violation();
  return missing.empty() || how.without != left_out::nothing ? "" : "not so: " + missing;
}

TEST(Agreement, GivesANumberOneValueWhateverHappens) {
  totals sum;
  for (unsigned seed = 0; seed < 4000; ++seed)
    ASSERT_EQ(run({seed, static_cast<weather>(seed % 5)}, &sum), "") << "seed " << seed;
  EXPECT_GT(sum.decided, 20'000U);
  EXPECT_GT(sum.finished, 300U);
  EXPECT_GT(sum.forced, 1000U);
  EXPECT_GT(sum.lost_disks, 5000U);
  EXPECT_GT(sum.stuck, 300U);
}

TEST(Agreement, NeedsEachOfItsRules) {
  struct {
    left_out rule;
    weather what;
  } rules[] = {{left_out::disk, weather::mixed},         {left_out::accepted_value, weather::mixed},
               {left_out::directories, weather::split},  {left_out::sealing, weather::split},
               {left_out::enough_seals, weather::split}, {left_out::own_ballot, weather::hasty},
               {left_out::validity, weather::mixed}};
  for (auto [rule, what] : rules) {
    unsigned seed = 0;
    while (seed < 10'000 && run({seed, what, rule}).empty())
      ++seed;
    EXPECT_LT(seed, 10'000U) << "rule " << static_cast<int>(rule);
  }
}

constexpr node_id a{0}, b{1}, c{2}, d{3};
constexpr const char* first = "0@0 1@0 2@0 |0|0|";        // a, b and c, by name.
constexpr const char* second = "0@100 1@101 2@102 |0|1|"; // The same, by their directories.
constexpr const char* third = "0@100 3@103 |1|2|";

/// One node, and what it said.
struct bench : agreement_outbox {
  explicit bench(const char* value, node_id self = a, uint64_t number = 1)
      : machine(self, 100 + to_index(self), meaning, {number, value, {number + 1, {}, {}, {}}, 0}, [] { return 7; },
                {}) {}

  void send(node_id to, agreement_message m) override { sent.emplace_back(to, std::move(m)); }
  bool persist(const std::string& record) override {
    if (disk_fails)
      return false;
    disk = record;
    return true;
  }
  void decided(uint64_t number, const std::string&) override { told.push_back(number); }
  void attempt_ended(uint64_t, const agreement_outcome& x) override { outcomes.push_back(x); }

  /// What it sends when it hears that.
  std::vector<std::pair<node_id, agreement_message>> hears(node_id from, const agreement_message& m) {
    sent.clear();
    machine.on_message(from, m, now, *this);
    return std::move(sent);
  }
  vote_reply answers(node_id from, const agreement_message& m) { return hears(from, m).at(0).second.answer.what; }
  /// A yes to the last attempt.
  void yes(node_id from, uint64_t directory, kind what, ballot accepted = {}) {
    hears(from, {what, machine.number() + 1, round(), {}, {vote_reply::yes, round(), accepted, {}}, directory});
  }
  ballot round() const { return {decode_agreement_record(disk)->round, 100}; }

  texts meaning;
  agreement machine;
  std::vector<std::pair<node_id, agreement_message>> sent;
  std::string disk;
  bool disk_fails = false;
  std::vector<uint64_t> told;
  std::vector<agreement_outcome> outcomes;
  std::chrono::nanoseconds now{};
};

agreement_message prepare(uint64_t number, ballot attempt) { return {kind::prepare, number, attempt, {}, {}, 0}; }
agreement_message propose(uint64_t number, ballot attempt, std::string value) {
  return {kind::propose, number, attempt, std::move(value), {}, 0};
}
agreement_message decided(uint64_t number, std::string value) {
  return {kind::decided, number, {}, std::move(value), {}, 0};
}

TEST(Agreement, OneAloneDecidesAtOnce) {
  bench x{"0@0 |0|0|"};
  x.machine.set_sealed(true);
  x.machine.propose(1, "0@100 1@101 |0|1|", x.now, x);
  ASSERT_EQ(x.outcomes.size(), 1U);
  EXPECT_EQ(x.outcomes[0].what, result::chosen);
  EXPECT_EQ(x.outcomes[0].number, 2U);
  EXPECT_EQ(x.told, std::vector<uint64_t>{2});
  ASSERT_EQ(x.sent.size(), 1U) << "the new voter is told";
  EXPECT_EQ(x.sent[0].first, b);
}

TEST(Agreement, SaysNothingThatItsDiskDoesNotHave) {
  bench x{second};
  x.disk_fails = true;
  for (int i = 0; i < 2; ++i) { // The second time it must not take for written what it only meant to write.
    EXPECT_TRUE(x.hears(b, prepare(2, {1, 9})).empty());
    EXPECT_TRUE(x.hears(b, propose(2, {1, 9}, third)).empty());
    x.machine.heard_number(b, 0, x.now, x);
    EXPECT_TRUE(x.hears(c, decided(5, third)).empty());
  }
  EXPECT_TRUE(x.told.empty());
  EXPECT_EQ(x.machine.number(), 1U);
  x.machine.propose(1, third, x.now, x);
  EXPECT_EQ(x.outcomes.at(0).what, result::disk_failed);
  EXPECT_TRUE(x.sent.empty());
  x.disk_fails = false;
  EXPECT_EQ(x.answers(b, propose(2, {1, 9}, third)), vote_reply::yes);
}

TEST(Agreement, OnlyTheNamedDiskVotes) {
  EXPECT_EQ(bench(second, b).answers(a, prepare(2, {1, 9})), vote_reply::yes);
  EXPECT_EQ(bench("0@100 1@77 |0|1|", b).answers(a, prepare(2, {1, 9})), vote_reply::not_voter);
  EXPECT_EQ(bench(second, d).answers(a, prepare(2, {1, 9})), vote_reply::not_voter);
  bench x{first, b};
  EXPECT_EQ(x.answers(a, prepare(2, {1, 9})), vote_reply::not_sealed);
  x.machine.set_sealed(true);
  EXPECT_EQ(x.answers(a, prepare(2, {1, 9})), vote_reply::yes);
}

TEST(Agreement, CountsOneDiskOfANode) {
  bench x{"0@0 1@0 2@0 3@0 |0|0|"};
  x.machine.set_sealed(true);
  x.machine.propose(1, "0@100 |0|1|", x.now, x);
  x.yes(b, 101, kind::promise);
  x.yes(b, 201, kind::promise);
  x.sent.clear();
  x.yes(c, 0, kind::promise);
  EXPECT_TRUE(x.sent.empty()) << "that is nobody's disk";
  x.yes(c, 102, kind::promise);
  x.yes(c, 102, kind::accept, x.round());
  x.yes(c, 302, kind::accept, x.round());
  x.yes(b, 201, kind::accept, x.round());
  EXPECT_TRUE(x.told.empty()) << "b promised with another disk";
  x.yes(b, 101, kind::accept, x.round());
  EXPECT_EQ(x.told, std::vector<uint64_t>{2});
}

TEST(Agreement, AVoterAcceptsNoNonsense) {
  bench x{second, b};
  for (const char* nonsense : {"0@100 |1|2!|", "0@100 |7|8|", "0@0 |1|2|", "0@100 0@101 |1|2|", "|1|2|", ""}) {
    EXPECT_EQ(x.answers(a, propose(2, {1, 9}, nonsense)), vote_reply::invalid) << nonsense;
    bench y{second};
    y.machine.propose(1, nonsense, y.now, y);
    EXPECT_EQ(y.outcomes.at(0).what, result::invalid) << nonsense;
    EXPECT_TRUE(y.sent.empty());
  }
  EXPECT_EQ(x.answers(a, propose(2, {1, 9}, third)), vote_reply::yes);
}

TEST(Agreement, WhoIsBehindIsToldAndWhoIsAheadIsAsked) {
  bench x{second, b, 5};
  x.now = seconds(1);
  auto said = x.hears(c, prepare(5, {1, 9}));
  ASSERT_EQ(said.size(), 2U);
  EXPECT_EQ(said[0].second.answer.what, vote_reply::decided);
  EXPECT_EQ(said[1].second.what, kind::decided);
  EXPECT_EQ(said[1].second.value, second);
  EXPECT_EQ(x.hears(c, prepare(4, {1, 9})).size(), 1U) << "told a moment ago";
  x.now += seconds(1);
  EXPECT_EQ(x.hears(c, {kind::want, 4, {}, {}, {}, 0}).size(), 1U);
  EXPECT_TRUE(x.hears(d, {kind::want, 5, {}, {}, {}, 0}).empty());
  said = x.hears(c, prepare(8, {1, 9}));
  ASSERT_EQ(said.size(), 2U);
  EXPECT_EQ(said[0].second.answer.what, vote_reply::unknown);
  EXPECT_EQ(said[1].second.what, kind::want);
  EXPECT_EQ(said[1].second.number, 5U);
  x.hears(c, decided(7, third));
  x.hears(c, decided(6, second));
  EXPECT_EQ(x.told, std::vector<uint64_t>{7}) << "values in between need not be known, and older ones are not taken";
  x.sent.clear();
  x.machine.heard_number(d, 6, x.now, x);
  x.machine.heard_number(d, 7, x.now, x);
  x.machine.heard_number(d, 9, x.now, x);
  ASSERT_EQ(x.sent.size(), 2U);
  EXPECT_EQ(x.sent[0].second.what, kind::decided);
  EXPECT_EQ(x.sent[1].second.what, kind::want);
}

TEST(Agreement, SaysWhoDidNotAnswer) {
  bench x{second};
  x.machine.propose(1, third, x.now, x);
  x.machine.propose(2, third, x.now, x);
  EXPECT_EQ(x.outcomes.at(0).what, result::busy);
  x.hears(c, {kind::promise, 2, x.round(), {}, {vote_reply::unknown, {}, {}, {}}, 102});
  x.machine.on_tick(seconds(15), x);
  ASSERT_EQ(x.outcomes.size(), 2U);
  EXPECT_EQ(x.outcomes[1].what, result::no_majority);
  ASSERT_EQ(x.outcomes[1].missing.size(), 2U);
  EXPECT_EQ(x.outcomes[1].missing[0].node, b);
  EXPECT_FALSE(x.outcomes[1].missing[0].said.has_value());
  EXPECT_EQ(x.outcomes[1].missing[1].said, vote_reply::unknown);

  x.machine.propose(3, third, x.now, x);
  x.yes(b, 101, kind::promise);
  x.machine.on_tick(seconds(15), x);
  EXPECT_EQ(x.outcomes.at(2).what, result::unknown) << "b may have accepted it";

  bench y{first};
  y.machine.propose(1, second, y.now, y);
  y.hears(b, {kind::promise, 2, y.round(), {}, {vote_reply::not_sealed, {}, {}, {}}, 101});
  ASSERT_EQ(y.outcomes.size(), 1U) << "c alone would be no majority";
  EXPECT_EQ(y.outcomes[0].what, result::no_majority);
}

TEST(Agreement, AsksTheSilentAgain) {
  bench x{second};
  x.machine.propose(1, third, x.now, x);
  auto asked = [&x](milliseconds at) {
    x.sent.clear();
    x.machine.on_tick(at, x);
    return x.sent.size();
  };
  EXPECT_EQ(asked(milliseconds(499)), 0U);
  EXPECT_EQ(asked(milliseconds(500)), 2U) << "all but itself";
  EXPECT_EQ(asked(milliseconds(1499)), 0U);
  EXPECT_EQ(asked(milliseconds(1500)), 2U);
  x.now = milliseconds(1600);
  x.yes(b, 101, kind::promise);
  x.yes(b, 101, kind::promise);
  x.hears(b, {kind::accept, 2, x.round(), {}, {vote_reply::outbid, {9, 9}, {}, {}}, 101});
  EXPECT_EQ(asked(milliseconds(1699)), 0U);
  EXPECT_EQ(asked(milliseconds(1900)), 2U) << "again from the beginning";
  EXPECT_EQ(x.sent[0].second.what, kind::prepare);
  EXPECT_EQ(x.sent[0].second.attempt, (ballot{10, 100}));
}

TEST(Agreement, FinishesWhatIsHalfDone) {
  bench x{second, b};
  x.hears(a, propose(2, {4, 9}, third));
  x.sent.clear();
  x.machine.on_tick(milliseconds(1900), x);
  EXPECT_TRUE(x.sent.empty());
  x.machine.on_tick(milliseconds(4000), x);
  ASSERT_EQ(x.sent.size(), 2U);
  EXPECT_EQ(x.sent[0].second.what, kind::prepare);
  EXPECT_EQ(x.sent[0].second.attempt, (ballot{5, 101}));
}

TEST(Agreement, AForcedNumberIsFarAhead) {
  bench x{second}, y{second, b}, z{second, c};
  auto number = x.machine.forced_number(third);
  EXPECT_GE(number, 1U << 20);
  EXPECT_EQ(y.machine.forced_number(third), number) << "the same on two nodes is the same";
  EXPECT_NE(z.machine.forced_number("2@102 |1|2|"), number);
  EXPECT_FALSE(x.machine.force(1 << 20, third, x)) << "a majority might come to it";
  ASSERT_TRUE(x.machine.force(number, third, x));
  EXPECT_EQ(x.told, std::vector<uint64_t>{number});
  EXPECT_FALSE(x.machine.force(x.machine.forced_number("0@0 |1|2|"), "0@0 |1|2|", x));
  x.disk_fails = true;
  EXPECT_FALSE(x.machine.force(x.machine.forced_number("2@102 |1|2|"), "2@102 |1|2|", x));
}

TEST(Agreement, IgnoresWhatIsMalformed) {
  bench x{second};
  auto big = std::string(agreed_value_bytes_max + 1, 'v');
  auto far = agreement_number_max + 1;
  for (const auto& m :
       {prepare(0, {1, 9}), prepare(far, {1, 9}), prepare(2, {0, 9}), prepare(2, {1, 0}), prepare(2, {far, 9}),
        propose(2, {1, 9}, big), decided(5, big), decided(far, third), decided(5, "no voters"), decided(5, first),
        agreement_message{static_cast<kind>(6), 2, {1, 9}, third, {}, 101}})
    EXPECT_TRUE(x.hears(b, m).empty());
  EXPECT_TRUE(x.told.empty());
  EXPECT_TRUE(x.disk.empty());
  x.machine.heard_number(b, UINT64_MAX, x.now, x);
  EXPECT_TRUE(x.sent.empty());
  x.machine.propose(1, third, x.now, x);
  for (const auto& answer :
       {vote_answer{vote_reply::yes, x.round(), {1, 9}, "nonsense"},
        vote_answer{vote_reply::yes, x.round(), {1, 9}, big}, vote_answer{vote_reply::yes, x.round(), {1, 0}, second},
        vote_answer{vote_reply::outbid, {far, 9}, {}, {}}, vote_answer{static_cast<vote_reply>(7), x.round(), {}, {}}})
    EXPECT_TRUE(x.hears(b, {kind::promise, 2, x.round(), {}, answer, 101}).empty());
  x.yes(b, 101, kind::promise);
  x.yes(b, 101, kind::accept, x.round());
  EXPECT_EQ(x.told, std::vector<uint64_t>{2});
}

} // namespace
} // namespace crema::protocol
