"""Whatever befalls Kafka and the process: a callback that was answered is never lost, and doubled only by a crash."""

import asyncio
from collections import Counter, deque
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from aiokafka.errors import KafkaError
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.webhooks.outbox import PATIENCE, REPLAY_AFTER
from dispatcher.webhooks.writer import RETRY_AFTER
from tests.clock import FakeClock
from tests.unit.webhooks.desk import Desk, open_desk

Event = Literal["put", "wait", "acknowledge", "refuse", "go away", "come back", "crash", "crash after writing"]
WEATHER: tuple[Event, ...] = ("put", "put", "wait", "acknowledge", "refuse", "go away", "come back")
CRASHES: tuple[Event, ...] = ("crash", "crash after writing")


class Storm:
    """What was promised to be kept, and what is in Kafka; both outlive a process."""

    def __init__(self, folder: Path) -> None:
        self.promised: set[str] = set()
        self.written: Counter[str] = Counter()
        self._folder = folder
        self._clock = FakeClock()
        self._calls = 0

    async def live_through(self, *events: Event) -> None:
        """Let *events* happen, and wait until all is well."""
        rest = deque(events)
        is_over = False
        while not is_over:
            async with open_desk(self._folder, self._clock, partitions=3, limit=1000) as desk:
                is_over = await self._live(desk, rest)
                self.written.update(value.decode() for value in desk.kafka.written)

    async def _live(self, desk: Desk, rest: deque[Event]) -> bool:
        """Let events happen to one process, up to its crash; return whether that was all."""
        answers: dict[str, asyncio.Future[bool]] = {}
        event: Event | None = None
        while rest and event not in CRASHES:
            event = rest.popleft()
            if event == "put":
                self._calls += 1
                value = f"callback-{self._calls:04d}"
                (answers[value],) = desk.put(value)
                await desk.pass_time(PATIENCE / 10)
            else:
                await self._happen(desk, event)
        if event not in CRASHES:
            desk.kafka.is_away = False
            while not desk.writer.is_idle or desk.spool.records:
                await desk.pass_time((RETRY_AFTER + REPLAY_AFTER) / 10)
                desk.kafka.acknowledge()
        self.promised.update(value for value, answer in answers.items() if answer.done() and answer.result())
        return event not in CRASHES

    @staticmethod
    async def _happen(desk: Desk, event: Event) -> None:
        match event:
            case "acknowledge":
                desk.kafka.acknowledge()
            case "refuse":
                desk.kafka.refuse(KafkaError())
            case "go away" | "come back":
                desk.kafka.is_away = event == "go away"
            case "crash after writing":
                desk.kafka.acknowledge()
                return  # nobody has come to read the acknowledgement
            case _:
                await desk.pass_time(PATIENCE)
        await desk.pass_time()


@given(st.lists(st.sampled_from(WEATHER), min_size=1, max_size=40))
@settings(deadline=None, max_examples=60)
def test_bad_weather_loses_nothing_and_doubles_nothing(events: list[Event]) -> None:
    with TemporaryDirectory() as folder:
        storm = Storm(Path(folder))
        asyncio.run(storm.live_through(*events))
    assert storm.promised <= storm.written.keys()
    assert all(times == 1 for times in storm.written.values())


@given(st.lists(st.sampled_from((*WEATHER, *CRASHES)), min_size=1, max_size=40))
@settings(deadline=None, max_examples=60)
def test_crashes_lose_nothing(events: list[Event]) -> None:
    with TemporaryDirectory() as folder:
        storm = Storm(Path(folder))
        asyncio.run(storm.live_through(*events))
    assert storm.promised <= storm.written.keys()
