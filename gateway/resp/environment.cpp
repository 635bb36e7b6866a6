#include "gateway/resp/environment.hpp"

#include <algorithm>
#include <cassert>
#include <charconv>

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
  assert(!opts_.buckets.empty() && opts_.threads > 0);
  auto first = std::find_if(opts_.buckets.begin(), opts_.buckets.end(), [](const auto& b) { return b.db == 0; });
  default_bucket_ = first == opts_.buckets.end() ? &opts_.buckets.front() : &*first;
  for (uint32_t i = 0; i < opts_.threads; ++i)
    statistics_.push_back(std::make_unique<statistics>());
}

const config::bucket_config* environment::find_bucket(std::string_view name_or_db) const {
  for (const auto& bucket : opts_.buckets)
    if (bucket.name == name_or_db)
      return &bucket;
  bucket_id db = 0;
  const auto* end = name_or_db.data() + name_or_db.size();
  auto [stop, failure] = std::from_chars(name_or_db.data(), end, db);
  if (failure != std::errc{} || stop != end)
    return nullptr;
  for (const auto& bucket : opts_.buckets)
    if (bucket.db == db)
      return &bucket;
  return nullptr;
}

uint64_t environment::now_ms() const { return wall_clock_ms(opts_); }

uint64_t environment::total(counter statistics::*field) const {
  uint64_t sum = 0;
  for (const auto& one : statistics_)
    sum += ((*one).*field).get();
  return sum;
}

} // namespace crema::gateway::resp
