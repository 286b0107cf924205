"""What was parked and not committed is told by its copies, and is not done again."""

from types import SimpleNamespace

from aiokafka import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.domain.journal import Place
from dispatcher.domain.outcome import Position
from dispatcher.domain.parking import Parked, write_headers
from dispatcher.intake.copies import UNCOMMITTED, Copies
from dispatcher.intake.offsets import Bookmark
from tests.clock import FakeClock
from tests.unit.intake.test_recovery import Kafka

TIERS = ("parked.10s", "parked.1h")


class Tiers(Kafka):
    """The tiers' partitions, beside the rest."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.logs |= {TopicPartition(tier, index): [] for tier in TIERS for index in range(2)}

    def park(self, tier: str, index: int, copied: Position | None) -> Position:
        """Write a copy; return where it stands."""
        parked = Parked(0.0, Position("bulk", index, 0), "bulk", 0, copied=copied)
        log = self.logs[TopicPartition(tier, index)]
        at = {"offset": len(log), "timestamp": self.clock.epoch() * 1000, "headers": write_headers(parked)}
        log.append(SimpleNamespace(topic=tier, partition=index, **at))
        return Position(tier, index, len(log) - 1)


@given(
    steps=st.lists(st.tuples(st.sampled_from(TIERS), st.integers(0, 1), st.floats(0, 2)), max_size=60),
    committed=st.integers(0, 60),
    down=st.floats(0, 100_000),
)
async def test_every_copy_that_no_commit_tells_of_is_found_however_long_nobody_worked(
    steps: list[tuple[str, int, float]], committed: int, down: float
) -> None:
    clock = FakeClock()
    kafka = Tiers(clock)
    marks = [0, 0]
    expected: set[Place] = set()
    for step, (tier, index, pause) in enumerate(steps):
        # A lease allows no more than some seconds of copies that no commit tells of.
        clock.advance(pause if step < committed else pause * UNCOMMITTED / 130)
        source = Position("bulk", index, step)
        kafka.park(tier, index, source)
        if step < committed:
            marks[index] = step + 1
        else:
            expected.add(("bulk", index, step))
    clock.advance(down)
    bookmarks = {TopicPartition("bulk", index): Bookmark(watermark=marks[index]) for index in range(2)}
    bookmarks |= {TopicPartition(tier, index): Bookmark() for tier in TIERS for index in range(2)}
    assert await Copies(kafka, TIERS).uncommitted(bookmarks) == expected


async def test_hops_from_tier_to_tier_are_found_and_what_is_not_ours_is_passed_over() -> None:
    kafka = Tiers(FakeClock())
    first = kafka.park("parked.1h", 0, Position("bulk", 0, 7))
    kafka.park("parked.10s", 0, first)
    kafka.park("parked.10s", 0, None)  # an older version's
    kafka.park("parked.10s", 1, Position("bulk", 0, 8))  # nobody parks across partitions
    strange = kafka.logs[TopicPartition("parked.10s", 1)]
    strange.append(SimpleNamespace(topic="parked.10s", partition=1, offset=1, timestamp=0, headers=()))
    bookmarks = {TopicPartition(topic, index): Bookmark() for topic in ("bulk", *TIERS) for index in range(2)}
    assert await Copies(kafka, TIERS).uncommitted(bookmarks) == {("bulk", 0, 7), ("parked.1h", 0, 0)}


async def test_where_nothing_is_parked_nothing_is_read() -> None:
    kafka = Tiers(FakeClock())
    assert await Copies(kafka, TIERS).uncommitted({TopicPartition("parked.10s", 0): Bookmark()}) == set()
