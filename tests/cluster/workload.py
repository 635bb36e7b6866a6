"""Writers and readers that know what the store has promised them.

Every key belongs to one writer thread, which gives it values "key:1", "key:2", ... through all nodes in turn. For each
key the ledger holds the newest acknowledged version, the versions whose outcome is unknown (the connection broke, or
the error says so), and by that which values a read may return. Readers check every answer while the load runs.
"""

import collections
import random
import threading
import time

import resp

Failure = collections.namedtuple("Failure", "time node text")


def version_of(value):
    return int(value.rsplit(b":", 1)[1])


class Stopped(Exception):
    """The load is over; the worker was waiting for a node."""


class Ledger:
    def __init__(self, keys):
        self.keys = keys
        self.acked = {}                           # key -> newest acknowledged version
        self.tried = collections.Counter()        # key -> newest version ever sent
        self.unknown = collections.defaultdict(set)
        self.refused = collections.defaultdict(set)  # Answered by an error that promises that nothing was written.
        self.writes = self.reads = 0

    def complaint(self, key, value, at_least):
        """What is wrong with a read of `value` that began when `at_least` was acknowledged; None if nothing is."""
        if value is None:
            return f"{key}: nothing, but version {at_least} was acknowledged" if at_least else None
        if not value.startswith(key.encode() + b":"):
            return f"{key}: foreign value {value[:80]!r}"
        version = version_of(value)
        if version in self.refused[key]:
            return f"{key}: version {version}, whose write was refused"
        if version > self.tried[key]:
            return f"{key}: version {version}, which nobody has written"
        if version < (at_least or 0) and version not in self.unknown[key]:
            return f"{key}: version {version}, but version {at_least} was acknowledged"
        return None


class Worker(threading.Thread):
    """Holds a connection to every node and goes on with the others while one is away."""

    def __init__(self, load, number):
        super().__init__(daemon=True)
        self.load, self.random = load, random.Random(load.seed * 1000 + number)
        self.clients, self.retry_at = {}, {}
        self.turn = number

    def client(self):
        """The next node that can be reached, and a connection to it."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            if self.load.stopping.is_set():
                raise Stopped
            self.turn += 1
            nodes = self.load.nodes  # A test may change the list meanwhile.
            node = nodes[self.turn % len(nodes)]
            if node.name in self.clients and self.load.looks and self.clients[node.name].at_end():
                self.clients.pop(node.name).close()  # Nothing was asked on it: no failure.
                self.load.left += 1
                self.retry_at[node.name] = time.monotonic() + 0.2
            if node.name in self.clients:
                return node, self.clients[node.name]
            if time.monotonic() >= self.retry_at.get(node.name, 0):
                try:
                    fresh = node.client(timeout=5.0, db=self.load.db)
                    if self.load.looks and fresh.call("PING") != "PONG":
                        fresh.close()
                        raise ConnectionError("drained")
                    self.clients[node.name] = fresh
                    return node, self.clients[node.name]
                except OSError:
                    self.retry_at[node.name] = time.monotonic() + 0.2
            if not self.clients:
                time.sleep(0.02)  # Nobody can be reached: do not spin.
        raise AssertionError("no node can be reached for 10 s")

    def lost(self, node, error):
        self.clients.pop(node.name).close()
        self.retry_at[node.name] = time.monotonic() + 0.2
        self.load.failed(node, f"connection: {error!r}")

    def run(self):
        try:
            while not self.load.stopping.is_set():
                self.step()
        except Stopped:
            pass
        except Exception as error:  # Shown by Load.stop(): a thread must not end unnoticed.
            self.load.errors.append(f"{type(self).__name__}: {error!r}")
        finally:
            for client in self.clients.values():
                client.close()


class Writer(Worker):
    def __init__(self, load, number, keys):
        super().__init__(load, number)
        self.keys, self.at = keys, 0

    def step(self):
        ledger = self.load.ledger
        node, client = self.client()
        batch = [self.keys[(self.at + i) % len(self.keys)] for i in range(min(self.load.pipeline, len(self.keys)))]
        versions = []
        for key in batch:
            ledger.tried[key] += 1
            versions.append(ledger.tried[key])
        try:
            replies = client.pipeline([("SET", key, f"{key}:{version}") for key, version in zip(batch, versions)])
        except OSError as error:
            for key, version in zip(batch, versions):
                ledger.unknown[key].add(version)
            self.lost(node, error)
            return  # The same keys again, through another node.
        for key, version, reply in zip(batch, versions, replies):
            if not isinstance(reply, resp.Error):
                ledger.acked[key] = version
                ledger.writes += 1
                continue
            nothing_written = reply.code in ("NOQUORUM", "BUSY") and "outcome unknown" not in reply
            (ledger.refused if nothing_written else ledger.unknown)[key].add(version)
            self.load.failed(node, reply)
        self.at += len(batch)


class Reader(Worker):
    def step(self):
        ledger = self.load.ledger
        node, client = self.client()
        keys = self.random.sample(ledger.keys, 8)
        before = [ledger.acked.get(key) for key in keys]
        try:
            values = client.pipeline([("GET", key) for key in keys])
        except OSError as error:
            self.lost(node, error)
            return
        for key, at_least, value in zip(keys, before, values):
            if isinstance(value, resp.Error):
                self.load.failed(node, value)
            else:
                ledger.reads += 1
                complaint = ledger.complaint(key, value, at_least)
                if complaint:
                    self.load.complaints.append(f"through {node.name}: {complaint}")


class Load:
    """Six writers and two readers over `count` keys, from start() to stop(). With `looks` they see before they ask
    whether a connection has been closed, and before its first use whether it is served."""

    def __init__(self, nodes, count, seed, db=0, writers=6, readers=2, pipeline=16, prefix="key", looks=False):
        self.looks, self.left = looks, 0
        self.nodes, self.seed, self.db, self.pipeline = list(nodes), seed, db, pipeline
        self.ledger = Ledger([f"{prefix}-{i}" for i in range(count)])
        self.stopping = threading.Event()
        self.failures, self.complaints, self.errors = [], [], []
        self.workers = [Writer(self, i, self.ledger.keys[i::writers]) for i in range(writers)]
        self.workers += [Reader(self, writers + i) for i in range(readers)]

    def failed(self, node, text):
        self.failures.append(Failure(time.monotonic(), node.name, str(text)))

    def start(self):
        for worker in self.workers:
            worker.start()

    def wait_writes(self, count, seconds):
        """Until so many writes were acknowledged since the start."""
        deadline = time.monotonic() + seconds
        while self.ledger.writes < count:
            assert time.monotonic() < deadline, f"only {self.ledger.writes} of {count} writes within {seconds:g} s"
            assert not self.errors, self.errors
            time.sleep(0.002)

    def all_written(self):
        return len(self.ledger.acked) == len(self.ledger.keys)

    def stop(self):
        self.stopping.set()
        for worker in self.workers:
            worker.join(30)
            assert not worker.is_alive(), "a client hangs"
        assert not self.errors, self.errors
        assert not self.complaints, self.complaints[:10]

    def verify(self, node):
        """Reads every key through `node`. Returns the complaints, and what was read."""
        ledger, complaints, found = self.ledger, [], {}
        with node.client(timeout=30.0, db=self.db) as client:
            for start in range(0, len(ledger.keys), 200):
                keys = ledger.keys[start:start + 200]
                for key, value in zip(keys, client.pipeline([("GET", key) for key in keys])):
                    if isinstance(value, resp.Error):
                        complaints.append(f"{key}: {value}")
                        continue
                    found[key] = value
                    complaint = ledger.complaint(key, value, ledger.acked.get(key))
                    if complaint:
                        complaints.append(f"through {node.name}: {complaint}")
        return complaints, found

    def verify_siblings(self, node):
        """The same for a siblings bucket: the newest acknowledged value is among the values of its key, or a write of
        unknown outcome that came after it and had seen it is."""
        ledger, complaints = self.ledger, []
        with node.client(timeout=30.0, db=self.db) as client:
            for start in range(0, len(ledger.keys), 200):
                keys = ledger.keys[start:start + 200]
                for key, reply in zip(keys, client.pipeline([("KV.GET", key) for key in keys])):
                    newest = ledger.acked.get(key)
                    if isinstance(reply, resp.Error):
                        complaints.append(f"{key}: {reply}")
                        continue
                    versions = {version_of(value) for value in reply[1]}
                    later = {version for version in ledger.unknown[key] if version > (newest or 0)}
                    if newest and newest not in versions and not versions & later:
                        complaints.append(f"through {node.name}: {key} has versions {versions}, acknowledged: {newest}")
                    if versions & ledger.refused[key] or any(v > ledger.tried[key] for v in versions):
                        complaints.append(f"through {node.name}: {key} has versions {versions} that were never written")
        return complaints
