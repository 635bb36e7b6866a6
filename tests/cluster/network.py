"""Nodes on hosts of their own: network namespaces joined by a bridge.

The test process moves into a fresh network namespace of its own, which holds the bridge; every node gets another one,
with one address on a veth pair. Namespaces have no names, only open file descriptors, so they and all that is in them
vanish with the test, however it ends; nothing outside is ever touched.
"""

import contextlib
import ctypes
import math
import os
import shutil
import subprocess
import unittest

import ports
from relay import Relay

CLONE_NEWNET = 0x40000000
PREFIX = "10.77.0."
_libc = ctypes.CDLL(None, use_errno=True)


def _check(result, what):
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


class Namespace:
    """A network namespace, held open."""

    def __init__(self, new=True):
        if new:
            with Namespace(new=False) as here:
                _check(_libc.unshare(CLONE_NEWNET), "unshare")
                self.fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
                here.enter()
        else:
            self.fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None

    def enter(self):
        """Moves the calling thread (and the threads and processes it starts) into this namespace."""
        _check(_libc.setns(self.fd, CLONE_NEWNET), "setns")

    @property
    def path(self):
        return f"/proc/{os.getpid()}/fd/{self.fd}"

    def run(self, *command, stdin=""):
        done = subprocess.run(command, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              preexec_fn=self.enter)
        if done.returncode != 0:
            raise OSError(f"{' '.join(command)}: {done.stdout.strip()}")
        return done.stdout


def require(case, *tools):
    for tool in tools:
        if shutil.which(tool, path=os.environ.get("PATH", "") + ":/sbin:/usr/sbin") is None:
            case.skipTest(f"no {tool} on this machine")


@contextlib.contextmanager
def own_namespace(case):
    """The test's thread in an empty network with only a loopback; without the right to make one, the real loopback if
    crema's default ports are free there."""
    try:
        here, there = Namespace(new=False), Namespace()
    except OSError as error:
        if not all(map(ports.is_free, (7101, 6401, 8101))):
            case.skipTest(f"the default ports are in use, and no network namespace can be made ({error})")
        yield
        return
    require(case, "ip")
    there.enter()
    try:
        there.run("ip", "link", "set", "lo", "up")
        yield
    finally:
        here.enter()
        here.close()
        there.close()


class Network:
    """`count` hosts on a bridge. The test itself sits on the bridge as 10.77.0.254."""

    def __init__(self, case, count):
        require(case, "ip", "nft")
        self.here = Namespace(new=False)
        self.namespaces = []
        self.relays = []
        self.switch = None
        case.addCleanup(self.close)
        try:
            self.switch = Namespace()
            self.switch.enter()
            self.switch.run("ip", "link", "set", "lo", "up")
            self.switch.run("ip", "link", "add", "br0", "type", "bridge")
            self.switch.run("ip", "addr", "add", f"{PREFIX}254/24", "dev", "br0")
            self.switch.run("ip", "link", "set", "br0", "up")
            for index in range(count):
                self.add_host(index)
        except OSError as error:
            raise unittest.SkipTest(f"network namespaces are not allowed here: {error}") from None

    @staticmethod
    def address(index):
        return f"{PREFIX}{index + 1}"

    def add_host(self, index):
        host = Namespace()
        self.namespaces.append(host)
        self.switch.run("ip", "link", "add", f"port{index}", "type", "veth", "peer", "name", "eth0", "netns", host.path)
        self.switch.run("ip", "link", "set", f"port{index}", "master", "br0", "up")
        host.run("ip", "link", "set", "lo", "up")
        host.run("ip", "addr", "add", f"{self.address(index)}/24", "dev", "eth0")
        host.run("ip", "link", "set", "eth0", "up")
        # A cut that cannot be made later must skip the test, not fail it.
        host.run("nft", "add", "table", "inet", "cut")

    def cut(self, index):
        """Packets between this host and the other hosts are silently dropped; the test still reaches all."""
        self.drop(index, self.others(index))

    def split(self, *sides):
        """Packets between hosts of different sides are dropped."""
        for side in sides:
            for index in side:
                self.drop(index, [other for other in self.others(index) if other not in side])

    def mute(self, index):
        """The host hears the others, and they do not hear it."""
        self.drop(index, self.others(index), directions=("out",))

    def deafen(self, index):
        """The others hear the host, and it does not hear them."""
        self.drop(index, self.others(index), directions=("in",))

    def others(self, index):
        return [other for other in range(len(self.namespaces)) if other != index]

    def drop(self, index, others, directions=("in", "out"), which=""):
        addresses = ", ".join(self.address(other) for other in others)
        rules = {"in": ("input", "saddr"), "out": ("output", "daddr")}
        for direction in directions:
            hook, field = rules[direction]
            self.namespaces[index].run("nft", "-f", "-", stdin=f"""
                add chain inet cut {direction} {{ type filter hook {hook} priority 0; }}
                add rule inet cut {direction} ip {field} {{ {addresses} }} {which} drop
                """)

    def lose(self, percent):
        """So many of the packets between hosts are lost, at random."""
        for index in range(len(self.namespaces)):
            self.drop(index, self.others(index), directions=("out",), which=f"numgen random mod 100 < {percent}")

    def slow_down(self, port, delay=lambda random: 0.0, bytes_per_s=math.inf):
        """What goes between the peer ports of the hosts is held back for delay(random) seconds, and goes no faster than
        that on each connection. To be called before the nodes start."""
        try:
            for index, namespace in enumerate(self.namespaces):
                peers = [self.address(other) for other in self.others(index)]
                self.relays.append(Relay(namespace, peers, port, delay, bytes_per_s, index))
        except OSError as error:
            raise unittest.SkipTest(f"connections cannot be sent through a relay here: {error}") from None

    def heal(self, *indices):
        """All of them, if none is named."""
        for index in indices or range(len(self.namespaces)):
            self.namespaces[index].run("nft", "flush", "table", "inet", "cut")

    def close(self):
        self.here.enter()
        for relay in self.relays:
            relay.close()
        for namespace in [*self.namespaces, *([self.switch] if self.switch else []), self.here]:
            namespace.close()
