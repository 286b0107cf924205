"""The same over aiohttp: the second opinion on the wire client, and the way through a proxy."""

import asyncio
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from dispatcher.transport.exchange import (
    CONNECT_TIMEOUT,
    KEEP_ALIVE,
    LARGEST_BODY,
    LARGEST_HEAD,
    Done,
    Head,
    NoReplyError,
    NotWrittenError,
    Outcome,
    Reply,
    Send,
)
from dispatcher.transport.wire_dial import make_socket, make_tls


class FenceClosedError(aiohttp.ClientError):
    """The request was not written: this worker may no longer send."""


@asynccontextmanager
async def open_session(
    *, request_timeout: float, may_write: Callable[[], bool], trust_env: bool = False
) -> AsyncIterator[Send]:
    """Yield what sends requests, each of which may wait *request_timeout* seconds for bytes of its answer.

    *trust_env*: a proxy that the environment names is used. When the context ends, what is in flight is given up.
    """
    async with (
        _make_session(request_timeout, may_write, trust_env=trust_env) as session,
        asyncio.TaskGroup() as tasks,
    ):
        slots = _Slots(session, tasks)
        try:
            yield slots.send
        finally:
            slots.close()


class _Slots:
    """Sends each request in a slot: a long-lived task, so that a request needs none of its own.

    There are never more slots than requests were in flight at once.
    """

    def __init__(self, session: aiohttp.ClientSession, tasks: asyncio.TaskGroup) -> None:
        self._session = session
        self._tasks = tasks
        self._waiting: deque[tuple[Head, bytes, Any, Done]] = deque()
        self._idle: deque[asyncio.Future[None]] = deque()
        self._slots: list[asyncio.Task[None]] = []
        self._open = 0

    def send(self, head: Head, body: bytes, tag: Any, done: Done) -> None:
        """Send a request as soon as a slot takes it, which is at once."""
        self._waiting.append((head, body, tag, done))
        self._open += 1
        if self._open > len(self._slots):
            self._slots.append(self._tasks.create_task(self._run_slot(), name=f"http-slot-{len(self._slots)}"))
        elif self._idle:
            self._idle.popleft().set_result(None)

    def close(self) -> None:
        """End the slots."""
        for slot in self._slots:
            slot.cancel()

    async def _run_slot(self) -> None:
        while True:
            while self._waiting:
                head, body, tag, done = self._waiting.popleft()
                outcome = await self._exchange(head, body)
                self._open -= 1
                done(tag, outcome)
            idle: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._idle.append(idle)
            await idle

    async def _exchange(self, head: Head, body: bytes) -> Outcome:
        try:
            async with self._session.request(
                head.method, head.url, data=body or None, headers=head.headers, allow_redirects=False
            ) as response:
                return Reply(response.status, response.raw_headers, await _read(response))
        except FenceClosedError:
            return NotWrittenError("this worker may no longer send")
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.ClientHttpProxyError) as error:
            return NotWrittenError(f"no connection ({type(error).__name__})")
        except TimeoutError:
            return NoReplyError("no answer in time")
        except (aiohttp.ClientError, OSError) as error:
            # It broke after the connection stood: some of the request may have arrived.
            return NoReplyError(f"the connection broke before the whole answer came ({type(error).__name__})")


async def _read(response: aiohttp.ClientResponse) -> bytes:
    if response.content_length is not None and response.content_length <= LARGEST_BODY:
        return await response.read()
    body = b""
    async for some in response.content.iter_any():
        body += some
        if len(body) > LARGEST_BODY:
            response.close()
            raise aiohttp.ClientPayloadError("the answer's body is too large")
    return body


def _make_session(request_timeout: float, may_write: Callable[[], bool], *, trust_env: bool) -> aiohttp.ClientSession:
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

    def socket_factory(address: tuple[Any, ...]) -> socket.socket:
        return make_socket(address[0])

    return aiohttp.ClientSession(
        request_class=FencedRequest,
        connector=aiohttp.TCPConnector(
            limit=0, keepalive_timeout=KEEP_ALIVE, ttl_dns_cache=30, socket_factory=socket_factory, ssl=make_tls()
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        # A total time-out would cost a timer for each request; connecting and each read are bounded.
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT, sock_read=request_timeout),
        auto_decompress=False,
        max_field_size=LARGEST_HEAD,
        trust_env=trust_env,
    )
