// What disks lose or get wrong while the clocks on them stay as they are.
#pragma once

#include "apps/simulation/model.hpp"
#include "apps/simulation/random.hpp"
#include "apps/simulation/world.hpp"

namespace crema::simulation {

/// Of some keys: the object is gone at some owners, but not at all; or, at fewer than half of them, its value is
/// another or nothing that decodes. All owners must be level.
/// @returns how many keys were damaged.
size_t damage_some(world& w, const model& m, random_stream& random);

} // namespace crema::simulation
