"""A server that does as it is told, be it ever so rude, and a client that keeps all it hears."""

import asyncio
import socket
import struct
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress

from yarl import URL

from dispatcher.transport.exchange import Head, NotWrittenError, Outcome, Reply, Send

_RESET = struct.pack("ii", 1, 0)


class Peer:
    """The server's end of a connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._loop = asyncio.get_running_loop()
        self._unread = b""

    async def request(self) -> bytes:
        """Read a request and return its body; `EOFError` when the client has closed, `ConnectionResetError` too."""
        while b"\r\n\r\n" not in self._unread:
            self._unread += await self.some()
        head, _, self._unread = self._unread.partition(b"\r\n\r\n")
        size = next((int(line[16:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length: ")), 0)
        while len(self._unread) < size:
            self._unread += await self.some()
        body, self._unread = self._unread[:size], self._unread[size:]
        return body

    async def some(self) -> bytes:
        if data := await self._loop.sock_recv(self.sock, 65536):
            return data
        raise EOFError

    async def send(self, *pieces: bytes) -> None:
        """Send *pieces* so that each is read by itself."""
        for piece in filter(None, pieces):
            await self._loop.sock_sendall(self.sock, piece)
            await turns(3)

    def close(self) -> None:
        self.sock.close()

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.sock.close()


# What is done when a request with this body has been read.
Script = Callable[[Peer, bytes], Awaitable[None]]


async def echo(peer: Peer, body: bytes) -> None:
    """Answer with what was asked."""
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


class RudeServer:
    """Plays one of *scripts* for each request, and echoes when there is none left."""

    def __init__(self, scripts: Sequence[Script], sock: socket.socket, tasks: asyncio.TaskGroup) -> None:
        self.peers: list[Peer] = []
        self.asked: list[bytes] = []
        self.url = URL(f"http://127.0.0.1:{sock.getsockname()[1]}/")
        self._scripts = deque(scripts)
        self._tasks = tasks
        self._running = [tasks.create_task(self._accept(sock))]

    async def _accept(self, sock: socket.socket) -> None:
        while True:
            accepted, _ = await asyncio.get_running_loop().sock_accept(sock)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.peers.append(Peer(accepted))
            self._running.append(self._tasks.create_task(self._attend(self.peers[-1])))

    async def _attend(self, peer: Peer) -> None:
        with suppress(OSError, EOFError), peer.sock:
            while peer.sock.fileno() != -1:
                body = await peer.request()
                self.asked.append(body)
                await (self._scripts.popleft() if self._scripts else echo)(peer, body)

    def close(self) -> None:
        for task in self._running:
            task.cancel()


@asynccontextmanager
async def serve(*scripts: Script) -> AsyncIterator[RudeServer]:
    """Run a server until the context ends."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.setblocking(False)
        async with asyncio.TaskGroup() as tasks:
            server = RudeServer(scripts, sock, tasks)
            try:
                yield server
            finally:
                server.close()


class Client:
    """Sends by *send*, and keeps all that each request was told, by its body."""

    def __init__(self, send: Send, url: URL) -> None:
        self.told: defaultdict[bytes, list[Outcome]] = defaultdict(list)
        self._send = send
        self._head = Head("POST", url, {"Content-Type": "application/x-www-form-urlencoded"})
        self._told_more = asyncio.Event()

    def send(self, body: bytes) -> None:
        self._send(self._head, body, body, self._done)

    async def ask(self, body: bytes) -> tuple[int, bytes] | str:
        """Send a request and return what it is told first, in short."""
        self.send(body)
        return await self.hear(body)

    async def hear(self, body: bytes) -> tuple[int, bytes] | str:
        async with asyncio.timeout(20):
            while not self.told[body]:
                self._told_more.clear()
                await self._told_more.wait()
        return in_short(self.told[body][0])

    def _done(self, tag: bytes, outcome: Outcome) -> None:
        self.told[tag].append(outcome)
        self._told_more.set()


def in_short(outcome: Outcome) -> tuple[int, bytes] | str:
    if isinstance(outcome, Reply):
        return outcome.status, outcome.body
    return "not written" if isinstance(outcome, NotWrittenError) else "no reply"


async def turns(count: int) -> None:
    """Let the loop turn so often, so that it reads what has come."""
    for _ in range(count):
        await asyncio.sleep(0)
