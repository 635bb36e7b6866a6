"""Members come, go and die under a load of which every answer is checked (`scripts/bench --topology`): nodes on the loopback, strict
quorums (N=3, R=W=2), a row of the table for each change.

    quiet       p99 of the seconds before and after, in which nothing is moved
    moved       what was copied, caught up and handed over, as nodes count it, beside the bound: as many copies of partitions as the
                plan names, of keys and values alone
    broken      requests on connections to a node that was killed: their clients cannot know
    unknown     writes that a node was just giving its dot to when it was killed: nobody knows whether that has happened, and to give the
                write to another would write it twice. Only where a node that serves is killed
"""

import json
import pathlib
import statistics
import subprocess
import sys
import time

import harness
from measure import verdict

P99_FACTOR_MAX = 2.5
BYTES_FACTOR_MAX = 2.0
CHANGE = 900
MOVED = ("bytes_refilled", "bytes_caught_up", "bytes_handed_over")


def progress(text):
    print(f"... {text}", file=sys.stderr, flush=True)


class CheckedLoad:
    """bench/checked_load: told by lines, answers in JSON."""

    def __init__(self, options):
        program = pathlib.Path(harness.BINARY).parent / "bench/checked_load"
        words = [program, "--keys", options.keys, "--value-bytes", options.value_bytes, "--connections", options.load_clients]
        self.process = subprocess.Popen([str(word) for word in words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        preexec_fn=harness.child_setup())

    def tell(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"scripts/bench: the load ended with {self.process.wait()}")
        return json.loads(line)

    def stop(self):
        self.process.kill()
        self.process.wait()


class Counted:
    """Bytes by cause, of all nodes, also of those that were killed since."""

    def __init__(self, cluster):
        self.cluster, self.last, self.gone = cluster, {}, dict.fromkeys(MOVED, 0)

    def look(self):
        for node in self.cluster.running():
            try:
                counters = node.status()["counters"]
            except (OSError, ValueError):
                continue  # It stops just now, or does not serve yet.
            self.last[node.name, node.process.pid] = {name: counters[name] for name in MOVED}
        return {name: sum(counts[name] for counts in self.last.values()) for name in MOVED}


def directory_bytes(path):
    return sum(file.stat().st_blocks * 512 for file in pathlib.Path(path).rglob("*") if file.is_file())


class Bench:
    def __init__(self, cluster, options):
        self.cluster, self.options = cluster, options
        self.load, self.counted = CheckedLoad(options), Counted(cluster)
        self.members = [node.name for node in cluster]
        self.clients = list(self.members)
        self.rows, self.between, self.killed = [], [], False

    # -- The cluster, as an operator sees it --

    def member(self, avoid=()):
        return next(self.cluster[name] for name in self.members if name not in avoid and self.cluster[name].process is not None)

    def topology(self, avoid=()):
        def shown():
            return json.loads(self.member(avoid).ask("KV.TOPOLOGY", "SHOW", timeout=5.0))
        return harness.wait_until(shown, 60, "a member shows the topology")  # One that was killed is being started.

    def run_through(self, names):
        self.clients = list(names)
        self.load.tell("run", *(self.cluster[name].port for name in names))

    def commit(self, words, avoid):
        """-> the plan."""
        def agreed():
            node = self.member(avoid)
            plan = node.ctl("plan", *words, "--json")
            if plan.returncode != 0:
                raise ValueError(plan.stderr)
            done = node.ctl("commit")
            if done.returncode != 0:
                raise ValueError(done.stderr)
            return json.loads(plan.stdout)
        return harness.wait_until(agreed, 60, f"{' '.join(words)} is agreed", every=0.5)

    def start_newcomer(self, name, avoid):
        node = self.cluster.newcomer(name, self.member(avoid)).start()
        harness.wait_until(lambda: "waiting to become a member" in node.log_text(), 60, f"{name} waits to be let in")
        time.sleep(1)  # The member that it asked has to hear it.

    def wait(self, seconds, condition=lambda: False):
        """Until the condition is met, and at most so long; counts bytes meanwhile."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not condition():
            self.counted.look()
            time.sleep(0.2)

    # -- Phases --

    def end_of_between(self):
        """What is in no row is checked all the same."""
        self.between.append({"killed": self.killed, **self.load.tell("phase")})
        self.killed = False

    def quiet(self):
        progress(f"quiet, {len(self.members)} members")
        self.wait(2)
        self.end_of_between()
        self.wait(self.options.quiet_seconds)
        numbers = self.load.tell("phase")
        self.rows.append({"name": f"quiet, {len(self.members)} nodes", "quiet": True, **numbers})

    def change(self, name, words, joins=(), leaves=(), gone=(), hurt=None):
        """One plan, from commit to settled, and then a quiet time. `hurt` is called when a third has been copied."""
        progress(name)
        for node in joins:
            self.start_newcomer(node, gone)
        self.end_of_between()
        before, begun = self.counted.look(), time.monotonic()
        plan = self.commit(words, gone)
        self.members += joins
        state = {"hurt": hurt, "far": 0}

        def settled():
            topology = self.topology(gone)
            job = topology["job"]
            if topology["phase"] == "stable" and job is None:
                return state["hurt"] is None
            if topology["phase"] != "moving" and set(leaves) & set(self.clients):
                self.run_through([x for x in self.clients if x not in leaves])
            got, of = job["vnodes_got"], job["vnodes_to_get"]
            if state["hurt"] and (of and got >= of / 3 or topology["phase"] != "moving"):
                state["hurt"](self)
                state["hurt"] = None
            return False

        self.wait(CHANGE, settled)
        if state["hurt"] is not None or self.topology(gone)["job"] is not None:
            raise SystemExit(f"scripts/bench: {name}: not done within {CHANGE} s: {self.topology(gone)['job']}")
        numbers, took, killed = self.load.tell("phase"), time.monotonic() - begun, self.killed
        self.killed = False
        self.members = [x for x in self.members if x not in leaves]
        for x in leaves:
            self.cluster[x].process and self.cluster[x].terminate()
        for x in gone:
            self.cluster.nodes.pop(x)
        self.run_through(self.members)
        after = self.counted.look()
        self.wait(3)  # What is handed over at last, and drops.
        moved = {cause: after[cause] - before[cause] for cause in MOVED}
        bound = plan["moved"] * self.options.keys / 256 * (len("key:000000000000") + self.options.value_bytes)
        self.rows.append({"name": name, "quiet": False, "killed": killed, "took": took, "moved": moved, "pairs": plan["moved"],
                          "bound": bound, **numbers})
        self.quiet()
        self.rows[-1]["disk"] = {x: directory_bytes(self.cluster[x].entry["data_dir"]) for x in self.members}

    def kill(self, name, back_after=None):
        progress(f"  kill -9 {name}")
        self.counted.look()
        self.killed = True
        self.cluster[name].kill()
        if back_after is not None:
            self.wait(back_after)
            self.cluster[name].start()

    def verify(self):
        progress("every key, through each node")
        self.load.tell("stop")
        wrong = {}
        for name in self.members:
            numbers = self.load.tell("verify", self.cluster[name].port)
            wrong[name] = {key: numbers[key] for key in ("requests", "failed", "unknown", "broken", "wrong", "shown")}
        self.run_through(self.members)
        return wrong


def measure(cluster, options):
    bench = Bench(cluster, options)
    try:
        return steps(bench, options)
    finally:
        bench.load.stop()


def steps(bench, options):
    cluster = bench.cluster
    progress("preload")
    bench.load.tell("preload", cluster["n1"].port)
    bench.run_through(bench.members)
    bench.wait(5)
    bench.quiet()
    bench.rows[-1]["disk"] = {x: directory_bytes(cluster[x].entry["data_dir"]) for x in bench.members}
    bench.change("3 -> 4: join n4", ["join", "n4"], joins=["n4"])
    bench.change("4 -> 5: join n5", ["join", "n5"], joins=["n5"])
    bench.change("5 -> 4: leave n5", ["leave", "n5"], leaves=["n5"])
    bench.change("4 -> 3: leave n4", ["leave", "n4"], leaves=["n4"])
    checked = {"come and go": bench.verify()}
    if not options.faults:
        show(bench, checked)
    else:
        bench.change("join n6, which is killed", ["join", "n6"], joins=["n6"], hurt=lambda b: b.kill("n6", 5))
        bench.change("join n7, n1 is killed", ["join", "n7"], joins=["n7"], hurt=lambda b: b.kill("n1", 5))
        checked["kills"] = bench.verify()
        bench.kill("n2")
        bench.clients.remove("n2")
        bench.run_through(bench.clients)
        bench.members.remove("n2")
        bench.wait(5)
        bench.change("n2 is dead: replaced by n8", ["replace", "n2", "n8", "gone"], joins=["n8"], gone=["n2"])
        bench.change("join n9, n3 is down for 20 s", ["join", "n9"], joins=["n9"], hurt=lambda b: b.kill("n3", 20))
        checked["replaced"] = bench.verify()
        show(bench, checked)
    return {"rows": bench.rows, "verified": checked}


def quiet_p99(rows, index):
    """Of the quiet times next to a change."""
    near = [rows[i]["p99_ms"] for i in (index - 1, index + 1) if 0 <= i < len(rows) and rows[i]["quiet"]]
    return statistics.mean(near)


def show(bench, checked):
    rows = bench.rows
    print(f"\n{'':<30}{'requests':>9} {'failed':>6} {'unknown':>7} {'broken':>6} {'wrong':>5} {'p50 ms':>7} {'p99 ms':>7} {'quiet':>6} {'ratio':>5} "
          f"{'moved MB':>8} {'bound':>6} {'ratio':>5} {'s':>6}  disk MB")
    for index, row in enumerate(rows):
        line = f"{row['name']:<30}{row['requests']:>9,} {row['failed']:>6} {row['unknown']:>7} {row['broken']:>6} {row['wrong']:>5} {row['p50_ms']:>7.2f} {row['p99_ms']:>7.2f} "
        if row["quiet"]:
            disk = row.get("disk", {})
            line += f"{'':>38} {row['seconds']:>6.1f}  " + " ".join(f"{name} {size / 1e6:.0f}" for name, size in disk.items())
        else:
            quiet, moved = quiet_p99(rows, index), sum(row["moved"].values())
            row["factor"], row["bytes_factor"] = row["p99_ms"] / quiet, moved / row["bound"]
            line += (f"{quiet:>6.2f} {row['factor']:>5.2f} {moved / 1e6:>8.1f} {row['bound'] / 1e6:>6.1f} "
                     f"{row['bytes_factor']:>5.2f} {row['took']:>6.1f}")
        print(line)
        for text in row["shown"]:
            print(f"    {text}")
    changes = [row for row in rows if not row["quiet"]]
    reads = [x for each in checked.values() for x in each.values()]
    phases = rows + bench.between
    failed, wrong = (sum(x[key] for x in phases + reads) for key in ("failed", "wrong"))
    failed += sum(x[key] for x in phases + reads if not x.get("killed") for key in ("unknown", "broken"))
    print(f"every key read through each node: {sum(x['requests'] for x in reads):,} reads, {sum(x['wrong'] for x in reads)} wrong, "
          f"{sum(x['failed'] for x in reads)} failed")
    print(f"failed {failed} (unknown and broken counted where nobody was killed), wrong {wrong}   target 0 and 0: {verdict(failed == wrong == 0)}")
    print(f"p99 at most {max(row['factor'] for row in changes):.2f} x of quiet   target {P99_FACTOR_MAX}: "
          f"{verdict(max(row['factor'] for row in changes) <= P99_FACTOR_MAX)}")
    print(f"moved at most {max(row['bytes_factor'] for row in changes):.2f} x of keys and values   target {BYTES_FACTOR_MAX}: "
          f"{verdict(max(row['bytes_factor'] for row in changes) <= BYTES_FACTOR_MAX)}", flush=True)
