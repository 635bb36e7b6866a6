#include "dialogue.hpp"

#include "gateway/resp/commands.hpp"

#include <gtest/gtest.h>

namespace crema::gateway::resp {
namespace {

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(ConnectionCommands, PingAndEchoAnswer) {
  dialogue d;
  EXPECT_EQ(d.call({"PING"}), "+PONG\r\n");
  EXPECT_EQ(d.call({"ping", "hi"}), "$2\r\nhi\r\n");
  EXPECT_EQ(d.call({"PING", "a", "b"}), "-ERR wrong number of arguments for 'ping' command\r\n");
  EXPECT_EQ(d.call({"ECHO", "a\r\nb"}), "$4\r\na\r\nb\r\n");
}

TEST(ConnectionCommands, QuitSaysGoodbyeAndTakesNothingMoreIn) {
  dialogue d;
  d.send_bytes(encoded({"QUIT"}) + encoded({"PING"}));
  EXPECT_EQ(d.heard(), "+OK\r\n");
  EXPECT_TRUE(d.talk.closing());
}

TEST(ConnectionCommands, HelloChoosesTheVersion) {
  dialogue d;
  EXPECT_EQ(d.call({"HELLO"}).substr(0, 5), "*14\r\n");
  auto reply = d.call({"HELLO", "3", "SETNAME", "me"});
  EXPECT_EQ(reply.substr(0, 4), "%7\r\n");
  EXPECT_TRUE(contains(reply, "$5\r\nproto\r\n:3\r\n"));
  EXPECT_EQ(d.call({"CLIENT", "GETNAME"}), "$2\r\nme\r\n");
  EXPECT_EQ(d.call({"HELLO"}).substr(0, 4), "%7\r\n");
  EXPECT_EQ(d.call({"HELLO", "2"}).substr(0, 5), "*14\r\n");
}

TEST(ConnectionCommands, HelloRefusesWhatItDoesNotKnow) {
  dialogue d;
  EXPECT_EQ(d.call({"HELLO", "4"}), "-NOPROTO unsupported protocol version\r\n");
  EXPECT_EQ(d.call({"HELLO", "3", "WHAT"}), "-ERR Syntax error in HELLO option 'WHAT'\r\n");
  EXPECT_TRUE(contains(d.call({"HELLO", "3", "AUTH", "user", "secret"}), "-ERR AUTH"));
  EXPECT_EQ(d.call({"HELLO"}).substr(0, 5), "*14\r\n") << "still version 2";
}

TEST(ConnectionCommands, SelectTakesTheNameOrTheNumberOfABucket) {
  dialogue d;
  auto bucket = [&d](const std::string& name) {
    EXPECT_EQ(d.call({"SELECT", name}), "+OK\r\n");
    d.send({"GET", "k"});
    auto used = d.port.open.at(0).request.bucket;
    d.answer(0, {});
    d.heard();
    return used;
  };
  EXPECT_EQ(bucket("carts"), 1);
  EXPECT_EQ(bucket("0"), 0);
  EXPECT_EQ(bucket("1"), 1);
  EXPECT_EQ(bucket("default"), 0);
  EXPECT_EQ(d.call({"SELECT", "7"}), "-ERR DB index is out of range\r\n");
  EXPECT_EQ(d.call({"SELECT", "99999999999999999999"}), "-ERR DB index is out of range\r\n");
  EXPECT_EQ(d.call({"SELECT", "nope"}), "-ERR no such bucket 'nope'\r\n");
  EXPECT_EQ(d.call({"SELECT", ""}), "-ERR no such bucket ''\r\n");
}

TEST(ConnectionCommands, ResetGoesBackToTheStart) {
  dialogue d;
  d.call({"HELLO", "3", "SETNAME", "me"});
  d.call({"SELECT", "1"});
  EXPECT_EQ(d.call({"RESET"}), "+RESET\r\n");
  EXPECT_EQ(d.call({"CLIENT", "GETNAME"}), "$-1\r\n");
  d.send({"GET", "k"});
  EXPECT_EQ(d.port.open.at(0).request.bucket, 0);
}

TEST(ConnectionCommands, ClientTellsAndTakesNames) {
  dialogue d;
  EXPECT_EQ(d.call({"CLIENT", "ID"}), ":1\r\n");
  EXPECT_EQ(d.call({"CLIENT", "SETNAME", "a b"}),
            "-ERR Client names cannot contain spaces, newlines or special characters.\r\n");
  EXPECT_EQ(d.call({"CLIENT", "SETNAME", "me"}), "+OK\r\n");
  EXPECT_EQ(d.call({"CLIENT", "SETINFO", "LIB-NAME", "redis-py"}), "+OK\r\n");
  EXPECT_EQ(d.call({"CLIENT", "SETINFO", "LIB-VER", "5.0"}), "+OK\r\n");
  EXPECT_EQ(d.call({"CLIENT", "NO-EVICT", "on"}), "+OK\r\n");
  auto info = d.call({"CLIENT", "INFO"});
  EXPECT_TRUE(contains(info, "id=1 addr=1.2.3.4:5 laddr=l name=me "));
  EXPECT_TRUE(contains(info, "lib-name=redis-py lib-ver=5.0"));
  EXPECT_EQ(d.call({"CLIENT", "LIST"}), info) << "the only client";
  EXPECT_EQ(d.call({"CLIENT", "NOPE"}), "-ERR unknown subcommand 'NOPE'. Try CLIENT HELP.\r\n");
  EXPECT_EQ(d.call({"CLIENT", "ID", "x"}), "-ERR wrong number of arguments for 'client|id' command\r\n");
}

TEST(ConnectionCommands, ClientListShowsAllClientsThatAreConnected) {
  dialogue d;
  {
    conversation other(d.env, d.env.of_thread(0), d.port, test_client(77, "other"));
    EXPECT_TRUE(contains(d.call({"CLIENT", "LIST"}), "id=77 addr=other"));
  }
  EXPECT_FALSE(contains(d.call({"CLIENT", "LIST"}), "id=77"));
}

TEST(ServerCommands, InfoHasTheSectionsThatToolsRead) {
  dialogue d;
  auto all = d.call({"INFO"});
  for (const auto* part : {"# Server\r\n", "redis_version:", "crema_version:1.2.3\r\n", "# Clients\r\n",
                           "connected_clients:", "# Stats\r\n", "total_commands_processed:1\r\n", "role:master",
                           "cluster_enabled:0", "# Keyspace\r\n", "db1:bucket=carts,conflict=siblings,n=3,r=2,w=2"})
    EXPECT_TRUE(contains(all, part)) << part;
  auto one = d.call({"INFO", "clients"});
  EXPECT_TRUE(contains(one, "# Clients"));
  EXPECT_FALSE(contains(one, "# Server"));
  d.call({"HELLO", "3"});
  EXPECT_EQ(d.call({"INFO"})[0], '=');
}

TEST(ServerCommands, ConfigGetMatchesPatterns) {
  dialogue d;
  EXPECT_EQ(d.call({"CONFIG", "GET", "save"}), "*2\r\n$4\r\nsave\r\n$0\r\n\r\n");
  EXPECT_EQ(d.call({"CONFIG", "GET", "append?nly", "SAVE"}),
            "*4\r\n$4\r\nsave\r\n$0\r\n\r\n$10\r\nappendonly\r\n$2\r\nno\r\n");
  EXPECT_EQ(d.call({"CONFIG", "GET", "nothing"}), "*0\r\n");
  d.call({"HELLO", "3"});
  EXPECT_EQ(d.call({"CONFIG", "GET", "appendonly"}), "%1\r\n$10\r\nappendonly\r\n$2\r\nno\r\n");
  EXPECT_EQ(d.call({"CONFIG", "GET"}), "-ERR wrong number of arguments for 'config|get' command\r\n");
}

TEST(ServerCommands, ConfigSetChangesTheLogLevelAndNothingElse) {
  std::string level = "info";
  auto opts = test_options();
  opts.get_log_level = [&] { return level; };
  opts.set_log_level = [&](const std::string& x) { return x == "debug" || x == "warn" ? (level = x, true) : false; };
  dialogue d(opts);
  EXPECT_EQ(d.call({"CONFIG", "SET", "loglevel", "debug"}), "+OK\r\n");
  EXPECT_EQ(d.call({"CONFIG", "GET", "loglevel"}), "*2\r\n$8\r\nloglevel\r\n$5\r\ndebug\r\n");
  EXPECT_EQ(d.call({"CONFIG", "SET", "loglevel", "warning"}), "+OK\r\n") << "Redis' name of it";
  EXPECT_EQ(level, "warn");
  EXPECT_TRUE(contains(d.call({"CONFIG", "SET", "loglevel", "loud"}), "-ERR CONFIG SET failed"));
  EXPECT_TRUE(contains(d.call({"CONFIG", "SET", "maxmemory", "1"}), "-ERR Unknown option"));
  EXPECT_EQ(level, "warn");
}

TEST(ServerCommands, CommandDescribesTheTable) {
  dialogue d;
  auto count = std::to_string(all_commands().size());
  EXPECT_EQ(d.call({"COMMAND", "COUNT"}), ":" + count + "\r\n");
  EXPECT_EQ(d.call({"COMMAND"}).substr(0, 2 + count.size()), "*" + count + "\r");
  EXPECT_EQ(
      d.call({"COMMAND", "INFO", "get", "nope"}),
      "*2\r\n*10\r\n$3\r\nget\r\n:2\r\n*2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*0\r\n*0\r\n*-1\r\n");
  EXPECT_TRUE(contains(d.call({"COMMAND", "DOCS", "get", "nope"}), "*2\r\n$3\r\nget\r\n*6\r\n$7\r\nsummary\r\n"));
  d.call({"HELLO", "3"});
  EXPECT_EQ(d.call({"COMMAND", "DOCS", "get"}).substr(0, 4), "%1\r\n");
}

TEST(ServerCommands, ClusterKeyslotHonoursHashTags) {
  dialogue d;
  EXPECT_EQ(d.call({"CLUSTER", "KEYSLOT", "123456789"}), ":12739\r\n");
  EXPECT_EQ(d.call({"CLUSTER", "KEYSLOT", "a{user}b"}), d.call({"CLUSTER", "KEYSLOT", "{user}"}));
  EXPECT_EQ(d.call({"CLUSTER", "NODES"}), "-ERR This instance has cluster support disabled\r\n");
}

TEST(CommandTable, FindsEveryCommandInAnyCase) {
  for (const auto& x : all_commands()) {
    std::string upper(x.name);
    for (auto& c : upper)
      c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    EXPECT_EQ(find_command(x.name), &x);
    EXPECT_EQ(find_command(upper), &x);
  }
  EXPECT_EQ(find_command(""), nullptr);
  EXPECT_EQ(find_command("ge"), nullptr);
  EXPECT_EQ(find_command(std::string(1000, 'g')), nullptr);
}

TEST(Glob, MatchesAsRedisDoes) {
  EXPECT_TRUE(glob_matches("*", ""));
  EXPECT_TRUE(glob_matches("*", "anything"));
  EXPECT_TRUE(glob_matches("a*c", "abbbc"));
  EXPECT_TRUE(glob_matches("A?c", "abC"));
  EXPECT_TRUE(glob_matches("[a-c]x", "bx"));
  EXPECT_TRUE(glob_matches("[^a-c]x", "dx"));
  EXPECT_TRUE(glob_matches("\\*", "*"));
  EXPECT_TRUE(glob_matches("*a*b*c", "xxaxxbxxcxxc"));
  EXPECT_FALSE(glob_matches("", "a"));
  EXPECT_FALSE(glob_matches("a", ""));
  EXPECT_FALSE(glob_matches("[^a-c]x", "bx"));
  EXPECT_FALSE(glob_matches("\\*", "a"));
  EXPECT_FALSE(glob_matches("a*c", "abcd"));
  EXPECT_FALSE(glob_matches("[a", "b"));
  EXPECT_FALSE(glob_matches("[", "b"));
}

} // namespace
} // namespace crema::gateway::resp
