"""Members that leave, are removed and get another share, as an operator does it: `crema ctl plan`, `commit`, `jobs`, `ring`."""

import json
import os
import re
import shutil
import subprocess

import resp
import workload
from harness import BINARY, SLOWNESS, ClusterCase, wait_until

KEYS = 2_000
CHANGE = 60.0 * SLOWNESS  # A change is done within this.
VOTES = 20.0 * SLOWNESS   # Nodes that have just started may vote within this.


class Topology(ClusterCase):
    TIMEOUT = 240

    def fill(self, node, prefix, db=0):
        with node.client(timeout=30, db=db) as client:
            for start in range(0, KEYS, 200):
                keys = range(start, start + 200)
                replies = client.pipeline([("SET", f"{prefix}{key}", f"value of {prefix}{key}") for key in keys])
                self.assertEqual(set(replies), {"OK"})

    def wrong(self, node, prefix, db=0):
        """The keys that `node` does not read as they were written."""
        wrong = []
        with node.client(timeout=30, db=db) as client:
            for start in range(0, KEYS, 200):
                keys = range(start, start + 200)
                replies = client.pipeline([("GET", f"{prefix}{key}") for key in keys])
                wrong += [(key, reply) for key, reply in zip(keys, replies) if reply != f"value of {prefix}{key}".encode()]
        return wrong

    def ctl(self, node, *words, code=0, timeout=30.0):
        done = node.ctl(*words, timeout=timeout)
        self.assertEqual(done.returncode, code, f"ctl {words}: {done.stdout}{done.stderr}")
        return done

    def topology(self, node):
        return json.loads(node.ask("KV.TOPOLOGY", "SHOW"))

    def commit(self, node, *change):
        """-> the plan, which was shown before."""
        def agreed():
            plan = self.ctl(node, "plan", *change, "--json")
            done = node.ctl("commit")
            if done.returncode == 0:
                self.assertRegex(done.stdout, r"^epoch \d+: agreed; ")
                return json.loads(plan.stdout)
            self.assertRegex(done.stderr, "no majority of the members votes|was never heard")  # Not yet: they have just been started.
            return None
        return wait_until(agreed, VOTES, f"{change} is agreed")

    def watch(self, node):
        done = self.ctl(node, "jobs", "--watch", timeout=CHANGE)
        self.assertRegex(done.stdout, r"(job \d+ is done|no change is under way) \(epoch \d+\)\n$")
        return done.stdout

    def ends(self, node, why):
        wait_until(lambda: node.process.poll() is not None, CHANGE, f"{node.name} ends by itself")
        self.assertIn(why, node.log_text())
        node.process = None

    def states(self, node):
        return {member["name"]: member["state"] for member in self.topology(node)["members"]}

    def test_a_node_leaves_and_all_it_had_is_with_the_others(self):
        cluster = self.cluster(4)
        for db in (0, "carts"):
            self.fill(cluster["n1"], "key-", db)
        shown = self.ctl(cluster["n2"], "plan", "leave", "n4").stdout
        self.assertIn("leave n4", shown)
        self.assertIn("no partition is lost", shown)
        self.assertIn("nothing is done yet: `crema ctl commit", shown)
        self.assertEqual(self.topology(cluster["n2"])["epoch"], 1)
        plan = self.commit(cluster["n2"], "leave", "n4")
        self.assertEqual((plan["moved"], plan["lost"], plan["changes"]), (plan["added_at_least"], 0, ["leave n4"]))
        told = self.watch(cluster["n1"])
        self.assertRegex(told, r"^job 2 \(epoch \d, (moving|settling)\): leave n4\n")
        topology = self.topology(cluster["n1"])
        self.assertEqual(self.states(cluster["n1"]), {"n1": "member", "n2": "member", "n3": "member"})
        self.assertFalse(any("n4" in owners for owners in topology["owners"]))
        self.assertEqual((topology["phase"], topology["job"], topology["next"]), ("stable", None, []))
        for node in list(cluster)[:3]:
            wait_until(lambda: self.topology(node)["epoch"] == topology["epoch"], CHANGE, f"{node.name} knows the last epoch")
        self.ends(cluster["n4"], "n4 was removed from the cluster (as of epoch ")
        cluster["n4"].start()
        self.ends(cluster["n4"], "n4 is no member of cluster")
        ring = self.ctl(cluster["n3"], "ring").stdout
        self.assertNotIn("n4", ring)
        self.assertEqual(ring.count("#" * 40), 3, ring)
        self.assertEqual(self.ctl(cluster["n3"], "ring", "--partitions").stdout.count("->"), 0)
        for node in list(cluster)[:3]:
            for db in (0, "carts"):
                self.assertEqual(self.wrong(node, "key-", db), [])

    def test_a_dead_node_is_removed_and_then_another_may_die(self):
        cluster = self.cluster(4)
        self.fill(cluster["n1"], "key-")
        cluster["n4"].kill()
        cluster.wait_down("n4", CHANGE)
        self.fill(cluster["n1"], "later-")
        shown = self.ctl(cluster["n1"], "plan", "remove", "n4").stdout
        self.assertIn("no partition is lost", shown)
        self.commit(cluster["n1"], "remove", "n4")
        self.watch(cluster["n3"])
        self.assertEqual(self.states(cluster["n1"]), {"n1": "member", "n2": "member", "n3": "member"})
        cluster["n2"].kill()
        for node in (cluster["n1"], cluster["n3"]):
            wait_until(lambda: not node.sees("n2", "up"), CHANGE, f"{node.name} sees n2 down")
            for prefix in ("key-", "later-"):
                self.assertEqual(self.wrong(node, prefix), [])

    def test_a_weight_changes_while_clients_write_and_read(self):
        cluster = self.cluster(4)
        load = workload.Load(cluster, 500, self.seed, prefix="load")
        load.start()
        load.wait_writes(2_000, CHANGE)
        self.commit(cluster["n1"], "set-weight", "n4", "3")
        self.watch(cluster["n1"])
        load.wait_writes(load.ledger.writes + 2_000, CHANGE)
        load.stop()
        self.assertEqual(load.failures, [])
        for node in cluster:
            complaints, found = load.verify(node)
            self.assertEqual((complaints, len(found)), ([], 500))
        share = {member["name"]: member["partitions"] for member in self.topology(cluster["n1"])["members"]}
        self.assertEqual(share["n4"], 64, "three of six parts of 3 * 64, but no more than every partition once")

    def test_no_write_fails_while_a_dead_node_is_removed(self):
        """Each owner that is left is needed then, also the one that gave a write its dot under the epoch before."""
        strict = {"name": "strict", "db": 0, "mode": "eventual", "n": 3, "r": 2, "w": 2, "conflict": "lww", "sloppy": False}
        cluster = self.cluster(5, buckets=[strict])
        cluster["n5"].kill()
        cluster.wait_down("n5", CHANGE)
        load = workload.Load(cluster.running(), 500, self.seed, prefix="load")
        load.start()
        load.wait_writes(2_000, CHANGE)
        for change in (("set-weight", "n4", "2"), ("remove", "n5")):
            self.commit(cluster["n1"], *change)
            self.watch(cluster["n1"])
        load.wait_writes(load.ledger.writes + 2_000, CHANGE)
        load.stop()
        self.assertEqual(load.failures, [])
        for node in cluster.running():
            complaints, found = load.verify(node)
            self.assertEqual((complaints, len(found)), ([], 500))

    def test_a_change_is_paused_and_cancelled_and_all_stays_as_it_was(self):
        cluster = self.cluster(4, sync={"mb_per_s_max": 1})
        self.fill(cluster["n1"], "key-")
        with cluster["n1"].client(timeout=60) as client:  # Enough for the change to take its time.
            for start in range(0, 2_000, 100):
                client.pipeline([("SET", f"large-{key}", "x" * 5_000) for key in range(start, start + 100)])
        before = self.topology(cluster["n1"])["owners"]
        self.commit(cluster["n1"], "leave", "n4")
        self.assertIn("not under way (allowed: 2)", self.ctl(cluster["n1"], "pause", "77", code=1).stderr)
        self.assertRegex(self.ctl(cluster["n1"], "pause", "2").stdout, r"^epoch \d+: paused until `crema ctl resume`\n$")
        self.assertIn("already is paused", self.ctl(cluster["n1"], "pause", code=1).stderr)
        self.assertIn("moving, paused): leave n4", self.ctl(cluster["n1"], "jobs").stdout)
        wait_until(lambda: self.topology(cluster["n3"])["epoch"] == self.topology(cluster["n1"])["epoch"], CHANGE, "n3 knows")
        wait_until(lambda: all(node.status()["counters"]["syncs_running"] == 0 for node in cluster), CHANGE, "what was begun is copied")
        wait_until(lambda: self.topology(cluster["n1"])["job"]["vnodes_to_get"] == 96, CHANGE, "n1 has heard what all are to get")
        self.assertLess(self.topology(cluster["n1"])["job"]["vnodes_got"], 96, "the rest is not copied before it is resumed")
        status = self.ctl(cluster["n3"], "status").stdout
        self.assertRegex(status, r"n4 +up, leaving ")
        self.assertRegex(status, r"change +leave n4 \(job 2, moving, paused\)\n")
        ring = self.ctl(cluster["n3"], "ring").stdout
        self.assertIn("# stays, + is to come, - is to go", ring)
        self.assertIn("->", self.ctl(cluster["n3"], "ring", "--partitions").stdout)
        self.assertRegex(self.ctl(cluster["n3"], "resume").stdout, r"^epoch \d+: goes on\n$")
        with subprocess.Popen([BINARY, "ctl", "jobs", "--watch", "--address", f"127.0.0.1:{cluster['n2'].port}"], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as watching:
            self.assertRegex(watching.stdout.readline(), r"^(job 2 \(|no change)")
            wait_until(lambda: self.topology(cluster["n1"])["phase"] == "moving", CHANGE, "n1 moves")
            self.assertRegex(self.ctl(cluster["n1"], "cancel").stdout, r"^epoch \d+: cancelled, owners are those of before\n$")
            told = watching.stdout.read()
        self.assertEqual((watching.returncode, "job 2 was cancelled" in told), (1, True), told)
        self.assertEqual(self.topology(cluster["n1"])["owners"], before)
        self.assertEqual(set(self.states(cluster["n1"]).values()), {"member"})
        for node in cluster:
            self.assertEqual(self.wrong(node, "key-"), [])

    def join(self, cluster, name, member):
        node = cluster.newcomer(name, member).start()
        wait_until(lambda: f"{name} at 127.0.0.1:" in member.log_text(), CHANGE, f"{name} asks to be let in")
        self.commit(member, "join", name)
        return node

    def test_a_node_joins_under_load_is_killed_in_the_middle_and_goes_on(self):
        cluster = self.cluster(3)
        for db in (0, "carts"):
            self.fill(cluster["n1"], "key-", db)
        with cluster["n1"].client(timeout=60) as client:  # Enough for the change to take its time.
            for start in range(0, 2_000, 100):
                client.pipeline([("SET", f"large-{key}", "x" * 5_000) for key in range(start, start + 100)])
        node = self.join(cluster, "n4", cluster["n1"])
        wait_until(lambda: self.topology(cluster["n1"])["job"]["vnodes_got"] > 0, CHANGE, "n4 has got something")
        node.kill()
        self.fill(cluster["n2"], "meanwhile-")
        wait_until(lambda: self.topology(cluster["n1"])["job"] is not None, CHANGE, "the change waits")
        node.start()
        self.watch(cluster["n1"])
        self.assertEqual(self.states(cluster["n2"]), dict.fromkeys(("n1", "n2", "n3", "n4"), "member"))
        wait_until(node.ready, CHANGE, "n4 serves")
        cluster["n3"].kill()
        for prefix in ("key-", "meanwhile-"):
            self.assertEqual(self.wrong(node, prefix), [])
        self.assertEqual(self.wrong(node, "key-", "carts"), [])
        # It is a member now: the same command starts it again, also when nobody can be asked.
        node.kill()
        node.options = ["--join", "127.0.0.1:1"]
        node.start()
        wait_until(node.ready, CHANGE, "n4 serves again")

    def test_what_was_copied_before_either_side_was_killed_is_not_copied_again(self):
        """Each vnode is large, so that all are half copied when it happens."""
        strict = {"name": "strict", "db": 0, "mode": "eventual", "n": 3, "r": 2, "w": 2, "conflict": "lww", "sloppy": False}
        cluster = self.cluster(3, partitions=8, buckets=[strict])
        keys, size = 8_000, 5_000
        with cluster["n1"].client(timeout=60) as client:
            for start in range(0, keys, 100):
                client.pipeline([("SET", f"large-{key}", "x" * size) for key in range(start, start + 100)])
        node = cluster.newcomer("n4", cluster["n1"])
        config = json.loads(node.file.read_text())
        config["sync"] = {"mb_per_s_max": 4}
        node.file.write_text(json.dumps(config))
        node.start()
        wait_until(lambda: "n4 at 127.0.0.1:" in cluster["n1"].log_text(), CHANGE, "n4 asks to be let in")
        plan = self.commit(cluster["n1"], "join", "n4")
        needed = plan["moved"] / 8 * keys * size

        def copied():
            return node.status()["counters"]["bytes_refilled"]
        wait_until(lambda: copied() > needed / 3, CHANGE, "a third is copied")
        before = copied()
        node.kill()
        node.start()
        wait_until(lambda: before + copied() > needed * 2 / 3, CHANGE, "two thirds are copied")
        self.assertGreater(node.status()["counters"]["refills_resumed"], 0)
        cluster["n2"].kill()
        cluster["n2"].start()
        wait_until(lambda: before + copied() > needed * 0.8, CHANGE, "four fifths are copied")
        self.assertEqual(cluster["n3"].terminate()[0], 0)
        cluster["n3"].start()
        self.watch(cluster["n1"])
        wait_until(node.ready, CHANGE, "n4 serves")
        self.say(f"{needed / 1e6:.1f} MB were needed, {(before + copied()) / 1e6:.1f} MB were copied, {before / 1e6:.1f} MB of them before it was killed")
        self.assertLess(before + copied(), needed * 1.1)
        cluster["n3"].kill()
        with node.client(timeout=60) as client:
            for start in range(0, keys, 100):
                replies = client.pipeline([("GET", f"large-{key}") for key in range(start, start + 100)])
                self.assertEqual({len(reply) for reply in replies}, {size})

    # -- Under load: nothing fails, and nothing that was acknowledged is missing --

    def loaded(self, size, **fields):
        """A strict cluster with enough in it for a change to take its time, and the load on it."""
        strict = {"name": "strict", "db": 0, "mode": "eventual", "n": 3, "r": 2, "w": 2, "conflict": "lww", "sloppy": False}
        cluster = self.cluster(size, buckets=[strict], **fields)
        with cluster["n1"].client(timeout=60) as client:
            for start in range(0, 2_000, 100):
                client.pipeline([("SET", f"large-{key}", "x" * 5_000) for key in range(start, start + 100)])
        load = workload.Load(list(cluster), 3_000, self.seed, prefix="load")
        load.start()
        load.wait_writes(6_000, CHANGE)
        return cluster, load

    def check(self, load, nodes, failures=()):
        """`failures`: of these, none counts."""
        load.wait_writes(load.ledger.writes + 2_000, CHANGE)
        load.stop()
        self.assertEqual([failure for failure in load.failures if failure not in failures], [])
        for node in nodes:
            complaints, found = load.verify(node)
            self.assertEqual((complaints[:5], len(found)), ([], 3_000), node.name)

    def settled(self, node):
        wait_until(lambda: self.topology(node)["job"] is None, CHANGE, "the change is over")

    def test_three_nodes_become_five_and_three_again_under_load(self):
        cluster, load = self.loaded(3)
        members = [cluster[name] for name in ("n1", "n2", "n3")]
        for name in ("n4", "n5"):
            node = self.join(cluster, name, cluster["n1"])
            self.settled(cluster["n1"])
            wait_until(node.ready, CHANGE, f"{name} serves")
            members.append(node)
            load.nodes = list(members)
            load.wait_writes(load.ledger.writes + 500, CHANGE)
        for name in ("n5", "n4"):
            members.pop()
            load.nodes = list(members)
            load.wait_writes(load.ledger.writes + 500, CHANGE)
            self.commit(cluster["n2"], "leave", name)
            self.settled(cluster["n2"])
        wait_until(lambda: set(self.states(cluster["n3"])) == {"n1", "n2", "n3"}, CHANGE, "n3 knows the last epoch")
        self.check(load, members)

    def test_an_owner_dies_while_another_node_joins_and_comes_back(self):
        """What is copied from it is copied from the others; the change waits for it only where it is to know of it."""
        cluster, load = self.loaded(3, sync={"mb_per_s_max": 4})
        load.nodes = [cluster["n1"], cluster["n3"]]
        load.wait_writes(load.ledger.writes + 500, CHANGE)
        node = self.join(cluster, "n4", cluster["n1"])
        wait_until(lambda: self.topology(cluster["n1"])["job"]["vnodes_got"] > 0, CHANGE, "n4 has got something")
        cluster["n2"].kill()
        cluster.wait_down("n2", CHANGE, by=[cluster["n1"], cluster["n3"]])
        early = list(load.failures)  # Writes that n2 was giving their dots to have an unknown outcome.
        self.assertEqual([f for f in early if "outcome unknown" not in f.text], [])
        load.wait_writes(load.ledger.writes + 2_000, CHANGE)
        cluster["n2"].start()
        self.settled(cluster["n1"])
        wait_until(lambda: set(self.states(cluster["n3"]).values()) == {"member"}, CHANGE, "n3 knows the last epoch")
        wait_until(node.ready, CHANGE, "n4 serves")
        cluster.wait_ready(CHANGE)
        self.check(load, list(cluster), early)
        cluster["n3"].kill()  # Two of four: what n4 took counts.
        cluster.wait_down("n3", CHANGE)
        for other in cluster.running():
            complaints, found = load.verify(other)
            self.assertEqual((complaints[:5], len(found)), ([], 3_000), other.name)

    def test_a_change_waits_for_a_dead_node_that_is_to_get_something(self):
        cluster, load = self.loaded(5)
        load.nodes = [cluster[name] for name in ("n1", "n2", "n3")]
        load.wait_writes(load.ledger.writes + 500, CHANGE)
        cluster["n5"].kill()
        cluster.wait_down("n5", CHANGE)
        early = list(load.failures)
        self.assertEqual([f for f in early if "outcome unknown" not in f.text], [])
        self.commit(cluster["n1"], "leave", "n4")
        wait_until(lambda: self.topology(cluster["n1"])["job"]["vnodes_got"] > 0, CHANGE, "it goes on")
        load.wait_writes(load.ledger.writes + 2_000, CHANGE)
        self.assertIsNotNone(self.topology(cluster["n1"])["job"], "n5 is to get something: the change waits for it")
        self.assertIn("n5", cluster["n1"].ctl("jobs").stdout)
        cluster["n5"].start()
        self.settled(cluster["n1"])
        wait_until(cluster["n5"].ready, CHANGE, "n5 serves")
        self.check(load, [cluster[name] for name in ("n1", "n2", "n3", "n5")], early)

    def test_a_dead_node_is_replaced_and_does_not_come_back(self):
        cluster = self.cluster(4)
        self.fill(cluster["n1"], "key-")
        cluster["n4"].kill()
        cluster.wait_down("n4", CHANGE)
        node = cluster.newcomer("n5", cluster["n2"]).start()
        wait_until(lambda: "n5 at 127.0.0.1:" in cluster["n2"].log_text(), CHANGE, "n5 asks to be let in")
        plan = self.commit(cluster["n2"], "remove", "n4", "+", "join", "n5")
        self.assertEqual(plan["lost"], 0)
        self.watch(cluster["n2"])
        self.assertEqual(self.states(cluster["n1"]), dict.fromkeys(("n1", "n2", "n3", "n5"), "member"))
        cluster["n4"].start()
        self.ends(cluster["n4"], "n4 was removed from the cluster")
        self.assertIn("n4 was removed from the cluster", "".join(cluster[n].log_text() for n in ("n1", "n2", "n3")))
        cluster["n1"].kill()
        for name in ("n2", "n3", "n5"):
            self.assertEqual(self.wrong(cluster[name], "key-"), [])

    def test_an_old_node_whose_name_another_has_is_told_so(self):
        cluster = self.cluster(4)
        cluster["n4"].kill()
        cluster.wait_down("n4", CHANGE)
        self.commit(cluster["n2"], "remove", "n4")
        self.watch(cluster["n2"])
        node = cluster.newcomer("another-n4", cluster["n1"])
        node.entry["name"] = node.name = "n4"
        node.file.write_text(json.dumps({"cluster": "demo", "nodes": [node.entry]}))
        node.start()
        wait_until(lambda: "waits to become a member" in cluster["n1"].log_text(), CHANGE, "the new n4 asks to be let in")
        self.commit(cluster["n1"], "join", "n4")
        self.watch(cluster["n1"])
        wait_until(node.ready, CHANGE, "the new n4 serves")
        cluster["n4"].start()
        self.ends(cluster["n4"], "n4 is no member of the cluster any more (epoch ")
        cluster["n4"].start()
        self.ends(cluster["n4"], "n4 is no member of cluster")
        self.assertTrue(node.ready())

    def test_a_joining_node_that_was_away_when_that_was_cancelled_is_told_so(self):
        cluster = self.cluster(3)
        with cluster["n1"].client(timeout=60) as client:  # Enough for the change to take its time.
            for start in range(0, 2_000, 100):
                client.pipeline([("SET", f"large-{key}", "x" * 5_000) for key in range(start, start + 100)])
        self.join(cluster, "n4", cluster["n1"])
        wait_until(lambda: self.topology(cluster["n1"])["job"]["vnodes_got"] > 0, CHANGE, "n4 has got something")
        cluster["n4"].kill()
        done = self.ctl(cluster["n1"], "cancel")
        self.assertRegex(done.stdout, r"epoch \d+: ")
        cluster["n4"].start()
        self.ends(cluster["n4"], "n4 is not a member of the cluster as n")
        self.assertIn("to join, it needs an empty data_dir and --join: stopping", cluster["n4"].log_text())

    def test_who_may_not_join_is_told_why(self):
        cluster = self.cluster(3)
        cases = [({}, "n2", 'is the name of a member already'), ({"cluster": "other"}, "n4", 'is to join cluster "other"')]
        for fields, name, why in cases:
            node = cluster.newcomer(f"x-{name}", cluster["n1"])
            node.entry["name"] = node.name = name
            node.file.write_text(json.dumps({"cluster": "demo", **fields, "nodes": [node.entry]}))
            node.start()
            self.assertEqual(node.process.wait(CHANGE), 2)
            self.assertIn(why, node.log_text())
            wait_until(lambda: why in cluster["n1"].log_text(), CHANGE, "n1 says it as well")
            node.process = None
        self.assertIn("no node n9 waits at n1", self.ctl(cluster["n1"], "plan", "join", "n9", code=1).stderr)

    def test_a_lost_majority_is_given_up_and_the_rest_goes_on(self):
        cluster = self.cluster(5)
        self.fill(cluster["n1"], "key-")
        before = self.topology(cluster["n1"])["owners"]
        for name in ("n5", "n4", "n3"):
            cluster[name].kill()
            cluster.wait_down(name, CHANGE)
            if name != "n3":
                self.assertIn("nothing has to be forced", self.ctl(cluster["n1"], "force-epoch", "remove", name, "--yes", code=1).stderr)
            shutil.move(cluster[name].entry["data_dir"], cluster[name].entry["data_dir"] + "-old")
        node = cluster["n2"]
        self.ctl(node, "plan", "remove", "n3")
        self.assertIn("no majority of the members votes", self.ctl(node, "commit", code=1, timeout=60).stderr)
        for words, why in [(("n3",), "no majority again: n4, n5 cannot"), (("n1", "n3", "n4", "n5"), "n1: it can be reached"),
                           (("n9",), "no such node")]:
            self.assertIn(why, self.ctl(node, "force-epoch", "remove", *words, "--yes", code=1).stderr)
        # Without a yes it is only shown.
        shown = self.ctl(node, "force-epoch", "remove", "n3", "n4", "n5", code=1)
        self.assertIn("nothing is done", shown.stderr)
        for text in ("without a majority", "force: remove n3", "whose owners are all gone", "2 or more of the 3 owners are gone", "DATA IS LOST"):
            self.assertIn(text, shown.stdout)
        self.assertEqual(self.topology(node)["epoch"], 1)
        self.assertRegex(self.ctl(node, "force-epoch", "remove", "n3", "n4", "n5", "--yes").stdout, r"epoch \d{7}: forced; ")
        self.watch(node)
        self.assertEqual(self.states(cluster["n1"]), {"n1": "member", "n2": "member"})
        # What one of those that are left owned is there; what was only with the others is not, and new values are.
        wrong = {key for key, _ in self.wrong(cluster["n1"], "key-")}
        partitions = len(before)
        with cluster["n1"].client() as client:
            slots = client.pipeline([("CLUSTER", "KEYSLOT", f"key-{key}") for key in range(KEYS)])
        lost = {key for key, slot in enumerate(slots) if not {"n1", "n2"} & set(before[slot * partitions // 16384])}
        self.assertTrue(lost)
        self.assertEqual(wrong, lost)
        self.fill(node, "key-")
        self.assertEqual(self.wrong(cluster["n1"], "key-"), [])
        # Who was given up does not come back, with its data or under its name.
        for name in ("n3", "n4", "n5"):
            shutil.move(cluster[name].entry["data_dir"] + "-old", cluster[name].entry["data_dir"])
            cluster[name].start()
        for name in ("n3", "n4", "n5"):
            self.ends(cluster[name], f"{name} was removed from the cluster")
        # A new one joins: all as ever.
        self.join(cluster, "n6", cluster["n1"])
        self.watch(cluster["n1"])
        self.assertEqual(self.states(cluster["n6"]), dict.fromkeys(("n1", "n2", "n6"), "member"))
        cluster["n2"].kill()
        for name in ("n1", "n6"):
            self.assertEqual(self.wrong(cluster[name], "key-"), [])

    def test_a_member_that_was_never_there_is_named_with_the_cure(self):
        cluster = self.cluster(5, start=False)
        for name in ("n1", "n2", "n3", "n4"):
            cluster[name].start()
        cluster.wait_ready()
        node = cluster["n1"]
        shown = self.ctl(node, "plan", "set-weight", "n5", "2").stdout
        self.assertIn("n5 cannot be reached from n1: the change is not over before it has got what it is to get", shown)
        refused = self.ctl(node, "commit", code=1).stderr
        self.assertIn("n5 was never heard", refused)
        self.assertIn("start it, and commit again; if it will never be there, plan to remove it", refused)
        self.commit(node, "remove", "n5")
        self.watch(node)
        self.assertEqual(self.states(node), dict.fromkeys(("n1", "n2", "n3", "n4"), "member"))

    def test_few_of_which_one_was_never_there_go_on_by_force(self):
        for size, change, why in ((3, ("set-weight", "n1", "2"), "n3 was never heard, so a vote of it could not be told"),
                                  (4, ("remove", "n4"), "n4 was never heard, and before the first change members vote only when almost all have met")):
            cluster = self.cluster(size, start=False)
            absent = f"n{size}"
            for node in list(cluster)[:-1]:
                node.start()
            cluster.wait_ready()
            node = cluster["n1"]
            self.fill(node, "key-")
            self.assertIn("nothing has to be forced", self.ctl(node, "force-epoch", "remove", absent, "--yes", code=1).stderr)
            self.ctl(node, "plan", *change)
            refused = self.ctl(node, "commit", code=1, timeout=60).stderr
            self.assertIn(why, refused)
            self.assertIn(f"crema ctl force-epoch remove {absent}", refused)
            self.assertIn("no partition is lost", self.ctl(node, "force-epoch", "remove", absent, "--yes").stdout)
            self.watch(node)
            self.assertEqual(self.wrong(cluster["n2"], "key-"), [])
            cluster.stop()

    def test_what_the_file_says_of_nodes_does_not_count_after_a_change(self):
        cluster = self.cluster(4)
        self.fill(cluster["n1"], "key-")
        self.commit(cluster["n1"], "leave", "n4")
        self.watch(cluster["n1"])
        wait_until(lambda: cluster["n4"].process.poll() is not None, CHANGE, "n4 stops by itself")
        cluster["n4"].process = None
        cluster.config["nodes"] = [{**node, "weight": 2} for node in cluster.config["nodes"] if node["name"] != "n4"]
        cluster.write_config()
        for name in ("n1", "n2", "n3"):
            node = cluster[name]
            node.terminate()
            node.start()
            node.wait_ready()
            self.assertIn("does not count: members are what was agreed on (epoch ", node.log_text())
        cluster.nodes.pop("n4")
        cluster.wait_ready()
        for node in cluster:
            self.assertEqual(self.wrong(node, "key-"), [])
            self.assertEqual({m["weight"] for m in self.topology(node)["members"]}, {1})

    def test_a_plan_tells_bytes_time_and_room(self):
        cluster = self.cluster(4, sync={"mb_per_s_max": 1})
        with cluster["n1"].client(timeout=60) as client:
            for start in range(0, 4_000, 100):
                client.pipeline([("SET", f"large-{key}", os.urandom(2_500).hex()) for key in range(start, start + 100)])
        real = 4_000 * 5_000 * 3 / 4  # 20 MB in three copies; a fourth of them is n4's.
        plan = wait_until(lambda: self.plan_with_bytes(real / 3, cluster["n1"], "leave", "n4"), CHANGE, "nodes tell what they have")
        self.assertLess(plan["bytes"], real * 3)
        gets = max(node["bytes_to_get"] for node in plan["nodes"])
        self.assertTrue(gets >> 20 <= plan["seconds"] <= (gets >> 20) + 1, plan)
        for node in plan["nodes"]:
            self.assertGreater(node["disk_free"], 0)
        shown = self.ctl(cluster["n1"], "plan", "leave", "n4").stdout
        self.assertRegex(shown, r"about [0-9.]+ MiB to copy, \d+ (s|min)[ 0-9s]* at the least: each node takes at most 1.0 MiB/s")
        self.assertRegex(shown, r"n4 +n[123] +\d+ +[0-9.]+ MiB\n")
        self.ctl(cluster["n1"], "commit")
        wait_until(lambda: re.search(r"\d+ of 96 vnodes copied, about [0-9.]+ .iB of [0-9.]+ MiB, [0-9.]+ vnodes/s, about .* left\n",
                                     self.ctl(cluster["n1"], "jobs").stdout), CHANGE, "pace and time left are known", every=0.2)
        self.watch(cluster["n1"])

    def plan_with_bytes(self, least, node, *change):
        plan = json.loads(self.ctl(node, "plan", *change, "--json").stdout)
        return plan if plan["bytes"] > least else None

    def test_what_cannot_be_done_is_refused_with_the_reason(self):
        cluster = self.cluster(4)
        node = cluster["n1"]
        for words, code, why in [
                (("plan", "leave", "n9"), 1, "leave n9: there is no such node (allowed: one of n1, n2, n3, n4)"),
                (("plan", "leave", "n4", "+", "leave", "n3"), 1, "only 2 nodes would be left for 3 owners"),
                (("plan", "leave", "n4", "+", "remove", "n4"), 1, "two changes of n4"),
                (("plan", "leav", "n4"), 2, '"leav" is no change, did you mean "leave"?'),
                (("plan", "set-weight", "n4", "1001"), 2, "1001 is out of range (allowed: an integer, 1 to 1000)"),
                (("plan", "set-weight", "n4", "1"), 1, "this would change nothing"),
                (("plan",), 2, "CHANGE is required"),
                (("commit",), 1, "there is nothing to commit: plan first"),
                (("cancel",), 1, "cancel: no change is under way"),
                (("pause",), 1, "pause: no change is under way"),
                (("resume", "7"), 1, "job 7 is not under way (allowed: none is)")]:
            done = self.ctl(node, *words, code=code)
            self.assertEqual(done.stdout, "", words)
            self.assertIn(why, done.stderr)
        self.assertEqual(self.ctl(node, "jobs", "--watch").stdout, "no change is under way (epoch 1)\n")
        for words in (("COMMIT",), ("PLAN", '[{"leave": "n9"}]'), ("PLAN", '[{"leav": "n4"}]'), ("PLAN", "x"), ("PLAN",), ("FORCE",)):
            self.assert_error(node.ask("KV.TOPOLOGY", *words), "ERR")
        self.ctl(node, "plan", "leave", "n4")
        self.assertIn("nothing to commit", self.ctl(cluster["n2"], "commit", code=1).stderr, "the plan is n1's")
