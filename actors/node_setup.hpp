// From a checked configuration and an open store to what the actors are given: members, ring, fingerprint.
#pragma once

#include "actors/node_env.hpp"
#include "storage/store.hpp"

#include <memory>
#include <string>

namespace crema {

/// The members a configuration describes. Ids follow the order of the names, so that every host numbers alike.
std::vector<protocol::member> members_of(const config::cluster_config& config);

/// The ring that a fresh cluster starts with: epoch 1, dealt out for the largest N of any bucket.
protocol::ring claim_ring(const config::cluster_config& config);

/// The persisted ring, or, in a new store, claim_ring(), persisted now. A later version of crema may deal partitions
/// out differently; what is on disk stays where it is.
struct ring_result {
  protocol::ring_ptr ring; ///< Null on error.
  std::string error;
  bool misconfigured = false; ///< The error is the configuration's, not the store's.
};
ring_result load_or_claim_ring(storage::store& store, const config::cluster_config& config);

/// Puts the ring that a new node was told of into its store, as agreed on: it begins with that.
/// @returns an error, or nothing.
std::string adopt_ring(storage::store& store, const protocol::ring& ring);

/// Has this node, of the given data directory, left for good? If its ring says that it was removed, but it was never
/// told that enough others know (note_left), it may be the only one that does: it has to start again, to tell them.
/// @param directory not 0.
bool has_left(const storage::store& store, const protocol::ring& ring, const std::string& name, uint64_t directory);
/// On disk when it returns.
storage::status note_left(storage::store& store);

/// Fills an env for node `name` of `config`, a member or one that was removed. The caller adds time, log and
/// incarnation.
std::shared_ptr<node_env> make_env(config::cluster_config config, const std::string& name, protocol::ring_ptr ring);

} // namespace crema
