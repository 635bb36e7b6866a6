#include "apps/simulation/stored_vnodes.hpp"

namespace crema::simulation {

std::map<vnode_id, protocol::vnode_record> records_of(const storage::store& store) {
  std::map<vnode_id, protocol::vnode_record> records;
  for (const auto& [vnode, bytes] : store.load_records().records)
    if (auto record = protocol::decode_vnode_record(bytes))
      records.emplace(vnode, std::move(*record));
  return records;
}

std::vector<stored_vnode> vnodes_of(const storage::store& store) {
  auto records = records_of(store);
  std::vector<stored_vnode> result;
  for (auto& [place, clock] : store.load_clocks().clocks) {
    auto id = vnode_at(place);
    if (records[id].place_of(id) == place)
      result.push_back({id, place, std::move(clock)});
  }
  return result;
}

} // namespace crema::simulation
