// Values that a cluster agrees on, number after number, while nodes crash, lose their disks, and messages get lost.
// Each value names the voters on the next one. One node's part in it: it votes, has proposals of its own decided,
// finishes what others left half done, and spreads the newest value. The rules, and why they suffice: docs/topology.md,
// "Agreement".
//
//   propose ──▶ preparing ──▶ proposing ──▶ decided ──▶ spread by gossip
//                  ▲    outbid    │
//                  └── a while ◀──┘
#pragma once

#include "protocol/agreed_register.hpp"
#include "protocol/agreement_message.hpp"
#include "protocol/agreement_record.hpp"
#include "protocol/types.hpp"

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace crema::protocol {

/// Who may vote: a node with the disk it has now. Without it the node has forgotten its promises, and is another voter.
struct voter {
  node_id node{};
  uint64_t directory = 0; ///< Random id of its data directory. 0: not named, in number 1 only; then it must be sealed.
};

/// How many of the other voters on number 2 must have bound a node's name, on disk, to its data directory before it is
/// sealed. Two directories of one node are never both sealed, unless a majority of the voters lost their disks.
constexpr size_t seals_needed(size_t voters) { return (voters + voters / 2) / 2; }

/// What values mean, as far as agreement has to know. Same arguments, same answers, on all nodes.
class agreed_values {
public:
  virtual ~agreed_values() = default;
  /// Who votes on the number after `value`. Empty if it is no value at all.
  virtual std::vector<voter> voters_of(const std::string& value) const = 0;
  virtual bool valid_successor(const std::string& before, const std::string& after) const = 0;
};

/// How an attempt that was asked for ended.
struct agreement_outcome {
  enum class result : uint8_t {
    chosen,      ///< It is the value of `number`.
    other,       ///< `number` got another value.
    unknown,     ///< It may have been chosen, or be chosen later.
    no_majority, ///< Too few voters answered, or can vote. It was offered to nobody.
    invalid,     ///< It must not follow the newest value.
    busy,        ///< Another attempt of this node is under way.
    disk_failed, ///< This node could not write. Else like unknown.
  };
  /// A voter that did not do its part, and what it said instead; nothing: it has not answered.
  struct missing_voter {
    node_id node{};
    std::optional<vote_reply> said;
  };
  result what = result::unknown;
  uint64_t number = 0;                ///< What it was an attempt at.
  std::vector<missing_voter> missing; ///< unknown, no_majority; empty if others' attempts were always ahead.
};

/// What an agreement makes its shell do, in the order of the calls. It must not call the agreement back.
class agreement_outbox {
public:
  virtual ~agreement_outbox() = default;
  /// Never to the node itself. May get lost, repeated or overtaken.
  virtual void send(node_id to, agreement_message m) = 0;
  /// Replaces the record. It is on disk when this returns. False: it failed, and the record may be this or the last
  /// one.
  virtual bool persist(const std::string& record) = 0;
  /// The newest value, by now on disk.
  virtual void decided(uint64_t number, const std::string& value) = 0;
  virtual void attempt_ended(uint64_t request, const agreement_outcome& outcome) = 0;
};

/// Invariants: no number ever gets two values (but see force()). Nothing is told that depends on what is not on disk.
class agreement {
public:
  struct options {
    std::chrono::milliseconds resend{500};      ///< To silent voters; doubled from time to time,
    std::chrono::milliseconds resend_max{4000}; ///< up to this.
    std::chrono::milliseconds backoff{100};     ///< At least, after another attempt was ahead.
    std::chrono::milliseconds timeout{15'000};  ///< An attempt ends after this.
    std::chrono::milliseconds finish{2000};     ///< What was accepted that long ago, or up to twice that, is finished.
    std::chrono::milliseconds tell_again{1000}; ///< The same value to the same peer not sooner.
  };
  using monotonic = std::chrono::nanoseconds; ///< Time since some fixed start of this process.

  /// @param own_directory random, not 0; another one whenever the record may not be the last one written.
  /// @param values outlives it.
  /// @param random gives 64 random bits.
  agreement(node_id self, uint64_t own_directory, const agreed_values& values, agreement_record state,
            std::function<uint64_t()> random, options opts);

  uint64_t number() const { return state_.number; }
  const std::string& value() const { return state_.value; }
  const std::vector<voter>& voters() const { return voters_; } ///< On the next number.
  bool may_vote() const { return !why_not_voting(); }
  bool busy() const { return attempt_ && attempt_->request; }
  /// It accepted a value for the next number, which may have been chosen.
  bool half_done() const { return state_.cast.accepted.round > 0; }

  /// Tries to make `value` the successor of value(). Exactly one attempt_ended(request) follows while the process
  /// lives, now or later. Who proposes need not be a voter.
  void propose(uint64_t request, std::string value, monotonic now, agreement_outbox& out);
  void on_message(node_id from, const agreement_message& m, monotonic now, agreement_outbox& out);
  /// To be called every 100 ms or so.
  void on_tick(monotonic now, agreement_outbox& out);
  /// The newest number that `peer` knows, from gossip: who is behind is told, who is ahead is asked.
  void heard_number(node_id peer, uint64_t its_newest, monotonic now, agreement_outbox& out);
  /// Whether enough others have bound this node to its directory; it is for the shell to remember that.
  void set_sealed(bool sealed) { sealed_ = sealed; }
  /// The number for force() of a value made of `draft`: it may name its own number, which the draft cannot. Another
  /// draft gets another one; the same on two nodes the same, if they knew the same.
  uint64_t forced_number(const std::string& draft) const;
  /// Without a majority, on the word of an operator: `value` gets a number far ahead of all that a majority elsewhere
  /// may come to, and replaces what that decides.
  /// @param number forced_number()
  /// @returns false: it is not that, the value names no voters, or the disk failed.
  bool force(uint64_t number, const std::string& value, agreement_outbox& out);

private:
  struct own_attempt {
    std::optional<uint64_t> request; // Nothing: nobody asked, it is to finish something.
    uint64_t number = 0;
    std::string wanted;
    monotonic ends{};
    monotonic next{};  // When to ask again, or if nothing is running, to begin again.
    monotonic pause{}; // Until the one after that.
    std::optional<register_attempt> running;
    std::map<node_id, vote_reply> said;      // In this phase of it.
    std::map<node_id, uint64_t> directories; // Under which a voter that is not named by directory said yes.
    uint64_t outbid_by = 0;
    int tries = 0;
    bool offered = false; // `wanted` to anybody.
  };

  void start(std::optional<uint64_t> request, std::string value, monotonic now, agreement_outbox& out);
  void begin(monotonic now, agreement_outbox& out);
  void ask(monotonic now, agreement_outbox& out);
  void back_off(monotonic now);
  void give_up(agreement_outbox& out);
  void end(agreement_outcome::result what, agreement_outbox& out);
  bool hopeless() const;

  void on_asked(node_id from, const agreement_message& m, monotonic now, agreement_outbox& out);
  std::optional<vote_reply> why_not_voting() const;
  void on_answer(node_id from, const agreement_message& m, monotonic now, agreement_outbox& out);
  bool counts(node_id from, const agreement_message& m);
  void on_decided(monotonic now, agreement_outbox& out);
  void handle(node_id from, const agreement_message& m, monotonic now, agreement_outbox& out);

  bool names_voters(const std::string& value) const;
  bool valid(const std::string& value) const;
  bool keep(agreement_record next, agreement_outbox& out);
  bool learn(uint64_t number, const std::string& value, agreement_outbox& out);
  void tell(node_id peer, monotonic now, agreement_outbox& out);
  void send(node_id to, agreement_message m, agreement_outbox& out);
  void hear_myself(monotonic now, agreement_outbox& out);
  const voter* find(node_id node) const;
  monotonic random_below(monotonic limit) { return monotonic(random_() % static_cast<uint64_t>(limit.count())); }

  node_id self_;
  uint64_t directory_;
  const agreed_values& values_;
  agreement_record state_; // As on disk.
  std::vector<voter> voters_;
  std::function<uint64_t()> random_;
  options options_;
  bool sealed_ = false;
  std::optional<own_attempt> attempt_;
  std::optional<monotonic> finish_at_;    // If half_done().
  std::map<node_id, monotonic> told_;     // When the newest value was last sent to whom.
  std::deque<agreement_message> to_self_; // Empty between calls.
};

} // namespace crema::protocol
