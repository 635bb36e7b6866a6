// Who lacks what, and what to do about it (docs/protocol.md, "Sync"). One per node, in its handoff actor: it holds the
// clocks of this node's vnodes and a mirror of those that its peers announced, all as of the last completed fsync, and
// turns them into tasks. It looks only at vnodes of which something has changed or is waited for, so an idle cluster
// costs nothing.
#pragma once

#include "protocol/dot_clock.hpp"
#include "protocol/ring.hpp"
#include "protocol/types.hpp"
#include "protocol/vnode_record.hpp"

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <vector>

namespace crema::protocol {

/// What a node says of one of its vnodes. The clock is one that a crash of its machine cannot take back.
struct vnode_note {
  vnode_id id;
  vnode_role role = vnode_role::owner;
  vnode_state state = vnode_state::unsure;
  dot_clock clock;
  /// Of a complete owner, told to one peer: it began when both of them were unsure, and the peer has been up since.
  bool born_with_you = false;
  /// An owner that makes a copy of another beside it, which may have what no clock tells.
  bool copying = false;

  /// An owner whose clock says what it has.
  bool whole() const { return role == vnode_role::owner && is_whole(state); }
  bool complete() const { return role == vnode_role::owner && state == vnode_state::complete; }
  /// Can others catch up from it?
  bool gives() const { return role == vnode_role::temporary || is_whole(state); }
};

/// What only its own node knows of a vnode.
struct vnode_facts {
  bool has_graves = false;
  /// Temporary: too old or too large to wait for owners that are away.
  bool overdue = false;
  /// The log is as long as it may be for owners that are away: they will be refilled.
  bool log_full = false;
  uint64_t bytes = 0;    ///< Temporary: about what it holds.
  uint64_t keys = 0;     ///< Temporary: about how many different ones.
  uint64_t since_ms = 0; ///< Temporary: by its node's wall clock.
  uint64_t epoch = 0;    ///< Owner: ring::since of its partition when it became complete.
};

/// A temporary vnode, for operators.
struct hint_view {
  vnode_id vnode;
  std::vector<node_id> waits_for; ///< Owners not known to have all of it.
  uint64_t writes = 0;
  uint64_t bytes = 0;
  uint64_t keys = 0;
  uint64_t since_ms = 0;
};

/// How a node that has a vnode stands among the others that have it, as far as they told.
struct standing {
  node_id node;
  vnode_role role;
  uint64_t writes = 0; ///< That it knows, ever.
  uint64_t lacks = 0;  ///< That others know.
};

struct catch_up_task {
  vnode_id vnode;
  node_id from{};
};
/// Copy the vnode of `from` and join the own one into it. `behind`: although the own one is whole.
struct refill_task {
  vnode_id vnode;
  node_id from{};
  bool behind = false;
};
/// The copy has learned from enough others: it may be read.
struct opening_task {
  vnode_id vnode;
  dot_clock met;      ///< The clock with which that is so.
  uint64_t epoch = 0; ///< And ring::since of its partition.
};
/// No owner in reach is complete, and none that might know more has to be waited for: begin with what there is.
struct birth_task {
  vnode_id vnode;
};
/// Every owner has `covered` on disk (`early`: every owner that is up): drop the temporary vnode if it holds no more.
struct drop_task {
  vnode_id vnode;
  dot_clock covered;
  bool early = false;
};
/// Every owner (or, if the log is full, every one that is up) has `stable` on disk: it may leave the log. Every write
/// with a time up to `horizon` is among it, and none such can turn up any more.
struct settle_task {
  vnode_id vnode;
  dot_clock stable;
  timestamp horizon = 0;
};

/// Nobody has these dots any more, nor will: their gaps in the clock are to be closed.
struct closing_task {
  vnode_id vnode;
  dot_clock lost;
};

struct sync_plan {
  std::vector<catch_up_task> catch_ups;
  std::vector<refill_task> refills;
  std::vector<birth_task> births;
  std::vector<opening_task> openings;
  std::vector<drop_task> drops;
  std::vector<settle_task> settles;
  std::vector<closing_task> closings;
  uint64_t expired_ms = 0; ///< What expires at or before this is expired for every node; 0: unknown.
};

/// What a node knows of data directories, each named by a random id that is never 0 (docs/protocol.md, "Births").
struct known_directories {
  uint64_t own = 0;                  ///< 0: unknown.
  std::map<node_id, uint64_t> first; ///< The first one that it met of each member, itself included.
};

/// What has changed for one peer since it was last told.
struct sync_news {
  bool full = false; ///< All there is; what was told before is void.
  std::vector<vnode_note> changed;
  std::vector<vnode_id> gone;
  std::optional<known_directories> directories;
};

class sync_planner {
public:
  static constexpr std::chrono::seconds lost_after_least{30};
  /// @param lost_after a dot that nobody has had for so long, with every member up, is lost: beyond the time in which a
  /// write may be on its way and still be accepted.
  sync_planner(node_id self, ring_ptr ring, std::chrono::nanoseconds lost_after = lost_after_least);

  /// All vnodes have the roles that it gives them by now, as later reports of the shards will tell.
  void on_ring(ring_ptr ring);

  // This node's vnodes, as its shards report them.
  void set_own(vnode_note note, vnode_facts facts);
  void remove_own(vnode_id vnode);
  /// No write that this node gives from now on has a time up to `latest`.
  void set_own_time(timestamp latest, uint64_t wall_ms) { set_time(self_, latest, wall_ms); }
  /// What of directories is on this node's disk.
  void set_directories(known_directories known);

  /// The number of what is now said to a peer. Who sends it back has begun to look at what it has after that.
  uint64_t ask() { return ++asked_; }

  // Peers.
  void linked(node_id peer);
  /// The next news for `peer` are all there is.
  void tell_all(node_id peer) { peers_[peer].tell_all = true; }
  void unlinked(node_id peer);
  /// All that `peer` told before is void; what it has follows.
  /// @param incarnation of its process.
  void begin_mirror(node_id peer, uint64_t incarnation);
  void set_peer(node_id peer, vnode_note note);
  void remove_peer(node_id peer, vnode_id vnode);
  void set_peer_directories(node_id peer, const known_directories& known);
  /// Ends what the peer tells in one round.
  /// @param answers the newest number that it had heard from us when it began; 0: none.
  /// @param epoch that all of its shards knew then.
  void set_peer_time(node_id peer, timestamp latest, uint64_t wall_ms, uint64_t answers, uint64_t epoch = UINT64_MAX);
  /// `from` has trimmed what the vnode lacks.
  void found_behind(vnode_id vnode, node_id from);
  /// `from` has a register whose time is too far ahead to be learned from a page. A copy would stay closed until that
  /// time has come: it is to take what `from` has as it is.
  void found_skewed(vnode_id vnode, node_id from);
  /// Everything that `from` had has been copied: its log may reach back far enough for what has come since.
  void refilled(vnode_id vnode);
  /// Something went wrong with a task of this vnode: the next time another peer is first, if there is one.
  void failed(vnode_id vnode);
  /// Something may have been on its way for long: a process stands still, and sends what it has to send when it goes
  /// on, or a large page is behind a slow link. The time in which gaps would have been filled begins anew.
  void gaps_may_fill();

  /// What is to be done now. A task is named again in the next plan until what it was for is reached.
  /// @param now of a clock that never goes back.
  sync_plan plan(std::chrono::nanoseconds now);
  /// What to tell `peer`.
  sync_news take_news(node_id peer);

  /// Has the vnode something that `clock` lacks, as far as its node told?
  bool has_news_for(node_id peer, vnode_id vnode, const dot_clock& clock) const;
  const vnode_note* mirrored(node_id peer, vnode_id vnode) const;
  bool is_linked(node_id peer) const;
  void forget_departed();
  /// For how long some write of an own owner vnode has been known to one node and not to all owners, as far as they
  /// told; 0: they are level. For status.
  std::chrono::nanoseconds oldest_difference(std::chrono::nanoseconds now) const;
  /// Dots that some linked peer has and this node's vnode of the same name lacks; for status.
  uint64_t dots_behind(node_id peer) const;
  /// Dots that `peer` (linked or not), as an owner, is not known to have; for status.
  uint64_t dots_ahead(node_id peer) const;
  /// The oldest first.
  std::vector<hint_view> hints() const;
  /// Nothing unless this node has the vnode.
  std::vector<standing> standings(vnode_id vnode) const;
  /// How many writes in temporary vnodes of this node no owner is known to have.
  uint64_t only_on_fallbacks() const;
  /// Own vnodes that are not complete.
  size_t incomplete() const;
  /// What this node has on disk.
  using clocks = std::map<vnode_id, dot_clock>;
  clocks own_clocks() const;
  /// The owners, linked or not, that are not known to have all of `these` on disk, and how many writes each lacks at
  /// most.
  std::map<node_id, uint64_t> lacking(const clocks& these) const;
  /// Is there a copy that cannot open before `peer` has told once more what it has?
  bool waits_for_round_of(node_id peer) const;
  bool copies_wait() const; ///< For a round of whomever.
  /// Who is read,
  std::vector<node_id> owners_of(vnode_id vnode) const;
  /// and those who are to be, too.
  std::vector<node_id> holders_of(vnode_id vnode) const;
  /// Vnodes that this node is to own, and how many of them it has whole, on disk (docs/topology.md).
  struct progress {
    uint64_t to_get = 0;
    uint64_t got = 0;
    uint64_t former = 0; ///< Vnodes that it owned, or stands in for, and still has.
  };
  progress moving() const;
  /// Members that have bound this node to its data directory, on disk, and know no epoch after the first
  /// (docs/topology.md, "Agreement").
  size_t bound_by() const;
  /// The data directories that members have told they have, over links that are there, and this node's.
  std::map<node_id, uint64_t> directories() const;
  const std::map<node_id, uint64_t>& first_met() const { return directories_.first; }
  /// The owners that have all they should and can be asked, this node perhaps among them; in ring order.
  std::vector<node_id> complete_owners(vnode_id vnode) const;
  /// Vnodes that this node owns.
  std::vector<vnode_id> owned() const;
  /// The newest time that any peer announced; 0: none was heard.
  timestamp newest_peer_time() const;
  /// No wall clock of any member, and no time it has passed, was ever later, as far as was heard. In milliseconds.
  uint64_t latest_ms() const { return latest_ms_; }

private:
  struct own_vnode {
    vnode_note note;
    vnode_facts facts;
    dot_clock stable; // As last told.
    timestamp horizon = 0;
    uint64_t expired_told = 0;
    /// All that was known anywhere, when every member had passed `time`: once it is stable, so is all up to `time`.
    struct checkpoint {
      dot_clock known;
      timestamp time = 0;
    };
    std::optional<checkpoint> waiting;
    size_t failures = 0;
    /// Whose turn it is of so many. The load is spread, and not by the remainder that shards go by; who failed is not
    /// next.
    size_t turn(size_t of) const { return ((note.id.partition * 0x9E3779B1U >> 16) + failures) % of; }
    std::optional<std::set<node_id>> born_with; // Who was unsure then, and has been up since.
    std::set<node_id> behind;                   // Found to lack what these have trimmed.
    std::optional<uint64_t> asked;              // When the copy was whole.
    /// Of an owner that has to meet the others although it is complete (docs/topology.md, rule R3).
    struct meeting {
      uint64_t since = 0; // The epoch that asks for it.
      uint64_t asked = 0; // When that became known.
      bool met = false;
    };
    std::optional<meeting> meets{};
    /// Gaps that nobody could fill, all the time since then.
    struct missing_dots {
      dot_clock dots;
      std::chrono::nanoseconds since{};
      std::optional<uint64_t> asked; // When that was long enough ago.
    };
    std::optional<missing_dots> missing;
    /// Dots that all the time since then some owner is not known to have, or this node lacks.
    dot_clock uneven;
    std::chrono::nanoseconds uneven_since{};
  };
  struct peer_state {
    bool linked = false;
    bool tell_all = false;
    bool heard = false;       // Over this link.
    uint64_t incarnation = 0; // As last heard.
    uint64_t answered = 0;    // It has told what it had after that was asked, over this link,
    uint64_t epoch = 0;       // and knew this epoch then.
    bool tell_directories = false;
    known_directories directories; // Its own: as told over this link. What it met: as ever told.
    std::map<vnode_id, vnode_note> mirror;
    std::set<vnode_id> news;
  };
  struct times {
    timestamp latest = 0;
    uint64_t wall_ms = 0;
  };

  void set_time(node_id node, timestamp latest, uint64_t wall_ms);
  bool owns(node_id node, vnode_id vnode) const;
  bool holds(node_id node, vnode_id vnode) const;
  const vnode_note* note_of_linked(node_id peer, vnode_id vnode) const;
  bool has_all(node_id owner, const own_vnode& v) const;
  bool shared_with(node_id peer, const peer_state& p, const vnode_note& note) const;
  void changed(vnode_id vnode);
  /// The earliest of all members' times; nothing if one of them has not been heard.
  std::optional<times> floor() const;
  bool plan_owner(own_vnode& v, sync_plan& out);
  bool waits_for_resume(vnode_id vnode) const;
  bool plan_incomplete(own_vnode& v, sync_plan& out);
  vnode_note note_for(node_id peer, const peer_state& p, const own_vnode& v) const;
  bool plan_temporary(const own_vnode& v, sync_plan& out) const;
  void plan_settling(own_vnode& v, const std::optional<times>& all, sync_plan& out) const;
  void plan_closing(own_vnode& v, std::chrono::nanoseconds now, sync_plan& out) const;
  /// Gaps of the clock that nobody can fill; nothing: that cannot be told now.
  std::optional<dot_clock> gaps_of_all(const own_vnode& v) const;
  std::optional<dot_clock> stable(const own_vnode& v) const;
  std::optional<dot_clock> known_to_all_that_are_up(const own_vnode& v) const;
  dot_clock known_anywhere(const own_vnode& v) const;
  void note_difference(own_vnode& v, std::chrono::nanoseconds now) const;
  uint32_t needed_for_birth(vnode_id vnode) const;
  bool may_be_missed(const std::vector<node_id>& here, size_t away, size_t w) const;
  bool is_new_member(node_id node) const;
  const known_directories& known_by(node_id node) const;
  uint32_t w_of(vnode_id vnode) const;
  /// Are W of the owners in reach (with this node, if it is one), or a majority if that is more; and as many of those
  /// that are to be? These alone do not count: a change that is cancelled takes them, and what they have.
  bool enough_in_reach(vnode_id vnode, bool majority) const;
  uint32_t others_needed(vnode_id vnode) const;
  std::optional<uint64_t> epoch_to_know(vnode_id vnode) const;
  bool has_met_enough(const own_vnode& v, std::optional<uint64_t> asked, uint32_t needed) const;
  bool owner_must_meet(const bucket& bucket, partition_id partition) const;
  void plan_meeting(own_vnode& v);
  bool has_told_since(node_id peer, std::optional<uint64_t> asked, uint64_t epoch = 0) const;
  bool temporary_somewhere(vnode_id vnode) const;

  node_id self_;
  ring_ptr ring_;
  std::chrono::nanoseconds lost_after_;
  std::map<vnode_id, own_vnode> own_;
  std::map<node_id, peer_state> peers_;
  std::map<node_id, times> times_;
  known_directories directories_;
  uint64_t latest_ms_ = 0;
  uint64_t asked_ = 0;
  std::set<vnode_id> dirty_; // Something changed, or a task is not done.
  std::set<vnode_id> with_graves_;
  std::set<vnode_id> with_gaps_;
};

} // namespace crema::protocol
