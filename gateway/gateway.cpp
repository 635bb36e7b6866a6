#include "gateway/gateway.hpp"

#include "config/share_of_cores.hpp"
#include "gateway/http/server.hpp"
#include "gateway/metrics.hpp"
#include "gateway/resp/server.hpp"

#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

namespace crema::gateway {

namespace {

options with_defaults(options opts) {
  opts.threads = config::share_of_cores(opts.threads, 2);
  if (auto& buckets = opts.cluster_now.buckets; buckets.empty())
    buckets.emplace_back().name = "default";
  return opts;
}

std::string metrics_page(resp::environment& env, const std::string& status_json) {
  std::vector<prometheus::MetricFamily> all;
  if (env.opts().metrics)
    all = env.opts().metrics->Collect();
  for (auto& x : collect_metrics(env))
    all.push_back(std::move(x));
  for (auto& x : node_metrics(status_json))
    all.push_back(std::move(x));
  return prometheus::TextSerializer().Serialize(all);
}

} // namespace

struct gateway::implementation {
  implementation(options opts, client_backend& backend)
      : env(with_defaults(std::move(opts))), clients(env, backend),
        operators({[this] { return env.drained() ? "drained"
                                   : env.ready() ? ""
                                                 : "starting"; },
                   [&backend](std::function<void(std::string)> answer) { backend.status(std::move(answer)); },
                   [this](const std::string& json) { return metrics_page(env, json); }}) {}

  resp::environment env;
  resp::server clients;
  http::server operators;
};

gateway::gateway(options opts, client_backend& backend)
    : implementation_(std::make_unique<implementation>(std::move(opts), backend)) {}

gateway::~gateway() { stop(); }

std::optional<std::string> gateway::start() {
  const auto& http = implementation_->env.opts().http;
  if (auto failure = implementation_->operators.start(http.host, http.port))
    return "HTTP: " + *failure;
  if (auto failure = implementation_->clients.start()) {
    implementation_->operators.stop();
    return "RESP: " + *failure;
  }
  return {};
}

void gateway::stop() {
  implementation_->clients.stop();
  implementation_->operators.stop();
}

void gateway::set_view(cluster_view view) { implementation_->env.set_view(std::move(view)); }

void gateway::ready() { implementation_->clients.ready(); }

void gateway::drain(std::optional<std::string> others) {
  implementation_->env.drain(std::move(others));
  implementation_->clients.drained();
}

uint16_t gateway::resp_port() const { return implementation_->clients.port(); }
uint16_t gateway::http_port() const { return implementation_->operators.port(); }
size_t gateway::clients() const { return implementation_->env.connected; }

options make_options(const config::cluster_config& cluster, const config::node_config& self) {
  options opts;
  opts.cluster = cluster.cluster;
  opts.node = self.name;
  opts.resp = {self.host, self.resp_port};
  opts.http = {self.http_host, self.http_port};
  opts.threads = cluster.limits.gateway_threads;
  opts.max_clients = cluster.limits.max_clients;
  opts.partitions = cluster.partitions;
  opts.cluster_now.buckets = cluster.buckets;
  for (const auto& n : cluster.nodes)
    opts.cluster_now.nodes.push_back({n.name, n.host, n.resp_port});
  return opts;
}

} // namespace crema::gateway
