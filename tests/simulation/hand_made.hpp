// Histories written by hand, to show the checkers something wrong (or right) without running anything.
#pragma once

#include "apps/simulation/checkers.hpp"

#include <gtest/gtest.h>

namespace crema::simulation::test {

using std::chrono::milliseconds;

/// One key "k" of an lww bucket (db 0) and of a siblings bucket (db 1), three owners n1, n2, n3, W = R = 2. One
/// operation every 100 ms; each takes 10 ms.
class hand_made : public testing::Test {
protected:
  hand_made() {
    for (const auto* name : {"n1", "n2", "n3"}) {
      config::node_config n;
      n.name = name;
      cluster.nodes.push_back(n);
    }
    for (auto rule : {conflict_rule::lww, conflict_rule::siblings}) {
      config::bucket_config b;
      b.name = rule == conflict_rule::lww ? "registers" : "siblings";
      b.id = b.db = static_cast<bucket_id>(cluster.buckets.size());
      b.conflict = rule;
      b.sloppy = false;
      cluster.buckets.push_back(b);
    }
  }

  static protocol::dot_clock clock(std::initializer_list<uint64_t> counters) {
    protocol::dot_clock c;
    for (auto n : counters)
      c.add(dot{7, n});
    return c;
  }
  static vnode_id vnode(bucket_id bucket) { return {bucket, 0}; }

  /// What the giver stored for counter `n` of replica 7.
  void named(bucket_id bucket, uint64_t n, const std::string& value, const protocol::dot_clock& replaces = {},
             protocol::expiry_ms expires_at = 0) {
    auto time = from_micros(1'000'000 + n);
    auto remove = value.empty();
    auto delta = bucket == 0 ? protocol::encode_lww({time, {7, n}, expires_at, remove, value}) : std::string{};
    if (bucket == 1) {
      protocol::siblings_object x;
      x.seen = replaces;
      if (!remove)
        x.siblings.push_back({{7, n}, time, expires_at, value});
      delta = protocol::encode_siblings(x);
    }
    writes[{vnode(bucket), dot{7, n}}] = {"k", delta, 0, now + milliseconds{5}};
  }

  operation next(client_request::kind what, bucket_id bucket) {
    operation op;
    op.request.what = what;
    op.request.bucket = bucket;
    op.request.key = "k";
    op.invoked = now;
    op.completed = now + milliseconds{10};
    op.wall_invoked = op.wall_completed = 5000;
    op.result = outcome::ok;
    now += milliseconds{100};
    return op;
  }
  /// A put that becomes write `n`; an empty value: a remove.
  void put(bucket_id bucket, uint64_t n, const std::string& value, const protocol::dot_clock& context = {}) {
    named(bucket, n, value, context);
    auto op = next(value.empty() ? client_request::kind::remove : client_request::kind::put, bucket);
    op.request.value = value;
    if (bucket == 1) {
      op.request.context = context;
      op.context = context;
      op.context.add(dot{7, n});
    }
    operations.add(std::move(op));
  }
  /// A remove that reads first and becomes write `n`; `seen`: the context of what it read.
  void remove(bucket_id bucket, uint64_t n, bool existed, const protocol::dot_clock& seen = {}) {
    named(bucket, n, "", seen);
    auto op = next(client_request::kind::remove, bucket);
    op.request.read_first = true;
    op.existed = existed;
    if (bucket == 1) {
      op.context = seen;
      op.context.add(dot{7, n});
    }
    operations.add(std::move(op));
  }
  operation read(bucket_id bucket, std::initializer_list<uint64_t> returned, const protocol::dot_clock& context = {}) {
    auto op = next(client_request::kind::get, bucket);
    op.context = context;
    for (auto n : returned) {
      auto found = writes.find({vnode(bucket), dot{7, n}});
      EXPECT_NE(found, writes.end());
      if (bucket == 0) {
        auto x = protocol::decode_lww(found->second.delta);
        op.values.push_back({std::string{x->value}, x->expires_at, x->time});
      } else {
        auto x = protocol::decode_siblings(found->second.delta);
        op.values.push_back({x->siblings[0].value, x->siblings[0].expires_at, x->siblings[0].time});
      }
    }
    return op;
  }
  void add(operation op) { operations.add(std::move(op)); }

  evidence all() {
    return {cluster,
            operations,
            writes,
            closed,
            faults,
            [](bucket_id, const std::string&) {
              return std::vector<size_t>{0, 1, 2};
            },
            [this](bucket_id, const std::string&) { return ownerships; }};
  }
  findings check_all() {
    findings out;
    auto e = all();
    model m{e, out};
    check_replies(e, out);
    check_reads(e, m, out);
    check_writes(e, m, out);
    check_sets(e, m, out);
    check_lww_order(e, m, out);
    check_monotonic_reads(e, m, out);
    return out;
  }
  /// The one thing the checkers find; "" if nothing.
  std::string finding() {
    auto found = check_all();
    return found.empty() ? "" : found.front().checker;
  }

  config::cluster_config cluster;
  history operations;
  std::map<std::pair<vnode_id, dot>, named_write> writes;
  std::set<std::pair<vnode_id, dot>> closed;
  fault_log faults;
  std::vector<world::ownership> ownerships; ///< Of both keys; none: they have always been the same.
  sim_time now{milliseconds{100}};
};

} // namespace crema::simulation::test
