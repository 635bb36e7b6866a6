// Commands about the server: INFO, COMMAND, CONFIG, CLUSTER, TIME.
#include "gateway/resp/commands.hpp"
#include "protocol/slot.hpp"

#include <algorithm>
#include <functional>
#include <sys/resource.h>
#include <unistd.h>
#include <utility>

#include <fstream>

namespace crema::gateway::resp {

namespace {

uint64_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  uint64_t total = 0, resident = 0;
  statm >> total >> resident;
  return resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

std::string seconds(const timeval& t) {
  auto micros = std::to_string(t.tv_usec);
  return std::to_string(t.tv_sec) + "." + std::string(6 - std::min<size_t>(6, micros.size()), '0') + micros;
}

class info_text {
public:
  void section(std::string_view title) { text += (text.empty() ? "# " : "\r\n# ") + std::string(title) + "\r\n"; }
  void field(std::string_view name, std::string_view value) {
    text.append(name).append(":").append(value).append("\r\n");
  }
  void field(std::string_view name, uint64_t value) { field(name, std::to_string(value)); }
  std::string text;
};

void info_server(environment& env, info_text& out) {
  const auto& opts = env.opts();
  auto uptime = (std::max(env.now_ms(), env.started_ms) - env.started_ms) / 1000;
  out.section("Server");
  out.field("redis_version", "7.0.0"); // The version whose replies clients may expect.
  out.field("redis_mode", "standalone");
  out.field("crema_version", opts.version);
  out.field("crema_cluster", opts.cluster);
  out.field("crema_node", opts.node);
  out.field("arch_bits", 64);
  out.field("process_id", static_cast<uint64_t>(getpid()));
  out.field("tcp_port", opts.resp.port);
  out.field("uptime_in_seconds", uptime);
  out.field("uptime_in_days", uptime / 86400);
}

void info_clients(environment& env, info_text& out) {
  out.section("Clients");
  out.field("connected_clients", env.connected);
  out.field("maxclients", env.opts().max_clients);
  out.field("blocked_clients", 0);
}

void info_memory(environment&, info_text& out) {
  auto resident = resident_bytes();
  out.section("Memory");
  out.field("used_memory", resident);
  out.field("used_memory_rss", resident);
  out.field("maxmemory", 0);
  out.field("maxmemory_policy", "noeviction");
}

void info_persistence(environment& env, info_text& out) {
  out.section("Persistence");
  out.field("loading", env.ready() ? 0 : 1);
  out.field("aof_enabled", 0);
  out.field("rdb_bgsave_in_progress", 0);
}

void info_stats(environment& env, info_text& out) {
  out.section("Stats");
  out.field("total_connections_received", env.accepted);
  out.field("total_commands_processed", env.total(&statistics::commands));
  out.field("total_net_input_bytes", env.total(&statistics::bytes_in));
  out.field("total_net_output_bytes", env.total(&statistics::bytes_out));
  out.field("rejected_connections", env.rejected);
  out.field("total_error_replies", env.total(&statistics::errors));
  out.field("crema_key_requests", env.total(&statistics::requests));
  out.field("crema_request_batches", env.total(&statistics::batches));
}

void info_replication(environment&, info_text& out) {
  out.section("Replication");
  out.field("role", "master"); // Every node answers for every key.
  out.field("connected_slaves", 0);
}

void info_cpu(environment&, info_text& out) {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  out.section("CPU");
  out.field("used_cpu_sys", seconds(usage.ru_stime));
  out.field("used_cpu_user", seconds(usage.ru_utime));
}

void info_cluster(environment& env, info_text& out) {
  out.section("Cluster");
  out.field("cluster_enabled", 0); // No redirects: any node answers for any key.
  out.field("crema_partitions", env.opts().partitions);
  for (const auto& x : env.view().nodes)
    out.field("crema_node_" + x.name, "host=" + x.host + ",resp_port=" + std::to_string(x.resp_port));
}

void info_keyspace(environment& env, info_text& out) {
  out.section("Keyspace"); // Counting keys asks every node: see DBSIZE.
  for (const auto& x : env.view().buckets)
    out.field("db" + std::to_string(x.db),
              "bucket=" + x.name + ",conflict=" + (x.conflict == conflict_rule::lww ? "lww" : "siblings") +
                  ",n=" + std::to_string(x.n) + ",r=" + std::to_string(x.r) + ",w=" + std::to_string(x.w));
}

const std::pair<std::string_view, void (*)(environment&, info_text&)> info_sections[] = {
    {"server", info_server},     {"clients", info_clients},
    {"memory", info_memory},     {"persistence", info_persistence},
    {"stats", info_stats},       {"replication", info_replication},
    {"cpu", info_cpu},           {"cluster", info_cluster},
    {"keyspace", info_keyspace},
};

// Redis' names of the flags.
void write_flags(call& c, const command& x) {
  static const std::pair<uint8_t, std::string_view> names[] = {
      {flag_write, "write"}, {flag_readonly, "readonly"}, {flag_fast, "fast"}, {flag_admin, "admin"}};
  c.reply.set(static_cast<size_t>(std::count_if(std::begin(names), std::end(names),
                                                [&](const auto& name) { return (x.flags & name.first) != 0; })));
  for (const auto& [flag, name] : names)
    if ((x.flags & flag) != 0)
      c.reply.simple(name);
}

void describe(call& c, const command* x) {
  if (x == nullptr)
    return c.reply.null_array();
  c.reply.array(10);
  c.reply.bulk(x->name);
  c.reply.integer(x->arity);
  write_flags(c, *x);
  c.reply.integer(x->first_key);
  c.reply.integer(x->last_key);
  c.reply.integer(x->key_step);
  c.reply.set(0);   // ACL categories.
  c.reply.array(0); // Tips.
  c.reply.array(0); // Key specifications.
  c.reply.array(0); // Subcommands.
}

void document(call& c, const command& x) {
  c.reply.bulk(x.name);
  c.reply.map(3);
  c.reply.bulk("summary");
  c.reply.bulk(x.summary);
  c.reply.bulk("since");
  c.reply.bulk(x.since);
  c.reply.bulk("group");
  c.reply.bulk(x.group);
}

// The commands named from the third argument on, or all.
std::vector<const command*> named_commands(call& c) {
  std::vector<const command*> result;
  for (size_t i = 2; i < c.args.size(); ++i)
    result.push_back(find_command(c.args[i]));
  if (c.args.size() <= 2)
    for (const auto& x : all_commands())
      result.push_back(&x);
  return result;
}

const std::pair<std::string_view, std::string_view> level_names[] = {
    {"verbose", "debug"}, {"notice", "info"}, {"warning", "warn"}, {"nothing", "off"}};

// What CONFIG GET knows. In the words of Redis; what has no meaning here says what comes nearest.
std::vector<std::pair<std::string, std::string>> parameters(environment& env) {
  const auto& opts = env.opts();
  uint16_t last_db = 0;
  for (const auto& x : env.view().buckets)
    last_db = std::max(last_db, x.db);
  return {{"save", ""},
          {"appendonly", "no"},
          {"appendfsync", "everysec"},
          {"maxmemory", "0"},
          {"maxmemory-policy", "noeviction"},
          {"maxclients", std::to_string(opts.max_clients)},
          {"databases", std::to_string(last_db + 1)},
          {"loglevel", opts.get_log_level ? opts.get_log_level() : "info"},
          {"port", std::to_string(opts.resp.port)},
          {"bind", opts.resp.host},
          {"timeout", "0"},
          {"tcp-keepalive", "300"},
          {"proto-max-bulk-len", std::to_string(value_bytes_max)},
          {"cluster-enabled", "no"},
          {"io-threads", std::to_string(opts.threads)}};
}

void config_get(call& c) {
  if (c.args.size() < 3)
    return wrong_arity(c, "config|get");
  auto all = parameters(c.self.env());
  all.erase(std::remove_if(all.begin(), all.end(),
                           [&](const auto& parameter) {
                             return std::none_of(c.args.begin() + 2, c.args.end(),
                                                 [&](auto pattern) { return glob_matches(pattern, parameter.first); });
                           }),
            all.end());
  c.reply.map(all.size());
  for (const auto& [name, value] : all) {
    c.reply.bulk(name);
    c.reply.bulk(value);
  }
}

void config_set(call& c) {
  if (c.args.size() < 4 || c.args.size() % 2 != 0)
    return wrong_arity(c, "config|set");
  for (size_t i = 2; i < c.args.size(); i += 2)
    if (!same_word(c.args[i], "loglevel"))
      return c.reply.error("ERR Unknown option or number of arguments for CONFIG SET - '" +
                           std::string(c.args[i].substr(0, 128)) + "'");
  for (size_t i = 3; i < c.args.size(); i += 2) {
    auto level = to_lower(c.args[i].substr(0, 16));
    for (const auto& [redis, ours] : level_names)
      if (level == redis)
        level = ours;
    const auto& set = c.self.env().opts().set_log_level;
    if (!set || !set(level))
      return c.reply.error(
          "ERR CONFIG SET failed (possibly related to argument 'loglevel') - argument(s) must be one of "
          "the following: trace, debug, info, warn, error, off");
  }
  c.reply.ok();
}

} // namespace

void run_info(call& c) {
  info_text out;
  auto wanted = [&](std::string_view section) {
    return c.args.size() == 1 || std::any_of(c.args.begin() + 1, c.args.end(), [&](auto arg) {
             return same_word(arg, section) || same_word(arg, "all") || same_word(arg, "default") ||
                    same_word(arg, "everything");
           });
  };
  for (const auto& [name, write] : info_sections)
    if (wanted(name))
      write(c.self.env(), out);
  c.reply.verbatim(out.text);
}

void run_command(call& c) {
  if (c.args.size() == 1 || same_word(c.args[1], "info")) {
    auto commands = named_commands(c);
    c.reply.array(commands.size());
    for (const auto* x : commands)
      describe(c, x);
  } else if (same_word(c.args[1], "count") && c.args.size() == 2) {
    c.reply.integer(static_cast<int64_t>(all_commands().size()));
  } else if (same_word(c.args[1], "docs")) {
    auto commands = named_commands(c);
    commands.erase(std::remove(commands.begin(), commands.end(), nullptr), commands.end());
    c.reply.map(commands.size());
    for (const auto* x : commands)
      document(c, *x);
  } else if (same_word(c.args[1], "list") && c.args.size() == 2) {
    c.reply.array(all_commands().size());
    for (const auto& x : all_commands())
      c.reply.bulk(x.name);
  } else {
    unknown_subcommand(c);
  }
}

void run_config(call& c) {
  if (same_word(c.args[1], "get"))
    config_get(c);
  else if (same_word(c.args[1], "set"))
    config_set(c);
  else if (same_word(c.args[1], "resetstat"))
    c.reply.error("ERR CONFIG RESETSTAT is not available: counters only grow");
  else
    unknown_subcommand(c);
}

void run_cluster(call& c) {
  if (!same_word(c.args[1], "keyslot"))
    return c.reply.error("ERR This instance has cluster support disabled");
  if (c.args.size() != 3)
    return wrong_arity(c, "cluster|keyslot");
  c.reply.integer(protocol::slot_of(c.args[2]));
}

void run_time(call& c) {
  auto now = c.self.env().now_ms();
  c.reply.array(2);
  c.reply.bulk(std::to_string(now / 1000));
  c.reply.bulk(std::to_string(now % 1000 * 1000));
}

} // namespace crema::gateway::resp
