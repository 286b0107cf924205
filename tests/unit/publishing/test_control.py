from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from msgspec.structs import replace

from dispatcher.domain.control import Begun, CampaignRecord, Order, decode_campaign, encode
from dispatcher.domain.errors import DispatcherError
from dispatcher.publishing.control import SIGN_OF_LIFE, SILENCE, ControlTopic
from tests.clock import FakeClock

CLAIM = b"publishing/spring"
BEGUN = Begun(
    pool="marketing",
    priority="bulk",
    topic="campaign.jobs",
    rows=10,
    recipients=9,
    start_offsets={0: 5, 1: 7},
    sha256="ab",
    at=datetime(2026, 11, 24, 18, tzinfo=UTC),
)


class Topic:
    """A control topic in memory, as its producer and its consumer in one. Waiting for records lets time pass."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.records: list[Any] = []
        self.read = 0
        self.later: list[tuple[float, bytes | None]] = []
        self.before_next_write: Callable[[], None] = lambda: None

    def claim(self, run: bytes | None) -> None:
        self.records.append(SimpleNamespace(key=CLAIM, value=run))

    def claim_after(self, seconds: float, run: bytes | None) -> None:
        self.later.append((self.clock.monotonic() + seconds, run))

    async def send_and_wait(self, topic: str, *, key: bytes, value: bytes | None, partition: int) -> None:
        assert (topic, partition) == ("control", 0)
        self.before_next_write()
        self.before_next_write = lambda: None
        self.records.append(SimpleNamespace(key=key, value=value))

    def assign(self, partitions: list[TopicPartition]) -> None:
        assert partitions == [TopicPartition("control", 0)]

    async def seek_to_beginning(self, _: TopicPartition) -> None:
        self.read = 0

    async def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, len(self.records))

    async def position(self, _: TopicPartition) -> int:
        return self.read

    async def getmany(self, *, timeout_ms: int) -> dict[TopicPartition, list[Any]]:
        if self.read == len(self.records):
            self.clock.advance(timeout_ms / 1000)
            for at, run in list(self.later):
                if at <= self.clock.monotonic():
                    self.claim(run)
                    self.later.remove((at, run))
        new, self.read = self.records[self.read :], len(self.records)
        return {TopicPartition("control", 0): new} if new else {}


@pytest.fixture
def topic(clock: FakeClock) -> Topic:
    return Topic(clock)


@pytest.fixture
async def control(topic: Topic, clock: FakeClock) -> ControlTopic:
    return ControlTopic(topic, topic, clock, topic="control", name="spring", run="mine")


async def claim(control: ControlTopic) -> None:
    await control.read()
    await control.claim()


async def test_a_campaign_that_nobody_publishes_is_claimed_at_once(
    topic: Topic, control: ControlTopic, clock: FakeClock
) -> None:
    began = clock.monotonic()
    await claim(control)

    assert clock.monotonic() == began
    assert [(one.key, one.value) for one in topic.records] == [(CLAIM, b"mine")]


async def test_a_claim_that_was_released_is_none(topic: Topic, control: ControlTopic, clock: FakeClock) -> None:
    topic.claim(b"other")
    topic.claim(None)
    began = clock.monotonic()

    await control.read()
    assert not control.is_claimed
    await control.claim()

    assert clock.monotonic() == began


async def test_a_claim_that_was_left_behind_is_waited_out(
    topic: Topic, control: ControlTopic, clock: FakeClock
) -> None:
    topic.claim(b"crashed")
    began = clock.monotonic()

    await control.read()
    assert control.is_claimed
    await control.claim()

    assert clock.monotonic() - began >= SILENCE
    assert topic.records[-1].value == b"mine"


async def test_a_sign_of_life_of_another_process_refuses_the_claim(topic: Topic, control: ControlTopic) -> None:
    topic.claim(b"other")
    topic.claim_after(SIGN_OF_LIFE, b"other")

    with pytest.raises(DispatcherError, match='another process is publishing the campaign "spring"'):
        await claim(control)

    assert {one.value for one in topic.records} == {b"other"}


async def test_a_claim_that_is_released_meanwhile_is_waited_for_no_longer(
    topic: Topic, control: ControlTopic, clock: FakeClock
) -> None:
    topic.claim(b"other")
    topic.claim_after(SIGN_OF_LIFE, None)
    began = clock.monotonic()

    await claim(control)

    assert clock.monotonic() - began < SILENCE


async def test_of_two_claims_at_once_the_first_in_the_topic_has_it(topic: Topic, control: ControlTopic) -> None:
    topic.before_next_write = lambda: topic.claim(b"faster")

    with pytest.raises(DispatcherError, match="let it finish, or stop it first"):
        await claim(control)


async def test_a_claim_that_comes_second_takes_nothing_away(
    topic: Topic, control: ControlTopic, clock: FakeClock
) -> None:
    await claim(control)
    topic.claim(b"slower")
    clock.advance(SIGN_OF_LIFE)

    await control.keep()

    assert topic.records[-1].value == b"mine"


async def test_signs_of_life_are_given_when_they_are_due(topic: Topic, control: ControlTopic, clock: FakeClock) -> None:
    await claim(control)
    for _ in range(12):
        await control.keep()
        clock.advance(SIGN_OF_LIFE / 4)

    assert len(topic.records) == 1 + 2


async def test_a_process_that_was_taken_for_dead_stops(topic: Topic, control: ControlTopic, clock: FakeClock) -> None:
    await claim(control)
    clock.advance(SILENCE + 0.1)
    topic.claim(b"other")

    with pytest.raises(DispatcherError, match="another process is publishing"):
        await control.keep()


async def test_a_process_whose_sign_of_life_came_too_late_stops(
    topic: Topic, control: ControlTopic, clock: FakeClock
) -> None:
    await claim(control)
    clock.advance(SIGN_OF_LIFE)

    def stall() -> None:
        clock.advance(SILENCE)
        topic.claim(b"other")

    topic.before_next_write = stall
    with pytest.raises(DispatcherError, match="another process is publishing"):
        await control.keep()


async def test_the_age_of_a_sign_of_life_counts_from_when_it_was_sent(
    topic: Topic, control: ControlTopic, clock: FakeClock
) -> None:
    await claim(control)
    clock.advance(SIGN_OF_LIFE)
    topic.before_next_write = lambda: clock.advance(SILENCE / 2)
    await control.keep()
    clock.advance(SILENCE / 2 + 0.1)
    topic.claim(b"other")

    with pytest.raises(DispatcherError, match="another process is publishing"):
        await control.keep()


async def test_a_stall_that_nobody_used_is_no_reason_to_stop(control: ControlTopic, clock: FakeClock) -> None:
    await claim(control)
    clock.advance(SILENCE * 5)

    await control.keep()


async def test_signs_of_life_come_more_often_than_anybody_waits_for_them() -> None:
    assert SIGN_OF_LIFE * 2 < SILENCE


async def test_what_was_written_of_the_campaign_is_read_back(
    topic: Topic, control: ControlTopic, clock: FakeClock
) -> None:
    await control.read()
    await control.begin(BEGUN, rate="50/s", state="running")
    other = ControlTopic(topic, topic, clock, topic="control", name="spring", run="other")
    stranger = ControlTopic(topic, topic, clock, topic="control", name="spring-2", run="stranger")

    await other.read()
    await stranger.read()

    assert control.record == other.record == CampaignRecord(rate="50/s", begun=BEGUN)
    assert stranger.record is None


async def test_a_record_that_was_removed_is_none(topic: Topic, control: ControlTopic) -> None:
    topic.records += [SimpleNamespace(key=b"campaign/spring", value=value) for value in (b"{}", None)]
    topic.records.pop(0)

    await control.read()

    assert control.record is None


async def test_what_an_operator_said_of_it_survives_its_publishing(topic: Topic, control: ControlTopic) -> None:
    """Whether it was said long before, or while the record was on its way."""
    held = CampaignRecord(state="paused", order=Order(by="ana", at=BEGUN.at))
    await control.read()
    topic.before_next_write = lambda: topic.records.append(SimpleNamespace(key=b"campaign/spring", value=encode(held)))

    await control.begin(BEGUN, rate=None, state="running")

    last = [decode_campaign(one.value) for one in topic.records if one.key == b"campaign/spring"][-1]
    assert last == control.record == CampaignRecord(state="paused", order=held.order, begun=BEGUN)


async def test_publishing_ends_when_the_campaign_is_cancelled(
    topic: Topic, control: ControlTopic, clock: FakeClock
) -> None:
    await claim(control)
    topic.records.append(SimpleNamespace(key=b"campaign/spring", value=b'{"state": "cancelled"}'))
    clock.advance(SIGN_OF_LIFE)

    with pytest.raises(DispatcherError, match="was cancelled"):
        await control.keep()


async def test_that_all_is_published_is_read_back_and_holds_for_what_was_begun(
    topic: Topic, control: ControlTopic, clock: FakeClock
) -> None:
    await control.read()
    await control.begin(BEGUN, rate=None, state="running")
    await control.finish()
    other = ControlTopic(topic, topic, clock, topic="control", name="spring", run="other")
    assert not other.is_published

    await other.read()
    assert other.is_published

    await other.begin(replace(BEGUN, at=BEGUN.at + timedelta(days=1)), rate=None, state="running")
    await other.read()
    assert not other.is_published
