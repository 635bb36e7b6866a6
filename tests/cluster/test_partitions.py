"""Partitions between hosts, and what is level again after them, without a read (docs/repair.md)."""

import concurrent.futures
import time
import unittest

from copies import LEVEL, Writes, differences, level
from harness import SLOWNESS, ClusterCase, wait_until
from network import Network

KEYS = [f"key-{number}" for number in range(300)]


class Partitions(ClusterCase):
    SERIAL = True
    TIMEOUT = 300

    def hosts(self, count):
        network = Network(self, count)
        return self.cluster(count, network=network), network

    def wait_apart(self, cluster, *sides):
        for side in sides:
            for name in side:
                for other in [node.name for node in cluster if node.name not in side]:
                    wait_until(lambda: not cluster[name].sees(other, "up"), 4 * SLOWNESS, f"{name} sees {other} down")

    def write_on_both_sides(self, cluster, writes, left, right, *options):
        """Of half the keys the last write is on the left, of the others on the right."""
        for name, side, keys in [(left, "left", KEYS), (right, "right", KEYS), (left, "left-again", KEYS[::2])]:
            self.assertEqual(writes.put(cluster[name], side, keys, *(options if name == left else ())), [])
        self.assertGreaterEqual(len(differences(cluster, writes)), len(KEYS), "owners differ while the cut lasts")

    def heal(self, cluster, network, writes, seconds=LEVEL):
        """Within ten seconds from now both buckets are the same on all owners, and what was acknowledged."""
        healed = time.monotonic()
        network.heal()
        self.say(f"level {level(cluster, writes, healed, seconds):.1f} s after the cut")

    def test_both_sides_take_writes_and_are_level_ten_seconds_after_the_cut(self):
        cluster, network = self.hosts(5)
        writes = Writes()
        self.assertEqual(writes.put(cluster["n1"], "before", KEYS), [])
        network.split([0, 1], [2, 3, 4])
        self.wait_apart(cluster, ["n1", "n2"], ["n3", "n4", "n5"])
        self.write_on_both_sides(cluster, writes, "n1", "n4")
        for node in (cluster["n2"], cluster["n5"]):
            self.assertGreater(node.status()["counters"]["hint_vnodes"], 0, "some writes are on fallbacks")
        self.heal(cluster, network, writes)

    def test_a_host_alone_takes_writes_for_itself_and_is_level_ten_seconds_after_the_cut(self):
        cluster, network = self.hosts(3)
        writes = Writes()
        self.assertEqual(writes.put(cluster["n2"], "before", KEYS), [])
        network.split([0], [1, 2])
        self.wait_apart(cluster, ["n1"], ["n2", "n3"])
        self.assertEqual({error.code for error in writes.put(cluster["n1"], "too few", KEYS)}, {"NOQUORUM"})
        self.write_on_both_sides(cluster, writes, "n1", "n2", "W", "one")
        self.heal(cluster, network, writes)

    def one_way(self, count, cut):
        """n3 is cut off in one direction; writes through it and through the others, before and after this is noticed."""
        cluster, network = self.hosts(count)
        writes = Writes()
        self.assertEqual(writes.put(cluster["n1"], "before", KEYS), [])
        cut(network, 2)
        with concurrent.futures.ThreadPoolExecutor() as both:  # While nobody has noticed, what needs the silent side fails late.
            failed = [both.submit(writes.put, cluster[name], "unnoticed", keys) for name, keys in (("n3", KEYS[::2]), ("n1", KEYS[1::2]))]
        self.say(f"at once {[len(errors.result()) for errors in failed]} of {len(KEYS)} writes failed through n3 and n1")
        self.wait_apart(cluster, [node.name for node in cluster if node.name != "n3"], ["n3"])
        self.assertEqual({error.code for error in writes.put(cluster["n3"], "too few", KEYS)}, {"NOQUORUM"})
        self.write_on_both_sides(cluster, writes, "n3", "n2", "W", "one")
        self.heal(cluster, network, writes)

    def test_a_host_that_nobody_hears_is_down_and_level_ten_seconds_after_the_cut(self):
        self.one_way(3, Network.mute)

    def test_a_host_that_hears_nobody_is_down_and_level_ten_seconds_after_the_cut(self):
        self.one_way(5, Network.deafen)

    def test_slow_links_that_lose_packets_lose_no_write(self):
        network = Network(self, 3)

        def delay(random):
            return random.uniform(0.02, 0.08) + (random.uniform(0.2, 0.8) if random.random() < 0.02 else 0.0)

        cluster = self.cluster(3, start=False, network=network)
        network.slow_down(cluster["n1"].entry["peer_port"], delay)
        cluster.start()
        network.lose(2)
        writes, failed = Writes(), 0
        for number in range(6):
            failed += len(writes.put(cluster[f"n{number % 3 + 1}"], number, KEYS))
        self.assertLess(failed, 6 * len(KEYS), "most writes succeed")
        # Links stay slow, and over these it takes long to fill the vnodes of a node that came last.
        self.heal(cluster, network, writes, 3 * LEVEL)
        self.assertGreater(sum(relay.carried for relay in network.relays), 100_000, "the relays were in between")
        self.say(f"{12 * len(KEYS) - failed} acknowledged, {failed} failed")

    def test_a_value_that_a_slow_link_carries_in_eight_seconds_reaches_a_host_that_was_cut_off(self):
        network = Network(self, 3)
        cluster = self.cluster(3, start=False, network=network)
        network.slow_down(cluster["n1"].entry["peer_port"], bytes_per_s=1_000_000)
        cluster.start()
        network.split([0], [1, 2])
        self.wait_apart(cluster, ["n1"], ["n2", "n3"])
        writes = Writes()
        self.assertEqual(writes.put(cluster["n2"], "x" * 8_000_000, ["large"], "W", "one"), [])
        self.assertEqual(writes.put(cluster["n2"], "small", KEYS, "W", "one"), [])
        self.heal(cluster, network, writes, 12 * LEVEL)

    def test_a_node_that_was_stopped_for_half_a_minute_is_level_ten_seconds_after_it(self):
        cluster, _ = self.hosts(3)
        writes = Writes()
        self.assertEqual(writes.put(cluster["n1"], "before", KEYS), [])
        cluster["n2"].pause()
        stopped = time.monotonic()
        cluster.wait_down("n2", 4 * SLOWNESS, by=[cluster["n1"], cluster["n3"]])
        rounds = 0
        while time.monotonic() < stopped + 30:
            rounds += 1
            self.assertEqual(writes.replace(cluster["n1"], rounds, self.random.sample(KEYS, 10)), [])
        resumed = time.monotonic()
        cluster["n2"].resume()
        self.say(f"level {level(cluster, writes, since=resumed):.1f} s after it goes on, {20 * rounds} writes behind")


if __name__ == "__main__":
    unittest.main()
