"""Opens the HTTP session that all requests to Twilio share."""

import socket
import struct
from collections.abc import Callable
from typing import Any

import aiohttp

# Below what servers and load balancers keep open: a POST on a connection that was just closed is in doubt.
KEEP_ALIVE = 15.0
CONNECT_TIMEOUT = 5.0
_LINGER_NOT_AT_ALL = struct.pack("ii", 1, 0)


class FenceClosedError(aiohttp.ClientError):
    """The request was not written: this worker may no longer send."""


def make_session(request_timeout: float, may_write: Callable[[], bool] = lambda: True) -> aiohttp.ClientSession:
    """Return a session whose requests may wait *request_timeout* seconds for bytes of an answer.

    The number of connections is not limited here: the accounts' concurrency limits it. *may_write* is asked in the
    moment before a request with a body is written, when a connection has been found: finding one may take seconds.
    """

    class FencedRequest(aiohttp.ClientRequest):
        # Not in `send`: before Python 3.12 that only starts this as a task. Whoever is frozen before the task's turn
        # would write on waking.
        async def write_bytes(
            self, writer: Any, conn: aiohttp.connector.Connection, content_length: int | None = None
        ) -> None:
            if may_write():
                await super().write_bytes(writer, conn, content_length)
            elif conn.protocol is not None:
                conn.protocol.set_exception(FenceClosedError())

    return aiohttp.ClientSession(
        request_class=FencedRequest,
        connector=aiohttp.TCPConnector(
            limit=0, keepalive_timeout=KEEP_ALIVE, ttl_dns_cache=30, socket_factory=_make_socket
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        # A total time-out would cost a timer for each request; connecting and each read are bounded.
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT, sock_read=request_timeout),
        auto_decompress=False,
    )


def _make_socket(address: tuple[Any, ...]) -> socket.socket:
    """Return a socket whose connection is reset when it is closed, by us or by our death.

    Closed the usual way, it would go on sending: a request that we gave up could still arrive minutes later, when the
    network has come back and the message has been sent again.
    """
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT_AT_ALL)
    return made
