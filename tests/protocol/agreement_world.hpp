// Seven nodes that agree on one value after the other while everything goes wrong: messages are lost, repeated and
// overtaken, nodes crash in the middle of a step, writes fail, disks get lost, the network falls apart. Time is
// virtual, and all of it follows from a seed.
#pragma once

#include "protocol/agreement.hpp"

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <vector>

namespace crema::protocol::agreement_test {

/// A rule that the world does not keep, or keeps the machine from keeping; the loss must be seen.
enum class left_out {
  nothing,
  disk,           ///< A record is not always on disk when persist() returns.
  accepted_value, ///< A promise does not tell what was accepted before.
  directories,    ///< A value names the node, whatever its disk.
  sealing,        ///< All vote on number 2.
  enough_seals,   ///< Two ids of a node are kept from being sealed only while nobody else loses a disk.
  own_ballot,     ///< The round of the last attempt is forgotten in a restart.
  validity,       ///< Voters accept anything.
};

/// A value in the world: "node@directory ... |tag of the value before|own tag|", with a '!' if it is nonsense.
class texts : public agreed_values {
public:
  std::vector<voter> voters_of(const std::string& value) const override;
  bool valid_successor(const std::string& before, const std::string& after) const override;

  bool anything_valid = false;
  const std::array<uint64_t, 7>* instead = nullptr; ///< Directories that count in place of the named ones.
};

/// What happens often.
enum class weather {
  mixed,
  losses,    ///< Disks are lost, and the network falls apart.
  split,     ///< A majority is alone, all but one lose their disks at once, and are then alone with the others.
  hasty,     ///< Who proposes crashes, and proposes something else at once.
  operators, ///< Values are forced.
};

struct plan {
  unsigned seed = 0;
  weather what = weather::mixed;
  left_out without = left_out::nothing;
};

class world {
public:
  static constexpr size_t nodes_count = 7;

  explicit world(const plan& how);
  /// Anything that may happen, many times, or until there is a violation.
  void run();
  /// Nothing is lost any more. Empty, or in words what should have happened and did not.
  std::string calm();

  const std::string& violation() const { return violation_; } ///< Empty: none.
  size_t decided() const { return values_.size() - 1; }
  size_t finished() const { return finished_; } ///< Values that were decided when nobody was after them any more.
  size_t forced() const { return forced_; }
  bool stuck() const { return stuck_; } ///< In the end there was no majority of disks that vote.
  size_t lost_disks() const { return lost_disks_; }

private:
  struct disk {
    uint64_t directory = 0;
    std::string record;
    std::map<size_t, uint64_t> bound; // Others to the first directory that it met of them.
    std::set<size_t> bound_by;        // Who has told that it has bound this one.
    bool sealed = false;
    uint64_t used = 0; // The newest number that its shell was told of.
  };
  struct node {
    std::optional<agreement> machine; // Nothing: down.
    std::optional<uint64_t> asked;    // A request that has not ended.
    disk own;
  };
  struct message {
    size_t from, to;
    agreement_message m;
  };
  class effects;

  void step();
  void split();
  void split_otherwise();
  template <class Call>
  void call(size_t at, Call what);
  void crash(size_t at);
  void restart(size_t at);
  void new_disk(size_t at);
  void lose_disk(size_t at);
  void gossip(size_t from, size_t to);
  void vouch(size_t by, size_t of);
  void deliver(size_t i);
  void propose(size_t at);
  void force(size_t at);
  void part();
  void tick(size_t at);
  template <class Condition>
  bool run_until(Condition met);
  bool all_equal() const;
  bool electable() const;

  std::string make_value(size_t at, bool nonsense);
  void written(size_t at);
  void known(uint64_t number, const std::string& value);
  void ended(size_t at, uint64_t request, const agreement_outcome& outcome);
  void violated(const std::string& what);

  uint64_t random();
  size_t below(size_t n) { return static_cast<size_t>(random() % n); }

  plan plan_;
  uint64_t random_;
  texts values_seen_; // With what is left out.
  texts truth_;
  std::array<uint64_t, nodes_count> directories_{};
  std::array<node, nodes_count> nodes_;
  std::array<size_t, nodes_count> side_{};
  std::vector<size_t> majority_; // In a split.
  size_t first_voters_;
  std::string first_value_;
  std::vector<message> network_;
  std::chrono::nanoseconds now_{};
  bool chaos_ = true;

  std::map<uint64_t, std::string> values_; // All that anybody knows to be decided, by number.
  std::map<std::tuple<uint64_t, ballot, std::string>, std::set<size_t>> accepted_; // Who ever had it on disk.
  std::map<uint64_t, std::string> wanted_;                                         // By request.
  std::set<std::string> never_;                                                    // Was said not to have been chosen.
  std::set<std::string> chosen_;
  std::map<uint64_t, agreement_outcome> outcomes_;
  std::set<size_t> lost_; // First voters that lost a disk since all knew more than number 1.
  uint64_t last_tag_ = 0, last_directory_ = 100;
  size_t finished_ = 0, forced_ = 0, lost_disks_ = 0;
  bool stuck_ = false;
  std::string violation_;
};

} // namespace crema::protocol::agreement_test
