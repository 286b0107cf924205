"""What a new owner learns of the past: exactly what may have been sent and has no result, through any takeovers."""

import asyncio
from collections.abc import Collection, Mapping
from random import Random
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from aiokafka import TopicPartition

from dispatcher.delivery.ledger import Ledger
from dispatcher.domain.journal import Intent, Place, Tried
from dispatcher.domain.message import Message
from dispatcher.domain.outcome import Attempt, Position, Result
from dispatcher.intake.offsets import Bookmark, PartitionOffsets
from dispatcher.intake.recovery import History
from tests.clock import FakeClock
from tests.unit.pacing.making import make_message

TOPICS = ("urgent", "bulk")
PARTITIONS = 4
HORIZON = 600.0


class Kafka:
    """The journal, the results and the commits; a consumer of the first two, and a producer of the journal."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.logs: dict[TopicPartition, list[Any]] = {
            TopicPartition(topic, index): [] for topic in ("journal", "results") for index in range(PARTITIONS)
        }
        self.commits: dict[TopicPartition, tuple[int, str]] = {}
        self._at: dict[TopicPartition, int] = {}

    def append(self, topic: str, partition: int, value: bytes) -> int:
        log = self.logs[TopicPartition(topic, partition)]
        log.append(SimpleNamespace(topic=topic, value=value, offset=len(log), timestamp=self.clock.epoch() * 1000))
        return len(log) - 1

    # As the journal's producer.

    def create_batch(self) -> Any:
        values: list[bytes] = []
        return SimpleNamespace(values=values, append=lambda *, value, **_: values.append(value), close=lambda: None)

    async def send_batch(self, batch: Any, topic: str, *, partition: int) -> "asyncio.Future[Any]":
        written: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        written.set_result(SimpleNamespace(offset=self.append(topic, partition, *batch.values)))
        return written

    # As the consumer of the past.

    def assign(self, partitions: Collection[TopicPartition]) -> None:
        self._at = dict.fromkeys(partitions, 0)

    def unsubscribe(self) -> None:
        self._at = {}

    async def beginning_offsets(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 0)

    async def end_offsets(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        return {partition: len(self.logs[partition]) for partition in partitions}

    async def offsets_for_times(self, times: Mapping[TopicPartition, int]) -> dict[TopicPartition, Any]:
        found = {
            tp: next((record for record in self.logs[tp] if record.timestamp >= since), None)
            for tp, since in times.items()
        }
        return {tp: record and SimpleNamespace(offset=record.offset) for tp, record in found.items()}

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self._at[partition] = offset

    async def position(self, partition: TopicPartition) -> int:
        return self._at[partition]

    async def getmany(self, *partitions: TopicPartition, timeout_ms: int) -> dict[TopicPartition, list[Any]]:
        assert timeout_ms
        found = {tp: self.logs[tp][self._at[tp] :] for tp in partitions}
        self._at |= {tp: len(self.logs[tp]) for tp in partitions}
        return found


class Owner:
    """A worker with the partitions *indices*, which journals, settles and commits."""

    def __init__(self, name: str, kafka: Kafka, indices: Collection[int]) -> None:
        self.kafka = kafka
        self.indices = indices
        self.ledger = Ledger(kafka, "journal", name, kafka.clock, intended=lambda _: None)
        self.offsets: dict[TopicPartition, PartitionOffsets] = {}
        self.tried: dict[Place, Tried] = {}

    async def take_over(self) -> set[Place]:
        """Read the past, as the intake does; return what is in doubt."""
        mine = [TopicPartition(topic, index) for topic in TOPICS for index in self.indices]
        bookmarks = {tp: Bookmark.read(*self.kafka.commits.get(tp, (0, ""))) for tp in mine}
        history = History(
            self.kafka, self.kafka.clock, journal="journal", results="results", partitions=PARTITIONS, horizon=HORIZON
        )
        recovered = await history.read(bookmarks)
        self.offsets = {tp: PartitionOffsets(*tp, bookmarks[tp]) for tp in mine}
        for topic, index, offset in recovered.settled:
            self.offsets[TopicPartition(topic, index)].recall(offset)
        doubt = {
            place: intent
            for place, intent in recovered.doubt.items()
            if self.offsets[TopicPartition(*place[:2])].is_open(place[2])
        }
        self.tried = {
            place: tried
            for place, tried in recovered.tried.items()
            if self.offsets[TopicPartition(*place[:2])].is_open(place[2])
        }
        page = await self.ledger.open_book(min(self.indices), list(doubt.values()), list(self.tried.values()))
        for topic, index, offset in {**doubt, **self.tried}:
            self.offsets[TopicPartition(topic, index)].announce(offset, page)
        return set(doubt)

    def intend(self, place: Place, history: tuple[Attempt, ...] = ()) -> None:
        message = self._message(place, history)
        self.ledger.intend(message, Intent(*place, _id(place), len(history) + 1, "72345", 0.0))

    def void(self, place: Place, history: tuple[Attempt, ...] = ()) -> None:
        self.ledger.void(self._message(place, history))

    def _message(self, place: Place, history: tuple[Attempt, ...]) -> Message:
        message = make_message(offset=place[2])
        message.origin, message.history = self.offsets[TopicPartition(*place[:2])], history
        return message

    def conclude(self, place: Place) -> None:
        topic, index, offset = place
        job = Position(topic, index, offset)
        result = Result(id=_id(place), campaign="spring", to="+12065550142", status="accepted", job=job, at="now")
        self.kafka.append("results", index, msgspec.json.encode(result))
        self.offsets[TopicPartition(topic, index)].settle(offset)

    def commit(self) -> None:
        for tp, offsets in self.offsets.items():
            results = len(self.kafka.logs[TopicPartition("results", tp.partition)])
            self.kafka.commits[tp] = offsets.commit(journal=self.ledger.position, results=results)


def _id(place: Place) -> str:
    return "-".join(map(str, place))


class World:
    """What is true: where each topic ends, which jobs are *open*, and which of these may have been sent."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.ends = {TopicPartition(topic, index): 0 for topic in TOPICS for index in range(PARTITIONS)}
        self.open: set[Place] = set()
        self.announced: set[Place] = set()
        # What Twilio declined of what is open, so often.
        self.history: dict[Place, tuple[Attempt, ...]] = {}

    def divide(self) -> list[range]:
        """Return the indices of each worker there is now."""
        cut = self.rng.randrange(PARTITIONS)
        parts = [part for part in (range(cut), range(cut, PARTITIONS)) if part]
        self.rng.shuffle(parts)
        return parts

    def read(self, owner: Owner) -> None:
        """Let *owner* take what there is: exactly what is open."""
        for tp, offsets in owner.offsets.items():
            taken = {(*tp, offset) for offset in range(offsets.position, self.ends[tp]) if offsets.take(offset)}
            assert taken == {place for place in self.open if place[:2] == tp}

    def work(self, owner: Owner) -> None:
        """Let *owner* take new jobs, and announce, take back and conclude some of those it has."""
        tp = self.rng.choice(list(owner.offsets))
        for _ in range(self.rng.randrange(4)):
            owner.offsets[tp].take(self.ends[tp])
            self.open.add((*tp, self.ends[tp]))
            self.ends[tp] += 1
        ours = sorted(place for place in self.open if place[1] in owner.indices)
        for place in self.rng.sample(ours, self.rng.randrange(len(ours) + 1)):
            match self.rng.choice(["intend", "void", "conclude", "rest"]):
                case "intend":
                    owner.intend(place, self.history.get(place, ()))
                    self.announced.add(place)
                case "void" if place in self.announced:
                    if self.rng.random() < 0.5:  # else it never left
                        failed = Attempt("now", "72345", 21611, "no")
                        self.history[place] = (*self.history.get(place, ()), failed)
                    owner.void(place, self.history.get(place, ()))
                    self.announced.discard(place)
                case "conclude" if place in self.announced:
                    owner.conclude(place)
                    self.announced.discard(place)
                    self.history.pop(place, None)
                    self.open.discard(place)


@pytest.mark.parametrize("seed", range(60))
async def test_a_new_owner_finds_exactly_what_was_announced_and_neither_taken_back_nor_settled(seed: int) -> None:
    """Owners come and go, most of them without a word; some committed just before, and some did not."""
    world = World(Random(seed))
    clock = FakeClock()
    kafka = Kafka(clock)
    for generation in range(12):
        owners = [Owner(f"host:{generation}{part}", kafka, part) for part in world.divide()]
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(owner.ledger.run()) for owner in owners]
            for owner in owners:
                doubt = await _while_time_goes_by(clock, owner.take_over())
                assert doubt == {place for place in world.announced if place[1] in owner.indices}
                told = {place: tried.history for place, tried in owner.tried.items()}
                assert told == {place: all_ for place, all_ in world.history.items() if place[1] in owner.indices}
                owner.commit()
                world.read(owner)
            for _ in range(world.rng.randrange(8)):
                owner = world.rng.choice(owners)
                world.work(owner)
                await _while_time_goes_by(clock, owner.ledger.flushed())
                if world.rng.random() < 0.3:
                    owner.commit()
            for task in running:
                task.cancel()


async def test_where_nobody_has_committed_the_whole_journal_is_read_from_the_horizon_on() -> None:
    clock = FakeClock()
    kafka = Kafka(clock)
    async with asyncio.TaskGroup() as tasks:
        owner = Owner("host:1", kafka, [1, 2])
        running = tasks.create_task(owner.ledger.run())
        await _while_time_goes_by(clock, owner.take_over())
        for offset, pause in ((0, HORIZON + 1), (1, HORIZON - 1), (2, 0)):
            owner.offsets[TopicPartition("bulk", 2)].take(offset)
            owner.intend(("bulk", 2, offset))
            await _while_time_goes_by(clock, owner.ledger.flushed())
            clock.advance(pause)
        running.cancel()
        heir = Owner("host:2", kafka, [0, 2])
        running = tasks.create_task(heir.ledger.run())
        assert await _while_time_goes_by(clock, heir.take_over()) == {("bulk", 2, 1), ("bulk", 2, 2)}
        running.cancel()


async def _while_time_goes_by(clock: FakeClock, doing: Any) -> Any:
    """Return what *doing* comes to, on a clock that goes on."""
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(doing)
        while not task.done():
            for _ in range(5):
                await asyncio.sleep(0)
            clock.advance(0.01)
    return task.result()
