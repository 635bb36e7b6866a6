#include "protocol/agreed_register.hpp"

#include <algorithm>

namespace crema::protocol {

std::optional<vote_answer> register_voter::refusal(uint64_t number, ballot attempt) const {
  if (number != state_.number)
    return vote_answer{number < state_.number ? vote_reply::decided : vote_reply::unknown, {}, {}, {}};
  if (attempt < state_.promised)
    return vote_answer{vote_reply::outbid, state_.promised, {}, {}};
  return std::nullopt;
}

vote_answer register_voter::on_prepare(uint64_t number, ballot attempt) {
  if (auto no = refusal(number, attempt))
    return *no;
  state_.promised = attempt;
  return {vote_reply::yes, attempt, state_.accepted, state_.value};
}

vote_answer register_voter::on_propose(uint64_t number, ballot attempt, const std::string& value) {
  if (auto no = refusal(number, attempt))
    return *no;
  state_.promised = state_.accepted = attempt;
  state_.value = value;
  return {vote_reply::yes, attempt, attempt, {}};
}

void register_voter::on_decided(uint64_t number) {
  if (number >= state_.number)
    state_ = {number + 1, {}, {}, {}};
}

register_attempt::register_attempt(uint64_t number, ballot id, std::vector<node_id> voters, std::string wanted)
    : number_(number), id_(id), voters_(std::move(voters)), value_(std::move(wanted)) {}

bool register_attempt::counts(node_id from, const vote_answer& answer) {
  if (std::find(voters_.begin(), voters_.end(), from) == voters_.end())
    return false;
  if (answer.what == vote_reply::outbid && id_ < answer.promised) {
    outbid_by_ = std::max(outbid_by_, answer.promised.round);
    phase_ = phase::lost;
  } else if (answer.what == vote_reply::decided) {
    phase_ = phase::lost;
  }
  return answer.what == vote_reply::yes && answer.promised == id_;
}

register_attempt::phase register_attempt::on_promise(node_id from, const vote_answer& answer) {
  if (phase_ != phase::preparing || !counts(from, answer))
    return phase_;
  promised_.insert(from);
  if (value_of_ < answer.accepted) {
    value_of_ = answer.accepted;
    value_ = answer.value;
  }
  if (is_majority(promised_))
    phase_ = phase::proposing;
  return phase_;
}

register_attempt::phase register_attempt::on_accepted(node_id from, const vote_answer& answer) {
  if (phase_ != phase::proposing || !counts(from, answer) || !(answer.accepted == id_))
    return phase_;
  accepted_.insert(from);
  if (is_majority(accepted_))
    phase_ = phase::decided;
  return phase_;
}

std::vector<node_id> register_attempt::silent() const {
  const auto& heard = phase_ == phase::preparing ? promised_ : accepted_;
  std::vector<node_id> all;
  std::copy_if(voters_.begin(), voters_.end(), std::back_inserter(all), [&](node_id n) { return heard.count(n) == 0; });
  return all;
}

} // namespace crema::protocol
