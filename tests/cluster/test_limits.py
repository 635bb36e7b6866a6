"""Hostile and greedy clients: many connections, no reading, garbage. And what an idle node costs."""

import os
import resource
import socket
import struct
import time
import unittest

import resp
from harness import SANITIZED, SLOWNESS, ClusterCase, wait_until

MIB = 1024 * 1024


def raise_file_limit(wanted):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise unittest.SkipTest(f"needs {wanted} open files, {hard} are allowed here")
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class Connections(ClusterCase):
    SERIAL = True

    def test_a_thousand_connections_at_once(self):
        raise_file_limit(4096)
        cluster = self.cluster()
        clients = []
        try:
            for number in range(1_000):
                clients.append(cluster["n1"].client(timeout=20))
            for number, client in enumerate(clients):  # All requests are under way before the first answer is read.
                client.socket.sendall(resp.encode(("SET", f"key-{number}", number)) + resp.encode(("GET", f"key-{number}")))
            for number, client in enumerate(clients):
                self.assertEqual(client.read_reply(), "OK")
                self.assertEqual(client.read_reply(), str(number).encode())
            self.assertEqual(cluster["n2"].ask("PING"), "PONG")
        finally:
            for client in clients:
                client.close()
        self.assertEqual(cluster["n1"].ask("GET", "key-999"), b"999")

    def test_connections_that_come_and_go_leave_nothing_behind(self):
        node = self.cluster()["n1"]

        def open_files():
            return len(os.listdir(f"/proc/{node.process.pid}/fd"))
        before = open_files()
        for number in range(2_000):
            with node.client() as client:
                if number % 3:
                    client.call("PING")
        wait_until(lambda: open_files() <= before + 5, 5 * SLOWNESS, "closed connections are closed here as well")


class Backpressure(ClusterCase):
    SERIAL = True

    def test_a_client_that_does_not_read_costs_little_and_others_are_served(self):
        cluster = self.cluster()
        node = cluster["n1"]
        self.assertEqual(node.ask("SET", "big", bytes(MIB)), "OK")
        greedy = [socket.create_connection((node.host, node.port)) for _ in range(4)]
        request = resp.encode(("GET", "big")) * 64
        before = node.rss_mb()
        node.reset_peak()
        slowest, sent, start = 0.0, 0, time.monotonic()
        with node.client() as client:
            for one in greedy:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                one.setblocking(False)
            while time.monotonic() < start + 5:  # 4 x 64 MiB of replies are asked for every round.
                for one in greedy:
                    try:
                        sent += one.send(request)
                    except BlockingIOError:
                        pass
                asked = time.monotonic()
                self.assertEqual(client.call("SET", "small", sent), "OK")
                self.assertEqual(client.call("GET", "small"), str(sent).encode())
                slowest = max(slowest, time.monotonic() - asked)
        peak = node.peak_mb()
        for one in greedy:
            one.close()
        asked_for = sent * MIB // len(resp.encode(("GET", "big")))
        self.say(f"{asked_for // MIB} MB asked for, resident from {before:.0f} to {peak:.0f} MB, slowest other {slowest:.3f} s")
        self.assertGreater(asked_for, 256 * MIB)
        self.assertLess(slowest, 2.0 * SLOWNESS, "the others are served within the deadline")
        if not SANITIZED:
            self.assertLess(peak - before, 200, "memory grows by what nobody reads")
        self.assertEqual(node.ask("GET", "small"), str(sent).encode())

    def test_many_greedy_readers_of_a_large_value_swell_no_node_and_the_cluster_recovers(self):
        cluster = self.cluster()
        node = cluster["n1"]
        self.assertEqual(node.ask("SET", "big", bytes(MIB)), "OK")
        before = max(one.rss_mb() for one in cluster)
        request = resp.encode(("GET", "big")) * 64
        greedy = [socket.create_connection((node.host, node.port)) for _ in range(32)]
        for one in greedy:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            one.sendall(request)  # 2 GiB of replies are asked for.
        peak, start = 0.0, time.monotonic()

        def recovered():
            nonlocal peak
            peak = max(peak, *(one.peak_mb() for one in cluster))
            if peak - before > 1024:
                raise AssertionError(f"a node has grown from {before:.0f} to {peak:.0f} MB")
            return time.monotonic() > start + 3 and all(one.ask("SET", "small", "x", timeout=5) == "OK" for one in cluster)
        try:
            wait_until(recovered, 15 * SLOWNESS, "every node takes writes while the greedy ones still hang on", every=0.1)
        finally:
            for one in greedy:
                one.close()
        self.say(f"resident from {before:.0f} to at most {peak:.0f} MB")
        if not SANITIZED:
            self.assertLess(peak - before, 512)

    def test_an_endless_request_is_not_collected(self):
        cluster = self.cluster()
        node = cluster["n1"]
        before = node.rss_mb()
        node.reset_peak()
        # Announcements of gigabytes, and a line that never ends.
        for start in (b"*1000000000\r\n", b"*2\r\n$3\r\nGET\r\n$2000000000\r\n", b"", b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$17000000\r\n",
                      b"*1048576\r\n" + b"$1\r\na\r\n" * 1000, b"*100000\r\n$3\r\nDEL\r\n" + b"$65536\r\n" + b"x" * 65536 + b"\r\n"):
            with socket.create_connection((node.host, node.port), timeout=5) as client:
                try:
                    client.sendall(start)
                    for _ in range(256):
                        client.sendall(bytes(MIB // 2).replace(b"\0", b"x"))
                except (ConnectionError, TimeoutError):
                    pass
            self.assertEqual(node.ask("PING"), "PONG")
        if not SANITIZED:
            self.assertLess(node.peak_mb() - before, 100)

    def test_many_unfinished_requests_are_not_collected_either(self):
        cluster = self.cluster()
        node = cluster["n1"]
        before = node.rss_mb()
        node.reset_peak()
        clients, refused = [], 0
        try:
            for _ in range(16):
                client = socket.create_connection((node.host, node.port), timeout=20)
                clients.append(client)
                try:  # 40 MiB of a command that wants more.
                    client.sendall(b"*100\r\n$4\r\nMSET\r\n")
                    for _ in range(40):
                        client.sendall(b"$1048576\r\n" + b"x" * MIB + b"\r\n")
                except (ConnectionError, TimeoutError):
                    refused += 1
            self.assertEqual(node.ask("PING"), "PONG")
            for client in clients:  # Whoever was sent away was told why.
                client.setblocking(False)
                try:
                    refused += 1 if client.recv(4096).startswith(b"-BUSY") else 0
                except (BlockingIOError, ConnectionError):
                    pass
        finally:
            for client in clients:
                client.close()
        self.assertGreater(refused, 0)
        if not SANITIZED:
            self.assertLess(node.peak_mb() - before, 600)
        self.assertEqual(node.ask("PING"), "PONG")


class Garbage(ClusterCase):
    SERIAL = True
    TIMEOUT = 240

    def throw(self, host, port, data):
        """Sends bytes and waits for an answer or the end, for a moment; what comes back does not matter."""
        with socket.create_connection((host, port), timeout=0.2) as client:
            try:
                client.sendall(data)
                client.shutdown(socket.SHUT_WR)
                while client.recv(65536):
                    pass
            except OSError:
                pass

    def samples(self):
        rng = self.random
        yield from (rng.randbytes(rng.choice([1, 7, 32, 100, 5000, 100_000])) for _ in range(60))
        yield from (b"\0" * 1000, b"\xff" * 1000, b"\r\n" * 1000, b"GET / HTTP/1.1\r\n\r\n", b"A" * 200_000)
        yield from (b"*1\r\n$-5\r\n", b"*-7\r\n", b"*99999999999999999999\r\n", b"*1\r\n:5\r\n", b"*1\r\n" * 50_000,
                    b"*1\r\n$4\r\nPINGxx", b"$5\r\nhello\r\n", b"*0\r\n" * 10_000, b"+OK\r\n", b"*1\r\n$0\r\n\r\n", b"*2\r\n$3\r\nGET\r\n")
        yield from (b"GET " + b"/" * 100_000, b"GET /metrics HTTP/9.9\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n",
                    b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 20_000, b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffff\r\n")
        # BASP headers: operation, padding, flags, payload length, operation data, source and destination actor.
        for operation in range(9):
            for length in (0, 16, 4096, 0x7FFFFFFF, 0xFFFFFFF0):
                for data in (0, 4, 1 << 63):
                    yield struct.pack(">BBBBIQQQ", operation, 0, 0, rng.randrange(4), length, data, rng.randrange(3), rng.randrange(3)) \
                        + rng.randbytes(64)

    def damaged_handshakes(self, node):
        """What a peer says first, sent back as other messages, with a few bytes changed."""
        with socket.create_connection((node.host, node.entry["peer_port"]), timeout=5) as client:
            header = client.recv(32, socket.MSG_WAITALL)
            payload = client.recv(struct.unpack(">I", header[4:8])[0], socket.MSG_WAITALL)
        rng = self.random
        for _ in range(300):
            frames = b""
            for _ in range(rng.randrange(1, 5)):
                damaged = bytearray(payload)
                for _ in range(rng.randrange(6)):
                    damaged[rng.randrange(len(damaged))] = rng.choice([0, 1, 127, 255, rng.randrange(256)])
                if rng.random() < 0.3:
                    del damaged[rng.randrange(len(damaged)):]
                frames += struct.pack(">BBBBIQQQ", rng.randrange(7), 0, 0, rng.randrange(4), len(damaged), rng.choice([0, 1, 3, 4]),
                                      rng.randrange(4), rng.randrange(20)) + damaged
            yield frames

    def test_garbage_on_any_port_neither_kills_a_node_nor_swells_it(self):
        cluster = self.cluster()
        node = cluster["n1"]
        before = node.rss_mb()
        peak = {}
        for field in ("resp_port", "http_port", "peer_port"):
            node.reset_peak()
            for number, data in enumerate(self.samples()):
                self.throw(node.host, node.entry[field], data)
                self.assertIsNone(node.process.poll(), f"seed {self.seed}: sample {number} on {field} killed the node: {data[:64]!r}")
            peak[field] = node.peak_mb()
        node.reset_peak()
        for number, data in enumerate(self.damaged_handshakes(node)):
            self.throw(node.host, node.entry["peer_port"], data)
            self.assertIsNone(node.process.poll(), f"seed {self.seed}: handshake {number} killed the node: {data!r}")
        peak["handshakes"] = node.peak_mb()
        self.say(f"resident {before:.0f} MB before, peaks {({k: round(v) for k, v in peak.items()})}")
        self.assertEqual(node.ask("SET", "key", "value"), "OK")
        cluster.wait_ready()
        for other in cluster:
            self.assertEqual(other.ask("GET", "key"), b"value")
        if not SANITIZED:
            for field, mb in peak.items():
                self.assertLess(mb - before, 150, f"memory after garbage on {field}")


@unittest.skipIf(SANITIZED, "memory is measured without sanitizers")
class Memory(ClusterCase):
    SERIAL = True

    def test_an_idle_node_uses_at_most_60_mb(self):
        cluster = self.cluster()
        sizes = {node.name: node.rss_mb() for node in cluster}
        self.say(f"resident: {sizes}")
        self.assertLessEqual(max(sizes.values()), 60)

    def test_an_idle_node_costs_little_cpu(self):
        cluster = self.cluster()

        def cpu():
            total = 0
            for node in cluster:
                fields = open(f"/proc/{node.process.pid}/stat").read().rsplit(")", 1)[1].split()
                total += int(fields[11]) + int(fields[12])
            return total / os.sysconf("SC_CLK_TCK")
        start, before = time.monotonic(), cpu()
        wait_until(lambda: time.monotonic() > start + 5, 10, "five seconds of idling", every=0.5)
        share = (cpu() - before) / (time.monotonic() - start)
        self.say(f"{100 * share:.1f} % of a core for three idle nodes")
        self.assertLess(share, 0.15)


if __name__ == "__main__":
    unittest.main()
