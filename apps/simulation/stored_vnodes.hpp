// What a node's disk holds of its vnodes, and where (docs/storage.md).
#pragma once

#include "protocol/dot_clock.hpp"
#include "protocol/vnode_record.hpp"
#include "storage/store.hpp"

#include <map>
#include <vector>

namespace crema::simulation {

struct stored_vnode {
  vnode_id id;
  vnode_id place;
  protocol::dot_clock clock;
};

/// Without those that do not decode.
std::map<vnode_id, protocol::vnode_record> records_of(const storage::store& store);
/// Without parts of copies, which nobody reads.
std::vector<stored_vnode> vnodes_of(const storage::store& store);

} // namespace crema::simulation
