#include "actors/exchange_log.hpp"

#include "protocol/object.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace crema {

namespace {

const char* name_of(replica_op::kind what) {
  switch (what) {
  case replica_op::kind::put:
    return "put";
  case replica_op::kind::apply:
    return "apply";
  case replica_op::kind::get:
    return "get";
  case replica_op::kind::digest:
    return "digest";
  }
  return "?";
}

/// "1700000000.123456", and what is counted within the microsecond.
std::string show(timestamp t) {
  auto micros = to_micros(t);
  auto text = fmt::format("{}.{:06}", micros / 1'000'000, micros % 1'000'000);
  auto count = t - from_micros(micros);
  return count == 0 ? text : text + fmt::format("+{}", count);
}

std::string show(const dot& d) { return fmt::format("{:016x}:{}", d.replica, d.counter); }

void describe_object(const std::string& bytes, explanation::fields& out) {
  if (auto x = protocol::decode_lww(bytes)) {
    out.emplace_back("dot", show(x->id));
    out.emplace_back("time", show(x->time));
    out.emplace_back("holds", x->tombstone ? "a tombstone" : fmt::format("{} bytes", x->value.size()));
  } else if (auto set = protocol::view_siblings(bytes)) {
    for (const auto& s : set->siblings) {
      out.emplace_back("dot", show(s.id));
      out.emplace_back("time", show(s.time));
    }
    out.emplace_back("holds", fmt::format("{} siblings", set->siblings.size()));
  } else {
    out.emplace_back("holds", "nothing");
  }
}

} // namespace

std::string exchange_log::micros_since_begin(protocol::monotonic now) const {
  return std::to_string(std::chrono::duration_cast<std::chrono::microseconds>(now - begun_).count());
}

exchange_log::exchange* exchange_log::find(const std::string& node, uint64_t request, const std::string& what) {
  auto i = std::find_if(exchanges_.rbegin(), exchanges_.rend(), [&](const exchange& x) {
    return x.open && x.node == node && x.request == request && (what.empty() || x.what == what);
  });
  return i == exchanges_.rend() ? nullptr : &*i;
}

void exchange_log::asked(const std::string& node, const replica_op& op, bool again, protocol::monotonic now) {
  std::string what = name_of(op.what);
  exchange x{node, op.request, what, true, {}};
  x.fields = {{"node", node},
              {"role", op.fallback ? "fallback" : "owner"},
              {"asked", what + (again ? ", second round" : "") + (op.any_time ? ", at any time" : "")},
              {"asked_after_us", micros_since_begin(now)}};
  if (op.what == replica_op::kind::put && op.time != 0)
    x.fields.emplace_back("later_than", show(op.time));
  exchanges_.push_back(std::move(x));
}

void exchange_log::answered(const std::string& node, const replica_answer& a, protocol::monotonic now) {
  using kind = replica_answer::kind;
  // A node may be asked for the digest and then for the object, under one number.
  auto* x = find(node, a.request, a.what == kind::object ? "get" : a.what == kind::digest ? "digest" : "");
  if (x == nullptr)
    return;
  auto& out = x->fields;
  x->open = a.what == kind::given && !a.durable;
  switch (a.what) {
  case kind::given:
    out.emplace_back("answer", a.durable ? "given" : "given, not on disk yet");
    out.emplace_back("dot", show(dot{a.dot_replica, a.dot_counter}));
    out.emplace_back("time", show(a.time));
    break;
  case kind::written:
    out.emplace_back("answer", "written");
    if (a.time != 0)
      out.emplace_back("newer", show(a.time));
    break;
  case kind::object:
    out.emplace_back("answer", "object");
    describe_object(a.data, out);
    out.emplace_back("digest", fmt::format("{:016x}", a.digest));
    break;
  case kind::digest:
    out.emplace_back("answer", "digest");
    out.emplace_back("digest", fmt::format("{:016x}", a.digest));
    break;
  case kind::refused:
    out.emplace_back("answer", "refused: " + std::string{to_string(a.status)});
    out.emplace_back("why", a.data);
    break;
  }
  out.emplace_back("answered_after_us", micros_since_begin(now));
}

void exchange_log::lost(const std::string& node, protocol::monotonic now) {
  for (auto& x : exchanges_) {
    if (!x.open || x.node != node || x.request == 0)
      continue;
    x.open = false;
    x.fields.emplace_back("answer", "lost");
    x.fields.emplace_back("answered_after_us", micros_since_begin(now));
  }
}

void exchange_log::repairing(const std::string& stale, const std::string& source, protocol::monotonic now) {
  exchanges_.push_back({stale,
                        0,
                        source,
                        true,
                        {{"node", stale},
                         {"role", "owner"},
                         {"asked", "repair from " + source},
                         {"asked_after_us", micros_since_begin(now)}}});
}

void exchange_log::repaired(const std::string& stale, const std::string& source, bool done, protocol::monotonic now) {
  auto* x = find(stale, 0, source);
  if (x == nullptr)
    return;
  x->open = false;
  x->fields.emplace_back("answer", done ? "repaired" : "failed");
  x->fields.emplace_back("answered_after_us", micros_since_begin(now));
}

std::vector<explanation::fields> exchange_log::rows() const {
  std::vector<explanation::fields> all;
  all.reserve(exchanges_.size());
  for (const auto& x : exchanges_) {
    all.push_back(x.fields);
    if (x.open && x.fields.back().first != "answered_after_us")
      all.back().emplace_back("answer", "none yet");
  }
  return all;
}

} // namespace crema
