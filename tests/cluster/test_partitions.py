"""Partitions between hosts, and what is level again after them, without a read (docs/repair.md)."""

import time
import unittest

import resp
from harness import SLOWNESS, ClusterCase, wait_until
from network import Network

LEVEL = 10.0 * SLOWNESS
BUCKETS = [{"name": "default", "db": 0, "mode": "eventual", "n": 3, "r": 2, "w": 2, "conflict": "lww", "sloppy": True},
           {"name": "carts", "db": 1, "mode": "eventual", "n": 3, "r": 2, "w": 2, "conflict": "siblings", "sloppy": True,
            "durability": "fsync"}]
KEYS = [f"key-{number}" for number in range(300)]


class Partitions(ClusterCase):
    SERIAL = True
    TIMEOUT = 300

    def hosts(self, count):
        network = Network(self, count)
        return self.cluster(count, network=network, buckets=BUCKETS), network

    def put(self, node, value):
        """One sibling to each key."""
        with node.client(timeout=30, db=1) as client:
            replies = client.pipeline([("KV.PUT", key, f"{value}-{key}") for key in KEYS])
        self.assertEqual([reply for reply in replies if isinstance(reply, resp.Error)][:3], [])

    def holds(self, node, values, db=1):
        """Does this node itself hold exactly these siblings of each key? It answers R one from its own copy if it has one."""
        return self.own(node, db) == [sorted(f"{value}-{key}".encode() for value in values) for key in KEYS]

    def own(self, node, db=1):
        """What the node itself holds, by key: its siblings in order, or an error."""
        with node.client(timeout=30, db=db) as client:
            replies = client.pipeline([("KV.GET", key, "R", "one") for key in KEYS])
        return [reply if isinstance(reply, resp.Error) else sorted(reply[1]) for reply in replies]

    def level(self, cluster, values, db=1):
        """Waits until every node holds these values and nothing for another. -> seconds it took."""
        start = time.monotonic()

        def left():
            return max(0.1, start + LEVEL - time.monotonic())

        for node in cluster:
            wait_until(lambda: self.holds(node, values, db), left(), f"{node.name} holds {values}")
        for node in cluster:
            for counter in ("dots_behind", "hint_vnodes", "vnodes_incomplete"):
                wait_until(lambda: node.status()["counters"][counter] == 0, left(), f"{node.name} has no {counter}")
        return time.monotonic() - start

    def wait_apart(self, cluster, *sides):
        for side in sides:
            for index in side:
                for name in (f"n{other + 1}" for other in range(5) if other not in side):
                    wait_until(lambda: not cluster[f"n{index + 1}"].sees(name, "up"), 4 * SLOWNESS,
                               f"n{index + 1} sees {name} down")

    def test_both_sides_take_writes_and_are_level_ten_seconds_after_the_cut(self):
        cluster, network = self.hosts(5)
        self.put(cluster["n1"], "before")
        sides = ([0, 1], [2, 3, 4])
        network.split(*sides)
        self.wait_apart(cluster, *sides)
        self.put(cluster["n1"], "left")
        self.put(cluster["n4"], "right")
        for node in (cluster["n2"], cluster["n5"]):
            self.assertGreater(node.status()["counters"]["hint_vnodes"], 0, "some writes are on fallbacks")
        network.heal()
        cluster.wait_ready()
        self.say(f"level {self.level(cluster, ['before', 'left', 'right']):.1f} s after all are linked")

    def test_slow_links_that_lose_packets_lose_no_write(self):
        network = Network(self, 3)

        def delay(random):
            return random.uniform(0.02, 0.08) + (random.uniform(0.2, 0.8) if random.random() < 0.02 else 0.0)

        cluster = self.cluster(3, start=False, network=network, buckets=BUCKETS)
        network.slow_down(cluster["n1"].entry["peer_port"], delay)
        cluster.start()
        cluster.wait_ready()
        network.lose(2)
        acknowledged, refused = {key: [] for key in KEYS}, 0
        for number in range(6):
            node = cluster[f"n{number % 3 + 1}"]
            with node.client(timeout=60, db=1) as client:
                replies = client.pipeline([("KV.PUT", key, f"{number}-{key}") for key in KEYS])
            for key, reply in zip(KEYS, replies):
                if isinstance(reply, resp.Error):
                    self.assertIn(reply.code, ("TIMEOUT", "NOQUORUM", "BUSY"), reply)
                    refused += 1
                else:
                    acknowledged[key].append(f"{number}-{key}".encode())
        self.assertLess(refused, 3 * len(KEYS), "most writes succeed")
        network.heal()

        def same():
            copies = [self.own(node) for node in cluster]
            return copies if all(copy == copies[0] for copy in copies) else None

        copies = wait_until(same, LEVEL, "all nodes hold the same")
        self.assertGreater(sum(relay.carried for relay in network.relays), 100_000, "the relays were in between")
        for key, values in zip(KEYS, copies[0]):
            self.assertEqual([value for value in acknowledged[key] if value not in values], [], key)
        self.say(f"{6 * len(KEYS) - refused} acknowledged, {refused} refused")

    def test_a_host_that_nobody_hears_is_down_and_level_after_it(self):
        cluster, network = self.hosts(3)
        network.mute(2)
        cluster.wait_down("n3", 4 * SLOWNESS, by=[cluster["n1"], cluster["n2"]])
        self.put(cluster["n1"], "meanwhile")
        network.heal()
        cluster.wait_ready()
        self.level(cluster, ["meanwhile"])

    def test_a_node_that_was_stopped_for_half_a_minute_is_level_after_it(self):
        cluster, _ = self.hosts(3)
        cluster["n2"].pause()
        stopped = time.monotonic()
        cluster.wait_down("n2", 4 * SLOWNESS, by=[cluster["n1"], cluster["n3"]])
        number = 0
        with cluster["n1"].client(timeout=30) as client:
            while time.monotonic() < stopped + 30:
                number += 1
                for key in KEYS:
                    self.assertEqual(client.call("SET", key, f"{number}-{key}"), "OK")
        cluster["n2"].resume()
        cluster.wait_ready()
        took = self.level(cluster, [str(number)], db=0)
        self.say(f"level {took:.1f} s after it is linked, {number} rounds of writes behind")


if __name__ == "__main__":
    unittest.main()
