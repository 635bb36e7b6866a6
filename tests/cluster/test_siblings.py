"""Concurrent values through real nodes: exactly the siblings that causality says are left."""

import random
import threading
import unittest

import resp
from harness import ClusterCase, wait_until
from siblings_model import Client, KeyHistory


def values_everywhere(cluster, key, db=1):
    """What a read of all replicas returns, through every node."""
    return [sorted(node.ask("KV.GET", key, "R", "all", db=db)[1]) for node in cluster]


class Siblings(ClusterCase):
    def test_two_writers_that_did_not_see_each_other_leave_two_values(self):
        cluster = self.cluster()
        cluster["n1"].ask("KV.PUT", "cart", "milk", db=1)
        cluster["n2"].ask("KV.PUT", "cart", "bread", db=1)
        for node in cluster:
            context, values = node.ask("KV.GET", "cart", db=1)
            self.assertEqual(sorted(values), [b"bread", b"milk"])
        cluster["n3"].ask("KV.PUT", "cart", "milk and bread", "CONTEXT", context, db=1)
        self.assertEqual(values_everywhere(cluster, "cart"), [[b"milk and bread"]] * 3)

    def test_a_stale_context_replaces_only_what_it_has_seen(self):
        cluster = self.cluster()
        seen_first = cluster["n1"].ask("KV.PUT", "key", "first", db=1)
        seen_second = cluster["n2"].ask("KV.PUT", "key", "second", "CONTEXT", seen_first, db=1)
        cluster["n3"].ask("KV.PUT", "key", "late", "CONTEXT", seen_first, db=1)
        self.assertEqual(values_everywhere(cluster, "key"), [[b"late", b"second"]] * 3)
        cluster["n1"].ask("KV.PUT", "key", "third", "CONTEXT", seen_second, db=1)
        self.assertEqual(values_everywhere(cluster, "key"), [[b"late", b"third"]] * 3)

    def test_the_context_of_an_absent_key_allows_a_first_write(self):
        cluster = self.cluster()
        context, values = cluster["n1"].ask("KV.GET", "key", db=1)
        self.assertEqual(values, [])
        cluster["n2"].ask("KV.PUT", "key", "value", "CONTEXT", context, db=1)
        self.assertEqual(values_everywhere(cluster, "key"), [[b"value"]] * 3)

    def test_a_delete_with_a_context_leaves_what_it_has_not_seen(self):
        cluster = self.cluster()
        context = cluster["n1"].ask("KV.PUT", "key", "seen", db=1)
        cluster["n2"].ask("KV.PUT", "key", "unseen", db=1)
        cluster["n3"].ask("KV.DEL", "key", "CONTEXT", context, db=1)
        self.assertEqual(values_everywhere(cluster, "key"), [[b"unseen"]] * 3)

    def test_plain_set_and_del_replace_all_siblings(self):
        cluster = self.cluster()
        for number, node in enumerate(cluster):
            node.ask("KV.PUT", "key", number, db=1)
        self.assertEqual(cluster["n1"].ask("SET", "key", "one", db=1), "OK")
        self.assertEqual(values_everywhere(cluster, "key"), [[b"one"]] * 3)
        cluster["n2"].ask("KV.PUT", "key", "two", db=1)
        self.assertEqual(cluster["n3"].ask("DEL", "key", db=1), 1)
        self.assertEqual(values_everywhere(cluster, "key"), [[]] * 3)
        self.assertIsNone(cluster["n1"].ask("GET", "key", db=1))

    def test_a_context_works_only_for_its_bucket_and_partition(self):
        cluster = self.cluster()
        context = cluster["n1"].ask("KV.PUT", "{a}1", "x", db=1)
        self.assertIsInstance(cluster["n2"].ask("KV.PUT", "{a}2", "x", "CONTEXT", context, db=1), bytes)
        self.assert_error(cluster["n2"].ask("KV.PUT", "{a}1", "x", "CONTEXT", context, db=0), "ERR", "invalid context")
        self.assert_error(cluster["n2"].ask("KV.PUT", "{b}1", "x", "CONTEXT", context, db=1), "ERR", "invalid context")
        middle = len(context) // 2
        damaged = context[:middle] + (b"A" if context[middle:middle + 1] != b"A" else b"B") + context[middle + 1:]
        self.assert_error(cluster["n2"].ask("KV.PUT", "{a}1", "x", "CONTEXT", damaged, db=1), "ERR", "invalid context")
        self.assertEqual(values_everywhere(cluster, "{a}1"), [[b"x"]] * 3)

    def test_above_a_hundred_siblings_a_put_without_context_is_refused(self):
        cluster = self.cluster()
        nodes = list(cluster)
        for number in range(100):
            reply = nodes[number % 3].ask("KV.PUT", "key", number, db=1)
            self.assertIsInstance(reply, bytes, reply)
        reply = nodes[0].ask("KV.PUT", "key", "one too many", db=1)
        self.assert_error(reply, "ERR")
        self.assertRegex(reply.lower(), "sibling")
        self.assertRegex(reply, "(?i)context|KV.GET", "the error says what to do")
        context, values = nodes[1].ask("KV.GET", "key", "R", "all", db=1)
        self.assertEqual(sorted(map(int, values)), list(range(100)))
        self.assertIsInstance(nodes[2].ask("KV.PUT", "key", "all of them", "CONTEXT", context, db=1), bytes)
        self.assertEqual(values_everywhere(cluster, "key"), [[b"all of them"]] * 3)

    def test_concurrent_clients_leave_exactly_what_causality_says(self):
        cluster = self.cluster()
        keys = {f"key-{i}": KeyHistory() for i in range(12)}
        clients, errors = [], []

        def work(number):
            rng = random.Random(self.seed * 100 + number)
            views = [Client(history, key, f"c{number}", rng) for key, history in keys.items()]
            clients.extend(views)
            connections = [node.client(db=1) for node in cluster]
            try:
                for _ in range(600):
                    view, connection = rng.choice(views), rng.choice(connections)
                    action = rng.random()
                    if action < 0.45:
                        view.get(connection)
                    else:
                        view.write(connection, remove=action > 0.9)
            except Exception as error:
                errors.append(f"client {number}: {error!r}")
            finally:
                for connection in connections:
                    connection.close()

        threads = [threading.Thread(target=work, args=(number,)) for number in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.say(f"seed {self.seed}: {sum(client.writes for client in clients)} writes")
        self.assertEqual(errors, [])
        self.assertEqual([c for client in clients for c in client.complaints][:5], [])
        for key, history in keys.items():
            self.assertEqual(values_everywhere(cluster, key), [sorted(history.maximal())] * 3, key)


class Deletes(ClusterCase):
    SERIAL = True

    def test_nothing_is_resurrected_by_a_node_that_was_down_during_the_delete(self):
        cluster = self.cluster()
        keys = [f"key-{i}" for i in range(200)]
        for db in (0, 1):
            with cluster["n1"].client(db=db) as client:
                self.assertEqual(client.pipeline([("SET", key, "old") for key in keys]), ["OK"] * len(keys))
                # On all three, so that the one that goes down has the old values for sure.
                wait_until(lambda: all(client.call("KV.GET", key, "R", "all")[1] == [b"old"] for key in keys), 5, "all have it")
        cluster["n3"].kill()
        cluster.wait_down("n3", 3)
        with cluster["n1"].client() as client:
            self.assertEqual(client.call("DEL", *keys), len(keys))
        with cluster["n2"].client(db=1) as client:
            for key in keys:
                context, _ = client.call("KV.GET", key)
                self.assertNotIsInstance(client.call("KV.DEL", key, "CONTEXT", context), resp.Error)
        cluster["n3"].start()
        cluster.wait_ready()
        for _ in range(3):  # Also after read repair has moved things about.
            for node in cluster:
                for db in (0, 1):
                    with node.client(db=db) as client:
                        replies = client.pipeline([("KV.GET", key) for key in keys])
                        back = [key for key, reply in zip(keys, replies) if reply[1]]
                        self.assertEqual(back, [], f"resurrected through {node.name} in db {db}")

    def test_a_node_that_missed_a_write_does_not_bring_back_what_it_replaced(self):
        cluster = self.cluster()
        context = cluster["n1"].ask("KV.PUT", "key", "old", "W", "all", db=1)
        cluster["n3"].kill()
        cluster.wait_down("n3", 3)
        cluster["n1"].ask("KV.PUT", "key", "new", "CONTEXT", context, db=1)
        cluster["n3"].start()
        cluster.wait_ready()
        for node in cluster:
            self.assertEqual(node.ask("KV.GET", "key", db=1)[1], [b"new"])


if __name__ == "__main__":
    unittest.main()
