#include "protocol/object.hpp"

#include "protocol/planted.hpp"

#define XXH_INLINE_ALL // Short inputs: the call would cost more than the hash.
#include <xxhash.h>

#include <algorithm>

namespace crema::protocol {

namespace {

/// The delta behind a dot never changes. Should a broken peer send another one under the same dot, all replicas still
/// have to agree on which of the two they keep.
template <class Bytes>
bool later(const basic_sibling<Bytes>& a, const basic_sibling<Bytes>& b) {
  return std::tie(a.time, a.expires_at, a.value) > std::tie(b.time, b.expires_at, b.value);
}

/// One walk over two lists sorted by dot.
template <class Bytes>
void join_siblings(basic_siblings<Bytes>& into, const basic_siblings<Bytes>& from) {
  std::vector<basic_sibling<Bytes>> joined;
  joined.reserve(into.siblings.size() + from.siblings.size());
  auto mine = into.siblings.begin();
  auto theirs = from.siblings.begin();
  while (mine != into.siblings.end() || theirs != from.siblings.end()) {
    if (theirs == from.siblings.end() || (mine != into.siblings.end() && mine->id < theirs->id)) {
      if (!from.seen.contains(mine->id))
        joined.push_back(std::move(*mine));
      ++mine;
    } else if (mine == into.siblings.end() || theirs->id < mine->id) {
      if (!into.seen.contains(theirs->id))
        joined.push_back(*theirs);
      ++theirs;
    } else {
      if (later(*theirs, *mine))
        joined.push_back(*theirs);
      else
        joined.push_back(std::move(*mine));
      ++mine;
      ++theirs;
    }
  }
  into.siblings = std::move(joined);
  into.seen.join(from.seen);
}

template <class Bytes>
uint64_t digest(const basic_siblings<Bytes>& x) {
  if (x.siblings.empty())
    return 0;
  uint64_t hash = 0;
  for (const auto& s : x.siblings) {
    const uint64_t words[] = {s.id.replica, s.id.counter};
    hash = XXH3_64bits_withSeed(words, sizeof(words), hash);
  }
  return not_zero(hash);
}

} // namespace

// -- Join --

bool wins(const lww_view& a, const lww_view& b) { return std::tie(a.time, a.id) > std::tie(b.time, b.id); }

void join(siblings_object& into, const siblings_object& from) { join_siblings(into, from); }
void join(siblings_view& into, const siblings_view& from) { join_siblings(into, from); }

namespace {

/// With equal time and dot the bytes decide, for the same reason as in later().
bool first_stays(const lww_view& x, std::string_view a, const lww_view& y, std::string_view b) {
  auto first = x.time == y.time && x.id == y.id ? a >= b : wins(x, y);
  return first != planted(bug::older_wins);
}

std::optional<std::string> join_encoded_siblings(std::string_view a, std::string_view b) {
  auto into = view_siblings(a);
  auto from = view_siblings(b);
  if (!into || !from)
    return std::nullopt;
  join(*into, *from);
  return encode_siblings(*into);
}

} // namespace

std::optional<std::string> join_encoded(std::string_view a, std::string_view b) {
  if (a.empty() || b.empty()) {
    auto only = a.empty() ? b : a;
    if (only.empty() || decode_lww(only) || view_siblings(only))
      return std::string{only};
    return std::nullopt;
  }
  auto x = decode_lww(a);
  auto y = decode_lww(b);
  if (!x && !y)
    return join_encoded_siblings(a, b);
  if (!x || !y)
    return std::nullopt;
  return std::string{first_stays(*x, a, *y, b) ? a : b};
}

bool supersedes(std::string_view a, std::string_view b) {
  auto x = decode_lww(a);
  auto y = decode_lww(b);
  return x && y && first_stays(*x, a, *y, b);
}

void strip(siblings_object& object, const dot_clock& clock) { object.seen.subtract(clock); }

siblings_object expand(siblings_object object, const dot_clock& clock) {
  object.seen.join(clock);
  return object;
}

siblings_object without_known(siblings_object expanded, const dot_clock& mine) {
  // The page must not say of its own siblings that they are replaced: one that is here as well has to stay.
  if (!planted(bug::page_replaces_itself))
    for (const auto& s : expanded.siblings)
      expanded.seen.remove(s.id);
  auto known = [&](const sibling& s) { return mine.contains(s.id); };
  expanded.siblings.erase(std::remove_if(expanded.siblings.begin(), expanded.siblings.end(), known),
                          expanded.siblings.end());
  return expanded;
}

// -- Reading --

timestamp newest_time(std::string_view object) {
  if (auto x = decode_lww(object))
    return x->time;
  timestamp newest = 0;
  if (auto x = view_siblings(object))
    for (const auto& s : x->siblings)
      newest = std::max(newest, s.time);
  return newest;
}

uint64_t digest_lww(const std::optional<lww_view>& x) {
  if (!x)
    return 0;
  const uint64_t words[] = {x->time, x->id.replica, x->id.counter};
  return not_zero(XXH3_64bits(words, sizeof(words)));
}

uint64_t digest_siblings(const siblings_object& x) { return digest(x); }
uint64_t digest_siblings(const siblings_view& x) { return digest(x); }

} // namespace crema::protocol
