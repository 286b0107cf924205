"""The connections to a place: which of them a request goes over, and what it waits for when there is none."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, cast

from dispatcher.transport.exchange import KEEP_ALIVE, Done, Head, NotWrittenError, Origin
from dispatcher.transport.timer_wheel import TimerWheel
from dispatcher.transport.wire import Connection

Free = Callable[[Connection], None]
# Connects, and returns what calls the one when it is free and the other when it is gone; `OSError` when it can't.
Dial = Callable[[Free, Free], Awaitable[Connection]]


class Pools:
    """A pool for each place that is asked for something, which *make* returns."""

    def __init__(self, make: Callable[[Origin], "Pool"]) -> None:
        self._make = make
        self._pools: dict[Origin, Pool] = {}

    def send(self, head: Head, body: bytes, tag: Any, done: Done) -> None:
        """Have the pool of the place write a request, now or soon."""
        pool = self._pools.get(head.origin)
        if pool is None:
            pool = self._pools[head.origin] = self._make(head.origin)
        pool.send(head, body, tag, done)

    def close(self) -> None:
        """Close every connection of every pool."""
        for pool in self._pools.values():
            pool.close()


class Pool:
    """Opens as many connections as there are requests at once; whoever calls bounds those.

    The one that was used last is used first, so that the others can come to rest and be closed. *may_write* is asked
    in the moment before a request with a body is written.
    """

    def __init__(
        self,
        dial: Dial,
        wheel: TimerWheel[Connection],
        tasks: asyncio.TaskGroup,
        *,
        request_timeout: float,
        may_write: Callable[[], bool],
    ) -> None:
        self._dial = dial
        self._wheel = wheel
        self._tasks = tasks
        self._request_timeout = request_timeout
        self._may_write = may_write
        self._call_soon = asyncio.get_running_loop().call_soon
        self._connections: set[Connection] = set()
        self._idle: dict[Connection, None] = {}
        # For each that waits a connection is being opened, or more; whichever connection is free first takes it.
        self._waiting: deque[tuple[Head, bytes, Any, Done]] = deque()
        self._opening: set[asyncio.Task[None]] = set()

    def send(self, head: Head, body: bytes, tag: Any, done: Done) -> None:
        """Write a request now if a connection is free, else over the first that will be."""
        while self._idle:
            connection, _ = self._idle.popitem()
            if connection.may_carry():
                if not self._write(connection, head, body, tag, done):
                    self._idle[connection] = None
                return
            connection.close()
        self._waiting.append((head, body, tag, done))
        if len(self._waiting) > len(self._opening):
            self._opening.add(self._tasks.create_task(self._open(), name=f"connecting-to-{head.origin.host}"))

    def close(self) -> None:
        """Close every connection; what is in flight is given up without a word."""
        self._waiting.clear()
        for opening in self._opening:
            opening.cancel()
        for connection in self._connections:
            connection.close()

    def _write(self, connection: Connection, head: Head, body: bytes, tag: Any, done: Done) -> bool:
        """Write the request, if it still may be; say whether *connection* is taken now."""
        request = head.with_body(body)
        if body and not self._may_write():
            self._call_soon(done, tag, NotWrittenError("this worker may no longer send"))
            return False
        connection.write(request, tag, done)
        self._wheel.set(connection, self._request_timeout)
        return True

    async def _open(self) -> None:
        """Open one connection more, for whoever waits longest by then."""
        opening = cast(asyncio.Task[None], asyncio.current_task())
        try:
            connection = await self._dial(self._free, self._gone)
        except (OSError, UnicodeError) as error:  # the latter: a name that cannot be one
            self._opening.remove(opening)
            if len(self._waiting) > len(self._opening):
                _, _, tag, done = self._waiting.popleft()
                done(tag, NotWrittenError(f"no connection ({type(error).__name__})"))
        else:
            self._opening.remove(opening)
            self._connections.add(connection)
            self._free(connection)

    def _free(self, connection: Connection) -> None:
        while self._waiting:
            if self._write(connection, *self._waiting.popleft()):
                return
        self._wheel.set(connection, KEEP_ALIVE)
        self._idle[connection] = None

    def _gone(self, connection: Connection) -> None:
        self._wheel.forget(connection)
        self._connections.discard(connection)
        self._idle.pop(connection, None)
