#include "apps/simulation/damage.hpp"

#include "apps/simulation/stored_vnodes.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace crema::simulation {

namespace {

/// With another value; nothing, if no client sees one. What expires goes at different moments, and is not repaired.
std::optional<std::string> rotten(const std::string& object) {
  if (auto x = protocol::decode_lww(object); x && !x->tombstone && x->expires_at == 0) {
    x->value = "rotten";
    return protocol::encode_lww(*x);
  }
  auto x = protocol::decode_siblings(object);
  if (!x || x->siblings.empty() ||
      std::any_of(x->siblings.begin(), x->siblings.end(), [](const auto& s) { return s.expires_at != 0; }))
    return std::nullopt;
  x->siblings.front().value = "rotten";
  return protocol::encode_siblings(*x);
}

vnode_id place_of(const storage::store& store, vnode_id vnode) {
  auto records = records_of(store);
  return records[vnode].place_of(vnode);
}

bool damage(world& w, const key_model& k, random_stream& random) {
  auto owners = k.owners;
  if (owners.size() < 2 || k.writes.empty())
    return false;
  std::rotate(owners.begin(), owners.begin() + static_cast<std::ptrdiff_t>(random.below(owners.size())), owners.end());
  auto vnode = k.writes.front().vnode;
  auto object = w.store(owners.front())->get(place_of(*w.store(owners.front()), vnode), k.key).object.value_or("");
  auto other = rotten(object);
  if (!other)
    return false;
  auto minority = (owners.size() - 1) / 2;
  auto lost = random.one_in(2) || minority == 0;
  auto several = random.between(1, lost ? owners.size() - 1 : minority);
  if (!lost && random.one_in(2))
    other = "rubbish";
  for (size_t i = 0; i < several; ++i)
    w.damage(owners[i], place_of(*w.store(owners[i]), vnode), k.key, lost ? std::string{} : *other);
  return true;
}

} // namespace

size_t damage_some(world& w, const model& m, random_stream& random) {
  size_t damaged = 0;
  for (const auto& [where, k] : m.keys())
    if (random.one_in(3) && damage(w, k, random))
      ++damaged;
  return damaged;
}

} // namespace crema::simulation
