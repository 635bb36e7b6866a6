// Which keys a peer lacks writes of, each with all of the dots that it lacks. Looked up in the log once for all pages
// of a catch-up: for the next page only what has been written meanwhile is.
//
//   page 1   a:{7,1}{7,9}  b:{7,2}  c:{7,3} ...   given: a, b
//   page 2   c:{7,3} ...  + what is new           given when the peer's clock says that it has a and b
#pragma once

#include "protocol/dot_clock.hpp"

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace crema::protocol {

/// Invariant: of each key before the first that was left out it knows every dot that the vnode has and the peer lacks,
/// as of the last unread() whose dots were all noted.
class missing_keys {
public:
  using by_key = std::map<std::string, std::vector<dot>, std::less<>>;

  /// @param bytes_max about; the first keys are kept, at least one, and the others looked up when those are done.
  explicit missing_keys(size_t bytes_max) : bytes_max_(bytes_max) {}

  /// Does it know all that a peer with this clock lacks? The peer of the last call of unread(), later, does.
  bool serves(const dot_clock& theirs) const { return theirs.covers(theirs_); }
  /// What has to be noted before next() is asked about a peer that knows `theirs`, in order. @pre serves(theirs).
  /// @param mine all that the vnode knows; it only grows.
  std::vector<dot_range> unread(const dot_clock& mine, const dot_clock& theirs);
  void note(const dot& d, std::string_view key);
  /// The first key after `key` (nothing: the first of all) of which the peer lacks dots, or null.
  const by_key::value_type* next(const std::string* key);
  bool left_some_out() const { return left_out_.has_value(); }
  /// Are all done but those that were left out? The next unread() begins with them.
  bool is_through() const { return left_out_ && keys_.empty(); }

private:
  static size_t bytes_of(const std::string& key) { return key.size() + 100; } ///< Without its dots.

  size_t bytes_max_;
  size_t bytes_ = 0;
  by_key keys_;
  std::optional<std::string> left_out_; // The first: of it and of all that come after it nothing is known.
  dot_clock looked_up_;                 // Of what was noted, or left out.
  dot_clock theirs_;
};

} // namespace crema::protocol
