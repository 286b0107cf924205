"""An HTTP/1.1 client that knows whether a request may have left, and costs a message no task, future or timer.

`wire_client` keeps a pool a place, `wire_pool` chooses connections, `wire_dial` opens them, `wire` speaks.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from dispatcher.clock import Clock
from dispatcher.transport.exchange import Done, Head, Origin, Send
from dispatcher.transport.timer_wheel import TICK, TimerWheel
from dispatcher.transport.wire import Connection
from dispatcher.transport.wire_dial import Dialer
from dispatcher.transport.wire_pool import Pool


@asynccontextmanager
async def open_wire(*, request_timeout: float, may_write: Callable[[], bool], clock: Clock) -> AsyncIterator[Send]:
    """Yield what sends requests: an answer has to be whole *request_timeout* seconds after its request was written.

    When the context ends, what is in flight is given up without a word.
    """
    wheel: TimerWheel[Connection] = TimerWheel(clock)
    pools: dict[Origin, Pool] = {}
    async with asyncio.TaskGroup() as tasks:

        def send(head: Head, body: bytes, tag: Any, done: Done) -> None:
            pool = pools.get(head.origin)
            if pool is None:
                dialer = Dialer(head.origin, clock, unheard=request_timeout)
                pool = pools[head.origin] = Pool(
                    dialer.dial, wheel, tasks, request_timeout=request_timeout, may_write=may_write
                )
            pool.send(head, body, tag, done)

        turning = tasks.create_task(_turn(wheel, clock), name="wire-time-outs")
        try:
            yield send
        finally:
            turning.cancel()
            for pool in pools.values():
                pool.close()


async def _turn(wheel: TimerWheel[Connection], clock: Clock) -> None:
    while True:
        await clock.sleep(TICK)
        for connection in wheel.turn():
            connection.expire()
