// What an operator may want of buckets; part of a plan like the changes of members (topology_change.hpp).
#pragma once

#include "protocol/bucket.hpp"

#include <optional>
#include <string>

namespace crema::protocol {

/// What is given; the rest is as it was, or a default.
struct bucket_settings {
  std::optional<uint32_t> n, r, w;
  std::optional<bool> sloppy;
  std::optional<crema::durability> durability;
  std::optional<protocol::read_repair> read_repair;
};

/// Defaults: n = 3, or as many as there are nodes; r and w a majority of n; the lowest free db.
struct create_bucket {
  std::string name;
  std::optional<uint16_t> db;
  conflict_rule conflict = conflict_rule::lww;
  bucket_settings settings;
};
/// r and w that are not given follow n if they were a majority of it, and else stay.
struct set_bucket {
  std::string name;
  bucket_settings settings;
};
/// With all that is in it.
struct drop_bucket {
  std::string name;
};

std::string to_words(const create_bucket& x);
std::string to_words(const set_bucket& x);
std::string to_words(const drop_bucket& x);

} // namespace crema::protocol
