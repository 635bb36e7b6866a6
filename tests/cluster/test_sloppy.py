"""Sloppy quorums: other nodes stand in for owners that are down, and KV.EXPLAIN tells."""

import json
import time
import unittest
import urllib.request

from harness import SLOWNESS, ClusterCase, wait_until

KILLED_SEEN = 1.0 * SLOWNESS
COMMON = {"mode": "eventual", "n": 3, "r": 2, "w": 2, "conflict": "lww", "durability": "interval"}
BUCKETS = [{"name": "sloppy", "db": 0, "sloppy": True, **COMMON}, {"name": "strict", "db": 1, "sloppy": False, **COMMON}]


def fields(flat):
    """Names and values alternate."""
    return {flat[i].decode(): flat[i + 1] for i in range(0, len(flat), 2)}


def explained(reply):
    told = fields(reply)
    return told, [fields(row) for row in told["nodes"]], [fields(row) for row in told.get("exchanges", [])]


def hints(node):
    """What `crema ctl hints` says, and its exit code."""
    done = node.ctl("hints", "--json")
    return json.loads(done.stdout), done.returncode


class Sloppy(ClusterCase):
    SERIAL = True

    def test_writes_go_on_without_owners_where_the_bucket_allows_it(self):
        cluster = self.cluster(5, buckets=BUCKETS)
        _, nodes, _ = explained(cluster["n1"].ask("KV.EXPLAIN", "key"))
        self.assertEqual([row["role"] for row in nodes], [b"owner"] * 3 + [b"fallback"] * 2)
        names = [row["node"].decode() for row in nodes]
        owners, standing_in = [cluster[name] for name in names[:3]], [cluster[name] for name in names[3:]]
        for node in owners[1:]:
            node.kill()
        for node in owners[1:]:
            cluster.wait_down(node.name, KILLED_SEEN)
        with owners[0].client() as client:
            self.assertEqual(client.call("SET", "key", "new"), "OK")
            reply, told = client.call("KV.EXPLAIN", "SET", "key", "newer")
            self.assertEqual(reply, "OK")
            summary, nodes, exchanges = explained(told)
            self.assertEqual((summary["quorum"], summary["acks_of_fallbacks"]), (b"sloppy", b"1"))
            self.assertEqual([row["state"] for row in nodes], [b"up", b"down", b"down", b"up", b"up"])
            self.assertEqual(exchanges[0]["asked"], b"put")
            self.assertIn((b"fallback", b"written"), [(row["role"], row["answer"]) for row in exchanges])
            self.assert_error(client.call("KV.PUT", "key", "x", "PW", "quorum"), "NOQUORUM", "needed 2 owners, reachable 1",
                              f"{names[1]} down", f"{names[2]} down")
            self.assert_error(client.call("KV.GET", "key", "PR", "2"), "NOQUORUM", "needed 2 owners, reachable 1")
        with owners[0].client(db=1) as client:
            self.assert_error(client.call("SET", "key", "new"), "NOQUORUM", "needed 2, reachable 1")
        port = owners[0].entry["http_port"]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
            acks = [line for line in page.read().decode().splitlines() if line.startswith("crema_node_fallback_acks ")]
        self.assertGreaterEqual(int(acks[0].split()[1]), 2)
        owners[0].kill()
        cluster.wait_down(owners[0].name, KILLED_SEEN)
        with standing_in[1].client() as client:
            self.assertEqual(client.call("GET", "key"), b"newer", "no owner is left, those who stand in have it")
            self.assertEqual(client.call("SET", "key", "newest"), "OK")
        self.assertEqual(standing_in[0].ask("GET", "key"), b"newest")

    def test_an_owner_that_returns_learns_what_others_took_for_it(self):
        cluster = self.cluster(5, buckets=BUCKETS)
        _, nodes, _ = explained(cluster["n1"].ask("KV.EXPLAIN", "key"))
        names = [row["node"].decode() for row in nodes]
        away = [cluster[name] for name in names[:3]]
        for node in away:
            node.kill()
        for node in away:
            cluster.wait_down(node.name, KILLED_SEEN)
        with cluster[names[3]].client() as client:
            self.assertEqual(client.call("SET", "key", "value"), "OK")
        asked = cluster[names[3]]
        wait_until(lambda: len(hints(asked)[0]) == 2, 5 * SLOWNESS, "both that stand in are listed")
        listed, code = hints(asked)
        self.assertEqual(code, 1, "three members do not answer")
        self.assertEqual({hint["on"] for hint in listed}, set(names[3:]))
        for hint in listed:
            self.assertEqual(set(hint["for"].split(", ")), set(names[:3]))
            self.assertEqual((hint["bucket"], hint["writes"], hint["keys"]), ("sloppy", 1, 1))
            self.assertGreater(hint["bytes"], 8)
        self.assertEqual(asked.status()["counters"]["hint_writes_nowhere_else"], 1)
        _, nodes, _ = explained(asked.ask("KV.EXPLAIN", "key"))
        self.assertEqual(next(row for row in nodes if row["node"].decode() == asked.name)["stands_in_with_writes"], b"1")
        age, listed_at = min(hint["age_ms"] for hint in listed), time.monotonic()
        standing_in = cluster[names[4]]
        standing_in.kill()
        standing_in.start()
        cluster.wait_ready()
        wait_until(lambda: len(hints(asked)[0]) == 2, 5 * SLOWNESS, "it still has what it held")
        since = 1000 * (time.monotonic() - listed_at)
        again = next(hint for hint in hints(asked)[0] if hint["on"] == standing_in.name)
        self.assertEqual((again["keys"], again["writes"]), (1, 1))
        self.assertGreater(again["bytes"], 8)
        self.assertGreater(again["age_ms"], age + since - 500, "a restart does not make it younger")
        away[0].start()
        cluster.wait_ready()
        with away[0].client() as client:
            self.assertEqual(client.call("GET", "key"), b"value")  # From those who stand in for the other two.
            wait_until(lambda: client.call("KV.GET", "key", "R", "one")[1] == [b"value"], 5, "the owner is repaired")

            def lacks():
                _, nodes, _ = explained(client.call("KV.EXPLAIN", "key"))
                return next(row for row in nodes if row["node"].decode() == away[0].name)["lacks_writes"]
            wait_until(lambda: lacks() == b"0", 5 * SLOWNESS, "KV.EXPLAIN says so")
        for node in away[1:]:
            node.start()
        cluster.wait_ready()
        wait_until(lambda: hints(asked) == ([], 0), 10 * SLOWNESS, "everything is handed over")

    def test_a_fallback_does_not_wait_longer_for_an_owner_than_it_is_told_to(self):
        cluster = self.cluster(4, buckets=BUCKETS, hints={"age_max_s": 2})
        _, nodes, _ = explained(cluster["n1"].ask("KV.EXPLAIN", "key"))
        names = [row["node"].decode() for row in nodes]
        away, standing_in = cluster[names[0]], cluster[names[3]]
        away.kill()
        cluster.wait_down(away.name, KILLED_SEEN)
        self.assertEqual(cluster[names[1]].ask("SET", "key", "value"), "OK")
        wait_until(lambda: standing_in.status()["counters"]["hints_dropped_early"] == 1, 15 * SLOWNESS,
                   "two owners have it, the third stays away")
        wait_until(lambda: hints(standing_in)[0] == [], 5 * SLOWNESS, "it is no longer listed")
        away.start()
        cluster.wait_ready()
        with away.client() as client:
            wait_until(lambda: client.call("KV.GET", "key", "R", "one")[1] == [b"value"], 10 * SLOWNESS, "it learns from the other owners")


if __name__ == "__main__":
    unittest.main()
