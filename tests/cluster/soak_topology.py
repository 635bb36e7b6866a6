"""Changes of the members while links are cut and processes die: for hours, if you like. No test of the normal run.

    CREMA_BINARY=build/release/crema python3 -B tests/cluster/soak_topology.py --minutes 30 [--seed N] [--keep DIRECTORY]

One cluster of four to six nodes, each in a network namespace of its own, and a load that knows what was promised to it.
Round after round operators change something (join, leave, replace, weights, zones, several at once, buckets; they pause,
cancel, and plan while a change is under way, sometimes at two nodes at once), and meanwhile links are cut, nodes are
killed and stopped. Then all is healed, and within SETTLED the change has to have ended at all members, who left has to
have stopped by itself, no request fails any more, and each acknowledged write is read through each member. What is not
so is printed as ANOMALY, with the time, and the logs of that moment are kept. The end shows what was done, what `crema ctl`
said and what clients were told, with numbers as N. A seed repeats what is done, not when the nodes do what. Needs root,
`ip` and `nft`; exit code 1 if anything was wrong. On a machine that is busy with other things copying gives way (sync.mb_per_s_max
is high for that), and a change may then take longer than SETTLED: look at `vnodes_got` in the kept *.json first.
"""

import argparse
import collections
import contextlib
import heapq
import itertools
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

import resp
import workload
from harness import Cluster, Node, wait_until
from network import Network

HOSTS = 8
SETTLED = 90.0  # After all was healed.
BALLAST = 1_000
BUCKETS = [
    {"name": "plain", "db": 0, "mode": "eventual", "n": 3, "r": 2, "w": 2, "conflict": "lww", "sloppy": False, "durability": "interval"},
    {"name": "many", "db": 1, "mode": "eventual", "n": 3, "r": 2, "w": 2, "conflict": "siblings", "sloppy": False, "durability": "interval"},
    {"name": "loose", "db": 2, "mode": "eventual", "n": 3, "r": 2, "w": 2, "conflict": "lww", "sloppy": True, "durability": "interval"},
]
# Lines about nodes that have left. All others that say "error" or "critical" are shown; to judge them is up to the reader.
EXPLAINED = re.compile(r"no member of (the )?cluster|was removed from the cluster|refused a peer: \S+ was removed|refused a node that wants to join: \S+ was removed")


class Unhurried:
    """A worker that pauses after each step, and can be held between two."""

    pause = 0.1
    idle = False

    def step(self):
        while self.load.held.is_set() and not self.load.stopping.is_set():
            self.idle = True
            time.sleep(0.01)
        self.idle = False
        try:
            super().step()
        except AssertionError:
            self.load.unreachable += 1  # Nobody for ten seconds.
        self.load.stopping.wait(self.pause)


class Writer(Unhurried, workload.Writer):
    pass


class Reader(Unhurried, workload.Reader):
    pass


class Load(workload.Load):
    def __init__(self, nodes, count, seed, writers, readers, **options):
        super().__init__(nodes, count, seed, writers=0, readers=0, pipeline=8, looks=True, **options)
        self.held, self.unreachable, self.seen_failures, self.seen_complaints = threading.Event(), 0, 0, 0
        self.workers = [Writer(self, i, self.ledger.keys[i::writers]) for i in range(writers)]
        self.workers += [Reader(self, writers + i) for i in range(readers)]

    def hold(self):
        for worker in self.workers:
            worker.idle = False
        self.held.set()
        deadline = time.monotonic() + 60
        while not all(worker.idle or not worker.is_alive() for worker in self.workers):
            assert time.monotonic() < deadline, "a client hangs"
            time.sleep(0.01)

    def go_on(self):
        self.held.clear()


class Hosts(contextlib.ExitStack):
    """What Network wants of a test."""

    addCleanup = contextlib.ExitStack.callback

    def skipTest(self, why):
        sys.exit(why)


class Operator(threading.Thread):
    def __init__(self, act):
        super().__init__(daemon=True)
        self.act, self.told = act, None
        self.start()

    def run(self):
        try:
            self.told = self.act()
        except Exception as error:  # Shown by the round.
            self.told = f"FAILED {error!r}"


class Soak:
    def __init__(self, options, network):
        self.seed, self.network = options.seed, network
        self.random = random.Random(options.seed)
        self.keep = pathlib.Path(options.keep)
        self.keep.mkdir(parents=True, exist_ok=True)
        size = self.random.choice([4, 4, 5])
        self.cluster = Cluster(size, buckets=BUCKETS, network=network, sync={"mb_per_s_max": self.random.choice([8, 16])},
                               partitions=self.random.choice([16, 32, 64]), logging={"level": "debug"})
        self.place = {node.name: i for i, node in enumerate(self.cluster)}  # Of each process, its host.
        self.serial = size
        self.left_names = []
        self.down, self.stopped = set(), set()  # By us.
        self.due, self.order = [], itertools.count()
        self.away = []  # Killed when they had left; they come back in a later round.
        self.ambush = []  # Phases in which a fault is to strike.
        self.spare = None
        self.leaving_now, self.joining_now = set(), set()
        self.counts, self.said = collections.Counter(), collections.Counter()
        self.anomalies = 0
        self.read_to = {}  # Of each log file.
        self.round_no = 0
        self.extra, self.extra_stamp = 0, {}  # Buckets that come and go, and what each of their keys is.
        self.slowest = {"settled": 0.0, "stopped": 0.0}

    # -- Telling --

    def say(self, text):
        print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)

    def anomaly(self, text):
        self.anomalies += 1
        self.counts["anomalies"] += 1
        kept = self.keep / f"seed{self.seed}-anomaly{self.anomalies}"
        self.say(f"ANOMALY {self.anomalies} (round {self.round_no}): {text} [logs: {kept}]")
        if self.anomalies <= 15:
            kept.mkdir(exist_ok=True)
            (kept / "what.txt").write_text(text)
            for log in self.cluster.directory.glob("*.log"):
                shutil.copy(log, kept)

    def note(self, words, told):
        self.said[f"{words}: {re.sub(r'[0-9]+', 'N', told.strip().splitlines()[-1] if told.strip() else '')[:300]}"] += 1

    # -- Nodes --

    def up(self):
        return [node for node in self.cluster if node.process is not None and node.name not in self.stopped]

    def show(self, node, timeout=3.0):
        told = node.ask("KV.TOPOLOGY", "SHOW", timeout=timeout)
        if isinstance(told, resp.Error):
            raise ValueError(told)
        return json.loads(told)

    def shows(self):
        """What each process that serves says."""
        told = {}
        for node in self.up():
            try:
                told[node.name] = self.show(node)
            except (OSError, ValueError):
                pass
        return told

    def newest(self):
        return wait_until(lambda: max(self.shows().values(), key=lambda t: t["epoch"], default=None), 30, "somebody answers")

    def free_host(self):
        used = {self.place[node.name] for node in self.cluster} | {node.at_host for node in self.away}
        return self.random.choice([host for host in range(HOSTS) if host not in used])

    def ensure_spare(self, asks):
        """-> a node that waits at `asks`."""
        if self.spare is not None:
            self.retire(self.spare)
        if self.left_names and self.random.random() < 0.4:
            name = self.left_names.pop(self.random.randrange(len(self.left_names)))
            if name in self.cluster.nodes:
                self.retire(self.cluster[name])
            self.counts["names used again"] += 1
        else:
            self.serial += 1
            name = f"n{self.serial}"
        host = self.free_host()
        entry = {"name": name, "host": self.network.address(host), "http_host": "127.0.0.1", "peer_port": 7101, "resp_port": 6401,
                 "http_port": 8101, "data_dir": str(self.cluster.directory / "data" / f"{name}-{self.round_no}")}
        node = Node(self.cluster, entry, self.network.namespaces[host])
        node.log = self.cluster.directory / f"{name}-{self.round_no}.log"
        node.file = self.cluster.directory / f"{name}-{self.round_no}.json"
        node.file.write_text(json.dumps({"cluster": "demo", "nodes": [entry], "logging": {"level": "debug"},
                                         "sync": self.cluster.config["sync"]}))
        node.options = ["--join", f"{asks.host}:7101"]
        node.asks = asks
        self.place[name] = host
        self.cluster.nodes[name] = self.spare = node
        node.start()
        wait_until(lambda: f"{name} at {node.host}:" in asks.log_text()[-20000:], 20, f"{name} waits at {asks.name}")
        return node

    def retire(self, node):
        if node.process is not None:
            node.terminate(30)
        self.forget(node)

    def forget(self, node):
        """Its process has ended."""
        self.cluster.nodes.pop(node.name)
        self.scan(node)
        node.process = None
        if node is self.spare:
            self.spare = None

    # -- Faults --

    def at(self, seconds, act):
        heapq.heappush(self.due, (time.monotonic() + seconds, next(self.order), act))

    def pump(self, until, done=lambda: False):
        while time.monotonic() < until and not done():
            while self.due and self.due[0][0] <= time.monotonic():
                heapq.heappop(self.due)[2]()
            time.sleep(0.02)

    def kill(self, name, back):
        node = self.cluster.nodes.get(name)
        if node is None or node.process is None or len(self.up()) <= 2:
            return
        if node.process.poll() is not None:
            return  # It has stopped by itself.
        self.say(f"    kill {name}, back in {back:.1f} s")
        self.counts["killed"] += 1
        self.stopped.discard(name)
        node.kill()
        self.down.add(name)
        self.at(back, lambda: self.start_again(name))

    def start_again(self, name):
        if name in self.down and name in self.cluster.nodes:
            self.down.discard(name)
            node = self.cluster[name]
            if node.options:
                told = max(self.shows().values(), key=lambda t: t["epoch"], default={"members": []})
                members = [m["name"] for m in told["members"] if m["state"] == "member"]
                alive = [n for n in self.up() if n.name in members and n.name != name]
                if alive and self.cluster.nodes.get(node.asks.name) not in alive:
                    node.asks = self.random.choice(alive)
                    node.options = ["--join", f"{node.asks.host}:7101"]
            self.say(f"    start {name}")
            node.start()

    def stop(self, name, seconds):
        node = self.cluster.nodes.get(name)
        if node is None or node.process is None or node.process.poll() is not None or len(self.up()) <= 2:
            return
        self.say(f"    SIGSTOP {name} for {seconds:.1f} s")
        self.counts["stopped"] += 1
        node.pause()
        self.stopped.add(name)
        self.at(seconds, lambda: self.resume(name))

    def resume(self, name):
        if name in self.stopped:
            self.stopped.discard(name)
            self.cluster[name].resume()

    def cut(self, how, hosts, seconds):
        """One cut at a time is healed by itself; healing heals all of them."""
        self.say(f"    {how} {hosts} for {seconds:.1f} s")
        self.counts[f"cut: {how}"] += 1
        if how == "cut":
            self.network.cut(hosts)
        elif how == "split":
            self.network.split(*hosts)
        elif how == "mute":
            self.network.mute(hosts)
        elif how == "deafen":
            self.network.deafen(hosts)
        elif how == "link":
            self.network.drop(hosts[0], [hosts[1]])
        self.at(seconds, lambda: (self.say("    links healed"), self.network.heal()))

    def victim(self, roles):
        """A node in the part that a fault is about, if there is one."""
        names = [node.name for node in self.up()] or list(self.cluster.nodes)  # All may be dead just now.
        wanted = self.random.choice(["proposer", "proposer", "leaving", "leaving", "joining", "any"])
        if wanted == "proposer":
            return roles["proposer"] if roles["proposer"] in names else self.random.choice(names)
        if wanted in roles and roles[wanted]:
            return self.random.choice(sorted(roles[wanted]))
        return self.random.choice(names)

    def fault(self, roles):
        kind = self.random.choice(["cut", "cut", "split", "split", "mute", "deafen", "link", "kill", "kill", "kill", "stop", "stop", "all"])
        if kind == "all":
            return self.power_failure()
        name = self.victim(roles)
        if name not in self.cluster.nodes:
            return
        host, seconds = self.place[name], self.random.uniform(1, 14)
        if kind == "kill":
            return self.kill(name, self.random.uniform(0, 10))
        if kind == "stop":
            return self.stop(name, self.random.uniform(1, 15))
        used = [self.place[node.name] for node in self.cluster]
        if kind == "split":
            size = self.random.randrange(1, len(used) // 2 + 1)
            side = self.random.sample(used, size)
            return self.cut("split", (side, [h for h in range(HOSTS) if h not in side]), seconds)
        if kind == "link":
            return self.cut("link", (host, self.random.choice([h for h in used if h != host])), seconds)
        return self.cut(kind, host, seconds)

    def lie_in_wait(self, before, roles):
        """For the phase in which a fault is to strike."""
        phase, node = before, self.random.choice(self.up() or list(self.cluster))
        with contextlib.suppress(OSError, ValueError):
            phase = self.show(node, 1.0)["phase"]
        while phase != before and phase in self.ambush:
            self.ambush.remove(phase)
            self.say(f"    {node.name} is {phase}")
            self.counts[f"ambush: {phase}"] += 1
            self.fault(roles)
        if self.ambush:
            self.at(0.05, lambda: self.lie_in_wait(phase, roles))

    def heal(self, roles):
        self.due.clear()
        self.ambush.clear()
        self.network.heal()
        for name in list(self.stopped):
            self.resume(name)
        for name in list(self.down):
            if self.random.random() < 0.6 and all(name != m["name"] for m in self.newest()["members"]) and name in roles["leaving"]:
                self.say(f"    {name} has left, and stays away for now")
                self.counts["left, killed and away"] += 1
                node = self.cluster.nodes.pop(name)
                node.at_host = self.place[name]
                self.down.discard(name)
                self.left_names.append(name)
                self.away.append(node)
                continue
            self.start_again(name)

    def come_back(self, node):
        """Who had left and was killed then: another may have its name by now."""
        if node.process is None:
            self.say(f"    {node.name}, which had left, comes back{', and another has its name' if node.name in self.cluster.nodes else ''}")
            node.start()

    def power_failure(self):
        self.say("    all are killed")
        self.counts["all killed at once"] += 1
        for node in self.up():
            if node.process.poll() is None:
                name = node.name
                node.kill()
                self.down.add(name)
                self.at(self.random.uniform(0, 3), lambda name=name: self.start_again(name))

    # -- Operators --

    def ctl(self, node, *words, timeout=45.0):
        try:
            done = node.ctl(*words, timeout=timeout)
            code, told = done.returncode, done.stdout + done.stderr if done.returncode else done.stdout
        except subprocess.TimeoutExpired:
            code, told = -1, "ctl itself hangs"
        self.counts["orders"] += 1
        if words[0] not in ("plan", "jobs") or code:
            self.note(words[0] if words[0] != "bucket" else "bucket " + words[1], f"{code} {told.strip().splitlines()[-1] if told.strip() else ''}")
        return code, told.strip()

    def commit(self, where, words, seconds):
        """Plans and commits until it is agreed on, or refused for good. -> (outcome, last words)"""
        deadline, told = time.monotonic() + seconds, ""
        while time.monotonic() < deadline:
            node = where()
            if words[0] == "bucket":
                code, told = self.ctl(node, *words)
            else:
                code, told = self.ctl(node, "plan", *words)
                if code == 0:
                    code, told = self.ctl(node, "commit")
            last = told.splitlines()[-1] if told else ""
            if code == 0:
                return "agreed", told
            self.say(f"      {node.name} {' '.join(words)}: {last[:300]}")
            if "would change nothing" in last or "no such node" in last or "is a member already" in last or "taken already" in last:
                return "refused", last
            time.sleep(0.7)
        return "late", told

    def meddle(self, what, where):
        """Somebody else's order, once. -> what became of it"""
        code, told = self.ctl(where(), what)
        self.say(f"      {what}: {told.splitlines()[-1] if told else code}"[:300])
        if code == 0:
            self.counts[what] += 1
        return code == 0

    def pick(self, topology):
        """-> (words, roles, what must be so if it was agreed on and nobody meddled)"""
        members = [m["name"] for m in topology["members"]]
        weights = {m["name"]: m["weight"] for m in topology["members"]}
        zones = {m["name"]: m["zone"] for m in topology["members"]}
        count, some = len(members), self.random.choice
        kinds = ["weight", "zone", "bucket-n", "bucket", "several", "several"]
        kinds += ["join"] * 4 if count < 6 else []
        kinds += ["leave"] * 4 if count > 4 else []
        kinds += ["replace"] * 3
        kind = some(kinds)
        who = some(members)
        roles = {"proposer": members[0], "leaving": set(), "joining": set()}

        def names(t):
            return {m["name"] for m in t["members"]}

        def weight_words():
            one = some(members)
            return ["set-weight", one, str(some([w for w in (1, 2, 3) if w != weights[one]]))]

        def spare():
            node = self.ensure_spare(self.cluster[some([m for m in members if m != who])])
            roles["joining"].add(node.name)
            return node.name

        if kind == "weight":
            words = weight_words()
            return words, roles, lambda t: any(m["name"] == words[1] and m["weight"] == int(words[2]) for m in t["members"])
        if kind == "zone":
            zone = some([z for z in ("east", "west", "north") if z != zones[who]])
            return ["set-zone", who, zone], roles, lambda t: any(m["name"] == who and m["zone"] == zone for m in t["members"])
        if kind == "join":
            name = spare()
            return ["join", name], roles, lambda t: name in names(t)
        if kind == "leave":
            roles["leaving"].add(who)
            return ["leave", who], roles, lambda t: who not in names(t)
        if kind == "replace":
            roles["leaving"].add(who)
            name = spare()
            return ["replace", who, name], roles, lambda t: who not in names(t) and name in names(t)
        if kind == "bucket-n":
            bucket = next(b for b in topology["buckets"] if b["name"] == "loose")
            n = 4 if bucket["n"] == 3 else 3
            if self.random.random() < 0.5:
                return ["bucket", "set", "loose", f"n={n}"], roles, lambda t: any(b["name"] == "loose" and b["n"] == n for b in t["buckets"])
            return ["set-bucket", "loose", f"n={n}", "+", *weight_words()], roles, lambda t: any(b["name"] == "loose" and b["n"] == n for b in t["buckets"])
        if kind == "bucket":
            there = [b["name"] for b in topology["buckets"] if b["name"].startswith("extra")]
            if there:
                name = some(there)
                return ["bucket", "drop", name, "--yes"], roles, lambda t: all(b["name"] != name for b in t["buckets"])
            name = f"extra{self.random.randrange(3)}"
            return ["bucket", "create", name, f"conflict={some(['lww', 'siblings'])}"], roles, lambda t: any(b["name"] == name for b in t["buckets"])
        if count < 6:
            name = spare()
            if count > 4 and self.random.random() < 0.5:
                roles["leaving"].add(who)
                return ["join", name, "+", "leave", who, "+", "rebalance"], roles, lambda t: name in names(t) and who not in names(t)
            return ["join", name, "+", *weight_words()], roles, lambda t: name in names(t)
        roles["leaving"].add(who)
        one = some([m for m in members if m != who])
        weight = some([w for w in (1, 2, 3) if w != weights[one]])
        return ["leave", who, "+", "set-weight", one, str(weight)], roles, lambda t: who not in names(t)

    # -- A round --

    def round(self):
        self.round_no += 1
        topology = self.newest()
        words, roles, expected = self.pick(topology)
        waits_at = self.spare.asks if roles["joining"] else None
        members = {m["name"] for m in topology["members"]}

        def where(): # A node that an operator would ask: one that runs.
            if waits_at is not None:
                return waits_at
            return self.chosen.choice([self.cluster[name] for name in sorted(members) if name in self.cluster.nodes])
        self.chosen = random.Random(self.random.random())  # Threads draw from it.
        faults = self.random.choice([0, 1, 1, 2, 2, 3])
        self.say(f"round {self.round_no}: epoch {topology['epoch']}, {len(members)} members, {' '.join(words)}; {faults} faults, lowest is {roles['proposer']}, "
                 f"leaving {sorted(roles['leaving'])}, joining {sorted(roles['joining'])}")
        self.counts["rounds"] += 1
        self.counts[f"change: {words[0] if words[0] != 'bucket' else 'bucket ' + words[1]}{' and more' if '+' in words else ''}"] += 1
        for load in self.loads:
            load.nodes = [self.cluster[name] for name in sorted(members | roles["joining"])]
        begun = time.monotonic()
        untroubled = [len(load.failures) for load in self.loads] if not faults else None
        meddled = []
        main = []
        span = 0.0
        for _ in range(faults):
            when = self.random.choice([None, self.random.uniform(0, 2), self.random.uniform(0, 8)])
            if when is None:  # In the moment in which an epoch comes, two as a rule.
                self.ambush.append(self.random.choice(["moving", "settling", "settling", "stable", "stable"]))
            else:
                self.at(when, lambda: self.fault(roles))
            span = max(span, when or 8)
        if self.ambush:
            self.at(0.5, lambda: self.lie_in_wait(topology["phase"], roles))
        self.at(0.5, lambda: main.append(Operator(lambda: self.commit(where, words, 25))))
        meddling = self.random.choice([None, None, None, "pause", "cancel", "plan", "two"])
        others = []

        def second():
            one = self.chosen.choice(sorted(members - roles["leaving"]))
            weight = next((m["weight"] for m in topology["members"] if m["name"] == one), 1)
            other = ["set-weight", one, str(self.chosen.choice([w for w in (1, 2, 3) if w != weight]))]
            told = self.commit(lambda: self.cluster[one], other, 20)
            if told[0] == "agreed":
                self.counts["second plans agreed"] += 1
            return told

        def asked():
            return self.cluster[self.chosen.choice(sorted(members - roles["leaving"]))]

        if meddling in ("pause", "cancel"):
            when = self.random.uniform(1.0, 7)
            meddled.append(meddling)
            self.at(when, lambda: others.append(Operator(lambda: self.meddle(meddling, asked))))
            if meddling == "pause":
                self.at(when + self.random.uniform(1, 6), lambda: others.append(Operator(lambda: self.meddle("resume", asked))))
            span = max(span, when + 6)
        elif meddling:
            meddled.append(meddling)
            self.counts["two operators at once" if meddling == "two" else "plan over plan"] += 1
            self.at(0.5 if meddling == "two" else self.random.uniform(2, 7), lambda: others.append(Operator(second)))
        if meddling:
            self.say(f"    and somebody else: {meddling}")
        returning = [node for node in self.away if self.random.random() < 0.6]
        for node in returning:
            self.at(self.random.uniform(0, 5), lambda node=node: self.come_back(node))
        watches = []

        def watch():
            node = self.random.choice(self.up() or list(self.cluster))
            watches.append((node, node.begin_ctl("jobs", "--watch")))
        self.at(self.random.uniform(0.7, 3), watch)
        self.pump(begun + 1.0)
        end = begun + self.random.uniform(max(span, 4), 20) if faults or meddling else begun + 1.5
        self.pump(end)
        if self.ambush:
            self.pump(begun + 20, lambda: not self.ambush)
            self.pump(time.monotonic() + self.random.uniform(0, 8))
        self.heal(roles)
        healed = time.monotonic()
        self.say("    all is healed")
        self.pump(healed + 60, lambda: main and all(not o.is_alive() for o in main + others))
        outcome, told = main[0].told if isinstance(main[0].told, tuple) else ("failed", str(main[0].told))
        for operator in main + others:
            if operator.is_alive() or isinstance(operator.told, str):
                self.anomaly(f"an operator: {operator.told}")
        self.say(f"    {outcome}: {told.splitlines()[-1][:200] if told else ''}")
        if outcome == "failed" or outcome == "late" and not meddled and not self.done(expected):
            again, told = self.commit(where, words, 30)
            if again != "agreed" and not self.done(expected):
                self.anomaly(f"{' '.join(words)} is not agreed on although all is healed since {time.monotonic() - healed:.0f} s: {again}, {told}")
            outcome = again
        for node in returning:
            self.come_back(node)
        now = self.settle(healed, untroubled, members - roles["leaving"])
        if now is None:
            return False
        for node, watching in watches:
            try:
                told, wrong = watching.communicate(timeout=30)
                self.note("jobs --watch", f"{watching.returncode} {(wrong or told).strip().splitlines()[-1]}")
            except subprocess.TimeoutExpired:
                watching.kill()
                self.anomaly(f"jobs --watch at {node.name} does not end: {watching.communicate()[0][-300:]}")
        for node in returning:
            try:
                code = node.process.wait(60)
                self.say(f"    {node.name}, which had left and came back, has stopped ({code})")
                if code not in (0, 2):
                    self.anomaly(f"{node.name}, which had left and came back, exited with {code}:\n{node.log_tail(5)}")
            except subprocess.TimeoutExpired:
                self.anomaly(f"{node.name}, which had left and came back, does not stop:\n{node.log_tail(8)}")
                node.kill()
            node.process = None
            self.scan(node)
            self.away.remove(node)
            self.counts["left, came back rounds later and stopped"] += 1
        if outcome == "agreed" and not meddled and not expected(now):
            self.anomaly(f"{' '.join(words)} was agreed on ({told}), but is not so: {now['members']} {now['buckets']}")
        self.calm(now)
        return True

    def done(self, expected):
        try:
            return expected(self.newest())
        except AssertionError:
            return False

    def settle(self, healed, marks, staying):
        """Until the change has ended everywhere. `marks`: what had failed when all was well, if it is.
        -> what all say; None if it does not end"""
        agreed_at, last = None, "?"
        deadline = healed + SETTLED
        all_up_at = None
        late = False
        resumed = False
        while True:
            told = self.shows()
            newest = max(told.values(), key=lambda t: t["epoch"], default=None)
            last = f"{ {name: (t['epoch'], t['phase'], (t['job'] or {}).get('waits_for')) for name, t in told.items()} }"
            if newest and newest["job"] and newest["job"]["paused"] and not resumed:
                resumed = self.meddle("resume", lambda: self.cluster[newest["node"]])
            names = [m["name"] for m in newest["members"]] if newest else []
            same = newest and newest["job"] is None and newest["phase"] == "stable" and all(
                name in told and told[name]["epoch"] == newest["epoch"] for name in names)
            if same and agreed_at is None:
                agreed_at = time.monotonic()
                self.slowest["settled"] = max(self.slowest["settled"], agreed_at - healed)
            ended = {node.name: node.process.poll() for node in self.cluster if node.process is not None and node.process.poll() is not None}
            serving = {name: t["epoch"] for name, t in told.items() if name not in names}
            if same and not serving and self.all_up(names):
                break
            if newest and self.all_up(names):
                all_up_at = all_up_at or time.monotonic()
                if marks is None and time.monotonic() > all_up_at + 3:
                    marks = [len(load.failures) for load in self.loads]
            died = [name for name in ended if name in names]
            if newest and died and (same or time.monotonic() > deadline):
                for name in died:
                    node = self.cluster[name]
                    self.anomaly(f"{name} is a member (epoch {newest['epoch']}), and has exited with {ended[name]}:\n{node.log_tail(5)}")
                    node.process = None
                    node.start()
            if time.monotonic() > deadline:
                what = f"not settled {time.monotonic() - healed:.0f} s after all was healed: {last}, serving though no members: {serving}, exited: {ended}"
                self.anomaly(what)
                for node in self.up():
                    with contextlib.suppress(OSError, ValueError):
                        (self.keep / f"seed{self.seed}-anomaly{self.anomalies}" / f"{node.name}.json").write_text(
                            json.dumps([self.show(node), node.status()], indent=1))
                if late:
                    return None
                late = True
                deadline += SETTLED
            time.sleep(0.3)
        took = time.monotonic()
        for load, mark in zip(self.loads, marks or []):
            failed = [f for f in load.failures[mark:] if f.node in names and f.node in staying]
            if failed:
                self.anomaly(f"{len(failed)} requests to db {load.db} failed while a change went on although all was well: {failed[:4]}")
        # Who is no member has stopped by itself, or waits to become one.
        for node in list(self.cluster):
            if node.name in names:
                continue
            code = node.process.poll() if node.process else 0
            waits = node is self.spare and "waiting to become a member" in node.log_text()
            if code is None:
                if waits and not re.search(r"info +epoch \d+:", node.log_text()):
                    continue
                try:
                    code = node.process.wait(20)
                except subprocess.TimeoutExpired:
                    self.anomaly(f"{node.name} is no member, does not serve, and does not stop:\n{node.log_tail(5)}")
                    self.retire(node)
                    continue
            if code not in (0, 2):
                self.anomaly(f"{node.name}, no member any more, exited with {code}:\n{node.log_tail(8)}")
            self.slowest["stopped"] = max(self.slowest["stopped"], time.monotonic() - agreed_at)
            self.counts["left and stopped"] += 1
            if node.name not in self.left_names:
                self.left_names.append(node.name)
            if self.random.random() < 0.3:
                node.process = None
                node.start()
                self.counts["left and started again"] += 1
                try:
                    code = node.process.wait(20)
                    if code != 2:
                        self.anomaly(f"{node.name} has left, was started again, and exited with {code}:\n{node.log_tail(5)}")
                except subprocess.TimeoutExpired:
                    self.anomaly(f"{node.name} has left, was started again, and runs:\n{node.log_tail(8)}")
                    node.kill()
            self.forget(node)
        self.spare = self.spare if self.spare and self.spare.name not in names else None
        self.say(f"    settled at epoch {newest['epoch']}, {took - healed:.1f} s after all was healed: {' '.join(names)}")
        return newest

    def all_up(self, names):
        try:
            for name in names:
                state = self.cluster[name].members()
                if any(state.get(other) != "up" for other in names):
                    return False
            return True
        except (OSError, ValueError, KeyError, AttributeError, TypeError):
            return False

    def calm(self, now):
        """Nothing fails, and everything is there."""
        names = [m["name"] for m in now["members"]]
        for load in self.loads:
            load.nodes = [self.cluster[name] for name in names]
        time.sleep(1.5)  # What was begun before.
        marks = [len(load.failures) for load in self.loads]
        writes = [load.ledger.writes for load in self.loads]
        time.sleep(2.5)
        for load, mark, before in zip(self.loads, marks, writes):
            failed = [f for f in load.failures[mark:] if f.node in names]
            if failed:
                self.anomaly(f"{len(failed)} requests to db {load.db} failed although all is well: {failed[:3]}")
            if load.ledger.writes == before:
                self.anomaly(f"no write to db {load.db} in 2.5 s although all is well")
            load.hold()
        code, told = self.ctl(self.cluster[names[0]], "sync-point", "--timeout", "30")
        if code:
            self.anomaly(f"no sync point: {told}")
        for load in self.loads:
            if load.errors:
                self.anomaly(f"db {load.db}: {load.errors}")
                load.errors = []
            if len(load.complaints) > load.seen_complaints:
                self.anomaly(f"READS WERE WRONG, db {load.db}: {load.complaints[load.seen_complaints:][:5]} ({len(load.complaints) - load.seen_complaints})")
                load.seen_complaints = len(load.complaints)
            for name in names:
                try:
                    complaints, found = load.verify(self.cluster[name])
                except OSError as error:
                    complaints, found = [f"{error!r}"], {}
                self.counts["reads verified"] += len(found)
                if complaints:
                    self.anomaly(f"ACKNOWLEDGED AND NOT READ through {name}, db {load.db}: {complaints[:5]} ({len(complaints)})")
        self.verify_ballast(names)
        self.verify_extra(now, names)
        for load in self.loads:
            load.go_on()
        for node in self.cluster:
            self.scan(node)

    def verify_ballast(self, names):
        name = self.random.choice(names)
        with self.cluster[name].client(timeout=30) as client:
            for start in range(0, BALLAST, 200):
                replies = client.pipeline([("STRLEN", f"large-{key}") for key in range(start, start + 200)])
                if set(replies) != {4_000}:
                    return self.anomaly(f"BALLAST not read through {name}: {collections.Counter(map(str, replies))}")

    def verify_extra(self, now, names):
        """A bucket is usable at all members; one that was created again is empty."""
        for bucket in now["buckets"]:
            if not bucket["name"].startswith("extra"):
                continue
            for name in names:
                try:
                    with self.cluster[name].client(timeout=10, db=bucket["name"]) as client:
                        values = client.pipeline([("GET", f"{bucket['name']}-{i}") for i in range(50)])
                        stamp = self.extra_stamp.get(bucket["name"])
                        wrong = [v for v in values if isinstance(v, resp.Error) or (v is not None and stamp is None) or (stamp is not None and v != stamp)]
                        if wrong:
                            self.anomaly(f"bucket {bucket['name']} (db {bucket['db']}) through {name}: {wrong[:3]} ({len(wrong)}), expected {stamp!r}")
                except OSError as error:
                    self.anomaly(f"bucket {bucket['name']} cannot be used through {name}: {error!r}")
            if bucket["name"] not in self.extra_stamp:
                self.extra += 1
                stamp = f"stamp {self.extra}"
                with self.cluster[names[0]].client(timeout=10, db=bucket["name"]) as client:
                    replies = client.pipeline([("SET", f"{bucket['name']}-{i}", stamp) for i in range(50)])
                if set(replies) == {"OK"}:
                    self.extra_stamp[bucket["name"]] = stamp.encode()
                else:
                    self.anomaly(f"bucket {bucket['name']}: {collections.Counter(map(str, replies))}")
        there = {b["name"] for b in now["buckets"]}
        self.extra_stamp = {name: stamp for name, stamp in self.extra_stamp.items() if name in there}

    def scan(self, node):
        """New lines in its log that say that something is wrong."""
        text = node.log_text()
        at = self.read_to.get(node.log, 0)
        self.read_to[node.log] = len(text)
        for line in text[at:].splitlines():
            if re.search(r"\b(critical|error)\b|Assertion|terminate called|Sanitizer", line[:200]) and not EXPLAINED.search(line):
                self.say(f"    LOG {node.name}: {line[:300]}")
                self.counts["log lines shown"] += 1

    def run(self, seconds):
        end = time.monotonic() + seconds
        self.cluster.start()
        first = self.cluster["n1"]
        with first.client(timeout=60) as client:
            for start in range(0, BALLAST, 100):
                client.pipeline([("SET", f"large-{key}", os.urandom(2_000).hex()) for key in range(start, start + 100)])
        self.loads = [Load(self.cluster, 400, self.seed, 3, 2, db=0, prefix="plain"), Load(self.cluster, 200, self.seed + 1, 2, 1, db=1, prefix="many"),
                      Load(self.cluster, 200, self.seed + 2, 1, 0, db=2, prefix="loose")]
        for load in self.loads:
            load.start()
        self.say(f"seed {self.seed}: {len(self.cluster.nodes)} nodes, {self.cluster.config['partitions']} partitions, {self.cluster.directory}")
        try:
            while time.monotonic() < end:
                if not self.round():
                    self.say("    given up: this cluster does not come to rest")
                    break
        finally:
            self.say(f"seed {self.seed} ends")
            for load in self.loads:
                load.stopping.set()
            self.counts["writes"] = sum(load.ledger.writes for load in self.loads)
            self.counts["reads under load"] = sum(load.ledger.reads for load in self.loads)
            self.counts["requests that failed during faults"] = sum(len(load.failures) for load in self.loads)
            for what, count in sorted(self.counts.items()):
                print(f"  {count:8} {what}")
            print(f"  slowest, s: {self.slowest}")
            for what, count in self.said.most_common():
                print(f"  said {count:4} {what}")
            kinds, examples = collections.Counter(), {}
            for load in self.loads:
                for failure in load.failures:
                    kind = re.sub(r"[0-9]+", "N", failure.text)[:110]
                    kinds[kind] += 1
                    examples.setdefault(kind, f"db {load.db} through {failure.node}: {failure.text[:200]}")
            for kind, count in kinds.most_common(30):
                print(f"  failed {count:5} like {examples[kind]}")
            sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--keep", default="/tmp/crema-soak", help="where logs go of what was wrong")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("told to stop"))
    with Hosts() as hosts:
        soak = Soak(options, Network(hosts, HOSTS))
        try:
            soak.run(60 * options.minutes)
        finally:
            soak.cluster.stop()
            for node in soak.away:
                if node.process is not None:
                    node.kill()
            if soak.anomalies:
                shutil.copytree(soak.cluster.directory, soak.keep / f"seed{soak.seed}-end", ignore=shutil.ignore_patterns("data"), dirs_exist_ok=True)
            soak.cluster.remove()
    sys.exit(1 if soak.anomalies else 0)


if __name__ == "__main__":
    main()
