"""A server that does as it is told, be it ever so rude, and a client that keeps all it hears."""

import asyncio
import socket
import ssl
import struct
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path

from yarl import URL

from dispatcher.transport.exchange import Head, NotWrittenError, Outcome, Reply, Send

# Self-signed for `localhost`, and its own authority.
CERTIFICATE = Path(__file__).parents[2] / "fixtures" / "tls" / "localhost.pem"
_RESET = struct.pack("ii", 1, 0)


class Peer:
    """The server's end of a connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.asked: list[bytes] = []
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
        self.asked.append(body)
        return body

    async def begun(self) -> None:
        """Come back when a request has begun to come."""
        self._unread += await self._loop.sock_recv(self.sock, 1)

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
    """Plays one of *scripts* for each request, and echoes when there is none left.

    *at_once*: the scripts are played before a request is read.
    """

    def __init__(
        self, scripts: Sequence[Script], socks: Sequence[socket.socket], tasks: asyncio.TaskGroup, *, at_once: bool
    ) -> None:
        self.peers: list[Peer] = []
        self.url = URL(f"http://127.0.0.1:{socks[0].getsockname()[1]}/")
        self._scripts = deque(scripts)
        self._at_once = at_once
        self._tasks = tasks
        self._running = [tasks.create_task(self._accept(sock)) for sock in socks]

    async def _accept(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        while True:
            accepted, _ = await asyncio.get_running_loop().sock_accept(sock)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.peers.append(Peer(accepted))
            self._running.append(self._tasks.create_task(self._attend(self.peers[-1])))

    async def _attend(self, peer: Peer) -> None:
        with suppress(OSError, EOFError), peer.sock:
            if self._at_once and self._scripts:
                await self._scripts.popleft()(peer, b"")
            while peer.sock.fileno() != -1:
                body = await peer.request()
                await (self._scripts.popleft() if self._scripts else echo)(peer, body)

    def close(self) -> None:
        for task in self._running:
            task.cancel()


@asynccontextmanager
async def serve(
    *scripts: Script, at_once: bool = False, on: Sequence[str] = ("127.0.0.1",)
) -> AsyncIterator[RudeServer]:
    """Run a server until the context ends, at one port of each address that it is *on*."""
    with ExitStack() as stack:
        socks = [stack.enter_context(socket.create_server((on[0], 0)))]
        port = socks[0].getsockname()[1]
        socks += [stack.enter_context(socket.create_server((address, port))) for address in on[1:]]
        async with asyncio.TaskGroup() as tasks:
            server = RudeServer(scripts, socks, tasks, at_once=at_once)
            try:
                yield server
            finally:
                server.close()


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serve_tls(handler: Handler, seen: list[str | None]) -> AsyncIterator[int]:
    """Run a server of TLS; yield its port. The names that clients ask for go into *seen*."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    context.set_alpn_protocols(["h2", "http/1.1"])
    context.sni_callback = lambda _object, name, _context: seen.append(name)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, EOFError, ssl.SSLError):
            await handler(reader, writer)
        writer.transport.abort()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


class Client:
    """Sends by *send*, and keeps all that each request was told, by its body."""

    def __init__(self, send: Send, server: RudeServer | URL) -> None:
        self.told: defaultdict[bytes, list[Outcome]] = defaultdict(list)
        self._send = send
        url = server if isinstance(server, URL) else server.url
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
