#include "gateway/resp/commands.hpp"

#include <algorithm>
#include <unordered_map>

namespace crema::gateway::resp {

namespace {

constexpr uint8_t fast_read = flag_readonly | flag_fast;
constexpr uint8_t refused = flag_write | flag_refused;

char lower(char x) { return static_cast<char>(x >= 'A' && x <= 'Z' ? x - 'A' + 'a' : x); }

// name, handler, arity, flags, first key, last key, step, group, since, summary
const command table[] = {
    {"get", run_get, 2, fast_read, 1, 1, 1, "string", "1.0.0", "Get the value of a key"},
    {"set", run_set, -3, flag_write, 1, 1, 1, "string", "1.0.0", "Set the value of a key [EX s|PX ms|EXAT s|PXAT ms]"},
    {"setex", run_setex, 4, flag_write, 1, 1, 1, "string", "2.0.0", "Set value and expiry in seconds"},
    {"psetex", run_setex, 4, flag_write, 1, 1, 1, "string", "2.6.0", "Set value and expiry in milliseconds"},
    {"del", run_del, -2, flag_write, 1, -1, 1, "generic", "1.0.0", "Delete keys"},
    {"unlink", run_del, -2, flag_write, 1, -1, 1, "generic", "4.0.0", "Delete keys"},
    {"exists", run_exists, -2, fast_read, 1, -1, 1, "generic", "1.0.0", "Count the keys that exist"},
    {"mget", run_mget, -2, fast_read, 1, -1, 1, "string", "1.0.0", "Get the values of several keys"},
    {"mset", run_mset, -3, flag_write, 1, -1, 2, "string", "1.0.1", "Set several keys, one by one"},
    {"ttl", run_ttl, 2, fast_read, 1, 1, 1, "generic", "1.0.0", "Get the time to live in seconds"},
    {"pttl", run_ttl, 2, fast_read, 1, 1, 1, "generic", "2.6.0", "Get the time to live in milliseconds"},
    {"strlen", run_strlen, 2, fast_read, 1, 1, 1, "string", "2.2.0", "Get the length of a value"},
    {"type", run_type, 2, fast_read, 1, 1, 1, "generic", "1.0.0", "string, or none"},
    {"dbsize", run_dbsize, 1, flag_readonly | flag_barrier, 0, 0, 0, "server", "1.0.0", "Count the keys of the bucket"},

    {"kv.get", run_kv_get, -2, flag_readonly, 1, 1, 1, "kv", "0.1.0",
     "Get context and all siblings [R n] [PR n] [REPAIR foreground|background]"},
    {"kv.put", run_kv_put, -3, flag_write, 1, 1, 1, "kv", "0.1.0", "Put a value [CONTEXT c] [W n] [PW n] [PX ms]"},
    {"kv.del", run_kv_del, -2, flag_write, 1, 1, 1, "kv", "0.1.0", "Delete [CONTEXT c] [W n] [PW n]"},
    {"kv.explain", run_kv_explain, -2, flag_readonly, 1, 1, 1, "kv", "0.1.0",
     "Tell where a key lives, or run GET, KV.GET, SET, KV.PUT, DEL or KV.DEL and tell how it went"},
    {"kv.ready", run_kv_ready, 1, flag_fast, 0, 0, 0, "kv", "0.1.0", "OK once the node serves requests"},
    {"kv.status", run_kv_status, 1, flag_admin, 0, 0, 0, "kv", "0.1.0", "The node's status as JSON"},
    {"kv.repair", run_kv_repair, -2, flag_admin, 0, 0, 0, "kv", "0.1.0",
     "Begin, watch, pause, resume or cancel the comparison of what owners hold, as JSON"},
    {"kv.topology", run_kv_topology, -2, flag_admin, 0, 0, 0, "kv", "0.1.0",
     "Show, plan, commit, cancel, pause, resume or force a change of the members, drain the node, as JSON"},
    {"kv.syncpoint", run_kv_syncpoint, -1, flag_admin, 0, 0, 0, "kv", "0.1.0",
     "Begin to wait until owners have what is written now; with an id: how far that is, as JSON"},

    {"ping", run_ping, -1, flag_fast, 0, 0, 0, "connection", "1.0.0", "Ping the server"},
    {"echo", run_echo, 2, flag_fast, 0, 0, 0, "connection", "1.0.0", "Echo the argument"},
    {"quit", run_quit, -1, flag_fast, 0, 0, 0, "connection", "1.0.0", "Close the connection"},
    {"reset", run_reset, 1, flag_fast, 0, 0, 0, "connection", "6.2.0", "Reset the connection"},
    {"hello", run_hello, -1, flag_fast, 0, 0, 0, "connection", "6.0.0", "Choose the protocol version"},
    {"auth", run_auth, -2, flag_fast, 0, 0, 0, "connection", "1.0.0", "There are no users yet"},
    {"select", run_select, 2, flag_fast, 0, 0, 0, "connection", "1.0.0", "Choose a bucket by name or db"},
    {"client", run_client, -2, flag_admin, 0, 0, 0, "connection", "2.4.0", "About the clients: CLIENT HELP"},

    {"info", run_info, -1, 0, 0, 0, 0, "server", "1.0.0", "Information about the server"},
    {"command", run_command, -1, 0, 0, 0, 0, "server", "2.8.13", "About the commands: COUNT, DOCS, INFO, LIST"},
    {"config", run_config, -2, flag_admin, 0, 0, 0, "server", "2.0.0", "CONFIG GET pattern, CONFIG SET loglevel"},
    {"cluster", run_cluster, -2, 0, 0, 0, 0, "cluster", "3.0.0", "CLUSTER KEYSLOT key"},
    {"time", run_time, 1, flag_fast, 0, 0, 0, "server", "2.6.0", "The server's time"},

    {"append", run_refused, -1, refused, 0, 0, 0, "string", "2.0.0", "Needs a strong bucket"},
    {"copy", run_refused, -1, refused, 0, 0, 0, "generic", "6.2.0", "Needs a strong bucket"},
    {"decr", run_refused, -1, refused, 0, 0, 0, "string", "1.0.0", "Needs a strong bucket"},
    {"decrby", run_refused, -1, refused, 0, 0, 0, "string", "1.0.0", "Needs a strong bucket"},
    {"discard", run_refused, -1, refused, 0, 0, 0, "transactions", "2.0.0", "Needs a strong bucket"},
    {"eval", run_refused, -1, refused, 0, 0, 0, "scripting", "2.6.0", "Needs a strong bucket"},
    {"evalsha", run_refused, -1, refused, 0, 0, 0, "scripting", "2.6.0", "Needs a strong bucket"},
    {"exec", run_refused, -1, refused, 0, 0, 0, "transactions", "1.2.0", "Needs a strong bucket"},
    {"expire", run_refused, -1, refused, 0, 0, 0, "generic", "1.0.0", "Needs a strong bucket"},
    {"expireat", run_refused, -1, refused, 0, 0, 0, "generic", "1.2.0", "Needs a strong bucket"},
    {"getdel", run_refused, -1, refused, 0, 0, 0, "string", "6.2.0", "Needs a strong bucket"},
    {"getex", run_refused, -1, refused, 0, 0, 0, "string", "6.2.0", "Needs a strong bucket"},
    {"getset", run_refused, -1, refused, 0, 0, 0, "string", "1.0.0", "Needs a strong bucket"},
    {"incr", run_refused, -1, refused, 0, 0, 0, "string", "1.0.0", "Needs a strong bucket"},
    {"incrby", run_refused, -1, refused, 0, 0, 0, "string", "1.0.0", "Needs a strong bucket"},
    {"incrbyfloat", run_refused, -1, refused, 0, 0, 0, "string", "2.6.0", "Needs a strong bucket"},
    {"msetnx", run_refused, -1, refused, 0, 0, 0, "string", "1.0.1", "Needs a strong bucket"},
    {"multi", run_refused, -1, refused, 0, 0, 0, "transactions", "1.2.0", "Needs a strong bucket"},
    {"persist", run_refused, -1, refused, 0, 0, 0, "generic", "2.2.0", "Needs a strong bucket"},
    {"pexpire", run_refused, -1, refused, 0, 0, 0, "generic", "2.6.0", "Needs a strong bucket"},
    {"pexpireat", run_refused, -1, refused, 0, 0, 0, "generic", "2.6.0", "Needs a strong bucket"},
    {"rename", run_refused, -1, refused, 0, 0, 0, "generic", "1.0.0", "Needs a strong bucket"},
    {"renamenx", run_refused, -1, refused, 0, 0, 0, "generic", "1.0.0", "Needs a strong bucket"},
    {"setbit", run_refused, -1, refused, 0, 0, 0, "bitmap", "2.2.0", "Needs a strong bucket"},
    {"setnx", run_refused, -1, refused, 0, 0, 0, "string", "1.0.0", "Needs a strong bucket"},
    {"setrange", run_refused, -1, refused, 0, 0, 0, "string", "2.2.0", "Needs a strong bucket"},
    {"unwatch", run_refused, -1, refused, 0, 0, 0, "transactions", "2.2.0", "Needs a strong bucket"},
    {"watch", run_refused, -1, refused, 0, 0, 0, "transactions", "2.2.0", "Needs a strong bucket"},
};

constexpr size_t name_bytes_max = 16;

} // namespace

const command* find_command(std::string_view name) {
  static const auto by_name = [] {
    std::unordered_map<std::string_view, const command*> result;
    for (const auto& x : table)
      result.emplace(x.name, &x);
    return result;
  }();
  if (name.size() > name_bytes_max)
    return nullptr;
  char lowered[name_bytes_max];
  std::transform(name.begin(), name.end(), lowered, lower);
  auto found = by_name.find({lowered, name.size()});
  return found == by_name.end() ? nullptr : found->second;
}

command_range all_commands() { return {std::begin(table), std::end(table)}; }

bool arity_fits(const command& c, size_t arguments) {
  auto n = static_cast<int64_t>(arguments);
  return c.arity >= 0 ? n == c.arity : n >= -c.arity;
}

bool same_word(std::string_view a, std::string_view lowered) {
  return a.size() == lowered.size() &&
         std::equal(a.begin(), a.end(), lowered.begin(), [](char x, char y) { return lower(x) == y; });
}

std::string to_lower(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(), lower);
  return result;
}

namespace {

// Matches one character against the set that starts after `[`. `i` is moved behind the set.
bool set_matches(std::string_view pattern, size_t& i, char x) {
  bool negated = i < pattern.size() && pattern[i] == '^';
  i += negated ? 1 : 0;
  bool matched = false;
  for (; i < pattern.size() && pattern[i] != ']'; ++i) {
    if (pattern[i] == '\\' && i + 1 < pattern.size())
      ++i;
    auto first = lower(pattern[i]);
    auto last = first;
    if (i + 2 < pattern.size() && pattern[i + 1] == '-' && pattern[i + 2] != ']') {
      i += 2;
      last = lower(pattern[i]);
    }
    matched = matched || (x >= std::min(first, last) && x <= std::max(first, last));
  }
  ++i;
  return matched != negated;
}

} // namespace

bool glob_matches(std::string_view pattern, std::string_view text) {
  // After a mismatch go back to the last star and let it take one character more: quadratic at worst.
  size_t p = 0, t = 0, star = std::string_view::npos, star_text = 0;
  while (t < text.size()) {
    auto next = p;
    bool matched = false;
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      star_text = t;
      continue;
    }
    if (p < pattern.size()) {
      auto c = pattern[next++];
      if (c == '[') {
        matched = set_matches(pattern, next, lower(text[t]));
      } else {
        if (c == '\\' && next < pattern.size())
          matched = lower(pattern[next++]) == lower(text[t]);
        else
          matched = c == '?' || lower(c) == lower(text[t]);
      }
    }
    if (matched) {
      p = next;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++star_text;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*')
    ++p;
  return p >= pattern.size();
}

void wrong_arity(call& c, std::string_view name) {
  c.reply.error("ERR wrong number of arguments for '" + std::string(name) + "' command");
}

void syntax_error(call& c) { c.reply.error("ERR syntax error"); }

void unknown_subcommand(call& c) {
  c.reply.error("ERR unknown subcommand '" + std::string(c.args[1].substr(0, 128)) + "'." +
                (c.spec.name == "client" ? " Try CLIENT HELP." : ""));
}

} // namespace crema::gateway::resp
