"""A configuration that is wrong: exit code 2 within two seconds, a message that says where, and nothing written."""

import copy
import hashlib
import json
import os
import pathlib
import socket
import subprocess
import time
import unittest

from harness import BINARY, SLOWNESS, ClusterCase
from ports import free_ports

LIMIT = 2.0 * SLOWNESS


def change(*path_and_value):
    """A function that sets (or, without a value, removes) the field at a path."""
    *path, last, value = path_and_value

    def apply(config):
        at = config
        for step in path:
            at = at[step]
        if value is REMOVE:
            del at[last]
        else:
            at[last] = value
    return apply


REMOVE = object()

# What is changed in a good file, and what the message must contain.
BAD_FIELDS = {
    "no name of the cluster": (change("cluster", REMOVE), ["cluster"]),
    "an empty name": (change("cluster", ""), ["cluster"]),
    "a cluster name of the wrong type": (change("cluster", 7), ["cluster"]),
    "no nodes": (change("nodes", REMOVE), ["nodes"]),
    "an empty list of nodes": (change("nodes", []), ["nodes"]),
    "nodes of the wrong type": (change("nodes", {}), ["nodes"]),
    "a node without a name": (change("nodes", 1, "name", REMOVE), ["nodes[1].name"]),
    "a node without a host": (change("nodes", 2, "host", REMOVE), ["nodes[2].host"]),
    "a port out of range": (change("nodes", 1, "peer_port", 70000), ["nodes[1].peer_port", "70000", "65535"]),
    "a negative port": (change("nodes", 0, "resp_port", -1), ["nodes[0].resp_port"]),
    "a port of the wrong type": (change("nodes", 0, "http_port", "8101"), ["nodes[0].http_port"]),
    "a weight of 0": (change("nodes", 0, "weight", 0), ["nodes[0].weight"]),
    "a group for one node only": (change("nodes", 0, "group", "left"), ["nodes[1].group", "nodes[0]", "for none"]),
    "two nodes of one name": (change("nodes", 1, "name", "n1"), ["nodes[1].name", "n1"]),
    "two nodes on one port": (lambda c: c["nodes"][1].update(resp_port=c["nodes"][0]["resp_port"]), ["nodes[1].resp_port"]),
    "one port twice in a node": (lambda c: c["nodes"][0].update(http_port=c["nodes"][0]["peer_port"]), ["nodes[0]."]),
    "an unknown field": (change("partitons", 256), ["partitons", "partitions"]),
    "an unknown field of a node": (change("nodes", 0, "resp_prot", 1), ["nodes[0].resp_prot", "resp_port"]),
    "an unknown field of a bucket": (change("buckets", 0, "conflicts", "lww"), ["buckets[0].conflicts", "conflict"]),
    "partitions not a power of two": (change("partitions", 100), ["partitions", "100"]),
    "too few partitions": (change("partitions", 4), ["partitions"]),
    "too many partitions": (change("partitions", 32768), ["partitions"]),
    "n above the number of nodes": (change("buckets", 0, "n", 4), ["buckets[0].n"]),
    "r above n": (change("buckets", 0, "r", 4), ["buckets[0].r"]),
    "w above n": (change("buckets", 1, "w", 4), ["buckets[1].w"]),
    "an r of 0": (change("buckets", 1, "r", 0), ["buckets[1].r"]),
    "two buckets of one name": (change("buckets", 1, "name", "default"), ["buckets[1].name"]),
    "two buckets of one number": (change("buckets", 1, "db", 0), ["buckets[1].db"]),
    "an unknown mode": (change("buckets", 0, "mode", "eventaul"), ["buckets[0].mode", "eventual"]),
    "the causal mode": (change("buckets", 0, "mode", "causal"), ["buckets[0].mode", "not available"]),
    "the strong mode": (change("buckets", 1, "mode", "strong"), ["buckets[1].mode", "not available"]),
    "an unknown conflict rule": (change("buckets", 0, "conflict", "first"), ["buckets[0].conflict", "lww", "siblings"]),
    "an unknown durability": (change("buckets", 0, "durability", "never"), ["buckets[0].durability", "fsync", "interval"]),
    "a number for sloppy": (change("buckets", 0, "sloppy", 1), ["buckets[0].sloppy"]),
    "a timeout of 0": (change("timeouts", {"read_ms": 0}), ["timeouts.read_ms"]),
    "a timeout as text": (change("timeouts", {"write_ms": "2s"}), ["timeouts.write_ms"]),
    "a negative interval": (change("durability_interval_ms", -5), ["durability_interval_ms"]),
    "an unknown log level": (change("logging", {"level": "loud"}), ["logging.level"]),
    "an unknown log format": (change("logging", {"format": "xml"}), ["logging.format"]),
}

BAD_TEXTS = {
    "nothing": b"",
    "no JSON": b"cluster: demo\n",
    "half a document": b'{"cluster": "demo", "nodes": [',
    "more than one document": b"{} {}",
    "a list": b"[]",
    "binary": bytes(range(256)),
    "not UTF-8": b'{"cluster": "\xff\xfe"}',
    "deep nesting": b'{"cluster": ' + b"[" * 100_000,
    "a field twice": b'{"cluster": "a", "cluster": "b", "nodes": []}',
}


def snapshot(directory):
    """Names and contents of everything below a directory, except log files."""
    found = {}
    for path in sorted(pathlib.Path(directory).rglob("*")):
        if path.suffix != ".log":
            found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "directory"
    return found


class Refusal(ClusterCase):
    def good(self):
        ports = free_ports(9)
        return {
            "cluster": "demo", "partitions": 64,
            "nodes": [{"name": f"n{i + 1}", "host": "127.0.0.1", "peer_port": ports[3 * i], "resp_port": ports[3 * i + 1],
                       "http_port": ports[3 * i + 2], "data_dir": f"data/n{i + 1}"} for i in range(3)],
            "buckets": [{"name": "default", "db": 0}, {"name": "carts", "db": 1, "conflict": "siblings"}],
        }

    def refused(self, directory, text, fragments, command=None, unwritten=None):
        """The file must be refused by `crema node` (or `command`) in time, with all fragments in the message."""
        file = directory / "cluster.json"
        file.write_bytes(text if isinstance(text, bytes) else json.dumps(text).encode())
        before = snapshot(unwritten or directory)
        start = time.monotonic()
        done = subprocess.run([BINARY, *(command or ("node", "--config", str(file), "--node", "n1"))], cwd=directory,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=20 * SLOWNESS)
        took = time.monotonic() - start
        self.assertEqual(done.returncode, 2, done.stdout + done.stderr)
        self.assertLess(took, LIMIT)
        self.assertIn("cluster.json", done.stderr, "the message names the file")
        for fragment in fragments:
            self.assertIn(fragment, done.stderr)
        self.assertLess(len(done.stderr), 20_000)
        self.assertEqual(snapshot(unwritten or directory), before, "something was written")
        return done.stderr


class Mistakes(Refusal):
    def test_every_field_is_checked(self):
        directory, good = self.directory(), self.good()
        for what, (apply, fragments) in BAD_FIELDS.items():
            with self.subTest(what):
                config = copy.deepcopy(good)
                apply(config)
                self.refused(directory, config, fragments)

    def test_config_check_and_cluster_up_refuse_the_same(self):
        directory, good = self.directory(), self.good()
        file = str(directory / "cluster.json")
        for what in ("a port out of range", "n above the number of nodes", "the strong mode", "an unknown field"):
            apply, fragments = BAD_FIELDS[what]
            config = copy.deepcopy(good)
            apply(config)
            with self.subTest(what):
                self.refused(directory, config, fragments, ("config", "check", file))
                self.refused(directory, config, fragments, ("cluster", "up", file, "--dir", "run"))

    def test_cluster_up_starts_no_node_beside_one_whose_directory_it_cannot_use(self):
        directory, config = self.directory(), self.good()
        foreign = directory / config["nodes"][1]["data_dir"]
        foreign.mkdir(parents=True)
        (foreign / "letters").write_text("not ours")
        for command in (("cluster", "up", "cluster.json", "--dir", "run"), ("config", "check", "cluster.json", "--node", "n2")):
            self.refused(directory, config, ["nodes[1].data_dir", "letters"], command)

    def test_what_is_no_configuration_at_all(self):
        directory = self.directory()
        for what, text in BAD_TEXTS.items():
            with self.subTest(what):
                self.refused(directory, text, [])

    def test_all_problems_are_reported_at_once(self):
        config = self.good()
        config["partitions"] = 100
        config["nodes"][1]["peer_port"] = 70000
        config["buckets"][0]["r"] = 9
        self.refused(self.directory(), config, ["partitions", "nodes[1].peer_port", "buckets[0].r"])

    def test_a_missing_file_and_an_unknown_node(self):
        directory, good = self.directory(), self.good()
        file = str(directory / "cluster.json")
        self.refused(directory, good, ["n9", "n1"], ("node", "--config", file, "--node", "n9"))
        done = subprocess.run([BINARY, "node", "--config", "missing.json", "--node", "n1"], cwd=directory,
                              stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=20)
        self.assertEqual(done.returncode, 2)
        self.assertIn("missing.json", done.stderr)

    def test_the_examples_are_good(self):
        examples = sorted((pathlib.Path(__file__).parents[2] / "config").glob("*.json"))
        self.assertGreaterEqual(len(examples), 3)
        for example in examples:
            done = subprocess.run([BINARY, "config", "check", str(example)], cwd=self.directory(), stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True, timeout=20)
            self.assertEqual(done.returncode, 0, done.stdout)

    def test_a_port_in_use(self):
        directory, good = self.directory(), self.good()
        for index, field in enumerate(["peer_port", "resp_port", "http_port"]):
            with self.subTest(field), socket.socket() as taken:
                taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                taken.bind(("127.0.0.1", good["nodes"][0][field]))
                taken.listen()
                self.refused(directory, good, [f"nodes[0].{field}", str(good["nodes"][0][field]), "in use"])

    def test_a_data_directory_that_cannot_be_made(self):
        directory, good = self.directory(), self.good()
        (directory / "file").write_text("not a directory")
        good["nodes"][0]["data_dir"] = "file/n1"
        self.refused(directory, good, ["nodes[0].data_dir", "file"])

    def test_a_foreign_directory(self):
        directory, good = self.directory(), self.good()
        (directory / "data/n1").mkdir(parents=True)
        (directory / "data/n1/letter.txt").write_text("dear diary")
        self.refused(directory, good, ["nodes[0].data_dir", "data/n1"])


class UsedDirectories(Refusal):
    """What the directory of a node that has run before says against a configuration."""

    def used(self, stop=True):
        cluster = self.cluster(size=1)
        cluster["n1"].ask("SET", "key", "value")
        if stop:
            cluster["n1"].terminate()
        config = copy.deepcopy(cluster.config)
        return cluster, config

    def check(self, config, cluster, fragments, name="n1"):
        data = pathlib.Path(cluster.config["nodes"][0]["data_dir"])
        directory = self.directory()
        self.refused(directory, config, fragments, ("node", "--config", str(directory / "cluster.json"), "--node", name),
                     unwritten=data)
        self.assertEqual(os.listdir(directory), ["cluster.json"])

    def test_a_directory_in_use(self):
        cluster, config = self.used(stop=False)
        config["nodes"][0].update(zip(("peer_port", "resp_port", "http_port"), free_ports(3)))
        cluster["n1"].pause()  # It keeps the lock, and writes nothing meanwhile either.
        self.check(config, cluster, ["nodes[0].data_dir", "used by another process"])
        cluster["n1"].resume()
        self.assertEqual(cluster["n1"].ask("GET", "key"), b"value")

    def test_the_directory_of_another_cluster(self):
        cluster, config = self.used()
        config["cluster"] = "elsewhere"
        self.check(config, cluster, ["nodes[0].data_dir", "demo", "elsewhere"])

    def test_the_directory_of_another_node(self):
        cluster, config = self.used()
        config["nodes"][0]["name"] = "n2"
        self.check(config, cluster, ["nodes[0].data_dir", "n1", "n2"], name="n2")

    def test_partitions_changed_after_creation(self):
        cluster, config = self.used()
        config["partitions"] = 128
        self.check(config, cluster, ["64", "128", "partitions"])

    def test_a_damaged_database(self):
        cluster, config = self.used()
        data = pathlib.Path(config["nodes"][0]["data_dir"])
        damaged = [path for path in data.rglob("CURRENT") if path.is_file()]
        self.assertEqual(len(damaged), 1)
        damaged[0].write_text("nonsense\n")
        cluster["n1"].start()
        code = cluster["n1"].process.wait(20 * SLOWNESS)
        self.assertNotEqual(code, 0)
        self.assertIn(str(data), cluster["n1"].log_text())
        self.assertEqual(damaged[0].read_text(), "nonsense\n", "a damaged database is never silently recreated")


if __name__ == "__main__":
    unittest.main()
