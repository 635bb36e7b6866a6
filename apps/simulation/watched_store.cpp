#include "apps/simulation/watched_store.hpp"

namespace crema::simulation {

namespace {

using storage::status;

class watched_batch final : public storage::write_batch {
public:
  struct name {
    dot id;
    vnode_id vnode;
    std::string key, delta;
  };
  watched_batch(std::unique_ptr<storage::write_batch> i, replica_id self) : inner(std::move(i)), self_(self) {}

  void merge(vnode_id vnode, std::string_view key, std::string_view operand) override {
    merged_ = {{}, vnode, std::string{key}, std::string{operand}};
    inner->merge(vnode, key, operand);
  }
  void merge_known(vnode_id vnode, std::string_view key, std::string_view operand, std::string_view object) override {
    merged_ = {{}, vnode, std::string{key}, std::string{operand}};
    inner->merge_known(vnode, key, operand, object);
  }
  /// A vnode that names a write merges its delta and logs its dot, in this order; pages and copies do not.
  void log(vnode_id vnode, const dot& d, std::string_view key) override {
    if (key.empty())
      closed.emplace_back(d, vnode_at(vnode));
    if (d.replica == self_ && merged_.vnode == vnode && merged_.key == key)
      names.push_back({d, vnode_at(vnode), merged_.key, merged_.delta});
    merged_ = {};
    inner->log(vnode, d, key);
  }
  void bury(vnode_id vnode, timestamp due, std::string_view key) override { inner->bury(vnode, due, key); }
  void trim_log(vnode_id vnode, const protocol::dot_range& dots) override { inner->trim_log(vnode, dots); }
  void replace(vnode_id vnode, std::string_view key, std::string_view object) override {
    inner->replace(vnode, key, object);
  }
  void erase(vnode_id vnode, std::string_view key) override { inner->erase(vnode, key); }
  void unbury(vnode_id vnode, timestamp due, std::string_view key) override { inner->unbury(vnode, due, key); }
  void drop_vnode(vnode_id vnode) override { inner->drop_vnode(vnode); }
  void save_record(vnode_id vnode, std::string_view record) override { inner->save_record(vnode, record); }
  void save_clock(vnode_id vnode, const protocol::dot_clock& clock) override { inner->save_clock(vnode, clock); }
  void put_meta(std::string_view key, std::string_view value) override {
    if (key == "agreement")
      agreement = std::string{value};
    inner->put_meta(key, value);
  }
  size_t operations() const override { return inner->operations(); }
  size_t bytes() const override { return inner->bytes(); }
  void clear() override {
    inner->clear();
    names.clear();
    closed.clear();
    agreement.reset();
  }

  std::unique_ptr<storage::write_batch> inner;
  std::vector<name> names;
  std::vector<std::pair<dot, vnode_id>> closed;
  std::optional<std::string> agreement; // The record of it.

private:
  replica_id self_;
  name merged_;
};

class watched_store final : public storage::store {
public:
  watched_store(std::unique_ptr<storage::store> inner, replica_id self, std::shared_ptr<store_watcher> watcher)
      : inner_(std::move(inner)), self_(self), watcher_(std::move(watcher)) {}

  std::unique_ptr<storage::write_batch> make_batch() const override {
    return std::make_unique<watched_batch>(inner_->make_batch(), self_);
  }
  status write(storage::write_batch& batch) override {
    if (!watcher_->alive())
      return {"the process is dead"};
    auto& mine = dynamic_cast<watched_batch&>(batch);
    auto written = inner_->write(*mine.inner);
    if (!written.ok())
      return written;
    for (const auto& n : mine.names)
      watcher_->named(n.id, n.vnode, n.key, n.delta);
    for (const auto& [d, vnode] : mine.closed)
      watcher_->closed(d, vnode);
    if (mine.agreement)
      watcher_->agreed(*mine.agreement);
    return written;
  }
  status sync() override {
    if (!watcher_->alive())
      return {"the process is dead"};
    watcher_->block_in_sync();
    auto synced = inner_->sync();
    if (synced.ok())
      watcher_->synced();
    return synced;
  }
  void request_sync() override {
    watcher_->sync_later([inner = inner_] { inner->request_sync(); });
  }
  uint64_t written() const override { return inner_->written(); }
  status health() const override { return inner_->health(); }
  uint64_t synced() const override { return inner_->synced(); }
  read_result get(vnode_id vnode, std::string_view key) const override { return inner_->get(vnode, key); }
  std::vector<read_result> get_many(const std::vector<key_ref>& keys) const override { return inner_->get_many(keys); }
  status scan(vnode_id vnode, std::string_view after,
              const std::function<bool(std::string_view, std::string_view)>& visit) const override {
    return inner_->scan(vnode, after, visit);
  }
  status scan_log(vnode_id vnode, const std::vector<protocol::dot_range>& ranges,
                  const std::function<bool(const dot&, std::string_view)>& visit) const override {
    return inner_->scan_log(vnode, ranges, visit);
  }
  status scan_graves(vnode_id vnode, timestamp until,
                     const std::function<bool(timestamp, std::string_view)>& visit) const override {
    return inner_->scan_graves(vnode, until, visit);
  }
  clocks_result load_clocks() const override { return inner_->load_clocks(); }
  records_result load_records() const override { return inner_->load_records(); }
  read_result get_meta(std::string_view name) const override { return inner_->get_meta(name); }

private:
  std::shared_ptr<storage::store> inner_;
  replica_id self_;
  std::shared_ptr<store_watcher> watcher_;
};

} // namespace

std::shared_ptr<storage::store> watch_store(std::unique_ptr<storage::store> inner, replica_id self,
                                            std::shared_ptr<store_watcher> watcher) {
  return std::make_shared<watched_store>(std::move(inner), self, std::move(watcher));
}

} // namespace crema::simulation
