// A register whose values are agreed: number after number (epoch after epoch) gets one value, and never another. One
// decree of Paxos for each number (Lamport, "Paxos Made Simple", 2001, section 2.2); the voters are named by the value
// before it. The invariants, and who may vote, are in docs/topology.md, "Agreement".
#pragma once

#include "protocol/types.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <vector>

namespace crema::protocol {

/// Orders attempts to have a number decided. No two attempts have the same.
struct ballot {
  uint64_t round = 0;    ///< 0: none.
  replica_id source = 0; ///< Who attempts it.
  friend bool operator==(const ballot& a, const ballot& b) { return a.round == b.round && a.source == b.source; }
  friend bool operator<(const ballot& a, const ballot& b) {
    return std::tie(a.round, a.source) < std::tie(b.round, b.source);
  }
};

/// What a voter must have on disk before it answers.
struct vote {
  uint64_t number = 0; ///< What it votes on: the number after the newest value that it knows.
  ballot promised;     ///< It takes part in nothing below.
  ballot accepted;     ///< Round 0: nothing yet.
  std::string value;   ///< What it accepted.
};

/// On the wire: append only.
enum class vote_reply : uint8_t {
  yes,
  outbid,  ///< It has promised more: `promised` says how much.
  decided, ///< The number has a value, which it will tell.
  unknown, ///< It does not know the value before yet.
  // Said by `agreement` on its behalf; an attempt goes on without this voter.
  not_voter,  ///< The value before does not name it, or names another data directory of its node.
  not_sealed, ///< It may have forgotten what it promised.
  invalid,    ///< The value must not follow the one before.
};

struct vote_answer {
  vote_reply what = vote_reply::unknown;
  ballot promised;
  ballot accepted;   ///< Of a promise: the newest that it accepted,
  std::string value; ///< and its value.
};

/// Votes on one number after the other. Whoever calls it persists `state()` before an answer leaves, if it changed.
class register_voter {
public:
  register_voter() = default;
  explicit register_voter(vote state) : state_(std::move(state)) {}

  vote_answer on_prepare(uint64_t number, ballot attempt);
  vote_answer on_propose(uint64_t number, ballot attempt, const std::string& value);
  /// The value of `number` is known, and with it who votes on the next.
  void on_decided(uint64_t number);
  const vote& state() const { return state_; }

private:
  std::optional<vote_answer> refusal(uint64_t number, ballot attempt) const;

  vote state_;
};

/// One attempt to have a number decided, by one who may vote on it.
class register_attempt {
public:
  /// @param voters as the value before `number` names them; distinct, not empty.
  /// @param id larger than any ballot that `id.source` ever used for this number, also before a restart.
  /// @param wanted what the number is to get, if nothing else may have been chosen.
  register_attempt(uint64_t number, ballot id, std::vector<node_id> voters, std::string wanted);

  enum class phase : uint8_t {
    preparing, ///< Ask all voters to promise.
    proposing, ///< Ask all voters to accept value().
    decided,   ///< value() is the value of the number, for ever.
    lost,      ///< Another attempt is ahead (go on above outbid_by(), after a random while), or the number has a value.
  };
  phase on_promise(node_id from, const vote_answer& answer);
  phase on_accepted(node_id from, const vote_answer& answer);

  phase state() const { return phase_; }
  uint64_t number() const { return number_; }
  ballot id() const { return id_; }
  const std::string& value() const { return value_; }
  uint64_t outbid_by() const { return outbid_by_; } ///< The round. 0: by none that is known.
  /// Whom to ask (again).
  std::vector<node_id> silent() const;

private:
  bool is_majority(const std::set<node_id>& some) const { return some.size() > voters_.size() / 2; }
  bool counts(node_id from, const vote_answer& answer);

  uint64_t number_;
  ballot id_;
  std::vector<node_id> voters_;
  std::string value_;
  ballot value_of_; // The attempt that value_ is from, if it may have been chosen.
  phase phase_ = phase::preparing;
  std::set<node_id> promised_, accepted_;
  uint64_t outbid_by_ = 0;
};

} // namespace crema::protocol
