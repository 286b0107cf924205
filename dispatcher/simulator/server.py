"""The stand-in on the wire: HTTP/1.1 with keep-alive, as fast as one core of CPython allows."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, cast

import httptools

from dispatcher.clock import Clock
from dispatcher.domain.fleet import Fleet
from dispatcher.domain.settings import Listen, SimulatorSettings
from dispatcher.simulator.almanac import Almanac
from dispatcher.simulator.answer import Answer, Request
from dispatcher.simulator.callbacks import DELIVERERS, Callbacks
from dispatcher.simulator.carrier import Carriers
from dispatcher.simulator.frontdesk import FrontDesk
from dispatcher.simulator.weather import Weather

# How often what fell due meanwhile is looked at, in seconds: a callback is late by as much.
_TICK: Final = 0.01
_MAX_BODY: Final = 1 << 20
_AUTHORIZATION_LENGTH: Final = len(b"authorization")


class Simulator:
    """A stand-in that runs: where it listens and what it saw so far."""

    def __init__(self, desk: FrontDesk, clock: Clock, address: Listen) -> None:
        self.address = address
        self._desk = desk
        self._clock = clock

    @property
    def url(self) -> str:
        """Return what `twilio.base_url` has to be."""
        return f"http://{self.address}"

    def report(self) -> dict[str, Any]:
        """Return what `GET /_simulator/report` answers."""
        return self._desk.report(self._clock.monotonic())


@asynccontextmanager
async def open_simulator(
    fleet: Fleet, settings: SimulatorSettings, *, listen: Listen, clock: Clock
) -> AsyncIterator[Simulator]:
    """Run Twilio's stand-in for *fleet* at *listen* (port 0: any) until the context ends.

    Raises `OSError` where it can't listen.
    """
    started = clock.monotonic()
    almanac = Almanac(monotonic=started, wall=clock.now())
    weather = Weather(settings)
    carriers = Carriers(
        fleet,
        seed=settings.seed,
        undelivered_share=settings.undelivered_share,
        factors=settings.rate_factors,
        service_senders=settings.service_senders,
        almanac=almanac,
    )
    carriers.filtered = settings.filtered
    carriers.cap(settings.tmobile_caps)
    connections: set[asyncio.Transport] = set()
    callbacks = Callbacks(fleet, carriers, weather, clock)
    desk = FrontDesk(fleet, carriers, weather, callbacks.counts, started=started)
    server = await asyncio.get_running_loop().create_server(
        lambda: _Connection(desk, clock, connections), listen.host, listen.port, backlog=1024
    )
    try:
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(_keep_time(carriers, callbacks, clock), name="simulator-time")]
            running += [
                tasks.create_task(callbacks.deliver(), name=f"simulator-callbacks-{number}")
                for number in range(DELIVERERS)
            ]
            port = server.sockets[0].getsockname()[1]
            yield Simulator(desk, clock, Listen(host=listen.host, port=port))
            for task in running:
                task.cancel()
    finally:
        callbacks.close()
        server.close()
        for transport in tuple(connections):
            transport.abort()


async def _keep_time(carriers: Carriers, callbacks: Callbacks, clock: Clock) -> None:
    """Let queues drain and handsets answer, and send off what callbacks are due, until cancelled."""
    while True:
        now = clock.monotonic()
        callbacks.announce(carriers.advance(now))
        callbacks.release(now)
        await clock.sleep(_TICK)


class _Late:
    """An answer that is not due yet; *is_last* says that the connection ends with it."""

    __slots__ = ("answer", "is_due", "is_last")

    def __init__(self, answer: Answer, *, is_last: bool) -> None:
        self.answer = answer
        self.is_last = is_last
        self.is_due = False


class _Connection(asyncio.Protocol):
    """One client connection. A request is taken in as soon as its last byte is read; answers go back in order.

    The parser calls the `on_` methods while it is fed.
    """

    __slots__ = (
        "_authorization",
        "_body",
        "_clock",
        "_connections",
        "_desk",
        "_late",
        "_loop",
        "_parser",
        "_target",
        "_transport",
    )

    _transport: asyncio.Transport

    def __init__(self, desk: FrontDesk, clock: Clock, connections: set[asyncio.Transport]) -> None:
        self._desk = desk
        self._clock = clock
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._late: deque[_Late] = deque()
        self.on_message_begin()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._connections.add(self._transport)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._connections.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError:  # a bug of ours: the loop tells of it
            self._transport.abort()
            raise
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._transport.abort()

    def on_message_begin(self) -> None:
        self._target = b""
        self._authorization = b""
        self._body = b""

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(name) == _AUTHORIZATION_LENGTH and name.lower() == b"authorization":
            self._authorization = value

    def on_body(self, body: bytes) -> None:
        self._body += body
        if len(self._body) > _MAX_BODY:
            self._transport.abort()

    def on_message_complete(self) -> None:
        request = Request(self._parser.get_method(), self._target, self._authorization, self._body)
        answer = self._desk.answer(request, self._clock.monotonic())
        is_last = not self._parser.should_keep_alive()
        if answer.delay <= 0 and not self._late:
            self._give(answer, is_last=is_last)
            return
        late = _Late(answer, is_last=is_last)
        self._late.append(late)
        self._loop.call_later(answer.delay, self._come_due, late)

    def _come_due(self, late: _Late) -> None:
        late.is_due = True
        while self._late and self._late[0].is_due:
            late = self._late.popleft()
            self._give(late.answer, is_last=late.is_last)

    def _give(self, answer: Answer, *, is_last: bool) -> None:
        if answer.desk is not None:
            answer.desk.leave()
        if self._transport.is_closing():
            return
        if answer.payload is None:
            self._transport.abort()
            return
        status, end, rest = answer.payload.partition(b"\r\n")
        self._transport.write(b"".join((status, end, self._desk.date(self._clock.monotonic()), rest)))
        if is_last:
            self._transport.close()
