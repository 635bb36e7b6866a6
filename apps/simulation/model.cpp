#include "apps/simulation/model.hpp"

#include "apps/simulation/match_removes.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace crema::simulation {

using kind = client_request::kind;

const config::bucket_config& evidence::bucket(bucket_id id) const {
  const auto* b = find_bucket(cluster, id);
  return b != nullptr ? *b : cluster.buckets.front();
}

std::string show(const dot& d) { return fmt::format("{:016x}:{}", d.replica, d.counter); }

std::string name_of(const key_model& k, const evidence& e) {
  return fmt::format("{}/{}", e.bucket(k.bucket).name, k.key);
}

std::string name_of(const write_record& w, const evidence& e) {
  return fmt::format("{} (dot {}, named by {} at {})",
                     w.remove ? std::string{"a remove"} : std::string{write_name(w.value)}, show(w.id),
                     e.cluster.nodes[w.giver].name, show(w.at));
}

model::model(const evidence& e, findings& out) {
  decode(e, out);
  const auto& ops = e.operations.operations();
  for (size_t i = 0; i < ops.size(); ++i) {
    const auto& op = ops[i];
    auto& k = keys_[{op.request.bucket, op.request.key}];
    k.bucket = op.request.bucket;
    k.key = op.request.key;
    if (op.is_read() && op.result == outcome::ok)
      k.reads.push_back(i);
    if (op.acknowledged())
      k.confirmed.push_back(i);
    if (op.request.what == kind::remove)
      k.removes.push_back(i);
  }
  for (auto& [where, k] : keys_) {
    k.owners = e.owners(k.bucket, k.key);
    if (e.ownerships)
      k.ownerships = e.ownerships(k.bucket, k.key);
    assign(e, k, out);
    match_removes(e, k, out);
  }
}

std::vector<const key_model*> model::keys_of(vnode_id vnode) const {
  std::vector<const key_model*> result;
  for (const auto& [where, k] : keys_)
    if (!k.writes.empty() && k.writes.front().vnode == vnode)
      result.push_back(&k);
  return result;
}

void model::decode(const evidence& e, findings& out) {
  for (const auto& [dotted, named] : e.writes) {
    const auto& [vnode, id] = dotted;
    write_record w;
    w.id = id;
    w.vnode = vnode;
    w.giver = named.giver;
    w.at = named.at;
    w.closed = e.closed.count(dotted) > 0;
    auto lww = e.bucket(vnode.bucket).conflict == conflict_rule::lww;
    auto object = lww ? protocol::decode_lww(named.delta) : std::nullopt;
    auto set = lww ? std::nullopt : protocol::decode_siblings(named.delta);
    if (object) {
      w.remove = object->tombstone;
      w.time = object->time;
      w.expires_at = object->expires_at;
      w.value = std::string{object->value};
    } else if (set && set->siblings.size() <= 1) {
      w.replaces = std::move(set->seen);
      w.remove = set->siblings.empty();
      if (!w.remove) {
        w.time = set->siblings[0].time;
        w.expires_at = set->siblings[0].expires_at;
        w.value = std::move(set->siblings[0].value);
      }
    } else {
      out.push_back({"nothing invented",
                     fmt::format("the delta of dot {} of key {} does not decode", show(id), named.key), named.at});
    }
    auto& k = keys_[{vnode.bucket, named.key}];
    k.bucket = vnode.bucket;
    k.key = named.key;
    k.writes.push_back(std::move(w));
  }
  for (auto& [where, k] : keys_) {
    std::sort(k.writes.begin(), k.writes.end(),
              [](const auto& a, const auto& b) { return std::tie(a.at, a.id) < std::tie(b.at, b.id); });
    for (auto& w : k.writes)
      for (size_t i = 0; i < k.writes.size(); ++i)
        if (k.writes[i].replaces.contains(w.id))
          w.replaced_by.push_back(i);
  }
}

namespace {

/// Did the write get the context that its request had, whole and nothing else?
bool has_context_of(const operation& op, const write_record& w) {
  protocol::dot_clock asked = op.request.context.value_or(protocol::dot_clock{});
  if (op.request.read_first && !op.request.context) {
    if (op.result != outcome::ok)
      return true; // What was read is not known.
    asked = op.context;
    asked.remove(w.id);
  }
  // A client cannot have seen later writes of the giver than this one (protocol/vnode.cpp).
  if (asked.highest(w.id.replica) >= w.id.counter) {
    protocol::dot_clock later;
    later.add(protocol::dot_range{w.id.replica, w.id.counter, protocol::counter_max});
    asked.subtract(later);
  }
  return asked == w.replaces;
}

/// What is wrong with the write as the answer to the request; empty: nothing.
std::string difference(const operation& op, const write_record& w, conflict_rule rule) {
  if (op.result == outcome::not_done)
    return fmt::format("the request was refused ({}), and yet it was written", to_string(op.status));
  if (w.at < op.invoked)
    return "it was written before it was asked for";
  auto written_ms = to_micros(w.time) / 1000;
  if ((op.request.ttl_ms == 0) != (w.expires_at == 0) ||
      (op.request.ttl_ms != 0 && w.expires_at != written_ms + op.request.ttl_ms))
    return fmt::format("it was to live for {} ms and expires {} ms after it was written", op.request.ttl_ms,
                       w.expires_at == 0 ? 0 : w.expires_at - written_ms);
  if (rule == conflict_rule::siblings && !has_context_of(op, w))
    return fmt::format("it replaces {} dots, and not exactly those of its context", w.replaces.size());
  return {};
}

} // namespace

bool may_be_of(const evidence& e, const key_model& k, const operation& op, const write_record& w) {
  if (!w.remove || w.at < op.invoked || (op.result == outcome::ok && w.at > op.completed))
    return false;
  if (e.bucket(k.bucket).conflict == conflict_rule::lww)
    return true;
  return (op.result != outcome::ok || op.context.contains(w.id)) && has_context_of(op, w);
}

namespace {

/// Was there a reason to write `first` once more, as `second`: a write that was there, and newer?
bool beaten_between(const key_model& k, const write_record& first, const write_record& second) {
  return std::any_of(k.writes.begin(), k.writes.end(), [&](const write_record& w) {
    return w.at <= second.at && first.is_older(w) && w.time < second.time && w.id != second.id;
  });
}

} // namespace

void model::assign(const evidence& e, key_model& k, findings& out) {
  auto rule = e.bucket(k.bucket).conflict;
  std::map<size_t, size_t> written; // Operation -> its write, the second of two.
  std::map<size_t, int> times;      // How often it was written again.
  for (size_t i = 0; i < k.writes.size(); ++i) {
    auto& w = k.writes[i];
    if (w.remove)
      continue;
    auto op = e.operations.writer_of(w.value);
    if (op == history::none || e.operations[op].request.key != k.key || e.operations[op].request.bucket != k.bucket) {
      out.push_back({"nothing invented", fmt::format("{}: no client wrote {}", name_of(k, e), name_of(w, e)), w.at});
      continue;
    }
    w.operation = op;
    auto [earlier, first] = written.emplace(op, i);
    if (!first && (times[op]++ > 0 || rule != conflict_rule::lww || !beaten_between(k, k.writes[earlier->second], w)))
      out.push_back({"one write per request",
                     fmt::format("{} became two writes: {} and {}", describe(e.operations[op], e.cluster),
                                 name_of(k.writes[earlier->second], e), name_of(w, e)),
                     w.at});
    earlier->second = i;
    auto wrong = difference(e.operations[op], w, rule);
    if (!wrong.empty())
      out.push_back({"writes are what was asked for",
                     fmt::format("{} became {}: {}", describe(e.operations[op], e.cluster), name_of(w, e), wrong),
                     w.at});
  }
  for (auto i : k.confirmed) {
    const auto& op = e.operations[i];
    if (op.request.what == kind::remove) {
      assign_remove(e, k, i);
    } else if (auto w = written.find(i); w != written.end()) {
      k.acknowledged.push_back({i, w->second, w->second});
    } else {
      out.push_back({"no acknowledged write lost",
                     fmt::format("{}, but no node ever wrote it", describe(op, e.cluster)), op.completed});
    }
  }
}

/// Removes have no value that names them: any that was written meanwhile, and replaces the right things, may be the
/// one. The weakest of them is taken, which asks least of later reads.
void model::assign_remove(const evidence& e, key_model& k, size_t operation) {
  const auto& op = e.operations[operation];
  auto best = history::none, newest = history::none;
  for (size_t i = 0; i < k.writes.size(); ++i) {
    const auto& w = k.writes[i];
    if (!may_be_of(e, k, op, w))
      continue;
    if (best == history::none || w.is_older(k.writes[best]))
      best = i;
    if (newest == history::none || k.writes[newest].is_older(w))
      newest = i;
  }
  if (best != history::none)
    k.acknowledged.push_back({operation, best, newest});
}

expiry_clock::expiry_clock(const evidence& e, const operation& op)
    : faults_(e.faults), until_(op.completed), earliest_(std::min(op.wall_invoked, op.wall_completed)),
      latest_(std::max(op.wall_invoked, op.wall_completed)), latest_anywhere_(e.faults.highest_wall_ms({}, until_)) {
  if (e.faults.clock_changed(op.node, op.invoked, op.completed)) {
    earliest_ = 0;
    latest_ = UINT64_MAX;
  }
}

bool expiry_clock::may_be_gone(const write_record& w) const {
  if (w.expires_at == 0 || w.expires_at > std::max(latest_, latest_anywhere_))
    return false;
  // What a clock showed long before the value was written takes nothing from it. Nodes tell each other what has
  // expired; that may be minutes on its way.
  constexpr std::chrono::minutes on_its_way{4};
  return w.expires_at <= latest_ || w.expires_at <= faults_.highest_wall_ms(w.at - on_its_way, until_);
}

// -- Owners -----------------------------------------------------------------------------------------------------------

namespace {

/// A node may be so long behind with an epoch, and write by the one before.
constexpr std::chrono::minutes behind_max{2};

/// The ownerships by which somebody may have acted then.
std::vector<world::ownership> known_between(const key_model& k, sim_time from, sim_time to) {
  std::vector<world::ownership> result;
  for (auto x = k.ownerships.begin(); x != k.ownerships.end() && x->since <= to; ++x) {
    auto next = std::next(x);
    if (next == k.ownerships.end() || next->since > from - behind_max)
      result.push_back(*x);
  }
  return result;
}

} // namespace

bool key_model::changed_owners(sim_time from, sim_time to) const {
  return std::any_of(ownerships.begin(), ownerships.end(), [&](const auto& x) {
    return x.since > sim_time{} && x.since > from - behind_max && x.since <= to;
  });
}

std::optional<protocol::quorums> key_model::numbers(const config::bucket_config& b, sim_time from, sim_time to) const {
  if (ownerships.empty())
    return protocol::quorums{static_cast<uint32_t>(owners.size()), b.r, b.w};
  auto known = known_between(*this, from, to);
  auto other = [&](const auto& x) { return x.numbers != known.front().numbers; };
  if (known.empty() || std::any_of(known.begin(), known.end(), other))
    return std::nullopt;
  return known.front().numbers;
}

bool key_model::was_changing(sim_time from, sim_time to) const {
  auto known = known_between(*this, from, to);
  return std::any_of(known.begin(), known.end(), [](const auto& x) { return !x.others.empty(); });
}

bool key_model::was_held_by(size_t node, sim_time from, sim_time to) const {
  auto in = [node](const std::vector<size_t>& nodes) {
    return std::find(nodes.begin(), nodes.end(), node) != nodes.end();
  };
  if (ownerships.empty())
    return in(owners);
  auto known = known_between(*this, from, to);
  return std::any_of(known.begin(), known.end(), [&](const auto& x) { return in(x.owners) || in(x.others); });
}

bool carried_over(const evidence& e, const key_model& k, const operation& earlier, const operation& later,
                  uint32_t left_by_earlier, uint32_t asked_by_later) {
  if (later.must_succeed || !k.changed_owners(earlier.invoked, later.completed))
    return true;
  auto b = k.numbers(e.bucket(k.bucket), earlier.invoked, later.completed);
  if (!b)
    return false;
  // What W owners had before it began, each new owner has. Later, somebody may still read fewer than R from those
  // before, whom nobody writes to any more.
  auto all_have_it = !k.changed_owners(earlier.invoked, earlier.completed);
  return left_by_earlier >= b->w && (all_have_it || asked_by_later >= (later.is_read() ? b->r : b->w)) &&
         may_have_lost(e, k, earlier, later.completed).tails == 0;
}

// -- What faults excuse -----------------------------------------------------------------------------------------------

losses may_have_lost(const evidence& e, const key_model& k, const operation& write, sim_time until) {
  using std::chrono::milliseconds;
  const auto& bucket = e.bucket(k.bucket);
  std::set<size_t> disks, tails;
  for (const auto& loss : e.faults.losses) {
    auto owner = k.was_held_by(loss.node, write.invoked, until);
    if (loss.at < write.invoked || loss.at > until || (!owner && !bucket.sloppy))
      continue;
    if (loss.whole_disk) {
      disks.insert(loss.node);
      continue;
    }
    if (bucket.durability == durability::fsync && !write.is_read()) // Reads come before the fsync.
      continue;
    // What was written before the acknowledgement is on disk an interval later; a stopped process and a slow disk
    // take longer.
    auto safe = write.completed + e.cluster.durability_interval + milliseconds{500};
    safe += e.faults.paused(loss.node, write.invoked, loss.at);
    for (const auto& slow : e.faults.slow_disks)
      if (slow.node == loss.node && slow.from <= safe && slow.to >= write.invoked)
        safe = std::max(safe, std::min(slow.to, loss.at) + std::chrono::seconds{5});
    if (loss.tail_from <= safe)
      tails.insert(loss.node);
  }
  losses result;
  for (auto node : disks)
    tails.erase(node);
  result.disks = disks.size();
  result.tails = tails.size();
  return result;
}

uint32_t losses::left_of(uint32_t written, uint32_t w) const {
  // Who comes back with an empty disk learns from so many others, before it is read, that it meets one of those who
  // are left.
  if (tails == 0 && written > disks && written >= w)
    return written;
  return written - static_cast<uint32_t>(std::min<size_t>(written, all()));
}

bool must_see(const evidence& e, const key_model& k, const operation& write, const operation& read) {
  if (write.completed >= read.invoked)
    return false;
  const auto& bucket = e.bucket(k.bucket);
  auto in_the_end = read.must_succeed;
  auto counts = !bucket.sloppy || in_the_end; // Whoever acknowledged and answered, not owners alone.
  auto numbers = k.numbers(bucket, write.invoked, read.completed);
  if (!numbers) { // By the numbers of whatever time: each read meets each write, as long as nothing else is asked for.
    auto by_default = write.request.write.level == protocol::quorum_level::kind::bucket_default &&
                      read.request.read.level == protocol::quorum_level::kind::bucket_default;
    return counts && by_default && may_have_lost(e, k, write, read.completed).all() == 0;
  }
  auto n = numbers->n;
  auto written = write.request.write_owners.resolve(n, 0).value_or(0);
  auto asked = read.request.read_owners.resolve(n, 0).value_or(0);
  if (counts) {
    written = std::max(written, write.request.write.resolve(n, std::min(numbers->w, n)).value_or(0));
    asked = std::max(asked, read.request.read.resolve(n, std::min(numbers->r, n)).value_or(0));
  }
  return may_have_lost(e, k, write, read.completed).left_of(written, numbers->w) + asked > n &&
         carried_over(e, k, write, read, written, asked);
}

} // namespace crema::simulation
