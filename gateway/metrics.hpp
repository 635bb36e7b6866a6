// The gateway's numbers for Prometheus, made when somebody asks.
#pragma once

#include "gateway/resp/environment.hpp"

#include <prometheus/metric_family.h>

#include <vector>

namespace crema::gateway {

std::vector<prometheus::MetricFamily> collect_metrics(resp::environment& env);

} // namespace crema::gateway
