// Who asked for a remove? Removes have no value that names their request, so each named remove is given to a request
// that it may come from, and no request to two: what is left over nobody asked for, or it was written twice.
#pragma once

#include "apps/simulation/model.hpp"

namespace crema::simulation {

/// Reports named removes that no request is left for, and acknowledged removes that no named one is left for.
void match_removes(const evidence& e, const key_model& k, findings& out);

} // namespace crema::simulation
