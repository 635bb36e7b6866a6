#include "apps/simulation/checkers.hpp"
#include "apps/simulation/stored_vnodes.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <set>

namespace crema::simulation {

namespace {

constexpr const char* exact_clock = "clock and state agree";

/// What one key of one vnode must hold, given what the vnode's clock knows.
class key_check {
public:
  key_check(const evidence& e, const key_model& k, const protocol::dot_clock& clock, size_t node, findings& out)
      : e_(e), k_(k), clock_(clock), node_(node), out_(out), known_(k.writes.size()) {
    for (size_t i = 0; i < k.writes.size(); ++i)
      known_[i] = clock.contains(k.writes[i].id) && !k.writes[i].closed;
  }

  void check_register(const std::optional<std::string>& stored) {
    const write_record* newest = nullptr;
    for (size_t i = 0; i < k_.writes.size(); ++i)
      if (known_[i] && (newest == nullptr || newest->is_older(k_.writes[i])))
        newest = &k_.writes[i];
    auto x = stored ? protocol::decode_lww(*stored) : std::nullopt;
    if (stored && !x)
      return report("an object that does not decode");
    if (!x && newest != nullptr && !may_be_cleaned(*newest))
      return report(fmt::format("nothing, though its clock knows {}", name_of(*newest, e_)));
    if (x && newest == nullptr)
      return report(fmt::format("dot {}, though its clock knows no write of the key", show(x->id)));
    if (!x || newest == nullptr)
      return;
    if (x->id != newest->id)
      return report(
          fmt::format("dot {}, though the newest that its clock knows is {}", show(x->id), name_of(*newest, e_)));
    if (x->time != newest->time || x->value != newest->value || x->expires_at != newest->expires_at ||
        x->tombstone != newest->remove)
      report(fmt::format("{} with another content than its giver wrote", name_of(*newest, e_)));
  }

  void check_siblings(const std::optional<std::string>& stored) {
    protocol::siblings_object x;
    if (stored) {
      auto decoded = protocol::decode_siblings(*stored);
      if (!decoded)
        return report("an object that does not decode");
      x = std::move(*decoded);
    }
    std::set<dot> here;
    for (const auto& s : x.siblings)
      here.insert(s.id);
    for (size_t i = 0; i < k_.writes.size(); ++i) {
      const auto& w = k_.writes[i];
      auto by = std::find_if(w.replaced_by.begin(), w.replaced_by.end(), [&](size_t j) { return known_[j]; });
      auto replaced = by != w.replaced_by.end();
      auto wanted = known_[i] && !w.remove && !replaced && !may_be_cleaned(w);
      auto present = here.erase(w.id) > 0;
      if (wanted && !present)
        return report(fmt::format("no {}, which its clock knows and nothing it knows has replaced", name_of(w, e_)));
      if (present && replaced)
        return report(fmt::format("{}, though its clock knows {}, which replaced it", name_of(w, e_),
                                  name_of(k_.writes[*by], e_)));
      if (present && !known_[i])
        return report(fmt::format("{}, though its clock does not know it", name_of(w, e_)));
      if (present && !same_content(x, w))
        return report(fmt::format("{} with another content than its giver wrote", name_of(w, e_)));
      if (x.seen.contains(w.id) && !known_[i] && !replaced && !w.closed)
        return report(fmt::format("the claim that {} is replaced, which nothing it knows has done", name_of(w, e_)));
      if (replaced && !clock_.contains(w.id) && !x.seen.contains(w.id))
        return report(fmt::format("no note that {} is replaced, though its clock knows {}", name_of(w, e_),
                                  name_of(k_.writes[*by], e_)));
    }
    if (!here.empty())
      report(fmt::format("dot {}, which nobody named", show(*here.begin())));
  }

private:
  static bool same_content(const protocol::siblings_object& x, const write_record& w) {
    return std::any_of(x.siblings.begin(), x.siblings.end(), [&](const auto& s) {
      return s.id == w.id && s.time == w.time && s.expires_at == w.expires_at && s.value == w.value;
    });
  }
  /// Nothing may be left of it: it is a tombstone, or it expires (the wall clocks may differ, so no matter when).
  static bool may_be_cleaned(const write_record& w) { return w.remove || w.expires_at != 0; }
  void report(const std::string& what) {
    out_.push_back(
        {exact_clock, fmt::format("{} holds of {}: {}", e_.cluster.nodes[node_].name, name_of(k_, e_), what), {}});
  }

  const evidence& e_;
  const key_model& k_;
  const protocol::dot_clock& clock_;
  size_t node_;
  findings& out_;
  std::vector<bool> known_;
};

} // namespace

void check_store(const evidence& e, const model& m, size_t node, const storage::store& store, findings& out) {
  for (const auto& [vnode, place, clock] : vnodes_of(store)) {
    std::set<std::string> expected;
    for (const auto* k : m.keys_of(vnode)) {
      key_check check{e, *k, clock, node, out};
      auto stored = store.get(place, k->key).object;
      if (e.bucket(vnode.bucket).conflict == conflict_rule::lww)
        check.check_register(stored);
      else
        check.check_siblings(stored);
      expected.insert(k->key);
    }
    auto scanned = store.scan(place, {}, [&, id = vnode](std::string_view key, std::string_view) {
      if (expected.count(std::string{key}) == 0)
        out.push_back({"nothing invented",
                       fmt::format("{} holds a key that nobody wrote: {}/{}", e.cluster.nodes[node].name,
                                   e.bucket(id.bucket).name, key),
                       {}});
      return true;
    });
    if (!scanned.ok())
      out.push_back({exact_clock, fmt::format("{}: {}", e.cluster.nodes[node].name, scanned.error), {}});
  }
}

namespace {

std::map<vnode_id, stored_vnode> by_id(std::vector<stored_vnode> vnodes) {
  std::map<vnode_id, stored_vnode> result;
  for (auto& v : vnodes)
    result.emplace(v.id, std::move(v));
  return result;
}

/// The values that a read sees at `now_ms`; remains are nothing.
std::string state_of(const storage::store& store, vnode_id vnode, const key_model& k, uint64_t now_ms) {
  auto stored = store.get(vnode, k.key).object.value_or("");
  if (auto x = protocol::decode_lww(stored))
    return x->tombstone || protocol::expired(x->expires_at, now_ms) ? std::string{} : stored;
  auto x = protocol::decode_siblings(stored);
  if (!x)
    return stored;
  x->siblings.erase(std::remove_if(x->siblings.begin(), x->siblings.end(),
                                   [&](const auto& s) { return protocol::expired(s.expires_at, now_ms); }),
                    x->siblings.end());
  // What it names as replaced although the clock lacks it may have been lost with a disk, and is nowhere.
  x->seen = {};
  return x->empty() ? std::string{} : protocol::encode_siblings(*x);
}

std::string shown(const std::string& object) {
  if (auto x = protocol::decode_lww(object))
    return show(x->id);
  std::string text;
  if (auto x = protocol::decode_siblings(object)) {
    for (const auto& s : x->siblings)
      text += (text.empty() ? "" : " ") + show(s.id);
  }
  return text.empty() ? "nothing" : text;
}

/// What a vnode knows and another does not.
std::string only(const protocol::dot_clock& known, const protocol::dot_clock& other) {
  std::string text;
  for (const auto& r : known.missing_from(other))
    text += fmt::format(" {}{}", show({r.replica, r.first}), r.first < r.last ? fmt::format("-{}", r.last) : "");
  return text.empty() ? " nothing more" : text;
}

violation left_over(const evidence& e, size_t node, vnode_id vnode, const std::string& what) {
  return {"nothing left over",
          fmt::format("{}, {} partition {}: {}", e.cluster.nodes[node].name, e.bucket(vnode.bucket).name,
                      vnode.partition, what),
          {}};
}

} // namespace

void check_vnodes(const evidence& e, size_t node, const storage::store& store, findings& out) {
  auto left = [&](vnode_id vnode, const char* what) { out.push_back(left_over(e, node, vnode, what)); };
  for (const auto& [vnode, record] : records_of(store)) {
    if (record.role == protocol::vnode_role::temporary)
      left(vnode, "a temporary vnode");
    if (record.role == protocol::vnode_role::owner && record.state != protocol::vnode_state::complete)
      left(vnode, "the vnode is not complete");
    size_t copied = 0;
    auto unused = other_place(record.place_of(vnode));
    store.scan(unused, {}, [&](std::string_view, std::string_view) { return ++copied == 0; }).ok();
    if (copied > 0 || record.copying)
      left(vnode, "a part of a copy");
  }
}

void check_convergence(const evidence& e, const model& m, const std::vector<std::shared_ptr<storage::store>>& stores,
                       uint64_t now_ms, findings& out) {
  for (size_t n = 0; n < stores.size(); ++n)
    if (stores[n])
      check_vnodes(e, n, *stores[n], out);
  std::vector<std::map<vnode_id, stored_vnode>> held;
  held.reserve(stores.size());
  for (const auto& s : stores)
    held.push_back(s ? by_id(vnodes_of(*s)) : std::map<vnode_id, stored_vnode>{});
  for (const auto& [where, k] : m.keys()) {
    if (k.writes.empty() || k.owners.empty())
      continue;
    auto vnode = k.writes.front().vnode;
    auto first = k.owners.front();
    auto of = [&](size_t node) -> const stored_vnode& {
      auto [found, absent] = held[node].try_emplace(vnode, stored_vnode{vnode, vnode, {}});
      if (absent) // It has no clock while it knows of nothing.
        found->second.place = records_of(*stores[node])[vnode].place_of(vnode);
      return found->second;
    };
    auto state = [&, &key = k](size_t node) { return state_of(*stores[node], of(node).place, key, now_ms); };
    auto expected = state(first);
    for (auto node : k.owners) {
      auto shows = state(node);
      const auto &mine = of(first).clock, &theirs = of(node).clock;
      auto both = e.cluster.nodes[first].name + " and " + e.cluster.nodes[node].name;
      if (shows != expected)
        out.push_back({"convergence",
                       fmt::format("{} hold different values of {}: {}, and {}", both, name_of(k, e), shown(expected),
                                   shown(shows)),
                       {}});
      else if (mine != theirs)
        out.push_back({"convergence",
                       fmt::format("{} know different writes in the vnode of {}:{}, and{}", both, name_of(k, e),
                                   only(mine, theirs), only(theirs, mine)),
                       {}});
    }
  }
}

namespace {

/// A tombstone, an expired value, alone or beside others, or the context of a removed key.
bool has_remains(std::string_view object, const protocol::dot_clock& known, uint64_t now_ms) {
  if (auto x = protocol::decode_lww(object))
    return x->tombstone || protocol::expired(x->expires_at, now_ms);
  auto x = protocol::decode_siblings(object);
  if (!x)
    return false;
  if (x->siblings.empty())
    return known.covers(x->seen);
  return std::any_of(x->siblings.begin(), x->siblings.end(),
                     [&](const auto& s) { return protocol::expired(s.expires_at, now_ms) && known.contains(s.id); });
}

} // namespace

void check_remains(const evidence& e, size_t node, const storage::store& store, uint64_t now_ms, findings& out) {
  auto left = [&](vnode_id vnode, const std::string& what) { out.push_back(left_over(e, node, vnode, what)); };
  for (const auto& [vnode, place, clock] : vnodes_of(store)) {
    size_t logged = 0;
    store.scan_log(place, clock.ranges(), [&](const dot&, std::string_view) { return ++logged > 0; }).ok();
    if (logged > 0)
      left(vnode, fmt::format("{} entries in the log, although every owner has them", logged));
    store
        .scan(place, {},
              [&, id = vnode, &known = clock](std::string_view key, std::string_view object) {
                if (has_remains(object, known, now_ms))
                  left(id, fmt::format("the remains of key {}: {}", key, shown(std::string{object})));
                return true;
              })
        .ok();
    auto due = from_micros(now_ms * 1000);
    store
        .scan_graves(place, due,
                     [&, id = vnode, &known = clock, at = place](timestamp, std::string_view key) {
                       auto object = store.get(at, key).object;
                       if (!object || has_remains(*object, known, now_ms))
                         left(id, fmt::format("a note that key {} is to be removed", key));
                       return true;
                     })
        .ok();
  }
}

void check_dropped(const evidence& e, size_t node, const storage::store& store,
                   const std::vector<protocol::bucket>& present, findings& out) {
  auto there = [&present](bucket_id id) {
    return std::any_of(present.begin(), present.end(), [id](const auto& b) { return b.id == id; });
  };
  auto left = [&](vnode_id vnode, const std::string& what) {
    out.push_back({"dropped buckets are gone",
                   fmt::format("{} holds {} of {} partition {}", e.cluster.nodes[node].name, what,
                               e.bucket(vnode.bucket).name, vnode.partition),
                   {}});
  };
  for (const auto& [place, clock] : store.load_clocks().clocks)
    if (!there(place.bucket))
      left(vnode_at(place), "a clock");
  for (const auto& [vnode, record] : records_of(store))
    if (!there(vnode.bucket) && record.role != protocol::vnode_role::none)
      left(vnode, "a vnode");
  for (const auto& b : e.cluster.buckets)
    for (uint32_t p = 0; p < e.cluster.partitions && !there(b.id); ++p) {
      vnode_id vnode{b.id, static_cast<partition_id>(p)};
      for (auto place : {vnode, other_place(vnode)}) {
        auto found = [&](const char* what, std::string_view key) {
          left(vnode, fmt::format("{} of key {}", what, key));
          return false;
        };
        store.scan(place, {}, [&](std::string_view key, std::string_view) { return found("an object", key); }).ok();
        store
            .scan_graves(place, std::numeric_limits<timestamp>::max(),
                         [&](timestamp, std::string_view key) { return found("a note", key); })
            .ok();
      }
    }
}

void check_held(const evidence& e, size_t node, const std::map<std::string, uint64_t>& counters, uint64_t vnodes,
                findings& out) {
  auto found = counters.find("vnodes");
  if (auto held = found == counters.end() ? 0 : found->second; held != vnodes)
    out.push_back(
        {"bounded memory", fmt::format("{} has {} vnodes and not {}", e.cluster.nodes[node].name, held, vnodes), {}});
}

void check_settled(const evidence& e, size_t node, const std::map<std::string, uint64_t>& counters, findings& out) {
  const auto& name = e.cluster.nodes[node].name;
  auto count = [&](const char* counter) {
    auto found = counters.find(counter);
    return found == counters.end() ? uint64_t{0} : found->second;
  };
  if (counters.count("in_flight") == 0 || count("status_unanswered") > 0)
    out.push_back({"bounded memory", fmt::format("{} does not tell its counters: an actor is stuck", name), {}});
  for (const auto* counter :
       {"in_flight", "waiting", "repairs_waiting", "syncs_running", "vnodes_incomplete", "hint_vnodes", "dots_behind"})
    if (count(counter) > 0)
      out.push_back({"bounded memory",
                     fmt::format("{} has {} {} although nobody asks for anything", name, count(counter), counter),
                     {}});
}

void check_scrubs(const evidence& e, size_t node, const std::map<std::string, uint64_t>& counters, findings& out) {
  for (const auto* counter : {"scrub_differences", "scrub_repaired", "scrub_restored"})
    if (auto found = counters.find(counter); found == counters.end() || found->second > 0)
      out.push_back({"no damage is imagined",
                     fmt::format("{} counts {} {}, and no disk has damaged anything", e.cluster.nodes[node].name,
                                 found == counters.end() ? "no" : std::to_string(found->second), counter),
                     {}});
}

namespace {

dot gap_of(const protocol::dot_clock& clock) {
  auto first = clock.gaps().ranges().front();
  return {first.replica, first.first};
}

} // namespace

void check_clocks(const evidence& e, size_t node, const storage::store& store, findings& out) {
  for (const auto& [vnode, place, clock] : vnodes_of(store)) {
    auto found = [&, id = vnode](const std::string& what) {
      out.push_back({"bounded memory",
                     fmt::format("{} has a clock with gaps for {} partition {}, {}", e.cluster.nodes[node].name,
                                 e.bucket(id.bucket).name, id.partition, what),
                     {}});
    };
    if (clock.has_gaps())
      found(fmt::format("that nobody can fill: {}", show(gap_of(clock))));
  }
}

} // namespace crema::simulation
