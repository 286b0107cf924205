"""An HTTP/1.1 client that knows whether a request may have left, and costs a message no task, future or timer.

`wire_pool` keeps a pool a place and chooses connections, `wire_dial` opens them, `wire` speaks over a `wire_socket`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from dispatcher.clock import Clock
from dispatcher.transport.exchange import Origin, Send
from dispatcher.transport.timer_wheel import TICK, TimerWheel
from dispatcher.transport.wire import Connection
from dispatcher.transport.wire_dial import Dialer
from dispatcher.transport.wire_pool import Pool, Pools


@asynccontextmanager
async def open_wire(*, request_timeout: float, may_write: Callable[[], bool], clock: Clock) -> AsyncIterator[Send]:
    """Yield what sends requests: an answer has to be whole *request_timeout* seconds after its request was written.

    When the context ends, what is in flight is given up without a word.
    """
    wheel: TimerWheel[Connection] = TimerWheel(clock)
    async with asyncio.TaskGroup() as tasks:

        def make(origin: Origin) -> Pool:
            dial = Dialer(origin, clock, unheard=request_timeout).dial
            return Pool(dial, wheel, tasks, request_timeout=request_timeout, may_write=may_write)

        pools = Pools(make)
        turning = tasks.create_task(_turn(wheel, clock), name="wire-time-outs")
        try:
            yield pools.send
        finally:
            turning.cancel()
            pools.close()


async def _turn(wheel: TimerWheel[Connection], clock: Clock) -> None:
    while True:
        await clock.sleep(TICK)
        for connection in wheel.turn():
            connection.expire()
