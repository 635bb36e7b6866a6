// What a bucket promises: how many copies it keeps, how many must answer, and how concurrent values are resolved.
#pragma once

#include "protocol/quorum_level.hpp"
#include "protocol/types.hpp"

#include <optional>
#include <string>
#include <tuple>

namespace crema::protocol {

enum class bucket_mode : uint8_t { eventual, causal, strong };

constexpr uint32_t copies_max = 16;
constexpr uint16_t db_max = 1023;

/// Copies, and how many of them a read and a write need (Dynamo §4.5).
struct quorums {
  uint32_t n = 3, r = 2, w = 2;
  friend bool operator==(const quorums& a, const quorums& b) { return a.n == b.n && a.r == b.r && a.w == b.w; }
  friend bool operator!=(const quorums& a, const quorums& b) { return !(a == b); }
};

struct bucket {
  std::string name;
  bucket_id id = 0; ///< In front of every key. Never that of another bucket again. Of the configuration's: `db`.
  uint16_t db = 0;  ///< What clients SELECT.
  bucket_mode mode = bucket_mode::eventual;
  uint32_t n = 3, r = 2, w = 2;
  conflict_rule conflict = conflict_rule::lww;
  bool sloppy = true;
  crema::durability durability = crema::durability::interval;
  protocol::read_repair read_repair = protocol::read_repair::background; ///< Or foreground.
  /// While these change (docs/topology.md). Joint: what is to be; after that, what was before.
  std::optional<quorums> other{};
  uint64_t created = 1; ///< The epoch that created it.

  quorums present() const { return {n, r, w}; }
  /// Those of the ring's other table: `next` or `former`.
  quorums beside() const { return other.value_or(present()); }
  void set(const quorums& x) {
    n = x.n;
    r = x.r;
    w = x.w;
  }
  /// While joint: more owners may lack a write than the numbers to be allow, so that those that stay have to meet the
  /// others as well (docs/topology.md, rule R3).
  bool owners_must_meet() const { return other && n - w > other->n - other->w; }

  friend bool operator==(const bucket& a, const bucket& b) {
    return std::tie(a.name, a.id, a.db, a.mode, a.n, a.r, a.w, a.conflict, a.sloppy, a.durability, a.read_repair,
                    a.other, a.created) == std::tie(b.name, b.id, b.db, b.mode, b.n, b.r, b.w, b.conflict, b.sloppy,
                                                    b.durability, b.read_repair, b.other, b.created);
  }
  friend bool operator!=(const bucket& a, const bucket& b) { return !(a == b); }
};

/// How many owners a bucket has of each row of a ring's tables.
struct copies {
  uint32_t now = 0, beside = 0;
  bool change = false; ///< They, or how many of them must answer.
  copies(uint32_t n) : now(n), beside(n) {}
  copies(const bucket& b) : now(b.n), beside(b.beside().n), change(b.other.has_value()) {}
};

} // namespace crema::protocol
