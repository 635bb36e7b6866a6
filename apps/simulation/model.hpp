// What really happened in a run, write by write: every write that a vnode named, who asked for it, and what it
// replaced. Full causal histories, kept apart from the product's joins and quorums: the checkers compare the two.
#pragma once

#include "apps/simulation/faults.hpp"
#include "apps/simulation/history.hpp"

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace crema::simulation {

/// All that the checkers look at.
struct evidence {
  const config::cluster_config& cluster;
  const history& operations;
  const std::map<std::pair<vnode_id, dot>, named_write>& writes; ///< Dots are counted per vnode.
  const std::set<std::pair<vnode_id, dot>>& closed; ///< Writes that were lost everywhere, and are not waited for.
  const fault_log& faults;
  std::function<std::vector<size_t>(bucket_id, const std::string&)> owners;                 ///< In the end.
  std::function<std::vector<world::ownership>(bucket_id, const std::string&)> ownerships{}; ///< Null: always the same.
  /// Did the node's disk say from `from` to `to` that the bucket is there (or is not)? Null: that is not known.
  std::function<bool(size_t node, bucket_id, bool there, sim_time from, sim_time to)> knew_bucket{};

  const config::bucket_config& bucket(bucket_id id) const;
};

/// One named write, decoded.
struct write_record {
  dot id;
  vnode_id vnode;
  size_t giver = 0;
  sim_time at{};
  bool remove = false;
  timestamp time = 0;
  protocol::expiry_ms expires_at = 0;
  std::string value;
  protocol::dot_clock replaces;     ///< Siblings only.
  size_t operation = history::none; ///< The client's request; unknown of removes, which have no name.
  bool closed = false;              ///< Lost everywhere; in the end its dot is known as a write without effect.
  std::vector<size_t> replaced_by;  ///< Indexes of the writes that have this one in `replaces`.

  bool is_older(const write_record& other) const { return std::tie(time, id) < std::tie(other.time, other.id); }
};

/// Everything about one key.
struct key_model {
  bucket_id bucket = 0;
  std::string key;
  std::vector<size_t> owners; ///< Nodes; in the end.
  std::vector<world::ownership> ownerships{};
  std::vector<write_record> writes; ///< In the order in which they were named.
  std::vector<size_t> reads;        ///< Operations that were answered with values.
  std::vector<size_t> confirmed;    ///< Operations that were acknowledged.
  std::vector<size_t> removes;      ///< Operations that asked for one, however they ended.
  /// Acknowledged puts and removes: the operation, and the write it became; of two (docs/protocol.md, "Later writes
  /// win") the second. Which remove it was may be uncertain: `write` is the oldest that it may have been.
  struct acknowledgement {
    size_t operation;
    size_t write;
    size_t newest_write;
  };
  std::vector<acknowledgement> acknowledged;

  /// Was there a change of owners that somebody may have learned of between the two?
  bool changed_owners(sim_time from, sim_time to) const;
  /// The bucket's, if they were the same all the time between the two, as far as anybody may have known.
  std::optional<protocol::quorums> numbers(const config::bucket_config& b, sim_time from, sim_time to) const;
  /// Were there two sets of owners then, as far as anybody may have known?
  bool was_changing(sim_time from, sim_time to) const;
  /// Did the node have something of it then, as far as anybody may have known?
  bool was_held_by(size_t node, sim_time from, sim_time to) const;
};

using findings = std::vector<violation>;

class model {
public:
  /// Reports what already shows that something is wrong: writes and removes nobody asked for, one request written
  /// twice, an acknowledged write that was never named, and writes whose content is not what the client asked for.
  model(const evidence& e, findings& out);
  const std::map<std::pair<bucket_id, std::string>, key_model>& keys() const { return keys_; }
  /// The keys of one vnode.
  std::vector<const key_model*> keys_of(vnode_id vnode) const;

private:
  void decode(const evidence& e, findings& out);
  void assign(const evidence& e, key_model& k, findings& out);
  void assign_remove(const evidence& e, key_model& k, size_t operation);
  std::map<std::pair<bucket_id, std::string>, key_model> keys_;
};

/// Is `w` a remove that the request may have become, by its time and by what it replaces?
bool may_be_of(const evidence& e, const key_model& k, const operation& op, const write_record& w);
/// "loose/r1"
std::string name_of(const key_model& k, const evidence& e);
/// "the write c3-17 (dot 5e..:12)"
std::string name_of(const write_record& w, const evidence& e);
std::string show(const dot& d);

/// What the wall clock of an operation's node lets it say of expiries.
class expiry_clock {
public:
  expiry_clock(const evidence& e, const operation& op);
  bool gone_for_sure(const write_record& w) const { return w.expires_at != 0 && w.expires_at <= earliest_; }
  /// By the clock of any node while the value was there: it may be gone for all, also if that clock has been set back.
  bool may_be_gone(const write_record& w) const;

private:
  const fault_log& faults_;
  sim_time until_;
  uint64_t earliest_, latest_; // Of the node of the operation, milliseconds.
  uint64_t latest_anywhere_;
};

/// Of the owners of a key (in a sloppy bucket: of all nodes), how many may have lost a write.
struct losses {
  size_t disks = 0; ///< With their disk.
  size_t tails = 0; ///< Only what their machine had not synced when it crashed.

  size_t all() const { return disks + tails; }
  /// How many of the `written` a quorum of reads can count on to meet, in a bucket of write quorum `w`.
  uint32_t left_of(uint32_t written, uint32_t w) const;
};

/// Between the write's request and `until`. What a fault model permits is excused by this and nothing else.
losses may_have_lost(const evidence& e, const key_model& k, const operation& write, sim_time until);

/// Do the quorums of two operations count as such although owners changed between them? Only what W owners have is
/// carried over, to be found by reads of R (of any number, if the change began afterwards), and while some owner may
/// have lost it, perhaps not by one change (but at the end what is left anywhere has reached all owners).
bool carried_over(const evidence& e, const key_model& k, const operation& earlier, const operation& later,
                  uint32_t left_by_earlier, uint32_t asked_by_later);

/// Must a read that needs `R` owners, begun after the write was acknowledged, have met an owner that has the write?
/// In a sloppy bucket only PW and PR count owners, but at the end what was left with fallbacks has reached its
/// owners.
bool must_see(const evidence& e, const key_model& k, const operation& write, const operation& read);

} // namespace crema::simulation
