#include "protocol/agreement.hpp"

#include <xxhash.h>

#include <algorithm>
#include <cassert>
#include <set>

namespace crema::protocol {

namespace {
using kind = agreement_message::kind;
using result = agreement_outcome::result;

constexpr uint64_t forced_ahead = uint64_t{1} << 20;

/// Beyond what a majority that the operator cannot see may come to. Another value gets another number, so that two
/// operators on two sides of a partition do not give one number two values.
uint64_t number_forced(uint64_t number, const std::string& value) {
  return number + forced_ahead + XXH3_64bits(value.data(), value.size()) % forced_ahead;
}

bool names_a_ballot(const ballot& x) { return x.round > 0 && x.round <= agreement_number_max && x.source != 0; }

/// Whether the rest of the code may rely on the fields that this kind of message has.
bool well_formed(const agreement_message& m) {
  if (m.number == 0 || m.number > agreement_number_max || m.value.size() > agreed_value_bytes_max)
    return false;
  switch (m.what) {
  case kind::prepare:
  case kind::propose:
    return names_a_ballot(m.attempt);
  case kind::promise:
  case kind::accept:
    return names_a_ballot(m.attempt) && m.answer.promised.round <= agreement_number_max &&
           (m.answer.accepted == ballot{} || names_a_ballot(m.answer.accepted)) &&
           m.answer.value.size() <= agreed_value_bytes_max;
  case kind::decided:
  case kind::want:
    return true;
  }
  return false;
}
} // namespace

agreement::agreement(node_id self, uint64_t own_directory, const agreed_values& values, agreement_record state,
                     std::function<uint64_t()> random, options opts)
    : self_(self), directory_(own_directory), values_(values), state_(std::move(state)),
      voters_(values.voters_of(state_.value)), random_(std::move(random)), options_(opts) {
  assert(own_directory != 0 && state_.number > 0 && state_.cast.number == state_.number + 1);
}

void agreement::on_message(node_id from, const agreement_message& m, monotonic now, agreement_outbox& out) {
  if (!well_formed(m))
    return;
  handle(from, m, now, out);
  hear_myself(now, out);
}

void agreement::on_tick(monotonic now, agreement_outbox& out) {
  if (attempt_ && now >= attempt_->ends) {
    give_up(out);
  } else if (attempt_ && now >= attempt_->next) {
    if (attempt_->running)
      ask(now, out);
    else
      begin(now, out);
  } else if (!attempt_ && half_done()) {
    // Not all who accepted it at the same time: they would outbid each other.
    if (!finish_at_)
      finish_at_ = now + options_.finish + random_below(options_.finish);
    if (now >= *finish_at_)
      start(std::nullopt, state_.cast.value, now, out);
  }
  hear_myself(now, out);
}

void agreement::heard_number(node_id peer, uint64_t its_newest, monotonic now, agreement_outbox& out) {
  if (its_newest > number() && its_newest <= agreement_number_max)
    send(peer, {kind::want, number(), {}, {}, {}, 0}, out);
  else if (its_newest < number())
    tell(peer, now, out);
}

uint64_t agreement::forced_number(const std::string& draft) const { return number_forced(state_.number, draft); }

bool agreement::force(uint64_t number, const std::string& value, agreement_outbox& out) {
  return number >= state_.number + forced_ahead && number <= agreement_number_max && names_voters(value) &&
         learn(number, value, out);
}

void agreement::handle(node_id from, const agreement_message& m, monotonic now, agreement_outbox& out) {
  switch (m.what) {
  case kind::prepare:
  case kind::propose:
    return on_asked(from, m, now, out);
  case kind::promise:
  case kind::accept:
    return on_answer(from, m, now, out);
  case kind::decided:
    if (m.number > number() && names_voters(m.value))
      learn(m.number, m.value, out);
    return;
  case kind::want:
    if (m.number < number())
      tell(from, now, out);
  }
}

void agreement::on_asked(node_id from, const agreement_message& m, monotonic now, agreement_outbox& out) {
  vote_answer answer;
  auto no = m.number == number() + 1 ? why_not_voting() : std::nullopt;
  if (no) {
    answer.what = *no;
  } else if (m.what == kind::propose && m.number == number() + 1 && !valid(m.value)) {
    answer.what = vote_reply::invalid;
  } else {
    register_voter voter{state_.cast};
    auto proposed = m.what == kind::propose;
    answer = proposed ? voter.on_propose(m.number, m.attempt, m.value) : voter.on_prepare(m.number, m.attempt);
    auto newly = proposed && !(state_.cast.accepted == m.attempt);
    if (answer.what == vote_reply::yes && (newly || !(state_.cast.promised == m.attempt))) {
      auto next = state_;
      next.cast = voter.state();
      if (!keep(std::move(next), out))
        return;
      if (newly) // Who proposed it is alive, and gets its time.
        finish_at_ = now + options_.finish + random_below(options_.finish);
    }
  }
  auto said = answer.what;
  send(from,
       {m.what == kind::propose ? kind::accept : kind::promise, m.number, m.attempt, {}, std::move(answer), directory_},
       out);
  if (said == vote_reply::decided)
    tell(from, now, out);
  if (said == vote_reply::unknown)
    send(from, {kind::want, number(), {}, {}, {}, 0}, out);
}

/// Nothing: this node may vote on the next number.
std::optional<vote_reply> agreement::why_not_voting() const {
  const auto* me = find(self_);
  if (me == nullptr || (me->directory != 0 && me->directory != directory_))
    return vote_reply::not_voter;
  if (me->directory == 0 && !sealed_)
    return vote_reply::not_sealed;
  return std::nullopt;
}

/// Any value but the first one must do that, each voter by its directory.
bool agreement::names_voters(const std::string& value) const {
  if (value.size() > agreed_value_bytes_max)
    return false;
  std::set<node_id> nodes;
  auto voters = values_.voters_of(value);
  return !voters.empty() && std::all_of(voters.begin(), voters.end(), [&](const voter& x) {
    return x.directory != 0 && nodes.insert(x.node).second;
  });
}

bool agreement::valid(const std::string& value) const {
  return names_voters(value) && values_.valid_successor(state_.value, value);
}

/// Only what this returned true for may be told. If it failed, the disk may have the new record, of which nobody was
/// told; or the old one, which is what this node goes on with.
bool agreement::keep(agreement_record next, agreement_outbox& out) {
  if (!out.persist(encode(next)))
    return false;
  state_ = std::move(next);
  return true;
}

bool agreement::learn(uint64_t number, const std::string& value, agreement_outbox& out) {
  auto next_one = number == state_.number + 1;
  if (!keep({number, value, {number + 1, {}, {}, {}}, 0}, out))
    return false;
  voters_ = values_.voters_of(state_.value);
  finish_at_.reset();
  told_.clear();
  out.decided(number, state_.value);
  if (!attempt_)
    return true;
  if (next_one && attempt_->wanted == state_.value)
    end(result::chosen, out);
  else
    end(next_one || !attempt_->offered ? result::other : result::unknown, out);
  return true;
}

void agreement::tell(node_id peer, monotonic now, agreement_outbox& out) {
  if (peer == self_)
    return;
  auto [last, first] = told_.try_emplace(peer, now);
  if (!first && now - last->second < options_.tell_again)
    return;
  last->second = now;
  send(peer, {kind::decided, number(), {}, value(), {}, 0}, out);
}

/// What a node says to itself takes the same way as all else, but not through the network.
void agreement::send(node_id to, agreement_message m, agreement_outbox& out) {
  if (to == self_)
    to_self_.push_back(std::move(m));
  else
    out.send(to, std::move(m));
}

void agreement::hear_myself(monotonic now, agreement_outbox& out) {
  while (!to_self_.empty()) {
    auto m = std::move(to_self_.front());
    to_self_.pop_front();
    handle(self_, m, now, out);
  }
}

const voter* agreement::find(node_id node) const {
  auto i = std::find_if(voters_.begin(), voters_.end(), [node](const voter& x) { return x.node == node; });
  return i == voters_.end() ? nullptr : &*i;
}

} // namespace crema::protocol
