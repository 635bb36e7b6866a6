// How many threads or actors a setting of 0 stands for.
#pragma once

#include <cstdint>

namespace crema::config {

/// @returns `configured`, or if that is 0 one per `cores_each` cores of this machine, at least 1.
/// @pre cores_each > 0
uint32_t share_of_cores(uint32_t configured, uint32_t cores_each);

} // namespace crema::config
