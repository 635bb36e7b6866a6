"""The tools of these tests, tried on what is known: redis-server as the server, histories worked out by hand."""

import shutil
import socket
import subprocess
import unittest

import harness
import resp
from copies import LWW, SIBLINGS, Writes
from harness import ClusterCase, wait_until
from ports import free_ports
from siblings_model import KeyHistory
from workload import Ledger, Load


@unittest.skipUnless(shutil.which("redis-server"), "no redis-server on this machine")
class RespClient(ClusterCase):
    def setUp(self):
        self.port = free_ports(1)[0]
        self.server = subprocess.Popen(["redis-server", "--port", str(self.port), "--save", "", "--appendonly", "no"],
                                       cwd=self.directory(), stdout=subprocess.DEVNULL, preexec_fn=harness.child_setup())
        self.addCleanup(self.server.wait)
        self.addCleanup(self.server.kill)
        wait_until(self.answers, 10, "redis-server answers")

    def answers(self):
        with resp.Client(self.port) as client:
            return client.call("PING") == "PONG"

    def test_the_load_is_content_with_a_good_server_and_notices_one_that_forgets(self):
        class Fake:
            """Three names for one redis-server."""
            def __init__(self, name, port):
                self.name, self.port = name, port

            def client(self, timeout, db):
                return resp.Client(self.port, timeout=timeout, db=db)

        nodes = [Fake(f"n{i}", self.port) for i in range(3)]
        load = Load(nodes, 300, self.seed)
        load.start()
        load.wait_writes(2_000, 30)
        wait_until(load.all_written, 30, "every key is written")
        load.stop()
        self.assertEqual((load.failures, load.verify(nodes[0])[0]), ([], []))
        self.assertGreater(load.ledger.reads, 0)
        with resp.Client(self.port) as client:
            client.call("DEL", "key-7")
            client.call("SET", "key-8", "key-8:1")
        complaints, _ = load.verify(nodes[1])
        self.assertEqual(len(complaints), 2, complaints)

    def test_replies_of_every_kind(self):
        with resp.Client(self.port) as client:
            self.assertEqual(client.call("SET", b"k\r\n\0", b"\xff" * 100), "OK")
            self.assertEqual(client.call("GET", b"k\r\n\0"), b"\xff" * 100)
            self.assertIsNone(client.call("GET", "missing"))
            self.assertEqual(client.call("EXISTS", b"k\r\n\0", "missing"), 1)
            self.assertEqual(client.call("MGET", "missing", b"k\r\n\0"), [None, b"\xff" * 100])
            reply = client.call("NONSENSE")
            self.assertIsInstance(reply, resp.Error)
            self.assertEqual(reply.code, "ERR")
            self.assertEqual(client.call("ECHO", ""), b"")

    def test_long_pipelines_and_large_values(self):
        with resp.Client(self.port) as client:
            replies = client.pipeline([("SET", number, number) for number in range(5_000)])
            self.assertEqual(replies, ["OK"] * 5_000)
            replies = client.pipeline([("GET", number) for number in range(5_000)])
            self.assertEqual(replies, [str(number).encode() for number in range(5_000)])
            big = bytes(16 << 20)
            client.call("SET", "big", big)
            self.assertTrue(client.call("GET", "big") == big)

    def test_a_silent_server_is_a_timeout_and_a_dead_one_an_error(self):
        with resp.Client(self.port, timeout=0.2) as client:
            self.server.send_signal(harness.signal.SIGSTOP)
            with self.assertRaises(TimeoutError):
                client.call("PING")
            with self.assertRaises((OSError, ValueError)):
                client.call("PING")  # Closed: a late reply must not answer another question.
        self.server.send_signal(harness.signal.SIGCONT)
        with resp.Client(self.port) as client:
            client.call("PING")
            self.server.kill()
            with self.assertRaises(ConnectionError):
                client.call("PING")
        self.server.wait()
        with self.assertRaises(ConnectionRefusedError):
            resp.Client(self.port)


class Ports(unittest.TestCase):
    def test_free_ports_are_free_distinct_and_not_for_outgoing_connections(self):
        found = free_ports(50)
        self.assertEqual(len(set(found)), 50)
        self.assertLess(max(found), int(open("/proc/sys/net/ipv4/ip_local_port_range").read().split()[0]))
        for port in found:
            with socket.socket() as server:
                server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # As nodes do: an old connection may linger.
                server.bind(("127.0.0.1", port))
        self.assertFalse(set(found) & set(free_ports(50)))


class Oracles(unittest.TestCase):
    def test_the_siblings_model_keeps_what_nobody_has_replaced(self):
        history = KeyHistory()
        first, second = history.begin(set()), history.begin(set())
        history.ack(first, "a", set())
        history.ack(second, "b", set())
        self.assertEqual(history.maximal(), {"a", "b"})
        third = history.begin({first})
        self.assertEqual(history.must_be_seen(), {"b"}, "the write under way may or may not have replaced a")
        self.assertEqual(history.must_not_be_seen(), set())
        history.ack(third, "c", {first})
        self.assertEqual(history.maximal(), {"b", "c"})
        self.assertEqual(history.must_not_be_seen(), {"a"})
        delete = history.begin({second, third})
        history.ack(delete, None, {second, third})
        self.assertEqual(history.maximal(), set())

    def test_the_ledger_complains_of_lost_refused_invented_and_foreign_values(self):
        ledger = Ledger(["k"])
        ledger.tried["k"] = 5
        ledger.unknown["k"].add(3)
        ledger.refused["k"].add(5)
        self.assertIsNone(ledger.complaint("k", None, None))
        self.assertIsNone(ledger.complaint("k", b"k:4", 4))
        self.assertIsNone(ledger.complaint("k", b"k:3", 4), "a write of unknown outcome may come late")
        self.assertIsNone(ledger.complaint("k", b"k:4", 2), "newer than what was acknowledged when the read began")
        for value in (None, b"k:2", b"k:5", b"k:6", b"other:4"):
            self.assertIsNotNone(ledger.complaint("k", value, 4), value)

    def test_writes_complain_of_lost_refused_replaced_and_foreign_values(self):
        writes = Writes()
        for db in (LWW, SIBLINGS):
            writes.acked[db, "k"] = [b"a", b"b"]
            writes.unknown[db, "k"] = {b"u"}
            writes.refused[db, "k"] = {b"r"}
        for db, good in [(LWW, [b"b"]), (LWW, [b"u"]), (SIBLINGS, [b"a", b"b"]), (SIBLINGS, [b"a", b"b", b"u"])]:
            self.assertIsNone(writes.complaint(db, "k", good))
            for bad in ([], [b"a"], good[1:], [*good, b"r"], [*good, b"x"], [*good, good[0]]):
                self.assertIsNotNone(writes.complaint(db, "k", bad), (db, bad))


if __name__ == "__main__":
    unittest.main()
