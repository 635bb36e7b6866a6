// The gateway's way into the actors: client_backend over coordinator and node handles. Thread-safe.
#pragma once

#include "messages/client.hpp"
#include "messages/local.hpp"

#include <caf/all.hpp>

#include <vector>

namespace crema {

class actor_backend final : public client_backend {
public:
  actor_backend(caf::actor node, std::vector<caf::actor> coordinators)
      : node_(std::move(node)), coordinators_(std::move(coordinators)) {}

  void submit(client_batch batch) override;
  void status(std::function<void(std::string json)> answer) override;
  void sync_point(uint64_t id, std::function<void(std::string json)> answer) override;
  void repair(repair_order order, std::function<void(std::string json)> answer) override;
  void topology(topology_order order, std::function<void(std::string json)> answer) override;
  void count_keys(bucket_id bucket,
                  std::function<void(std::optional<uint64_t> count, std::string error)> answer) override;

private:
  caf::actor node_;
  std::vector<caf::actor> coordinators_;
};

} // namespace crema
