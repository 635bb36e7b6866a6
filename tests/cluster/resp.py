"""A small RESP2 client: pipelines, deadlines, error replies as values.

    with Client(6401) as client:
        client.call("SET", "k", b"v")                         # "OK"
        client.pipeline([("GET", "k"), ("NONSENSE",)])        # [b"v", Error("ERR unknown command ...")]
"""

import select
import socket

PIPELINE_COMMANDS = 256  # Sent before their replies are read: a server may stop reading from a client that does not read.


class Error(str):
    """An error reply. `code` is its first word."""

    @property
    def code(self):
        return self.split(" ", 1)[0]


def encode(command):
    parts = [b"*%d\r\n" % len(command)]
    for argument in command:
        if not isinstance(argument, bytes):
            argument = str(argument).encode()
        parts += (b"$%d\r\n" % len(argument), argument, b"\r\n")
    return b"".join(parts)


class Client:
    """One connection. After a TimeoutError or ConnectionError it is closed: replies could no longer be told apart."""

    def __init__(self, port, host="127.0.0.1", timeout=10.0, db=None):
        self.socket = socket.create_connection((host, port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = self.socket.makefile("rb", 1 << 16)
        if db is not None:
            reply = self.call("SELECT", db)
            if isinstance(reply, Error):
                raise ConnectionError(f"SELECT {db}: {reply}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.reader.close()
        self.socket.close()

    def at_end(self):
        """Has the server closed the connection?"""
        return bool(select.select([self.socket], [], [], 0)[0]) and self.socket.recv(1, socket.MSG_PEEK) == b""

    def call(self, *command):
        return self.pipeline([command])[0]

    def pipeline(self, commands):
        replies = []
        try:
            for start in range(0, len(commands), PIPELINE_COMMANDS):
                chunk = commands[start:start + PIPELINE_COMMANDS]
                self.socket.sendall(b"".join(map(encode, chunk)))
                for _ in chunk:
                    replies.append(self.read_reply())
        except (OSError, ValueError):  # ValueError: closed by an earlier error.
            self.close()
            raise
        return replies

    def read_reply(self):
        line = self.reader.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionResetError("connection closed by the server")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest.decode()
        if kind == b"-":
            return Error(rest.decode("utf-8", "replace"))
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self.read_bytes(int(rest))
        if kind == b"*":
            return None if rest == b"-1" else [self.read_reply() for _ in range(int(rest))]
        raise ConnectionError(f"not a RESP2 reply: {line[:80]!r}")

    def read_bytes(self, size):
        data = self.reader.read(size + 2)
        if data is None or len(data) != size + 2 or data[-2:] != b"\r\n":
            raise ConnectionResetError("connection closed inside a reply")
        return data[:-2]
