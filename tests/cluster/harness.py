"""Starts clusters of real crema processes, hurts them, and stops them whatever happens.

    class Example(ClusterCase):
        def test_a_killed_node_comes_back(self):
            cluster = self.cluster()          # three nodes, started and serving
            cluster["n2"].kill()
            cluster["n2"].start()
            cluster.wait_ready()

A failed test prints its seed and the tails of all logs. CREMA_KEEP=1 keeps the directories, CREMA_SEED=n repeats a run.
"""

import ctypes
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import ports
import resp

# The others are built beside the first: build/release/crema, build/release/tests/cluster/lose_objects.
BINARY = os.path.abspath(os.environ.get("CREMA_BINARY", pathlib.Path(__file__).parents[2] / "build/release/crema"))
LOSE_OBJECTS = pathlib.Path(BINARY).parent / "tests/cluster/lose_objects"
COUNT_REMAINS = pathlib.Path(BINARY).parent / "tests/cluster/count_remains"
SANITIZED = os.environ.get("CREMA_SANITIZE", "") != ""
SLOWNESS = float(os.environ.get("CREMA_SLOWNESS", 1))  # Time limits of the product hold for the release build.
START_DEADLINE = 20.0 * SLOWNESS
DEFAULT_BUCKETS = [
    {"name": "default", "db": 0, "mode": "eventual", "n": 3, "r": 2, "w": 2, "conflict": "lww", "sloppy": True,
     "durability": "interval"},
    {"name": "carts", "db": 1, "mode": "eventual", "n": 3, "r": 2, "w": 2, "conflict": "siblings", "sloppy": True,
     "durability": "fsync"},
]
_libc = ctypes.CDLL(None, use_errno=True)


def wait_until(condition, seconds, what, every=0.02):
    """Asks until `condition` is true and returns its value; an OSError or ValueError in it counts as "not yet"."""
    deadline = time.monotonic() + seconds
    last = None
    while True:
        try:
            last = condition()
            if last:
                return last
        except (OSError, ValueError) as error:
            last = error
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what} (last: {last!r})")
        time.sleep(every)


def child_setup(namespace=None):
    """Runs in a child before exec: it dies with the thread that started it, so start nodes from the main thread only."""
    def setup():
        if namespace is not None:
            namespace.enter()
        _libc.prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
    return setup


class Node:
    """One crema process, started with `crema node --config F --node NAME`."""

    def __init__(self, cluster, entry, namespace=None):
        self.cluster, self.entry, self.namespace = cluster, entry, namespace
        self.name, self.host, self.port = entry["name"], entry["host"], entry["resp_port"]
        self.log = cluster.directory / f"{self.name}.log"
        self.environment = {}  # Beside that of this process, from the next start on.
        self.file, self.options = None, []  # Of a node that joins: a file of its own, and --join.
        self.binary = BINARY
        self.process = None

    def start(self, config=None):
        assert self.process is None, f"{self.name} runs already"
        command = [self.binary, "node", "--config", str(config or self.file or self.cluster.file), "--node", self.name, *self.options]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(command, cwd=self.cluster.directory, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, env={**os.environ, **self.environment},
                                            preexec_fn=child_setup(self.namespace))
        return self

    def client(self, timeout=10.0, db=None):
        return resp.Client(self.port, self.host, timeout, db)

    def ask(self, *command, timeout=10.0, db=None):
        """One command on a connection of its own."""
        with self.client(timeout, db) as client:
            return client.call(*command)

    def ready(self):
        self.check_runs()
        return self.ask("KV.READY", timeout=2.0) == "OK"

    def check_runs(self):
        """A node that has exited never gets ready: say so instead of waiting for it."""
        code = self.process.poll()
        assert code is None, f"{self.name} has exited with {code}:\n{self.log_tail()}"

    def wait_ready(self, seconds=START_DEADLINE):
        wait_until(self.ready, seconds, f"{self.name} serves")
        return self

    def ctl(self, command, *options, timeout=30.0):
        """`crema ctl COMMAND` about this node. -> the ended process."""
        return subprocess.run([BINARY, "ctl", command, *map(str, options), "--address", f"{self.host}:{self.port}"], capture_output=True,
                              text=True, timeout=timeout * SLOWNESS, check=False)

    def begin_ctl(self, command, *options):
        """The same, not waited for."""
        return subprocess.Popen([BINARY, "ctl", command, *map(str, options), "--address", f"{self.host}:{self.port}"],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def status(self):
        return json.loads(self.ask("KV.STATUS", timeout=5.0))

    def members(self):
        """What this node thinks of every member: {"n1": "up", ...}."""
        return {member["name"]: member["state"] for member in self.status()["members"]}

    def sees(self, other, state):
        return self.members()[other] == state

    def signal(self, number):
        self.process.send_signal(number)

    def pause(self):
        self.signal(signal.SIGSTOP)

    def resume(self):
        self.signal(signal.SIGCONT)

    def kill(self):
        """SIGKILL; returns when the process is gone."""
        self.process.kill()
        self.process.wait()
        self.process = None

    def terminate(self, seconds=10.0):
        """SIGTERM; returns the exit code and how long it took."""
        start = time.monotonic()
        self.process.terminate()
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} still runs {seconds:g} s after SIGTERM") from None
        self.process = None
        return code, time.monotonic() - start

    def memory_mb(self, field):
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) / 1024
        raise AssertionError(f"{self.name} has no memory: it has exited")

    def rss_mb(self):
        """Resident memory now."""
        return self.memory_mb("VmRSS")

    def peak_mb(self):
        """The most that was ever resident since reset_peak()."""
        return self.memory_mb("VmHWM")

    def reset_peak(self):
        pathlib.Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def log_text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def log_tail(self, lines=40):
        return "\n".join(self.log_text().splitlines()[-lines:])


class Cluster:
    """A configuration in a directory of its own, and its nodes by name."""

    def __init__(self, size=3, buckets=None, network=None, each=None, **fields):
        """`each`: fields of their own for the nodes, one after the other."""
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="crema-test-"))
        self.file = self.directory / "cluster.json"
        self.config = {"cluster": "demo", "partitions": 64, "nodes": [],
                       "buckets": buckets if buckets is not None else self.default_buckets(size), **fields}
        self.nodes = {}
        numbers = ports.free_ports(3 * size) if network is None else []
        for index in range(size):
            name = f"n{index + 1}"
            entry = {"name": name, "host": "127.0.0.1", "http_host": "127.0.0.1",
                     "data_dir": str(self.directory / "data" / name)}
            if network is None:
                peer, client, http = numbers[3 * index:3 * index + 3]
            else:
                peer, client, http = 7101, 6401, 8101
                entry["host"] = network.address(index)
            entry.update(peer_port=peer, resp_port=client, http_port=http, **(each[index] if each else {}))
            self.config["nodes"].append(entry)
            self.nodes[name] = Node(self, entry, network.namespaces[index] if network else None)
        self.write_config()

    def newcomer(self, name, member, **fields):
        """A node that is no member yet, and asks `member` to be let in when it is started."""
        peer, client, http = ports.free_ports(3)
        entry = {"name": name, "host": "127.0.0.1", "peer_port": peer, "resp_port": client, "http_port": http,
                 "data_dir": str(self.directory / "data" / name), **fields}
        node = self.nodes[name] = Node(self, entry)
        node.file = self.directory / f"{name}.json"
        node.file.write_text(json.dumps({"cluster": self.config["cluster"], "nodes": [entry]}, indent=2))
        node.options = ["--join", f"{member.host}:{member.entry['peer_port']}"]
        return node

    @staticmethod
    def default_buckets(size):
        n = min(3, size)
        majority = n // 2 + 1
        return [{**bucket, "n": n, "r": majority, "w": majority} for bucket in DEFAULT_BUCKETS]

    def write_config(self):
        self.file.write_text(json.dumps(self.config, indent=2))

    def __getitem__(self, name):
        return self.nodes[name]

    def __iter__(self):
        return iter(self.nodes.values())

    def running(self):
        return [node for node in self if node.process is not None]

    def start(self):
        for node in self:
            node.start()
        return self.wait_ready()

    def wait_ready(self, seconds=START_DEADLINE):
        """Every running node serves, and sees every other running node as up."""
        deadline = time.monotonic() + seconds
        for node in self.running():
            node.wait_ready(max(0.1, deadline - time.monotonic()))
        names = [node.name for node in self.running()]
        for node in self.running():
            wait_until(lambda: all(node.members()[name] == "up" for name in names),
                       max(0.1, deadline - time.monotonic()), f"{node.name} sees {', '.join(names)} up")
        return self

    def wait_down(self, name, seconds, by=None):
        """Every other running node sees `name` as not up."""
        deadline = time.monotonic() + seconds
        for node in by or [node for node in self.running() if node.name != name]:
            wait_until(lambda: not node.sees(name, "up"), max(0.01, deadline - time.monotonic()),
                       f"{node.name} sees {name} down")

    def stop(self):
        for node in self.running():
            node.process.kill()  # Works on a stopped process as well.
        for node in self.running():
            node.process.wait()
            node.process = None

    def remove(self):
        if os.environ.get("CREMA_KEEP"):
            print(f"kept: {self.directory}", file=sys.stderr)
        else:
            shutil.rmtree(self.directory, ignore_errors=True)


class ClusterCase(unittest.TestCase):
    """Gives every test its clusters, a seeded `self.random`, and directories that go away after it."""

    maxDiff = 2000

    def run(self, result=None):
        result = result or self.defaultTestResult()
        self.clusters, self.directories = [], []
        self.seed = int(os.environ.get("CREMA_SEED") or random.SystemRandom().randrange(1 << 32))
        self.random = random.Random(self.seed)
        before = len(result.failures) + len(result.errors)
        try:
            return super().run(result)
        finally:
            if len(result.failures) + len(result.errors) > before:
                self.explain()
            for cluster in self.clusters:
                cluster.stop()
                cluster.remove()
            for directory in self.directories:
                shutil.rmtree(directory, ignore_errors=True)

    def explain(self):
        print(f"\n{self.id()} failed; repeat it with CREMA_SEED={self.seed}", file=sys.stderr)
        for cluster in self.clusters:
            for node in cluster:
                state = "not running" if node.process is None else f"exit code {node.process.poll()}"
                print(f"--- {node.name} ({state}), end of its log:\n{node.log_tail()}", file=sys.stderr)

    def cluster(self, size=3, start=True, **options):
        cluster = Cluster(size, **options)
        self.clusters.append(cluster)
        return cluster.start() if start else cluster

    def directory(self):
        path = pathlib.Path(tempfile.mkdtemp(prefix="crema-test-"))
        self.directories.append(path)
        return path

    def say(self, text):
        print(f"{self.id()}: {text}", flush=True)

    def assert_error(self, reply, code, *fragments):
        self.assertIsInstance(reply, resp.Error, f"expected -{code}, got {str(reply)[:200]!r}")
        self.assertEqual(reply.code, code, reply)
        for fragment in fragments:
            self.assertIn(fragment, reply)
