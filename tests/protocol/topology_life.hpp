// A cluster's ring driven through its epochs. Whatever is done, the laws that hold of every epoch are checked.
#pragma once

#include "protocol/ring_encoding.hpp"
#include "protocol/topology_plan.hpp"
#include "tests/protocol/least_moves.hpp"
#include "tests/protocol/ring_laws.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace crema::protocol {

/// n3 on host3, in the given zone.
inline new_node node_named(uint32_t number, const std::string& zone = "", const std::string& group = "") {
  new_node x;
  x.name = "n" + std::to_string(number);
  x.host = "host" + std::to_string(number);
  x.zone = zone;
  x.group = group;
  x.directory = 1000 + number;
  return x;
}

/// Another number of copies.
inline set_bucket copies_of(uint32_t n) {
  set_bucket x{"default", {}};
  x.settings.n = n;
  return x;
}

/// The ring of epoch 1.
inline ring first_ring(std::vector<member> all, uint32_t n, uint32_t partitions = 64) {
  ring r;
  r.epoch = 1;
  for (auto& m : all)
    m.directory = 1000 + to_index(m.id);
  r.next_id = to_index(all.back().id) + 1;
  r.owners = claim({}, all, partitions, n);
  r.since.assign(partitions, 1);
  r.members = std::move(all);
  return r;
}

/// What is refused, or "" and a failure if it is not.
template <class T>
std::string why_refused(const or_refused<T>& x) {
  const auto* no = std::get_if<refused>(&x);
  EXPECT_NE(no, nullptr);
  return no != nullptr ? no->why : "";
}
template <class T>
T allowed(or_refused<T> x) {
  const auto* no = std::get_if<refused>(&x);
  EXPECT_EQ(no, nullptr) << no->why;
  return no == nullptr ? std::get<T>(std::move(x)) : T{};
}

class topology_life {
public:
  topology_life(ring first, uint32_t n) : now(std::move(first)) {
    given.origin = 4711;
    bucket b;
    b.name = "default";
    b.set({n, n / 2 + 1, n / 2 + 1});
    now.buckets = {b};
    for (const auto& m : now.members)
      ids_[m.id] = m.name;
  }

  ring now;
  planning given;
  size_t plans = 0, moved = 0, least = 0; ///< Of all plans: what they moved, and what they had to.
  size_t inexact = 0;                     ///< Plans of which the simple bound does not tell how little there can be.

  /// Begins, or changes what is under way.
  topology_plan plan(const std::vector<topology_change>& changes) {
    auto result = allowed(plan_topology(now, changes, given));
    if (result.after.epoch == 0)
      return result;
    EXPECT_TRUE(allowed(plan_topology(now, changes, given)).after == result.after) << "It is a function.";
    EXPECT_LE(result.added_at_least, result.added);
    ++plans;
    moved += result.added;
    auto must = result.added_at_least;
    if (result.added > must && result.after.groups.empty()) { // The bound counts shares alone; see what really can be.
      ++inexact;
      const auto& next = result.after.joint() ? result.after.next : result.after.owners;
      auto before = had(changes, result.after);
      auto asked_for = result.added - protocol::moved(before, next); // The places of those that are replaced.
      must = asked_for + least_moves(before, staying(result.after.members), static_cast<uint32_t>(next.front().size()));
    }
    EXPECT_TRUE(result.added == must || !result.after.groups.empty()) << result.added << " moved, least " << must;
    least += must;
    check_plan(result);
    enter(result.after);
    return result;
  }
  void complete() {
    auto before = now;
    enter(allowed(complete_change(now)));
    EXPECT_EQ(now.owners, before.next);
    EXPECT_EQ(now.former, before.owners);
    EXPECT_FALSE(now.joint());
    for (const auto& m : now.members)
      EXPECT_NE(m.state, member_state::joining);
    EXPECT_EQ(now.members.size(), before.members.size());
  }
  void settle() {
    auto before = now;
    enter(allowed(settle_change(now)));
    EXPECT_EQ(now.owners, before.owners);
    EXPECT_TRUE(now.former.empty());
    EXPECT_FALSE(now.job);
    for (const auto& m : before.members) {
      auto has_left = std::find(now.removed.begin(), now.removed.end(), former_member{m.id, m.name, m.directory});
      EXPECT_EQ(m.stays(), now.find(m.id) != nullptr);
      EXPECT_EQ(m.stays(), has_left == now.removed.end());
    }
    for (const auto& m : now.members)
      EXPECT_EQ(m.state, member_state::full);
  }
  /// All that `node` has to do with knows the present epoch.
  void knows(const std::string& node) { given.state.progress[now.find(node)->id].epoch = now.epoch; }
  void all_know() {
    for (const auto& m : now.members)
      knows(m.name);
  }
  void cancel() { enter(allowed(cancel_change(now))); }
  void pause(bool paused) {
    auto before = now;
    enter(allowed(pause_change(now, paused)));
    EXPECT_EQ(now.since, before.since);
    before.epoch = now.epoch;
    before.job->paused = paused;
    EXPECT_TRUE(before == now);
  }
  void finish() {
    if (now.joint())
      complete();
    if (!now.former.empty() || staying(now.members).size() < now.members.size())
      settle();
  }
  topology_plan change(const std::vector<topology_change>& changes) {
    auto result = plan(changes);
    finish();
    return result;
  }

  static std::vector<member> staying(std::vector<member> all) {
    all.erase(std::remove_if(all.begin(), all.end(), [](const member& m) { return !m.stays(); }), all.end());
    return all;
  }

private:
  /// What is copied already, or about to be. A replacement counts as the node that it replaces.
  ring_table had(const std::vector<topology_change>& changes, const ring& after) const {
    auto table = now.joint() ? now.next : now.owners;
    for (const auto& c : changes)
      if (const auto* x = std::get_if<replace_node>(&c))
        for (auto& row : table)
          std::replace(row.begin(), row.end(), now.find(x->name)->id, after.find(x->by.name)->id);
    for (size_t p = 0; p < table.size(); ++p)
      table[p].insert(table[p].end(), now.owners[p].begin(), now.owners[p].end());
    return table;
  }

  static std::set<node_id> as_set(const std::vector<node_id>& row) { return {row.begin(), row.end()}; }

  /// Does a bucket with any N see other owners, or others to write to?
  static bool differ(const ring& a, const ring& b, partition_id p) {
    for (uint32_t n = 1; n <= 12; ++n)
      if (as_set(a.owners_of(p, n)) != as_set(b.owners_of(p, n)) ||
          as_set(a.also_written(p, n)) != as_set(b.also_written(p, n)) ||
          (a.joint() != b.joint() && !a.also_written(p, n).empty()))
        return true;
    return false;
  }

  void enter(const ring& after) {
    ASSERT_EQ(after.epoch, now.epoch + 1);
    ASSERT_EQ(after.origin, 4711U);
    ASSERT_GE(after.next_id, now.next_id);
    ASSERT_EQ(after.since.size(), after.owners.size());
    ASSERT_TRUE(after.next.empty() || after.former.empty());
    for (uint32_t p = 0; p < after.partitions(); ++p) {
      auto id = static_cast<partition_id>(p);
      ASSERT_EQ(after.since[p], differ(now, after, id) ? after.epoch : now.since_of(id)) << "partition " << p;
    }
    for (const auto& m : after.members) {
      auto known = ids_.emplace(m.id, m.name).first->second;
      ASSERT_EQ(known, m.name) << "An id is never another node's.";
      ASSERT_LT(to_index(m.id), after.next_id);
      ASSERT_TRUE(now.find(m.id) != nullptr || to_index(m.id) >= now.next_id);
    }
    ASSERT_TRUE(std::is_sorted(after.members.begin(), after.members.end(),
                               [](const member& a, const member& b) { return a.id < b.id; }));
    auto again = decode_ring(encode_ring(after));
    ASSERT_TRUE(again && *again == after);
    now = after;
  }

  void check_plan(const topology_plan& plan) const {
    const auto& after = plan.after;
    const auto& next = after.joint() ? after.next : after.owners;
    EXPECT_EQ(after.owners, now.owners) << "Owners stay until others are complete.";
    EXPECT_EQ(after.joint() || !after.former.empty(), after.job.has_value());
    EXPECT_EQ(plan.moved, protocol::moved(now.owners, next));
    for (const auto& row : next)
      for (auto id : row)
        EXPECT_TRUE(after.find(id) != nullptr && after.find(id)->stays());
    std::map<std::pair<node_id, node_id>, uint32_t> possible; // Whoever has it may give it.
    for (size_t p = 0; p < next.size(); ++p)
      for (auto to : next[p])
        if (std::find(now.owners[p].begin(), now.owners[p].end(), to) == now.owners[p].end())
          for (auto from : now.owners[p])
            ++possible[{from, to}];
    size_t copied = 0;
    for (const auto& t : plan.transfers) {
      auto from_to = std::pair(t.from, t.to);
      EXPECT_LE(t.partitions, possible[from_to]);
      EXPECT_NE(after.find(t.from)->state, member_state::gone);
      copied += t.partitions;
    }
    if (plan.lost == 0) {
      EXPECT_EQ(copied, plan.moved);
    }
    auto had = owned(now.owners, UINT32_MAX), has = owned(next, UINT32_MAX);
    for (const auto& s : plan.nodes) {
      EXPECT_EQ(s.before, had[s.id]);
      EXPECT_EQ(s.after, has[s.id]);
    }
  }

  std::map<node_id, std::string> ids_;
};

} // namespace crema::protocol
