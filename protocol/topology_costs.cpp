#include "protocol/topology_costs.hpp"

#include <algorithm>
#include <array>
#include <cstdio>

namespace crema::protocol {

namespace {

std::map<node_id, uint64_t> partitions_of(const ring& now) {
  std::map<node_id, uint64_t> count;
  for (const auto& row : now.owners)
    for (auto owner : row)
      ++count[owner];
  return count;
}

std::map<node_id, uint64_t> bytes_to(const std::vector<transfer>& transfers) {
  std::map<node_id, uint64_t> bytes;
  for (const auto& t : transfers)
    bytes[t.to] += t.bytes;
  return bytes;
}

bool has(const std::vector<node_id>& row, node_id node) { return std::find(row.begin(), row.end(), node) != row.end(); }

/// Of the bytes that each node is to get.
std::map<node_id, uint64_t> bytes_gained(const ring& now, const std::vector<uint64_t>& bytes) {
  std::map<node_id, uint64_t> gained;
  for (size_t p = 0; p < now.next.size() && p < bytes.size(); ++p)
    for (auto node : now.next[p])
      if (!has(now.owners[p], node))
        gained[node] += bytes[p];
  return gained;
}

} // namespace

std::vector<uint64_t> bytes_per_partition(const ring& now, const std::map<node_id, node_usage>& usage) {
  auto count = partitions_of(now);
  std::vector<uint64_t> bytes;
  auto known = false;
  for (const auto& row : now.owners) {
    uint64_t sum = 0, told = 0;
    for (auto owner : row) {
      auto found = usage.find(owner);
      if (found == usage.end() || found->second.stored == 0)
        continue;
      sum += found->second.stored / count[owner];
      ++told;
    }
    known = known || told > 0;
    bytes.push_back(told > 0 ? sum / told : 0);
  }
  return known ? bytes : std::vector<uint64_t>{};
}

std::optional<std::chrono::seconds> time_to_copy(const std::vector<transfer>& transfers, uint64_t bytes_per_second) {
  uint64_t most = 0;
  for (const auto& [node, bytes] : bytes_to(transfers))
    most = std::max(most, bytes);
  if (most == 0 || bytes_per_second == 0)
    return std::nullopt;
  return std::chrono::seconds{static_cast<int64_t>((most + bytes_per_second - 1) / bytes_per_second)};
}

std::vector<std::string> warn_of_room(const topology_plan& plan, const std::map<node_id, node_usage>& usage) {
  std::vector<std::string> result;
  for (const auto& [node, bytes] : bytes_to(plan.transfers)) {
    auto told = usage.find(node);
    const auto* m = plan.after.find(node);
    if (m == nullptr || told == usage.end() || told->second.disk_free == 0 ||
        bytes + bytes / 10 <= told->second.disk_free) // The database needs some room to tidy up.
      continue;
    result.push_back(m->name + " is to get about " + bytes_in_words(bytes) + ", and " +
                     bytes_in_words(told->second.disk_free) + " are free on its disk");
  }
  return result;
}

change_progress progress_of(const ring& now, const topology_state& state, const std::map<node_id, node_usage>& usage) {
  change_progress all;
  auto gained = bytes_gained(now, bytes_per_partition(now, usage));
  for (const auto& m : now.members) {
    auto found = state.progress.find(m.id);
    all.bytes_to_get += gained[m.id];
    if (found == state.progress.end() || found->second.epoch != now.epoch)
      continue;
    const auto& x = found->second;
    all.to_get += x.to_get;
    all.got += x.got;
    all.former += x.former;
    all.bytes_got += x.to_get > 0 ? static_cast<uint64_t>(static_cast<double>(gained[m.id]) *
                                                          static_cast<double>(x.got) / static_cast<double>(x.to_get))
                                  : 0;
  }
  return all;
}

std::string bytes_in_words(uint64_t bytes) {
  if (bytes < 1024)
    return std::to_string(bytes) + " B";
  auto value = static_cast<double>(bytes);
  const char* unit = "";
  for (const char* next : {"KiB", "MiB", "GiB", "TiB"}) {
    if (value < 1024)
      break;
    value /= 1024;
    unit = next;
  }
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.1f %s", value, unit);
  return text.data();
}

void move_pace::note(time now, uint64_t epoch, const change_progress& seen) {
  constexpr std::chrono::seconds window{10};
  if (epoch != epoch_ || seen.to_get != to_get_)
    samples_.clear(); // Nodes may still have to tell what they are to get.
  epoch_ = epoch;
  to_get_ = seen.to_get;
  samples_.push_back({now, seen.got});
  while (samples_.size() > 2 && now - samples_[1].at > window)
    samples_.pop_front();
}

double move_pace::vnodes_per_second() const {
  if (samples_.empty() || samples_.back().got < samples_.front().got)
    return 0;
  auto seconds = std::chrono::duration<double>(samples_.back().at - samples_.front().at).count();
  return seconds > 0 ? static_cast<double>(samples_.back().got - samples_.front().got) / seconds : 0;
}

std::optional<std::chrono::milliseconds> move_pace::time_left() const {
  auto pace = vnodes_per_second();
  if (pace <= 0 || samples_.back().got >= to_get_)
    return std::nullopt;
  auto seconds = static_cast<double>(to_get_ - samples_.back().got) / pace;
  return std::chrono::milliseconds{static_cast<int64_t>(std::min(seconds, 1e9) * 1000)};
}

} // namespace crema::protocol
