#include "gateway/resp/environment.hpp"

#include <algorithm>
#include <cassert>

namespace crema::gateway::resp {

namespace {

uint64_t wall_clock_ms(const options& opts) {
  using namespace std::chrono;
  if (opts.wall_clock_ms)
    return opts.wall_clock_ms();
  return static_cast<uint64_t>(duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count());
}

} // namespace

void client_list::update(const client_info& info) {
  std::lock_guard lock(mutex_);
  clients_[info.id] = info;
}

void client_list::remove(uint64_t id) {
  std::lock_guard lock(mutex_);
  clients_.erase(id);
}

std::vector<client_info> client_list::all() const {
  std::lock_guard lock(mutex_);
  std::vector<client_info> result;
  result.reserve(clients_.size());
  for (const auto& [id, info] : clients_)
    result.push_back(info);
  return result;
}

environment::environment(options opts) : started_ms(wall_clock_ms(opts)), opts_(std::move(opts)) {
  assert(!opts_.cluster_now.buckets.empty() && opts_.threads > 0);
  set_view(opts_.cluster_now);
  for (uint32_t i = 0; i < opts_.threads; ++i)
    statistics_.push_back(std::make_unique<statistics>());
}

void environment::set_view(cluster_view view) {
  std::lock_guard lock(mutex_);
  if (!views_.empty() && views_.back()->buckets == view.buckets && views_.back()->nodes == view.nodes)
    return;
  views_.push_back(std::make_unique<const cluster_view>(std::move(view)));
  view_.store(views_.back().get(), std::memory_order_release);
}

uint64_t environment::now_ms() const { return wall_clock_ms(opts_); }

uint64_t environment::total(counter statistics::*field) const {
  uint64_t sum = 0;
  for (const auto& one : statistics_)
    sum += ((*one).*field).get();
  return sum;
}

void environment::drain(std::optional<std::string> others) {
  std::lock_guard lock(others_mutex_);
  others_ = others.value_or("");
  drained_ = others.has_value();
}

std::string environment::drained_text() const {
  std::lock_guard lock(others_mutex_);
  return "DRAINED " + opts_.node +
         " takes no requests now: " + (others_.empty() ? "and no other node is known that does" : "ask " + others_);
}

} // namespace crema::gateway::resp
