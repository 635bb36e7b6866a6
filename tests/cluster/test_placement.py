"""Where copies lie: zones, weights and replica groups of the configuration, and what a lost zone costs."""

import json
import time

from harness import SLOWNESS, ClusterCase, wait_until
from workload import Load

STRICT = {"name": "strict", "db": 0, "mode": "eventual", "n": 3, "r": 2, "w": 2, "conflict": "lww", "sloppy": False}
SLOPPY = {**STRICT, "name": "sloppy", "sloppy": True}
KEYS = 1_000
FAILOVER = 3.0 * SLOWNESS  # After this long, no request to a surviving node fails.
CHANGE = 60.0 * SLOWNESS


def topology(node):
    return json.loads(node.ask("KV.TOPOLOGY", "SHOW"))


def of_members(node, field):
    return {member["name"]: member[field] for member in topology(node)["members"]}


class Placement(ClusterCase):
    TIMEOUT = 240

    def lose_zone(self, cluster, zone):
        """Kills its nodes under load. -> when the failure was over, and the load, which goes on through the others."""
        others = [node for node in cluster if node.entry["zone"] != zone]
        load = Load(others, KEYS, self.seed)
        load.start()
        load.wait_writes(2 * KEYS, CHANGE)
        lost = [node for node in cluster if node.entry["zone"] == zone]
        for node in lost:
            node.kill()
        killed = time.monotonic()
        for node in lost:
            cluster.wait_down(node.name, FAILOVER)
        while time.monotonic() < killed + FAILOVER + 1:
            load.wait_writes(load.ledger.writes + 100, CHANGE)
        return killed + FAILOVER, load

    def start_zone(self, cluster):
        for node in cluster:
            if node.process is None:
                node.start()
        cluster.wait_ready()

    def wait_level(self, cluster):
        def level():
            counts = [node.status()["counters"] for node in cluster]
            return all(count[name] == 0 for count in counts for name in ("dots_behind", "hint_vnodes", "vnodes_incomplete"))
        wait_until(level, CHANGE, "owners are level")

    def verify(self, nodes, load):
        for node in nodes:
            complaints, found = load.verify(node)
            self.assertEqual((complaints[:5], len(found)), ([], KEYS), node.name)

    def test_one_of_three_zones_is_lost_and_every_request_goes_on(self):
        cluster = self.cluster(6, buckets=[STRICT], each=[{"zone": zone} for zone in "aabbcc"])
        zones = of_members(cluster["n1"], "zone")
        self.assertEqual({frozenset(zones[name] for name in owners) for owners in topology(cluster["n1"])["owners"]}, {frozenset("abc")})
        over, load = self.lose_zone(cluster, "c")
        self.start_zone(cluster)
        load.wait_writes(load.ledger.writes + KEYS, CHANGE)
        load.stop()
        self.assertEqual([failure for failure in load.failures if failure.time > over], [])
        self.wait_level(cluster)
        for node in (cluster["n1"], cluster["n2"]):  # What was written without zone c is in it, and in b: a is not needed.
            node.kill()
        for name in ("n1", "n2"):
            cluster.wait_down(name, CHANGE)
        self.verify(cluster.running(), load)

    def test_one_of_two_zones_is_lost_and_every_key_has_a_copy_in_the_other(self):
        cluster = self.cluster(5, buckets=[SLOPPY], each=[{"zone": zone} for zone in "aaabb"])
        zones = of_members(cluster["n1"], "zone")
        self.assertEqual({frozenset(zones[name] for name in owners) for owners in topology(cluster["n1"])["owners"]}, {frozenset("ab")})
        over, load = self.lose_zone(cluster, "b")  # Three nodes are left to stand in for owners: writes and reads go on.
        load.stop()
        self.assertEqual([failure for failure in load.failures if failure.time > over], [])
        self.verify(cluster.running(), load)
        self.start_zone(cluster)
        self.wait_level(cluster)
        for name in ("n1", "n2", "n3"):
            cluster[name].kill()
        for name in ("n1", "n2", "n3"):
            cluster.wait_down(name, CHANGE)
        with cluster["n4"].client(timeout=30) as client:
            replies = client.pipeline([("KV.GET", key, "R", "one") for key in load.ledger.keys])
        complaints = [load.ledger.complaint(key, (reply[1] or [None])[0], load.ledger.acked[key])
                      for key, reply in zip(load.ledger.keys, replies)]
        self.assertEqual([text for text in complaints if text], [])

    def test_a_node_of_weight_2_gets_twice_the_vnodes(self):
        pair = {**STRICT, "n": 2}
        cluster = self.cluster(5, buckets=[pair], partitions=256, each=[{"weight": 2}, {}, {}, {}, {}])
        share = of_members(cluster["n3"], "partitions")
        self.assertIn(share.pop("n1"), (170, 171))  # Two sixths of 512.
        self.assertTrue(all(count in (85, 86) for count in share.values()), share)

    # -- Groups --

    def assert_in_groups(self, node, size):
        shown = topology(node)
        groups = {group["name"]: frozenset(group["nodes"]) for group in shown["groups"]}
        self.assertEqual({name: len(nodes) for name, nodes in groups.items()}, size)
        self.assertEqual({frozenset(owners) for owners in shown["owners"]}, set(groups.values()))
        return shown

    def test_owners_of_a_partition_are_one_group_of_the_configuration(self):
        cluster = self.cluster(6, buckets=[STRICT], each=[{"group": "left"}] * 3 + [{"group": "right"}] * 3)
        shown = self.assert_in_groups(cluster["n1"], {"left": 3, "right": 3})
        for node in cluster:
            self.assertEqual(topology(node)["owners"], shown["owners"])
        self.assertEqual(set(of_members(cluster["n1"], "partitions").values()), {32})
        self.assertRegex(cluster["n1"].ctl("ring").stdout, r"n6 +member +right")
        load = Load(cluster, KEYS, self.seed)
        load.start()
        load.wait_writes(2 * KEYS, CHANGE)
        load.stop()
        self.assertEqual(load.failures, [])
        for node in cluster:
            node.terminate()
        cluster.start()
        self.assertEqual(topology(cluster["n6"])["owners"], shown["owners"])
        self.verify(cluster, load)
        other = cluster.directory / "other.json"  # Another group is another cluster: the directory is refused.
        cluster["n1"].terminate()
        config = json.loads(cluster.file.read_text())
        for entry in config["nodes"]:
            entry["group"] = "all"
        other.write_text(json.dumps(config))
        cluster["n1"].start(config=other)
        self.assertEqual(cluster["n1"].process.wait(CHANGE), 2)
        self.assertIn("nodes (name, zone, weight, group)", cluster["n1"].log_text())
        cluster["n1"].process = None
        cluster["n1"].start()
        cluster.wait_ready()

        node = cluster.newcomer("n7", cluster["n1"], group="left").start()
        wait_until(lambda: "n7 at 127.0.0.1:" in cluster["n1"].log_text(), CHANGE, "n7 asks to be let in")

        def agreed():
            plan, done = cluster["n1"].ctl("plan", "join", "n7"), cluster["n1"].ctl("commit")
            return plan.returncode == done.returncode == 0

        wait_until(agreed, CHANGE, "n7 joins its group")
        wait_until(lambda: topology(cluster["n1"])["job"] is None, CHANGE, "n7 has joined")
        self.assert_in_groups(cluster["n1"], {"left": 4, "right": 3})
        wait_until(node.ready, CHANGE, "n7 serves")
        self.verify(cluster, load)

