"""Nodes that speak different versions of messages (docs/adr/0011-message-versions.md).

An older release is played by `peers.message_version`. With CREMA_OLD_BINARY a real one is used, which speaks 12 at most.
"""

import json
import os

import workload
from harness import SLOWNESS, ClusterCase, wait_until

OLDER, NEWEST = 12, 13
CHANGE = 60.0 * SLOWNESS
OLD_BINARY = os.environ.get("CREMA_OLD_BINARY")


class Versions(ClusterCase):
    TIMEOUT = 300

    def make_older(self, node):
        """From its next start on."""
        if OLD_BINARY:
            node.binary = OLD_BINARY
            return
        config = json.loads((node.file or node.cluster.file).read_text())
        config["peers"] = {"message_version": OLDER}
        node.file = node.cluster.directory / f"{node.name}-older.json"
        node.file.write_text(json.dumps(config))

    def make_newest(self, node):
        node.binary, node.file = type(node)(node.cluster, node.entry).binary, None

    def check_spoken(self, cluster, newest):
        """Each pair speaks the newest that both know, and tells its release if that is new enough."""
        def spoken(node):
            told = {m["name"]: (m.get("message_version"), m.get("release", "") != "") for m in node.status()["members"]}
            del told[node.name]
            common = {other: min(newest[node.name], newest[other]) for other in told}
            return told == {other: (version, version >= NEWEST) for other, version in common.items()}
        for node in cluster:
            if not (OLD_BINARY and newest[node.name] == OLDER):
                wait_until(lambda node=node: spoken(node), CHANGE, f"{node.name} speaks as it should", every=0.1)

    def commit(self, node, *change):
        def agreed():
            planned = node.ctl("plan", *change)
            return planned.returncode == 0 and node.ctl("commit").returncode == 0
        wait_until(agreed, CHANGE, f"{change} is agreed")
        done = node.ctl("jobs", "--watch", timeout=CHANGE)
        self.assertEqual(done.returncode, 0, f"{done.stdout}{done.stderr}")

    def test_a_cluster_is_upgraded_node_by_node_under_load(self):
        strict = {"name": "strict", "db": 0, "mode": "eventual", "n": 3, "r": 2, "w": 2, "conflict": "lww", "sloppy": False}
        cluster = self.cluster(3, start=False, buckets=[strict])
        newest = {}
        for node in cluster:
            self.make_older(node)
            node.start()
            newest[node.name] = OLDER
        cluster.wait_ready()
        self.check_spoken(cluster, newest)
        load = workload.Load(cluster, 600, self.seed, looks=True)
        load.start()
        load.wait_writes(1_000, CHANGE)
        for node, change in zip(cluster, (("set-weight", "n3", "2"), ("set-weight", "n3", "1"), None)):
            code, _ = node.terminate(seconds=10 * SLOWNESS)
            self.assertEqual(code, 0)
            load.wait_writes(load.ledger.writes + 1_000, CHANGE)  # It misses them, and catches up.
            self.make_newest(node)
            node.start()
            cluster.wait_ready(CHANGE)
            newest[node.name] = NEWEST
            self.check_spoken(cluster, newest)
            load.wait_writes(load.ledger.writes + 1_000, CHANGE)
            if change:
                self.commit(node, *change)  # Agreement and copies among nodes of both.
        node = cluster["n2"]  # And back.
        self.make_older(node)
        self.assertEqual(node.terminate(seconds=10 * SLOWNESS)[0], 0)
        node.start()
        cluster.wait_ready(CHANGE)
        newest["n2"] = OLDER
        self.check_spoken(cluster, newest)
        load.wait_writes(load.ledger.writes + 1_000, CHANGE)
        load.stop()
        self.assertEqual(load.failures, [])
        for node in cluster:
            complaints, found = load.verify(node)
            self.assertEqual((complaints, len(found)), ([], 600))
        self.say(f"{load.ledger.writes} writes and {load.ledger.reads} reads, none failed")

    def test_a_node_joins_others_that_speak_older_messages(self):
        cluster = self.cluster(3, start=False)
        for node in cluster:
            self.make_older(node)
            node.start()
        cluster.wait_ready()
        for i in range(300):
            self.assertEqual(cluster["n1"].ask("SET", f"key-{i}", i), "OK")
        newcomer = cluster.newcomer("n4", cluster["n2"]).start()
        self.commit(cluster["n2"], "join", "n4")
        newcomer.wait_ready(CHANGE)
        self.check_spoken(cluster, {"n1": OLDER, "n2": OLDER, "n3": OLDER, "n4": NEWEST})
        for i in range(300):
            self.assertEqual(newcomer.ask("GET", f"key-{i}"), str(i).encode())
        repaired = newcomer.ctl("repair", timeout=CHANGE)  # Owners compare what they hold.
        self.assertEqual(repaired.returncode, 0, f"{repaired.stdout}{repaired.stderr}")
