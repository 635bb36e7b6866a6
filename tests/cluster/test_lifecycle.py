"""Start, stop, restart: by hand and with `crema cluster`."""

import itertools
import json
import os
import pathlib
import re
import signal
import subprocess
import threading
import unittest

import harness
import resp
from harness import BINARY, SLOWNESS, ClusterCase, wait_until


def run(*arguments, cwd, seconds=60.0):
    """A crema command that ends by itself."""
    return subprocess.run([BINARY, *map(str, arguments)], cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=seconds * SLOWNESS)


def runs(pid):
    """A process that has exited counts as gone, even if nobody has asked for its exit code yet."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


class Start(ClusterCase):
    TIMEOUT = 180

    def test_the_order_in_which_nodes_start_does_not_matter(self):
        for order in itertools.islice(itertools.permutations(["n3", "n1", "n2"]), 0, 6, 2):
            cluster = self.cluster(start=False)
            for name in order:
                cluster[name].start()
                # Its port answers (be it with an error) before the next one starts: nodes do meet in this order.
                wait_until(lambda: cluster[name].ask("PING", timeout=2), harness.START_DEADLINE, f"{name} answers")
            cluster.wait_ready()
            for index, node in enumerate(cluster):
                self.assertEqual(node.ask("SET", f"key-{index}", order[0]), "OK")
                self.assertEqual(cluster["n2"].ask("GET", f"key-{index}"), order[0].encode())
            cluster.stop()

    def test_a_new_cluster_works_before_its_third_node_has_ever_been_there(self):
        keys = [f"key-{i}" for i in range(100)]
        for pause in (0.0, 0.3):
            cluster = self.cluster(start=False)
            cluster["n2"].start()
            if pause:
                wait_until(lambda: cluster["n2"].ask("PING", timeout=2), harness.START_DEADLINE, "n2 answers")
            cluster["n3"].start()
            for node in (cluster["n2"], cluster["n3"]):
                node.wait_ready()
                wait_until(lambda: node.status()["counters"]["vnodes_incomplete"] == 0, 10 * SLOWNESS, f"{node.name} is complete")
            for key in keys:
                self.assertEqual(cluster["n2"].ask("SET", key, "value"), "OK")
            for key in keys:
                self.assertEqual(cluster["n3"].ask("GET", key), b"value")
            cluster["n1"].start()
            cluster.wait_ready()
            with cluster["n1"].client() as client:
                replies = client.pipeline([("GET", key) for key in keys])
            self.assertEqual(replies, [b"value"] * len(keys))
            cluster.stop()

    def test_a_node_with_another_cluster_name_is_refused_and_both_sides_say_so(self):
        cluster = self.cluster(start=False)
        other = cluster.directory / "other.json"
        other.write_text(json.dumps({**cluster.config, "cluster": "elsewhere"}))
        cluster["n1"].start()
        cluster["n2"].start()
        cluster.wait_ready()
        cluster["n3"].start(config=other)
        for name in ("n1", "n3"):
            wait_until(lambda: re.search("elsewhere.*demo|demo.*elsewhere", cluster[name].log_text()), 10 * SLOWNESS,
                       f"the log of {name} names both clusters")
        self.assertFalse(cluster["n1"].sees("n3", "up"))
        self.assertEqual(cluster["n1"].ask("SET", "key", "value"), "OK")

    def test_a_node_restarted_in_its_old_directory_has_its_data(self):
        cluster = self.cluster()
        keys = [f"key-{i}" for i in range(200)]
        with cluster["n1"].client() as client:
            for key in keys:
                self.assertIsInstance(client.call("KV.PUT", key, key, "W", "all"), bytes)
        cluster["n2"].terminate()
        cluster["n2"].start()
        cluster.wait_ready()
        cluster["n1"].terminate()
        cluster["n3"].terminate()
        with cluster["n2"].client() as client:  # It is alone now.
            for key in keys:
                self.assertEqual(client.call("KV.GET", key, "R", "one")[1], [key.encode()])


class Stop(ClusterCase):
    SERIAL = True

    def test_sigterm_stops_a_node_within_five_seconds_with_exit_code_0(self):
        cluster = self.cluster()
        for name in ("n2", "n1", "n3"):
            code, seconds = cluster[name].terminate()
            self.assertEqual(code, 0, cluster[name].log_tail())
            self.assertLess(seconds, 5.0 * SLOWNESS)

    def test_sigterm_under_load_loses_nothing_that_was_acknowledged(self):
        cluster = self.cluster()
        acked, errors, stopping = [], [], threading.Event()

        def write():
            try:
                with cluster["n1"].client() as client:
                    number = 0
                    while not stopping.is_set():
                        keys = [f"key-{number + i}" for i in range(32)]
                        number += 32
                        replies = client.pipeline([("SET", key, key) for key in keys])
                        acked.extend(key for key, reply in zip(keys, replies) if reply == "OK")
            except OSError:
                pass  # The node is gone.
            except Exception as error:
                errors.append(error)

        writer = threading.Thread(target=write)
        writer.start()
        wait_until(lambda: len(acked) > 2_000, 30 * SLOWNESS, "some writes are acknowledged")
        code, seconds = cluster["n1"].terminate()
        stopping.set()
        writer.join()
        self.assertEqual((code, errors), (0, []), cluster["n1"].log_tail())
        self.assertLess(seconds, 5.0 * SLOWNESS)
        cluster["n1"].start()
        cluster.wait_ready()
        for node in cluster:
            with node.client() as client:
                values = client.pipeline([("GET", key) for key in acked])
            self.assertEqual([key for key, value in zip(acked, values) if value != key.encode()], [])

    def test_sigint_stops_a_node_as_well(self):
        cluster = self.cluster(size=1)
        node = cluster["n1"]
        node.signal(signal.SIGINT)
        self.assertEqual(node.process.wait(5 * SLOWNESS), 0)

    def test_a_node_that_is_stopped_and_continued_while_it_ends_does_so_in_good_order(self):
        node = self.cluster(size=1)["n1"]
        node.signal(signal.SIGTERM)
        while node.process.poll() is None:  # Each pause cuts a wait for signals short.
            node.signal(signal.SIGSTOP)
            node.signal(signal.SIGCONT)
        self.assertEqual(node.process.returncode, 0, node.log_tail())

    def test_sigterm_stops_a_node_whose_peers_are_frozen(self):
        cluster = self.cluster()
        cluster["n2"].pause()
        cluster["n3"].pause()
        code, seconds = cluster["n1"].terminate()
        self.assertEqual(code, 0, cluster["n1"].log_tail())
        self.assertLess(seconds, 5.0 * SLOWNESS)


class ClusterCommands(ClusterCase):
    TIMEOUT = 180

    def processes(self, directory):
        """The pids that `crema cluster` has left in its pid files and that run."""
        pids = []
        for path in pathlib.Path(directory).rglob("*.pid"):
            pid = int(path.read_text().split()[0])
            if runs(pid):
                pids.append(pid)
        return pids

    def stop_all(self, directory):
        for pid in self.processes(directory):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def test_up_status_and_down(self):
        cluster = self.cluster(start=False)
        where = cluster.directory / "run"
        self.addCleanup(self.stop_all, where)
        up = run("cluster", "up", cluster.file, "--dir", where, cwd=cluster.directory)
        self.assertEqual(up.returncode, 0, up.stdout)
        for node in cluster:
            self.assertEqual(node.ask("KV.READY"), "OK", "up returns when all nodes serve")
            self.assertIn(node.name, up.stdout)
        self.assertEqual(cluster["n1"].ask("SET", "key", "value"), "OK")
        pids = self.processes(where)
        self.assertEqual(len(pids), 3)
        self.assertTrue(list(where.rglob("*.log")), "there are log files")

        status = run("cluster", "status", "--dir", where, cwd=cluster.directory)
        self.assertEqual(status.returncode, 0, status.stdout)
        for node in cluster:
            self.assertIn(node.name, status.stdout)

        again = run("cluster", "up", cluster.file, "--dir", where, cwd=cluster.directory)
        self.assertEqual(again.returncode, 0, again.stdout)
        self.assertEqual(sorted(self.processes(where)), sorted(pids), "running nodes are left alone")

        down = run("cluster", "down", "--dir", where, cwd=cluster.directory)
        self.assertEqual(down.returncode, 0, down.stdout)
        self.assertEqual([pid for pid in pids if runs(pid)], [])

        up = run("cluster", "up", cluster.file, "--dir", where, cwd=cluster.directory)
        self.assertEqual(up.returncode, 0, up.stdout)
        self.assertEqual(cluster["n3"].ask("GET", "key"), b"value", "data outlives down and up")
        self.assertEqual(run("cluster", "down", "--dir", where, cwd=cluster.directory).returncode, 0)

    def test_up_replaces_a_node_that_was_killed(self):
        cluster = self.cluster(start=False)
        where = cluster.directory / "run"
        self.addCleanup(self.stop_all, where)
        self.assertEqual(run("cluster", "up", cluster.file, "--dir", where, cwd=cluster.directory).returncode, 0)
        victim = cluster["n2"].status()["node"]
        before = self.processes(where)
        os.kill(self.pid_of(where, "n2"), signal.SIGKILL)
        wait_until(lambda: len(self.processes(where)) == 2, 5, "n2 is gone")
        status = run("cluster", "status", "--dir", where, cwd=cluster.directory)
        self.assertNotEqual(status.returncode, 0, "a node is missing:\n" + status.stdout)
        self.assertIn(str(cluster["n2"].port), status.stdout, "its neighbours know where it belongs")
        self.assertEqual(victim, "n2")
        up = run("cluster", "up", cluster.file, "--dir", where, cwd=cluster.directory)
        self.assertEqual(up.returncode, 0, up.stdout)
        after = self.processes(where)
        self.assertEqual((len(after), len(set(before) & set(after))), (3, 2))
        self.assertEqual(run("cluster", "down", "--dir", where, cwd=cluster.directory).returncode, 0)

    def pid_of(self, where, name):
        for path in pathlib.Path(where).rglob("*.pid"):
            if name in str(path.relative_to(where)):
                return int(path.read_text().split()[0])
        raise AssertionError(f"no pid file of {name} in {where}")

    def test_up_says_why_a_node_does_not_start(self):
        cluster = self.cluster(start=False)
        where = cluster.directory / "run"
        self.addCleanup(self.stop_all, where)
        other = self.cluster()  # Holds ports of its own; take one of them.
        cluster.config["nodes"][1]["resp_port"] = other["n1"].port
        cluster.write_config()
        up = run("cluster", "up", cluster.file, "--dir", where, cwd=cluster.directory)
        self.assertNotEqual(up.returncode, 0, up.stdout)
        self.assertIn(str(other["n1"].port), up.stdout)

    def test_down_without_a_cluster_and_status_without_one(self):
        directory = self.directory()
        self.assertEqual(run("cluster", "down", "--dir", directory / "run", cwd=directory).returncode, 0)
        self.assertNotEqual(run("cluster", "status", "--dir", directory / "run", cwd=directory).returncode, 0)

    def test_get_put_del_and_ctl_status_of_the_command_line(self):
        cluster = self.cluster()
        for arguments in [("--help",), ("node", "--help"), ("cluster", "--help"), ("get", "--help"), ("ctl", "--help"), ("version",)]:
            shown = run(*arguments, cwd=cluster.directory)
            self.assertEqual(shown.returncode, 0, shown.stdout)
            self.assertNotEqual(shown.stdout.strip(), "")
        self.assertEqual(run("config", "check", cluster.file, cwd=cluster.directory).returncode, 0)

    def test_a_command_that_is_missing_or_unknown_is_answered_with_those_there_are(self):
        directory = self.directory()
        for arguments, expected in [((), "cluster"), (("cluster",), "status"), (("nonsense",), "'crema --help'"),
                                    (("cluster", "nonsense"), "'crema cluster --help'"), (("put",), "KEY is required")]:
            shown = run(*arguments, cwd=directory)
            self.assertEqual(shown.returncode, 2, shown.stdout)
            self.assertIn(expected, shown.stdout)


class OneNode(ClusterCase):
    def test_a_node_without_a_file_is_a_store_of_its_own(self):
        from network import own_namespace

        directory = self.directory()
        with own_namespace(self):  # The default ports are free there.
            process = subprocess.Popen([BINARY, "node"], cwd=directory, stdin=subprocess.DEVNULL,
                                       stdout=open(directory / "log", "wb"), stderr=subprocess.STDOUT,
                                       preexec_fn=harness.child_setup())
            try:
                def ready():
                    self.assertIsNone(process.poll(), (directory / "log").read_text())
                    with resp.Client(6401, timeout=2) as client:
                        return client.call("KV.READY") == "OK"
                wait_until(ready, harness.START_DEADLINE, "the node serves")
                with resp.Client(6401) as client:
                    self.assertEqual(client.call("SET", "key", "value"), "OK")
                    self.assertEqual(client.call("GET", "key"), b"value")
                    self.assertIsInstance(client.call("KV.PUT", "other", "x", "W", "all"), bytes)
                self.assertTrue((directory / "crema-data").is_dir())
                process.terminate()
                self.assertEqual(process.wait(5 * SLOWNESS), 0)
            finally:
                process.kill()
                process.wait()


if __name__ == "__main__":
    unittest.main()
