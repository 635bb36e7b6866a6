#include "gateway/metrics.hpp"

#include <nlohmann/json.hpp>

namespace crema::gateway {

namespace {

using prometheus::MetricFamily;
using prometheus::MetricType;

MetricFamily family(const char* name, const char* help, MetricType type, uint64_t value) {
  prometheus::ClientMetric metric;
  (type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = static_cast<double>(value);
  return {name, help, type, {std::move(metric)}};
}

/// One value for each other member.
void add_sync_metrics(const nlohmann::json& status, std::vector<MetricFamily>& all) {
  auto found = status.find("sync");
  if (found == status.end() || !found->is_array())
    return;
  struct field {
    const char *name, *help, *key;
    double unit;
  };
  constexpr field fields[] = {
      {"crema_sync_heard_seconds", "So long ago the peer told what it has", "heard_ms_ago", 0.001},
      {"crema_sync_we_lack_writes", "Writes that the peer has and this node lacks", "we_lack", 1},
      {"crema_sync_it_lacks_writes", "Writes that the peer is not known to have, of those it should", "it_lacks", 1},
  };
  for (const auto& f : fields) {
    MetricFamily family{f.name, f.help, MetricType::Gauge, {}};
    for (const auto& peer : *found) {
      if (!peer.is_object() || !peer.contains(f.key) || !peer[f.key].is_number())
        continue;
      prometheus::ClientMetric metric;
      metric.label = {{"peer", peer.value("peer", "")}};
      metric.gauge.value = peer[f.key].get<double>() * f.unit;
      family.metric.push_back(std::move(metric));
    }
    if (!family.metric.empty())
      all.push_back(std::move(family));
  }
}

} // namespace

std::vector<MetricFamily> collect_metrics(resp::environment& env) {
  using resp::statistics;
  auto counter = [](const char* name, const char* help, uint64_t value) {
    return family(name, help, MetricType::Counter, value);
  };
  std::vector<MetricFamily> all;
  all.push_back(family("crema_clients_connected", "RESP connections", MetricType::Gauge, env.connected));
  all.push_back(counter("crema_clients_accepted_total", "RESP connections accepted so far", env.accepted));
  all.push_back(counter("crema_clients_rejected_total", "RESP connections beyond max_clients", env.rejected));
  all.push_back(counter("crema_commands_total", "Commands received", env.total(&statistics::commands)));
  all.push_back(counter("crema_command_errors_total", "Error replies", env.total(&statistics::errors)));
  all.push_back(counter("crema_key_requests_total", "Requests for one key", env.total(&statistics::requests)));
  all.push_back(counter("crema_request_batches_total", "Batches of requests", env.total(&statistics::batches)));
  all.push_back(counter("crema_client_bytes_in_total", "Bytes read from clients", env.total(&statistics::bytes_in)));
  all.push_back(counter("crema_client_bytes_out_total", "Bytes written to clients", env.total(&statistics::bytes_out)));
  return all;
}

std::vector<MetricFamily> node_metrics(const std::string& status_json) {
  std::vector<MetricFamily> all;
  auto status = nlohmann::json::parse(status_json, nullptr, false);
  if (!status.is_object() || !status.contains("counters") || !status["counters"].is_object())
    return all;
  for (const auto& [name, value] : status["counters"].items()) {
    if (!value.is_number())
      continue;
    prometheus::ClientMetric metric;
    metric.untyped.value = value.get<double>();
    all.push_back(
        {"crema_node_" + name, "Of the node's actors, as in /status", MetricType::Untyped, {std::move(metric)}});
  }
  add_sync_metrics(status, all);
  return all;
}

} // namespace crema::gateway
