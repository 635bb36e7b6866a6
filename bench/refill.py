"""How fast a new node is filled when nothing holds it back (`scripts/bench --refill`; docs/adr/0010-refill-by-pages.md): three nodes, a
fourth joins them, values of 1 and of 10 KB, no clients, sync.mb_per_s_max as high as it goes."""

import json
import sys
import time

import harness
from measure import cpu_seconds
from topology import CheckedLoad, directory_bytes

CASES = [(1_000, 800), (10_000, 1_200)]  # Bytes of a value, MB of values.


def progress(text):
    print(f"... {text}", file=sys.stderr, flush=True)


def topology(node):
    return json.loads(node.ask("KV.TOPOLOGY", "SHOW", timeout=30))


def commit(node, *change):
    """-> the plan."""
    def agreed():
        plan = node.ctl("plan", *change, "--json")
        return json.loads(plan.stdout) if plan.returncode == 0 and node.ctl("commit").returncode == 0 else None
    return harness.wait_until(agreed, 60, f"{change} is agreed", every=0.2)


def preload(cluster, options):
    load = CheckedLoad(options)
    try:
        load.tell("preload", *(node.port for node in cluster))
    finally:
        load.stop()


def settled(cluster):
    return all(node.status()["counters"][name] == 0 for node in cluster for name in ("dots_behind", "syncs_running"))


def join(cluster, name, kill_at=None):
    """-> seconds, bytes, CPU seconds of the sources and of the new node."""
    old = cluster.running()
    node = cluster.newcomer(name, old[0]).start()
    harness.wait_until(lambda: "waiting to become a member" in node.log_text(), 60, f"{name} waits to be let in")
    time.sleep(1)
    cpu = sum(cpu_seconds(x.process.pid) for x in old)
    plan = commit(old[0], "join", name)
    begun = time.monotonic()
    before = 0
    while topology(old[0])["job"] is not None:
        job = topology(old[0])["job"]
        if kill_at and job and job["vnodes_to_get"] and job["vnodes_got"] >= kill_at * job["vnodes_to_get"]:
            before = node.status()["counters"]["bytes_refilled"]
            node.kill()
            node.start()
            kill_at = None
        time.sleep(0.1)
    took = time.monotonic() - begun
    moved = before + node.status()["counters"]["bytes_refilled"]
    return {"seconds": took, "bytes": moved, "cpu_sources": sum(cpu_seconds(x.process.pid) for x in old) - cpu,
            "cpu_new": cpu_seconds(node.process.pid), "copies": plan["moved"]}


def measure(make_cluster, options):
    results = []
    for value_bytes, megabytes in CASES:
        options.value_bytes, options.keys = value_bytes, megabytes * 1_000_000 // value_bytes
        options.load_clients = 8
        cluster = make_cluster()
        try:
            cluster.start()
            progress(f"preload {options.keys:,} values of {value_bytes:,} bytes")
            preload(cluster, options)
            harness.wait_until(lambda: settled(cluster), 120, "all is level", every=0.5)
            time.sleep(10)  # Compactions come to an end.
            for name, kill_at in (("n4", None), ("n5", 0.5)):
                progress(f"{name} joins")
                result = {"value_bytes": value_bytes, "name": name, "killed": kill_at is not None, **join(cluster, name, kill_at)}
                results.append(result)
                again = result["bytes"] - result["copies"] * results[-2]["bytes"] / results[-2]["copies"] if kill_at else 0
                mb = result["bytes"] / 1e6
                print(f"{value_bytes:>6,}-byte values, {name} joins{', killed half way' if kill_at else ''}: {mb:,.0f} MB in {result['seconds']:.1f} s "
                      f"({mb / result['seconds']:.0f} MB/s), CPU of the sources {1000 * result['cpu_sources'] / mb:.1f} ms/MB, of the new node "
                      f"{1000 * result['cpu_new'] / mb:.1f} ms/MB" + (f"; copied again {again / 1e6:.1f} MB" if kill_at else ""), flush=True)
            if options.keep:
                progress(f"kept: {cluster.directory}")
        finally:
            cluster.stop()
            if not options.keep:
                cluster.remove()
    return {"results": results}
