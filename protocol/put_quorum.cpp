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
  while (owners_[giver_].what != state::idle)
    ++giver_;
  owners_[giver_].what = state::waiting;
  out.send_put(owners_[giver_].id);
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
