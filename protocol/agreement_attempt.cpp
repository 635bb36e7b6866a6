// The attempts of one node, one at a time: ask, ask again, begin again with a higher ballot, give up.
#include "protocol/agreement.hpp"

#include <algorithm>

namespace crema::protocol {

namespace {
using kind = agreement_message::kind;
using phase = register_attempt::phase;
using result = agreement_outcome::result;
} // namespace

void agreement::propose(uint64_t request, std::string value, monotonic now, agreement_outbox& out) {
  if (busy())
    return out.attempt_ended(request, {result::busy, number() + 1, {}});
  if (!valid(value))
    return out.attempt_ended(request, {result::invalid, number() + 1, {}});
  start(request, std::move(value), now,
        out); // In place of an attempt to finish something: it takes over what it finds.
  hear_myself(now, out);
}

void agreement::start(std::optional<uint64_t> request, std::string value, monotonic now, agreement_outbox& out) {
  finish_at_.reset();
  own_attempt x;
  x.request = request;
  x.number = number() + 1;
  x.wanted = std::move(value);
  x.ends = now + options_.timeout;
  attempt_ = std::move(x);
  begin(now, out);
}

/// With a ballot of its own, which is on disk before anybody hears of it: after a restart it must not be used again.
void agreement::begin(monotonic now, agreement_outbox& out) {
  auto next = state_;
  next.round = std::max({state_.round, state_.cast.promised.round, attempt_->outbid_by}) + 1;
  if (next.round > agreement_number_max || !keep(std::move(next), out))
    return end(result::disk_failed, out);
  std::vector<node_id> nodes;
  for (const auto& x : voters_)
    nodes.push_back(x.node);
  attempt_->running.emplace(attempt_->number, ballot{state_.round, directory_}, std::move(nodes), attempt_->wanted);
  attempt_->said.clear();
  attempt_->directories.clear();
  attempt_->pause = options_.resend;
  ask(now, out);
}

void agreement::ask(monotonic now, agreement_outbox& out) {
  const auto& x = *attempt_->running;
  auto proposing = x.state() == phase::proposing;
  for (auto to : x.silent())
    send(to,
         {proposing ? kind::propose : kind::prepare, x.number(), x.id(), proposing ? x.value() : std::string{}, {}, 0},
         out);
  attempt_->next = now + attempt_->pause;
  attempt_->pause = std::min<monotonic>(2 * attempt_->pause, options_.resend_max);
}

void agreement::on_answer(node_id from, const agreement_message& m, monotonic now, agreement_outbox& out) {
  if (!attempt_ || !attempt_->running || !(attempt_->running->id() == m.attempt) || attempt_->number != m.number)
    return;
  auto before = attempt_->running->state();
  if ((m.what == kind::promise) != (before == phase::preparing) || !counts(from, m))
    return;
  auto after = m.what == kind::promise ? attempt_->running->on_promise(from, m.answer)
                                       : attempt_->running->on_accepted(from, m.answer);
  if (before == after)
    return hopeless() ? give_up(out) : void();
  switch (after) {
  case phase::preparing:
    return;
  case phase::proposing:
    attempt_->offered = attempt_->offered || attempt_->running->value() == attempt_->wanted;
    attempt_->said.clear();
    attempt_->pause = options_.resend;
    return ask(now, out);
  case phase::decided:
    return on_decided(now, out);
  case phase::lost:
    return back_off(now);
  }
}

/// Notes what was said. A yes counts if it is from the disk that the value before names, or if it names none, from the
/// first one that says so in this attempt.
bool agreement::counts(node_id from, const agreement_message& m) {
  const auto* named = find(from);
  auto what = m.answer.what;
  if (named == nullptr || what > vote_reply::invalid)
    return false;
  if (what == vote_reply::yes) {
    if (m.what == kind::promise && m.answer.accepted.round > 0 && !valid(m.answer.value))
      return false; // No voter accepts that.
    auto expected = named->directory;
    if (expected == 0 && m.directory != 0)
      expected = attempt_->directories.try_emplace(from, m.directory).first->second;
    if (m.directory == 0 || m.directory != expected)
      what = vote_reply::not_voter;
  }
  auto& said = attempt_->said.try_emplace(from, what).first->second;
  if (said != vote_reply::yes) // Which is counted, and stays so.
    said = what;
  return what == m.answer.what;
}

void agreement::on_decided(monotonic now, agreement_outbox& out) {
  auto tell_to = voters_;
  auto value = attempt_->running->value();
  if (!learn(attempt_->number, value, out))
    return end(result::disk_failed, out);
  tell_to.insert(tell_to.end(), voters_.begin(), voters_.end());
  for (const auto& x : tell_to) // The others hear by gossip.
    tell(x.node, now, out);
}

/// The more often, the longer: of several that outbid each other one must get through.
void agreement::back_off(monotonic now) {
  auto& x = *attempt_;
  x.outbid_by = std::max(x.outbid_by, x.running->outbid_by());
  x.running.reset();
  x.next = now + options_.backoff + random_below(options_.backoff * (2 << std::min(x.tries, 4)));
  ++x.tries;
}

/// So many voters cannot do their part that the others are no majority. It ends at once, and says who.
bool agreement::hopeless() const {
  auto cannot = std::count_if(attempt_->said.begin(), attempt_->said.end(),
                              [](const auto& x) { return x.second >= vote_reply::not_voter; });
  return voters_.size() - static_cast<size_t>(cannot) <= voters_.size() / 2;
}

void agreement::give_up(agreement_outbox& out) { end(attempt_->offered ? result::unknown : result::no_majority, out); }

void agreement::end(result what, agreement_outbox& out) {
  auto ended = std::move(*attempt_);
  attempt_.reset();
  agreement_outcome outcome{what, ended.number, {}};
  if ((what == result::unknown || what == result::no_majority) && ended.running)
    for (auto node : ended.running->silent()) {
      auto said = ended.said.find(node);
      outcome.missing.push_back({node, said == ended.said.end() ? std::nullopt : std::optional{said->second}});
    }
  if (ended.request)
    out.attempt_ended(*ended.request, outcome);
}

} // namespace crema::protocol
