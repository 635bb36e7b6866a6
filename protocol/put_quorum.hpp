// Decides when one coordinated write has reached its write quorum (Dynamo §4.5). One node, the giver, names the write
// by a dot and applies it; then the delta goes to the others in parallel; W acknowledgements answer the client. A giver
// whose clock is ahead gives nothing, and the next is asked (docs/protocol.md, "Timestamps").
//
//   start ──▶ waiting for the dot ──▶ waiting for W acks ──▶ replied ──▶ done (every node asked has answered or is
//                    ▲                        │                                lost)
//                    └── a newer one was met ─┘ once
//
// With clocks that differ a new write may be older than one that was acknowledged before (lww buckets). Whoever holds
// the newer one says so with its acknowledgement, and the value is written once more, with a later time and under a dot
// of its own (docs/protocol.md, "Later writes win"). What lies so far ahead that others would refuse to go beyond it is
// left to those who hold it: their acknowledgements do not count while there are enough of others.
//
// An owner that cannot be had is replaced by the next fallback (sloppy quorum, Dynamo §4.6), which counts for W like
// any other, but not for PW. In a strict bucket there are no fallbacks.
#pragma once

#include "protocol/quorum_level.hpp"
#include "protocol/types.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace crema::protocol {

/// What a put_quorum makes its shell do, in the order of the calls.
class put_outbox {
public:
  virtual ~put_outbox() = default;
  /// Ask `to` to give the write a dot and a time later than `after`, apply it and return the delta. `after` is 0 in the
  /// first round. The second begins with the first call that has another one: what was asked before is of no interest
  /// any more. `any_time`: even if its clock is ahead.
  virtual void send_put(node_id to, timestamp after, bool any_time) = 0;
  /// Send the delta (known since the dot was given) to `to`.
  virtual void send_delta(node_id to) = 0;
  /// The next reachable node after the owners in the preference list, each once per request; nothing: there is none, or
  /// the bucket is strict.
  virtual std::optional<node_id> next_fallback() = 0;
  /// Answer the client: at least `required` nodes have the write.
  virtual void reply_written() = 0;
  /// Answer the client: `missing` says what was not met, for the reason `why`.
  virtual void reply_failed(errc why, const shortfall& missing) = 0;
};

/// Of whom a write needs a quorum.
struct write_set {
  std::vector<node_id> nodes;
  std::vector<bool> reachable;  ///< Whether nodes[i] is believed up; same size.
  uint32_t required = 0;        ///< How many must have the write (W).
  uint32_t required_owners = 0; ///< How many of them must be in `nodes`, fallbacks not counted (PW).
};

/// While owners change (docs/topology.md) a write needs a quorum of two sets of nodes. Those that are only
/// in the second one get the delta, and give no dots; a fallback counts for both.
///
/// Invariant: over its lifetime exactly one reply, whatever the order, loss or repetition of events.
class put_quorum {
public:
  /// @param owners the bucket's N owners, best giver first (the coordinator's own node, if it is one).
  /// @param reachable whether owners[i] is believed up; same size.
  /// @param required how many nodes must have the write (W).
  /// @param required_owners how many of them must be owners (PW); 0: any may do.
  /// @pre 1 <= required <= owners.size(), required_owners <= required
  put_quorum(std::vector<node_id> owners, const std::vector<bool>& reachable, uint32_t required,
             uint32_t required_owners = 0)
      : put_quorum({std::move(owners), reachable, required, required_owners}, {}) {}
  /// @param others of whom a quorum is needed too; no nodes: of nobody.
  /// @pre for both, if it has nodes: 1 <= required <= nodes.size(), required_owners <= required
  put_quorum(const write_set& owners, const write_set& others);

  /// Fewer reachable nodes than required: reply_failed(no_quorum), and nothing is sent. Else the first reachable owner,
  /// or with none the first fallback, is asked for the dot. To be called once.
  void start(put_outbox& out);
  /// The giver gave the dot: every other node gets the delta, even if the reply was given already.
  /// `durable`: the giver has it on disk as the bucket demands, which counts as its acknowledgement.
  void dot_given(node_id from, timestamp time, bool durable, put_outbox& out);
  /// A node has the write on disk as the bucket demands. Counted once per node and round.
  /// @param newer the time of a write of the key that it holds and that wins over this one; 0: there is none;
  /// time_unknown: it has not got all, and does not count while there are enough of others.
  void acked(node_id from, timestamp newer, put_outbox& out);
  /// A node refused (`why` as it said). A giver that refuses wrote nothing: its reason is the reply, except in the
  /// second round, where it is unknown_outcome. One that is `incomplete` gives no dots; the next is asked, and it gets
  /// the delta like the others.
  void refused(node_id from, errc why, put_outbox& out);
  /// The giver's clock is ahead: it would have named the write no earlier than `next`, and wrote nothing. The next
  /// reachable node is asked. If all have said so, the one that is least ahead is asked to give at any time.
  void ahead(node_id from, timestamp next, put_outbox& out);
  /// A node was lost (link down, believed dead). The giver, before it gave the dot: unknown_outcome. Else
  /// unknown_outcome as soon as `required` can no longer be reached. A node lost before the dot is not sent the delta.
  void lost(node_id from, put_outbox& out);
  /// The deadline has passed: timeout, if not replied yet.
  void deadline_passed(put_outbox& out);
  /// The owners have changed. Everybody is asked to take the delta now, and what was acknowledged before does not
  /// count; without a dot yet, whoever was asked for it may still give it (or refuse as stale_epoch: then another one
  /// is asked). Not after the reply.
  void rebase(const write_set& owners, const write_set& others, put_outbox& out);

  bool replied() const { return replied_; }
  /// Replied, and nothing more is expected from anyone.
  bool done() const;
  bool has_dot() const { return has_dot_; }
  uint32_t acks() const;
  uint32_t fallback_acks() const;
  /// A newer write was met, and the value written again.
  bool second_round() const { return second_round_; }

private:
  enum class state : uint8_t { unreachable, idle, waiting, acked, failed };
  struct node {
    node_id id;
    state what;
    bool owner = true;
    bool other = false;  // One of the second set. Neither: a fallback.
    bool former = false; // Asked for a dot before a change, after which it is none of all these.
    bool gives = true;   // It has not refused to give a dot.
    timestamp ahead = 0; // What it said in ahead(); 0: nothing.
    timestamp newer = 0; // What it said in acked(), in the first round.

    bool fallback() const { return !owner && !other && !former; }
  };
  void take(const write_set& owners, const write_set& others);
  void take_fallbacks(put_outbox& out);
  template <class Predicate>
  shortfall missing(Predicate counts) const;
  uint32_t count(state what) const;
  node* find(node_id id);
  void take_fallback(put_outbox& out);
  node* best_giver();
  void ask_giver(put_outbox& out);
  void fail(errc why, put_outbox& out);
  void check_acked(put_outbox& out);
  void write_again(timestamp after, put_outbox& out);
  void ask(node& giver, put_outbox& out);
  bool too_far(const node& x) const { return !second_round_ && x.newer > limit_; }
  void check_reachable(put_outbox& out);

  std::vector<node> nodes_; // Owners, the second set, then the fallbacks that were taken.
  uint32_t required_ = 0;
  uint32_t required_owners_ = 0;
  uint32_t required_others_ = 0;       // Of the second set; 0: there is none.
  uint32_t required_other_owners_ = 0; // And fallbacks do not count.
  uint32_t giver_ = 0;                 // Index into nodes_.
  bool any_time_ = false;
  timestamp limit_ = 0; // In the first round: what is newer than this, no other node can be asked to go beyond.
  timestamp after_ = 0; // Of the second round.
  bool second_round_ = false;
  bool has_dot_ = false;
  bool asked_before_ = false; // The giver, by an older ring.
  bool replied_ = false;
};

} // namespace crema::protocol
