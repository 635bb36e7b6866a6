"""What "later writes win" costs when wall clocks differ (`scripts/bench --skew`; docs/protocol.md, "Later writes win").

Two clusters of three nodes: in one all wall clocks are equal, in the other n2 is 2 s ahead and n3 2 s behind. Three redis-benchmarks
write at the same time, one through each node, in turns:

    equal              skewed              all nodes write the same keys
    equal, apart       skewed, apart       each node writes keys of its own (as many in all)

Where they are apart there is next to nothing to look up or to write twice. So skewed / equal is what the clocks cost, the same apart
shows how far to trust it (it should be 1), and skewed / skewed, apart is what writes that meet at a key cost.
"""

import concurrent.futures
import pathlib
import statistics
import subprocess
import sys
import time

import harness
import resp
from measure import cpu_seconds, redis_benchmark, verdict

RATIO_MIN = 0.95
KEYS = [100_000, 1_000]
PIPELINES = [1, 16]
CLOCKS = {"equal": [0, 0, 0], "skewed": [0, 2, -2]}  # Seconds that each node's wall clock is ahead.
TURNS = {"equal": ("equal", True), "skewed": ("skewed", True),  # The cluster; whether keys are shared.
         "equal, apart": ("equal", False), "skewed, apart": ("skewed", False)}
RATIOS = [("skewed", "equal"), ("skewed, apart", "equal, apart"), ("skewed", "skewed, apart")]
PAIRS = 200
COUNTERS = ["compared", "deltas_applied", "deltas_known", "second_rounds"]


def build_library(directory):
    """What moves a process's wall clock; see there why it is not libfaketime."""
    library = pathlib.Path(directory) / "move_wall_clock.so"
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, pathlib.Path(__file__).with_name("move_wall_clock.c")], check=True)
    return library


def set_clocks(cluster, library, seconds):
    """Before the start. The library is loaded where clocks are equal as well, so that its own cost is on both sides."""
    for node, ahead in zip(cluster, seconds):
        node.environment = {"LD_PRELOAD": str(library), "WALL_CLOCK_SECONDS": str(ahead)}


def check_clocks(cluster, seconds):
    """A node that is ahead thinks that less time is left until a key expires."""
    n1, *_ = cluster
    with n1.client() as client:
        client.call("KV.PUT", "clock", "x", "PX", 60_000, "W", "all")
    left = [node.ask("PTTL", "clock") for node in cluster]
    ahead = [(left[0] - x) / 1000 for x in left]
    if any(abs(found - wanted) > 0.5 for found, wanted in zip(ahead, seconds)):
        raise SystemExit(f"scripts/bench: clocks ahead of n1 by {ahead} s instead of {seconds}")
    return ahead


def counts(cluster):
    each = [node.status()["counters"] for node in cluster]
    return {name: sum(counters[name] for counters in each) for name in COUNTERS}


def pairs(cluster):
    """One write after the other, each pair to a key of its own: the first through n2 while n3 is stopped, so that n1 and n2
    acknowledge it; the second through n3 as soon as it runs again, often before it has heard of the first."""
    n1, n2, n3 = cluster
    before, lost = counts(cluster)["second_rounds"], 0
    with n1.client() as reader, n2.client() as earlier, n3.client() as later:
        for i in range(PAIRS):
            n3.pause()
            first = earlier.call("SET", f"pair:{i}", "earlier")
            later.socket.sendall(resp.encode(("SET", f"pair:{i}", "later")))
            n3.resume()
            if [first, later.read_reply()] != ["OK", "OK"]:
                raise SystemExit("scripts/bench: a write of a pair failed")
            lost += reader.call("GET", f"pair:{i}") != b"later"
    return {"lost": lost, "again": counts(cluster)["second_rounds"] - before}


def load(cluster, shared, keys, pipeline, options):
    """-> numbers of one run through all nodes at the same time."""
    nodes = list(cluster)
    requests = options.requests * (4 if pipeline > 1 else 1) // len(nodes)
    before, cpu, start = counts(cluster), [cpu_seconds(node.process.pid) for node in nodes], time.monotonic()

    def one(node):
        return redis_benchmark(node.port, "SET", requests, options, max(1, options.clients // len(nodes)), pipeline,
                               keys=keys if shared else max(1, keys // len(nodes)), prefix="key:" if shared else f"{node.name}:")

    with concurrent.futures.ThreadPoolExecutor(len(nodes)) as pool:
        try:
            runs = list(pool.map(one, nodes))
        except RuntimeError as error:
            raise SystemExit(f"scripts/bench: redis-benchmark failed:\n{error}") from None
    took = time.monotonic() - start
    cpu = sum(cpu_seconds(node.process.pid) - x for node, x in zip(nodes, cpu))
    found = {name: value - before[name] for name, value in counts(cluster).items()}
    total = requests * len(nodes)
    return {"throughput": total / took, "p99_ms": max(run["p99_ms"] for run in runs), "cpu_us": 1e6 * cpu / total,
            "compared": found["compared"] / max(1, found["deltas_applied"] + found["deltas_known"]),
            "again": found["second_rounds"] / total}


def ratio(runs, this, to, number):
    """The median over the rounds and its standard error, taken from the middle half: single runs may be far off."""
    each = [a[number] / b[number] for a, b in zip(runs[this], runs[to])]
    low, middle, high = statistics.quantiles(each, n=4) if len(each) > 1 else each * 3
    return {"median": middle, "error": 0.93 * (high - low) / len(each) ** 0.5}


def measure_case(clusters, keys, pipeline, options):
    runs = {name: [] for name in TURNS}
    for round_number in range(-1, options.rounds):  # The first is not counted: most keys do not exist yet.
        for name in TURNS if round_number % 2 else reversed(TURNS):  # So that none always comes after the same one.
            cluster, shared = TURNS[name]
            run = load(clusters[cluster], shared, keys, pipeline, options)
            if round_number >= 0:
                runs[name].append(run)
            print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    median = {name: {number: statistics.median(run[number] for run in each) for number in each[0]} for name, each in runs.items()}
    return {"keys": keys, "pipeline": pipeline, "runs": runs, "median": median,
            "ratios": {f"{this} / {to}": {number: ratio(runs, this, to, number) for number in ("throughput", "cpu_us")}
                       for this, to in RATIOS}}


def show(result):
    print(f"\nSET through all nodes at the same time, {result['keys']:,} keys, pipeline {result['pipeline']}")
    for name, x in result["median"].items():
        print(f"  {name:<13}{x['throughput']:>8,.0f} /s   CPU {x['cpu_us']:>5.1f} us/op   p99 {x['p99_ms']:>6.2f} ms   "
              f"looked up {100 * x['compared']:>5.2f} % of what was applied, written twice {100 * x['again']:>5.2f} %")
    for name, x in result["ratios"].items():
        print(f"  {name:<28} throughput {spread(x['throughput'])}   CPU {spread(x['cpu_us'])}", end="")
        met = x["throughput"]["median"] >= RATIO_MIN
        print(f"   target at least {RATIO_MIN}: {verdict(met)}" if name == "skewed / equal" else "")


def spread(x):
    return f"{x['median']:.3f} ± {x['error']:.3f}"


def measure(clusters, options):
    results = {"clocks": {}, "pairs": {}, "cases": []}
    for name, cluster in clusters.items():
        ahead = results["clocks"][name] = check_clocks(cluster, CLOCKS[name])
        found = results["pairs"][name] = pairs(cluster)
        print(f"{name} clocks: ahead of n1's by " + ", ".join(f"{x:+.2f}" for x in ahead) + f" s, as PTTL shows; of {PAIRS} pairs of writes, "
              f"one after the other, the later one was written twice in {found['again']} and lost in {found['lost']}   target 0: "
              f"{verdict(found['lost'] == 0)}")
    for keys in [options.keys] if options.keys else KEYS:
        for pipeline in PIPELINES:
            results["cases"].append(measure_case(clusters, keys, pipeline, options))
            show(results["cases"][-1])
    return results
