// The shard's part in sync: pages of catch-up, copies for refill, what becomes of dots and remains that everybody has.
#include "actors/shard.hpp"

#include "protocol/planted.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

namespace crema {

using protocol::bug;
using protocol::dot_clock;
using protocol::planted;
using protocol::vnode_role;
using protocol::vnode_state;

// -- The vnodes of a shard ------------------------------------------------------------------------------------------

void shard::load(const std::vector<std::pair<vnode_id, dot_clock>>& clocks) {
  auto loaded = store_->load_records();
  if (!loaded.what.ok())
    failed_early_ = loaded.what.error;
  std::map<vnode_id, protocol::vnode_record> records;
  for (const auto& [id, bytes] : loaded.records) {
    auto record = protocol::decode_vnode_record(bytes);
    if (!record)
      failed_early_ = fmt::format("the record of bucket {} partition {} does not decode", id.bucket, id.partition);
    else
      records.emplace(id, std::move(*record));
  }
  std::map<vnode_id, const dot_clock*> known;
  for (const auto& [id, clock] : clocks)
    known.emplace(id, &clock);
  auto clock_of = [&](vnode_id id) {
    auto found = known.find(id);
    return found == known.end() || planted(bug::counter_reset) ? dot_clock{} : *found->second;
  };
  for (const auto& [id, record] : records) {
    if (id.partition >= ring_->partitions() || id.partition % count_ != index_)
      continue;
    if (ring_->find_bucket(id.bucket) == nullptr) {
      if (record.role != vnode_role::none)
        drop_for_good(id, record.counter);
      continue;
    }
    if (record.role == vnode_role::none) {
      if (record.self == self_)
        dropped_counters_[id] = record.counter;
      continue;
    }
    auto& at = hold(id, record, clock_of(record.place_of(id)));
    if (record.role == vnode_role::temporary) {
      count_held(at);
      continue;
    }
    take_up_copy(at, record);
    // A backup lacks what was acknowledged since, and may hold what has been removed for good.
    if (env_->restored && record.self != self_ && at.whole() && !planted(bug::backup_trusted))
      at.state = vnode_state::unsure;
    if (record.copying != at.copying || at.state != record.state)
      save_record(at);
  }
  for (const auto& [place, clock] : clocks) { // Of a vnode whose record was lost, or never written.
    auto id = vnode_at(place);
    if (id.partition >= ring_->partitions() || id.partition % count_ != index_ || records.count(id) > 0)
      continue;
    if (ring_->find_bucket(id.bucket) == nullptr)
      drop_for_good(id, clock.highest(self_));
    else if (place == id) // If it is not ours any more, by a ring that came just before the end, it is handed over.
      hold(id, {}, clock_of(id));
  }
  take_roles();
  write_now({});
}

/// A process that is gone began a copy. It is of use where one is needed in any case, and as far as its parts are known
/// to be there.
void shard::take_up_copy(held& at, const protocol::vnode_record& record) {
  if (!record.copying)
    return;
  if (at.state == vnode_state::filling && record.self == self_)
    at.progress = decode_copy_progress(record.copied);
  at.copying = at.progress.has_value();
  if (!at.copying)
    batch_.drop_vnode(other_place(at.node.id()));
}

/// A vnode of a bucket that was dropped.
void shard::drop_for_good(vnode_id id, uint64_t counter) {
  if (ring_->epoch == 1) // The file lacks the bucket; it may be a mistake.
    return;
  protocol::vnode_record record;
  record.role = vnode_role::none;
  record.self = self_;
  record.counter = counter;
  if (!planted(bug::dropped_kept))
    batch_.drop_vnode(id);
  batch_.drop_vnode(other_place(id));
  batch_.save_record(id, protocol::encode(record));
}

/// Is the vnode of a bucket that was created at run time certainly new? This data directory was there before the
/// bucket, so if the vnode is not in it there never was one: nothing can have been lost (docs/protocol.md, "Births").
bool shard::begins_with(const protocol::bucket& bucket, vnode_id id) const {
  const auto* self = ring_->find(env_->self);
  return bucket.created > 1 && self != nullptr && directory_ != 0 && self->directory == directory_ &&
         self->named <= bucket.created && ring_->owns(env_->self, id.partition, bucket.n) &&
         dropped_counters_.count(id) == 0;
}

/// What the ring says of who owns what.
void shard::take_roles() {
  for (auto i = vnodes_.begin(); i != vnodes_.end();) {
    const auto& at = i->second;
    if (ring_->find_bucket(at.id.bucket) != nullptr) {
      ++i;
      continue;
    }
    forget_ahead(at.id);
    drop_for_good(at.id, at.node.counter());
    gone_.push_back(at.id);
    i = vnodes_.erase(i);
  }
  for (const auto& bucket : ring_->buckets) {
    for (auto p = static_cast<uint32_t>(index_); p < ring_->partitions(); p += static_cast<uint32_t>(count_)) {
      vnode_id id{bucket.id, static_cast<partition_id>(p)};
      auto found = vnodes_.find(id);
      if (ring_->holds(env_->self, id.partition, bucket)) {
        auto is_new = found == vnodes_.end();
        auto& at = is_new ? hold(id, new_record(id), {}) : found->second;
        if (is_new && dropped_counters_.count(id) > 0) // The store says that it is not here.
          save_record(at);
        if (is_new && begins_with(bucket, id)) {
          at.state = vnode_state::complete;
          at.epoch = ring_->since_of(id.partition);
          save_record(at);
        }
        become_owner(at);
      } else if (found != vnodes_.end() && found->second.role == vnode_role::owner) {
        become_former(found->second);
      }
    }
  }
}

/// What a vnode that is not here begins with: it goes on counting where the last one stopped.
protocol::vnode_record shard::new_record(vnode_id id) const {
  protocol::vnode_record record;
  record.self = self_;
  auto dropped = dropped_counters_.find(id);
  if (dropped != dropped_counters_.end())
    record.counter = dropped->second;
  return record;
}

/// An owner to be is complete by what it has learned from owners that knew of it, and of no earlier plan
/// (docs/topology.md, rule R3).
void shard::become_owner(held& at) {
  const auto n = ring_->find_bucket(at.id.bucket)->n;
  if (at.role == vnode_role::temporary) {
    at.role = vnode_role::owner;
    at.state = vnode_state::unsure;
    at.former = false;
    at.keys.reset();
  } else if (at.state == vnode_state::complete && !ring_->owns(env_->self, at.id.partition, n) &&
             at.epoch < ring_->since_of(at.id.partition) && !planted(bug::copy_kept)) {
    at.state = vnode_state::catching_up;
  } else {
    return;
  }
  at.changed = true;
  save_record(at);
}

/// Whatever it has is kept until all owners have it.
void shard::become_former(held& at) {
  if (at.copying)
    batch_.drop_vnode(other_place(at.node.id()));
  at.copying = false;
  at.progress.reset();
  at.role = vnode_role::temporary;
  at.state = vnode_state::complete;
  at.former = true;
  at.since_ms = env_->wall_ms();
  at.bytes = 0;
  at.keys = std::make_unique<protocol::distinct_counter>();
  at.changed = true;
  save_record(at);
}

void shard::on_ring(protocol::ring_ptr ring, const answer_fn& answer) {
  write_now(answer);
  answer_reads(answer); // They were asked for by the ring of before.
  ring_ = std::move(ring);
  take_roles();
  write_now(answer);
}

shard::held& shard::hold(vnode_id id, const protocol::vnode_record& record, dot_clock clock) {
  auto counter = record.self == self_ && !planted(bug::counter_reset) ? record.counter : 0;
  held at(id, protocol::vnode{record.place_of(id), ring_->find_bucket(id.bucket)->conflict, self_, std::move(clock),
                              counter});
  at.role = record.role;
  at.state = record.state;
  at.trimmed = record.trimmed;
  at.former = record.former;
  at.epoch = record.epoch;
  at.remade = record.remade;
  auto now_ms = env_->wall_ms();
  at.since_ms = record.since_ms != 0 ? std::min(record.since_ms, now_ms) : now_ms;
  if (at.role == vnode_role::temporary)
    at.keys = std::make_unique<protocol::distinct_counter>();
  at.has_graves = true; // Until looked for.
  return vnodes_.insert_or_assign(id, std::move(at)).first->second;
}

/// About what a temporary vnode from before the start holds. Nobody is to wait for it: of many objects some are looked
/// at.
void shard::count_held(held& at) {
  constexpr size_t looked_at_max = 20'000;
  size_t seen = 0;
  auto scanned = store_->scan(at.node.id(), {}, [&](std::string_view key, std::string_view object) {
    at.count_held(key, object.size());
    return ++seen < looked_at_max;
  });
  if (!scanned.ok()) // Whoever needs what cannot be read will say so.
    env_->log->warn("the writes held for bucket {} partition {} cannot be counted: {}", at.id.bucket, at.id.partition,
                    scanned.error);
  if (seen == looked_at_max)
    at.bytes = at.bytes * std::max<uint64_t>(at.node.clock().size(), seen) / seen;
}

void shard::save_record(const held& at) {
  batch_.save_record(at.id,
                     protocol::encode({at.role, at.state, self_, at.node.counter(), at.node.id() != at.id, at.copying,
                                       at.trimmed, at.role == vnode_role::temporary ? at.since_ms : 0, at.former,
                                       at.epoch, at.progress ? encode(*at.progress) : std::string{}, at.remade}));
}

/// Writes what is collected, so that the store can be read. An error is kept for flush().
void shard::write_now(const answer_fn& answer) {
  auto written = write_batch(answer);
  if (!written.ok())
    failed_early_ = written.error;
}

std::optional<shard::failure> shard::write_through(bucket_id bucket, const answer_fn& answer) {
  write_now(answer);
  if (failed_early_.empty() && ring_->find_bucket(bucket)->durability == durability::fsync)
    failed_early_ = store_->sync().error;
  return failed_to_write();
}

std::optional<shard::failure> shard::failed_to_write() const {
  return failed_early_.empty() ? std::nullopt : std::optional{failure{errc::storage_failure, failed_early_}};
}

void shard::reserve_time(timestamp time) {
  if (time <= time_bound_)
    return;
  time_bound_ = time + from_micros(time_reserve_micros);
  put_time("time", time_bound_);
}

void shard::put_time(std::string_view name, timestamp time) { put_number(fmt::format("{}/{}", name, index_), time); }

void shard::put_number(std::string_view name, uint64_t number) {
  std::string bytes;
  protocol::byte_writer{bytes}.u64(number);
  batch_.put_meta(name, bytes);
}

/// From now on all that is given is later than `time`. Unlike an observed time it is not checked: a replica that lost
/// its disk has to keep the promise that it made before (docs/protocol.md, "Deletes"). If that puts it ahead of its
/// wall clock, others give dots until the wall clock has caught up.
void shard::pass(timestamp time) {
  clock_.observe(time, to_micros(time));
  reserve_time(clock_.latest());
  keeps_time_ = true;
}

// -- From one state to the next -------------------------------------------------------------------------------------

void shard::be_born(const std::vector<vnode_id>& vnodes, const answer_fn& answer) {
  for (auto id : vnodes) {
    auto found = vnodes_.find(id);
    if (found == vnodes_.end() || found->second.role != vnode_role::owner || found->second.state != vnode_state::unsure)
      continue;
    auto& at = found->second;
    at.state = vnode_state::complete;
    at.epoch = ring_->since_of(id.partition);
    at.changed = true;
    save_record(at);
    keeps_time_ = true; // Nothing has been promised yet.
  }
  write_now(answer);
}

void shard::open(const std::vector<protocol::opening_task>& tasks, const answer_fn& answer) {
  for (const auto& task : tasks) {
    auto found = vnodes_.find(task.vnode);
    if (found == vnodes_.end() || found->second.role != vnode_role::owner ||
        found->second.state != vnode_state::catching_up || !found->second.node.clock().covers(task.met) ||
        ring_->since_of(task.vnode.partition) != task.epoch)
      continue;
    found->second.state = vnode_state::complete;
    found->second.epoch = task.epoch;
    found->second.changed = true;
    save_record(found->second);
  }
  write_now(answer);
}

// -- Catch-up -------------------------------------------------------------------------------------------------------

std::optional<shard::failure> shard::clock_of(vnode_id id, std::string& clock) {
  std::string why;
  auto* at = find(id, why);
  if (at == nullptr)
    return failure{errc::not_owner, why};
  if (!at->whole())
    return failure{errc::incomplete, fmt::format("{} is being filled", env_->name)};
  clock = at->node.clock().encode();
  return {};
}

/// A page gives each key with *all* of its dots: one that shows the effect of a dot but leaves it out would let a
/// delete be seen by some owners only, should the source be lost before the next page.
std::optional<shard::failure> shard::look_up(const held& at, const dot_clock& theirs, const std::string& only_key,
                                             protocol::missing_keys& keys) const {
  auto scanned =
      store_->scan_log(at.node.id(), keys.unread(at.node.clock(), theirs), [&](const dot& d, std::string_view key) {
        if (only_key.empty() || key == only_key)
          keys.note(d, key);
        return true;
      });
  return scanned.ok() ? std::nullopt : std::optional{failure{errc::storage_failure, scanned.error}};
}

/// What an earlier page of the same catch-up has left, or a new one.
protocol::missing_keys shard::take_ahead(vnode_id vnode, uintptr_t asker, const dot_clock& theirs) {
  protocol::missing_keys keys{env_->pages.ahead_bytes};
  auto found =
      std::find_if(ahead_.begin(), ahead_.end(), [&](const auto& a) { return a.vnode == vnode && a.asker == asker; });
  if (found == ahead_.end())
    return keys;
  if (found->keys.serves(theirs))
    keys = std::move(found->keys);
  ahead_.erase(found);
  return keys;
}

void shard::forget_ahead(vnode_id vnode) {
  ahead_.remove_if([&](const auto& a) { return a.vnode == vnode; });
}

std::optional<shard::failure> shard::expanded_state(const held& at, const std::string& key, std::string& object) const {
  if (key.empty())
    return {};
  auto stored = store_->get(at.node.id(), key);
  if (!stored.what.ok())
    return failure{errc::storage_failure, stored.what.error};
  auto expanded = at.node.expanded(stored.object ? std::string_view{*stored.object} : std::string_view{});
  if (!expanded)
    return failure{errc::storage_failure, "a stored object does not decode"};
  object = std::move(*expanded);
  return {};
}

std::optional<shard::failure> shard::make_page(const page_request& request, page_message& page, const answer_fn& answer,
                                               uintptr_t asker) {
  std::string why;
  auto* at = find(request.vnode(), why);
  if (at == nullptr)
    return failure{errc::not_owner, why};
  if (!at->whole())
    return failure{errc::incomplete, fmt::format("{} is being filled", env_->name)};
  auto theirs = dot_clock::decode(request.clock);
  if (!theirs)
    return failure{errc::invalid_context, "the clock does not decode"};
  if (!theirs->covers(at->trimmed))
    return failure{errc::behind, "the log does not reach back far enough"};
  if (!request.key.empty() && protocol::count(at->node.clock().missing_from(*theirs)) > repair_dots_max)
    return failure{errc::busy, "too far behind for the repair of one key"};
  write_now(answer);
  page.about(epoch(), request.vnode());
  auto keys = request.key.empty() ? take_ahead(at->id, asker, *theirs) : protocol::missing_keys{SIZE_MAX};
  const protocol::missing_keys::by_key::value_type* next = nullptr;
  do {
    if (auto failed = look_up(*at, *theirs, request.key, keys))
      return failed;
    size_t bytes = 0;
    for (next = keys.next(nullptr); next != nullptr && (bytes < request.bytes_max || bytes == 0);
         next = keys.next(&next->first)) {
      const auto& [key, dots] = *next;
      key_state state{key, {}, {}};
      if (auto failed = expanded_state(*at, key, state.object))
        return failed;
      // Its clock would say that the asker has no older register of it (docs/protocol.md, "Catch-up").
      if (state.object.empty() && !key.empty())
        return failure{errc::behind, "a page cannot tell of what was removed for good"};
      for (const auto& d : dots)
        if (!planted(bug::page_partial) || state.dots.empty())
          state.dots.insert(state.dots.end(), {d.replica, d.counter});
      bytes += key.size() + state.object.size() + 16 * dots.size();
      page.keys.push_back(std::move(state));
    }
  } while (page.keys.empty() && keys.is_through());
  if (page.keys.empty() && request.key.empty() && !theirs->covers(at->node.clock())) {
    env_->log->error("bucket {} partition {}: the log lacks dots that are in the clock; peers are refilled instead",
                     request.bucket, request.partition);
    return failure{errc::behind, "the log has holes"};
  }
  if (request.key.empty() && (next != nullptr || keys.left_some_out())) {
    ahead_.push_back({at->id, asker, std::move(keys), reports_});
    if (ahead_.size() > ahead_max)
      ahead_.pop_front();
  }
  ++pages_;
  return {};
}

std::optional<shard::failure> shard::apply_page(const page_message& page, page_applied& applied,
                                                const answer_fn& answer) {
  std::string why;
  auto* at = find(page.vnode(), why);
  if (at == nullptr)
    return failure{errc::not_owner, why};
  if (!at->whole())
    return failure{errc::incomplete, fmt::format("{} is being filled", env_->name)};
  bool skewed = false;
  for (const auto& k : page.keys) {
    if (k.key.size() > key_bytes_max || (k.key.empty() && !k.object.empty()) || k.dots.size() % 2 != 0)
      return failure{errc::too_big, "a malformed page"};
    auto newest = protocol::newest_time(k.object);
    if (!clock_.observe(newest, env_->wall_micros())) {
      skewed = true; // It has to wait until the clocks are right again; the others need not.
      continue;
    }
    reserve_time(clock_.latest());
    times_.note(page.vnode(), k.key, newest);
    protocol::key_page decoded{k.key, k.object, {}};
    for (size_t i = 0; i < k.dots.size(); i += 2)
      decoded.dots.push_back({k.dots[i], k.dots[i + 1]});
    noting_sink sink{batch_, *at};
    auto added = at->node.apply_page(decoded, sink);
    applied.dots_new += added;
    note_dots(*at, added);
    if (batch_.bytes() > batch_bytes_max)
      write_now(answer);
  }
  if (auto failed = write_through(page.bucket, answer))
    return failed;
  if (skewed && applied.dots_new == 0)
    return failure{errc::clock_skew, "the page holds a time too far in the future"};
  applied.clock = at->node.clock().encode();
  dots_caught_up_ += applied.dots_new;
  return {};
}

// -- What everybody has ---------------------------------------------------------------------------------------------

void shard::settle(const settlement& what, const answer_fn& answer) {
  auto left = clean_at_once; // Requests wait meanwhile: the rest has time until the next settlement.
  for (size_t i = 0; i < what.tasks.size(); ++i) {
    const auto& task = what.tasks[(i + settlements_) % what.tasks.size()]; // Each comes first once.
    auto found = vnodes_.find(task.vnode);
    if (found == vnodes_.end() || found->second.role != vnode_role::owner || !found->second.whole())
      continue;
    trim(found->second, task.stable);
    // Not beside a copy: it may hold what lost to a tombstone that would go here.
    if (found->second.has_graves && left > 0 && !found->second.copying)
      left -= clean(found->second, task.horizon, what.expired_ms, left, answer);
  }
  ++settlements_;
  write_now(answer);
}

/// Removes stable dots from the log: many at once while the vnode is written to, the last ones when it rests. While a
/// peer catches up, what is stable is full of gaps. Each piece costs whoever reads the log (a range tombstone), so
/// short ones wait until they have grown together.
void shard::trim(held& at, const dot_clock& stable) {
  if (reports_ < at.copied_until) { // The copy would have to begin anew, under load again and again.
    at.trim_later = stable;
    return;
  }
  auto trimmable = stable.missing_from(at.trimmed);
  const auto& limits = env_->trims;
  auto rests = stable == at.node.clock();
  auto grows = [&](const protocol::dot_range& r) { // What is next to it is not stable yet, or not written.
    return (r.first > 1 && !at.trimmed.contains({r.replica, r.first - 1})) ||
           !at.trimmed.contains({r.replica, r.last + 1});
  };
  auto waiting = std::stable_partition(trimmable.begin(), trimmable.end(), [&](const auto& r) {
    return r.last - r.first + 1 >= limits.piece_min || !grows(r);
  });
  // What waits takes room from what an absent owner may still come to lack.
  if (!rests && protocol::count({waiting, trimmable.end()}) <= env_->config.sync.log_entries_max / waiting_part)
    trimmable.erase(waiting, trimmable.end());
  auto count = protocol::count(trimmable);
  if (count == 0 || (count < limits.at_once && !rests))
    return;
  auto id = at.node.id();
  batch_.save_clock(id, at.node.clock());
  at.unsaved = 0;
  dot_clock trimmed;
  for (const auto& r : trimmable) {
    batch_.trim_log(id, r);
    trimmed.add(r);
  }
  at.trimmed.join(trimmed);
  save_record(at);
  trimmed_ += count;
}

bool shard::log_full(const held& at) const {
  return at.node.clock().size() > at.trimmed.size() + env_->config.sync.log_entries_max;
}

size_t shard::clean(held& at, timestamp horizon, uint64_t expired_ms, size_t graves_max, const answer_fn& answer) {
  write_now(answer); // What is read below must be all there is.
  auto id = at.node.id();
  auto expired = std::min(expired_ms, to_micros(UINT64_MAX) / 1000) * 1000;
  struct grave {
    timestamp due;
    std::string key;
  };
  std::vector<grave> graves;
  auto until = std::max(horizon, from_micros(expired));
  at.next_grave = 0;
  auto scanned = store_->scan_graves(id, UINT64_MAX, [&](timestamp due, std::string_view key) {
    if (due > until)
      at.next_grave = due;
    else
      graves.push_back({due, std::string{key}});
    return due <= until && graves.size() < graves_max;
  });
  std::set<std::string_view> touched; // By what is not written yet.
  for (const auto& g : graves) {
    if (!touched.insert(g.key).second) {
      write_now(answer);
      touched = {g.key};
    }
    auto stored = store_->get(id, g.key);
    if (!scanned.ok() || !stored.what.ok()) {
      failed_early_ = scanned.ok() ? stored.what.error : scanned.error;
      return graves.size();
    }
    protocol::cleanup what;
    what.settled = !stored.object;
    if (stored.object)
      what = at.node.clean(*stored.object, g.due, horizon, expired_ms);
    if (what.erase)
      batch_.erase(id, g.key);
    else if (what.replace)
      batch_.replace(id, g.key, *what.replace);
    if (what.settled)
      batch_.unbury(id, g.due, g.key);
    cleaned_ += what.erase ? 1 : 0;
  }
  write_now(answer);
  at.has_graves = !graves.empty() || at.next_grave != 0;
  at.changed = at.changed || !at.has_graves;
  return graves.size();
}

void shard::close_gaps(const protocol::closing_task& task, const answer_fn& answer) {
  auto found = vnodes_.find(task.vnode);
  if (found == vnodes_.end() || found->second.role != vnode_role::owner ||
      found->second.state != vnode_state::complete || found->second.copying)
    return;
  auto& at = found->second;
  noting_sink sink{batch_, at};
  auto closed = at.node.close(task.lost, sink);
  note_dots(at, closed);
  closed_ += closed;
  write_now(answer);
  if (closed > 0)
    env_->log->info(
        "bucket {} partition {}: {} writes were lost with the only disks that had them; no longer waited for",
        at.id.bucket, at.id.partition, closed);
}

void shard::drop(const protocol::drop_task& task, const answer_fn& answer) {
  auto found = vnodes_.find(task.vnode);
  if (found == vnodes_.end() || found->second.role != vnode_role::temporary)
    return;
  auto& at = found->second;
  if (!task.covered.covers(at.node.clock()))
    return; // It has learned something since.
  write_now(answer);
  answer_reads(answer);
  at.role = vnode_role::none;
  batch_.drop_vnode(at.node.id());
  forget_ahead(at.id);
  save_record(at);
  dropped_counters_[task.vnode] = at.node.counter();
  ++(task.early ? dropped_early_ : dropped_);
  vnodes_.erase(found);
  gone_.push_back(task.vnode);
  write_now(answer);
}

// -- Reports --------------------------------------------------------------------------------------------------------

void shard::begin_report(const report_request& request, const answer_fn& answer) {
  if (report_)
    return;
  if (request.newest_at_peers != 0 && !keeps_time_)
    pass(request.newest_at_peers);
  ++reports_;
  ahead_.remove_if([&](const auto& a) { return reports_ > a.used + copied_reports; });
  auto wall = env_->wall_micros();
  clock_.observe(request.newest_at_peers, wall);
  clock_.observe(request.newest_here, wall);
  // Time passes also when nobody writes, if a grave waits for it.
  for (auto& [id, at] : vnodes_) {
    if (at.next_grave > clock_.latest() && to_micros(at.next_grave) <= wall)
      clock_.now(wall);
    if (!at.trim_later.empty() && reports_ >= at.copied_until)
      trim(at, std::exchange(at.trim_later, {}));
  }
  reserve_time(clock_.latest());
  write_now(answer);
  waiting_report r;
  r.what.shard = index_;
  r.what.latest = clock_.latest();
  r.what.gone.swap(gone_);
  auto now_ms = env_->wall_ms();
  auto overdue = [&](const held& at) {
    const auto& hints = env_->config.hints;
    std::chrono::milliseconds age{now_ms - std::min(now_ms, at.since_ms)};
    return at.role == vnode_role::temporary && !at.former &&
           (age > hints.age_max || at.bytes > uint64_t{hints.vnode_mb_max} << 20);
  };
  std::vector<held*> changed;
  for (auto& [id, at] : vnodes_)
    if (at.changed || overdue(at))
      changed.push_back(&at);
  std::sort(changed.begin(), changed.end(), [](const held* a, const held* b) { return a->id < b->id; });
  for (auto* at : changed) {
    at->changed = false;
    r.what.changed.push_back({{at->id, at->role, at->state, at->node.clock(), false, at->copying},
                              {at->has_graves, overdue(*at), log_full(*at), at->bytes,
                               at->keys != nullptr ? at->keys->count() : 0, at->since_ms, at->epoch}});
  }
  r.written = store_->written();
  report_ = std::move(r);
}

std::optional<shard_report> shard::take_report() {
  if (!report_ || store_->synced() < report_->written)
    return std::nullopt;
  auto what = std::move(report_->what);
  report_.reset();
  return what;
}

} // namespace crema
