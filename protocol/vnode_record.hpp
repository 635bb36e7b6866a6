// What a node remembers of a vnode beside its objects, log and clock, across restarts.
#pragma once

#include "protocol/dot_clock.hpp"
#include "protocol/types.hpp"

#include <optional>
#include <string>
#include <string_view>

namespace crema::protocol {

/// Why this node has the vnode. On disk and on the wire.
enum class vnode_role : uint8_t {
  owner = 0,
  temporary = 1, ///< It stands in for an owner that could not be reached (Dynamo §4.6).
  none = 2,      ///< It has been dropped; only its counter is remembered.
};

/// On disk and on the wire.
enum class vnode_state : uint8_t {
  unsure = 0,   ///< A new directory: either the cluster is new, or the disk was lost. Or an old one: a backup.
  filling = 1,  ///< The disk was lost: there are complete owners, and a copy of one is to be made.
  complete = 2, ///< It has all that it ever acknowledged.
  /// With a whole copy of one owner: closed to reads until it has what so many others have that every write which W
  /// owners acknowledged before this one lost its state is among it.
  catching_up = 3,
};

/// Does it hold what an owner held before it, so that others can learn from it?
constexpr bool is_whole(vnode_state x) { return x == vnode_state::complete || x == vnode_state::catching_up; }

struct vnode_record {
  vnode_role role = vnode_role::owner;
  vnode_state state = vnode_state::unsure;
  /// The highest counter that was given under replica id `self`. Counters outlive what they named: a dot used twice is
  /// data loss.
  replica_id self = 0;
  uint64_t counter = 0;
  /// Which of its two places in the store holds it.
  bool in_second_place = false;
  /// The other place may hold a part of a copy.
  bool copying = false;
  /// Dots that are no longer in the log because every owner has them (or was given up on): a replica that lacks one of
  /// them cannot catch up from here, only be refilled.
  dot_clock trimmed;
  /// Temporary: when it came to be, by its node's wall clock. 0: not known.
  uint64_t since_ms = 0;
  /// Temporary: the node was an owner, and what it had is kept until all owners of now have it, however long that
  /// takes.
  bool former = false;
  /// Owner: ring::since of its partition when it became complete.
  uint64_t epoch = 0;
  /// copying: how far it is, encoded (messages/copy_progress.hpp). Empty: of no use to a process that has not begun it.
  std::string copied;
  /// How often something of it has changed that its log does not tell of: it took the place of another, was repaired.
  uint64_t remade = 0;

  /// Where the data of vnode `id` is.
  vnode_id place_of(vnode_id id) const { return in_second_place ? other_place(id) : id; }

  friend bool operator==(const vnode_record& a, const vnode_record& b) {
    return a.role == b.role && a.state == b.state && a.self == b.self && a.counter == b.counter &&
           a.in_second_place == b.in_second_place && a.copying == b.copying && a.trimmed == b.trimmed &&
           a.since_ms == b.since_ms && a.former == b.former && a.epoch == b.epoch && a.copied == b.copied &&
           a.remade == b.remade;
  }
};

/// u8 version 5 | u8 role | u8 state | u8 1: in the second place, 2: copying, 4: former | u64 self | varint counter |
/// clock trimmed | varint since_ms | varint epoch | bytes copied | varint remade. Version 4 ended with epoch, and is
/// written where the rest says nothing; version 3 ended with since_ms, version 2 with the clock.
std::string encode(const vnode_record& x);
/// @returns nothing if the bytes are malformed or of another version.
std::optional<vnode_record> decode_vnode_record(std::string_view bytes);

} // namespace crema::protocol
