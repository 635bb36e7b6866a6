"""Nodes that are drained, and restarted one after the other while clients go on."""

import json

import workload
from harness import SLOWNESS, ClusterCase, wait_until

CHANGE = 30.0 * SLOWNESS  # What was ordered is so within this.


class Drain(ClusterCase):
    TIMEOUT = 240

    def ctl(self, node, *words, code=0):
        done = node.ctl(*words)
        self.assertEqual(done.returncode, code, f"ctl {words}: {done.stdout}{done.stderr}")
        return done

    def roll(self, drain):
        """Restarts three nodes one by one under load. -> the load, stopped."""
        strict = {"name": "strict", "db": 0, "mode": "eventual", "n": 3, "r": 2, "w": 2, "conflict": "lww", "sloppy": False}
        cluster = self.cluster(3, buckets=[strict])
        load = workload.Load(cluster, 600, self.seed, looks=True)
        load.start()
        load.wait_writes(2_000, CHANGE)
        for node in cluster:
            other = next(other for other in cluster if other is not node)
            if drain:
                self.assertIn(f"{node.name} is drained", self.ctl(other, "drain", node.name).stdout)
                wait_until(lambda: node.name + " " in self.ctl(other, "status").stdout and "drained" in self.ctl(other, "status").stdout,
                           CHANGE, f"{other.name} knows")
                load.wait_writes(load.ledger.writes + 1_000, CHANGE)
            code, seconds = node.terminate(seconds=10 * SLOWNESS)
            self.assertEqual(code, 0)
            self.say(f"{node.name} stopped within {seconds:.2f} s")
            load.wait_writes(load.ledger.writes + 1_000, CHANGE)
            node.start()
            cluster.wait_ready(CHANGE)
            self.assertNotIn("drained", self.ctl(other, "status").stdout)
            load.wait_writes(load.ledger.writes + 1_000, CHANGE)
        load.stop()  # No wrong value was read.
        self.assertEqual(load.failures, [])
        self.assertGreaterEqual(load.left, 3 * 4, "clients were sent away, and noticed")
        for node in cluster:
            complaints, found = load.verify(node)
            self.assertEqual((complaints, len(found)), ([], 600))
        return load

    def test_a_rolling_restart_fails_no_request(self):
        load = self.roll(drain=True)
        self.say(f"{load.ledger.writes} writes and {load.ledger.reads} reads, none failed")

    def test_a_node_that_is_stopped_drains_by_itself(self):
        self.roll(drain=False)

    def test_a_drained_node_keeps_its_data_and_sends_clients_to_others(self):
        cluster = self.cluster(3)
        with cluster["n2"].client() as before:
            self.assertEqual(before.call("SET", "k", "v"), "OK")
            shown = self.ctl(cluster["n1"], "drain", "n2").stdout
            self.assertIn(f"its clients are sent to n1 at 127.0.0.1:{cluster['n1'].port}, n3 at ", shown)
            self.assertEqual(before.call("GET", "k"), b"v", "the last one is answered")
            wait_until(before.at_end, CHANGE, "the connection is closed behind it")
        with cluster["n2"].client() as late:
            self.assert_error(late.call("GET", "k"), "DRAINED", f"n1 at 127.0.0.1:{cluster['n1'].port}", "n3 at ")
            wait_until(late.at_end, CHANGE, "and goes")
        for node in cluster:
            wait_until(lambda: "up, drained" in self.ctl(node, "status").stdout, CHANGE, f"{node.name} shows it")
        # Its replicas serve: without n3 each request needs n2.
        cluster["n3"].kill()
        cluster.wait_down("n3", CHANGE)
        for i in range(100):
            self.assertEqual(cluster["n1"].ask("SET", f"key-{i}", i), "OK")
            self.assertEqual(cluster["n1"].ask("GET", f"key-{i}"), str(i).encode())
        self.assertIn("is the only node that takes requests", self.ctl(cluster["n1"], "drain", "n1", code=1).stderr)
        self.assertIn("there is no node n9 (allowed: n1, n2, n3)", self.ctl(cluster["n1"], "drain", "n9", code=1).stderr)
        self.assertIn("takes requests of clients again", self.ctl(cluster["n2"], "undrain", "n2").stdout)
        self.assertEqual(cluster["n2"].ask("GET", "key-7"), b"7")
        told = json.loads(self.ctl(cluster["n1"], "drain", "n1", "--json").stdout)
        self.assertEqual((told["node"], told["drained"]), ("n1", True))
