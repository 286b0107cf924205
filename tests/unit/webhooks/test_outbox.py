import asyncio
from pathlib import Path

import pytest
from aiokafka.errors import KafkaError, OutOfOrderSequenceNumber

from dispatcher.webhooks.outbox import PATIENCE, REPLAY_AFTER
from dispatcher.webhooks.writer import RETRY_AFTER, TICK
from tests.clock import FakeClock
from tests.unit.webhooks.desk import STEP, open_desk


def fates(kept: "list[asyncio.Future[bool]]") -> list[bool | None]:
    """Whether each is durable: None while nobody knows."""
    return [one.result() if one.done() else None for one in kept]


async def test_a_callback_is_durable_once_kafka_says_so_and_not_before(tmp_path: Path, clock: FakeClock) -> None:
    async with open_desk(tmp_path, clock) as desk:
        kept = desk.put("a", "b")
        await desk.pass_time()
        assert fates(kept) == [None, None]
        desk.kafka.acknowledge()
        await desk.pass_time()
        assert fates(kept) == [True, True]
        assert desk.kafka.written == [b"a", b"b"]
        assert desk.spool.records == 0


async def test_callbacks_of_a_batch_share_one_future(tmp_path: Path, clock: FakeClock) -> None:
    async with open_desk(tmp_path, clock) as desk:
        await desk.pass_time()
        assert len({id(kept) for kept in desk.put("a", "b", "c")}) == 1


async def test_what_comes_while_a_batch_is_in_flight_goes_with_the_next(tmp_path: Path, clock: FakeClock) -> None:
    async with open_desk(tmp_path, clock) as desk:
        first = desk.put("a")
        await desk.pass_time(TICK)
        second = desk.put("b", "c")
        await desk.pass_time()
        desk.kafka.acknowledge()
        await desk.pass_time(TICK)
        assert fates(first + second) == [True, None, None]
        desk.kafka.acknowledge()
        await desk.pass_time()
        assert fates(second) == [True, True]
        assert desk.kafka.written == [b"a", b"b", b"c"]


async def test_what_kafka_takes_too_long_for_is_durable_on_disk(tmp_path: Path, clock: FakeClock) -> None:
    async with open_desk(tmp_path, clock) as desk:
        in_flight = desk.put("a")
        await desk.pass_time(PATIENCE - 3 * STEP)
        assert desk.spool.records == 0
        await desk.pass_time(3 * STEP)
        assert fates(in_flight) == [True]
        waiting = desk.put("b")
        await desk.pass_time(PATIENCE)
        assert fates(waiting) == [True]
        assert desk.spool.records == 2


async def test_an_acknowledgement_that_comes_late_makes_the_copy_void(tmp_path: Path, clock: FakeClock) -> None:
    async with open_desk(tmp_path, clock) as desk:
        desk.put("a")
        await desk.pass_time(PATIENCE)
        await desk.pass_time(REPLAY_AFTER)
        # It is still in flight: nobody knows yet whether the copy is needed.
        assert desk.spool.records == 1
        desk.kafka.acknowledge()
        await desk.pass_time(REPLAY_AFTER)
        assert desk.spool.records == 0
        assert desk.kafka.written == [b"a"]
        # Nor does its memory stay.
        assert not desk.outbox._copies


@pytest.mark.parametrize("late", ["while it is written", "after it was written"])
async def test_a_copy_is_void_whenever_the_acknowledgement_comes(tmp_path: Path, clock: FakeClock, late: str) -> None:
    async with open_desk(tmp_path, clock) as desk:
        kept = desk.put("a")
        desk.disk.is_slow = True
        await desk.pass_time(PATIENCE)
        assert fates(kept) == [None]
        if late == "while it is written":
            desk.kafka.acknowledge()
            await desk.pass_time()
        desk.disk.is_slow = False
        desk.disk.work()
        await desk.pass_time()
        assert fates(kept) == [True]
        if late == "after it was written":
            desk.kafka.acknowledge()
        await desk.pass_time(REPLAY_AFTER)
        assert (desk.spool.records, desk.kafka.written) == (0, [b"a"])


async def test_while_kafka_is_away_all_goes_to_disk_and_comes_back_in_order(tmp_path: Path, clock: FakeClock) -> None:
    values = [f"{number:02d}" for number in range(40)]
    async with open_desk(tmp_path, clock, away=True) as desk:
        for value in values:
            kept = desk.put(value)
            await desk.pass_time(PATIENCE)
            assert fates(kept) == [True]
        # What the spool has alone does not stay in memory.
        assert not desk.outbox._copies
        desk.kafka.is_away = False
        await desk.pass_time(RETRY_AFTER)
        while desk.spool.records:
            await desk.pass_time(REPLAY_AFTER)
            desk.kafka.acknowledge()
        assert desk.kafka.written == [value.encode() for value in values]


async def test_callbacks_that_come_during_the_replay_are_not_held_up_by_it(tmp_path: Path, clock: FakeClock) -> None:
    async with open_desk(tmp_path, clock, away=True) as desk:
        for value in "abc":
            desk.put(value)
            await desk.pass_time(PATIENCE)
        desk.kafka.is_away = False
        await desk.pass_time(RETRY_AFTER + REPLAY_AFTER)
        kept = desk.put("new")
        desk.kafka.acknowledge()
        await desk.pass_time(TICK)
        desk.kafka.acknowledge()
        await desk.pass_time()
        assert fates(kept) == [True]
        assert desk.kafka.written == [b"a", b"b", b"c", b"new"]


async def test_what_a_process_leaves_on_disk_the_next_one_brings_to_kafka(tmp_path: Path, clock: FakeClock) -> None:
    async with open_desk(tmp_path, clock) as desk:
        desk.put("in flight")
        await desk.pass_time()
        desk.put("waiting")
        await desk.pass_time(PATIENCE)
        assert desk.spool.records == 2
    async with open_desk(tmp_path, clock) as desk:
        await desk.pass_time(REPLAY_AFTER)
        await desk.pass_time(TICK)
        desk.kafka.acknowledge()
        await desk.pass_time()
        assert desk.kafka.written == [b"in flight", b"waiting"]
        assert desk.spool.records == 0


async def test_what_kafka_refuses_goes_to_disk_and_is_sent_by_another_producer(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with open_desk(tmp_path, clock) as desk:
        kept = desk.put("a")
        await desk.pass_time()
        desk.kafka.refuse(OutOfOrderSequenceNumber())
        await desk.pass_time(PATIENCE)
        assert fates(kept) == [True]
        assert (desk.spool.records, desk.kafka.connections) == (1, 1)
        await desk.pass_time(RETRY_AFTER)
        await desk.pass_time(REPLAY_AFTER)
        desk.kafka.acknowledge()
        await desk.pass_time()
        assert desk.kafka.connections == 2
        assert (desk.spool.records, desk.kafka.written) == (0, [b"a"])


async def test_a_copy_whose_original_fails_is_sent(tmp_path: Path, clock: FakeClock) -> None:
    async with open_desk(tmp_path, clock) as desk:
        desk.put("a")
        await desk.pass_time(PATIENCE)
        desk.kafka.refuse(KafkaError())
        await desk.pass_time(RETRY_AFTER)
        await desk.pass_time(REPLAY_AFTER)
        desk.kafka.acknowledge()
        await desk.pass_time()
        assert (desk.spool.records, desk.kafka.written) == (0, [b"a"])


async def test_a_replay_that_kafka_refuses_is_tried_again(tmp_path: Path, clock: FakeClock) -> None:
    async with open_desk(tmp_path, clock, away=True) as desk:
        desk.put("a")
        await desk.pass_time(PATIENCE)
        desk.kafka.is_away = False
        for _ in range(3):
            await desk.pass_time(REPLAY_AFTER)
            await desk.pass_time(RETRY_AFTER)
            assert list(desk.kafka.in_flight) == [0]
            desk.kafka.refuse(KafkaError())
            await desk.pass_time()
        await desk.pass_time(RETRY_AFTER)
        desk.kafka.acknowledge()
        await desk.pass_time()
        assert (desk.spool.records, desk.kafka.written) == (0, [b"a"])


async def test_what_neither_kafka_nor_the_disk_takes_has_to_be_sent_again(tmp_path: Path, clock: FakeClock) -> None:
    async with open_desk(tmp_path, clock, limit=20) as desk:
        in_flight = desk.put("a")
        await desk.pass_time(PATIENCE)
        assert fates(in_flight) == [True]
        waiting = desk.put("b")
        assert not desk.outbox.has_room
        await desk.pass_time(PATIENCE)
        assert fates(waiting) == [False]
        # It was given up whole: Twilio sends it again.
        desk.kafka.acknowledge()
        await desk.pass_time(REPLAY_AFTER)
        assert (desk.spool.records, desk.kafka.written) == (0, [b"a"])
        again = desk.put("b")
        await desk.pass_time(TICK)
        desk.kafka.acknowledge()
        await desk.pass_time()
        assert fates(again) == [True]


async def test_a_partition_that_is_stuck_holds_up_no_other(tmp_path: Path, clock: FakeClock) -> None:
    async with open_desk(tmp_path, clock, partitions=12) as desk:
        desk.put("a")
        await desk.pass_time(TICK)
        (stuck,) = desk.kafka.in_flight.items()
        desk.kafka.in_flight.clear()
        kept = desk.put(*"bcdefgh")
        await desk.pass_time()
        assert stuck[0] not in desk.kafka.in_flight
        desk.kafka.acknowledge()
        await desk.pass_time()
        assert fates(kept) == [True] * 7


@pytest.mark.parametrize("acknowledged", [0, 1, 2])
async def test_of_what_was_spooled_together_only_what_failed_is_sent_again(
    tmp_path: Path, clock: FakeClock, acknowledged: int
) -> None:
    async with open_desk(tmp_path, clock, partitions=3) as desk:
        desk.put("a", "b", "c", "d", "e", "f")
        await desk.pass_time(PATIENCE)
        assert len(desk.kafka.in_flight) == 3
        desk.kafka.acknowledge(acknowledged)
        desk.kafka.refuse(KafkaError(), (acknowledged + 1) % 3)
        # The producer is given up, so that the last one's fate stays unknown.
        for _ in range(3):
            await desk.pass_time(RETRY_AFTER)
            desk.kafka.acknowledge()
        await desk.pass_time(REPLAY_AFTER)
        assert sorted(desk.kafka.written) == [b"a", b"b", b"c", b"d", b"e", b"f"]
        assert desk.spool.records == 0


async def test_an_answer_of_a_producer_that_was_given_up_changes_nothing(tmp_path: Path, clock: FakeClock) -> None:
    async with open_desk(tmp_path, clock, partitions=3) as desk:
        desk.put("a", "b", "c", "d", "e", "f")
        await desk.pass_time(PATIENCE)
        late = [desk.kafka.in_flight[partition][1] for partition in (1, 2)]
        desk.kafka.refuse(KafkaError(), 0)
        await desk.pass_time(RETRY_AFTER + REPLAY_AFTER)
        assert len(desk.kafka.in_flight) == 3
        late[0].set_result(None)
        late[1].set_exception(KafkaError())
        desk.put("a", "b", "c", "d", "e", "f")
        await desk.pass_time(PATIENCE)
        for _ in range(3):
            desk.kafka.acknowledge()
            await desk.pass_time(REPLAY_AFTER)
        assert sorted(desk.kafka.written) == sorted([b"a", b"b", b"c", b"d", b"e", b"f"] * 2)
        assert desk.spool.records == 0


async def test_a_large_replay_that_is_refused_needs_no_callback_to_go_on(tmp_path: Path, clock: FakeClock) -> None:
    values = [letter * 40_000 for letter in "abc"]
    async with open_desk(tmp_path, clock, away=True) as desk:
        desk.put(*values)
        await desk.pass_time(PATIENCE)
        desk.kafka.is_away = False
        await desk.pass_time(RETRY_AFTER + REPLAY_AFTER)
        desk.kafka.refuse(KafkaError())
        for _ in range(4):
            await desk.pass_time(RETRY_AFTER)
            desk.kafka.acknowledge()
        await desk.pass_time()
        assert sorted(desk.kafka.written) == [value.encode() for value in values]
        assert desk.spool.records == 0


async def test_what_is_spooled_after_a_quiet_time_is_replayed_too(tmp_path: Path, clock: FakeClock) -> None:
    async with open_desk(tmp_path, clock) as desk:
        await desk.pass_time(2 * REPLAY_AFTER)
        desk.put("a")
        await desk.pass_time(PATIENCE)
        desk.kafka.acknowledge()
        await desk.pass_time(REPLAY_AFTER)
        assert (desk.spool.records, desk.kafka.written) == (0, [b"a"])


async def test_a_callback_larger_than_a_batch_travels_alone(tmp_path: Path, clock: FakeClock) -> None:
    values = ["s", "l" * 400_000]
    async with open_desk(tmp_path, clock) as desk:
        kept = desk.put(*values)
        for number in range(2):
            await desk.pass_time(TICK)
            assert len(desk.kafka.in_flight[0][0].records) == 1
            assert not kept[number].done()
            desk.kafka.acknowledge()
        await desk.pass_time()
        assert fates(kept) == [True, True]


@pytest.mark.parametrize("is_late", [False, True])
async def test_it_is_emptied_when_nothing_is_under_way_or_on_disk(
    tmp_path: Path, clock: FakeClock, *, is_late: bool
) -> None:
    async with open_desk(tmp_path, clock) as desk, asyncio.TaskGroup() as tasks:
        desk.put("a")
        await desk.pass_time(PATIENCE if is_late else 0)
        leaving = tasks.create_task(desk.outbox.emptied())
        await desk.pass_time(TICK)
        assert not leaving.done()
        desk.kafka.acknowledge()
        await desk.pass_time(TICK)
        assert leaving.done() is not is_late
        await desk.pass_time(REPLAY_AFTER)
        await desk.pass_time(TICK)
        assert leaving.done()
