// KV.*: siblings and contexts, and the node itself.
#include "config/topology_changes.hpp"
#include "gateway/resp/commands.hpp"
#include "protocol/context.hpp"
#include "protocol/slot.hpp"

#include <algorithm>

namespace crema::gateway::resp {

namespace {

vnode_id vnode_of(call& c, std::string_view key) {
  return {c.self.bucket().id, protocol::partition_of(key, c.self.env().opts().partitions)};
}

// R n, W n, PR n and PW n. @returns false with the error written.
bool parse_level(call& c, std::string_view option, std::string_view text, protocol::quorum_level& level) {
  auto upper = option == "r" ? "R" : option == "w" ? "W" : option == "pr" ? "PR" : "PW";
  auto parsed = protocol::quorum_level::parse(text);
  if (!parsed) {
    c.reply.error("ERR " + std::string(upper) + " is one, quorum, all or a number from 1 up");
    return false;
  }
  const auto& bucket = c.self.bucket();
  if (!parsed->resolve(bucket.n, 1)) {
    c.reply.error("ERR " + std::string(upper) + " is larger than the " + std::to_string(bucket.n) +
                  " replicas of bucket '" + bucket.name + "'");
    return false;
  }
  level = *parsed;
  return true;
}

bool parse_repair(call& c, std::string_view text, client_request& request) {
  if (same_word(text, "foreground"))
    request.repair = protocol::read_repair::foreground;
  else if (same_word(text, "background"))
    request.repair = protocol::read_repair::background;
  else
    c.reply.error("ERR REPAIR is foreground or background");
  return request.repair.has_value();
}

bool parse_context(call& c, std::string_view key, std::string_view token, client_request& request) {
  std::string why;
  request.context = protocol::decode_context(vnode_of(c, key), token, why);
  if (!request.context)
    c.reply.error("ERR invalid context: " + why);
  return request.context.has_value();
}

// The level that an option of this request sets; null: the request has no such option.
protocol::quorum_level* level_of(client_request& request, std::string_view option) {
  if (request.what == client_request::kind::get)
    return option == "r" ? &request.read : option == "pr" ? &request.read_owners : nullptr;
  return option == "w" ? &request.write : option == "pw" ? &request.write_owners : nullptr;
}

// The options after the first `i` arguments, each with a value, and each once. @returns false with the error written.
bool parse_options(call& c, size_t i, client_request& request) {
  auto is_get = request.what == client_request::kind::get;
  std::vector<std::string> given;
  for (; i < c.args.size(); i += 2) {
    auto option = to_lower(c.args[i].substr(0, 16));
    if (i + 1 == c.args.size() || std::find(given.begin(), given.end(), option) != given.end())
      return syntax_error(c), false;
    auto value = c.args[i + 1];
    if (auto* level = level_of(request, option); level != nullptr) {
      if (!parse_level(c, option, value, *level))
        return false;
    } else if (is_get && option == "repair") {
      if (!parse_repair(c, value, request))
        return false;
    } else if (!is_get && option == "context") {
      if (!parse_context(c, c.args[1], value, request))
        return false;
    } else if (request.what == client_request::kind::put && option == "px") {
      if (!parse_expiry(c, option, value, request.ttl_ms))
        return false;
    } else {
      return syntax_error(c), false;
    }
    given.push_back(std::move(option));
  }
  return true;
}

void ask(call& c, client_request&& request, size_t options_at, shape how) {
  auto key = c.args[1];
  request.bucket = c.self.bucket().id;
  if (!check_key(c, key) || !parse_options(c, options_at, request))
    return;
  request.key = key;
  c.self.ask(std::move(request), how, vnode_of(c, key));
}

} // namespace

void run_kv_get(call& c) {
  client_request request;
  request.what = client_request::kind::get;
  ask(c, std::move(request), 2, shape::kv_get);
}

void run_kv_put(call& c) {
  client_request request;
  request.what = client_request::kind::put;
  if (!check_value(c, c.args[2]))
    return;
  request.value = c.args[2];
  ask(c, std::move(request), 3, shape::kv_write);
}

void run_kv_del(call& c) {
  client_request request;
  request.what = client_request::kind::remove;
  auto key = c.args[1];
  request.bucket = c.self.bucket().id;
  if (!check_key(c, key) || !parse_options(c, 2, request))
    return;
  request.key = key;
  // Without a context: deletes what a quorum read sees.
  request.read_first = !request.context && c.self.bucket().conflict == conflict_rule::siblings;
  c.self.ask(std::move(request), shape::kv_write, vnode_of(c, key));
}

const command* explained_command(const std::vector<std::string_view>& args) {
  if (args.size() < 3 || !same_word(args[0], "kv.explain"))
    return nullptr;
  const auto* found = find_command(args[1]);
  if (found == nullptr || (found->run == run_del && args.size() > 3)) // One key: one request.
    return nullptr;
  auto runs = found->run;
  return runs == run_get || runs == run_set || runs == run_del || runs == run_kv_get || runs == run_kv_put ||
                 runs == run_kv_del
             ? found
             : nullptr;
}

void run_kv_explain(call& c) {
  if (c.args.size() > 2)
    return c.reply.error("ERR KV.EXPLAIN takes a key, or one of GET, KV.GET, SET, KV.PUT, DEL and KV.DEL with one key");
  client_request request;
  request.what = client_request::kind::explain;
  request.bucket = c.self.bucket().id;
  request.key = c.args[1];
  if (check_key(c, c.args[1]))
    c.self.ask(std::move(request), shape::explain);
}

void run_kv_ready(call& c) {
  if (c.self.env().ready())
    c.reply.ok();
  else
    c.reply.error("ERR starting");
}

void run_kv_status(call& c) { c.self.ask_status(); }

void run_kv_syncpoint(call& c) {
  if (c.args.size() > 2)
    return c.reply.error("ERR KV.SYNCPOINT takes nothing, or the id of a sync point");
  int64_t id = 0;
  if (c.args.size() == 2) {
    if (!parse_integer(c, c.args[1], id))
      return;
    if (id < 1)
      return c.reply.error("ERR ids of sync points count from 1");
  }
  c.self.ask_sync_point(static_cast<uint64_t>(id));
}

namespace {

/// [BUCKET name] [PARTITION number]
bool parse_repair_options(call& c, repair_order& order) {
  for (size_t i = 2; i < c.args.size(); i += 2) {
    auto known = same_word(c.args[i], "bucket") || same_word(c.args[i], "partition");
    if (!known || i + 1 == c.args.size())
      return syntax_error(c), false;
    auto value = c.args[i + 1];
    if (same_word(c.args[i], "bucket")) {
      const auto* bucket = c.self.env().view().find_bucket(value);
      if (bucket == nullptr)
        return c.reply.error("ERR no such bucket '" + std::string(value.substr(0, 128)) + "'"), false;
      order.bucket = bucket->id;
      continue;
    }
    int64_t number = 0;
    if (!parse_integer(c, value, number))
      return false;
    if (number < 0 || number >= second_place)
      return c.reply.error("ERR there is no such partition"), false;
    order.partition = static_cast<partition_id>(number);
  }
  return true;
}

} // namespace

void run_kv_topology(call& c) {
  using kind = topology_order::kind;
  struct {
    std::string_view word;
    kind what;
    size_t size_min = 2, size_max = 2;
  } const orders[] = {{"show", kind::show},         {"plan", kind::plan, 3, 3}, {"commit", kind::commit},
                      {"cancel", kind::cancel},     {"pause", kind::pause},     {"resume", kind::resume},
                      {"force", kind::force, 3, 4}, {"drain", kind::drain},     {"undrain", kind::undrain}};
  for (const auto& x : orders) {
    if (!same_word(c.args[1], x.word))
      continue;
    if (c.args.size() < x.size_min || c.args.size() > x.size_max)
      return wrong_arity(c, "kv.topology|" + std::string(x.word));
    topology_order order;
    order.what = x.what;
    if (c.args.size() > 2) {
      auto changes = config::topology_changes_from_json(c.args[2]);
      if (auto* no = std::get_if<protocol::refused>(&changes))
        return c.reply.error("ERR " + no->why);
      order.changes = std::get<std::vector<protocol::topology_change>>(std::move(changes));
    }
    if (c.args.size() > 3) {
      int64_t epoch = 0;
      if (!parse_integer(c, c.args[3], epoch))
        return;
      if (epoch < 1)
        return c.reply.error("ERR the epoch to confirm is at least 1");
      order.confirmed = static_cast<uint64_t>(epoch);
    }
    return c.self.ask_topology(std::move(order));
  }
  c.reply.error("ERR unknown subcommand '" + std::string(c.args[1].substr(0, 128)) +
                "' (allowed: SHOW, PLAN, COMMIT, CANCEL, PAUSE, RESUME, FORCE, DRAIN or UNDRAIN)");
}

void run_kv_repair(call& c) {
  constexpr std::pair<std::string_view, repair_order::kind> words[] = {{"start", repair_order::kind::start},
                                                                       {"status", repair_order::kind::status},
                                                                       {"pause", repair_order::kind::pause},
                                                                       {"resume", repair_order::kind::resume},
                                                                       {"cancel", repair_order::kind::cancel}};
  repair_order order;
  for (const auto& [word, what] : words) {
    if (!same_word(c.args[1], word))
      continue;
    order.what = what;
    if (what != repair_order::kind::start && c.args.size() > 2)
      return wrong_arity(c, "kv.repair|" + std::string(word));
    if (parse_repair_options(c, order))
      c.self.ask_repair(order);
    return;
  }
  unknown_subcommand(c);
}

} // namespace crema::gateway::resp
