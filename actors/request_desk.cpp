#include "actors/request_desk.hpp"

#include "actors/exchange_log.hpp"
#include "protocol/planted.hpp"
#include "protocol/slot.hpp"
#include "protocol/topology_progress.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace crema {

using protocol::bug;
using protocol::get_quorum;
using protocol::monotonic;
using protocol::planted;
using protocol::put_quorum;

namespace {

constexpr size_t read_bytes_first = size_t{1} << 20; // Before anything is known of a bucket: few at a time.
constexpr size_t op_overhead = 64;                   // Bytes an operation costs beside its key and value, roughly.

/// What a request asks nodes for; one after the other.
enum class stage : uint8_t { reading, writing, writing_at_any_time, writing_again, writing_again_at_any_time };

// A request may ask a node in several stages under one id: what replicas see tells them apart, so that a late answer to
// the read, say, is not taken for one to the write.
// Likewise answers from before its owners have changed.
uint64_t wire_id(uint64_t id, uint64_t rebased, stage at) {
  return id << 8 | (rebased & 31) << 3 | static_cast<uint64_t>(at);
}
uint64_t request_of(uint64_t wire_id) { return wire_id >> 8; }

size_t cost_of(const replica_op& op) { return op_overhead + op.key.size() + op.data.size() + op.context.size(); }

explanation::fields place_of(const protocol::bucket& bucket, const std::string& key, partition_id partition) {
  return {{"bucket", bucket.name},
          {"slot", std::to_string(protocol::slot_of(key))},
          {"partition", std::to_string(partition)},
          {"copies", std::to_string(bucket.n)},
          {"quorum", bucket.sloppy ? "sloppy" : "strict"}};
}

} // namespace

struct request_desk::pending {
  std::shared_ptr<reply_sink> sink;
  client_request request;
  const protocol::bucket* bucket = nullptr; // Of the newest ring.
  partition_id partition = 0;
  uint64_t epoch = 0;       // Of the ring that it goes by,
  uint64_t asked_epoch = 0; // and of that by which a dot was asked for.
  size_t owners = 0;
  size_t holders = 0;         // Owners, and those that are to be or were, if they are written to as well.
  std::vector<node_id> nodes; // The owners, nearest first, the other holders, then the fallbacks that were taken.
  uint64_t rebased = 0;       // So often answers so far became void.
  std::optional<node_id> refused_as_stale; // Who was asked for a dot.
  size_t fallbacks_seen = 0;               // How far next_fallback() is in the preference list.
  bool used_fallbacks = false;
  bool foreground = false; // The reply waits for repairs.
  bool hedged = false;
  std::unique_ptr<exchange_log> log; // If the client wants to know.
  uint32_t repairs = 0;
  std::optional<get_quorum> get;
  std::optional<put_quorum> put;
  protocol::monotonic began{};
  bool started = false; // It has its turn.
  size_t weight = 0;    // What it counts for in waiting_bytes_, or, once started, in active_bytes_.
  stage at = stage::reading;
  bool write_next = false;     // The read of read_first is done.
  bool answered = false;       // The client has its reply.
  uint32_t outstanding = 0;    // Bit i: nodes[i] owes an answer.
  std::vector<size_t> costs;   // What is charged to nodes[i] for that.
  protocol::dot_clock context; // What the write replaces; later, what the client is told it has seen.
  bool has_context = false;
  bool existed = false;
  dot given;
  timestamp time = 0;
  std::string delta;
  std::string refusal;     // What a node said when it refused.
  uint32_t incomplete = 0; // Bit i: nodes[i] said that it is.

  size_t bytes() const { return op_overhead + request.key.size() + request.value.size(); }
  bool writing() const { return at != stage::reading; } // put is the machine that runs.
  bool reads_first() const { return request.what == client_request::kind::get || request.read_first; }
};

struct request_desk::put_effects final : protocol::put_outbox {
  put_effects(request_desk& d, uint64_t i, pending& x) : desk(d), id(i), p(x) {}

  void send_put(node_id to, timestamp after, bool any_time) override {
    p.asked_epoch = p.epoch;
    if (after == 0)
      p.at = any_time ? stage::writing_at_any_time : stage::writing;
    else
      desk.write_again(p, any_time);
    replica_op op;
    op.time = after;
    op.what = replica_op::kind::put;
    op.any_time = any_time;
    op.remove = p.request.what == client_request::kind::remove;
    op.has_context = p.has_context && !planted(bug::context_dropped);
    if (p.has_context)
      op.context = p.context.encode();
    op.key = p.request.key;
    op.data = p.request.value; // Another giver may be asked for the same.
    op.ttl_ms = p.request.ttl_ms;
    if (planted(bug::remove_repeated) && op.remove)
      desk.send(id, p, to, op);
    desk.send(id, p, to, std::move(op));
  }
  void send_delta(node_id to) override {
    replica_op op;
    op.what = replica_op::kind::apply;
    op.any_time = p.at == stage::writing_at_any_time || p.at == stage::writing_again_at_any_time;
    op.key = p.request.key;
    op.data = p.delta;
    op.dot_replica = p.given.replica;
    op.dot_counter = p.given.counter;
    op.time = p.time;
    desk.send(id, p, to, std::move(op));
  }
  std::optional<node_id> next_fallback() override { return desk.next_fallback(p); }
  void reply_written() override { desk.finish_put(p); }
  void reply_failed(errc why, const protocol::shortfall& missing) override { desk.fail(p, why, missing, true); }

  request_desk& desk;
  uint64_t id;
  pending& p;
};

struct request_desk::get_effects final : protocol::get_outbox {
  get_effects(request_desk& d, uint64_t i, pending& x) : desk(d), id(i), p(x) {}

  void ask(node_id to, replica_op::kind what) {
    replica_op op;
    op.what = what;
    op.key = p.request.key;
    desk.send(id, p, to, std::move(op));
  }
  void send_get(node_id to) override { ask(to, replica_op::kind::get); }
  void send_digest(node_id to) override { ask(to, replica_op::kind::digest); }
  std::optional<node_id> next_fallback() override { return desk.next_fallback(p); }
  void reply_object(const std::string& object) override { desk.finish_get(p, object); }
  void reply_failed(errc why, const protocol::shortfall& missing) override { desk.fail(p, why, missing, false); }
  void repair(node_id stale, node_id source) override {
    ++desk.repairs_;
    ++p.repairs;
    if (p.log)
      p.log->repairing(desk.env_->name_of(stale), desk.env_->name_of(source), desk.now_);
    auto waits = p.foreground && !p.answered;
    desk.port_.repair({{p.bucket->id, p.partition}, p.request.key, stale, source, waits ? id : 0});
  }

  request_desk& desk;
  uint64_t id;
  pending& p;
};

request_desk::request_desk(env_ptr env, desk_port& port) : env_(std::move(env)), port_(port) {
  on_ring(env_->first_ring);
  peer_of(env_->self).usable = true;
  peer_of(env_->self).why = {};
}

request_desk::~request_desk() = default;

request_desk::peer& request_desk::peer_of(node_id id) {
  if (to_index(id) >= peers_.size())
    peers_.resize(to_index(id) + size_t{1});
  return peers_[to_index(id)];
}

void request_desk::on_ring(protocol::ring_ptr ring) {
  ring_ = std::move(ring);
  preference_lists_.clear();
  for (const auto& m : ring_->members)
    peer_of(m.id);
  peer_of(env_->self).epoch = ring_->epoch;
  std::vector<uint64_t> changed, dropped;
  for (auto& [id, p] : pending_) {
    p->bucket = ring_->find_bucket(p->request.bucket);
    if (p->bucket == nullptr)
      dropped.push_back(id);
    else if (p->started && !p->answered && ring_->since_of(p->partition) > p->epoch)
      changed.push_back(id);
  }
  std::sort(changed.begin(), changed.end()); // The same order whatever the hash table's.
  std::sort(dropped.begin(), dropped.end());
  for (auto id : dropped)
    end(id, pending_.at(id)->put ? errc::unknown_outcome : errc::not_owner, "the bucket was dropped meanwhile");
  for (auto id : changed)
    if (auto found = pending_.find(id); found != pending_.end())
      rebase(id, *found->second);
}

void request_desk::on_drain(node_id node, bool drained) { peer_of(node).drained = drained; }

/// The request cannot go on.
void request_desk::end(uint64_t id, errc why, std::string text) {
  auto& p = *pending_.at(id);
  if (!p.answered) {
    leave(p);
    refuse(p.sink, p.request, why, std::move(text));
  }
  release(p);
  pending_.erase(id);
}

void request_desk::on_epoch(node_id node, uint64_t epoch) {
  auto& known = peer_of(node).epoch;
  known = std::max(known, epoch);
}

void request_desk::place(pending& p) const {
  p.epoch = ring_->epoch;
  p.nodes = ring_->owners_of(p.partition, p.bucket->n);
  p.owners = p.holders = p.nodes.size();
  auto mine = std::find(p.nodes.begin(), p.nodes.end(), env_->self);
  if (mine != p.nodes.end())
    std::rotate(p.nodes.begin(), mine, mine + 1);
  // Who is about to stop is not counted on while there are others.
  std::stable_partition(p.nodes.begin(), p.nodes.end(),
                        [this](node_id node) { return !peers_[to_index(node)].drained; });
  p.costs.assign(p.owners, 0);
}

/// Goes on under a newer ring: a read begins anew, a write that has its dot is sent to all once more.
void request_desk::rebase(uint64_t id, pending& p) {
  ++rebased_;
  reset_nodes(p);
  place(p);
  if (!p.writing()) {
    ++p.rebased;
    start_get(id, p, now_);
    return settle(id);
  }
  if (!p.put)
    return; // The write that follows a read is about to begin.
  p.rebased += p.put->has_dot() ? 1 : 0;
  put_effects out{*this, id, p};
  auto owners = write_set_of(p, p.nodes, p.bucket->w);
  p.put->rebase(owners, others_of(p), out);
  if (auto giver = std::exchange(p.refused_as_stale, std::nullopt))
    p.put->refused(*giver, errc::stale_epoch, out);
  settle(id);
}

/// A replica knows a newer ring than the one by which it was asked.
void request_desk::on_stale(uint64_t id, pending& p, node_id from) {
  if (p.writing() && !p.put->has_dot()) {
    if (p.asked_epoch < p.epoch) { // It was asked before the change.
      put_effects out{*this, id, p};
      return p.put->refused(from, errc::stale_epoch, out);
    }
    p.refused_as_stale = from;
  }
  port_.want_ring(); // Its deadline is all that it waits for beside.
}

bool request_desk::may_be_read_from_former(const pending& p) const {
  return protocol::may_be_read_from_former(*ring_, p.partition, *p.bucket,
                                           [this](node_id node) { return peers_[to_index(node)].epoch; });
}

/// Of whom a write needs a quorum beside that of the owners; they become nodes of the request.
protocol::write_set request_desk::others_of(pending& p) {
  auto nodes = ring_->also_written(p.partition, *p.bucket);
  if (nodes.empty() || (!ring_->joint() && !may_be_read_from_former(p)))
    return {};
  if (planted(ring_->joint() ? bug::joint_old_only : bug::former_forgotten))
    return {};
  for (auto node : nodes)
    if (std::find(p.nodes.begin(), p.nodes.end(), node) == p.nodes.end())
      p.nodes.push_back(node);
  p.holders = p.nodes.size();
  p.costs.resize(p.holders);
  return write_set_of(p, std::move(nodes), p.bucket->beside().w);
}

/// What a write needs of these nodes. A number that the client gave may be of more owners than there are by now.
protocol::write_set request_desk::write_set_of(const pending& p, std::vector<node_id> nodes, uint32_t w) const {
  auto n = static_cast<uint32_t>(nodes.size());
  protocol::write_set result;
  result.reachable = reachable(nodes);
  result.nodes = std::move(nodes);
  result.required_owners = p.request.write_owners.resolve(n, 0).value_or(n);
  result.required = std::max(p.request.write.resolve(n, std::min(w, n)).value_or(n), result.required_owners);
  return result;
}

void request_desk::on_node(node_id node, bool usable, std::string why) {
  auto& x = peer_of(node);
  auto was = x.usable;
  x.usable = usable;
  x.drained = x.drained && usable; // Its next process is another one.
  x.why = std::move(why);
  if (usable || !was)
    return;
  std::vector<uint64_t> waiting; // For its answer, or to ask it.
  for (auto& [id, p] : pending_)
    if ((p->get || p->put) && std::find(p->nodes.begin(), p->nodes.end(), node) != p->nodes.end())
      waiting.push_back(id);
  std::sort(waiting.begin(), waiting.end()); // The same order whatever the hash table's.
  for (auto id : waiting) {
    auto found = pending_.find(id);
    if (found == pending_.end())
      continue;
    auto& p = *found->second;
    answered(p, node);
    if (p.log)
      p.log->lost(env_->name_of(node), now_);
    if (p.writing()) {
      put_effects out{*this, id, p};
      p.put->lost(node, out);
    } else {
      get_effects out{*this, id, p};
      p.get->failed(node, errc::no_quorum, out);
    }
    settle(id);
  }
}

void request_desk::refuse(const std::shared_ptr<reply_sink>& sink, const client_request& request, errc why,
                          std::string text, std::shared_ptr<const explanation> explained) {
  ++failures_;
  client_reply r;
  r.explained = std::move(explained);
  r.id = request.id;
  r.status = why;
  r.error = std::move(text);
  port_.reply(sink, std::move(r));
}

void request_desk::on_request(const std::shared_ptr<reply_sink>& sink, client_request request, monotonic now) {
  now_ = now;
  const auto* bucket = ring_->find_bucket(request.bucket);
  if (bucket == nullptr) // It was dropped, or has only just been created.
    return refuse(sink, request, errc::not_owner, fmt::format("{} knows no such bucket", env_->name));
  if (request.what == client_request::kind::explain)
    return explain_place(sink, request, *bucket);
  if (pending_.size() >= requests_max)
    return refuse(sink, request, errc::busy,
                  fmt::format("{} requests are in flight on {}", pending_.size(), env_->name));
  auto p = std::make_unique<pending>();
  p->sink = sink;
  p->request = std::move(request);
  p->bucket = bucket;
  p->began = now;
  p->partition = protocol::partition_of(p->request.key, ring_->partitions());
  place(*p);
  if (p->request.context) {
    p->context = std::move(*p->request.context);
    p->has_context = true;
  }
  if (p->request.explain)
    p->log = std::make_unique<exchange_log>(now);
  auto id = next_id_++;
  auto& ref = *p;
  ref.weight = ref.bytes();
  auto what = ref.request.what;
  ++(what == client_request::kind::get ? gets_ : what == client_request::kind::put ? puts_ : removes_);
  auto wait = !waiting_.empty() || (active_bytes_ > 0 && active_bytes_ + weight_of(ref) > active_bytes_max);
  if (wait && waiting_bytes_ + ref.weight > waiting_bytes_max)
    return refuse(sink, ref.request, errc::busy,
                  fmt::format("requests of {} MiB wait for their turn on {}", waiting_bytes_ >> 20, env_->name));
  if (ref.reads_first())
    read_deadlines_.push_back({now + env_->config.read_timeout, id});
  else
    write_deadlines_.push_back({now + env_->config.write_timeout, id});
  pending_.emplace(id, std::move(p));
  if (wait) {
    waiting_bytes_ += ref.weight;
    waiting_.push_back(id);
    return;
  }
  start(id, ref, now);
}

size_t request_desk::weight_of(const pending& p) const {
  if (!p.reads_first())
    return p.bytes();
  auto expected = read_bytes_expected_.find(p.bucket->id);
  return p.bytes() + (expected == read_bytes_expected_.end() ? read_bytes_first : expected->second);
}

void request_desk::start(uint64_t id, pending& p, monotonic now) {
  p.started = true;
  if (ring_->epoch > p.epoch)
    place(p);
  p.weight = weight_of(p); // By what is known now.
  active_bytes_ += p.weight;
  if (p.reads_first())
    start_get(id, p, now);
  else
    start_put(id, p, now);
  settle(id);
}

void request_desk::start_waiting(monotonic now) {
  while (!waiting_.empty()) {
    auto id = waiting_.front();
    auto found = pending_.find(id);
    if (found == pending_.end()) { // Its deadline has passed.
      waiting_.pop_front();
      continue;
    }
    auto& p = *found->second;
    if (active_bytes_ > 0 && active_bytes_ + weight_of(p) > active_bytes_max)
      return;
    waiting_.pop_front();
    waiting_bytes_ -= p.weight;
    start(id, p, now);
  }
}

void request_desk::leave(pending& p) {
  load_.took.add(std::chrono::duration_cast<std::chrono::microseconds>(now_ - p.began));
  p.answered = true;
  (p.started ? active_bytes_ : waiting_bytes_) -= p.weight;
  p.weight = 0;
}

bool request_desk::reachable(node_id id) const {
  const auto& x = peers_[to_index(id)];
  return x.usable && !x.overloaded();
}

std::vector<bool> request_desk::reachable(const std::vector<node_id>& nodes) const {
  std::vector<bool> result(nodes.size());
  for (size_t i = 0; i < nodes.size(); ++i)
    result[i] = reachable(nodes[i]);
  return result;
}

const std::vector<node_id>& request_desk::preference_list(partition_id partition, protocol::copies n) {
  auto [found, fresh] = preference_lists_.try_emplace({n.now, n.beside, partition});
  if (fresh) {
    found->second = ring_->preference_list(partition, n);
    if (found->second.size() > nodes_max) // More are never asked.
      found->second.resize(nodes_max);
  }
  return found->second;
}

std::optional<node_id> request_desk::next_fallback(pending& p) {
  if (!p.bucket->sloppy)
    return std::nullopt;
  const auto& list = preference_list(p.partition, *p.bucket);
  for (auto i = std::max(p.fallbacks_seen, p.owners); i < list.size(); ++i) {
    if (!reachable(list[i]) || std::find(p.nodes.begin(), p.nodes.end(), list[i]) != p.nodes.end())
      continue;
    p.fallbacks_seen = i + 1;
    p.nodes.push_back(list[i]);
    p.costs.push_back(0);
    return list[i];
  }
  return std::nullopt;
}

void request_desk::reset_nodes(pending& p) {
  release(p);
  p.holders = p.owners;
  p.nodes.resize(p.owners);
  p.costs.resize(p.owners);
  p.fallbacks_seen = 0;
  p.incomplete = 0;
  p.refusal.clear();
}

/// The same value once more, under a dot of its own; answers to the first round are of no interest any more.
void request_desk::write_again(pending& p, bool any_time) {
  if (p.at < stage::writing_again) {
    ++second_rounds_;
    release(p);
    if (auto written = protocol::decode_lww(p.delta))
      p.request.value = written->value;
  }
  p.at = any_time ? stage::writing_again_at_any_time : stage::writing_again;
}

void request_desk::start_get(uint64_t id, pending& p, monotonic now) {
  auto n = static_cast<uint32_t>(p.owners);
  auto required = p.request.read.resolve(n, std::min(p.bucket->r, n));
  auto of_owners = p.request.read_owners.resolve(n, 0);
  if ((!required || !of_owners) && !p.get) { // Else N has become smaller meanwhile, and all are asked.
    leave(p);
    return refuse(p.sink, p.request, errc::no_quorum, fmt::format("R or PR is more than N {}", n));
  }
  of_owners = of_owners.value_or(n);
  required = std::max(required.value_or(n), *of_owners);
  auto repair = p.request.repair.value_or(p.bucket->read_repair);
  p.foreground = repair == protocol::read_repair::foreground;
  p.get.emplace(p.bucket->conflict, p.nodes, reachable(p.nodes), *required, *of_owners, gets_ % ask_all_every == 0,
                repair);
  if (n > *required)
    hedges_.push_back({now + env_->config.read_timeout / 4, id});
  get_effects out{*this, id, p};
  p.get->start(out);
}

void request_desk::start_put(uint64_t id, pending& p, monotonic now) {
  auto n = static_cast<uint32_t>(p.owners);
  if (!p.request.write.resolve(n, 1) || !p.request.write_owners.resolve(n, 0)) {
    leave(p);
    return refuse(p.sink, p.request, errc::no_quorum, fmt::format("W or PW is more than N {}", n));
  }
  reset_nodes(p); // Late answers of the read that went before are not waited for.
  p.get.reset();
  p.at = stage::writing;
  auto owners = write_set_of(p, p.nodes, p.bucket->w);
  p.put.emplace(owners, others_of(p));
  if (p.request.read_first) // Its deadline so far was that of the read.
    write_deadlines_.push_back({now + env_->config.write_timeout, id});
  put_effects out{*this, id, p};
  p.put->start(out);
}

void request_desk::send(uint64_t id, pending& p, node_id to, replica_op op) {
  op.request = wire_id(id, p.rebased, p.at);
  op.bucket = p.bucket->id;
  op.partition = p.partition;
  auto at = static_cast<size_t>(std::find(p.nodes.begin(), p.nodes.end(), to) - p.nodes.begin());
  // Who was an owner keeps what it had in a temporary vnode.
  op.fallback = at >= (ring_->joint() ? p.holders : p.owners);
  if (at >= p.holders && !p.used_fallbacks) {
    p.used_fallbacks = true;
    ++fallback_requests_;
  }
  auto& x = peer_of(to);
  auto cost = cost_of(op);
  x.requests += (p.outstanding >> at & 1) == 0 ? 1 : 0; // It may owe an answer already.
  p.outstanding |= 1U << at;
  p.costs[at] += cost;
  x.bytes += cost;
  if (p.log)
    p.log->asked(env_->name_of(to), op, p.at >= stage::writing_again, now_);
  port_.send(to, std::move(op));
}

void request_desk::answered(pending& p, node_id from) {
  for (size_t i = 0; i < p.nodes.size(); ++i) {
    if (p.nodes[i] != from || (p.outstanding >> i & 1) == 0)
      continue;
    auto& x = peer_of(from);
    x.bytes -= p.costs[i];
    --x.requests;
    p.costs[i] = 0;
    p.outstanding &= ~(1U << i);
  }
}

void request_desk::release(pending& p) {
  for (auto node : p.nodes)
    answered(p, node);
}

void request_desk::on_answer(node_id from, replica_answer a, monotonic now) {
  now_ = now;
  auto id = request_of(a.request);
  auto found = pending_.find(id);
  if (found == pending_.end() || a.request != wire_id(id, found->second->rebased, found->second->at)) {
    ++stray_answers_; // It came after the deadline, or twice, or belongs to an earlier stage.
    return;
  }
  auto& p = *found->second;
  using kind = replica_answer::kind;
  // A giver that is not durable yet owes another answer.
  if (!(a.what == kind::given && !a.durable))
    answered(p, from);
  if (p.log)
    p.log->answered(env_->name_of(from), a, now);
  if (a.what == kind::refused && a.status == errc::incomplete)
    incomplete_.emplace(vnode_id{p.bucket->id, p.partition}, from);
  else if (!incomplete_.empty() && a.what != kind::refused && a.what != kind::written) // Those keep writes aside.
    incomplete_.erase({vnode_id{p.bucket->id, p.partition}, from});
  if (a.what == kind::refused) {
    auto at = std::find(p.nodes.begin(), p.nodes.end(), from) - p.nodes.begin();
    if (a.status == errc::incomplete && at < static_cast<ptrdiff_t>(p.nodes.size()))
      p.incomplete |= 1U << at;
    else
      p.refusal = std::move(a.data);
  }
  if (a.what == kind::refused && a.status == errc::stale_epoch && !p.answered) {
    on_stale(id, p, from);
  } else if (p.writing()) {
    put_effects out{*this, id, p};
    if (a.what == kind::given) {
      p.given = {a.dot_replica, a.dot_counter};
      p.time = a.time;
      p.delta = std::move(a.data);
      p.request.value = {};                         // From here on the delta carries it.
      p.rebased += p.asked_epoch < p.epoch ? 1 : 0; // What the giver says beside belongs to the ring of before.
      p.put->dot_given(from, a.time, a.durable, out);
    } else if (a.what == kind::written) {
      p.put->acked(from, p.bucket->conflict == conflict_rule::lww ? a.time : 0, out);
    } else if (a.what == kind::refused) {
      if (a.status == errc::clock_skew)
        p.put->ahead(from, a.time, out);
      else
        p.put->refused(from, a.status, out);
    }
  } else {
    get_effects out{*this, id, p};
    if (a.what == kind::object) {
      p.get->object_received(from, std::move(a.data), a.digest, out);
    } else if (a.what == kind::digest) {
      p.get->digest_received(from, a.digest, out);
    } else if (a.what == kind::refused) {
      p.get->failed(from, a.status, out);
    }
  }
  settle(id);
  start_waiting(now);
}

void request_desk::on_repaired(const repair_done& ended, monotonic now) {
  now_ = now;
  auto found = pending_.find(ended.request);
  if (found == pending_.end() || !found->second->get || found->second->writing())
    return;
  auto& p = *found->second;
  if (!ended.done)
    p.refusal =
        fmt::format("{} could not be repaired from {}", env_->name_of(ended.stale), env_->name_of(ended.source));
  if (p.log)
    p.log->repaired(env_->name_of(ended.stale), env_->name_of(ended.source), ended.done, now);
  get_effects out{*this, ended.request, p};
  p.get->repaired(ended.stale, ended.source, ended.done, out);
  settle(ended.request);
  start_waiting(now);
}

void request_desk::on_time(monotonic now) {
  now_ = now;
  while (!hedges_.empty() && hedges_.front().at <= now) {
    auto id = hedges_.front().id;
    hedges_.pop_front();
    auto found = pending_.find(id);
    if (found == pending_.end() || !found->second->get || found->second->answered)
      continue; // Done, waiting for its turn, or writing.
    if (active_bytes_ > active_bytes_max / 2 || !waiting_.empty())
      continue; // Everything is slow: asking more of it helps nobody.
    ++hedged_;
    found->second->hedged = true;
    get_effects out{*this, id, *found->second};
    found->second->get->hedge(out);
    settle(id); // With one owner more to wait for, what has been answered may be enough.
  }
  for (auto* queue : {&read_deadlines_, &write_deadlines_}) {
    while (!queue->empty() && queue->front().at <= now) {
      auto id = queue->front().id;
      queue->pop_front();
      auto found = pending_.find(id);
      if (found == pending_.end())
        continue;
      // The read's deadline does not end the write that followed it.
      if (found->second->started && found->second->writing() != (queue == &write_deadlines_))
        continue;
      auto& p = *found->second;
      if (p.writing() && planted(bug::deadline_forgotten))
        continue;
      if (!p.started) {
        fail(p, errc::busy, {}, false);
      } else if (p.writing()) {
        put_effects out{*this, id, p};
        p.put->deadline_passed(out);
      } else {
        get_effects out{*this, id, p};
        p.get->deadline_passed(out);
      }
      release(p);
      pending_.erase(id);
    }
  }
  start_waiting(now);
}

void request_desk::settle(uint64_t id) {
  auto found = pending_.find(id);
  if (found == pending_.end())
    return;
  auto& p = *found->second;
  if (p.write_next) {
    p.write_next = false;
    start_put(id, p, now_);
  }
  auto done = p.writing() ? p.put && p.put->done() : !p.get || p.get->done();
  if (!p.answered || !done)
    return;
  release(p);
  pending_.erase(found);
}

void request_desk::finish_get(pending& p, const std::string& object) {
  auto& expected = read_bytes_expected_.emplace(p.bucket->id, read_bytes_first).first->second;
  expected = std::max(object.size(), expected - expected / 16);
  client_reply r;
  r.id = p.request.id;
  auto now_ms = planted(bug::expired_revived) ? 0 : env_->wall_ms();
  auto malformed = false;
  if (p.bucket->conflict == conflict_rule::lww) {
    if (!object.empty()) {
      auto x = protocol::decode_lww(object);
      malformed = !x;
      if (x && !x->tombstone && !protocol::expired(x->expires_at, now_ms))
        r.values.push_back({std::string{x->value}, x->expires_at, x->time});
    }
  } else if (!object.empty()) {
    auto x = protocol::decode_siblings(object);
    malformed = !x;
    if (x) {
      for (auto& s : x->siblings)
        if (!protocol::expired(s.expires_at, now_ms))
          r.values.push_back({std::move(s.value), s.expires_at, s.time});
      r.context = std::move(x->seen);
      std::sort(r.values.begin(), r.values.end(),
                [](const client_value& a, const client_value& b) { return a.time > b.time; });
    }
  }
  if (malformed) {
    p.refusal = "a replica returned a malformed object";
    return fail(p, errc::storage_failure, {p.get->required(), p.get->answered(), false, false}, false);
  }
  if (p.request.what == client_request::kind::get) {
    leave(p);
    r.explained = explain(p);
    return port_.reply(p.sink, std::move(r));
  }
  // read_first: now the write, which replaces what was read.
  p.existed = !r.values.empty();
  if (p.bucket->conflict == conflict_rule::siblings && !p.has_context) {
    p.context = std::move(r.context);
    p.has_context = true;
  }
  // The get machine is on the stack above us: settle() starts the write when it has returned.
  p.write_next = true;
}

void request_desk::finish_put(pending& p) {
  client_reply r;
  r.id = p.request.id;
  r.existed = p.existed;
  if (p.bucket->conflict == conflict_rule::siblings) {
    r.context = std::move(p.context);
    r.context.add(p.given);
  }
  fallback_acks_ += p.put->fallback_acks();
  leave(p);
  r.explained = explain(p);
  port_.reply(p.sink, std::move(r));
}

/// "n2 down, n3 silent"
std::string request_desk::missing_nodes(const pending& p, std::vector<node_id> nodes) const {
  constexpr size_t named_max = 8;
  std::sort(nodes.begin(), nodes.end()); // By name: the same for every key.
  std::string text;
  size_t count = 0;
  for (auto id : nodes) {
    const auto& x = peers_[to_index(id)];
    auto at = static_cast<size_t>(std::find(p.nodes.begin(), p.nodes.end(), id) - p.nodes.begin());
    auto bit = [at](uint32_t bits) { return at < nodes_max && (bits >> at & 1) != 0; };
    const auto* why = !x.usable            ? "down"
                      : x.overloaded()     ? "overloaded"
                      : bit(p.incomplete)  ? "incomplete"
                      : bit(p.outstanding) ? "silent"
                                           : nullptr;
    if (why != nullptr && ++count <= named_max)
      text += fmt::format("{}{} {}", text.empty() ? "" : ", ", env_->name_of(id), why);
  }
  return count <= named_max ? text : text + fmt::format(" and {} more", count - named_max);
}

void request_desk::fail(pending& p, errc why, const protocol::shortfall& missing, bool write) {
  leave(p);
  // Who could have been asked for what is missing.
  std::vector<node_id> nodes{p.nodes.begin(), p.nodes.begin() + static_cast<ptrdiff_t>(p.owners)};
  if (missing.changing)
    nodes = ring_->also_written(p.partition, *p.bucket);
  if (p.bucket->sloppy && !missing.owners) {
    const auto& list = preference_list(p.partition, *p.bucket);
    for (auto node = list.begin() + static_cast<ptrdiff_t>(p.owners); node != list.end(); ++node)
      if (std::find(nodes.begin(), nodes.end(), *node) == nodes.end()) // A former owner.
        nodes.push_back(*node);
  }
  auto lacking = missing_nodes(p, nodes);
  auto detail = (lacking.empty() ? "" : ": " + lacking) + (p.refusal.empty() ? "" : "; " + p.refusal);
  auto needed = fmt::format("needed {}{}{}", missing.needed, missing.owners ? " owners" : "",
                            missing.changing ? " of those that the key moves between" : "");
  std::string text;
  switch (why) {
  case errc::no_quorum: {
    auto able = std::count_if(nodes.begin(), nodes.end(), [&](node_id id) {
      auto at = static_cast<size_t>(std::find(p.nodes.begin(), p.nodes.end(), id) - p.nodes.begin());
      return reachable(id) && (at >= nodes_max || (p.incomplete >> at & 1) == 0);
    });
    if (std::any_of(nodes.begin(), nodes.end(),
                    [this](node_id id) { return peers_[to_index(id)].usable && peers_[to_index(id)].overloaded(); }))
      why = errc::busy;
    text = fmt::format("{}, reachable {}{}", needed, able, detail);
    break;
  }
  case errc::timeout:
    text = fmt::format("{}, {} {} within {} ms{}{}", needed, write ? "acknowledged" : "answered", missing.had,
                       (write ? env_->config.write_timeout : env_->config.read_timeout).count(), detail,
                       write ? "; outcome unknown" : "");
    break;
  case errc::unknown_outcome:
    text = fmt::format("{}, acknowledged {}{}; outcome unknown", needed, missing.had, detail);
    break;
  case errc::busy:
    text = fmt::format("no turn on {} before the deadline; nothing was written", env_->name);
    break;
  default:
    text = p.refusal.empty() ? std::string{to_string(why)} : p.refusal;
  }
  refuse(p.sink, p.request, why, std::move(text), explain(p));
}

namespace {
constexpr const char* role_owner = "owner";
} // namespace

/// Owners, those that are to be or were, and who would stand in.
std::vector<explanation::fields> request_desk::explain_nodes(const protocol::bucket& bucket, partition_id partition) {
  std::vector<explanation::fields> rows;
  auto add = [&](node_id node, const char* role, const char* part) {
    const auto& x = peer_of(node);
    auto& row = rows.emplace_back(explanation::fields{{"node", env_->name_of(node)},
                                                      {"role", role},
                                                      {"state", !x.usable        ? "down"
                                                                : x.overloaded() ? "overloaded"
                                                                : x.drained      ? "drained"
                                                                                 : "up"},
                                                      {"why", node == env_->self ? "this node" : x.why}});
    if (part != nullptr)
      row.emplace_back("part", part);
    if (role == role_owner)
      row.emplace_back("complete",
                       incomplete_.count({vnode_id{bucket.id, partition}, node}) > 0 ? "no" : "as far as known");
  };
  auto owners = ring_->owners_of(partition, bucket.n), others = ring_->also_written(partition, bucket);
  auto is_in = [](const std::vector<node_id>& nodes, node_id node) {
    return std::find(nodes.begin(), nodes.end(), node) != nodes.end();
  };
  for (auto node : owners)
    add(node, role_owner,
        others.empty()                           ? nullptr
        : ring_->joint() && !is_in(others, node) ? "read and written, until those to be are complete"
                                                 : "read and written");
  for (auto node : others)
    if (!is_in(owners, node) && ring_->joint())
      add(node, "owner to be", "written, not read yet");
    else if (!is_in(owners, node))
      add(node, "former owner",
          protocol::may_be_read_from_former(*ring_, partition, bucket,
                                            [this](node_id x) { return peers_[to_index(x)].epoch; })
              ? "written, as somebody may still read from it"
              : "hands over what it has");
  for (auto node : preference_list(partition, bucket))
    if (!is_in(owners, node) && !is_in(others, node))
      add(node, "fallback", nullptr);
  return rows;
}

void request_desk::explain_place(const std::shared_ptr<reply_sink>& sink, const client_request& request,
                                 const protocol::bucket& bucket) {
  auto partition = protocol::partition_of(request.key, ring_->partitions());
  auto e = std::make_shared<explanation>();
  e->vnode = {bucket.id, partition};
  e->summary = place_of(bucket, request.key, partition);
  e->nodes = explain_nodes(bucket, partition);
  client_reply r;
  r.id = request.id;
  r.explained = std::move(e);
  port_.reply(sink, std::move(r));
}

std::shared_ptr<const explanation> request_desk::explain(const pending& p) {
  if (!p.log)
    return nullptr;
  auto yes_or_no = [](bool x) { return x ? "yes" : "no"; };
  auto e = std::make_shared<explanation>();
  e->vnode = {p.bucket->id, p.partition};
  e->summary = place_of(*p.bucket, p.request.key, p.partition);
  e->summary.emplace_back("replied_after_us", p.log->micros_since_begin(now_));
  if (p.put) {
    e->summary.emplace_back("acks", std::to_string(p.put->acks()));
    e->summary.emplace_back("acks_of_fallbacks", std::to_string(p.put->fallback_acks()));
    e->summary.emplace_back("second_round", yes_or_no(p.put->second_round()));
  }
  if (p.reads_first()) {
    e->summary.emplace_back("hedged", yes_or_no(p.hedged));
    e->summary.emplace_back("repairs", std::to_string(p.repairs));
  }
  e->nodes = explain_nodes(*p.bucket, p.partition);
  e->exchanges = p.log->rows();
  return e;
}

std::map<std::string, uint64_t> request_desk::counters() const {
  return {{"gets", gets_},
          {"puts", puts_},
          {"removes", removes_},
          {"failures", failures_},
          {"repairs", repairs_},
          {"hedged_reads", hedged_},
          {"in_flight", pending_.size()},
          {"waiting", waiting_.size()},
          {"stray_answers", stray_answers_},
          {"fallback_requests", fallback_requests_},
          {"fallback_acks", fallback_acks_},
          {"second_rounds", second_rounds_},
          {"rebased", rebased_}};
}

} // namespace crema
