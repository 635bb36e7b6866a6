#include "agreement_world.hpp"

#include <algorithm>
#include <cstdlib>

namespace crema::protocol::agreement_test {

using result = agreement_outcome::result;
using std::chrono::milliseconds;

namespace {
constexpr int stage = 500; // Steps.

std::string tag_of(const std::string& value, int which) {
  auto begin = value.find('|') + 1;
  for (; which > 0; --which)
    begin = value.find('|', begin) + 1;
  return value.substr(begin, value.find('|', begin) - begin);
}
node_id id(size_t at) { return node_id{static_cast<uint32_t>(at)}; }
} // namespace

std::vector<voter> texts::voters_of(const std::string& value) const {
  std::vector<voter> all;
  const char* at = value.c_str();
  while (*at != '|') {
    char* end = nullptr;
    auto node = std::strtoul(at, &end, 10);
    if (*end != '@')
      return {};
    auto directory = std::strtoull(end + 1, &end, 10);
    if (*end != ' ')
      return {};
    all.push_back({id(node), instead != nullptr && directory != 0 ? instead->at(node) : directory});
    at = end + 1;
  }
  return all;
}

bool texts::valid_successor(const std::string& before, const std::string& after) const {
  return anything_valid || (after.find('!') == std::string::npos && tag_of(after, 0) == tag_of(before, 1));
}

/// What one call of the machine makes happen, until the node dies in the middle of it.
class world::effects : public agreement_outbox {
public:
  effects(world& w, size_t at, size_t fuse) : w_(w), at_(at), fuse_(fuse) {}
  bool dead() const { return dead_; }

  void send(node_id to, agreement_message m) override {
    if (lives())
      w_.network_.push_back({at_, to_index(to), std::move(m)});
  }
  bool persist(const std::string& record) override {
    auto& n = w_.nodes_[at_];
    if (dead_)
      return false;
    auto failed = !lives() || (w_.chaos_ && w_.below(40) == 0);
    if (failed && w_.below(2) == 0)
      return false;
    if (!failed && w_.plan_.without == left_out::disk && w_.below(2) == 0)
      return true;
    n.own.record = record;
    if (!failed || dead_) // Else it may be replaced by one that does not know of it.
      w_.written(at_);
    return !failed;
  }
  void decided(uint64_t number, const std::string& value) override {
    if (!lives())
      return;
    w_.known(number, value);
    w_.nodes_[at_].own.used = number;
  }
  void attempt_ended(uint64_t request, const agreement_outcome& outcome) override {
    if (lives())
      w_.ended(at_, request, outcome);
  }

private:
  bool lives() {
    dead_ = dead_ || fuse_ == 0;
    fuse_ -= dead_ ? 0 : 1;
    return !dead_;
  }

  world& w_;
  size_t at_;
  size_t fuse_;
  bool dead_ = false;
};

world::world(const plan& how) : plan_(how), random_(how.seed * 0x9E3779B97F4A7C15ULL + 1) {
  constexpr std::array<size_t, 6> sizes{1, 2, 3, 4, 5, 7};
  first_voters_ = how.what == weather::losses || how.what == weather::split ? sizes[2 + below(4)] : sizes[below(6)];
  for (size_t i = 0; i < first_voters_; ++i)
    first_value_ += std::to_string(i) + "@0 ";
  first_value_ += "|0|0|";
  values_[1] = first_value_;
  values_seen_.anything_valid = how.without == left_out::validity;
  if (how.without == left_out::directories)
    values_seen_.instead = &directories_;
  for (size_t i = 0; i < nodes_count; ++i) {
    new_disk(i);
    nodes_[i].own.sealed = first_voters_ == 1;
    restart(i);
  }
  for (size_t i = 0; i < nodes_count * nodes_count && how.what != weather::split && below(2) == 0; ++i)
    gossip(i / nodes_count, i % nodes_count);
}

uint64_t world::random() { // splitmix64
  auto z = random_ += 0x9E3779B97F4A7C15ULL;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  return z ^ (z >> 31);
}

void world::run() {
  auto splits = plan_.what == weather::split;
  auto split_at = splits ? static_cast<int>(below(2)) * stage : -1;
  auto steps = splits ? split_at + 2 * stage : plan_.what == weather::losses ? 600 : 2500;
  for (int i = 0; i < steps && violation_.empty(); ++i) {
    if (splits && i == split_at)
      split();
    if (splits && i == split_at + stage)
      split_otherwise();
    step();
  }
}

/// A majority of the voters on the next number is on one side.
void world::split() {
  for (auto& side : side_)
    side = below(2);
  majority_.clear();
  auto voters = truth_.voters_of(values_.rbegin()->second);
  for (size_t i = 0; i < voters.size(); ++i) {
    side_[to_index(voters[i].node)] = i <= voters.size() / 2 ? 0 : 1;
    if (i <= voters.size() / 2)
      majority_.push_back(to_index(voters[i].node));
  }
}

/// All of it but one lose their disks, as many as can be, and are with the other voters.
void world::split_otherwise() {
  for (size_t i = 1; i < majority_.size(); ++i) {
    side_[majority_[i]] = 1;
    lose_disk(majority_[i]);
  }
}

void world::step() {
  auto often = plan_.what == weather::losses, splits = plan_.what == weather::split;
  auto dice = below(1000);
  auto at = below(nodes_count);
  if (dice < 10)
    nodes_[at].machine ? crash(at) : restart(at);
  else if (dice < (often ? 20U : splits ? 0U : 11U))
    lose_disk(at);
  else if (dice < 40)
    for (size_t to = 0; to < nodes_count; ++to)
      gossip(at, to);
  else if (dice < (often ? 60U : splits ? 0U : 44U))
    part();
  else if (dice < 100)
    propose(plan_.what == weather::hasty ? 0 : at);
  else if (dice == 100 && plan_.what == weather::operators)
    force(at);
  else if (dice < 250 || network_.empty())
    tick(at);
  else
    deliver(below(network_.size()));
  if (plan_.what == weather::hasty)
    at = 0;
  auto& n = nodes_[at];
  if (plan_.what == weather::hasty && n.machine && n.machine->busy() && below(60) == 0)
    crash(at);
  if (!n.machine && below(n.asked ? 2 : 10) == 0)
    restart(at);
}

template <class Call>
void world::call(size_t at, Call what) {
  auto& n = nodes_[at];
  if (!n.machine)
    return;
  effects out{*this, at, chaos_ && below(60) == 0 ? below(6) : SIZE_MAX};
  what(*n.machine, out);
  if (out.dead())
    crash(at);
}

void world::crash(size_t at) { nodes_[at].machine.reset(); }

void world::restart(size_t at) {
  auto& n = nodes_[at];
  auto record = decode_agreement_record(n.own.record);
  if (!record)
    return violated("a record that does not decode");
  if (plan_.without == left_out::own_ballot)
    record->round = 0;
  if (record->number < n.own.used)
    violated("a value was used and forgotten");
  known(record->number, record->value);
  n.machine.emplace(
      id(at), n.own.directory, values_seen_, *record, [this] { return random(); }, agreement::options{});
  n.machine->set_sealed(n.own.sealed || plan_.without == left_out::sealing);
  if (n.asked && below(2) == 0)
    propose(at); // Who asked asks again.
  else
    n.asked.reset();
}

/// As often as it can happen: of the voters of number 1 a majority keeps its disks until number 2 is known to all.
void world::lose_disk(size_t at) {
  auto knows_more = [](const node& n) { return n.machine && n.machine->number() > 1; };
  if (std::all_of(nodes_.begin(), nodes_.end(), knows_more))
    lost_.clear();
  if (at < first_voters_ && lost_.count(at) == 0 && lost_.size() + 1 > first_voters_ / 2)
    return;
  if (at < first_voters_)
    lost_.insert(at);
  crash(at);
  new_disk(at);
  ++lost_disks_;
  restart(at);
}

void world::new_disk(size_t at) {
  directories_[at] = ++last_directory_;
  nodes_[at].own = {};
  nodes_[at].own.directory = directories_[at];
  nodes_[at].own.record = encode(agreement_record::first(first_value_));
}

/// Binds, vouches, and tells the newest number.
void world::gossip(size_t from, size_t to) {
  if (from == to || side_[from] != side_[to] || !nodes_[from].machine || !nodes_[to].machine)
    return;
  nodes_[to].own.bound.try_emplace(from, nodes_[from].own.directory);
  if (nodes_[to].own.bound[from] == nodes_[from].own.directory)
    vouch(to, from);
  auto newest = nodes_[from].machine->number();
  call(to, [&](agreement& a, effects& out) { a.heard_number(id(from), newest, now_, out); });
}

void world::vouch(size_t by, size_t of) {
  if (by >= first_voters_ || of >= first_voters_ || nodes_[by].machine->number() > 1)
    return;
  auto& n = nodes_[of];
  n.own.bound_by.insert(by);
  auto few = first_voters_ - (first_voters_ / 2 + 1) + 1;
  n.own.sealed = n.own.bound_by.size() >= (plan_.without == left_out::enough_seals ? few : seals_needed(first_voters_));
  n.machine->set_sealed(n.own.sealed || plan_.without == left_out::sealing);
}

void world::deliver(size_t i) {
  auto x = network_[i];
  if (!chaos_ || network_.size() > 60 || below(6) > 0) { // Else it comes again.
    if (chaos_)
      network_[i] = std::move(network_.back());
    chaos_ ? network_.pop_back() : void(network_.erase(network_.begin() + static_cast<std::ptrdiff_t>(i)));
  }
  if (chaos_ && (below(6) == 0 || side_[x.from] != side_[x.to]))
    return;
  if (plan_.without == left_out::accepted_value && x.m.what == agreement_message::kind::promise) {
    x.m.answer.accepted = {};
    x.m.answer.value.clear();
  }
  call(x.to, [&](agreement& a, effects& out) { a.on_message(id(x.from), x.m, now_, out); });
}

std::string world::make_value(size_t at, bool nonsense) {
  std::string value;
  auto count = 1 + below(3) + below(3);
  for (size_t i = 0, first = below(nodes_count); i < count; ++i) {
    auto next = (first + i) % nodes_count;
    value += std::to_string(next) + "@" + std::to_string(nodes_[next].own.directory) + " ";
  }
  return value + "|" + tag_of(nodes_[at].machine->value(), 1) + "|" + std::to_string(++last_tag_) +
         (nonsense ? "!|" : "|");
}

void world::propose(size_t at) {
  auto& n = nodes_[at];
  if (!n.machine)
    return;
  auto value = make_value(at, chaos_ && below(10) == 0);
  auto request = last_tag_;
  wanted_[request] = value;
  if (!n.machine->busy())
    n.asked = request;
  call(at, [&](agreement& a, effects& out) { a.propose(request, value, now_, out); });
}

void world::force(size_t at) {
  if (!nodes_[at].machine)
    return;
  auto value = make_value(at, false);
  ++forced_;
  call(at, [&](agreement& a, effects& out) { a.force(a.forced_number(value), value, out); });
}

void world::part() {
  for (auto& side : side_)
    side = below(2);
  if (below(2) == 0)
    side_.fill(0);
}

void world::tick(size_t at) {
  if (chaos_)
    now_ += milliseconds(below(200));
  call(at, [&](agreement& a, effects& out) { a.on_tick(now_, out); });
}

/// For at most a minute.
template <class Condition>
bool world::run_until(Condition met) {
  for (int i = 0; i < 600; ++i) {
    if (i % 10 == 9 && met())
      return true;
    now_ += milliseconds(100);
    for (size_t at = 0; at < nodes_count; ++at) {
      for (size_t to = 0; to < nodes_count && i % 5 == 0; ++to)
        gossip(at, to);
      tick(at);
    }
    for (int messages = 0; !network_.empty() && messages < 1000; ++messages)
      deliver(0);
  }
  return false;
}

bool world::all_equal() const {
  return std::all_of(nodes_.begin(), nodes_.end(),
                     [&](const node& n) { return n.machine->number() == nodes_[0].machine->number(); });
}

/// Are there enough voters with the disks that they are known by?
bool world::electable() const {
  auto can = [](const node& n) { return n.machine->may_vote(); };
  auto voting = std::count_if(nodes_.begin(), nodes_.end(), can);
  return static_cast<size_t>(voting) > nodes_[0].machine->voters().size() / 2;
}

std::string world::calm() {
  chaos_ = false;
  side_.fill(0);
  network_.clear();
  for (size_t i = 0; i < nodes_count; ++i) {
    if (nodes_[i].machine && nodes_[i].machine->busy())
      crash(i);
    nodes_[i].asked.reset();
    if (!nodes_[i].machine)
      restart(i);
  }
  auto before = values_.size();
  auto any = [&](auto what) { return std::any_of(nodes_.begin(), nodes_.end(), what); };
  auto half_done = [](const node& n) { return n.machine->half_done(); };
  if (!run_until([&] { return all_equal() && (!any(half_done) || !electable()); }))
    return "what is half done is finished, and all come to know it";
  finished_ += values_.size() - before;

  auto at = below(nodes_count);
  auto outcome = [&] {
    propose(at);
    auto request = last_tag_;
    run_until([&] { return outcomes_.count(request) > 0; });
    return outcomes_.count(request) > 0 ? outcomes_[request].what : result::unknown;
  };
  stuck_ = !electable();
  if (stuck_) {
    if (outcome() != result::no_majority)
      return "without a majority nothing is decided, and that is said";
    force(below(nodes_count));
    if (!run_until([&] { return all_equal(); }))
      return "a forced value spreads";
  }
  return outcome() == result::chosen ? "" : "a majority decides what one of all proposes";
}

/// What a majority has ever accepted in one attempt is chosen, whether anybody knows or not.
void world::written(size_t at) {
  auto record = decode_agreement_record(nodes_[at].own.record);
  if (!record)
    return violated("a record that does not decode");
  if (record->cast.accepted.round == 0)
    return;
  auto voters = truth_.voters_of(record->value);
  for (const auto& v : voters) {
    if (v.node != id(at) || (v.directory != 0 && v.directory != nodes_[at].own.directory))
      continue;
    auto& who = accepted_[{record->cast.number, record->cast.accepted, record->cast.value}];
    who.insert(at);
    if (who.size() > voters.size() / 2)
      known(record->cast.number, record->cast.value);
  }
}

void world::known(uint64_t number, const std::string& value) {
  auto [i, fresh] = values_.try_emplace(number, value);
  if (i->second != value)
    return violated("number " + std::to_string(number) + " is " + i->second + " and " + value);
  if (!fresh)
    return;
  chosen_.insert(value);
  if (never_.count(value) > 0)
    violated(value + " was chosen, though it was said not to be");
  auto before = values_.find(number - 1);
  if (before != values_.end() && !truth_.valid_successor(before->second, value))
    violated(before->second + " is followed by " + value);
}

void world::ended(size_t at, uint64_t request, const agreement_outcome& outcome) {
  if (nodes_[at].asked == request)
    nodes_[at].asked.reset();
  else if (outcome.what != result::busy)
    violated("an attempt ended twice");
  if (!outcomes_.emplace(request, outcome).second)
    violated("an attempt ended twice");
  const auto& wanted = wanted_[request];
  if (outcome.what == result::chosen)
    return known(outcome.number, wanted);
  if (outcome.what == result::unknown || outcome.what == result::disk_failed)
    return;
  never_.insert(wanted);
  if (chosen_.count(wanted) > 0)
    violated(wanted + " was chosen, and is said not to be");
}

void world::violated(const std::string& what) {
  if (violation_.empty())
    violation_ = what;
}

} // namespace crema::protocol::agreement_test
