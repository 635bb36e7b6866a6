#include "storage/memory_disk.hpp"

#include "storage/memory_store.hpp"

#include "protocol/object.hpp"

#include <algorithm>

namespace crema::storage {

namespace {

memory_image::object& merge(memory_image& image, vnode_id vnode, const std::string& key, const std::string& operand) {
  auto& object = image.data[{vnode, key}];
  if (object.damaged)
    return object;
  auto joined = protocol::join_encoded(object.bytes, operand);
  object.damaged = !joined;
  if (joined)
    object.bytes = std::move(*joined);
  return object;
}

void apply_to(memory_image& image, const merge_effect& x) { merge(image, x.vnode, x.key, x.operand); }
/// RocksDB believes what it is told; here whoever is wrong shows.
void apply_to(memory_image& image, const merge_known_effect& x) {
  auto& object = merge(image, x.vnode, x.key, x.operand);
  object.damaged |= object.bytes != x.object;
}
void apply_to(memory_image& image, const log_effect& x) { image.log[{x.vnode, x.id}] = x.key; }
void apply_to(memory_image& image, const bury_effect& x) { image.graves.emplace(x.vnode, x.due, x.key); }
void apply_to(memory_image& image, const trim_log_effect& x) {
  image.log.erase(image.log.lower_bound({x.vnode, {x.dots.replica, x.dots.first}}),
                  image.log.upper_bound({x.vnode, {x.dots.replica, x.dots.last}}));
}
void apply_to(memory_image& image, const replace_effect& x) {
  if (x.object)
    image.data[{x.vnode, x.key}] = {*x.object, false};
  else
    image.data.erase({x.vnode, x.key});
}
void apply_to(memory_image& image, const unbury_effect& x) { image.graves.erase({x.vnode, x.due, x.key}); }
/// `first`: of the vnode, in a map or set that is sorted by vnode; `vnode_of` an entry.
template <class Sorted, class VnodeOf>
void erase_vnode(Sorted& entries, typename Sorted::iterator first, vnode_id vnode, VnodeOf vnode_of) {
  while (first != entries.end() && vnode_of(*first) == vnode)
    first = entries.erase(first);
}
void apply_to(memory_image& image, const drop_vnode_effect& x) {
  auto of_entry = [](const auto& entry) { return entry.first.first; };
  erase_vnode(image.data, image.data.lower_bound({x.vnode, {}}), x.vnode, of_entry);
  erase_vnode(image.log, image.log.lower_bound({x.vnode, {}}), x.vnode, of_entry);
  erase_vnode(image.graves, image.graves.lower_bound({x.vnode, 0, {}}), x.vnode,
              [](const auto& grave) { return std::get<0>(grave); });
  image.clocks.erase(x.vnode);
}
void apply_to(memory_image& image, const save_record_effect& x) { image.records[x.vnode] = x.record; }
void apply_to(memory_image& image, const save_clock_effect& x) { image.clocks[x.vnode] = x.clock; }
void apply_to(memory_image& image, const put_meta_effect& x) { image.meta[x.name] = x.value; }

} // namespace

void memory_image::apply(const store_effect& effect) {
  std::visit([this](const auto& x) { apply_to(*this, x); }, effect);
}

bool fault::strikes() {
  if (!after)
    return false;
  if (*after == 0) {
    after.reset();
    return true;
  }
  --*after;
  return false;
}

void memory_disk::sync(size_t batches) {
  auto end = unsynced.begin() + static_cast<ptrdiff_t>(std::min(batches, unsynced.size()));
  for (auto batch = unsynced.begin(); batch != end; ++batch)
    for (const auto& effect : *batch)
      synced.apply(effect);
  unsynced.erase(unsynced.begin(), end);
}

std::shared_ptr<memory_disk> make_memory_disk() { return std::make_shared<memory_disk>(); }

size_t unsynced_batches(memory_disk& disk) {
  std::lock_guard<std::mutex> lock{disk.mutex};
  return disk.unsynced.size();
}

void crash_machine(memory_disk& disk, size_t batches_kept) {
  std::lock_guard<std::mutex> lock{disk.mutex};
  disk.sync(batches_kept);
  disk.now = disk.synced;
  disk.unsynced.clear();
  disk.write_fault = {};
  disk.sync_fault = {};
}

std::shared_ptr<memory_disk> copy_of(memory_disk& disk) {
  auto copy = make_memory_disk();
  std::lock_guard<std::mutex> lock{disk.mutex};
  copy->now = copy->synced = disk.now;
  return copy;
}

void forget_faults(memory_disk& disk) {
  std::lock_guard<std::mutex> lock{disk.mutex};
  disk.write_fault = {};
  disk.sync_fault = {};
  disk.full = false;
}

void fail_writes(memory_disk& disk, size_t after) {
  std::lock_guard<std::mutex> lock{disk.mutex};
  disk.write_fault.after = after;
}

void set_full(memory_disk& disk, bool full) {
  std::lock_guard<std::mutex> lock{disk.mutex};
  disk.full = full;
}

bool is_full(memory_disk& disk) {
  std::lock_guard<std::mutex> lock{disk.mutex};
  return disk.full;
}

void fail_syncs(memory_disk& disk, size_t after) {
  std::lock_guard<std::mutex> lock{disk.mutex};
  disk.sync_fault.after = after;
}

} // namespace crema::storage
