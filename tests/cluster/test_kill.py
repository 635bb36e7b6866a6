"""Nodes die by SIGKILL under load: nothing that was acknowledged may be missing."""

import time
import unittest

from harness import SLOWNESS, ClusterCase
from workload import Load

KEYS = 10_000
FAILOVER = 3.0 * SLOWNESS  # After this long, no request to a surviving node fails.


def run_kill_under_load(case, cluster):
    """The proof of issue 2, section 8: also used over network namespaces."""
    load = Load(cluster, KEYS, case.seed)
    victim = case.random.choice(list(cluster))
    moment = case.random.randrange(1_000, 2 * KEYS)
    case.say(f"seed {case.seed}: kill {victim.name} after {moment} writes")
    load.start()
    try:
        load.wait_writes(moment, 120 * SLOWNESS)
        killed = time.monotonic()
        victim.kill()
        cluster.wait_down(victim.name, FAILOVER)
        # Load goes on beyond the moment from which nothing may fail any more.
        load.wait_writes(load.ledger.writes + 500, 60 * SLOWNESS)
        while time.monotonic() < killed + FAILOVER + 1.0:
            load.wait_writes(load.ledger.writes + 100, 30 * SLOWNESS)
        victim.start()
        cluster.wait_ready()
        back = time.monotonic()
        while time.monotonic() < back + 1.0 or not load.all_written():
            load.wait_writes(load.ledger.writes + 100, 30 * SLOWNESS)
    finally:
        load.stopping.set()
    load.stop()
    ledger = load.ledger
    case.say(f"{ledger.writes} writes and {ledger.reads} reads answered, {len(load.failures)} failed, "
             f"{sum(map(len, ledger.unknown.values()))} writes of unknown outcome")
    late = [f"{f.time - killed:.2f} s after the kill through {f.node}: {f.text}" for f in load.failures
            if f.time > killed + FAILOVER and (f.node != victim.name or f.time > back)]
    case.assertEqual(late[:10], [], "requests failed although the failure was long over")
    early = [f for f in load.failures if f.time < killed]
    case.assertEqual(early[:10], [], "requests failed before anything was killed")
    for node in cluster:
        complaints, found = load.verify(node)
        case.assertEqual(complaints[:10], [])
        case.assertEqual(len(found), KEYS)
    return load


def run_kill_all_under_load(case, cluster, *dbs):
    """All nodes die at once while these buckets, the harness' own, are written to; also used over network namespaces."""
    loads = {db: Load(cluster, 2_000, case.seed + db, db=db, readers=0) for db in dbs}
    moment = case.random.randrange(500, 6_000)
    case.say(f"seed {case.seed}: kill all after {moment} writes")
    for load in loads.values():
        load.start()
    try:
        for load in loads.values():
            load.wait_writes(moment, 120 * SLOWNESS)
        cluster.stop()
    finally:
        for load in loads.values():
            load.stopping.set()
    for load in loads.values():
        load.stop()
    cluster.start()
    for db, load in loads.items():
        case.say(f"{load.ledger.writes} writes in db {db} were acknowledged, "
                 f"{sum(map(len, load.ledger.unknown.values()))} are of unknown outcome")
        for node in cluster:
            case.assertEqual((load.verify_siblings(node) if db else load.verify(node)[0])[:10], [])


class KillUnderLoad(ClusterCase):
    SERIAL = True
    TIMEOUT = 300

    def test_no_acknowledged_write_is_missing_after_a_node_was_killed_under_load(self):
        run_kill_under_load(self, self.cluster())

    def test_each_node_in_turn_may_be_killed(self):
        cluster = self.cluster()
        load = Load(cluster, 1_000, self.seed)
        load.start()
        try:
            for node in cluster:
                load.wait_writes(load.ledger.writes + self.random.randrange(100, 3_000), 60 * SLOWNESS)
                node.kill()
                cluster.wait_down(node.name, FAILOVER)
                load.wait_writes(load.ledger.writes + 500, 60 * SLOWNESS)
                node.start()
                cluster.wait_ready()
        finally:
            load.stopping.set()
        load.stop()
        for node in cluster:
            self.assertEqual(load.verify(node)[0][:10], [])


class KillAll(ClusterCase):
    SERIAL = True
    TIMEOUT = 180

    def test_every_fsynced_write_survives_the_kill_of_all_nodes(self):
        run_kill_all_under_load(self, self.cluster(), 1)

    def test_every_write_survives_the_kill_of_all_processes_at_interval_durability(self):
        # The page cache outlives the processes: only a crash of the machine may lose the last interval.
        run_kill_all_under_load(self, self.cluster(), 0)

    def test_the_cluster_survives_several_kills_of_all_nodes(self):
        cluster = self.cluster()
        for round_number in range(5):
            with cluster["n1"].client(db=1) as client:
                self.assertEqual(client.call("SET", f"round-{round_number}", round_number), "OK")
            for node in cluster:
                node.kill()
            cluster.start()
            for node in cluster:
                for earlier in range(round_number + 1):
                    self.assertEqual(node.ask("GET", f"round-{earlier}", db=1), str(earlier).encode())


class NewestValue(ClusterCase):
    TIMEOUT = 120

    def test_the_newest_write_wins_whichever_nodes_took_the_writes(self):
        cluster = self.cluster()
        clients = [node.client() for node in cluster]
        try:
            for number in range(1, 3_000):
                writer, reader = self.random.choice(clients), self.random.choice(clients)
                self.assertEqual(writer.call("SET", "counter", number), "OK")
                self.assertEqual(reader.call("GET", "counter"), str(number).encode(), f"seed {self.seed}")
        finally:
            for client in clients:
                client.close()


if __name__ == "__main__":
    unittest.main()
