// What both sides of a new link say of themselves, and of the versions of messages that they speak.
#pragma once

#include "actors/node_env.hpp"
#include "messages/peer.hpp"

#include <string>

namespace crema {

hello hello_from(const node_env& env);

/// "12 to 13"
std::string to_words(const spoken_versions& versions);
/// Why two nodes cannot speak with each other, and what to do about it.
std::string no_common_version(const hello& peer, const node_env& env);

} // namespace crema
