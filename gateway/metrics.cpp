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
  return all;
}

} // namespace crema::gateway
