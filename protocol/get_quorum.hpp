// Decides what one coordinated read returns (Dynamo §4.5): the object from the nearest owner, digests from R-1 others. If
// all agree, that is the answer; if not, the full objects are fetched, joined and answered, and the owners that lacked
// something are repaired. A slow owner is replaced by another before the deadline (hedging), and answers that come after
// the reply are used for repair.
#pragma once

#include "protocol/object.hpp"
#include "protocol/types.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace crema::protocol {

/// What a get_quorum makes its shell do, in the order of the calls.
class get_outbox {
public:
  virtual ~get_outbox() = default;
  /// Ask for the object (expanded, see object.hpp) and its digest.
  virtual void send_get(node_id to) = 0;
  /// Ask for the digest only.
  virtual void send_digest(node_id to) = 0;
  /// Answer the client with this object, encoded and expanded; empty: there is none.
  virtual void reply_object(const std::string& object) = 0;
  /// Answer the client: only `answered` of `required` owners have answered, for the reason `why`.
  virtual void reply_failed(errc why, uint32_t required, uint32_t answered) = 0;
  /// `stale` lacks something of this key that `source` has: catch-up of one key.
  virtual void repair(node_id stale, node_id source) = 0;
};

/// Invariant: over its lifetime exactly one reply, whatever the order, loss or repetition of events.
class get_quorum {
public:
  /// @param owners the bucket's N owners, nearest first.
  /// @param reachable whether owners[i] is believed up; same size.
  /// @param ask_all ask every reachable owner, not just `required`: late answers then repair (read repair by chance).
  /// @param repairs whether to emit repair() at all.
  /// @pre 1 <= required <= owners.size()
  get_quorum(conflict_rule rule, std::vector<node_id> owners, const std::vector<bool>& reachable, uint32_t required,
             bool ask_all = false, bool repairs = true);

  void start(get_outbox& out);
  /// The answer to send_get. `object`: encoded, expanded, or empty.
  void object_received(node_id from, std::string object, uint64_t digest, get_outbox& out);
  /// The answer to send_digest.
  void digest_received(node_id from, uint64_t digest, get_outbox& out);
  /// An owner answered with an error, or was lost: another reachable one is asked; with none left the read fails
  /// (`why`; no_quorum when owners were lost).
  void failed(node_id from, errc why, get_outbox& out);
  /// Some time (the shell's choice, well before the deadline) has passed: ask an owner that was not asked yet, if one is
  /// left, in place of those that have not answered.
  void hedge(get_outbox& out);
  /// timeout, if not replied yet.
  void deadline_passed(get_outbox& out);

  bool replied() const { return replied_; }
  /// Replied, and nothing more is expected from anyone.
  bool done() const;
  uint32_t required() const { return required_; }
  uint32_t answered() const;

private:
  // One per owner; what was asked of it and what it said. The implementation may reshape these private parts.
  enum class asked : uint8_t { nothing, digest, object };
  struct owner {
    node_id id;
    bool reachable = false;
    asked pending = asked::nothing; // Asked and not answered yet.
    bool has_digest = false;
    bool has_object = false;
    bool failed = false;
    uint64_t digest = 0;
    std::string object;
  };

  conflict_rule rule_;
  std::vector<owner> owners_;
  uint32_t required_;
  bool ask_all_;
  bool repairs_;
  bool replied_ = false;
};

} // namespace crema::protocol
