"""What `dispatcher dead-letters` does: finds records that were no jobs, and sends them again after a fix.

That a letter was replayed is written beside it, into its own partition of the dead letters: a record without a key
whose header `replayed` lists offsets. The job that is replayed bears a header, too.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from dispatcher.clock import Clock
from dispatcher.domain.errors import DispatcherError
from dispatcher.domain.settings import Settings
from dispatcher.transport.reading import read_through
from dispatcher.transport.topics import open_topic

REPLAYED = "replayed"
REPLAYED_FROM = "replayed-from"
_AT_ONCE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A dead letter at *place* (partition and offset of the dead letters), and where the record was that it holds."""

    place: tuple[int, int]
    key: bytes | None
    value: bytes
    reason: str
    topic: str
    partition: int
    offset: int
    at: str
    is_replayed: bool
    is_truncated: bool

    @property
    def name(self) -> str:
        """What a person calls it by: `3/17`."""
        return f"{self.place[0]}/{self.place[1]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which letters are meant: all that fit everything that is given."""

    places: Collection[tuple[int, int]] = ()
    reason: str = ""
    topic: str = ""
    since: datetime | None = None
    is_replayed: bool | None = None

    def fits(self, letter: Letter) -> bool:
        """Say whether *letter* is one of them."""
        return (
            (not self.places or letter.place in self.places)
            and self.reason.lower() in letter.reason.lower()
            and (not self.topic or letter.topic == self.topic)
            and (self.since is None or datetime.fromisoformat(letter.at) >= self.since)
            and (self.is_replayed is None or letter.is_replayed is self.is_replayed)
        )


@dataclass(slots=True)
class Replay:
    """What came of a replay: letters sent again, left because they were before, and left because they are cut short."""

    sent: int = 0
    before: int = 0
    truncated: int = 0
    missing: list[str] = field(default_factory=list)


async def find_letters(settings: Settings, wanted: Filter) -> AsyncGenerator[Letter, None]:
    """Yield the letters that are *wanted*, partition by partition, the oldest first."""
    async with open_topic(settings, settings.topics.dead_letters) as (_, _, consumer):
        async for letter in _letters(settings, consumer):
            if wanted.fits(letter):
                yield letter


async def replay_letters(
    settings: Settings, clock: Clock, wanted: Filter, *, again: bool, progress: Callable[[int], None]
) -> Replay:
    """Send the records of *wanted* letters to where they came from; *again*: also those that were replayed before.

    A crash in between may leave some without their mark; replayed twice, a job's id is still sent once within
    `kafka.dedup_horizon`.
    """
    done = Replay()
    unseen = set(wanted.places)
    async with open_topic(settings, settings.topics.dead_letters) as (_, producer, consumer):
        waiting: list[Letter] = []
        async for letter in _letters(settings, consumer):
            if not wanted.fits(letter):
                continue
            unseen.discard(letter.place)
            if letter.is_truncated:
                done.truncated += 1
            elif letter.is_replayed and not again:
                done.before += 1
            else:
                waiting.append(letter)
            if len(waiting) == _AT_ONCE:
                done.sent += await _replay(settings, clock, producer, waiting)
                progress(done.sent)
                waiting = []
        done.sent += await _replay(settings, clock, producer, waiting)
    done.missing = [f"{partition}/{offset}" for partition, offset in sorted(unseen)]
    return done


async def _letters(settings: Settings, consumer: Any) -> AsyncIterator[Letter]:
    topic, partitions = settings.topics.dead_letters, settings.kafka.partitions
    for number in range(partitions):
        # Marks stand behind the letters they are of, so a partition is read twice; offsets alone are kept of the first.
        replayed: set[int] = set()
        async for record in read_through(consumer, topic, number + 1, first=number):
            if (marks := dict(record.headers).get(REPLAYED)) is not None:
                replayed.update(map(int, marks.split(b",")))
        async for record in read_through(consumer, topic, number + 1, first=number):
            headers = {name: value.decode("utf-8", "replace") for name, value in record.headers}
            if REPLAYED not in headers and {"reason", "topic", "partition", "offset", "at"} <= headers.keys():
                yield Letter(
                    place=(number, record.offset),
                    key=record.key,
                    value=record.value or b"",
                    reason=headers["reason"],
                    topic=headers["topic"],
                    partition=int(headers["partition"]),
                    offset=int(headers["offset"]),
                    at=headers["at"],
                    is_replayed=record.offset in replayed,
                    is_truncated="truncated-from-bytes" in headers,
                )


async def _replay(settings: Settings, clock: Clock, producer: Any, letters: Iterable[Letter]) -> int:
    """Send *letters* again, and once they are safe mark them."""
    at = clock.now().isoformat(timespec="seconds").encode()
    marks: dict[int, list[int]] = {}
    sent: list[asyncio.Future[Any]] = []
    for letter in letters:
        headers = [(REPLAYED_FROM, f"{settings.topics.dead_letters}/{letter.name}".encode()), ("replayed-at", at)]
        sent.append(
            await producer.send(letter.topic, letter.value, key=letter.key, partition=letter.partition, headers=headers)
        )
        marks.setdefault(letter.place[0], []).append(letter.place[1])
    for one in sent:
        await one
    for partition, offsets in marks.items():
        header = (REPLAYED, ",".join(map(str, offsets)).encode())
        await producer.send_and_wait(settings.topics.dead_letters, b"", partition=partition, headers=[header])
    return len(sent)


def parse_place(text: str) -> tuple[int, int]:
    """Return the partition and the offset that *text* names, like `3/17`."""
    partition, _, offset = text.partition("/")
    if not (partition.isdecimal() and offset.isdecimal()):
        raise DispatcherError(f'"{text}" names no dead letter; write partition and offset as `list` does, like 3/17')
    return int(partition), int(offset)
