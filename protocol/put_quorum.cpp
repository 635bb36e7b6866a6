#include "protocol/put_quorum.hpp"

#include "protocol/planted.hpp"

#include <algorithm>
#include <cassert>

namespace crema::protocol {

put_quorum::put_quorum(std::vector<node_id> owners, const std::vector<bool>& reachable, uint32_t required)
    : required_(required) {
  assert(owners.size() == reachable.size());
  assert(required >= 1 && required <= owners.size());
  owners_.reserve(owners.size());
  for (size_t i = 0; i < owners.size(); ++i)
    owners_.push_back({owners[i], reachable[i] ? state::idle : state::unreachable});
}

void put_quorum::start(put_outbox& out) {
  if (replied_)
    return;
  if (count(state::idle) < required_)
    return fail(errc::no_quorum, out);
  ask_giver(out);
}

/// The first that has not said that it is ahead; else the one that is the least ahead: what it gives is the least of a
/// surprise to the others.
/// @pre An owner is idle.
void put_quorum::ask_giver(put_outbox& out) {
  auto best = owners_.end();
  for (auto i = owners_.begin(); i != owners_.end(); ++i)
    if (i->what == state::idle && (best == owners_.end() || i->ahead < best->ahead))
      best = i;
  assert(best != owners_.end());
  giver_ = static_cast<uint32_t>(best - owners_.begin());
  any_time_ = best->ahead > 0;
  best->what = state::waiting;
  out.send_put(best->id, any_time_);
}

void put_quorum::dot_given(node_id from, bool durable, put_outbox& out) {
  auto& giver = owners_[giver_];
  if (from != giver.id || giver.what != state::waiting || has_dot_)
    return;
  has_dot_ = true;
  if (durable)
    giver.what = state::acked;
  // Even after the reply (a timeout, say): the write happened, and the sooner every owner has it the better.
  for (auto& x : owners_) {
    if (x.what == state::idle) {
      x.what = state::waiting;
      out.send_delta(x.id);
    }
  }
  check_acked(out);
}

void put_quorum::acked(node_id from, put_outbox& out) {
  auto* x = find(from);
  if (planted(bug::ack_counted_twice) && x != nullptr && x->what == state::acked)
    for (auto& y : owners_)
      x = y.what == state::waiting ? &y : x;
  // Before there is a dot there is nothing to acknowledge. An owner given up as lost that did write counts.
  if (x == nullptr || !has_dot_ || (x->what != state::waiting && x->what != state::failed))
    return;
  x->what = state::acked;
  check_acked(out);
}

void put_quorum::refused(node_id from, errc why, put_outbox& out) {
  auto* x = find(from);
  if (x == nullptr || x->what != state::waiting)
    return;
  x->what = state::failed;
  if (!has_dot_) // Only the giver is waiting then: it wrote nothing, so nothing was written anywhere.
    fail(why, out);
  else
    check_reachable(out);
}

void put_quorum::ahead(node_id from, timestamp next, put_outbox& out) {
  auto& giver = owners_[giver_];
  if (has_dot_ || any_time_ || replied_)
    return refused(from, errc::clock_skew, out);
  if (from != giver.id || giver.what != state::waiting)
    return;
  giver.what = state::idle; // It gets the delta like any other.
  giver.ahead = std::max<timestamp>(next, 1);
  ask_giver(out);
}

void put_quorum::lost(node_id from, put_outbox& out) {
  auto* x = find(from);
  if (x == nullptr || (x->what != state::waiting && x->what != state::idle))
    return;
  bool giver = x == &owners_[giver_];
  x->what = state::failed;
  if (planted(bug::write_repeated) && !has_dot_ && giver && count(state::idle) >= required_)
    return start(out);
  if (!has_dot_ && giver)
    fail(errc::unknown_outcome, out);
  else
    check_reachable(out);
}

void put_quorum::deadline_passed(put_outbox& out) {
  fail(planted(bug::refusal_written) ? errc::no_quorum : errc::timeout, out);
}

bool put_quorum::done() const { return replied_ && count(state::waiting) == 0; }

uint32_t put_quorum::acks() const { return count(state::acked); }

uint32_t put_quorum::count(state what) const {
  return static_cast<uint32_t>(
      std::count_if(owners_.begin(), owners_.end(), [what](const owner& x) { return x.what == what; }));
}

put_quorum::owner* put_quorum::find(node_id id) {
  auto i = std::find_if(owners_.begin(), owners_.end(), [id](const owner& x) { return x.id == id; });
  return i == owners_.end() ? nullptr : &*i;
}

void put_quorum::fail(errc why, put_outbox& out) {
  if (replied_ && !planted(bug::replies_twice))
    return;
  replied_ = true;
  out.reply_failed(why, required_, acks());
}

void put_quorum::check_acked(put_outbox& out) {
  if (!replied_ && acks() >= required_) {
    replied_ = true;
    out.reply_written();
  }
}

void put_quorum::check_reachable(put_outbox& out) {
  // The giver has been asked, so the write may have happened, or may yet.
  if (acks() + count(state::waiting) + count(state::idle) < required_)
    fail(errc::unknown_outcome, out);
}

} // namespace crema::protocol
