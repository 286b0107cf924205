"""Makes callbacks durable: in Kafka, or on disk where Kafka takes longer than PATIENCE.

What is on disk by then depends on how far a batch has come:

- Not on its way yet, it is the spool's alone and leaves memory.
- On its way, the spool has a copy. Kafka's acknowledgement makes the copy void; without one the copy is sent. A crash
  forgets which copies were void: they, and up to a segment that was just being replayed, come to be in Kafka twice.
  So nothing is lost, and readers fold what came twice by its token.

The spool is replayed in order, a segment at a time.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from struct import Struct
from typing import NamedTuple, TypeVar

import structlog

from dispatcher.clock import Clock
from dispatcher.telemetry import metrics
from dispatcher.webhooks.spool import Spool
from dispatcher.webhooks.writer import TICK, Batch, Entry, State, Writer

log = structlog.get_logger()

# Twilio is answered when a callback is durable, and waits no longer than this for Kafka. Seconds.
PATIENCE = 0.025
# How long what is on disk rests before it is looked at: most of what was only late is void by then.
REPLAY_AFTER = 1.0
_KEY_LENGTH = Struct(">I")

T = TypeVar("T")


class _Copy(NamedTuple):
    """Where in a segment there are copies of a batch that was on its way."""

    batch: Batch
    places: range


class Outbox:
    """Takes callbacks and says when they are durable. `keep` and `replay` are to be run, beside the writer."""

    def __init__(self, writer: Writer, spool: Spool, clock: Clock) -> None:
        self._writer = writer
        self._spool = spool
        self._clock = clock
        # The one thread that works with the spool; a group of callbacks shares an fsync.
        self._disk = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spool")
        self._unanswered: deque[Batch] = deque()
        self._copies: dict[int, list[_Copy]] = {}
        self._has_unanswered = asyncio.Event()
        self._has_spooled = asyncio.Event()
        self._has_spooled.set()  # by an earlier process, perhaps
        self._trouble = ""

    def put(self, key: bytes, value: bytes) -> "asyncio.Future[bool]":
        """Take a callback. True comes when it is durable; False when it cannot be: it has to be sent again."""
        batch = self._writer.add(Entry(key, value))
        if batch.count == 1:
            self._unanswered.append(batch)
            self._has_unanswered.set()
        return batch.kept

    async def keep(self) -> None:
        """Write to disk what Kafka takes too long for, for ever."""
        while True:
            await self._has_unanswered.wait()
            now = self._clock.monotonic()
            if overdue := self._take_overdue(now):
                await self._spool_away(overdue)
            elif self._unanswered:
                await self._clock.sleep(self._unanswered[0].opened_at + PATIENCE - now)
            else:
                self._has_unanswered.clear()

    async def replay(self) -> None:
        """Bring what is on disk to Kafka, for ever."""
        while True:
            await self._has_spooled.wait()
            await self._clock.sleep(REPLAY_AFTER)
            try:
                while await self._replay_oldest():
                    pass
            except OSError:
                log.exception("callbacks on disk cannot be read; trying again")
            if not self._spool.records:
                self._has_spooled.clear()

    async def emptied(self) -> None:
        """Come back when everything is in Kafka and nothing on disk."""
        while self._spool.records or not self._writer.is_idle:
            await self._clock.sleep(TICK)

    @property
    def has_room(self) -> bool:
        """Whether more can be taken even when Kafka is away."""
        return self._spool.has_room

    def measure(self) -> None:
        """Set the gauges."""
        metrics.SPOOL_BYTES.set(self._spool.size)
        metrics.SPOOL_RECORDS.set(self._spool.records)

    def close(self) -> None:
        """Let go of the disk."""
        self._disk.shutdown()

    # ------------------------------------------------------------------ to disk

    def _take_overdue(self, now: float) -> list[Batch]:
        overdue = []
        while self._unanswered and (self._unanswered[0].kept.done() or self._unanswered[0].opened_at + PATIENCE <= now):
            batch = self._unanswered.popleft()
            if not batch.kept.done():
                overdue.append(batch)
        return overdue

    async def _spool_away(self, batches: Sequence[Batch]) -> None:
        """Write *batches* to disk, and answer; what becomes overdue meanwhile goes with the next ones."""
        for batch in batches:
            self._writer.withdraw(batch)
        records = [_packed(entry) for batch in batches for entry in batch.entries]
        try:
            segment, place = await self._on_disk(self._spool.append, records)
        except OSError as error:
            self._tell(error)
            for batch in batches:
                batch.settle(kept=False)
            return
        self._tell(None)
        metrics.CALLBACKS_SPOOLED.inc(len(records))
        for batch in batches:
            batch.settle(kept=True)
            places = range(place, place + batch.count)
            if batch.state is not State.WITHDRAWN:
                self._copies.setdefault(segment, []).append(_Copy(batch, places))
            place = places.stop
        self._has_spooled.set()

    def _tell(self, error: OSError | None) -> None:
        """Log that callbacks are refused, and that they are no more: once each."""
        reason = error.strerror or str(error) if error is not None else ""
        if reason and reason != self._trouble:
            log.error("callbacks are refused: Kafka is late and the disk does not take them", reason=reason)
        elif self._trouble and not reason:
            log.info("the disk takes callbacks again")
        self._trouble = reason

    # ------------------------------------------------------------------ and back

    async def _replay_oldest(self) -> bool:
        """Bring the oldest segment to Kafka; say whether that could be done now."""
        found = await self._on_disk(self._spool.oldest)
        if found is None:
            return False
        segment, records = found
        copies = self._copies.get(segment, [])
        if any(copy.batch.state is State.SENDING for copy in copies):
            return False
        void = {place for copy in copies if copy.batch.state is State.WRITTEN for place in copy.places}
        await self._write([_unpacked(record) for place, record in enumerate(records) if place not in void])
        self._copies.pop(segment, None)
        await self._on_disk(self._spool.drop, segment)
        return True

    async def _write(self, entries: list[Entry]) -> None:
        """Come back when *entries* are in Kafka."""
        while entries:
            batches = self._writer.add_spooled(entries)
            await asyncio.wait([batch.kept for batch in batches])
            entries = [entry for batch in batches if not batch.kept.result() for entry in batch.entries]

    async def _on_disk(self, work: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._disk, work, *arguments)


def _packed(entry: Entry) -> bytes:
    return _KEY_LENGTH.pack(len(entry.key)) + entry.key + entry.value


def _unpacked(record: bytes) -> Entry:
    start = _KEY_LENGTH.size
    end = start + _KEY_LENGTH.unpack_from(record)[0]
    return Entry(record[start:end], record[end:])
