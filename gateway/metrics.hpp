// The numbers of the gateway and of the node behind it for Prometheus, made when somebody asks.
#pragma once

#include "gateway/resp/environment.hpp"

#include <prometheus/metric_family.h>

#include <string>
#include <vector>

namespace crema::gateway {

std::vector<prometheus::MetricFamily> collect_metrics(resp::environment& env);

/// The "counters" in a node's status (client_backend::status), each as crema_node_NAME; none if it does not parse.
std::vector<prometheus::MetricFamily> node_metrics(const std::string& status_json);

} // namespace crema::gateway
