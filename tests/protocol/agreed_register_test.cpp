#include "protocol/agreed_register.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <random>
#include <string>
#include <vector>

namespace crema::protocol {
namespace {

enum class left_out { nothing, disk, promise, accepted_value, own_ballot, voters_of_before };

/// Up to seven nodes, each of which votes, attempts and may crash, on a network that loses, repeats and reorders. A
/// value is the string of the voters on the next one, and a letter that tells it from others.
class world {
public:
  world(unsigned seed, left_out without) : random_(seed), without_(without) {
    for (auto& n : nodes_)
      n.values = {"abc:"};
    for (auto& n : nodes_)
      n.voter.on_decided(0), n.disk = n.voter.state();
  }

  void step() {
    auto dice = below(1000);
    auto at = below(nodes_.size());
    if (dice < 5)
      crash(at);
    else if (dice < 10)
      gossip(at, below(nodes_.size()));
    else if (!network_.empty())
      deliver(below(network_.size()));
    else if (dice < 500)
      duel();
    else
      for (size_t n = 0; n < nodes_.size(); ++n)
        ask_again(n);
  }

  /// Nothing is lost any more, and one at a time tries. @returns whether the newest number gets a successor.
  bool goes_on() {
    network_.clear();
    for (size_t n = 0; n < nodes_.size(); ++n)
      gossip(newest_at(), n);
    auto voter = index_of(nodes_[0].values.back()[0]);
    auto before = nodes_[voter].values.size();
    for (int tries = 0; tries < 20 && nodes_[voter].values.size() == before; ++tries) {
      attempt(voter);
      while (!network_.empty())
        deliver(0, true);
    }
    return nodes_[voter].values.size() > before;
  }

  size_t decided() const { return decided_.size(); }
  bool agreed() const { return agreed_; }

private:
  struct message {
    size_t from, to;
    uint64_t number;
    ballot id;
    bool proposes, answers;
    std::string value;
    vote_answer answer;
  };
  struct node {
    std::vector<std::string> values; // By number, without gaps. On disk.
    register_voter voter;
    vote disk;
    std::optional<register_attempt> attempt;
    uint64_t round = 0; // Of the last attempt at this number.
    replica_id runs = 0;
  };

  size_t below(size_t n) { return std::uniform_int_distribution<size_t>{0, n - 1}(random_); }
  static size_t index_of(char c) { return static_cast<size_t>(c - 'a'); }
  static std::vector<node_id> voters_in(const std::string& value) {
    std::vector<node_id> all;
    for (char c : value.substr(0, value.find(':')))
      all.push_back(node_id{static_cast<uint32_t>(index_of(c))});
    return all;
  }
  bool votes(size_t at, uint64_t number) const {
    auto all = voters_in(nodes_[at].values[number - 1]);
    return std::find(all.begin(), all.end(), node_id{static_cast<uint32_t>(at)}) != all.end();
  }

  /// Up to two of the voters on the newest number try at once.
  void duel() {
    const auto& newest = nodes_[newest_at()].values.back();
    for (size_t i = 0; i < 2; ++i) {
      auto at = index_of(newest[below(newest.find(':'))]);
      gossip(newest_at(), at);
      attempt(at);
    }
  }

  size_t newest_at() const {
    auto newest = std::max_element(nodes_.begin(), nodes_.end(),
                                   [](const auto& a, const auto& b) { return a.values.size() < b.values.size(); });
    return static_cast<size_t>(newest - nodes_.begin());
  }

  void attempt(size_t at) {
    auto& n = nodes_[at];
    auto number = n.values.size();
    if (!votes(at, number))
      return;
    std::string all = "abcdefg";
    std::shuffle(all.begin(), all.end(), random_);
    auto value = all.substr(0, 1 + below(5)) + ":" + std::to_string(++tried_);
    auto round = std::max({n.round, n.voter.state().promised.round, n.attempt ? n.attempt->outbid_by() : 0}) + 1;
    ballot id{round, without_ == left_out::own_ballot ? 1 : 100 * at + n.runs + 1};
    n.round = round;
    auto voters = voters_in(without_ == left_out::voters_of_before ? value : n.values[number - 1]);
    n.attempt.emplace(number, id, voters, value);
    ask_again(at);
  }

  void ask_again(size_t at) {
    auto& n = nodes_[at];
    if (!n.attempt)
      return;
    for (auto to : n.attempt->silent())
      network_.push_back({at,
                          to_index(to),
                          n.attempt->number(),
                          n.attempt->id(),
                          n.attempt->state() == register_attempt::phase::proposing,
                          false,
                          n.attempt->value(),
                          {}});
  }

  void crash(size_t at) {
    auto& n = nodes_[at];
    n.attempt.reset();
    n.round = 0;
    ++n.runs;
    n.voter = register_voter{n.disk};
    if (without_ == left_out::disk) {
      n.voter = register_voter{};
      n.voter.on_decided(n.values.size() - 1);
    }
  }

  void gossip(size_t from, size_t to) {
    while (nodes_[to].values.size() < nodes_[from].values.size())
      learn(to, nodes_[to].values.size(), nodes_[from].values[nodes_[to].values.size()]);
  }

  void learn(size_t at, uint64_t number, const std::string& value) {
    auto& n = nodes_[at];
    if (number != n.values.size())
      return;
    n.values.push_back(value);
    n.round = 0;
    n.voter.on_decided(number);
    n.disk = n.voter.state();
    if (n.attempt && n.attempt->number() <= number)
      n.attempt.reset();
  }

  void deliver(size_t i, bool surely = false) {
    auto m = network_[i];
    if (surely || below(4) > 0) // Else it may come again.
      network_.erase(network_.begin() + static_cast<std::ptrdiff_t>(i));
    if (!surely && below(5) == 0)
      return;
    auto& n = nodes_[m.to];
    if (!m.answers)
      return answer(m);
    if (!n.attempt || !(n.attempt->id() == m.id) || n.attempt->number() != m.number)
      return;
    if (without_ == left_out::accepted_value && !m.proposes)
      m.answer.accepted = {};
    node_id from{static_cast<uint32_t>(m.from)};
    auto before = n.attempt->state();
    auto after = m.proposes ? n.attempt->on_accepted(from, m.answer) : n.attempt->on_promise(from, m.answer);
    if (before != after && after == register_attempt::phase::proposing)
      ask_again(m.to);
    if (before == after || after != register_attempt::phase::decided)
      return;
    auto [known, fresh] = decided_.emplace(m.number, n.attempt->value());
    agreed_ = agreed_ && known->second == n.attempt->value();
    learn(m.to, m.number, std::string{n.attempt->value()});
  }

  void answer(const message& m) {
    auto& n = nodes_[m.to];
    auto answer = m.proposes ? n.voter.on_propose(m.number, m.id, m.value) : n.voter.on_prepare(m.number, m.id);
    if (without_ == left_out::promise && m.proposes && answer.what == vote_reply::outbid)
      answer = {vote_reply::yes, m.id, m.id, {}};
    n.disk = n.voter.state();
    if (answer.what == vote_reply::decided)
      gossip(m.to, m.from);
    if (answer.what == vote_reply::unknown)
      gossip(m.from, m.to);
    network_.push_back({m.to, m.from, m.number, m.id, m.proposes, true, {}, answer});
  }

  std::mt19937 random_;
  left_out without_;
  std::array<node, 7> nodes_;
  std::vector<message> network_;
  std::map<uint64_t, std::string> decided_;
  bool agreed_ = true;
  uint64_t tried_ = 0;
};

bool agrees(unsigned seed, left_out without, size_t* decided = nullptr) {
  world w{seed, without};
  for (int i = 0; i < 1500 && w.agreed(); ++i)
    w.step();
  if (decided != nullptr)
    *decided += w.decided();
  if (w.agreed() && without == left_out::nothing) {
    EXPECT_TRUE(w.goes_on()) << "seed " << seed;
  }
  return w.agreed();
}

TEST(AgreedRegister, GivesANumberOneValueWhateverIsLostRepeatedOrCrashes) {
  size_t decided = 0;
  for (unsigned seed = 0; seed < 3000; ++seed)
    ASSERT_TRUE(agrees(seed, left_out::nothing, &decided)) << "seed " << seed;
  EXPECT_GT(decided, 20'000U);
}

TEST(AgreedRegister, NeedsEachOfItsRules) {
  for (auto rule : {left_out::disk, left_out::promise, left_out::accepted_value, left_out::own_ballot,
                    left_out::voters_of_before}) {
    unsigned seed = 0;
    while (seed < 20'000 && agrees(seed, rule))
      ++seed;
    EXPECT_LT(seed, 20'000U) << "rule " << static_cast<int>(rule);
  }
}

constexpr node_id a{0}, b{1}, c{2}, d{3};

TEST(AgreedRegister, TakesOverWhatMayHaveBeenChosen) {
  register_attempt x{1, {5, 9}, {a, b, c}, "mine"};
  EXPECT_EQ(x.on_promise(a, {vote_reply::yes, {5, 9}, {2, 7}, "older"}), register_attempt::phase::preparing);
  EXPECT_EQ(x.on_promise(a, {vote_reply::yes, {5, 9}, {2, 7}, "older"}), register_attempt::phase::preparing)
      << "a repetition is no second voter";
  EXPECT_EQ(x.on_promise(d, {vote_reply::yes, {5, 9}, {4, 7}, "of a stranger"}), register_attempt::phase::preparing);
  EXPECT_EQ(x.silent(), (std::vector<node_id>{b, c}));
  EXPECT_EQ(x.on_promise(b, {vote_reply::yes, {5, 9}, {3, 1}, "newer"}), register_attempt::phase::proposing);
  EXPECT_EQ(x.value(), "newer");
  EXPECT_EQ(x.on_accepted(c, {vote_reply::yes, {5, 9}, {5, 9}, {}}), register_attempt::phase::proposing);
  EXPECT_EQ(x.on_accepted(a, {vote_reply::yes, {5, 9}, {5, 9}, {}}), register_attempt::phase::decided);
}

TEST(AgreedRegister, AnAttemptThatIsOutbidEnds) {
  register_attempt x{1, {5, 9}, {a, b, c}, "mine"};
  EXPECT_EQ(x.on_promise(a, {vote_reply::outbid, {4, 1}, {}, {}}), register_attempt::phase::preparing)
      << "of an earlier attempt of ours";
  EXPECT_EQ(x.on_promise(a, {vote_reply::outbid, {8, 1}, {}, {}}), register_attempt::phase::lost);
  EXPECT_EQ(x.outbid_by(), 8U);
  EXPECT_EQ(x.on_promise(b, {vote_reply::yes, {5, 9}, {}, {}}), register_attempt::phase::lost);
}

TEST(AgreedRegister, AVoterKeepsItsPromises) {
  register_voter x;
  x.on_decided(0);
  EXPECT_EQ(x.on_prepare(2, {1, 1}).what, vote_reply::unknown);
  EXPECT_EQ(x.on_prepare(1, {3, 1}).what, vote_reply::yes);
  EXPECT_EQ(x.on_propose(1, {2, 9}, "v").what, vote_reply::outbid);
  EXPECT_EQ(x.on_propose(1, {3, 2}, "w").what, vote_reply::yes);
  auto again = register_voter{x.state()}.on_prepare(1, {4, 1});
  EXPECT_EQ(again.value, "w");
  EXPECT_EQ(again.accepted, (ballot{3, 2}));
  x.on_decided(4);
  EXPECT_EQ(x.on_prepare(4, {9, 9}).what, vote_reply::decided);
  EXPECT_EQ(x.on_prepare(5, {1, 1}).what, vote_reply::yes) << "promises are about one number";
  x.on_decided(3);
  EXPECT_EQ(x.state().number, 5U);
}

} // namespace
} // namespace crema::protocol
