from datetime import UTC, datetime
from typing import Any

import pytest
from typing_extensions import override

from dispatcher.control.board import OBEYED_WITHIN, Board
from dispatcher.control.campaigns import cancel, finish, pause, resume
from dispatcher.domain.control import Applied, CampaignRecord, Order, decode_campaign, encode
from dispatcher.domain.errors import DispatcherError
from tests.clock import FakeClock
from tests.unit.control.settings import settings_of
from tests.unit.control.topic import Topic

ORDER = Order(by="ana", at=datetime(2026, 11, 24, tzinfo=UTC))
THEIRS = Order(by="ben", at=datetime(2026, 11, 24, tzinfo=UTC))


class Impatient(FakeClock):
    """Time passes while somebody sleeps."""

    @override
    async def sleep(self, seconds: float) -> None:
        self.advance(seconds)


@pytest.fixture
def clock() -> FakeClock:
    return Impatient()


@pytest.fixture
def topic(clock: FakeClock) -> Topic:
    return Topic(clock)


@pytest.fixture
async def board(topic: Topic, clock: FakeClock) -> Board:
    return Board(settings_of(), clock, admin=topic, producer=topic, consumer=topic)


def latest(topic: Topic, name: str = "spring") -> CampaignRecord:
    return [decode_campaign(one.value) for one in topic.records if one.key == f"campaign/{name}".encode()][-1]


async def change(board: Board, verb: Any) -> None:
    await board.change_campaign("spring", lambda before: verb("spring", before or CampaignRecord(), ORDER))


async def test_what_is_said_leaves_the_rest_as_it_was(topic: Topic, board: Board) -> None:
    topic.append("campaign/spring", encode(CampaignRecord(rate="5/s")))
    await board.read()
    await change(board, pause)
    assert latest(topic) == CampaignRecord(state="paused", order=ORDER, rate="5/s")
    await change(board, resume)
    assert latest(topic) == CampaignRecord(state="running", order=ORDER, rate="5/s")


async def test_what_another_writes_at_the_same_moment_is_not_undone(topic: Topic, board: Board) -> None:
    await board.read()
    topic.before_next_write = lambda: topic.append("campaign/spring", encode(CampaignRecord(rate="5/s")))
    await change(board, pause)
    assert latest(topic) == CampaignRecord(state="paused", order=ORDER, rate="5/s")


async def test_a_campaign_that_another_cancels_at_the_same_moment_stays_cancelled(topic: Topic, board: Board) -> None:
    await board.read()
    cancelled = CampaignRecord(state="cancelled", order=THEIRS)
    topic.before_next_write = lambda: topic.append("campaign/spring", encode(cancelled))
    with pytest.raises(DispatcherError, match="is cancelled, by ben"):
        await change(board, resume)
    assert latest(topic) == cancelled


@pytest.mark.parametrize("verb", [pause, resume, cancel])
@pytest.mark.parametrize("state", ["cancelled", "finished"])
async def test_what_is_over_stays_so(verb: Any, state: Any, topic: Topic, board: Board) -> None:
    topic.append("campaign/spring", encode(CampaignRecord(state=state)))
    await board.read()
    with pytest.raises(DispatcherError, match=state):
        await change(board, verb)
    assert len(topic.records) == 1


@pytest.mark.parametrize("state", ["paused", "cancelled"])
def test_what_an_operator_said_is_not_taken_for_finished(state: Any) -> None:
    record = CampaignRecord(state=state, order=THEIRS)
    assert finish("spring", record, ORDER) == record


async def test_a_record_that_cannot_be_read_keeps_nobody_from_others(topic: Topic, board: Board) -> None:
    topic.append("campaign/summer", b"[")
    await board.read()
    await change(board, pause)
    assert set(board.campaigns) == {"spring"}


async def test_it_is_obeyed_when_every_worker_of_the_group_has_said_so(topic: Topic, board: Board) -> None:
    topic.members = ["a:1", "b:2"]
    topic.append("worker/dead:9", encode(Applied(before=0)))
    topic.append("worker/a:1", encode(Applied(before=8)))
    topic.append("worker/b:2", encode(Applied(before=8)))
    await board.read()
    assert await board.wait_until_obeyed(7) == ["a:1", "b:2"]


async def test_who_keeps_silent_is_named(topic: Topic, board: Board, clock: FakeClock) -> None:
    topic.members = ["a:1", "b:2"]
    topic.append("worker/a:1", encode(Applied(before=8)))
    topic.append("worker/b:2", encode(Applied(before=7)))
    await board.read()
    began = clock.monotonic()
    with pytest.raises(DispatcherError, match=r"not every worker has said within 20 s that it obeys: b:2 may"):
        await board.wait_until_obeyed(7)
    assert clock.monotonic() - began == pytest.approx(OBEYED_WITHIN, abs=0.5)


async def test_a_worker_that_the_group_gives_up_is_waited_for_no_longer(topic: Topic, board: Board) -> None:
    topic.members = ["a:1"]
    await board.read()
    looks = iter([["a:1"], ["a:1"], []])

    async def describe(_: Any) -> Any:
        topic.members = next(looks)
        return await Topic.describe_consumer_groups(topic, [])

    topic.describe_consumer_groups = describe  # type: ignore[method-assign]
    assert await board.wait_until_obeyed(7) == []


async def test_all_is_published_of_what_was_begun_last(topic: Topic, board: Board) -> None:
    topic.append("campaign/spring", encode(CampaignRecord()))
    topic.append("published/spring", b"2026-11-24T18:00:00+00:00")
    await board.read()
    assert not board.is_published("spring")
