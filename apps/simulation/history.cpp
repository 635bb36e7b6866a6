#include "apps/simulation/history.hpp"

#include <fmt/format.h>

namespace crema::simulation {

size_t history::invoke(operation op) {
  op.id = operations_.size();
  if (op.request.what == client_request::kind::put)
    writers_.emplace(write_name(op.request.value), operations_.size());
  operations_.push_back(std::move(op));
  return operations_.size() - 1;
}

void history::add(operation op) {
  auto done = op.acknowledged();
  invoke(std::move(op));
  acknowledged_ += done ? 1 : 0;
}

void history::complete(size_t index, const client_reply& reply, sim_time now, uint64_t wall_ms) {
  auto& op = operations_[index];
  op.completed = now;
  op.wall_completed = wall_ms;
  op.status = reply.status;
  op.error = reply.error;
  op.values = reply.values;
  op.context = reply.context;
  op.existed = reply.existed;
  op.result = outcome_of(reply.status, op.is_read());
  acknowledged_ += op.acknowledged() ? 1 : 0;
}

void history::lose(size_t index, sim_time now, uint64_t wall_ms) {
  auto& op = operations_[index];
  op.completed = now;
  op.wall_completed = wall_ms;
  op.result = outcome::lost;
}

size_t history::writer_of(std::string_view value) const {
  auto found = writers_.find(std::string{write_name(value)});
  return found == writers_.end() || operations_[found->second].request.value != value ? none : found->second;
}

outcome outcome_of(errc status, bool read) {
  switch (status) {
  case errc::ok:
    return outcome::ok;
  case errc::timeout:
  case errc::unknown_outcome:
    return read ? outcome::not_done : outcome::unknown;
  default:
    return outcome::not_done;
  }
}

std::string_view write_name(std::string_view value) { return value.substr(0, value.find('|')); }

std::vector<std::string_view> elements_of(std::string_view value) {
  std::vector<std::string_view> result{write_name(value)};
  auto bar = value.find('|');
  if (bar == std::string_view::npos)
    return result;
  for (auto rest = value.substr(bar + 1); !rest.empty();) {
    auto comma = rest.find(',');
    result.push_back(rest.substr(0, comma));
    rest = comma == std::string_view::npos ? std::string_view{} : rest.substr(comma + 1);
  }
  return result;
}

std::string show(sim_time at) {
  auto micros = std::chrono::duration_cast<std::chrono::microseconds>(at).count();
  return fmt::format("{}.{:06} s", micros / 1'000'000, micros % 1'000'000);
}

namespace {

using protocol::quorum_level;

std::string level_of(const quorum_level& level) {
  using kind = quorum_level::kind;
  switch (level.level) {
  case kind::one:
    return "one";
  case kind::quorum:
    return "quorum";
  case kind::all:
    return "all";
  case kind::number:
    return std::to_string(level.count);
  default:
    return "default";
  }
}

/// "R 2, PR quorum"
std::string levels_of(const std::string& name, const quorum_level& all, const quorum_level& owners) {
  auto text = name + " " + level_of(all);
  return owners.level == quorum_level::kind::bucket_default ? text : text + ", P" + name + " " + level_of(owners);
}

} // namespace

std::string describe(const operation& op, const config::cluster_config& cluster) {
  const auto* bucket = find_bucket(cluster, op.request.bucket);
  auto where = fmt::format("{}/{} through {}", bucket != nullptr ? bucket->name : "?", op.request.key,
                           cluster.nodes[op.node].name);
  auto read = levels_of("R", op.request.read, op.request.read_owners);
  auto write = levels_of("W", op.request.write, op.request.write_owners);
  auto levels = op.is_read() ? read : op.request.read_first ? read + ", " + write : write;
  if (op.request.repair == protocol::read_repair::foreground)
    levels += ", repair in the foreground";
  auto what = op.is_read() ? fmt::format("read {}", where)
              : op.request.what == client_request::kind::remove
                  ? fmt::format("removed {}", where)
                  : fmt::format("wrote {} to {}", write_name(op.request.value), where);
  auto ended = op.result == outcome::pending ? std::string{"never answered"}
               : op.result == outcome::ok
                   ? fmt::format("{} at {}", op.is_read() ? "answered" : "acknowledged", show(op.completed))
               : op.result == outcome::lost
                   ? fmt::format("connection lost at {}", show(op.completed))
                   : fmt::format("{} at {} ({})", to_string(op.status), show(op.completed), op.error);
  return fmt::format("client {} {} ({}{}) at {}, {}", op.client, what, levels,
                     op.request.context      ? ", with a context"
                     : op.request.read_first ? ", reading first"
                                             : "",
                     show(op.invoked), ended);
}

} // namespace crema::simulation
