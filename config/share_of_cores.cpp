#include "config/share_of_cores.hpp"

#include <algorithm>
#include <cassert>
#include <thread>

namespace crema::config {

uint32_t share_of_cores(uint32_t configured, uint32_t cores_each) {
  assert(cores_each > 0);
  return configured != 0 ? configured : std::max(1U, std::thread::hardware_concurrency() / cores_each);
}

} // namespace crema::config
