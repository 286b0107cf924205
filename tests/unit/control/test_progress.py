from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from aiokafka import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.control.progress import RECENTLY, Count, Progress, count_results
from dispatcher.domain.control import Counted, decode_counted, encode
from tests.clock import FakeClock

PARTITIONS = 2


def test_results_are_counted_by_status_and_code() -> None:
    progress = Progress(now=1000.0)
    progress.add("accepted", 2, None, 100.0)
    progress.add("accepted", 1, None, 100.0)
    progress.add("refused", 0, 21211, 100.0)
    assert (progress.done, progress.segments, dict(progress.statuses), dict(progress.codes)) == (
        3,
        3,
        {"accepted": 2, "refused": 1},
        {21211: 1},
    )


def test_the_time_left_is_that_at_the_rate_of_the_last_minute() -> None:
    progress = Progress(now=1000.0)
    for second in range(1000):
        progress.add("accepted", 1, None, float(second))
    assert progress.rate == pytest.approx(1.0, abs=0.02)
    assert progress.seconds_left(1500) == pytest.approx(500, rel=0.02)


def test_a_campaign_that_began_just_now_is_measured_over_its_own_time() -> None:
    progress = Progress(now=1000.0)
    for _ in range(100):
        progress.add("accepted", 1, None, 995.0)
    assert progress.rate == pytest.approx(20.0)


def test_nobody_knows_how_long_a_campaign_takes_that_stands_still() -> None:
    progress = Progress(now=1000.0)
    progress.add("accepted", 1, None, 1000.0 - RECENTLY - 1)
    assert progress.rate == 0.0
    assert progress.seconds_left(2) is None
    assert progress.seconds_left(1) == 0.0


class Results:
    """A results topic in memory, and a consumer of it that brings a few records at a time."""

    def __init__(self) -> None:
        self.logs: dict[TopicPartition, list[Any]] = {TopicPartition("results", one): [] for one in range(PARTITIONS)}
        self.at: dict[TopicPartition, int] = {}
        self.read = 0

    def append(self, partition: int, at: float, **result: Any) -> None:
        log = self.logs[TopicPartition("results", partition)]
        value = msgspec.json.encode({"campaign": "spring", "status": "accepted", "segments": 1} | result)
        log.append(SimpleNamespace(partition=partition, offset=len(log), timestamp=int(at * 1000), value=value))

    async def beginning_offsets(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 0)

    async def end_offsets(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return {partition: len(self.logs[partition]) for partition in partitions}

    async def offsets_for_times(self, times: dict[TopicPartition, int]) -> dict[TopicPartition, Any]:
        return {
            partition: next((one for one in self.logs[partition] if one.timestamp >= at), None)
            for partition, at in times.items()
        }

    def assign(self, partitions: Sequence[TopicPartition]) -> None:
        self.at = dict.fromkeys(partitions, 0)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self.at[partition] = offset

    async def getmany(self, *partitions: TopicPartition, timeout_ms: int) -> dict[TopicPartition, list[Any]]:
        del timeout_ms
        found = {one: self.logs[one][self.at[one] : self.at[one] + 3] for one in partitions}
        for partition, records in found.items():
            self.at[partition] += len(records)
            self.read += len(records)
        return {partition: records for partition, records in found.items() if records}

    async def position(self, partition: TopicPartition) -> int:
        return self.at[partition]

    async def count(self, clock: FakeClock, before: Counted | None, since: datetime | None = None) -> Any:
        return await count_results(
            self,
            clock,
            topic="results",
            partitions=PARTITIONS,
            campaign="spring",
            since=since,
            before=before,
            progress=lambda *_: None,
        )


def remembered(count: Count) -> Counted:
    return decode_counted(encode(count.remembered("mark")))


RESULT = st.tuples(
    st.integers(0, PARTITIONS - 1),
    st.sampled_from(["spring", "summer"]),
    st.sampled_from([("accepted", None), ("refused", 21211), ("refused", 30007)]),
    st.floats(-5, 40),  # seconds since the one before; clocks of two writers may differ
)


@given(counts=st.lists(st.lists(RESULT, max_size=20), max_size=5))
async def test_who_goes_on_from_an_earlier_count_finds_the_same_as_who_counts_it_all(
    counts: list[list[tuple[int, str, tuple[str, int | None], float]]],
) -> None:
    clock, results = FakeClock(), Results()
    before: Counted | None = None
    for added in counts:
        for partition, campaign, (status, code), pause in added:
            clock.advance(max(0.0, pause))
            at = clock.epoch() + min(0.0, pause)
            results.append(partition, at, campaign=campaign, status=status, code=code)
        clock.advance(5.0)
        whole, _ = await results.count(clock, None)
        found, count = await results.count(clock, before)
        assert (found.statuses, found.codes, found.segments) == (whole.statuses, whole.codes, whole.segments)
        assert found.done == sum(one.value.count(b"spring") for log in results.logs.values() for one in log)
        assert found.recent >= sum(
            b"spring" in one.value and one.timestamp / 1000 > clock.epoch() - RECENTLY
            for log in results.logs.values()
            for one in log
        )
        before = remembered(count)


async def test_what_was_counted_for_good_is_not_read_again() -> None:
    clock, results = FakeClock(), Results()
    for row in range(100):
        results.append(row % PARTITIONS, clock.epoch())
    clock.advance(RECENTLY + 1)
    for row in range(10):
        results.append(row % PARTITIONS, clock.epoch())
    _, count = await results.count(clock, None)
    assert count.records == 100
    results.read = 0
    found, _ = await results.count(clock, remembered(count), since=datetime(2026, 1, 1, tzinfo=UTC))
    assert results.read == 10
    assert found.statuses == Counter(accepted=110)
    assert found.recent == 10


async def test_what_was_counted_of_a_topic_that_is_gone_does_not_count() -> None:
    clock, results = FakeClock(), Results()
    for row in range(100):
        results.append(row % PARTITIONS, clock.epoch() - 100)
    _, count = await results.count(clock, None)
    anew = Results()
    anew.append(0, clock.epoch() - 100)
    found, _ = await anew.count(clock, remembered(count))
    assert found.done == 1


async def test_what_was_sent_again_undelivered_is_no_row(clock: FakeClock) -> None:
    results = Results()
    results.append(0, 1.0, id="spring-000001")
    results.append(0, 2.0, id="spring-000001~2")
    found, _ = await results.count(clock, None)
    assert found.done == 1
