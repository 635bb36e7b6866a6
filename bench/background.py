"""What repair costs: idle nodes, one differing key among many, a node that was down under load (`scripts/bench --background`), on
three crema nodes on the loopback."""

import pathlib
import statistics
import sys
import threading
import time

import harness
from measure import cpu_seconds, redis_benchmark, stolen_seconds, verdict

IDLE_CORE_MAX, IDLE_KB_MAX = 0.5, 10.0  # Per node: percent of a core, KB/s.
KEY_SECONDS_MAX = 3.0
P99_FACTOR_MAX = 2.0


def say(text):
    print(f"  {text}", flush=True)


def progress(text):
    print(f"... {text}", file=sys.stderr, flush=True)


def counter(node, name):
    return node.status()["counters"][name]


def loopback_bytes():
    for line in pathlib.Path("/proc/net/dev").read_text().splitlines():
        if line.strip().startswith("lo:"):
            return int(line.split(":", 1)[1].split()[0])
    return 0


def level(cluster):
    return all(counter(node, name) == 0 for node in cluster for name in ("dots_behind", "hint_vnodes", "vnodes_incomplete", "syncs_running"))


def wait_level(cluster, seconds):
    harness.wait_until(lambda: level(cluster), seconds, "everything is repaired", every=0.1)


def idle(cluster, options):
    """Nothing is asked: what do nodes spend on comparing what they have?"""
    progress("idle")
    wait_level(cluster, 120)
    time.sleep(10)  # Measured is the rest after the load: compactions come to an end.
    nodes = list(cluster)
    cpu, sent, start = [cpu_seconds(node.process.pid) for node in nodes], loopback_bytes(), time.monotonic()
    time.sleep(options.idle_seconds)
    took = time.monotonic() - start
    sent = loopback_bytes() - sent
    cores = [100 * (cpu_seconds(node.process.pid) - before) / took for node, before in zip(nodes, cpu)]
    kb = sent / took / 1024 / len(nodes)
    print(f"\nidle, {options.keys:,} keys, 256 partitions, {took:.0f} s")
    say("CPU of each node " + ", ".join(f"{core:.2f} %" for core in cores) +
        f" of a core   target at most {IDLE_CORE_MAX} %: {verdict(max(cores) <= IDLE_CORE_MAX)}")
    say(f"loopback {kb:.1f} KB/s per node   target at most {IDLE_KB_MAX:.0f} KB/s: {verdict(kb <= IDLE_KB_MAX)}")
    return {"core_percent": cores, "kb_per_s": kb}


def one_key(cluster, options):
    """One write is missed by one node."""
    progress("one key")
    n1, _, n3 = cluster
    n3.kill()
    cluster.wait_down("n3", 10)
    key = "key:%012d" % (options.keys // 2)
    if n1.ask("SET", key, "differs") != "OK":
        raise SystemExit("scripts/bench: the write that one node is to miss failed")
    started = time.monotonic()
    n3.start()
    harness.wait_until(lambda: n3.ready() and all(node.sees("n3", "up") for node in cluster if node is not n3), 60, "n3 is back",
                       every=0.01)
    start = time.monotonic()
    with n3.client() as client:
        harness.wait_until(lambda: client.call("KV.GET", key, "R", "one")[1] == [b"differs"], 60, "n3 has the key", every=0.01)
    took = time.monotonic() - start
    since_start = time.monotonic() - started
    pages = sum(counter(node, "pages_given") for node in cluster)
    print(f"\none differing key among {options.keys:,}")
    say(f"repaired {took:.2f} s after its node was seen up, {since_start:.2f} s after its process was started; catch-ups of n3 {counter(n3, 'catch_ups')}, pages given by all nodes since "
        f"their start {pages}   target at most {KEY_SECONDS_MAX:.0f} s: {verdict(took <= KEY_SECONDS_MAX)}")
    return {"seconds": took, "catch_ups": counter(n3, "catch_ups"), "pages": pages}


class Load(threading.Thread):
    """redis-benchmark in short runs, one after the other, until it is stopped; each run's p99 with the time it ended."""

    def __init__(self, port, options):
        super().__init__(daemon=True)
        self.port, self.options, self.done, self.runs, self.failure = port, options, False, [], None

    def run(self):
        while not self.done:
            try:
                run = redis_benchmark(self.port, "SET", self.options.load_requests, self.options, self.options.load_clients)
            except RuntimeError as error:
                self.failure = error
                return
            self.runs.append((time.monotonic(), run["p99_ms"]))

    def between(self, start, end):
        return [p99 for at, p99 in self.runs if start < at <= end]

    def stop(self):
        self.done = True
        self.join()
        if self.failure:
            raise SystemExit(f"scripts/bench: redis-benchmark failed:\n{self.failure}")


def outage(cluster, options):
    """A node is down for a while under load, then it returns."""
    progress(f"a node is down for {options.outage_seconds} s under load")
    n1, _, n3 = cluster
    load = Load(n1.port, options)
    load.start()
    start = time.monotonic()
    time.sleep(options.outage_seconds / 3)
    down = time.monotonic()
    n3.kill()
    time.sleep(options.outage_seconds)
    missed = next((peer["it_lacks"] for peer in n1.status()["sync"] if peer["peer"] == "n3"), 0)
    n3.start()
    cluster.wait_ready(120)
    back, stolen = time.monotonic(), stolen_seconds()

    def caught_up():  # Under load a few writes are always under way.
        return counter(n3, "vnodes_incomplete") == 0 and counter(n3, "dots_behind") < 1000

    harness.wait_until(caught_up, 600, "n3 has what it missed", every=0.2)
    repaired, stolen = time.monotonic(), stolen_seconds() - stolen
    time.sleep(options.outage_seconds / 3)
    load.stop()
    end = time.monotonic()
    wait_level(cluster, 120)
    before, during, after = load.between(start, down), load.between(back, max(repaired, back + 5)), load.between(repaired, end)
    if not before or not during:
        raise SystemExit("scripts/bench: too few runs of the load; give --load-requests a smaller number")

    def middle(runs):
        return statistics.median(runs) if runs else float("nan")

    factor = middle(during) / middle(before)
    print(f"\na node down for {options.outage_seconds} s under load (SET, {options.load_clients} connections)")
    say(f"it missed {missed:,} writes, and had them {repaired - back:.1f} s after it was back (of which {stolen:.1f} s of a core were "
        "stolen by the hypervisor); all is level")
    say(f"p99 of SET, median of runs of {options.load_requests:,}: before {middle(before):.2f} ms, while it is repaired {middle(during):.2f} ms "
        f"(worst {max(during):.2f}), after {middle(after):.2f} ms")
    say(f"factor {factor:.2f}   target at most {P99_FACTOR_MAX:.0f}: {verdict(factor <= P99_FACTOR_MAX)}")
    return {"missed": missed, "repair_seconds": repaired - back, "stolen_seconds": stolen, "p99_before_ms": middle(before), "p99_during_ms": middle(during),
            "p99_after_ms": middle(after), "factor": factor}


def measure(cluster, options):
    return {"idle": idle(cluster, options), "one_key": one_key(cluster, options), "outage": outage(cluster, options)}
