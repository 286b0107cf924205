from dataclasses import dataclass

from aiokafka import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.intake.held import REST_FROM, Held

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

    def pause(self, partition: TopicPartition) -> None:
        self.resting.add(partition)

    def resume(self, partition: TopicPartition) -> None:
        self.resting.remove(partition)


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
