from dataclasses import dataclass

from aiokafka import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.intake.held import LOOK, REST, REST_FROM, Held
from dispatcher.transport.fetching import REST_FOR

TIERS = {"parked.10s": 10.0, "parked.1h": 3600.0}
SHORT, LONG = TopicPartition("parked.10s", 0), TopicPartition("parked.1h", 0)


@dataclass(slots=True)
class Record:
    topic: str
    offset: int
    timestamp: int


class Consumer:
    def __init__(self) -> None:
        self.resting: set[TopicPartition] = set()

    def pause(self, *partitions: TopicPartition) -> None:
        self.resting.update(partitions)

    def resume(self, *partitions: TopicPartition) -> None:
        assert self.resting.issuperset(partitions)
        self.resting.difference_update(partitions)


def records(topic: str, appended: list[float]) -> list[Record]:
    return [Record(topic, offset, int(at * 1000)) for offset, at in enumerate(appended)]


@given(
    appended=st.lists(st.integers(0, 100), min_size=1, max_size=30).map(sorted),
    looks=st.lists(st.integers(0, 120), max_size=20).map(sorted),
    most=st.integers(1, 10),
    room=st.integers(0, 10),
)
def test_each_record_comes_once_in_order_and_not_before_its_time(
    appended: list[float], looks: list[float], most: int, room: int
) -> None:
    held, consumer, came = Held(TIERS), Consumer(), []
    held.keep(consumer, SHORT, records("parked.10s", appended), 0.0)
    for now in looks:
        taken = [one for _, found in held.ready(consumer, most, now, lambda _, more: more < room) for one in found]
        assert len(taken) <= min(most, room)
        assert all(one.timestamp / 1000 + 10 <= now for one in taken)
        came += [one.offset for one in taken]
    assert came == list(range(len(came)))
    assert bool(held) == (SHORT in held) == (len(came) < len(appended))


def test_a_partition_whose_time_is_far_off_rests_until_all_of_it_was_handed_on() -> None:
    held, consumer = Held(TIERS), Consumer()
    held.keep(consumer, SHORT, records("parked.10s", [0.0]), 0.0)
    held.keep(consumer, LONG, records("parked.1h", [0.0, 1.0]), 3600 - REST_FROM - 1)
    assert consumer.resting == {LONG}
    assert len(list(held.ready(consumer, 100, 3600.5, lambda *_: True))) == 2
    assert consumer.resting == {LONG}
    list(held.ready(consumer, 100, 3601.0, lambda *_: True))
    assert consumer.resting == set()
    assert not held


@given(st.lists(st.tuples(st.floats(0, 0.1), st.booleans()), max_size=100))
def test_partitions_without_anything_are_looked_at_now_and_then_and_jobs_always(
    steps: list[tuple[float, bool]],
) -> None:
    held, consumer, jobs = Held(TIERS), Consumer(), TopicPartition("campaign.jobs", 0)
    now, looked_at = 1000.0, 1000.0
    for pause, has_something in steps:
        now += pause
        held.turn((SHORT, LONG, jobs), now)
        assert jobs not in held.idle
        assert held.idle == {one for one in (SHORT, LONG) if one in held and one not in held._records}
        if SHORT not in held.idle:
            looked_at = now
            if has_something and SHORT not in held:
                held.keep(consumer, SHORT, records("parked.10s", [now]), now)
                held.turn((SHORT, LONG, jobs), now + LOOK)
                assert SHORT not in held.idle, "there may be more of it"
        assert now - looked_at <= REST + 0.2


def test_within_a_look_a_fetch_ends_and_another_begins() -> None:
    assert 2 * REST_FOR < LOOK


def test_a_wall_clock_that_was_put_back_ends_no_look() -> None:
    held = Held(TIERS)
    held.turn((SHORT,), 10_000.0)
    assert held.idle == {SHORT}
    held.turn((SHORT,), 6_400.0)
    assert held.idle == set()


@given(
    appended=st.lists(st.integers(0, 100), min_size=1, max_size=30).map(sorted),
    before=st.lists(st.integers(-1, 101), min_size=1, max_size=3),
    tiers=st.sets(st.sampled_from(["10s", "1h"])),
)
def test_what_is_called_back_comes_at_once_and_what_was_parked_since_stays(
    appended: list[float], before: list[int], tiers: set[str]
) -> None:
    held, consumer = Held(TIERS), Consumer()
    held.keep(consumer, LONG, records("parked.1h", appended), 100.0)
    for moment in before:
        held.call_back(tiers, moment)
    came = [one.timestamp / 1000 for _, found in held.ready(consumer, 100, 101.0, lambda *_: True) for one in found]
    assert came == ([at for at in appended if at <= max(before)] if "1h" in tiers else [])


def test_what_was_called_back_is_remembered_through_rebalances() -> None:
    held, consumer = Held(TIERS), Consumer()
    held.call_back(["1h"], 50.0)
    held.clear()
    held.keep(consumer, LONG, records("parked.1h", [49.0, 51.0]), 100.0)
    assert [len(found) for _, found in held.ready(consumer, 100, 101.0, lambda *_: True)] == [1]
