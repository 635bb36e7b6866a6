#include "protocol/vnode.hpp"

#include "protocol/planted.hpp"

#include <algorithm>
#include <cassert>

namespace crema::protocol {

namespace {

expiry_ms expiry(timestamp time, uint64_t ttl_ms) {
  if (ttl_ms == 0)
    return 0;
  auto written_ms = to_micros(time) / 1000;
  return ttl_ms > UINT64_MAX - written_ms ? UINT64_MAX : written_ms + ttl_ms;
}

/// When the remains of an object may be removed at the earliest; nothing: it leaves none. A value that expires later
/// than timestamps reach stays.
std::optional<timestamp> due_at(timestamp written, expiry_ms expires_at) {
  constexpr auto last_ms = to_micros(UINT64_MAX) / 1000;
  if (expires_at == 0 || expires_at > last_ms)
    return std::nullopt;
  return std::max(written, from_micros(expires_at * 1000));
}

std::optional<timestamp> due_of(const lww_view& x) {
  return x.tombstone ? std::optional{x.time} : due_at(x.time, x.expires_at);
}

/// Notes when the remains of an object may be looked at. Each sibling expires for itself. Without siblings: at any time
/// (0), as soon as the clock covers what it says was replaced.
void bury_remains(vnode_id id, conflict_rule rule, std::string_view key, std::string_view object, vnode_sink& sink) {
  if (rule == conflict_rule::lww) {
    auto x = decode_lww(object);
    if (auto due = x ? due_of(*x) : std::nullopt)
      sink.bury(id, *due, key);
    return;
  }
  auto x = view_siblings(object);
  if (!x)
    return;
  if (x->siblings.empty())
    sink.bury(id, 0, key);
  for (const auto& s : x->siblings)
    if (auto due = due_at(s.time, s.expires_at))
      sink.bury(id, *due, key);
}

/// What a write in a siblings bucket says it replaces. A client may hand in any context: of our own writes it can have
/// seen those up to now, and not the one about to be made nor later ones, which would vanish on arrival.
dot_clock replaced_by(const dot& id, const dot_clock* context) {
  if (context == nullptr)
    return {};
  auto replaced = *context;
  if (replaced.highest(id.replica) >= id.counter) {
    dot_clock not_yet;
    not_yet.add(dot_range{id.replica, id.counter, counter_max});
    replaced.subtract(not_yet);
  }
  return replaced;
}

/// What either has and the other has not seen going. Who holds an older register although it knows the dot of the newer
/// one knows it as lost (vnode::close).
std::string surviving_register(std::string_view a, const dot_clock& a_clock, std::string_view b,
                               const dot_clock& b_clock) {
  auto x = decode_lww(a), y = decode_lww(b);
  if (x && y) {
    if (x->id == y->id)
      return std::string{a};
    auto a_wins = wins(*x, *y);
    auto lost = a_wins ? b_clock.contains(x->id) : a_clock.contains(y->id);
    return std::string{a_wins != lost ? a : b};
  }
  auto survives = (x && !b_clock.contains(x->id)) || (y && !a_clock.contains(y->id));
  return survives ? std::string{x ? a : b} : std::string{};
}

} // namespace

vnode::vnode(vnode_id id, conflict_rule rule, replica_id self, dot_clock clock, uint64_t counter)
    : id_(id), rule_(rule), self_(self), clock_(std::move(clock)), counter_(counter) {
  assert(self != 0);
}

vnode::given vnode::give(const write_intent& write, timestamp time, vnode_sink& sink) {
  // The highest, not the base: whatever came back to us under our own id must not be named again.
  given result{{self_, counter() + 1}, {}};
  assert(valid(result.id));
  auto expires_at = write.remove ? 0 : expiry(time, write.ttl_ms);
  if (rule_ == conflict_rule::lww) {
    result.delta = encode_lww({time, result.id, expires_at, write.remove, write.value});
  } else {
    siblings_view delta{{}, replaced_by(result.id, write.context)};
    if (!write.remove)
      delta.siblings.push_back({result.id, time, expires_at, write.value});
    result.delta = encode_siblings(delta);
  }
  enter(result.id, write.key, result.delta, sink);
  return result;
}

/// Can a peer tell us of this dot? Our own dots normally never come back. After a restore from a backup they may, and
/// then they keep us from using them again; but no peer may bring our counter to its end.
bool vnode::nameable(const dot& d) const { return valid(d) && (d.replica != self_ || d.counter <= counter_max / 2); }

bool vnode::accepts(const dot& id, std::string_view delta) const {
  if (!nameable(id))
    return false;
  if (rule_ == conflict_rule::lww) {
    auto x = decode_lww(delta);
    return x && x->id == id;
  }
  auto x = view_siblings(delta);
  return x && x->siblings.size() <= 1 && (x->siblings.empty() || x->siblings.front().id == id) && !x->seen.contains(id);
}

bool vnode::apply(const dot& id, std::string_view key, std::string_view delta, vnode_sink& sink) {
  if (clock_.contains(id) || !accepts(id, delta))
    return false;
  enter(id, key, delta, sink);
  return true;
}

void vnode::enter(const dot& id, std::string_view key, std::string_view delta, vnode_sink& sink) {
  sink.merge(id_, key, delta);
  sink.log(id_, id, key);
  bury_remains(id_, rule_, key, delta, sink);
  clock_.add(id);
}

/// What to merge for a page; empty: nothing. @returns nothing if the page is to be refused.
std::optional<std::string> vnode::page_operand(const key_page& page, const dot_clock& arriving) const {
  if (page.key.empty())
    return std::string{};
  auto accounted_for = [&](const dot& d) { return clock_.contains(d) || arriving.contains(d); };
  if (rule_ == conflict_rule::lww) {
    if (page.object.empty())
      return std::string{};
    auto x = decode_lww(page.object);
    if (!x || !accounted_for(x->id))
      return std::nullopt;
    if (planted(bug::repair_restamps))
      return encode_lww({x->time + from_micros(1'000'000), x->id, x->expires_at, x->tombstone, x->value});
    // Known already: it is here, or lost to a newer one, or was a tombstone that has been purged.
    return clock_.contains(x->id) ? std::string{} : page.object;
  }
  auto x = decode_siblings(page.object);
  if (!x || !x->seen.covers(arriving) ||
      !std::all_of(x->siblings.begin(), x->siblings.end(), [&](const sibling& s) { return accounted_for(s.id); }))
    return std::nullopt;
  return encode_siblings(without_known(std::move(*x), clock_));
}

size_t vnode::apply_page(const key_page& page, vnode_sink& sink) {
  dot_clock arriving;
  for (const auto& d : page.dots) {
    if (!nameable(d))
      return 0;
    if (!clock_.contains(d))
      arriving.add(d);
  }
  if (arriving.empty())
    return 0;
  // By the clock as it is before the page: its own dots are not known yet.
  auto operand = page_operand(page, arriving);
  if (!operand)
    return 0;
  size_t added = 0;
  for (const auto& d : page.dots)
    if (!planted(bug::clock_skipped) && clock_.add(d)) {
      sink.log(id_, d, page.key);
      ++added;
    }
  if (!operand->empty() && !planted(bug::clock_ahead)) {
    sink.merge(id_, page.key, *operand);
    bury_remains(id_, rule_, page.key, *operand, sink);
  }
  return planted(bug::clock_skipped) ? page.dots.size() : added;
}

size_t vnode::close(const dot_clock& lost, vnode_sink& sink) {
  size_t closed = 0;
  for (const auto& r : lost.missing_from(clock_)) {
    for (auto n = r.first; n <= r.last && r.replica != self_; ++n) {
      sink.log(id_, {r.replica, n}, {});
      ++closed;
    }
    if (r.replica != self_)
      clock_.add(r);
  }
  return closed;
}

bool vnode::adopt(std::string_view key, std::string_view object, vnode_sink& sink) const {
  if (!digest(object) || object.empty())
    return false;
  sink.replace(id_, key, object);
  bury_remains(id_, rule_, key, object, sink);
  return true;
}

std::optional<std::string> vnode::joined(std::string_view mine, std::string_view theirs,
                                         const dot_clock& their_clock) const {
  if (!digest(mine) || !digest(theirs))
    return std::nullopt;
  if (rule_ == conflict_rule::lww)
    return surviving_register(mine, clock_, theirs, their_clock);
  auto expanded = [](std::string_view stored, const dot_clock& clock) {
    return expand(stored.empty() ? siblings_object{} : *decode_siblings(stored), clock);
  };
  auto both = expanded(mine, clock_);
  join(both, expanded(theirs, their_clock));
  auto known = clock_;
  known.join(their_clock);
  strip(both, known);
  return both.empty() ? std::string{} : encode_siblings(both);
}

cleanup vnode::clean(std::string_view stored, timestamp due, timestamp horizon, uint64_t expired_ms) const {
  cleanup result;
  if (rule_ == conflict_rule::lww) {
    auto x = decode_lww(stored);
    // Another write has won meanwhile; if it leaves remains, it has a grave of its own.
    result.settled = !x || due_of(*x) != due;
    auto gone = x && (x->tombstone || expired(x->expires_at, expired_ms));
    if (result.settled || !gone || x->time > horizon || !clock_.contains(x->id))
      return result;
    result.erase = result.settled = true;
    return result;
  }
  auto x = decode_siblings(stored);
  if (!x)
    return result;
  x->siblings.erase(
      std::remove_if(x->siblings.begin(), x->siblings.end(),
                     [&](const sibling& s) { return expired(s.expires_at, expired_ms) && clock_.contains(s.id); }),
      x->siblings.end());
  strip(*x, clock_);
  result.erase = x->empty();
  // Not yet: a value that this grave is for, and an object without values that says of unknown dots that they were
  // replaced.
  result.settled =
      result.erase ||
      (!x->siblings.empty() && std::none_of(x->siblings.begin(), x->siblings.end(),
                                            [due](const sibling& s) { return due_at(s.time, s.expires_at) == due; }));
  if (!result.erase) {
    auto bytes = encode_siblings(*x);
    if (bytes != stored)
      result.replace = std::move(bytes);
  }
  return result;
}

std::optional<std::string> vnode::expanded(std::string_view stored) const {
  if (rule_ == conflict_rule::lww) {
    if (!stored.empty() && !decode_lww(stored))
      return std::nullopt;
    return std::string{stored};
  }
  auto x = stored.empty() ? siblings_view{} : view_siblings(stored);
  if (!x)
    return std::nullopt;
  x->seen.join(clock_); // Stripping first would change nothing: the clock comes back in.
  if (planted(bug::context_of_maxima))
    for (const auto& r : clock_.ranges())
      x->seen.add(dot_range{r.replica, 1, r.last});
  return encode_siblings(*x);
}

std::optional<uint64_t> vnode::digest(std::string_view stored) const {
  if (stored.empty())
    return 0;
  if (rule_ == conflict_rule::lww) {
    auto x = decode_lww(stored);
    return x ? std::optional{digest_lww(x)} : std::nullopt;
  }
  auto x = view_siblings(stored);
  return x ? std::optional{digest_siblings(*x)} : std::nullopt;
}

size_t vnode::sibling_count(std::string_view stored) const {
  if (rule_ == conflict_rule::lww) {
    auto x = decode_lww(stored);
    return x && !x->tombstone ? 1 : 0;
  }
  auto x = view_siblings(stored);
  return x ? x->siblings.size() : 0;
}

} // namespace crema::protocol
