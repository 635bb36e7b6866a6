"""What crema brings level by itself: nodes that were away, disks that were lost, remains of deletes."""

import json
import os
import pathlib
import shutil
import subprocess

import resp
from harness import BINARY, COUNT_REMAINS, LOSE_OBJECTS, SLOWNESS, ClusterCase, wait_until
from test_sloppy import explained

LEVEL_SEEN = 10.0 * SLOWNESS
KEYS = 2000


class Repair(ClusterCase):
    def fill(self, node, keys, prefix, db=None):
        with node.client(timeout=30, db=db) as client:
            replies = client.pipeline([("SET", f"{prefix}{key}", f"{prefix}{key}") for key in keys])
        self.assertEqual([reply for reply in replies if reply != "OK"], [])

    def copies(self, node, keys, prefix, db=None):
        """What this node itself holds, asked for with R one: a node answers from its own copy if it has one."""
        with node.client(timeout=30, db=db) as client:
            replies = client.pipeline([("KV.GET", f"{prefix}{key}", "R", "one") for key in keys])
        return sum(1 for key, reply in zip(keys, replies)
                   if not isinstance(reply, resp.Error) and reply[1] == [f"{prefix}{key}".encode()])

    def counter(self, node, name):
        return node.status()["counters"][name]

    def whole(self, node):
        return self.counter(node, "vnodes_refilled") > 0 and self.counter(node, "vnodes_incomplete") == 0

    def test_a_node_that_was_away_learns_what_it_missed_without_a_read(self):
        cluster = self.cluster()
        self.fill(cluster["n1"], range(KEYS), "before-")
        cluster["n3"].kill()
        self.fill(cluster["n1"], range(KEYS), "meanwhile-")
        cluster["n3"].start()
        cluster.wait_ready()
        wait_until(lambda: self.counter(cluster["n3"], "dots_caught_up") >= KEYS, LEVEL_SEEN, "n3 has caught up")
        self.assertEqual(self.copies(cluster["n3"], range(KEYS), "meanwhile-"), KEYS)
        self.assertEqual(self.copies(cluster["n3"], range(KEYS), "before-"), KEYS)

    def sync_point(self, node, timeout):
        return node.ctl("sync-point", "--timeout", timeout, timeout=timeout + 30)

    def test_a_sync_point_waits_until_owners_have_what_was_written(self):
        cluster = self.cluster()
        self.fill(cluster["n1"], range(KEYS), "key-")
        done = self.sync_point(cluster["n2"], 60)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertRegex(done.stdout, r"^everything written before is on the disks of all its owners \(\d+\.\d s\)\n$")
        cluster["n3"].kill()
        cluster.wait_down("n3", LEVEL_SEEN)
        self.fill(cluster["n1"], range(KEYS), "later-")
        done = self.sync_point(cluster["n1"], 2)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn(f"n3 lacks {KEYS} writes that n1 has, and cannot be reached", done.stderr)
        self.assertIn("n3 cannot be asked, so what only it has is not waited for", done.stderr)
        cluster["n3"].start()
        cluster.wait_ready()
        self.assertEqual(self.sync_point(cluster["n1"], 60).returncode, 0)
        self.assertEqual(self.copies(cluster["n3"], range(KEYS), "later-"), KEYS)

    def test_a_node_that_lost_its_disk_is_whole_again(self):
        cluster = self.cluster()
        for db in (0, 1):
            self.fill(cluster["n1"], range(KEYS), "key-", db)
        cluster["n2"].kill()
        shutil.rmtree(cluster["n2"].entry["data_dir"])
        cluster["n2"].start()
        wait_until(lambda: cluster["n2"].ready() and self.whole(cluster["n2"]), LEVEL_SEEN, "n2 is whole")
        for db in (0, 1):
            self.assertEqual(self.copies(cluster["n2"], range(KEYS), "key-", db), KEYS)

    def test_an_owner_that_lost_its_disk_and_a_new_one_wait_for_the_third(self):
        """Nothing that the two could read shows what was acknowledged; those who have met the first one know of it."""
        strict = {"name": "strict", "db": 0, "mode": "eventual", "n": 3, "r": 2, "w": 2, "conflict": "lww", "sloppy": False}
        cluster = self.cluster(4, start=False, buckets=[strict])
        loser, keeper, witness, newcomer = cluster
        for node in (loser, keeper, witness):
            node.start()
        for node in (loser, keeper, witness):
            wait_until(lambda: node.ready() and self.counter(node, "vnodes_incomplete") == 0, LEVEL_SEEN, f"{node.name} is whole")
        keys = [f"key-{i}" for i in range(200)]
        for key in keys:
            self.assertEqual(witness.ask("SET", key, key), "OK")
        owners = {key: {row["node"].decode() for row in explained(witness.ask("KV.EXPLAIN", key))[1] if row["role"] == b"owner"}
                  for key in keys}
        of_the_two_and = lambda third: [key for key in keys if owners[key] == {loser.name, newcomer.name, third.name}]
        keeper.terminate()
        loser.kill()
        shutil.rmtree(loser.entry["data_dir"])
        witness.kill()  # What it knows is on its disk.
        for node in (loser, witness, newcomer):
            node.start()

        def readable(keys):
            with witness.client(timeout=30) as client:
                replies = [client.call("GET", key) for key in keys]
            for key, reply in zip(keys, replies):
                self.assertTrue(isinstance(reply, resp.Error) or reply == key.encode(), f"{key} is {reply!r}")
            return sum(1 for reply in replies if not isinstance(reply, resp.Error))

        hers, his = of_the_two_and(witness), of_the_two_and(keeper)
        self.assertTrue(hers and his)
        wait_until(lambda: readable(hers) == len(hers), LEVEL_SEEN, f"{loser.name} and {newcomer.name} have copied what {witness.name} has")
        self.assertEqual(readable(his), 0)
        keeper.start()
        wait_until(lambda: readable(keys) == len(keys), LEVEL_SEEN, "all keys are back")

    def test_a_node_that_is_refilled_tells_how_far_it_is(self):
        cluster = self.cluster(sync={"mb_per_s_max": 1})
        with cluster["n1"].client(timeout=30) as client:
            client.pipeline([("SET", f"key-{key}", "x" * 5000) for key in range(1000)])
        cluster["n2"].kill()
        shutil.rmtree(cluster["n2"].entry["data_dir"])
        cluster["n2"].start()
        wait_until(lambda: 0 < self.counter(cluster["n2"], "vnodes_incomplete") < 128, LEVEL_SEEN, "some are whole, some are not")
        wait_until(lambda: "vnodes are not complete yet" in cluster["n2"].log_text(), LEVEL_SEEN, "the log says so")
        wait_until(lambda: self.whole(cluster["n2"]), 6 * LEVEL_SEEN, "n2 is whole")

    def test_all_nodes_lose_power_at_once_and_one_its_disk(self):
        cluster = self.cluster()
        self.fill(cluster["n1"], range(KEYS), "key-", db=1)
        for node in cluster:
            node.kill()
        shutil.rmtree(cluster["n3"].entry["data_dir"])
        cluster.start()
        wait_until(lambda: self.whole(cluster["n3"]), LEVEL_SEEN, "n3 is whole")
        self.assertEqual(self.copies(cluster["n3"], range(KEYS), "key-", db=1), KEYS)

    def test_an_old_copy_of_a_directory_that_is_put_back_loses_nothing(self):
        cluster = self.cluster()
        self.fill(cluster["n1"], range(KEYS), "old-")
        directory = cluster["n2"].entry["data_dir"]
        cluster["n2"].terminate()
        shutil.copytree(directory, directory + ".backup")
        cluster["n2"].start()
        cluster.wait_ready()
        self.fill(cluster["n2"], range(KEYS), "new-")
        cluster["n2"].terminate()
        shutil.rmtree(directory)
        shutil.move(directory + ".backup", directory)
        cluster["n2"].start()
        cluster.wait_ready()
        self.fill(cluster["n2"], range(KEYS), "newest-")
        wait_until(lambda: self.copies(cluster["n2"], range(KEYS), "new-") == KEYS, LEVEL_SEEN, "n2 has caught up")
        for node in cluster:
            for prefix in ("old-", "new-", "newest-"):
                wait_until(lambda: self.copies(node, range(KEYS), prefix) == KEYS, LEVEL_SEEN, f"{node.name} has {prefix}")

    def repair(self, node, *options):
        """-> exit code, and the state of each member's scrub."""
        done = node.ctl("repair", *options, "--json", timeout=60)
        return done.returncode, json.loads(done.stdout)

    def total(self, states, name):
        return sum(state[name] for state in states)

    def test_what_a_disk_has_lost_although_clocks_agree_is_repaired(self):
        cluster = self.cluster()
        self.fill(cluster["n1"], range(KEYS), "key-")
        self.assertEqual(self.sync_point(cluster["n1"], 60).returncode, 0)
        code, states = self.repair(cluster["n1"])
        self.assertEqual((code, self.total(states, "keys"), self.total(states, "differences")), (0, KEYS, 0))
        node = cluster["n2"]
        node.terminate()
        done = subprocess.run([LOSE_OBJECTS, f"{node.entry['data_dir']}/db", "0", str(cluster.config["partitions"]), "4"],
                              stdout=subprocess.PIPE, check=True)
        self.assertEqual(int(done.stdout), KEYS // 4)
        node.start()
        cluster.wait_ready()
        self.assertLess(self.copies(node, range(KEYS), "key-"), KEYS, "the damage is there, and nobody knows")
        lost = next(key for key in range(KEYS) if self.copies(node, [key], "key-") == 0)
        told = node.ask("KV.EXPLAIN", f"key-{lost}")
        partition = int(told[told.index(b"partition") + 1])
        code, states = self.repair(cluster["n1"], "--bucket", "default", "--partition", partition)
        first = self.total(states, "repaired")
        self.assertEqual((code, self.total(states, "vnodes"), self.total(states, "differences")), (0, 1, first))
        self.assertTrue(0 < first < KEYS // 4, first)
        self.assertEqual(self.copies(node, [lost], "key-"), 1)
        code, states = self.repair(cluster["n3"])
        self.assertEqual(code, 0)
        self.assertEqual([state["state"] for state in states], ["finished"] * 3)
        rest = KEYS // 4 - first
        self.assertEqual((self.total(states, "differences"), self.total(states, "repaired")), (rest, rest))
        self.assertEqual(self.copies(node, range(KEYS), "key-"), KEYS)

    def rebuild(self, node, *options):
        return subprocess.run([BINARY, "rebuild", "--config", node.cluster.file, "--node", node.name, *options],
                              capture_output=True, text=True, timeout=30 * SLOWNESS, check=False)

    def test_a_node_on_whose_disk_a_bit_has_rotted_says_so_and_is_rebuilt(self):
        cluster = self.cluster()
        values = {f"key-{key}": os.urandom(500) for key in range(KEYS)}
        with cluster["n1"].client(timeout=30) as client:
            self.assertEqual(set(client.pipeline([("SET", *item) for item in values.items()])), {"OK"})
        self.assertEqual(self.sync_point(cluster["n1"], 60).returncode, 0)
        node = cluster["n2"]
        refused = self.rebuild(node)
        self.assertEqual(refused.returncode, 1)
        self.assertIn("used by another process", refused.stderr)
        node.terminate()
        node.start().wait_ready()  # From now on the write-ahead log is in table files.
        node.terminate()
        database = pathlib.Path(node.entry["data_dir"]) / "db"
        rotten = max(database.glob("*.sst"), key=lambda file: file.stat().st_size)
        content = bytearray(rotten.read_bytes())
        content[len(content) // 3] ^= 0x40
        rotten.write_bytes(content)
        node.start()
        cluster.wait_ready()
        self.assertEqual(self.repair(cluster["n1"])[0], 1, "not everything could be compared")
        told = [other.log_text() for other in cluster if "n2 is left out" in other.log_text()]
        self.assertIn("block checksum mismatch", told[0])
        self.assertIn("crema rebuild", told[0], "and what to do about it")
        node.terminate()
        done = self.rebuild(node)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn(f"{node.entry['data_dir']}/damaged", done.stdout)
        node.start()
        cluster.wait_ready()
        wait_until(lambda: self.whole(node), LEVEL_SEEN, "n2 is whole")
        self.assertEqual(self.repair(cluster["n1"])[0], 0)
        with node.client(timeout=30) as client:
            replies = client.pipeline([("KV.GET", key, "R", "one") for key in values])
        self.assertEqual([reply[1] for reply in replies], [[value] for value in values.values()])

    def test_a_repair_can_be_paused_resumed_and_cancelled(self):
        cluster = self.cluster()
        self.fill(cluster["n1"], range(KEYS), "key-")
        self.assertEqual(cluster["n1"].ask("KV.REPAIR", "START", "BUCKET", "default")[:1], b"{")
        code, states = self.repair(cluster["n1"], "--status")
        self.assertEqual((code, {state["state"] for state in states} <= {"none", "running", "finished"}), (0, True))
        done = cluster["n1"].ctl("repair", "--pause", "--cancel")
        self.assertEqual((done.returncode, "repair" in done.stderr), (2, True))
        done = cluster["n1"].ctl("repair", "--bucket", "nope")
        self.assertEqual((done.returncode, "no such bucket 'nope'" in done.stderr + done.stdout), (1, True))
        self.assertEqual(self.repair(cluster["n1"], "--cancel")[0], 0)

    def test_what_deletes_leave_behind_goes_when_all_owners_have_it(self):
        cluster = self.cluster()
        for db in (0, 1):
            self.fill(cluster["n1"], range(KEYS), "key-", db)
            with cluster["n2"].client(timeout=30, db=db) as client:
                client.pipeline([("DEL", f"key-{key}") for key in range(KEYS)])
        for node in cluster:
            wait_until(lambda: self.counter(node, "keys_cleaned") == 2 * KEYS, LEVEL_SEEN,
                       f"{node.name} holds nothing of them any more")

    def test_nothing_is_left_of_keys_that_were_all_deleted(self):
        cluster = self.cluster()
        self.fill(cluster["n1"], range(500), "key-")
        self.fill(cluster["n2"], range(500), "key-", db="carts")
        with cluster["n2"].client(timeout=30) as client:  # Some go by themselves.
            client.pipeline([("SET", f"key-{key}", "short", "PX", "1500") for key in range(400, 500)])
        cluster["n3"].kill()  # And one node has to learn of it later.
        for db in (None, "carts"):
            with cluster["n1"].client(timeout=30, db=db) as client:
                replies = client.pipeline([("DEL", f"key-{key}") for key in range(500 if db else 400)])
            self.assertEqual([reply for reply in replies if isinstance(reply, Exception)], [])
        cluster["n3"].start()
        cluster.wait_ready()
        for node in cluster:
            wait_until(lambda: self.counter(node, "keys_cleaned") >= 900 and self.counter(node, "hint_vnodes") == 0, 3 * LEVEL_SEEN,
                       f"{node.name} has cleaned up")
        nothing = {"objects": 0, "logged": 0, "graves": 0, "gaps": 0}
        left = {}

        def settled():  # Whoever has cleaned up may yet have to trim its log: then it goes on.
            for node in cluster:
                node.terminate()
                left[node.name] = json.loads(subprocess.run([COUNT_REMAINS, f"{node.entry['data_dir']}/db"], stdout=subprocess.PIPE,
                                                            check=True).stdout)
                node.start()
            cluster.wait_ready()
            return all(counted == nothing for counted in left.values())
        try:
            wait_until(settled, 3 * LEVEL_SEEN, "nothing is left", every=2.0 * SLOWNESS)
        except AssertionError as error:
            raise AssertionError(f"{error}: {left}") from None

    def test_tombstones_wait_for_a_node_that_is_away(self):
        cluster = self.cluster()
        self.fill(cluster["n1"], range(100), "key-")
        wait_until(lambda: self.copies(cluster["n3"], range(100), "key-") == 100, LEVEL_SEEN, "n3 has them")
        cluster["n3"].kill()
        with cluster["n1"].client(timeout=30) as client:
            client.pipeline([("DEL", f"key-{key}") for key in range(100)])
        self.assertEqual(self.counter(cluster["n1"], "keys_cleaned"), 0)
        cluster["n3"].start()
        cluster.wait_ready()
        for node in cluster:
            wait_until(lambda: self.counter(node, "keys_cleaned") == 100, LEVEL_SEEN, f"{node.name} has cleaned up")
        with cluster["n3"].client() as client:
            replies = client.pipeline([("KV.GET", f"key-{key}", "R", "one") for key in range(100)])
        self.assertEqual([reply[1] for reply in replies if reply[1]], [], "a deleted key has come back")
