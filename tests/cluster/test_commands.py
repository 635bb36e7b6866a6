"""Plain Redis commands through different nodes of one cluster."""

import unittest

from harness import SLOWNESS, ClusterCase, wait_until

KIB, MIB = 1024, 1024 * 1024


class Commands(ClusterCase):
    def test_a_value_set_through_one_node_is_read_through_all(self):
        cluster = self.cluster()
        self.assertEqual(cluster["n1"].ask("SET", "greeting", "hello"), "OK")
        for node in cluster:
            self.assertEqual(node.ask("GET", "greeting"), b"hello")
            self.assertIsNone(node.ask("GET", "nothing"))

    def test_an_overwrite_through_another_node_wins(self):
        cluster = self.cluster()
        for number, node in enumerate([*cluster] * 3):
            self.assertEqual(node.ask("SET", "key", number), "OK")
            for reader in cluster:
                self.assertEqual(reader.ask("GET", "key"), str(number).encode())

    def test_many_keys_at_once_across_partitions(self):
        cluster = self.cluster()
        pairs = {f"key-{i}": f"value-{i}".encode() for i in range(500)}
        flat = [part for pair in pairs.items() for part in pair]
        self.assertEqual(cluster["n1"].ask("MSET", *flat), "OK")
        self.assertEqual(cluster["n2"].ask("MGET", *pairs, "missing"), [*pairs.values(), None])
        self.assertEqual(cluster["n3"].ask("EXISTS", *pairs, "missing", "key-0"), 501)
        self.assertEqual(cluster["n3"].ask("DEL", "key-0", "key-1", "missing"), 2)
        self.assertEqual(cluster["n1"].ask("MGET", "key-0", "key-1", "key-2"), [None, None, b"value-2"])
        self.assertEqual(cluster["n2"].ask("EXISTS", *pairs), 498)

    def test_a_deleted_key_is_gone_for_every_node_and_can_be_set_again(self):
        cluster = self.cluster()
        cluster["n1"].ask("SET", "key", "first")
        self.assertEqual(cluster["n2"].ask("DEL", "key"), 1)
        self.assertEqual(cluster["n3"].ask("DEL", "key"), 0)
        for node in cluster:
            self.assertIsNone(node.ask("GET", "key"))
        cluster["n3"].ask("SET", "key", "second")
        for node in cluster:
            self.assertEqual(node.ask("GET", "key"), b"second")

    def test_expiry_is_the_same_through_every_node(self):
        cluster = self.cluster()
        with cluster["n1"].client() as client:
            self.assertEqual(client.call("SET", "short", "x", "PX", 1500), "OK")
            self.assertEqual(client.call("SET", "long", "x", "EX", 1000), "OK")
            self.assertEqual(client.call("SET", "ever", "x"), "OK")
        for node in cluster:
            self.assertEqual(node.ask("TTL", "ever"), -1)
            self.assertEqual(node.ask("TTL", "missing"), -2)
            self.assertIn(node.ask("TTL", "long"), range(990, 1001))
            self.assertIn(node.ask("PTTL", "long"), range(990_000, 1_000_001))
        for node in cluster:
            wait_until(lambda: node.ask("GET", "short") is None, 5, f"the key expires on {node.name}")
            self.assertEqual(node.ask("TTL", "short"), -2)
            self.assertEqual(node.ask("EXISTS", "short"), 0)
        self.assertEqual(cluster["n2"].ask("SET", "long", "y"), "OK")
        self.assertEqual(cluster["n3"].ask("TTL", "long"), -1, "a SET without expiry takes the old one away")

    def test_buckets_are_selected_by_name_and_by_number(self):
        cluster = self.cluster()
        with cluster["n1"].client() as client:
            client.call("SET", "key", "in default")
            self.assertEqual(client.call("SELECT", "carts"), "OK")
            self.assertIsNone(client.call("GET", "key"))
            client.call("SET", "key", "in carts")
            self.assertEqual(client.call("SELECT", 0), "OK")
            self.assertEqual(client.call("GET", "key"), b"in default")
            self.assertEqual(client.call("SELECT", 1), "OK")
            self.assertEqual(client.call("GET", "key"), b"in carts")
            self.assertEqual(client.call("SELECT", "default"), "OK")
            self.assert_error(client.call("SELECT", 7), "ERR")
            self.assert_error(client.call("SELECT", "nonsense"), "ERR")
            self.assertEqual(client.call("GET", "key"), b"in default", "a failed SELECT changes nothing")

    def test_keys_and_values_are_arbitrary_bytes(self):
        cluster = self.cluster()
        every_byte = bytes(range(256))
        samples = [every_byte, b"\r\n", b"$3\r\nfoo\r\n", b"\0", b"\xff\xfe", "käse ☕".encode(), b"{", b"{}", b"{a}b", b"a" * 300]
        samples += [self.random.randbytes(self.random.randrange(1, 2000)) for _ in range(50)]
        with cluster["n1"].client() as writer:
            replies = writer.pipeline([("SET", key, key[::-1]) for key in samples])
        self.assertEqual(replies, ["OK"] * len(samples))
        for node in cluster:
            self.assertEqual(node.ask("MGET", *samples), [key[::-1] for key in samples])
        self.assertEqual(cluster["n2"].ask("SET", "empty", b""), "OK")
        self.assertEqual(cluster["n3"].ask("GET", "empty"), b"")

    def test_the_largest_value_and_key_are_taken_and_larger_ones_refused(self):
        cluster = self.cluster(timeouts={"read_ms": int(1000 * SLOWNESS), "write_ms": int(2000 * SLOWNESS)})
        value = self.random.randbytes(16 * MIB)
        self.assertEqual(cluster["n1"].ask("SET", "big", value, timeout=30), "OK")
        for node in cluster:
            self.assertTrue(node.ask("GET", "big", timeout=30) == value, f"through {node.name}")
        key = self.random.randbytes(64 * KIB)
        self.assertEqual(cluster["n2"].ask("SET", key, "x"), "OK")
        self.assertEqual(cluster["n3"].ask("GET", key), b"x")
        with cluster["n1"].client(timeout=30) as client:
            self.assert_error(client.call("SET", key + b"x", "x"), "TOOBIG")
            self.assert_error(client.call("GET", key + b"x"), "TOOBIG")
            self.assert_error(client.call("SET", b"", "x"), "ERR")
            self.assertEqual(client.call("PING"), "PONG", "the connection goes on")
        try:
            self.assert_error(cluster["n1"].ask("SET", "big", value + b"x", timeout=30), "TOOBIG")
        except ConnectionError:
            pass  # Closing the connection instead of reading all of it is a fair answer.
        self.assertTrue(cluster["n2"].ask("GET", "big", timeout=30) == value)

    def test_mistakes_get_an_error_and_the_connection_goes_on(self):
        with self.cluster()["n1"].client() as client:
            for command in [("NONSENSE",), ("GET",), ("GET", "a", "b"), ("SET", "a"), ("MSET", "a"), ("MSET", "a", "b", "c"),
                            ("SET", "a", "b", "EX"), ("SET", "a", "b", "EX", "0"), ("SET", "a", "b", "EX", "-1"),
                            ("SET", "a", "b", "PX", "soon"), ("SET", "a", "b", "EX", "1", "PX", "1"), ("SET", "a", "b", "NONSENSE"),
                            ("KV.GET",), ("KV.GET", "a", "R"), ("KV.GET", "a", "R", "9"), ("KV.GET", "a", "R", "few"),
                            ("KV.PUT", "a"), ("KV.PUT", "a", "b", "CONTEXT"), ("KV.PUT", "a", "b", "CONTEXT", "nonsense"),
                            ("KV.DEL", "a", "CONTEXT", "cx1AAAA"), ("KV.PUT", "a", "b", "W", "0"), ("SELECT",)]:
                self.assert_error(client.call(*command), "ERR")
            self.assertEqual(client.call("PING"), "PONG")
            self.assertIsNone(client.call("GET", "a"), "nothing was written")

    def test_what_an_eventual_bucket_cannot_promise_is_refused(self):
        with self.cluster()["n1"].client() as client:
            for command in [("SET", "a", "b", "NX"), ("SET", "a", "b", "XX"), ("SET", "a", "b", "GET"), ("SETNX", "a", "b"),
                            ("INCR", "a"), ("MULTI",)]:
                self.assert_error(client.call(*command), "ERR", "needs a strong bucket")
            self.assertIsNone(client.call("GET", "a"))

    def test_replies_of_a_pipeline_come_in_order(self):
        with self.cluster()["n2"].client() as client:
            commands, expected = [], []
            for number in range(2_000):
                commands += [("SET", f"k{number % 50}", number), ("GET", f"k{number % 50}"), ("ECHO", number), ("NONSENSE",)]
                expected += ["OK", str(number).encode(), str(number).encode(), "ERR"]
            replies = [getattr(reply, "code", reply) for reply in client.pipeline(commands)]
            self.assertEqual(replies, expected)

    def test_quorum_levels_of_a_request(self):
        cluster = self.cluster()
        for level in ["all", "quorum", "one", 1, 2, 3]:
            with cluster["n1"].client() as client:
                context = client.call("KV.PUT", f"key-{level}", "x", "W", level)
                self.assertIsInstance(context, bytes)
            answered_by = [node.ask("KV.GET", f"key-{level}", "R", "all") for node in cluster]
            self.assertEqual([values for _, values in answered_by], [[b"x"]] * 3)


if __name__ == "__main__":
    unittest.main()
