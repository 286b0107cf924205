from typing import Any

import pytest

from dispatcher.domain.control import CampaignRecord, encode
from dispatcher.intake.control import ControlReader
from tests.clock import FakeClock
from tests.unit.control.topic import Topic


class Worker:
    """Obeys, and says so."""

    def __init__(self, topic: Topic) -> None:
        self.topic = topic
        self.obeyed: list[Any] = []
        self.told: list[int] = []
        self.reader = ControlReader(
            topic,
            "dispatch.control",
            topic.clock,
            ends=topic.end_offsets,
            campaign=lambda name, record: self.obeyed.append((name, record)),
            sender=lambda number, record: self.obeyed.append((number, record)),
            acknowledge=self.acknowledge,
        )

    async def acknowledge(self, before: int) -> None:
        self.told.append(before)
        self.topic.append("worker/me", b"{}")


@pytest.fixture
def worker(clock: FakeClock) -> Worker:
    return Worker(Topic(clock))


async def test_all_there_is_is_obeyed_before_anything_else_and_acknowledged_once(worker: Worker) -> None:
    paused = CampaignRecord(state="paused", rate="5/s")
    worker.topic.append("campaign/spring", encode(paused))
    worker.topic.append("campaign/summer/4", b'{"rate": "5/s", "what else": 1}')
    worker.topic.append("campaign/spring", None)
    await worker.reader.begin()
    assert worker.obeyed == [("spring", paused), ("summer/4", CampaignRecord(rate="5/s")), ("spring", None)]
    assert worker.told == [3]


async def test_what_is_not_for_workers_is_acknowledged_by_nobody(worker: Worker) -> None:
    """Or they would answer each other's answers for ever."""
    await worker.reader.begin()
    worker.topic.append("worker/another", b"{}")
    worker.topic.append("publishing/spring", b"run")
    await worker.reader._read()
    await worker.reader._tell()
    assert worker.told == [0]


@pytest.mark.parametrize("value", [b"[", b'{"state": "asleep"}', b'{"rate": "fast"}', b"\xff"])
async def test_what_cannot_be_read_is_passed_over(worker: Worker, value: bytes) -> None:
    worker.topic.append("campaign/spring", value)
    worker.topic.append("campaign/summer", b"{}")
    await worker.reader.begin()
    assert worker.obeyed == [("summer", CampaignRecord())]
    assert worker.told == [2]
