"""A worker without network and time: all its parts, from a record to the settled offset, and exactly repeatable.

Kafka and Twilio are answered for in memory. Time stands still while something runs, and jumps to the next timer when
nothing does, so two runs do the same steps in the same order on any machine.
"""

import asyncio
import selectors
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from typing import Any, Final, cast

import orjson

from dispatcher.app.worker import Worker
from dispatcher.clock import Clock
from dispatcher.domain.fence import Fence
from dispatcher.domain.fleet import Account, Fleet, Pool, PriorityClass, Secret, Sender, SenderKind
from dispatcher.domain.rate import Rate
from dispatcher.domain.settings import (
    KafkaSettings,
    Listen,
    Settings,
    SimulatorSettings,
    TwilioSettings,
    WebhookSettings,
)
from dispatcher.domain.topics import Topics
from dispatcher.intake.consumer import BATCH
from dispatcher.intake.offsets import Bookmark, PartitionOffsets
from dispatcher.intake.recovery import Recovered
from dispatcher.transport.timer_wheel import TimerWheel
from dispatcher.transport.wire import Connection
from dispatcher.transport.wire_pool import Free
from dispatcher.transport.wire_pool import Pool as ConnectionPool

PARTITIONS: Final = 12
START: Final = datetime(2026, 11, 24, 18, tzinfo=UTC).timestamp()
# Jobs in hand beside which no more are read: enough that no lane runs dry.
IN_HAND: Final = 1000
# So few that each one's slot is ranked once and then known, as in a large campaign.
RECIPIENTS: Final = 400
# Seconds that Kafka takes for an acknowledgement, and Twilio for an answer: what comes back, comes in small bunches.
ACKNOWLEDGED_AFTER: Final = 0.003
ANSWERED_AFTER: Final = tuple(0.004 + 0.0005 * number for number in range(16))


@dataclass(frozen=True, slots=True)
class Crew:
    """So many *senders* of *rate* messages a second, and how many requests may be in flight."""

    senders: int
    rate: float
    concurrency: int


class StillLoop(asyncio.SelectorEventLoop):
    """A loop whose time passes only while it has nothing to do."""

    def __init__(self) -> None:
        self._selector_of_none = _NoSelector()
        super().__init__(self._selector_of_none)

    def time(self) -> float:
        """Return seconds since the loop began."""
        return self._selector_of_none.passed


class _NoSelector(selectors.BaseSelector):
    """Nothing ever comes in; waiting costs no time but the loop's own."""

    def __init__(self) -> None:
        self.passed = 0.0

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Do nothing: for the loop's own wake-up, which nobody needs here."""
        return selectors.SelectorKey(fileobj, 0, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """Do nothing."""
        return selectors.SelectorKey(fileobj, 0, 0, None)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """Return nothing."""
        return {}

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        """Raise `KeyError`: nothing is registered."""
        raise KeyError(fileobj)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Let *timeout* seconds pass at once."""
        if timeout is None:
            raise RuntimeError("everybody waits for somebody else")
        self.passed += max(0.0, timeout)
        return []


class _LoopClock:
    """The clock of a loop in which time stands still."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def monotonic(self) -> float:
        return 1000.0 + self._loop.time()

    def epoch(self) -> float:
        return START + self._loop.time()

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.epoch(), UTC)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@dataclass(slots=True)
class _Record:
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int
    headers: Sequence[tuple[str, bytes]] = ()


class _Batch:
    def __init__(self) -> None:
        self.records = 0

    def close(self) -> None:
        pass

    def append(self, **_: Any) -> int:
        self.records += 1
        return self.records


@dataclass(frozen=True, slots=True)
class _Written:
    offset: int


class _Kafka:
    """Both producers: every batch is acknowledged a little later."""

    def __init__(self) -> None:
        self._ends: dict[tuple[str, int], int] = {}

    @staticmethod
    def create_batch() -> _Batch:
        return _Batch()

    async def send_batch(self, batch: _Batch, topic: str, *, partition: int) -> "asyncio.Future[_Written]":
        loop = asyncio.get_running_loop()
        written: asyncio.Future[_Written] = loop.create_future()
        end = self._ends.get((topic, partition), 0)
        self._ends[topic, partition] = end + batch.records
        loop.call_later(ACKNOWLEDGED_AFTER, written.set_result, _Written(end))
        return written


class _Twilio:
    """The other end of the wire client's connections: accepts every message."""

    def __init__(self) -> None:
        self._after = count()
        # Never readable, so that a connection finds itself quiet.
        self._sockets = socket.socketpair()

    async def dial(self, free: Free, gone: Free) -> Connection:
        connection = Connection(self._sockets[0], free=free, gone=gone)
        connection.connection_made(_Wire(self, connection))
        return connection

    def take(self, connection: Connection) -> None:
        number = next(self._after)
        answer = _answer(number)
        after = ANSWERED_AFTER[number % len(ANSWERED_AFTER)]
        asyncio.get_running_loop().call_later(after, connection.data_received, answer)

    def close(self) -> None:
        for end in self._sockets:
            end.close()


class _Wire(asyncio.Transport):
    """A transport that takes each request whole, at once."""

    def __init__(self, twilio: _Twilio, connection: Connection) -> None:
        super().__init__()
        self._twilio = twilio
        self._connection = connection

    def write(self, data: Any) -> None:
        del data
        self._twilio.take(self._connection)

    def get_write_buffer_size(self) -> int:
        return 0

    def abort(self) -> None:
        """Nobody is there to hear of it."""


def dispatch(crew: Crew, messages: int, counting: Callable[[], Any]) -> None:
    """Dispatch so many *messages* with *crew*, all but the making of the worker within the context of *counting*."""
    with asyncio.Runner(loop_factory=StillLoop) as runner:
        runner.run(_dispatch(crew, messages, counting))


async def _dispatch(crew: Crew, messages: int, counting: Callable[[], Any]) -> None:
    clock: Clock = _LoopClock(asyncio.get_running_loop())
    fence = Fence(1e9)
    fence.renew(clock.monotonic())
    kafka, twilio = _Kafka(), _Twilio()
    settings = _settings(crew)
    async with asyncio.TaskGroup() as tasks:
        wheel: TimerWheel[Connection] = TimerWheel(clock)
        pool = ConnectionPool(
            twilio.dial,
            wheel,
            tasks,
            request_timeout=settings.twilio.request_timeout,
            may_write=lambda: fence.is_open(clock.monotonic()),
        )
        worker = Worker(settings, clock, kafka, cast(Any, kafka), pool.send, fence)
        running = [tasks.create_task(worker.ledger.run()), tasks.create_task(worker.publisher.run())]
        ends = dict.fromkeys(range(PARTITIONS), 0)
        await worker.resume(Recovered(result_ends=ends), range(PARTITIONS))
        topic = settings.priorities[0].topic
        origins = [PartitionOffsets(topic, number, Bookmark()) for number in range(PARTITIONS)]
        backlog = iter(_backlog(messages))
        with counting():
            await _read(worker, clock, origins, backlog)
            while any(origin.in_hand for origin in origins):  # noqa: ASYNC110 - a real worker never waits for it
                await asyncio.sleep(0.01)
        for task in running:
            task.cancel()
        pool.close()
    twilio.close()


async def _read(
    worker: Worker, clock: Clock, origins: list[PartitionOffsets], backlog: Iterator[tuple[bytes, bytes]]
) -> None:
    """Hand the *backlog* over as the intake does, a batch at a time."""
    offset = 0
    timestamp = int(clock.epoch() * 1000)
    while True:
        if sum(origin.in_hand for origin in origins) > IN_HAND:
            await asyncio.sleep(0.005)
            continue
        found = False
        for origin in origins:
            records = [
                _Record(offset + number, key, value, timestamp)
                for number, (key, value) in zip(range(BATCH // PARTITIONS), backlog, strict=False)
            ]
            if records:
                found = True
                worker.pipeline.receive(origin, [record for record in records if origin.take(record.offset)], 0)
        if not found:
            return
        offset += BATCH // PARTITIONS
        worker.driver.wake()
        await asyncio.sleep(0)


def _backlog(messages: int) -> Iterable[tuple[bytes, bytes]]:
    for number in range(messages):
        to = f"+1206{5_000_000 + number % RECIPIENTS:07d}"
        campaign = ("spring", "summer")[number % 2]
        job = {
            "id": f"{campaign}-{number:06d}",
            "campaign": campaign,
            "to": to,
            "pool": "marketing",
            "body": "Hello there",
        }
        yield to.encode(), orjson.dumps(job)


def _answer(number: int) -> bytes:
    body = orjson.dumps(
        {
            "account_sid": "AC" + "1" * 32,
            "api_version": "2010-04-01",
            "body": "Hello there",
            "error_code": None,
            "num_media": "0",
            "num_segments": "1",
            "sid": f"SM{number:032x}",
            "status": "queued",
        }
    )
    head = (
        "HTTP/1.1 201 CREATED\r\nDate: Tue, 24 Nov 2026 18:00:00 GMT\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nTwilio-Concurrent-Requests: 1\r\n\r\n"
    )
    return head.encode() + body


def _settings(crew: Crew) -> Settings:
    numbers = [str(72000 + number) for number in range(crew.senders)]
    rate, fast = Rate(crew.rate, "s"), Rate(1e6, "s")
    account = Account(
        name="main", sid="AC" + "1" * 32, auth_token=Secret("main-token"), max_concurrency=crew.concurrency
    )
    return Settings(
        kafka=KafkaSettings(bootstrap_servers="", partitions=PARTITIONS),
        twilio=TwilioSettings(base_url="http://127.0.0.1:9"),
        webhooks=WebhookSettings(public_url="https://hooks.example.com", listen=Listen(host="127.0.0.1", port=0)),
        fleet=Fleet(
            accounts={"main": account},
            senders={one: Sender(number=one, kind=SenderKind.SHORT_CODE, account="main", rate=rate) for one in numbers},
            a2p_campaigns={},
            brands={},
            pools={"marketing": Pool(name="marketing", senders=tuple(numbers))},
            family_rate=fast,
        ),
        topics=Topics(),
        priorities=(PriorityClass(name="bulk", topic="campaign.jobs", weight=1),),
        metrics=None,
        simulator=SimulatorSettings(),
    )
