"""Slow links: what a host sends to the peer ports of the others goes through a relay on that host, which holds it back.

Not every kernel can delay packets by itself. The relay is the tests' own; it lives in a thread inside the host's
namespace, and the namespace sends the host's connections to it.
"""

import asyncio
import random
import socket
import threading

MARK = 1  # Connections of the relay itself.
FIRST_PORT = 20000


class Relay:
    """Everything that one host sends to, and hears over its connections from, the addresses in `peers`.

    `delay(random)` says for how many seconds a piece of data is held back; pieces stay in order, as in TCP. A connection
    carries at most so many `bytes_per_s` each way."""

    def __init__(self, namespace, peers, port, delay, bytes_per_s, seed):
        self.namespace, self.peers, self.port, self.delay, self.bytes_per_s = namespace, peers, port, delay, bytes_per_s
        self.random = random.Random(seed)
        self.started = threading.Event()
        self.failure = None
        self.carried = 0  # Bytes.
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        self.started.wait()
        if self.failure:
            raise self.failure
        rules = "\n".join(f"add rule ip relay out ip daddr {peer} tcp dport {port} meta mark != {MARK} "
                          f"dnat to 127.0.0.1:{FIRST_PORT + number}" for number, peer in enumerate(peers))
        namespace.run("nft", "-f", "-", stdin=f"""
            add table ip relay
            add chain ip relay out {{ type nat hook output priority -100; }}
            {rules}
            """)

    def run(self):
        try:
            self.namespace.enter()
            self.loop = asyncio.new_event_loop()
            for number, peer in enumerate(self.peers):
                self.loop.run_until_complete(asyncio.start_server(
                    lambda reader, writer, peer=peer: self.serve(reader, writer, peer), "127.0.0.1", FIRST_PORT + number))
        except OSError as error:
            self.failure = error
            return
        finally:
            self.started.set()
        self.loop.run_forever()
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.close()

    async def serve(self, reader, writer, peer):
        onward = socket.socket()
        try:
            onward.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, MARK)
            onward.setblocking(False)
            await self.loop.sock_connect(onward, (peer, self.port))
            there_reader, there_writer = await asyncio.open_connection(sock=onward)
        except OSError:
            writer.close()
            onward.close()
            return
        await asyncio.gather(self.pump(reader, there_writer), self.pump(there_reader, writer))

    async def pump(self, reader, writer):
        pieces = asyncio.Queue(maxsize=1000)

        async def read():
            free = 0.0
            while True:
                try:
                    piece = await reader.read(65536)
                except OSError:
                    piece = b""
                free = max(free, self.loop.time()) + len(piece) / self.bytes_per_s
                await pieces.put((free + self.delay(self.random), piece))
                if not piece:
                    return

        reading = self.loop.create_task(read())
        try:
            while True:
                due, piece = await pieces.get()
                await asyncio.sleep(max(0.0, due - self.loop.time()))
                if not piece:
                    break
                self.carried += len(piece)
                writer.write(piece)
                await writer.drain()
        except OSError:
            pass  # One side has gone: so has the connection.
        finally:
            reading.cancel()
            writer.close()

    def close(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
