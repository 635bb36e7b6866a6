"""redis-cli and redis-benchmark as they come with Debian run without complaint."""

import re
import shutil
import subprocess
import unittest

from harness import SLOWNESS, ClusterCase


@unittest.skipUnless(shutil.which("redis-cli") and shutil.which("redis-benchmark"), "no redis-tools on this machine")
class RedisTools(ClusterCase):
    def tool(self, name, *arguments, stdin=""):
        done = subprocess.run([name, "-p", str(self.node.port), *arguments], input=stdin, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=60 * SLOWNESS)
        self.assertEqual(done.returncode, 0, done.stdout)
        complaint = re.search(r"\bERR\b|WARNING|\b[Ee]rror\b|NOQUORUM|TIMEOUT", done.stdout)
        self.assertIsNone(complaint, done.stdout[-2000:])
        return done.stdout

    def setUp(self):
        self.node = self.cluster()["n1"]

    def test_redis_cli_in_both_protocol_versions(self):
        for version in ("-2", "-3"):
            session = "ping\nset key value\nget key\nget missing\nmset a 1 b 2\nmget a b\nttl key\nselect 1\ndbsize\nselect 0\n" \
                      "kv.put other x\nkv.get other\ndel key a b\ninfo\ncommand\nquit\n"
            output = self.tool("redis-cli", version, stdin=session)
            self.assertIn("PONG", output)
            self.assertIn("value", output)

    def test_redis_cli_info_config_and_command_docs(self):
        for command in [("info",), ("info", "server"), ("config", "get", "save"), ("command", "docs"), ("command", "count"),
                        ("client", "getname"), ("client", "id"), ("echo", "hello"), ("hello", "2"), ("hello", "3")]:
            self.tool("redis-cli", *command)

    def test_redis_benchmark_without_and_with_pipelining(self):
        for pipeline in ("1", "16"):
            output = self.tool("redis-benchmark", "-t", "ping,set,get,mset", "-n", "4000", "-c", "20", "-P", pipeline, "-r", "1000",
                               "--csv")
            for test in ("PING_INLINE", "PING_MBULK", "SET", "GET", "MSET (10 keys)"):
                self.assertIn(f'"{test}"', output)

    def test_redis_cli_pipe_mode_loads_a_file_of_commands(self):
        commands = "".join(f"*3\r\n$3\r\nSET\r\n$9\r\nkey:{i:05d}\r\n$5\r\n{i:05d}\r\n" for i in range(5_000))
        done = subprocess.run(["redis-cli", "-p", str(self.node.port), "--pipe"], input=commands.encode(),
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60 * SLOWNESS)
        output = done.stdout.decode()
        self.assertIn("errors: 0, replies: 5000", output)
        self.assertEqual(self.node.ask("GET", "key:04999"), b"04999")


if __name__ == "__main__":
    unittest.main()
