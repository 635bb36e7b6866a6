// The bytes of a clock (dot_clock.hpp, encode). Persisted and on the wire.
#include "protocol/canonical.hpp"
#include "protocol/dot_clock.hpp"

namespace crema::protocol {

void dot_clock::encode(byte_writer& out) const {
  out.varint(entries_.size());
  for (const auto& known : entries_) {
    out.u64(known.replica);
    out.varint(known.base);
    out.varint(known.intervals.size());
    auto last = known.base;
    for (const auto& x : known.intervals) {
      out.varint(x.first - last - 1);
      out.varint(x.last - x.first);
      last = x.last;
    }
  }
}

std::string dot_clock::encode() const {
  std::string bytes;
  byte_writer out(bytes);
  encode(out);
  return bytes;
}

bool dot_clock::entry::decode(byte_reader& in) {
  base = canonical_varint(in);
  auto count = canonical_varint(in);
  if (!in.ok() || base > counter_max || count > in.left() / 2) // An interval takes two bytes at least.
    return false;
  intervals.reserve(count);
  auto last = base;
  for (uint64_t i = 0; i < count; ++i) {
    auto gap = canonical_varint(in);
    auto more = canonical_varint(in);
    if (!in.ok() || gap == 0 || gap >= counter_max - last || more > counter_max - last - gap - 1)
      return false;
    auto first = last + gap + 1;
    last = first + more;
    intervals.push_back({first, last});
  }
  return !empty();
}

std::optional<dot_clock> dot_clock::decode(byte_reader& in) {
  auto count = canonical_varint(in);
  if (!in.ok() || count > in.left() / 10) // An id with a base and a count takes ten bytes at least.
    return std::nullopt;
  dot_clock clock;
  clock.entries_.reserve(count);
  replica_id last = 0;
  for (uint64_t i = 0; i < count; ++i) {
    entry next;
    next.replica = in.u64();
    if (next.replica <= last || !next.decode(in)) // Also when the input has ended: a failed reader gives zeros.
      return std::nullopt;
    last = next.replica;
    clock.entries_.push_back(std::move(next));
  }
  return clock;
}

std::optional<dot_clock> dot_clock::decode(std::string_view bytes) {
  byte_reader in(bytes);
  auto clock = decode(in);
  return in.finished() ? clock : std::nullopt;
}

} // namespace crema::protocol
