#include "actors/handshake.hpp"

#include <fmt/format.h>

namespace crema {

hello hello_from(const node_env& env) {
  return {env.speaks.newest, env.config.cluster, env.name, env.incarnation, env.fingerprint, env.speaks.oldest};
}

std::string to_words(const spoken_versions& versions) {
  return versions.oldest == versions.newest ? fmt::format("{}", versions.newest)
                                            : fmt::format("{} to {}", versions.oldest, versions.newest);
}

std::string no_common_version(const hello& peer, const node_env& env) {
  return fmt::format("{} speaks messages of version {}, {} those of {} (allowed: releases that have one in common; "
                     "upgrade over one in between)",
                     peer.node, to_words(peer.versions()), env.name, to_words(env.speaks));
}

} // namespace crema
