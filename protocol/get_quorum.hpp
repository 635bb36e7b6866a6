// Decides what one coordinated read returns (Dynamo §4.5): the object from the nearest owner, digests from R-1 others.
// If all agree, that is the answer; if not, the full objects are fetched, joined and answered, and the owners that
// lacked something are repaired. A slow owner is replaced by another before the deadline (hedging), and answers that
// come after the reply are used for repair. An owner that cannot be had is replaced by the next fallback (sloppy
// quorum, Dynamo §4.6): it is asked when there are not enough owners, counts for R but not for PR, and may hold what an
// owner is to be repaired with; it is never repaired itself.
//
// Repair is done in the background, after the reply. In the foreground the reply waits until R nodes hold what it says:
// then no later quorum read (R + R > N) returns anything older. Fallbacks, which are not repaired, count all the same;
// with PR the owners among them must hold it.
#pragma once

#include "protocol/object.hpp"
#include "protocol/quorum_level.hpp"
#include "protocol/types.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
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
  /// The next reachable node after the owners in the preference list, each once per request; nothing: there is none, or
  /// the bucket is strict.
  virtual std::optional<node_id> next_fallback() = 0;
  /// Answer the client: `missing` says what was not met, for the reason `why`.
  virtual void reply_failed(errc why, const shortfall& missing) = 0;
  /// `stale` lacks something of this key that `source` has: catch-up of one key. In the foreground, repaired() is to
  /// tell how it ended.
  virtual void repair(node_id stale, node_id source) = 0;
};

/// Invariant: over its lifetime exactly one reply, whatever the order, loss or repetition of events.
class get_quorum {
public:
  /// @param owners the bucket's N owners, nearest first.
  /// @param reachable whether owners[i] is believed up; same size.
  /// @param required how many nodes must answer (R).
  /// @param required_owners how many of them must be owners (PR); 0: any may do.
  /// @param ask_all ask every reachable owner, not just `required`: late answers then repair (read repair by chance).
  /// @pre 1 <= required <= owners.size(), required_owners <= required
  get_quorum(conflict_rule rule, std::vector<node_id> owners, const std::vector<bool>& reachable, uint32_t required,
             uint32_t required_owners = 0, bool ask_all = false, read_repair repairs = read_repair::background);

  /// Fewer reachable nodes than required: reply_failed(no_quorum), and nothing is sent. To be called once.
  void start(get_outbox& out);
  /// The answer to send_get. `object`: encoded, expanded, or empty; a malformed one is a storage_failure of its owner.
  /// What differs is judged by the object itself; `digest` is what its owner says of it.
  void object_received(node_id from, std::string object, uint64_t digest, get_outbox& out);
  /// The answer to send_digest.
  void digest_received(node_id from, uint64_t digest, get_outbox& out);
  /// A node answered with an error, or was lost (no_quorum): another reachable one is asked, an owner if there is one
  /// left; with too few left the read fails (`why`; no_quorum also if it is `incomplete`). What the node says later is
  /// ignored.
  void failed(node_id from, errc why, get_outbox& out);
  /// Some time (the shell's choice, well before the deadline) has passed: ask an owner that was not asked yet, if one
  /// is left, in place of those that have not answered; at most one per call. From now on the objects of `required`
  /// owners are enough, even if another one has a digest that differs and its object is still to come.
  void hedge(get_outbox& out);
  /// A repair in the foreground has ended: `stale` holds what `source` had, or it failed, and `stale` does not count
  /// any more.
  void repaired(node_id stale, node_id source, bool done, get_outbox& out);
  /// timeout, if not replied yet.
  void deadline_passed(get_outbox& out);

  bool replied() const { return replied_; }
  /// Replied, and nothing more is expected from anyone.
  bool done() const;
  uint32_t required() const { return required_; }
  uint32_t answered() const;

private:
  enum class asked : uint8_t { nothing, digest, object };
  struct node {
    node_id id;
    bool owner = true; // Else a fallback.
    bool reachable = false;
    asked wanted = asked::nothing; // The most it was asked for.
    bool has_digest = false;
    bool has_object = false; // Then has_digest as well.
    bool failed = false;     // For good; then neither of the above.
    uint64_t digest = 0;
    std::string object;

    bool usable() const { return reachable && !failed; }
    bool pending() const {
      return !failed && (wanted == asked::object ? !has_object : wanted == asked::digest && !has_digest);
    }
  };

  template <class Predicate>
  shortfall missing(Predicate counts) const;
  node* find(node_id id);
  node* unasked();
  void take_fallback(get_outbox& out);
  bool digests_agree() const;
  void ask(node& x, asked what, get_outbox& out);
  void ask_another_for_object(get_outbox& out);
  void advance(get_outbox& out);
  bool holds(const node& x, uint64_t whole) const;
  void reply_held(get_outbox& out);
  void reply(const std::string& object, get_outbox& out);
  void fail(errc why, get_outbox& out);
  std::string joined() const;
  void repair(get_outbox& out);
  void repair_owner(const node& stale, uint64_t whole, get_outbox& out);
  void repair_once(const node& stale, const node& source, get_outbox& out);
  const std::string* object_of(const node& x) const;
  uint64_t digest_after(const node& stale, const node& source) const;

  conflict_rule rule_;
  std::vector<node> nodes_; // Owners, then the fallbacks that were taken.
  uint32_t required_;
  uint32_t required_owners_;
  bool ask_all_;
  read_repair repairs_;
  bool hedged_ = false;
  bool replied_ = false;
  bool replied_object_ = false;
  bool repairing_ = false;                            // In the foreground: the reply waits.
  std::vector<std::pair<node_id, node_id>> repaired_; // (stale, source) as emitted; most reads repair nothing.
};

} // namespace crema::protocol
