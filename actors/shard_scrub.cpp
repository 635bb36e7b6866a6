// The shard's part in a scrub: hashes and states of what is stored, and the repair of keys that hold something wrong.
#include "actors/shard.hpp"

#include "protocol/scrub.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace crema {

using protocol::dot_clock;

/// Only owners that have all they should are compared.
std::optional<shard::failure> shard::check_complete(vnode_id id, held*& at) {
  std::string why;
  at = find(id, why);
  if (at == nullptr)
    return failure{errc::not_owner, why};
  if (at->role != protocol::vnode_role::owner || at->state != protocol::vnode_state::complete)
    return failure{errc::incomplete, fmt::format("{} is being filled", env_->name)};
  return {};
}

/// What is answered from the store must be all that the clock knows.
std::optional<shard::failure> shard::write_first(const answer_fn& answer) {
  write_now(answer);
  return failed_to_write();
}

std::optional<shard::failure> shard::look(const scrub_request& request, scrub_found& found, const answer_fn& answer) {
  held* at = nullptr;
  if (auto failed = check_complete(request.vnode(), at))
    return failed;
  if (auto failed = write_first(answer))
    return failed;
  auto keys_max = std::min<size_t>(request.keys_max, page_keys_max);
  auto bytes_max = std::min<size_t>(request.bytes_max, scrub_bytes_max);
  protocol::range_hash range;
  found.end = true;
  auto scanned = store_->scan(at->node.id(), request.after, [&](std::string_view key, std::string_view object) {
    if (!request.until.empty() && key > request.until)
      return false;
    found.end = found.keys == 0 || (found.keys < keys_max && found.bytes < bytes_max); // One is always looked at.
    if (!found.end)
      return false;
    ++found.keys;
    found.bytes += key.size() + object.size();
    found.until = key;
    auto hashes = protocol::hash_content(at->node.rule(), object, request.expires_ms);
    range.add(key, hashes.visible);
    if (request.list)
      found.listed.push_back({std::string{key}, hashes.visible, hashes.held});
    return true;
  });
  if (!scanned.ok())
    return failure{errc::storage_failure, scanned.error};
  found.hash = range.value();
  if (request.list)
    found.clock = at->node.clock().encode();
  return {};
}

std::optional<shard::failure> shard::read_keys(const scrub_read& request, scrub_states& states,
                                               const answer_fn& answer) {
  held* at = nullptr;
  if (auto failed = check_complete(request.vnode(), at))
    return failed;
  if (auto failed = write_first(answer))
    return failed;
  if (request.keys.size() > page_keys_max)
    return failure{errc::too_big, "a malformed question"};
  size_t bytes = 0;
  for (const auto& key : request.keys) {
    if (!states.objects.empty() && bytes >= std::min<size_t>(request.bytes_max, scrub_bytes_max))
      break;
    auto stored = store_->get(at->node.id(), key);
    if (!stored.what.ok())
      return failure{errc::storage_failure, stored.what.error};
    states.objects.push_back(stored.object.value_or(""));
    bytes += key.size() + states.objects.back().size();
  }
  states.clock = at->node.clock().encode();
  return {};
}

/// The keys of all writes that were learned since the clock was `then`; nothing, if that cannot be told.
std::optional<shard::failure> shard::keys_since(const held& at, const dot_clock& then,
                                                std::optional<std::set<std::string>>& keys) const {
  // A copy that is being made has read some keys already, and would not be told. The log must say all that was learned.
  if (at.copying || reports_ < at.copied_until || !then.covers(at.trimmed) || !at.node.clock().covers(then))
    return {};
  auto learned = at.node.clock().missing_from(then);
  if (protocol::count(learned) > page_dots_max)
    return {};
  std::set<std::string> found;
  auto scanned = store_->scan_log(at.node.id(), learned, [&](const dot&, std::string_view key) {
    found.emplace(key);
    return true;
  });
  if (!scanned.ok())
    return failure{errc::storage_failure, scanned.error};
  keys = std::move(found);
  return {};
}

std::optional<shard::failure> shard::repair_keys(const key_repairs& repairs, keys_repaired& done,
                                                 const answer_fn& answer) {
  held* at = nullptr;
  if (auto failed = check_complete(repairs.vnode(), at))
    return failed;
  auto then = dot_clock::decode(repairs.clock);
  if (!then)
    return failure{errc::invalid_context, "the clock does not decode"};
  if (auto failed = write_first(answer))
    return failed;
  std::optional<std::set<std::string>> learned;
  if (auto failed = keys_since(*at, *then, learned))
    return failed;
  const std::string* before = nullptr;
  for (uint32_t i = 0; i < repairs.keys.size(); ++i) {
    const auto& x = repairs.keys[i];
    if (x.key.empty() || x.key.size() > key_bytes_max || (before != nullptr && x.key <= *before))
      return failure{errc::too_big, "a malformed repair"};
    before = &x.key;
    bool repaired = false;
    if (learned && learned->count(x.key) == 0)
      if (auto failed = repair_key(*at, x, repaired))
        return failed;
    if (!repaired) {
      done.refused.push_back(i);
    } else if (++done.repaired == 1) { // In one batch with it: a crash may come before the last one is written.
      ++at->remade;
      save_record(*at);
    }
    if (batch_.bytes() > batch_bytes_max)
      write_now(answer);
  }
  return write_through(repairs.bucket, answer);
}

/// In place of what is stored, of which the cache may know better: it learns of the batch what the key holds.
std::optional<shard::failure> shard::repair_key(held& at, const key_repair& x, bool& repaired) {
  auto stored = store_->get(at.node.id(), x.key);
  if (!stored.what.ok())
    return failure{errc::storage_failure, stored.what.error};
  if (protocol::hash_content(at.node.rule(), stored.object.value_or(""), 0).held != x.held)
    return {};
  auto right = protocol::restored(at.node.rule(), at.node.clock(), x.object);
  if (!right || right->size() > object_bytes_max)
    return {};
  auto newest = protocol::newest_time(*right);
  if (!clock_.observe(newest, env_->wall_micros()))
    return {};
  reserve_time(clock_.latest());
  times_.note(at.id, x.key, newest);
  noting_sink sink{batch_, at};
  if (right->empty())
    batch_.erase(at.node.id(), x.key);
  else
    at.node.adopt(x.key, *right, sink);
  at.changed = at.changed || at.has_graves;
  repaired = true;
  ++keys_restored_;
  env_->log->debug("bucket {} partition {}: a scrub repaired {}", at.id.bucket, at.id.partition, x.key);
  return {};
}

} // namespace crema
