// The versions of what nodes say to each other. A node speaks a range of them; on each link both speak the newest that
// both know, so that a cluster can be upgraded node by node (docs/adr/0011-message-versions.md).
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

namespace crema {

/// Of every message from node to node the first field. On the wire.
///   12  the range of versions in `hello`; every answer begins with a version
///   13  heartbeat::release
constexpr uint16_t message_version_oldest = 12;
constexpr uint16_t message_version_newest = 13;

struct spoken_versions {
  uint16_t oldest = message_version_oldest;
  uint16_t newest = message_version_newest;

  bool include(uint16_t version) const { return oldest <= version && version <= newest; }
};

/// What the two speak with each other; nothing: they cannot.
constexpr std::optional<uint16_t> common_version(const spoken_versions& a, const spoken_versions& b) {
  auto newest = std::min(a.newest, b.newest);
  return newest >= std::max(a.oldest, b.oldest) ? std::optional{newest} : std::nullopt;
}

} // namespace crema
