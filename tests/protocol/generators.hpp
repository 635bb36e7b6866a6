// Random dots, clocks and objects, out of a small universe, so that they meet.
#pragma once

#include "protocol/object.hpp"

#include <rapidcheck.h>

#include <ostream>
#include <set>
#include <string>

namespace crema {

inline void showValue(const dot& d, std::ostream& out) { out << "(" << d.replica << "," << d.counter << ")"; }

} // namespace crema

namespace crema::protocol {

inline void showValue(const dot_clock& clock, std::ostream& out) {
  out << "{";
  for (const auto& r : clock.ranges())
    out << " " << r.replica << ":" << r.first << "-" << r.last;
  out << " }";
}

inline void showValue(const siblings_object& x, std::ostream& out) {
  out << "siblings[";
  for (const auto& s : x.siblings)
    out << " (" << s.id.replica << "," << s.id.counter << ")@" << s.time << "=" << s.value;
  out << " ] seen ";
  showValue(x.seen, out);
}

inline rc::Gen<dot> any_dot() {
  return rc::gen::construct<dot>(rc::gen::inRange<replica_id>(1, 4), rc::gen::inRange<uint64_t>(1, 12));
}

using dot_set = std::set<dot>;
inline rc::Gen<dot_set> any_dots() {
  // Not a container of distinct values: the universe is too small to find enough of them.
  return rc::gen::map(rc::gen::container<std::vector<dot>>(any_dot()),
                      [](const std::vector<dot>& dots) { return dot_set(dots.begin(), dots.end()); });
}

template <class Dots>
dot_clock clock_of(const Dots& dots) {
  dot_clock clock;
  for (const auto& d : dots)
    clock.add(d);
  return clock;
}

inline dot_set dots_of(const std::vector<dot_range>& ranges) {
  dot_set dots;
  for (const auto& r : ranges)
    for (auto counter = r.first; counter <= r.last; ++counter)
      dots.insert({r.replica, counter});
  return dots;
}

inline rc::Gen<dot_clock> any_clock() {
  return rc::gen::map(any_dots(), [](const dot_set& dots) { return clock_of(dots); });
}

/// Any well-formed object, also such as no history leaves behind: siblings whose own dot is in `seen`, and different
/// values under one dot.
inline rc::Gen<siblings_object> any_siblings() {
  auto value = rc::gen::element<std::string>("", "a", "b", std::string{"\0x", 2});
  return rc::gen::apply(
      [](const dot_set& dots, const dot_clock& seen, const std::vector<std::string>& values) {
        siblings_object x{{}, seen};
        for (const auto& d : dots) {
          auto i = x.siblings.size();
          x.siblings.push_back({d, d.counter % 3, i % 2, i < values.size() ? values[i] : ""});
        }
        return x;
      },
      any_dots(), any_clock(), rc::gen::container<std::vector<std::string>>(value));
}

/// An encoded register; equal (time, dot) with different values occur.
inline rc::Gen<std::string> any_lww() {
  return rc::gen::apply(
      [](const dot& id, timestamp time, expiry_ms expires_at, bool tombstone, const std::string& value) {
        return encode_lww({time, id, expires_at, tombstone, value});
      },
      any_dot(), rc::gen::inRange<timestamp>(0, 4), rc::gen::inRange<expiry_ms>(0, 3), rc::gen::arbitrary<bool>(),
      rc::gen::element<std::string>("", "a", "b", "longer value"));
}

/// `bytes` with a few bytes changed, put in, or cut off.
inline rc::Gen<std::string> damaged(const std::string& bytes) {
  struct edit {
    size_t at;
    uint8_t how;
    char byte;
  };
  auto one = rc::gen::construct<edit>(rc::gen::arbitrary<size_t>(), rc::gen::inRange<uint8_t>(0, 4),
                                      rc::gen::oneOf(rc::gen::arbitrary<char>(), rc::gen::inRange<char>(0, 4)));
  return rc::gen::exec([bytes, one] {
    auto result = bytes;
    auto edits = *rc::gen::inRange(0, 4);
    for (int i = 0; i < edits; ++i) {
      auto e = *rc::gen::noShrink(one);
      auto at = e.at % (result.size() + 1);
      if (e.how == 0)
        result.insert(at, 1, e.byte);
      else if (e.how == 1 && at < result.size())
        result.erase(at, 1);
      else if (e.how == 2 && at < result.size())
        result[at] = e.byte;
      else if (e.how == 3)
        result.resize(at);
    }
    return result;
  });
}

} // namespace crema::protocol
