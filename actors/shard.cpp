#include "actors/shard.hpp"

#include "protocol/planted.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace crema {

using protocol::bug;
using protocol::dot_clock;
using protocol::planted;

shard::shard(env_ptr env, std::shared_ptr<storage::store> store, replica_id self, size_t index, size_t count,
             const std::vector<std::pair<vnode_id, dot_clock>>& clocks, uint64_t directory)
    : env_(std::move(env)), store_(std::move(store)), self_(self), index_(index), count_(count), directory_(directory),
      ring_(env_->first_ring), objects_(store_, (size_t{env_->config.storage.object_cache_mb} << 20) / count_),
      batch_(objects_.batch()) {
  auto persisted = [this](const std::string& name) -> std::optional<timestamp> {
    auto stored = store_->get_meta(name).object;
    protocol::byte_reader in{stored ? std::string_view{*stored} : std::string_view{}};
    auto time = in.u64();
    return stored && in.finished() ? std::optional{time} : std::nullopt;
  };
  for (size_t i = 0; i < shards_max; ++i) { // However many there were.
    stored_time_ = std::max(stored_time_, persisted(fmt::format("stored-time/{}", i)).value_or(0));
    auto bound = persisted(fmt::format("time/{}", i));
    if (!bound)
      continue;
    // A wall clock that was set back while we were down must not give an older time than before.
    if (clock_.observe(*bound, to_micros(*bound)))
      time_bound_ = std::max(time_bound_, *bound);
    keeps_time_ = !env_->restored || ring_->members.size() == 1; // A backup does not know what was announced later.
  }
  times_ = protocol::applied_times{std::max(clock_.latest(), stored_time_)}; // Whatever is stored may be as new.
  load(clocks);
}

shard::held* shard::find(vnode_id id, std::string& why) {
  auto found = vnodes_.find(id);
  if (found != vnodes_.end())
    return &found->second;
  const auto* bucket = ring_->find_bucket(id.bucket);
  if (bucket == nullptr || id.partition >= ring_->partitions() || id.partition % count_ != index_) {
    why = fmt::format("{} has no bucket {} partition {} in this shard", env_->name, id.bucket, id.partition);
    return nullptr;
  }
  why = fmt::format("{} does not own bucket {} partition {}", env_->name, bucket->name, id.partition);
  return nullptr;
}

shard::held* shard::find(const replica_op& op, std::string& why) {
  auto* at = find(op.vnode(), why);
  if (at != nullptr && (at->role == protocol::vnode_role::temporary) != op.fallback) {
    why = fmt::format("{} {} bucket {} partition {}", env_->name, op.fallback ? "owns" : "does not own", op.bucket,
                      op.partition);
    return nullptr;
  }
  if (at != nullptr || !op.fallback || ring_->find_bucket(op.bucket) == nullptr ||
      op.partition >= ring_->partitions() || op.partition % count_ != index_)
    return at;
  why.clear();
  auto reads = op.what == replica_op::kind::get || op.what == replica_op::kind::digest;
  return reads ? nullptr : &stand_in(op.vnode());
}

/// A temporary vnode.
shard::held& shard::stand_in(vnode_id id) {
  auto record = new_record(id);
  record.role = protocol::vnode_role::temporary;
  record.state = protocol::vnode_state::complete;
  auto& at = hold(id, record, {});
  save_record(at);
  return at;
}

void shard::refuse(size_t source, const replica_op& op, errc why, std::string text, const answer_fn& answer) {
  ++refused_;
  replica_answer a;
  a.request = op.request;
  a.status = why;
  a.time = clock_.latest() + 1;
  a.data = std::move(text);
  answer(source, std::move(a));
}

void shard::handle(size_t source, replica_op op, const answer_fn& answer) {
  std::string why;
  auto* at = find(op, why);
  if (!why.empty())
    return refuse(source, op, errc::not_owner, std::move(why), answer);
  if (at == nullptr)
    return answer_nothing(source, op, answer);
  if (op.what == replica_op::kind::put && !keeps_time_)
    return refuse(source, op, errc::incomplete, fmt::format("{} has not heard its peers yet", env_->name), answer);
  // Until it is open it takes deltas, but cannot tell what is newest.
  if (at->state != protocol::vnode_state::complete && op.what != replica_op::kind::apply)
    return refuse(source, op, errc::incomplete, fmt::format("{} is being filled", env_->name), answer);
  switch (op.what) {
  case replica_op::kind::put:
    put(source, op, *at, answer);
    break;
  case replica_op::kind::apply:
    apply(source, op, *at, answer);
    break;
  case replica_op::kind::get:
  case replica_op::kind::digest:
    reads_.push_back({source, op.request, at, std::move(op.key), op.what == replica_op::kind::digest});
    break;
  default:
    return refuse(source, op, errc::unknown_version, "unknown operation", answer);
  }
  if (batch_.bytes() > batch_bytes_max) {
    auto written = write_batch(answer);
    if (!written.ok())
      failed_early_ = written.error;
  }
}

void shard::answer_nothing(size_t source, const replica_op& op, const answer_fn& answer) {
  protocol::vnode empty{op.vnode(), ring_->find_bucket(op.bucket)->conflict, self_, {}};
  replica_answer a;
  a.request = op.request;
  a.what = op.what == replica_op::kind::digest ? replica_answer::kind::digest : replica_answer::kind::object;
  if (op.what == replica_op::kind::get)
    a.data = empty.expanded({}).value_or("");
  ++reads_done_;
  answer(source, std::move(a));
}

void shard::put(size_t source, replica_op& op, held& at, const answer_fn& answer) {
  const auto* bucket = ring_->find_bucket(op.bucket);
  auto siblings = bucket->conflict == conflict_rule::siblings;
  auto wall = env_->wall_micros();
  if (!op.any_time && clock_.ahead(wall) && !planted(bug::gives_ahead))
    return refuse(source, op, errc::clock_skew,
                  fmt::format("{} has given or seen times {} s ahead of its clock: set the clocks of all hosts (NTP)",
                              env_->name, (to_micros(clock_.latest()) - wall) / 1'000'000),
                  answer);
  dot_clock context;
  if (op.has_context) {
    auto decoded = dot_clock::decode(op.context);
    if (!decoded)
      return refuse(source, op, errc::invalid_context, "the context does not decode", answer);
    context = std::move(*decoded);
  } else if (siblings && !op.remove) {
    // A put that replaces nothing adds a sibling: the one case in which a write looks before it leaps.
    auto written = write_batch(answer);
    if (!written.ok())
      failed_early_ = written.error;
    auto stored = objects_.get(at.node.id(), op.key);
    auto count = stored.object ? at.node.sibling_count(*stored.object) : 0;
    if (count >= siblings_max)
      return refuse(source, op, errc::too_many_siblings,
                    fmt::format("the key has {} siblings; read it (KV.GET) and write with the CONTEXT you get", count),
                    answer);
    if (stored.object && stored.object->size() + op.data.size() > object_bytes_max)
      return refuse(
          source, op, errc::too_big,
          fmt::format("the {} siblings of the key hold {} MiB; read it (KV.GET) and write with the CONTEXT you get",
                      count, stored.object->size() >> 20),
          answer);
    if (count == siblings_warn) // Once on the way up.
      env_->log->warn("bucket {}: a put without context on a key with {} siblings", bucket->name, count);
  }
  // At any time: all that could be asked are ahead, so the bound counts from the newest time here.
  if (!clock_.observe(op.time, op.any_time ? std::max(wall, to_micros(clock_.latest())) : wall))
    return refuse(source, op, errc::clock_skew,
                  fmt::format("the write has to be later than one whose time is {} s ahead of {}'s clock: set the "
                              "clocks of all hosts (NTP)",
                              (to_micros(op.time) - wall) / 1'000'000, env_->name),
                  answer);
  auto time = clock_.now(wall);
  reserve_time(time);
  noting_sink sink{batch_, at, !siblings && !times_.note(op.vnode(), op.key, time)};
  auto given = at.node.give({op.key, op.remove, op.data, op.ttl_ms, siblings && op.has_context ? &context : nullptr},
                            time, sink);
  ++given_;
  note_dots(at, 1);
  replica_answer a;
  a.request = op.request;
  a.what = replica_answer::kind::given;
  a.dot_replica = given.id.replica;
  a.dot_counter = given.id.counter;
  a.time = time;
  a.data = std::move(given.delta);
  writes_.push_back({source, std::move(a), bucket->durability == durability::fsync && !planted(bug::ack_before_disk)});
}

void shard::apply(size_t source, replica_op& op, held& at, const answer_fn& answer) {
  // Its own comes back when the owners have changed since it was given: what it said then counts no more.
  auto possible = op.dot_replica != self_ || at.node.clock().contains({op.dot_replica, op.dot_counter});
  if (op.dot_replica == 0 || op.dot_counter == 0 || !possible)
    return refuse(source, op, errc::storage_failure, "a delta with an impossible dot", answer);
  auto wall = env_->wall_micros();
  // At any time: all owners that could be asked are ahead, so the bound counts from their times.
  if (!clock_.observe(op.time, op.any_time ? std::max(wall, to_micros(clock_.latest())) : wall))
    return refuse(source, op, errc::clock_skew,
                  fmt::format("the write's time is {} s ahead of {}'s clock: set the clocks of all hosts (NTP)",
                              (to_micros(op.time) - wall) / 1'000'000, env_->name),
                  answer);
  reserve_time(clock_.latest());
  auto lww = at.node.rule() == conflict_rule::lww;
  if (lww && protocol::newest_time(op.data) != op.time)
    return refuse(source, op, errc::storage_failure, "a delta with another time than its message", answer);
  auto may_lose = lww && times_.note(op.vnode(), op.key, op.time);
  noting_sink sink{batch_, at, lww && !may_lose};
  if (at.node.apply({op.dot_replica, op.dot_counter}, op.key, op.data, sink)) {
    ++(at.whole() ? applied_ : kept_aside_);
    note_dots(at, 1);
  } else if (at.node.clock().contains({op.dot_replica, op.dot_counter})) {
    ++known_;
  } else {
    return refuse(source, op, errc::storage_failure, "a malformed delta", answer);
  }
  replica_answer a;
  a.request = op.request;
  a.what = replica_answer::kind::written;
  if (lww && at.state != protocol::vnode_state::complete)
    a.time = time_unknown;
  if (may_lose)
    comparisons_.push_back({writes_.size(), at.node.id(), std::move(op.key), {op.dot_replica, op.dot_counter}});
  writes_.push_back({source, std::move(a),
                     ring_->find_bucket(op.bucket)->durability == durability::fsync && !planted(bug::ack_before_disk)});
}

/// Those who hold the newer of two writes tell (docs/protocol.md, "Later writes win").
void shard::compare() {
  if (comparisons_.empty())
    return;
  std::vector<storage::store::key_ref> keys;
  keys.reserve(comparisons_.size());
  for (const auto& c : comparisons_)
    keys.push_back({c.vnode, c.key});
  objects_.read(keys, [this](size_t i, std::string_view object, const storage::status& what) {
    auto stored = what.ok() ? protocol::decode_lww(object) : std::nullopt;
    auto& newer = writes_[comparisons_[i].write].answer.time;
    if (!stored && !(what.ok() && object.empty()))
      newer = time_unknown;
    else if (stored && stored->id != comparisons_[i].id) // It holds the join of both.
      newer = stored->time;
  });
  compared_ += comparisons_.size();
  comparisons_.clear();
}

void shard::note_dots(held& at, uint64_t count) {
  at.unsaved += count;
  at.changed = at.changed || count > 0;
  if (at.unsaved < clock_save_every)
    return;
  batch_.save_clock(at.node.id(), at.node.clock());
  at.unsaved = 0;
}

storage::status shard::write_batch(const answer_fn& answer) {
  if (!failed_early_.empty())
    return {failed_early_};
  if (batch_.operations() > 0) {
    auto written = objects_.write();
    if (!written.ok() && !planted(bug::write_error_ignored))
      return written;
    ++batches_;
  }
  compare();
  for (auto& w : writes_) {
    auto given = w.answer.what == replica_answer::kind::given;
    if (w.fsync) {
      replica_answer later;
      later.request = w.answer.request;
      later.what = replica_answer::kind::written;
      later.time = given ? 0 : w.answer.time;
      synced_.push_back({w.source, std::move(later), true});
    }
    if (given || !w.fsync) {
      w.answer.durable = !w.fsync;
      answer(w.source, std::move(w.answer));
    }
  }
  writes_.clear();
  return {};
}

storage::status shard::flush(const answer_fn& answer) {
  if (planted(bug::read_before_write))
    answer_reads(answer);
  auto written = write_batch(answer);
  if (!written.ok())
    return written;
  answer_reads(answer);
  return {};
}

storage::status shard::sync(const answer_fn& answer) {
  auto done = store_->sync();
  if (!done.ok())
    return done;
  ++syncs_;
  for (auto& w : synced_)
    answer(w.source, std::move(w.answer));
  synced_.clear();
  return {};
}

void shard::answer_reads(const answer_fn& answer) {
  for (size_t from = 0; from < reads_.size(); from += reads_at_once)
    answer_reads(from, std::min(from + reads_at_once, reads_.size()), answer);
  reads_done_ += reads_.size();
  reads_.clear();
}

void shard::answer_reads(size_t from, size_t to, const answer_fn& answer) {
  std::vector<storage::store::key_ref> keys;
  keys.reserve(to - from);
  for (size_t i = from; i < to; ++i)
    keys.push_back({reads_[i].at->node.id(), reads_[i].key});
  objects_.read(keys, [&](size_t i, std::string_view stored, const storage::status& what) {
    const auto& r = reads_[from + i];
    answer(r.source, answer_to(r, stored, what));
  });
}

replica_answer shard::answer_to(const read& r, std::string_view stored, const storage::status& what) {
  replica_answer a;
  a.request = r.request;
  auto digest = what.ok() ? r.at->node.digest(stored) : std::nullopt;
  if (!digest) {
    a.status = errc::storage_failure;
    a.data = fmt::format("{}: {}", env_->name, what.ok() ? "a stored object does not decode" : what.error);
    env_->log->error("read failed in bucket {} partition {}: {}; the other owners still answer, restore or wipe this "
                     "node's data directory",
                     r.at->id.bucket, r.at->id.partition, a.data);
    return a;
  }
  a.what = r.digest_only ? replica_answer::kind::digest : replica_answer::kind::object;
  a.digest = *digest;
  if (!r.digest_only)
    a.data = r.at->node.expanded(stored).value_or("");
  return a;
}

std::optional<shard::failure> shard::count_keys(vnode_id id, uint64_t& keys) {
  std::string why;
  auto* at = find(id, why);
  if (at == nullptr)
    return failure{errc::not_owner, why};
  auto now_ms = env_->wall_ms();
  auto lww = at->node.rule() == conflict_rule::lww;
  auto scanned = store_->scan(at->node.id(), {}, [&](std::string_view, std::string_view object) {
    if (lww) {
      auto x = protocol::decode_lww(object);
      keys += x && !x->tombstone && !protocol::expired(x->expires_at, now_ms) ? 1 : 0;
    } else {
      auto x = protocol::decode_siblings(object);
      keys += x && std::any_of(x->siblings.begin(), x->siblings.end(),
                               [&](const auto& s) { return !protocol::expired(s.expires_at, now_ms); })
                  ? 1
                  : 0;
    }
    return true;
  });
  if (!scanned.ok())
    return failure{errc::storage_failure, scanned.error};
  return {};
}

storage::status shard::close() {
  for (auto& [id, at] : vnodes_)
    if (at.unsaved > 0)
      batch_.save_clock(at.node.id(), at.node.clock());
  if (batch_.operations() > 0) {
    auto written = objects_.write();
    if (!written.ok())
      return written;
  }
  if (planted(bug::stop_unsynced))
    return {};
  return store_->sync();
}

std::map<std::string, uint64_t> shard::counters() const {
  uint64_t temporary = 0;
  uint64_t temporary_bytes = 0;
  uint64_t temporary_dots = 0;
  for (const auto& [id, at] : vnodes_) {
    if (at.role != protocol::vnode_role::temporary)
      continue;
    ++temporary;
    temporary_bytes += at.bytes;
    temporary_dots += at.node.clock().size();
  }
  return {{"dots_given", given_},
          {"deltas_applied", applied_},
          {"deltas_known", known_},
          {"deltas_kept_aside", kept_aside_},
          {"reads", reads_done_},
          {"refused", refused_},
          {"batches", batches_},
          {"fsyncs", syncs_},
          {"pages_given", pages_},
          {"dots_caught_up", dots_caught_up_},
          {"vnodes_refilled", filled_},
          {"refills_resumed", resumed_},
          {"log_entries_trimmed", trimmed_},
          {"keys_cleaned", cleaned_},
          {"dots_closed", closed_},
          {"scrub_restored", keys_restored_},
          {"hints_handed_over", dropped_},
          {"hints_dropped_early", dropped_early_},
          {"hint_vnodes", temporary},
          {"hint_bytes", temporary_bytes},
          {"hint_writes", temporary_dots},
          {"vnodes", vnodes_.size()},
          {"compared", compared_},
          {"cache_hits", objects_.hits()},
          {"cache_misses", objects_.misses()},
          {"cache_bytes", objects_.cached_bytes()}};
}

} // namespace crema
