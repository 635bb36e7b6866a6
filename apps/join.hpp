// A node that becomes a member of a running cluster: it learns what the cluster is like, and waits until the members
// have agreed on it.
#pragma once

#include "apps/run_node.hpp"
#include "storage/store.hpp"

#include <spdlog/logger.h>

#include <csignal>
#include <memory>

namespace crema {

/// What the cluster is like, as kept in the data directory of a node that joined it (`joined.json`).
struct shape_result {
  std::optional<std::string> shape; ///< config::shape_of; nothing: it did not join, or `error` says what is wrong.
  std::string error;
};
shape_result kept_shape(const std::string& data_dir);
/// @returns an error, or nothing.
std::string keep_shape(const std::string& data_dir, const std::string& shape);

/// Puts the shape into the configuration of the node. @returns an error, or nothing.
std::string take_shape(config::cluster_config& config, const std::string& shape, const std::string& from);

/// How long the member is asked again and again.
enum class join_end : uint8_t { done, stopped, refused };

class join_client {
public:
  /// @param signals blocked; one of them ends the waiting.
  join_client(const config::cluster_config& config, const config::node_config& me, peer_address member,
              std::shared_ptr<spdlog::logger> log, const sigset_t& signals)
      : config_(config), me_(me), member_(std::move(member)), log_(std::move(log)), signals_(signals) {}

  /// Asks what the cluster is like until there is an answer.
  join_end fetch_shape(std::string& shape) const;
  /// Asks to become a member until the node is one; its ring is in the store then.
  join_end become_member(storage::store& store, uint64_t directory) const;

private:
  template <class Done>
  join_end ask(uint64_t directory, Done done) const;

  const config::cluster_config& config_;
  const config::node_config& me_;
  peer_address member_;
  std::shared_ptr<spdlog::logger> log_;
  const sigset_t& signals_;
};

} // namespace crema
