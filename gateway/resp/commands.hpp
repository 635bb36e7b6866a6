// The commands: a table of what clients may call, and how each is carried out.
#pragma once

#include "gateway/resp/conversation.hpp"

#include <array>
#include <string_view>

namespace crema::gateway::resp {

/// One command being carried out. A handler either writes its reply to `reply`, or asks the backend through `self`,
/// once.
struct call {
  conversation& self;
  const command& spec;
  const std::vector<std::string_view>& args;
  writer reply;
};

enum command_flag : uint8_t {
  flag_write = 1,
  flag_readonly = 2,
  flag_fast = 4,
  flag_admin = 8,
  /// Waits until all earlier commands of the connection are done.
  flag_barrier = 16,
  /// Cannot be honest in an eventual bucket.
  flag_refused = 32,
};

struct command {
  std::string_view name; ///< Lower case.
  void (*run)(call&);
  int arity; ///< As Redis counts: with the name; negative: at least.
  uint8_t flags;
  int8_t first_key, last_key, key_step; ///< 0: no keys; last_key -1: to the end.
  std::string_view group;
  std::string_view since; ///< Version of Redis that introduced it; of crema for KV.*.
  std::string_view summary;
};

/// @param name in any case. @returns null if there is no such command.
const command* find_command(std::string_view name);
/// All commands, in the order of the table.
struct command_range {
  const command* first;
  const command* last;
  const command* begin() const { return first; }
  const command* end() const { return last; }
  size_t size() const { return static_cast<size_t>(last - first); }
};
command_range all_commands();

/// The command that KV.EXPLAIN is to run and explain; null if these are not the arguments of such a KV.EXPLAIN.
const command* explained_command(const std::vector<std::string_view>& args);

bool arity_fits(const command& c, size_t arguments);
/// Is `a` equal to `b`, which is in lower case, but for the case?
bool same_word(std::string_view a, std::string_view lower);
std::string to_lower(std::string_view text);
/// Redis' patterns: * ? [a-z] [^a] \x. Case is ignored.
bool glob_matches(std::string_view pattern, std::string_view text);

/// "ERR wrong number of arguments for 'get' command"
void wrong_arity(call& c, std::string_view name);
void syntax_error(call& c);
void unknown_subcommand(call& c);

// commands_data.cpp
void run_get(call& c);
void run_set(call& c);
void run_setex(call& c);
void run_del(call& c);
void run_exists(call& c);
void run_mget(call& c);
void run_mset(call& c);
void run_ttl(call& c);
void run_strlen(call& c);
void run_type(call& c);
void run_refused(call& c);
void run_dbsize(call& c);
/// @returns false, with the error written, if the key or the value has a length that is not allowed.
bool check_key(call& c, std::string_view key);
bool check_value(call& c, std::string_view value);
/// Reads a whole decimal number. @returns false, with the error written, if it is none.
bool parse_integer(call& c, std::string_view text, int64_t& number);
/// The time to live of EX, PX, EXAT or PXAT. @returns false, with the error written, if it is not valid.
bool parse_expiry(call& c, std::string_view option, std::string_view text, uint64_t& ttl_ms);

// commands_kv.cpp
void run_kv_get(call& c);
void run_kv_put(call& c);
void run_kv_del(call& c);
void run_kv_explain(call& c);
void run_kv_ready(call& c);
void run_kv_status(call& c);
void run_kv_syncpoint(call& c);
void run_kv_repair(call& c);
void run_kv_topology(call& c);

// commands_connection.cpp
void run_ping(call& c);
void run_echo(call& c);
void run_quit(call& c);
void run_reset(call& c);
void run_hello(call& c);
void run_auth(call& c);
void run_select(call& c);
void run_client(call& c);

// commands_server.cpp
void run_info(call& c);
void run_command(call& c);
void run_config(call& c);
void run_cluster(call& c);
void run_time(call& c);

} // namespace crema::gateway::resp
