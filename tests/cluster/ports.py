"""Free TCP ports for servers that are killed and started again on the same port.

The kernel's own choice (bind to port 0) comes from the range it also takes the local ports of outgoing connections
from: while a node is down, a client or a peer may then sit on its port, or even connect to itself. So ports come from
below that range. A lock file per port keeps tests that run at the same time apart; it goes with the process.
"""

import fcntl
import os
import pathlib
import random
import socket
import tempfile

LOCKS = pathlib.Path(tempfile.gettempdir()) / "crema-test-ports"
_held = []


def _ephemeral_start():
    try:
        return int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except OSError:
        return 32768


def is_free(port, host="127.0.0.1"):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_ports(count):
    LOCKS.mkdir(exist_ok=True)
    chosen = []
    for port in random.sample(range(10000, max(_ephemeral_start(), 12000)), 1000):
        lock = os.open(LOCKS / str(port), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            continue
        if is_free(port):
            _held.append(lock)
            chosen.append(port)
            if len(chosen) == count:
                return chosen
        else:
            os.close(lock)
    raise RuntimeError("no free ports")
