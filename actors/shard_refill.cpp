// The shard's part in a refill: what an owner gives of its vnode to be copied, and the copy, which is made in the
// second place of the own vnode and takes its place when it is whole.
#include "actors/shard.hpp"

#include "protocol/planted.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace crema {

using protocol::bug;
using protocol::dot_clock;
using protocol::planted;
using protocol::vnode_role;
using protocol::vnode_state;

// -- Refill: the source ---------------------------------------------------------------------------------------------

std::optional<shard::failure> shard::make_fill_page(const fill_request& request, fill_page& page,
                                                    const answer_fn& answer) {
  std::string why;
  auto id = request.vnode();
  auto* at = find(id, why);
  if (at == nullptr)
    return failure{errc::not_owner, why};
  if (at->role != vnode_role::owner || at->state != vnode_state::complete)
    return failure{errc::incomplete, fmt::format("{} is being filled itself", env_->name)};
  // A process that dies leaves what it has given parts of: to go on is right as long as the log tells what has changed.
  auto source = self_ + at->remade;
  if (request.stage != fill_stage::begin && request.source != source)
    return failure{errc::behind, fmt::format("{} lost its disk, or was refilled or repaired", env_->name)};
  write_now(answer);
  at->copied_until = reports_ + copied_reports;
  page.about(epoch(), id);
  page.stage = request.stage;
  page.source = source;
  page.done = true;
  size_t bytes = 0;
  auto room = [&](size_t more) {
    page.done = bytes == 0 || bytes + more <= request.bytes_max;
    bytes += page.done ? more : 0;
    return page.done;
  };
  storage::status scanned;
  auto clock = dot_clock::decode(request.clock);
  switch (request.stage) {
  case fill_stage::begin:
    page.clock = at->node.clock().encode();
    page.trimmed = at->trimmed.encode();
    return {};
  case fill_stage::data:
    scanned = store_->scan(at->node.id(), request.after_key, [&](std::string_view key, std::string_view object) {
      if (!room(key.size() + object.size()))
        return false;
      page.keys.push_back({std::string{key}, std::string{object}, true});
      return true;
    });
    break;
  case fill_stage::log: {
    auto trimmed = dot_clock::decode(request.trimmed);
    if (!clock || !trimmed)
      return failure{errc::invalid_context, "the clock does not decode"};
    dot after{request.after_replica, request.after_counter};
    auto ranges = clock->missing_from(*trimmed);
    for (auto& r : ranges)
      if (r.replica < after.replica)
        r.last = r.first - 1; // Empty.
      else if (r.replica == after.replica)
        r.first = std::max(r.first, after.counter + 1);
    scanned = store_->scan_log(at->node.id(), ranges, [&](const dot& d, std::string_view key) {
      if (!room(16 + key.size()))
        return false;
      page.dots.push_back({d.replica, d.counter, std::string{key}});
      return true;
    });
    break;
  }
  case fill_stage::rest: {
    if (!clock)
      return failure{errc::invalid_context, "the clock does not decode"};
    if (!clock->covers(at->trimmed))
      return failure{errc::behind, "the log does not reach back far enough"};
    std::set<std::string, std::less<>> seen;
    std::string failed;
    auto news = at->node.clock().missing_from(*clock);
    scanned = store_->scan_log(at->node.id(), news, [&](const dot& d, std::string_view key) {
      if (!key.empty() && seen.find(key) == seen.end()) {
        auto stored = store_->get(at->node.id(), key);
        failed = stored.what.error;
        if (!failed.empty() || !room(key.size() + stored.object.value_or("").size()))
          return false;
        seen.emplace(key);
        page.keys.push_back({std::string{key}, stored.object.value_or(""), stored.object.has_value()});
      }
      page.dots.push_back({d.replica, d.counter, std::string{key}});
      clock->add(d);
      page.done = page.dots.size() < page_dots_max;
      return page.done;
    });
    if (!failed.empty())
      return failure{errc::storage_failure, failed};
    if (page.done && *clock != at->node.clock())
      return failure{errc::behind, "the log has holes"};
    page.clock = clock->encode();
    page.trimmed = at->trimmed.encode();
    page.latest = clock_.latest();
    if (page.done)
      at->copied_until = reports_ + 1; // Unless it is asked for again.
    break;
  }
  }
  if (!scanned.ok())
    return failure{errc::storage_failure, scanned.error};
  return {};
}

// -- Refill: the copy -----------------------------------------------------------------------------------------------

std::optional<copy_progress> shard::begin_fill(const protocol::refill_task& task, const answer_fn& answer) {
  std::string why;
  auto* at = find(task.vnode, why);
  if (at == nullptr || at->role != vnode_role::owner)
    return std::nullopt;
  at->changed = true; // If the planner has not heard of it yet.
  if (at->whole() && !task.behind)
    return std::nullopt;
  if (at->progress) { // Whoever it was begun with is waited for like any source that is away.
    ++resumed_;
    return at->progress;
  }
  if (!at->whole())
    at->state = vnode_state::filling;
  set_copying(*at, copy_progress{task.from, {}}, answer);
  return failed_early_.empty() ? at->progress : std::nullopt;
}

/// Either way nothing is left of a copy that was begun before.
void shard::set_copying(held& at, std::optional<copy_progress> progress, const answer_fn& answer) {
  at.copying = progress.has_value();
  at.progress = std::move(progress);
  at.changed = true;
  batch_.drop_vnode(other_place(at.node.id()));
  save_record(at);
  write_now(answer);
}

/// A copy has registers from the far future as its source has them: they are no news, and no reason to go ahead of the
/// wall clock. But what is written after a restart must not be taken for newer.
void shard::note_stored_time(timestamp time) {
  if (clock_.observe(time, env_->wall_micros()))
    return reserve_time(clock_.latest());
  if (time <= stored_time_)
    return;
  stored_time_ = time;
  put_time("stored-time", time);
}

void shard::abandon_fill(vnode_id vnode, const answer_fn& answer) {
  std::string why;
  auto* at = find(vnode, why);
  if (at != nullptr && at->copying)
    set_copying(*at, std::nullopt, answer);
}

std::optional<shard::failure> shard::apply_fill_page(const fill_page& page, const answer_fn& answer) {
  std::string why;
  auto* at = find(page.vnode(), why);
  if (at == nullptr || !at->progress)
    return failure{errc::not_owner, "not being filled"};
  if (!at->progress->expects(page))
    return failure{errc::invalid_context, "an answer to another question"};
  held copy(at->id, protocol::vnode{other_place(at->node.id()), at->node.rule(), self_, {}, at->node.counter()});
  noting_sink sink{batch_, copy};
  for (const auto& k : page.keys) {
    if (k.key.empty() || k.key.size() > key_bytes_max)
      return failure{errc::too_big, "a malformed page"};
    if (!k.present) {
      batch_.erase(copy.node.id(), k.key);
      continue;
    }
    auto newest = protocol::newest_time(k.object);
    note_stored_time(newest);
    times_.note(at->id, k.key, newest);
    if (!copy.node.adopt(k.key, k.object, sink))
      return failure{errc::storage_failure, "an object of the page does not decode"};
  }
  for (const auto& d : page.dots) {
    if (!protocol::valid({d.replica, d.counter}) || d.key.size() > key_bytes_max)
      return failure{errc::storage_failure, "a page with an impossible dot"};
    batch_.log(copy.node.id(), {d.replica, d.counter}, d.key);
  }
  if (page.stage == fill_stage::rest && page.done) {
    auto clock = dot_clock::decode(page.clock);
    auto trimmed = dot_clock::decode(page.trimmed);
    if (!clock || !trimmed)
      return failure{errc::invalid_context, "the clock does not decode"};
    pass(page.latest);
    copy.node.take_clock(*clock);
    copy.trimmed = std::move(*trimmed);
    if (auto failed = take_place(*at, std::move(copy), answer))
      return failed;
  } else {
    at->progress->advance(page);
    save_record(*at);
    write_now(answer);
  }
  return failed_to_write();
}

/// The copy is whole. What the vnode has beyond it is joined into it, while nobody can see it; then it is the vnode.
/// A process that dies on the way leaves the vnode as it is, and a copy that belongs to nobody.
std::optional<shard::failure> shard::take_place(held& at, held copy, const answer_fn& answer) {
  at.progress.reset(); // What is joined into it is not a part of a copy: it is not to be gone on with.
  save_record(at);
  write_now(answer);
  answer_reads(answer); // Of the place that goes.
  auto by_log = copy.node.clock().covers(at.trimmed);
  if (!planted(bug::own_forgotten)) {
    auto failed = by_log ? catch_up_copy(at, copy, answer) : join_into_copy(at, copy, answer);
    if (failed)
      return failed;
  }
  for (const auto& r : copy.trimmed.ranges()) // Copied from the source's log before it was trimmed there.
    batch_.trim_log(copy.node.id(), r);
  batch_.save_clock(copy.node.id(), copy.node.clock());
  batch_.drop_vnode(at.node.id());
  forget_ahead(at.id);
  copy.state = at.state == vnode_state::complete ? vnode_state::complete : vnode_state::catching_up;
  copy.epoch = at.epoch;
  copy.has_graves = true; // Until looked for.
  copy.remade = at.remade + 1;
  at = std::move(copy);
  save_record(at);
  write_now(answer);
  ++filled_;
  return {};
}

/// Like any catch-up, but all in one go: nothing may come in between.
std::optional<shard::failure> shard::catch_up_copy(const held& at, held& copy, const answer_fn& answer) {
  noting_sink sink{batch_, copy};
  while (!copy.node.clock().covers(at.node.clock())) {
    protocol::missing_keys keys{env_->pages.ahead_bytes};
    if (auto failed = look_up(at, copy.node.clock(), {}, keys))
      return failed;
    size_t added = 0;
    for (const auto* next = keys.next(nullptr); next != nullptr; next = keys.next(&next->first)) {
      protocol::key_page page{next->first, {}, next->second};
      if (auto failed = expanded_state(at, page.key, page.object))
        return failed;
      added += copy.node.apply_page(page, sink);
      if (batch_.bytes() > batch_bytes_max)
        write_now(answer);
    }
    write_now(answer);
    if (added == 0)
      return join_into_copy(at, copy, answer); // The log has holes.
  }
  return {};
}

/// Each of the two has trimmed what the other lacks, as when each was given up on once: no log says which keys differ,
/// so all are joined. Each once: until the clocks are united, a second time would bring back what the first removed.
std::optional<shard::failure> shard::join_into_copy(const held& at, held& copy, const answer_fn& answer) {
  auto mine = copy.node.id(), theirs = at.node.id();
  auto only_mine = [&](const std::string& key) { return !store_->get(theirs, key).object; };
  // First what the copy alone has: what follows adds keys to it.
  if (auto failed = join_keys(mine, only_mine, at, copy, answer))
    return failed;
  if (auto failed = join_keys(theirs, {}, at, copy, answer))
    return failed;
  auto missing = at.node.clock().missing_from(copy.node.clock());
  auto scanned = store_->scan_log(theirs, missing, [&](const dot& d, std::string_view key) {
    batch_.log(mine, d, key);
    return true;
  });
  if (!scanned.ok())
    return failure{errc::storage_failure, scanned.error};
  for (const auto& r : at.trimmed.missing_from(copy.node.clock()))
    copy.trimmed.add(r);
  copy.node.take_clock(at.node.clock());
  return {};
}

/// Of the keys that are stored in `place`, those that are `wanted`.
std::optional<shard::failure> shard::join_keys(vnode_id place, const std::function<bool(const std::string&)>& wanted,
                                               const held& at, held& copy, const answer_fn& answer) {
  noting_sink sink{batch_, copy};
  std::string after;
  for (;;) {
    std::vector<std::string> keys; // A part: nothing is written while they are visited.
    auto scanned = store_->scan(place, after, [&](std::string_view key, std::string_view) {
      keys.emplace_back(key);
      return keys.size() < page_keys_max;
    });
    if (!scanned.ok())
      return failure{errc::storage_failure, scanned.error};
    if (keys.empty())
      return {};
    after = keys.back();
    for (const auto& key : keys) {
      if (wanted && !wanted(key))
        continue;
      auto mine = store_->get(copy.node.id(), key);
      auto theirs = store_->get(at.node.id(), key);
      if (!mine.what.ok() || !theirs.what.ok())
        return failure{errc::storage_failure, mine.what.ok() ? theirs.what.error : mine.what.error};
      auto result = copy.node.joined(mine.object.value_or(""), theirs.object.value_or(""), at.node.clock());
      if (!result)
        return failure{errc::storage_failure, "an object does not decode"};
      if (result->empty())
        batch_.erase(copy.node.id(), key);
      else if (result != mine.object)
        copy.node.adopt(key, *result, sink);
      if (batch_.bytes() > batch_bytes_max)
        write_now(answer);
    }
    write_now(answer);
  }
}

} // namespace crema
