#include "storage/memory_store.hpp"

#include "storage/memory_disk.hpp"

#include <cassert>
#include <tuple>

namespace crema::storage {

namespace {

class memory_batch final : public write_batch {
public:
  void merge(vnode_id vnode, std::string_view key, std::string_view operand) override {
    add(merge_effect{vnode, std::string{key}, std::string{operand}}, key.size() + operand.size());
  }
  void merge_known(vnode_id vnode, std::string_view key, std::string_view operand, std::string_view object) override {
    add(merge_known_effect{vnode, std::string{key}, std::string{operand}, std::string{object}},
        key.size() + object.size());
  }
  void log(vnode_id vnode, const dot& d, std::string_view key) override {
    add(log_effect{vnode, d, std::string{key}}, key.size());
  }
  void bury(vnode_id vnode, timestamp due, std::string_view key) override {
    add(bury_effect{vnode, due, std::string{key}}, key.size());
  }
  void trim_log(vnode_id vnode, const protocol::dot_range& dots) override {
    if (dots.first <= dots.last)
      add(trim_log_effect{vnode, dots}, 0);
  }
  void replace(vnode_id vnode, std::string_view key, std::string_view object) override {
    add(replace_effect{vnode, std::string{key}, std::string{object}}, key.size() + object.size());
  }
  void erase(vnode_id vnode, std::string_view key) override {
    add(replace_effect{vnode, std::string{key}, std::nullopt}, key.size());
  }
  void unbury(vnode_id vnode, timestamp due, std::string_view key) override {
    add(unbury_effect{vnode, due, std::string{key}}, key.size());
  }
  void drop_vnode(vnode_id vnode) override { add(drop_vnode_effect{vnode}, 0); }
  void save_record(vnode_id vnode, std::string_view record) override {
    add(save_record_effect{vnode, std::string{record}}, record.size());
  }
  void save_clock(vnode_id vnode, const protocol::dot_clock& clock) override {
    add(save_clock_effect{vnode, clock}, clock.encode().size());
  }
  void put_meta(std::string_view name, std::string_view value) override {
    add(put_meta_effect{std::string{name}, std::string{value}}, name.size() + value.size());
  }
  size_t operations() const override { return effects_.size(); }
  size_t bytes() const override { return bytes_; }
  void clear() override {
    effects_.clear();
    bytes_ = 0;
  }

  const std::vector<store_effect>& effects() const { return effects_; }

private:
  void add(store_effect effect, size_t payload_bytes) {
    constexpr size_t head_bytes = 24; // About what the vnode, the dot and the lengths take in RocksDB.
    effects_.push_back(std::move(effect));
    bytes_ += head_bytes + payload_bytes;
  }

  std::vector<store_effect> effects_;
  size_t bytes_ = 0;
};

class memory_store final : public store {
public:
  explicit memory_store(std::shared_ptr<memory_disk> disk) : disk_(std::move(disk)) {}

  std::unique_ptr<write_batch> make_batch() const override { return std::make_unique<memory_batch>(); }

  status write(write_batch& batch) override {
    assert(dynamic_cast<memory_batch*>(&batch) != nullptr); // From make_batch() of this store.
    const auto& effects = static_cast<memory_batch&>(batch).effects();
    std::lock_guard<std::mutex> lock{disk_->mutex};
    if (!failure_.empty())
      return {failure_};
    if (effects.empty())
      return {};
    if (disk_->write_fault.strikes())
      return fail("memory: cannot write: injected fault");
    if (disk_->full)
      return fail("memory: cannot write: no space left");
    ++disk_->writes;
    for (const auto& effect : effects)
      disk_->now.apply(effect);
    disk_->unsynced.push_back(effects);
    return {};
  }

  status sync() override {
    std::lock_guard<std::mutex> lock{disk_->mutex};
    if (!failure_.empty())
      return {failure_};
    if (disk_->sync_fault.strikes())
      return fail("memory: cannot sync: injected fault");
    disk_->sync(disk_->unsynced.size());
    return {};
  }

  void request_sync() override { sync().ok(); } // An error is kept: the next write or sync returns it.

  status health() const override {
    std::lock_guard<std::mutex> lock{disk_->mutex};
    return {failure_};
  }
  uint64_t written() const override {
    std::lock_guard<std::mutex> lock{disk_->mutex};
    return disk_->writes;
  }
  uint64_t synced() const override {
    std::lock_guard<std::mutex> lock{disk_->mutex};
    return disk_->writes - disk_->unsynced.size();
  }

  read_result get(vnode_id vnode, std::string_view key) const override {
    std::lock_guard<std::mutex> lock{disk_->mutex};
    auto found = disk_->now.data.find({vnode, std::string{key}});
    if (found == disk_->now.data.end())
      return {};
    if (found->second.damaged)
      return {std::nullopt, damaged()};
    return {found->second.bytes, {}};
  }

  std::vector<read_result> get_many(const std::vector<key_ref>& keys) const override {
    std::vector<read_result> result;
    result.reserve(keys.size());
    for (const auto& ref : keys)
      result.push_back(get(ref.vnode, ref.key));
    return result;
  }

  status scan(vnode_id vnode, std::string_view after,
              const std::function<bool(std::string_view, std::string_view)>& visit) const override {
    // A copy: the visitor sees one moment, and may call this store.
    std::vector<std::pair<std::string, memory_image::object>> found;
    {
      std::lock_guard<std::mutex> lock{disk_->mutex};
      const auto& data = disk_->now.data;
      auto first = std::make_pair(vnode, std::string{after});
      auto it = after.empty() ? data.lower_bound(first) : data.upper_bound(first);
      for (; it != data.end() && it->first.first == vnode; ++it)
        found.emplace_back(it->first.second, it->second);
    }
    for (const auto& [key, object] : found) {
      if (object.damaged)
        return damaged();
      if (!visit(key, object.bytes))
        break;
    }
    return {};
  }

  status scan_log(vnode_id vnode, const std::vector<protocol::dot_range>& ranges,
                  const std::function<bool(const dot&, std::string_view)>& visit) const override {
    std::vector<std::pair<dot, std::string>> found;
    {
      std::lock_guard<std::mutex> lock{disk_->mutex};
      const auto& log = disk_->now.log;
      for (const auto& r : ranges) {
        auto last = std::make_pair(vnode, dot{r.replica, r.last});
        for (auto it = log.lower_bound({vnode, {r.replica, r.first}}); it != log.end() && !(last < it->first); ++it)
          found.emplace_back(it->first.second, it->second);
      }
    }
    for (const auto& [id, key] : found)
      if (!visit(id, key))
        break;
    return {};
  }

  status scan_graves(vnode_id vnode, timestamp until,
                     const std::function<bool(timestamp, std::string_view)>& visit) const override {
    std::vector<std::pair<timestamp, std::string>> found;
    {
      std::lock_guard<std::mutex> lock{disk_->mutex};
      const auto& graves = disk_->now.graves;
      for (auto it = graves.lower_bound({vnode, 0, {}});
           it != graves.end() && std::get<0>(*it) == vnode && std::get<1>(*it) <= until; ++it)
        found.emplace_back(std::get<1>(*it), std::get<2>(*it));
    }
    for (const auto& [due, key] : found)
      if (!visit(due, key))
        break;
    return {};
  }

  records_result load_records() const override {
    std::lock_guard<std::mutex> lock{disk_->mutex};
    return {{disk_->now.records.begin(), disk_->now.records.end()}, {}};
  }

  clocks_result load_clocks() const override {
    std::lock_guard<std::mutex> lock{disk_->mutex};
    auto clocks = disk_->now.clocks;
    for (const auto& [where, key] : disk_->now.log)
      clocks[where.first].add(where.second);
    return {{clocks.begin(), clocks.end()}, {}};
  }

  read_result get_meta(std::string_view name) const override {
    std::lock_guard<std::mutex> lock{disk_->mutex};
    auto found = disk_->now.meta.find(name);
    if (found == disk_->now.meta.end())
      return {};
    return {found->second, {}};
  }

private:
  status fail(std::string why) {
    failure_ = std::move(why);
    return {failure_};
  }
  static status damaged() { return {"memory: cannot read: a malformed operand was merged, or a wrong object"}; }

  std::shared_ptr<memory_disk> disk_;
  std::string failure_; ///< The first one; guarded by the disk's mutex.
};

} // namespace

std::unique_ptr<store> open_memory(std::shared_ptr<memory_disk> disk) {
  return std::make_unique<memory_store>(std::move(disk));
}

} // namespace crema::storage
