// Decides when one coordinated write has reached its write quorum (Dynamo §4.5). One owner, the giver, names the write
// by a dot and applies it; then the delta goes to the other owners in parallel; W acknowledgements answer the client.
// A giver whose clock is ahead gives nothing, and the next owner is asked (docs/protocol.md, "Timestamps").
//
//   start ──▶ waiting for the dot ──▶ waiting for W acks ──▶ replied ──▶ done (every owner asked has answered or is
//   lost)
#pragma once

#include "protocol/types.hpp"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace crema::protocol {

/// What a put_quorum makes its shell do, in the order of the calls.
class put_outbox {
public:
  virtual ~put_outbox() = default;
  /// Ask `to` to give the write a dot, apply it and return the delta. `any_time`: even if its clock is ahead.
  virtual void send_put(node_id to, bool any_time) = 0;
  /// Send the delta (known since the dot was given) to `to`.
  virtual void send_delta(node_id to) = 0;
  /// Answer the client: at least `required` owners have the write.
  virtual void reply_written() = 0;
  /// Answer the client: `acked` of `required` owners are known to have it, for the reason `why`.
  virtual void reply_failed(errc why, uint32_t required, uint32_t acked) = 0;
};

/// Invariant: over its lifetime exactly one reply, whatever the order, loss or repetition of events.
class put_quorum {
public:
  /// @param owners the bucket's N owners, best giver first (the coordinator's own node, if it is one).
  /// @param reachable whether owners[i] is believed up; same size.
  /// @pre 1 <= required <= owners.size()
  put_quorum(std::vector<node_id> owners, const std::vector<bool>& reachable, uint32_t required);

  /// Fewer reachable owners than required: reply_failed(no_quorum), and nothing is sent. Else the first reachable one
  /// is asked for the dot. To be called once.
  void start(put_outbox& out);
  /// The giver gave the dot: every other reachable owner gets the delta, even if the reply was given already.
  /// `durable`: the giver has it on disk as the bucket demands, which counts as its acknowledgement.
  void dot_given(node_id from, bool durable, put_outbox& out);
  /// An owner has the write on disk as the bucket demands. Counted once per owner.
  void acked(node_id from, put_outbox& out);
  /// An owner refused (`why` as it said). A giver that refuses wrote nothing: its reason is the reply.
  void refused(node_id from, errc why, put_outbox& out);
  /// The giver's clock is ahead: it would have named the write no earlier than `next`, and wrote nothing. The next
  /// reachable owner is asked. If all have said so, the one that is least ahead is asked to give at any time.
  void ahead(node_id from, timestamp next, put_outbox& out);
  /// An owner was lost (link down, believed dead). The giver, before it gave the dot: unknown_outcome. Else
  /// unknown_outcome as soon as `required` can no longer be reached. An owner lost before the dot is not sent the
  /// delta.
  void lost(node_id from, put_outbox& out);
  /// The deadline has passed: timeout, if not replied yet.
  void deadline_passed(put_outbox& out);

  bool replied() const { return replied_; }
  /// Replied, and nothing more is expected from anyone.
  bool done() const;
  uint32_t required() const { return required_; }
  uint32_t acks() const;

private:
  enum class state : uint8_t { unreachable, idle, waiting, acked, failed };
  struct owner {
    node_id id;
    state what;
    timestamp ahead = 0; // What it said in ahead(); 0: nothing.
  };
  uint32_t count(state what) const;
  owner* find(node_id id);
  void ask_giver(put_outbox& out);
  void fail(errc why, put_outbox& out);
  void check_acked(put_outbox& out);
  void check_reachable(put_outbox& out);

  std::vector<owner> owners_;
  uint32_t required_;
  uint32_t giver_ = 0; // Index into owners_.
  bool any_time_ = false;
  bool has_dot_ = false;
  bool replied_ = false;
};

} // namespace crema::protocol
