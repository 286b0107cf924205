"""Opens connections: where a host answers, which address comes first, and what the kernel is told about a socket."""

import asyncio
import socket
import ssl
import struct
from contextlib import ExitStack
from math import inf
from typing import Any

from dispatcher.clock import Clock
from dispatcher.transport.exchange import CONNECT_TIMEOUT, Origin
from dispatcher.transport.wire import Connection
from dispatcher.transport.wire_pool import Free
from dispatcher.transport.wire_socket import SocketTransport
from dispatcher.transport.wire_tls import TlsTransport

# Seconds after which a name is looked up again: load balancers come and go.
NAMES_HOLD = 30.0
_LINGER_NOT_AT_ALL = struct.pack("ii", 1, 0)
# Family and address, as sockets take them.
Address = tuple[int, Any]


class Dialer:
    """Connects to *origin*, each time to the next of its addresses, and past those that refuse.

    The kernel gives a connection up where what was sent is not acknowledged for *unheard* seconds.
    """

    def __init__(self, origin: Origin, clock: Clock, *, unheard: float) -> None:
        self._origin = origin
        self._clock = clock
        self._unheard = unheard
        self._tls = make_tls() if origin.is_tls else None
        self._looking_up = asyncio.Lock()
        self._looked_up_at = -inf
        self._addresses: list[Address] = []
        self._refusing: set[Address] = set()
        self._turn = 0

    async def dial(self, free: Free, gone: Free) -> Connection:
        """Return a new connection; `OSError` when no address let us in within `CONNECT_TIMEOUT`."""
        async with asyncio.timeout(CONNECT_TIMEOUT):
            *others, last = await self._in_turn()
            for address in others:
                try:
                    # One that says nothing leaves time for the others.
                    async with asyncio.timeout(CONNECT_TIMEOUT / (1 + len(others))):
                        return await self._connect(address, free, gone)
                except OSError:
                    self._refusing.add(address)
            return await self._connect(last, free, gone)

    async def _in_turn(self) -> list[Address]:
        async with self._looking_up:
            if self._clock.monotonic() - self._looked_up_at >= NAMES_HOLD:
                loop = asyncio.get_running_loop()
                found = await loop.getaddrinfo(self._origin.host, self._origin.port, type=socket.SOCK_STREAM)
                self._addresses = list(dict.fromkeys((family, address) for family, *_, address in found))
                self._refusing.clear()
                self._looked_up_at = self._clock.monotonic()
        answering = [address for address in self._addresses if address not in self._refusing]
        self._turn = (self._turn + 1) % (len(answering) or 1)
        return answering[self._turn :] + answering[: self._turn] + list(self._refusing)

    async def _connect(self, address: Address, free: Free, gone: Free) -> Connection:
        loop = asyncio.get_running_loop()
        with ExitStack() as stack:
            sock = stack.enter_context(make_socket(address[0], self._unheard))
            await loop.sock_connect(sock, address[1])
            connection = Connection(sock, free=free, gone=gone)
            stack.pop_all()  # from here on the transport's
            if self._tls is None:
                SocketTransport(sock, connection)
            else:
                await self._connect_by_tls(connection, sock, self._tls)
        await asyncio.sleep(0)  # who speaks before being asked does it now
        # A TLS server may send session tickets before it is asked.
        if not (connection.is_open if self._tls else connection.may_carry()):
            connection.close()
            raise ConnectionAbortedError
        return connection

    async def _connect_by_tls(self, connection: Connection, sock: socket.socket, context: ssl.SSLContext) -> None:
        layer = TlsTransport(connection, context, self._origin.host)
        SocketTransport(sock, layer)
        try:
            await layer.shaken
        except BaseException:
            layer.abort()
            raise


def make_tls() -> ssl.SSLContext:
    """Return what checks a server's certificate and name, by the system's authorities."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def make_socket(family: int, unheard: float | None = None) -> socket.socket:
    """Return a socket whose connection is reset when it is closed, by us or by our death.

    Closed the usual way, it would go on sending: a request that we gave up could still arrive minutes later, when the
    network has come back and the message has been sent again. Nor does it send anything again that was not acknowledged
    for *unheard* seconds.
    """
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setblocking(False)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT_AT_ALL)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if unheard is not None and hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(unheard * 1000))
    return made
