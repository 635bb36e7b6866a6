"""The multi-host form: nodes with addresses of their own, and a network that can be cut."""

import re
import shutil
import time
import unittest

import resp
from copies import BUCKETS, LEVEL, Writes, level, own_copies
from harness import SLOWNESS, ClusterCase, wait_until
from network import Network
from test_kill import run_kill_all_under_load, run_kill_under_load


class Hosts(ClusterCase):
    SERIAL = True
    TIMEOUT = 300

    def hosts(self, count=3, **options):
        """A running cluster of hosts, and its network."""
        network = Network(self, count)
        return self.cluster(count, network=network, **options), network

    def test_no_acknowledged_write_is_missing_after_a_host_s_node_was_killed_under_load(self):
        cluster, _ = self.hosts()
        run_kill_under_load(self, cluster)

    def test_no_acknowledged_write_is_missing_after_the_nodes_of_five_hosts_were_killed_at_once_under_load(self):
        cluster, _ = self.hosts(5)
        run_kill_all_under_load(self, cluster, 0, 1)

    def test_a_host_of_five_that_lost_its_disk_is_whole_again_and_tells_how_far_it_is(self):
        cluster, _ = self.hosts(5, sync={"mb_per_s_max": 1})
        writes, keys, node = Writes(), [f"key-{number}" for number in range(400)], cluster["n2"]
        self.assertEqual(writes.put(cluster["n1"], "x" * 2500, keys), [])
        level(cluster, writes, since=time.monotonic())
        owned = [own_copies(node, db, keys).keys() for db in BUCKETS]
        node.kill()
        shutil.rmtree(node.entry["data_dir"])
        at = len(node.log_text())
        started = time.monotonic()
        node.start()
        seen = []

        def incomplete():
            seen.append(node.status()["counters"]["vnodes_incomplete"])
            return seen[-1]

        wait_until(lambda: 0 < incomplete() < seen[0], LEVEL, "some vnodes are whole, some are not")
        self.assertEqual(writes.put(cluster["n1"], "meanwhile", keys), [])
        wait_until(lambda: incomplete() == 0, 3 * LEVEL, "n2 is whole")
        self.say(f"whole after {time.monotonic() - started:.1f} s, vnodes not complete: {sorted(set(seen), reverse=True)}")
        self.assertEqual(seen, sorted(seen, reverse=True), "their number only falls")
        log = node.log_text()[at:]
        self.assertIn(" vnodes are not complete yet; ", log)
        self.assertEqual(len(set(re.findall(r"bucket \d+ partition \d+: refilled from n", log))), seen[0], "each is named")
        level(cluster, writes, started, 4 * LEVEL)
        self.assertEqual([own_copies(node, db, keys).keys() for db in BUCKETS], owned)

    def test_a_host_that_is_cut_off_is_down_within_three_seconds_and_writes_go_on(self):
        cluster, network = self.hosts()
        majority, lonely = [cluster["n1"], cluster["n2"]], cluster["n3"]
        self.assertEqual(lonely.ask("SET", "key", "before"), "OK")
        network.cut(2)
        start = time.monotonic()
        slowest = 0.0
        clients = [node.client(timeout=10) for node in majority]
        number = 0
        while time.monotonic() < start + 3 * SLOWNESS:  # While the cut is being noticed.
            number += 1
            for client in clients:
                asked = time.monotonic()
                reply = client.call("SET", "key", number)
                slowest = max(slowest, time.monotonic() - asked)
                if isinstance(reply, resp.Error):
                    self.assertIn(reply.code, ("TIMEOUT", "NOQUORUM", "BUSY"), reply)
        self.assertLess(slowest, 2.0 * SLOWNESS + 0.3, "no request takes longer than its deadline")
        for node in majority:
            self.assertFalse(node.sees("n3", "up"), f"{node.name} still sees n3 up 3 s after the cut")
        wait_until(lambda: not lonely.sees("n1", "up") and not lonely.sees("n2", "up"), 1 * SLOWNESS, "n3 sees that it is alone")
        self.assert_error(lonely.ask("SET", "key", "alone"), "NOQUORUM", "needed 2, reachable 1")
        self.assert_error(lonely.ask("GET", "key"), "NOQUORUM", "needed 2, reachable 1")
        while time.monotonic() < start + 14 * SLOWNESS:  # Until dialling takes its longest pauses.
            for client in clients:
                self.assertEqual(client.call("SET", "key", "during"), "OK")
                self.assertEqual(client.call("GET", "key"), b"during")

        network.heal(2)
        start = time.monotonic()
        for node in majority:
            wait_until(lambda: node.sees("n3", "up") and lonely.sees(node.name, "up"), 2 * SLOWNESS, "n3 is back")
        self.say(f"back {time.monotonic() - start:.2f} s after the cut was healed; slowest request {slowest:.3f} s")
        wait_until(lambda: lonely.ask("SET", "other", "x") == "OK", 1 * SLOWNESS, "n3 takes writes again")
        for node in cluster:
            self.assertEqual(node.ask("GET", "key"), b"during", "the refused write left nothing behind")
        for client in clients:
            client.close()

    def test_a_cut_under_load_loses_nothing(self):
        from workload import Load

        cluster, network = self.hosts()
        load = Load([cluster["n1"], cluster["n2"]], 2_000, self.seed)
        load.start()
        try:
            load.wait_writes(1_000, 60 * SLOWNESS)
            for _ in range(2):
                network.cut(2)
                cluster.wait_down("n3", 3.5 * SLOWNESS, by=[cluster["n1"], cluster["n2"]])
                load.wait_writes(load.ledger.writes + 1_000, 60 * SLOWNESS)
                network.heal(2)
                cluster.wait_ready(10 * SLOWNESS)
                load.wait_writes(load.ledger.writes + 1_000, 60 * SLOWNESS)
        finally:
            load.stopping.set()
        load.stop()
        for node in cluster:
            self.assertEqual(load.verify(node)[0][:10], [])


if __name__ == "__main__":
    unittest.main()
