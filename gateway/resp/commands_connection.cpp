// Commands about the connection itself.
#include "gateway/resp/commands.hpp"

#include <algorithm>

namespace crema::gateway::resp {

namespace {

// Names are shown in CLIENT LIST, one client a line and one field a word.
bool printable(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char x) { return x > ' ' && x <= '~'; });
}

bool set_name(call& c, std::string_view name) {
  if (!printable(name)) {
    c.reply.error("ERR Client names cannot contain spaces, newlines or special characters.");
    return false;
  }
  c.self.info().name = name;
  return true;
}

std::string client_line(const client_info& x, uint64_t now_ms) {
  auto age = std::to_string((std::max(now_ms, x.connected_at_ms) - x.connected_at_ms) / 1000);
  std::string line = "id=" + std::to_string(x.id) + " addr=" + x.address + " laddr=" + x.local_address;
  line += " name=" + x.name + " age=" + age + " flags=N db=" + std::to_string(x.db) + " sub=0 psub=0 multi=-1";
  line += " user=default redir=-1 resp=" + std::string(x.resp3 ? "3" : "2");
  line += " lib-name=" + x.library + " lib-ver=" + x.library_version + "\n";
  return line;
}

void set_info(call& c) {
  auto attribute = to_lower(c.args[2].substr(0, 16));
  if (attribute != "lib-name" && attribute != "lib-ver")
    return c.reply.error("ERR Unrecognized option '" + std::string(c.args[2].substr(0, 128)) + "'");
  if (!printable(c.args[3]))
    return c.reply.error("ERR " + attribute + " cannot contain spaces, newlines or special characters.");
  (attribute == "lib-name" ? c.self.info().library : c.self.info().library_version) = c.args[3];
  c.self.publish();
  c.reply.ok();
}

void list_clients(call& c) {
  std::string lines;
  auto now = c.self.env().now_ms();
  for (const auto& x : c.self.env().clients.all())
    lines += client_line(x, now);
  c.reply.verbatim(lines);
}

struct subcommand {
  std::string_view name;
  size_t arguments_min, arguments_max; // All of them, CLIENT included.
  void (*run)(call&);
  std::string_view help;
};

void client_help(call& c);

const subcommand client_subcommands[] = {
    {"id", 2, 2, [](call& c) { c.reply.integer(static_cast<int64_t>(c.self.info().id)); },
     "Return the connection's ID."},
    {"getname", 2, 2, [](call& c) { c.self.info().name.empty() ? c.reply.null() : c.reply.bulk(c.self.info().name); },
     "Return the connection's name."},
    {"setname", 3, 3,
     [](call& c) {
       if (set_name(c, c.args[2])) {
         c.self.publish();
         c.reply.ok();
       }
     },
     "Name the connection."},
    {"setinfo", 4, 4, set_info, "Tell name or version of the client library (LIB-NAME, LIB-VER)."},
    {"list", 2, 64, list_clients, "List the clients of this node."},
    {"info", 2, 2, [](call& c) { c.reply.verbatim(client_line(c.self.info(), c.self.env().now_ms())); },
     "Describe this connection."},
    {"no-evict", 3, 3, [](call& c) { c.reply.ok(); }, "Accepted; clients are never evicted."},
    {"no-touch", 3, 3, [](call& c) { c.reply.ok(); }, "Accepted; reads do not change keys."},
    {"getredir", 2, 2, [](call& c) { c.reply.integer(-1); }, "Return -1: there is no client tracking."},
    {"tracking", 3, 16,
     [](call& c) {
       same_word(c.args[2], "off") ? c.reply.ok() : c.reply.error("ERR client tracking is not available");
     },
     "Only OFF."},
    {"reply", 3, 3,
     [](call& c) {
       same_word(c.args[2], "on") ? c.reply.ok() : c.reply.error("ERR only CLIENT REPLY ON is available");
     },
     "Only ON."},
    {"help", 2, 2, client_help, "Show this."},
};

void client_help(call& c) {
  c.reply.array(std::size(client_subcommands));
  for (const auto& x : client_subcommands)
    c.reply.simple("CLIENT " + std::string(x.name) + ": " + std::string(x.help));
}

} // namespace

void run_ping(call& c) {
  if (c.args.size() > 2)
    return wrong_arity(c, c.spec.name);
  c.args.size() == 2 ? c.reply.bulk(c.args[1]) : c.reply.simple("PONG");
}

void run_echo(call& c) { c.reply.bulk(c.args[1]); }

void run_quit(call& c) {
  c.reply.ok();
  c.self.close_after_reply();
}

void run_reset(call& c) {
  c.self.info().name.clear();
  c.self.publish();
  c.self.set_resp3(false);
  c.self.select(c.self.env().view().default_bucket());
  c.reply.simple("RESET");
}

void run_auth(call& c) {
  c.reply.error("ERR AUTH called without any password configured for the default user. Are you sure your configuration "
                "is correct?");
}

void run_hello(call& c) {
  bool resp3 = c.self.resp3();
  if (c.args.size() > 1) {
    if (c.args[1] != "2" && c.args[1] != "3")
      return c.reply.error("NOPROTO unsupported protocol version");
    resp3 = c.args[1] == "3";
  }
  for (size_t i = 2; i < c.args.size(); ++i) {
    auto left = c.args.size() - i - 1;
    if (same_word(c.args[i], "auth") && left >= 2)
      return run_auth(c);
    if (!same_word(c.args[i], "setname") || left < 1)
      return c.reply.error("ERR Syntax error in HELLO option '" + std::string(c.args[i].substr(0, 128)) + "'");
    if (!set_name(c, c.args[++i]))
      return;
    c.self.publish();
  }
  c.self.set_resp3(resp3);
  c.reply = writer(c.reply.out(), resp3);
  c.reply.map(7);
  c.reply.bulk("server");
  c.reply.bulk("crema");
  c.reply.bulk("version");
  c.reply.bulk(c.self.env().opts().version);
  c.reply.bulk("proto");
  c.reply.integer(resp3 ? 3 : 2);
  c.reply.bulk("id");
  c.reply.integer(static_cast<int64_t>(c.self.info().id));
  c.reply.bulk("mode");
  c.reply.bulk("standalone");
  c.reply.bulk("role");
  c.reply.bulk("master");
  c.reply.bulk("modules");
  c.reply.array(0);
}

void run_select(call& c) {
  const auto* bucket = c.self.env().view().find_bucket(c.args[1]);
  if (bucket != nullptr) {
    c.self.select(*bucket);
    return c.reply.ok();
  }
  auto digit = [](char x) { return x >= '0' && x <= '9'; };
  if (std::all_of(c.args[1].begin(), c.args[1].end(), digit) && !c.args[1].empty())
    return c.reply.error("ERR DB index is out of range");
  c.reply.error("ERR no such bucket '" + std::string(c.args[1].substr(0, 128)) + "'");
}

void run_client(call& c) {
  for (const auto& x : client_subcommands) {
    if (!same_word(c.args[1], x.name))
      continue;
    if (c.args.size() < x.arguments_min || c.args.size() > x.arguments_max)
      return wrong_arity(c, "client|" + std::string(x.name));
    return x.run(c);
  }
  unknown_subcommand(c);
}

} // namespace crema::gateway::resp
