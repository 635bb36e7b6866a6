"""What all benches share: CPU of processes, redis-benchmark, verdicts."""

import csv
import io
import os
import pathlib
import subprocess


def verdict(met):
    return "met" if met else "MISSED"


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime and stime, threads included.


def stolen_seconds():
    """CPU time that the hypervisor gave to others, of all cores since boot: what is measured meanwhile says little."""
    return int(pathlib.Path("/proc/stat").read_text().split()[8]) / os.sysconf("SC_CLK_TCK")


def redis_benchmark(port, command, requests, options, clients, pipeline=1, keys=None, prefix=None):
    """One run. -> its row of numbers; RuntimeError with what it printed if it failed. With a `prefix` the command is SET, and its keys
    begin with that instead of "key:"."""
    what = ["-t", command.lower()] if prefix is None else ["SET", prefix + "__rand_int__", "x" * options.value_bytes]
    done = subprocess.run(["redis-benchmark", "-h", "127.0.0.1", "-p", str(port), "-n", str(requests), "-r", str(keys or options.keys),
                           "-d", str(options.value_bytes), "-c", str(clients), "-P", str(pipeline), "--csv", *what],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    name = command if prefix is None else " ".join(what)
    rows = [row for row in csv.DictReader(io.StringIO(done.stdout)) if row.get("test") == name]
    if done.returncode != 0 or len(rows) != 1:
        raise RuntimeError(done.stdout)
    row = rows[0]
    return {"throughput": float(row["rps"]), "p50_ms": float(row["p50_latency_ms"]), "p99_ms": float(row["p99_latency_ms"])}
