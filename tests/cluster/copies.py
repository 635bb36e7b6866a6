"""What became of writes, and whether that is what every owner of a key itself holds.

    writes = Writes()
    writes.put(cluster["n1"], "left", keys)   # A value of its own to each key, in a last-write-wins and in a siblings bucket.
    ...
    level(cluster, writes, since=healed)      # Within ten seconds all owners hold the same, and what was acknowledged.
"""

import collections
import time

import resp
from harness import SLOWNESS, wait_until

LEVEL = 10.0 * SLOWNESS
LWW, SIBLINGS = BUCKETS = 0, 1  # The harness' buckets `default` and `carts`, by db.
OWNERS = 3


class Writes:
    """One writer, one write of a key at a time: of acknowledged ones the last wins, except that one of unknown outcome may
    happen at any time. No clock is wrong: all hosts of a test are one machine."""

    def __init__(self):
        self.keys = {}                              # As an ordered set.
        self.acked = collections.defaultdict(list)  # (db, key) -> values, in order
        self.unknown = collections.defaultdict(set)
        self.refused = collections.defaultdict(set)  # Answered by an error that promises that nothing was written.

    def put(self, node, name, keys, *options):
        """Adds "name-key" to each key: a sibling, or in its place. -> the replies that are errors."""
        return [error for db in BUCKETS for error in self.send(node, db, "KV.PUT", name, keys, *options)]

    def replace(self, node, name, keys):
        """The same with SET, of which siblings are gone. To be used while nothing is cut: it replaces what it sees."""
        errors = [error for db in BUCKETS for error in self.send(node, db, "SET", name, keys)]
        for db in BUCKETS:
            for key in keys:
                del self.acked[db, key][:-1]
        return errors

    def send(self, node, db, command, name, keys, *options):
        self.keys.update(dict.fromkeys(keys))
        values = [f"{name}-{key}".encode() for key in keys]
        with node.client(timeout=60, db=db) as client:
            replies = client.pipeline([(command, key, value, *options) for key, value in zip(keys, values)])
        for key, value, reply in zip(keys, values, replies):
            if not isinstance(reply, resp.Error):
                self.acked[db, key].append(value)
                continue
            assert reply.code in ("TIMEOUT", "NOQUORUM", "BUSY"), reply
            nothing_written = reply.code != "TIMEOUT" and "outcome unknown" not in reply
            (self.refused if nothing_written else self.unknown)[db, key].add(value)
        return [reply for reply in replies if isinstance(reply, resp.Error)]

    def complaint(self, db, key, values):
        """What is wrong with these as all values of the key at rest; None if nothing is."""
        wanted, unknown = self.acked[db, key], self.unknown[db, key]
        if db == LWW:
            wanted = [value for value in values if value in unknown] or wanted[-1:]
        missing = [value for value in wanted if value not in values]
        refused = [value for value in values if value in self.refused[db, key]]
        foreign = [value for value in values if value not in unknown and value not in wanted and value not in refused]
        if not missing and not refused and not foreign and len(set(values)) == len(values):
            return None
        return f"db {db} {key}: has {values}, of which {refused} were refused and {foreign} must not be there; missing {missing}"


def own_copies(node, db, keys):
    """key -> what this node itself holds, for the keys that it owns and answers for: dots, times and digest, as KV.EXPLAIN
    tells of its answer to a read at R one (a node asks itself first), and the values."""
    with node.client(timeout=60, db=db) as client:
        replies = client.pipeline([("KV.EXPLAIN", "KV.GET", key, "R", "one") for key in keys])
    copies = {}
    for key, (reply, told) in zip(keys, replies):
        for flat in told[told.index(b"exchanges") + 1]:
            row = list(zip(flat[::2], flat[1::2]))
            if {(b"node", node.name.encode()), (b"role", b"owner"), (b"answer", b"object")} <= set(row):
                copies[key] = ([field for field in row if field[0] in (b"dot", b"time", b"holds", b"digest")], sorted(reply[1]))
    return copies


def differences(cluster, writes):
    """What is wrong with what the owners hold, key by key. Looking changes a little: every 16th read asks all owners, and
    repairs."""
    found = []
    for db in BUCKETS:
        copies = {node.name: own_copies(node, db, writes.keys) for node in cluster}
        for key in writes.keys:
            owners = {name: held[key] for name, held in copies.items() if key in held}
            if len(owners) != OWNERS or any(copy != next(iter(owners.values())) for copy in owners.values()):
                found.append(f"db {db} {key}: {owners}")
                continue
            complaint = writes.complaint(db, key, next(iter(owners.values()))[1])
            if complaint:
                found.append(complaint)
    return found


def says_level(node, since):
    """All are up, the node has heard from all since then, nobody lacks anything of anybody, and nothing is kept for others."""
    status = node.status()
    heard = 1000 * (time.monotonic() - since)
    return (all(member["state"] == "up" for member in status["members"]) and
            not any(status["counters"][name] for name in ("dots_behind", "hint_vnodes", "vnodes_incomplete")) and
            all(peer["heard_ms_ago"] is not None and peer["heard_ms_ago"] < heard and peer["we_lack"] == peer["it_lacks"] == 0
                for peer in status["sync"]))


def level(cluster, writes, since, seconds=LEVEL):
    """Waits until the nodes say that all is level, without a read, and then until it is. -> how long after `since` that was."""
    def left():
        return max(0.1, since + seconds - time.monotonic())

    def same():
        found = differences(cluster, writes)
        if found:
            raise ValueError(f"{len(found)} keys are wrong, like {str(found[:3])[:2000]}")
        return True

    for node in cluster:
        wait_until(lambda: says_level(node, since), left(), f"{node.name} says that all is level")
    wait_until(same, left(), "the owners of every key hold what was acknowledged", every=1.0)
    return time.monotonic() - since
