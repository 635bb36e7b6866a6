"""Buckets that are created, changed and dropped while the cluster runs (`crema ctl bucket`)."""

import json

import workload
from harness import SLOWNESS, ClusterCase, wait_until

KEYS = 1_000
CHANGE = 60.0 * SLOWNESS  # A change is done within this.
VOTES = 20.0 * SLOWNESS   # Nodes that have just started may vote within this.


class Buckets(ClusterCase):
    TIMEOUT = 240

    def bucket(self, node, *words):
        """Nodes that have just been started cannot vote yet."""
        def agreed():
            done = node.ctl("bucket", *words)
            if done.returncode == 0:
                return done.stdout
            self.assertRegex(done.stderr, "no majority of the members votes|was never heard")
            return None
        return wait_until(agreed, VOTES, f"{words} is agreed")

    def listed(self, node):
        return {b["name"]: b for b in json.loads(self.ctl(node, "list", "--json"))}

    def ctl(self, node, *words, code=0):
        done = node.ctl("bucket", *words)
        self.assertEqual(done.returncode, code, f"ctl bucket {words}: {done.stdout}{done.stderr}")
        return done.stdout if code == 0 else done.stderr

    def watch(self, node):
        done = node.ctl("jobs", "--watch", timeout=CHANGE)
        self.assertEqual(done.returncode, 0, f"{done.stdout}{done.stderr}")

    def vnodes(self, cluster):
        return [node.status()["counters"]["vnodes"] for node in cluster]

    def test_a_bucket_is_used_on_all_nodes_as_soon_as_it_is_created(self):
        cluster = self.cluster(3)
        self.assertIn("known to all members", self.bucket(cluster["n1"], "create", "events", "conflict=siblings"))
        for node in cluster:
            with node.client(db="events") as client:
                self.assertEqual(client.call("SET", f"by {node.name}", node.name), "OK")
        for node in cluster:
            with node.client(db="events") as client:
                self.assertEqual([client.call("GET", f"by n{i}") for i in (1, 2, 3)], [b"n1", b"n2", b"n3"])
        events = self.listed(cluster["n2"])["events"]
        self.assertEqual((events["n"], events["r"], events["w"], events["conflict"]), (3, 2, 2, "siblings"))
        for node in cluster:  # All is as it was after a restart, though the files do not name it.
            node.terminate()
        cluster.start()
        cluster.wait_ready()
        with cluster["n3"].client(db="events") as client:
            self.assertEqual(client.call("GET", "by n1"), b"n1")

    def test_what_cannot_be_is_refused_with_the_cure(self):
        cluster = self.cluster(3)
        self.bucket(cluster["n1"], "create", "events")
        for words, why in ((("create", "events"), "there is a bucket of that name"),
                           (("create", "wide", "n=4"), "n = 4 copies need as many nodes, and there are 3 (allowed: 1 to 3)"),
                           (("set", "events", "w=4"), "w = 4 does not fit n = 3 (allowed: 1 to 3)"),
                           (("set", "nowhere", "n=1"), "there is no such bucket"),
                           (("drop", "nowhere", "--yes"), "there is no such bucket")):
            self.assertIn(why, self.ctl(cluster["n1"], *words, code=1))
        self.assertIn("cannot be changed", self.ctl(cluster["n1"], "set", "events", "conflict=lww", code=2))
        self.assertIn("not confirmed", self.ctl(cluster["n1"], "drop", "events", code=2))
        self.assertIn("events", self.listed(cluster["n3"]))

    def test_copies_come_and_go_while_clients_write_and_read(self):
        cluster = self.cluster(4)
        load = workload.Load(cluster, 500, self.seed, prefix="load")
        load.start()
        load.wait_writes(1_000, CHANGE)
        for words in (("n=4",), ("n=3", "r=1", "w=3"), ("r=2", "w=2"), ("n=2", "r=1", "w=2")):
            self.bucket(cluster["n1"], "set", "default", *words)
            self.watch(cluster["n1"])
            load.wait_writes(load.ledger.writes + 500, CHANGE)
        load.stop()
        self.assertEqual(load.failures, [])
        now = self.listed(cluster["n4"])["default"]
        self.assertEqual((now["n"], now["r"], now["w"], now.get("next")), (2, 1, 2, None))
        for node in cluster:
            complaints, found = load.verify(node)
            self.assertEqual((complaints, len(found)), ([], 500))

    def test_a_node_of_a_new_cluster_that_starts_last_is_waited_for(self):
        cluster = self.cluster(3, start=False)
        for name in ("n1", "n2"):
            cluster[name].start()
            cluster[name].wait_ready()
        creating = cluster["n1"].begin_ctl("bucket", "create", "events")
        cluster["n3"].start()
        told, errors = creating.communicate(timeout=VOTES)
        self.assertEqual(creating.returncode, 0, told + errors)
        for node in cluster:
            wait_until(lambda node=node: "events" in self.listed(node), CHANGE, f"{node.name} knows the bucket")

    def test_a_dropped_bucket_is_gone_also_on_who_was_away(self):
        cluster = self.cluster(3)
        self.bucket(cluster["n1"], "create", "events")
        with cluster["n1"].client(db="events") as client:
            replies = client.pipeline([("SET", f"key-{i}", "x" * 100) for i in range(KEYS)])
            self.assertEqual(set(replies), {"OK"})
        before = self.vnodes(cluster)
        cluster["n3"].terminate()
        cluster.wait_down("n3", CHANGE)
        with cluster["n2"].client(db="events") as client:
            self.assertIn("not known yet to n3", self.bucket(cluster["n1"], "drop", "events", "--yes"))
            self.assert_error(client.call("GET", "key-1"), "ERR", "no such bucket")
        cluster["n3"].start()
        cluster["n3"].wait_ready()
        partitions = cluster["n1"].status()["partitions"]
        wait_until(lambda: self.vnodes(cluster) == [count - partitions for count in before], CHANGE, "its vnodes are gone")
        for node in cluster:
            self.assertNotIn("events", self.listed(node))
        self.bucket(cluster["n1"], "create", "events")  # The same name and db, and nothing in it.
        for node in cluster:
            with node.client(db="events") as client:
                self.assertIsNone(client.call("GET", "key-1"))
                self.assertEqual(client.call("DBSIZE"), 0)

    def test_a_file_is_applied_as_a_plan(self):
        cluster = self.cluster(3)
        cluster["n1"].wait_ready()
        newcomer = cluster.newcomer("n4", cluster["n1"])
        newcomer.start()
        wanted = json.loads(cluster.file.read_text())
        wanted["nodes"][1]["weight"] = 2
        wanted["nodes"].append(newcomer.entry)
        wanted["buckets"].append({"name": "events", "conflict": "siblings"})
        file = cluster.directory / "wanted.json"
        file.write_text(json.dumps(wanted))
        wait_until(lambda: cluster["n1"].ctl("apply", str(file)).returncode == 0, VOTES, "n4 waits to be let in")
        plan = json.loads(cluster["n1"].ctl("apply", str(file), "--json").stdout)
        self.assertEqual(plan["changes"], ["set the weight of n2 to 2", "join n4", "create bucket events (siblings, n 3, r 2, "
                                           "w 2, sloppy, durability interval, read repair in the background)"])
        def agreed():
            cluster["n1"].ctl("apply", str(file))
            return cluster["n1"].ctl("commit").returncode == 0
        wait_until(agreed, VOTES, "it is agreed")
        self.watch(cluster["n1"])
        self.assertEqual(cluster["n3"].ctl("apply", str(file)).stdout, "the cluster is as the file says\n")
        self.assertIn("events", self.listed(newcomer))
        wanted["partitions"] = 8
        file.write_text(json.dumps(wanted))
        refused = cluster["n1"].ctl("apply", str(file))
        self.assertEqual(refused.returncode, 1)
        self.assertIn("partitions: the file says 8, the cluster has 64", refused.stderr)
