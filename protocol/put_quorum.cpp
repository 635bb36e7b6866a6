#include "protocol/put_quorum.hpp"

#include "protocol/hybrid_clock.hpp"
#include "protocol/planted.hpp"

#include <algorithm>
#include <cassert>
#include <utility>

namespace crema::protocol {

put_quorum::put_quorum(const write_set& owners, const write_set& others) { take(owners, others); }

void put_quorum::take(const write_set& owners, const write_set& others) {
  assert(owners.nodes.size() == owners.reachable.size() && others.nodes.size() == others.reachable.size());
  assert(owners.required >= 1 && owners.required <= owners.nodes.size());
  assert(others.required <= others.nodes.size() && (others.required == 0) == others.nodes.empty());
  assert(owners.required_owners <= owners.required && others.required_owners <= others.required);
  required_ = owners.required;
  required_owners_ = owners.required_owners;
  required_others_ = others.required;
  required_other_owners_ = others.required_owners;
  nodes_.clear();
  nodes_.reserve(owners.nodes.size() + others.nodes.size());
  auto state_of = [](bool reachable) { return reachable ? state::idle : state::unreachable; };
  for (size_t i = 0; i < owners.nodes.size(); ++i)
    nodes_.push_back({owners.nodes[i], state_of(owners.reachable[i])});
  for (size_t i = 0; i < others.nodes.size(); ++i) {
    if (auto* known = find(others.nodes[i]); known != nullptr) {
      known->other = true;
      continue;
    }
    nodes_.push_back({others.nodes[i], state_of(others.reachable[i]), false, true});
    nodes_.back().gives = false;
  }
}

void put_quorum::take_fallbacks(put_outbox& out) {
  for (auto unreachable = count(state::unreachable); unreachable > 0; --unreachable)
    take_fallback(out);
}

void put_quorum::start(put_outbox& out) {
  if (replied_)
    return;
  take_fallbacks(out);
  ask_giver(out);
}

void put_quorum::rebase(const write_set& owners, const write_set& others, put_outbox& out) {
  if (replied_)
    return;
  auto giver = nodes_[giver_];
  auto before = planted(bug::acks_kept) ? nodes_ : std::vector<node>{};
  take(owners, others);
  auto* known = find(giver.id);
  giver_ = static_cast<uint32_t>(known == nullptr ? nodes_.size() : known - nodes_.data());
  if (has_dot_) {
    if (known == nullptr)
      giver_ = 0;
    for (size_t i = 0; i < nodes_.size(); ++i) {
      if (nodes_[i].what != state::idle)
        continue;
      nodes_[i].what = state::waiting;
      out.send_delta(nodes_[i].id);
      if (std::any_of(before.begin(), before.end(),
                      [&](const node& x) { return x.id == nodes_[i].id && x.what == state::acked; }))
        nodes_[i].what = state::acked;
    }
    take_fallbacks(out);
    return check_reachable(out);
  }
  asked_before_ = true;
  if (known == nullptr) {
    giver.owner = giver.other = false;
    giver.former = true;
    nodes_.push_back(giver);
  } else {
    known->what = giver.what;
  }
  take_fallbacks(out);
}

/// The first that has not said that it is ahead; else the one that is the least ahead: what it gives is the least of a
/// surprise to the others. Null: there is none.
put_quorum::node* put_quorum::best_giver() {
  node* best = nullptr;
  for (auto& x : nodes_)
    if (x.what == state::idle && x.gives && (best == nullptr || x.ahead < best->ahead))
      best = &x;
  return best;
}

void put_quorum::ask_giver(put_outbox& out) {
  if (missing([](const node& x) { return x.what == state::idle; }).needed > 0)
    return fail(errc::no_quorum, out);
  auto* best = best_giver();
  if (best == nullptr) { // Owners that refused to give still take the delta: one node more has to.
    take_fallback(out);
    best = best_giver();
  }
  if (best == nullptr)
    return fail(errc::no_quorum, out);
  any_time_ = best->ahead > 0;
  ask(*best, out);
}

void put_quorum::ask(node& giver, put_outbox& out) {
  asked_before_ = false;
  giver_ = static_cast<uint32_t>(&giver - nodes_.data());
  giver.what = state::waiting;
  out.send_put(giver.id, after_, any_time_);
}

void put_quorum::dot_given(node_id from, timestamp time, bool durable, put_outbox& out) {
  auto& giver = nodes_[giver_];
  if (from != giver.id || giver.what != state::waiting || has_dot_)
    return;
  has_dot_ = true;
  limit_ = time + std::min(UINT64_MAX - time, from_micros(hybrid_clock::default_drift_max.count()));
  if (std::exchange(asked_before_, false))
    giver.what = giver.former ? state::failed : state::idle; // It is asked like the others.
  else if (durable)
    giver.what = state::acked;
  // Even after the reply (a timeout, say): the write happened, and the sooner every owner has it the better.
  for (auto& x : nodes_) {
    if (x.what == state::idle) {
      x.what = state::waiting;
      out.send_delta(x.id);
    }
  }
  check_acked(out);
}

void put_quorum::acked(node_id from, timestamp newer, put_outbox& out) {
  auto* x = find(from);
  if (planted(bug::ack_counted_twice) && x != nullptr && x->what == state::acked)
    for (auto& y : nodes_)
      x = y.what == state::waiting ? &y : x;
  // Before there is a dot there is nothing to acknowledge. One given up as lost that did write counts.
  if (x == nullptr || !has_dot_ || (x->what != state::waiting && x->what != state::failed))
    return;
  x->what = state::acked;
  if (!second_round_)
    x->newer = newer;
  check_acked(out);
}

void put_quorum::refused(node_id from, errc why, put_outbox& out) {
  auto* x = find(from);
  if (x == nullptr || x->what != state::waiting)
    return;
  auto passes_on = why == errc::incomplete || why == errc::stale_epoch || (!x->owner && why == errc::not_owner);
  if (has_dot_) {
    x->what = state::failed;
    if (passes_on)
      take_fallback(out);
    return check_reachable(out);
  }
  // Only the giver is waiting then: it wrote nothing, so nothing was written anywhere.
  if (!passes_on || replied_) {
    x->what = state::failed;
    return fail(why, out);
  }
  x->gives = false;
  x->what = x->fallback() || x->former ? state::failed : state::idle;
  if (x->fallback())
    take_fallback(out);
  ask_giver(out);
}

void put_quorum::ahead(node_id from, timestamp next, put_outbox& out) {
  auto& giver = nodes_[giver_];
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
  bool giver = x == &nodes_[giver_];
  x->what = state::failed;
  if (planted(bug::write_repeated) && !has_dot_ && giver && count(state::idle) >= required_)
    return ask_giver(out);
  if (!has_dot_ && giver)
    return fail(errc::unknown_outcome, out);
  take_fallback(out);
  check_reachable(out);
}

void put_quorum::deadline_passed(put_outbox& out) {
  auto acked = [](const node& x) { return x.what == state::acked; };
  auto newer = [](const node& x) { return x.what == state::acked && x.newer != 0 && x.newer != time_unknown; };
  if (!replied_ && missing(acked).needed == 0 && std::none_of(nodes_.begin(), nodes_.end(), newer)) {
    replied_ = true; // Those who could have told of something newer stay silent.
    return out.reply_written();
  }
  fail(planted(bug::refusal_written) ? errc::no_quorum : errc::timeout, out);
}

bool put_quorum::done() const { return replied_ && count(state::waiting) == 0; }

uint32_t put_quorum::acks() const { return count(state::acked); }

uint32_t put_quorum::fallback_acks() const {
  return static_cast<uint32_t>(std::count_if(nodes_.begin(), nodes_.end(),
                                             [](const node& x) { return x.what == state::acked && x.fallback(); }));
}

uint32_t put_quorum::count(state what) const {
  return static_cast<uint32_t>(
      std::count_if(nodes_.begin(), nodes_.end(), [what](const node& x) { return x.what == what; }));
}

/// What is not met if these nodes count; nothing is `needed` if all is.
template <class Predicate>
shortfall put_quorum::missing(Predicate counts) const {
  uint32_t first = 0, owners = 0, second = 0, others = 0;
  for (const auto& x : nodes_) {
    if (!counts(x))
      continue;
    first += x.owner || x.fallback() ? 1 : 0;
    owners += x.owner ? 1 : 0;
    second += x.other || x.fallback() ? 1 : 0;
    others += x.other ? 1 : 0;
  }
  if (first < required_)
    return {required_, first, false, false};
  if (owners < required_owners_)
    return {required_owners_, owners, true, false};
  if (second < required_others_)
    return {required_others_, second, false, true};
  return others < required_other_owners_ ? shortfall{required_other_owners_, others, true, true} : shortfall{};
}

put_quorum::node* put_quorum::find(node_id id) {
  auto i = std::find_if(nodes_.begin(), nodes_.end(), [id](const node& x) { return x.id == id; });
  return i == nodes_.end() ? nullptr : &*i;
}

/// In place of a node that cannot be had; asked at once if there is something to give it.
void put_quorum::take_fallback(put_outbox& out) {
  auto id = out.next_fallback();
  if (!id)
    return;
  nodes_.push_back({*id, has_dot_ ? state::waiting : state::idle, false, false});
  if (has_dot_)
    out.send_delta(*id);
}

void put_quorum::fail(errc why, put_outbox& out) {
  if (replied_ && !planted(bug::replies_twice))
    return;
  replied_ = true;
  if (second_round_ && why != errc::timeout) // The first one was written.
    why = errc::unknown_outcome;
  auto lacks = missing(
      [why](const node& x) { return x.what == state::acked || (why == errc::no_quorum && x.what == state::idle); });
  if (lacks.needed == 0) // Enough nodes, but none of them gives dots.
    lacks.needed = required_;
  lacks.had = static_cast<uint32_t>(std::count_if(nodes_.begin(), nodes_.end(), [&](const node& x) {
    return x.what == state::acked && ((lacks.changing ? x.other : x.owner) || (x.fallback() && !lacks.owners));
  }));
  out.reply_failed(why, lacks);
}

void put_quorum::check_acked(put_outbox& out) {
  auto acked = [](const node& x) { return x.what == state::acked; };
  if (replied_ || missing(acked).needed > 0)
    return;
  // What a quorum without those too far ahead does not know of was not acknowledged, or they were a quorum.
  auto counts = [&](const node& x) { return acked(x) && !too_far(x); };
  auto may_count = [&](const node& x) { return counts(x) || x.what == state::waiting || x.what == state::idle; };
  auto far = missing(counts).needed > 0;
  if (far && missing(may_count).needed == 0)
    return; // Others may still answer.
  timestamp newest = 0;
  for (const auto& x : nodes_)
    if (acked(x) && (far || !too_far(x)) && x.newer != time_unknown)
      newest = std::max(newest, x.newer);
  if (newest != 0 && !second_round_ && !planted(bug::second_round_forgotten))
    return write_again(newest, out);
  replied_ = true;
  out.reply_written();
}

void put_quorum::write_again(timestamp after, put_outbox& out) {
  auto& holder = *std::find_if(nodes_.begin(), nodes_.end(),
                               [&](const node& x) { return x.what == state::acked && x.newer == after; });
  auto far = too_far(holder);
  second_round_ = true;
  has_dot_ = false;
  after_ = after;
  for (auto& x : nodes_)
    if (x.what == state::waiting || x.what == state::acked)
      x.what = state::idle;
  if (!far)
    return ask_giver(out);
  any_time_ = true; // It is the one that can give such a time, whatever its clock says.
  ask(holder, out);
}

void put_quorum::check_reachable(put_outbox& out) {
  auto may_ack = [](const node& x) {
    return x.what == state::acked || x.what == state::waiting || x.what == state::idle;
  };
  // The giver has been asked, so the write may have happened, or may yet.
  if (missing(may_ack).needed > 0)
    fail(errc::unknown_outcome, out);
  else
    check_acked(out); // Those that are left may be all there will be.
}

} // namespace crema::protocol
