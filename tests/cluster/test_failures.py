"""Peers that die, freeze and come back: who notices when, and what clients get meanwhile."""

import time
import unittest

import resp
from harness import SLOWNESS, ClusterCase, wait_until

READ_DEADLINE, WRITE_DEADLINE = 1.0, 2.0
KILLED_SEEN = 1.0 * SLOWNESS
SILENT_SEEN = 3.0 * SLOWNESS
RETURN_SEEN = 2.0 * SLOWNESS


class Detection(ClusterCase):
    SERIAL = True

    def test_a_killed_peer_is_down_within_a_second(self):
        cluster = self.cluster()
        for name in ["n2", "n1", "n3"]:
            start = time.monotonic()
            cluster[name].kill()
            cluster.wait_down(name, KILLED_SEEN)
            self.say(f"{name} seen down after {time.monotonic() - start:.3f} s")
            cluster[name].start()
            cluster.wait_ready()

    def test_a_frozen_peer_is_down_within_three_seconds_and_up_two_seconds_after_it_returns(self):
        cluster = self.cluster()
        frozen, others = cluster["n3"], [cluster["n1"], cluster["n2"]]
        start = time.monotonic()
        frozen.pause()
        cluster.wait_down("n3", SILENT_SEEN, by=others)
        self.say(f"seen down after {time.monotonic() - start:.2f} s")
        start = time.monotonic()
        frozen.resume()
        for node in others:
            wait_until(lambda: node.sees("n3", "up"), RETURN_SEEN, f"{node.name} sees n3 up again")
            wait_until(lambda: frozen.sees(node.name, "up"), RETURN_SEEN, f"n3 sees {node.name} up")
        self.say(f"seen up after {time.monotonic() - start:.2f} s")

    def test_a_short_pause_of_the_observer_is_not_held_against_its_peers(self):
        cluster = self.cluster()
        observer = cluster["n1"]
        observer.pause()
        cluster.wait_down("n1", SILENT_SEEN, by=[cluster["n2"], cluster["n3"]])  # Time passes: n1 has missed heartbeats.
        observer.resume()
        wait_until(lambda: observer.members() == {"n1": "up", "n2": "up", "n3": "up"}, RETURN_SEEN, "n1 sees all up")
        wait_until(lambda: cluster["n2"].sees("n1", "up") and cluster["n3"].sees("n1", "up"), RETURN_SEEN, "n1 is up again")

    def test_a_killed_peer_that_returns_is_up_within_two_seconds_of_serving(self):
        cluster = self.cluster()
        cluster["n2"].kill()
        cluster.wait_down("n2", KILLED_SEEN)
        cluster["n2"].start().wait_ready()
        for node in cluster:
            wait_until(lambda: node.sees("n2", "up"), RETURN_SEEN, f"{node.name} sees n2 up again")


class Requests(ClusterCase):
    SERIAL = True

    def test_a_frozen_node_costs_at_most_the_request_deadline(self):
        cluster = self.cluster()
        clients = [cluster["n1"].client(timeout=10), cluster["n2"].client(timeout=10)]
        cluster["n3"].pause()
        start = time.monotonic()
        slowest, failures, after_detection, number = {"reads": 0.0, "writes": 0.0}, 0, [], 0
        while time.monotonic() < start + SILENT_SEEN + 2.0:
            number += 1
            for client in clients:
                for command in [("SET", f"key-{number % 100}", number), ("GET", f"key-{number % 100}"),
                                ("KV.PUT", f"other-{number % 100}", number)]:
                    asked = time.monotonic()
                    reply = client.call(*command)
                    took = time.monotonic() - asked
                    kind = "reads" if command[0] == "GET" else "writes"
                    slowest[kind] = max(slowest[kind], took)
                    if isinstance(reply, resp.Error):
                        failures += 1
                        self.assertIn(reply.code, ("TIMEOUT", "NOQUORUM", "BUSY"), reply)
                        if asked > start + SILENT_SEEN:
                            after_detection.append(reply)
        self.say(f"{6 * number} requests, slowest {slowest} s, {failures} failed")
        self.assertLess(slowest["reads"], READ_DEADLINE * SLOWNESS + 0.3)
        self.assertLess(slowest["writes"], WRITE_DEADLINE * SLOWNESS + 0.3)
        self.assertEqual(after_detection, [], "requests failed after the failure had to be known")
        self.assertEqual(failures, 0, "two of three nodes are enough for every request here")
        for client in clients:
            client.close()

    def test_a_client_of_a_frozen_node_gets_its_answers_when_it_returns(self):
        cluster = self.cluster()
        with cluster["n3"].client(timeout=20) as client:
            self.assertEqual(client.call("SET", "key", "before"), "OK")
            cluster["n3"].pause()
            cluster.wait_down("n3", SILENT_SEEN, by=[cluster["n1"], cluster["n2"]])
            self.assertEqual(cluster["n1"].ask("SET", "key", "meanwhile"), "OK")
            cluster["n3"].resume()
            # Its own copy is old: at R=2 the newest acknowledged value must come from a peer, or there is an error.
            reply = wait_until(lambda: not isinstance(answer := client.call("GET", "key"), resp.Error) and answer,
                               RETURN_SEEN + 2, "n3 answers")
            self.assertEqual(reply, b"meanwhile")

    def test_without_a_quorum_the_error_names_who_is_down_at_once(self):
        cluster = self.cluster()
        cluster["n1"].ask("SET", "key", "value")
        cluster["n2"].kill()
        cluster["n3"].kill()
        cluster.wait_down("n2", KILLED_SEEN)
        cluster.wait_down("n3", KILLED_SEEN)
        with cluster["n1"].client() as client:
            for command in [("SET", "key", "other"), ("GET", "key"), ("DEL", "key"), ("KV.GET", "key"), ("KV.PUT", "key", "x"),
                            ("MGET", "key"), ("MSET", "a", "b")]:
                start = time.monotonic()
                reply = client.call(*command)
                self.assertLess(time.monotonic() - start, 0.5, f"{command} took long")
                self.assert_error(reply, "NOQUORUM")
                self.assertEqual(reply, "NOQUORUM needed 2, reachable 1: n2 down, n3 down")
            self.assertEqual(client.call("KV.GET", "key", "R", "one")[1], [b"value"], "one copy is enough if asked for")
            self.assertEqual(client.call("PING"), "PONG")
            self.assertEqual(client.call("KV.PUT", "key", "alone", "W", "one")[:3], b"cx1")

    def test_all_replicas_are_too_many_while_one_is_down(self):
        cluster = self.cluster()
        cluster["n3"].kill()
        cluster.wait_down("n3", KILLED_SEEN)
        with cluster["n1"].client() as client:
            self.assertEqual(client.call("SET", "key", "value"), "OK")
            self.assert_error(client.call("KV.GET", "key", "R", "all"), "NOQUORUM", "needed 3, reachable 2", "n3 down")
            self.assert_error(client.call("KV.PUT", "key", "x", "W", "all"), "NOQUORUM", "needed 3, reachable 2", "n3 down")
            self.assertEqual(client.call("GET", "key"), b"value", "a refused write leaves nothing behind")

    def test_writes_go_on_as_soon_as_a_quorum_is_back(self):
        cluster = self.cluster()
        cluster["n2"].kill()
        cluster["n3"].kill()
        cluster.wait_down("n2", KILLED_SEEN)
        cluster["n2"].start()
        wait_until(lambda: cluster["n1"].ask("SET", "key", "value") == "OK", 10 * SLOWNESS, "a write succeeds again")
        self.assertEqual(cluster["n1"].ask("GET", "key"), b"value")

    def test_a_read_at_quorum_repairs_what_a_node_has_missed(self):
        cluster = self.cluster()
        cluster["n3"].kill()
        cluster.wait_down("n3", KILLED_SEEN)
        keys = [f"key-{i}" for i in range(100)]
        for key in keys:
            cluster["n1"].ask("SET", key, "new")
        cluster["n3"].start()
        cluster.wait_ready()
        for key in keys:
            self.assertEqual(cluster["n1"].ask("KV.GET", key, "R", "all")[1], [b"new"])
        with cluster["n3"].client() as client:  # Repair follows the answer.
            wait_until(lambda: all(client.call("KV.GET", key, "R", "one")[1] == [b"new"] for key in keys), 5, "keys are repaired")
        cluster["n1"].kill()
        cluster["n2"].kill()
        cluster.wait_down("n1", KILLED_SEEN)
        cluster.wait_down("n2", KILLED_SEEN)
        with cluster["n3"].client() as client:
            missing = [key for key in keys if client.call("KV.GET", key, "R", "one")[1] != [b"new"]]
        self.assertEqual(missing, [], "repaired keys are on n3 itself")


if __name__ == "__main__":
    unittest.main()
