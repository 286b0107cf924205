"""What is committed of a partition, held against a set that forgets nothing."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dispatcher.intake.offsets import LARGEST_SPAN, Bookmark, PartitionOffsets

MOST_METADATA = 4096
# Positions as long as they get.
FAR = 2**63 - 1
BOOK = 9999


class Page:
    """A page of the journal."""

    def __init__(self) -> None:
        self.open = 0


def restored(offsets: PartitionOffsets) -> PartitionOffsets:
    """Return the offsets as a new owner finds them."""
    watermark, metadata = offsets.commit(journal=(BOOK, FAR), results=FAR)
    assert len(metadata) <= MOST_METADATA
    bookmark = Bookmark.read(watermark, metadata)
    assert (bookmark.journal, bookmark.results) == ((BOOK, FAR), FAR)
    return PartitionOffsets(offsets.topic, offsets.partition, bookmark)


def fresh(start: int = 0) -> PartitionOffsets:
    return PartitionOffsets("campaign.jobs", 3, Bookmark(watermark=start))


class AgainstSets(RuleBasedStateMachine):
    """Records are taken in order, with gaps; settled in any order; and now and then the partition changes hands."""

    def __init__(self) -> None:
        super().__init__()
        self.next = 5
        self.offsets = fresh(self.next)
        self.log: list[int] = []  # every offset there is, so far
        self.settled: set[int] = set()
        self.open: set[int] = set()

    @precondition(lambda self: self.offsets.has_room)
    @rule(gap=st.sampled_from((0, 0, 0, 1, 7, 8, 300)), many=st.integers(1, 30))
    def take(self, gap: int, many: int) -> None:
        self.next += gap
        for offset in range(self.next, self.next + many):
            assert self.offsets.take(offset)
            self.log.append(offset)
            self.open.add(offset)
        self.next += many

    @precondition(lambda self: self.open)
    @rule(data=st.data(), share=st.sampled_from((0.1, 0.5, 1.0)))
    def settle(self, data: st.DataObject, share: float) -> None:
        some = sorted(self.open)
        for offset in data.draw(st.permutations(some))[: max(1, int(len(some) * share))]:
            self.offsets.settle(offset)
            self.open.discard(offset)
            self.settled.add(offset)

    @rule()
    def commit_alone(self) -> None:
        self.offsets.commit(journal=(0, 1), results=2)

    @rule()
    def hand_over(self) -> None:
        """The next owner takes again exactly what was not settled."""
        self.offsets = restored(self.offsets)
        watermark = self.offsets.watermark
        again = [offset for offset in self.log if offset >= watermark and self.offsets.take(offset)]
        assert again == sorted(self.open)
        assert self.offsets.in_hand == len(self.open)

    @invariant()
    def passes_nothing_unsettled(self) -> None:
        watermark = self.offsets.watermark
        assert all(offset in self.settled for offset in self.log if offset < watermark)
        assert not self.open or watermark == min(self.open), "nor does it lag"
        assert self.open or watermark == self.next or not self.log or watermark > self.log[-1]
        assert self.offsets.in_hand == len(self.open)

    @invariant()
    def fits_into_a_commit(self) -> None:
        _, metadata = self.offsets.commit(journal=(BOOK, FAR), results=FAR)
        assert len(metadata) <= MOST_METADATA


AgainstSets.TestCase.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)
TestAgainstSets = AgainstSets.TestCase


@pytest.mark.parametrize("start", [0, 1, 7, 8, 123_456_789])
def test_a_commit_fits_while_there_was_room_for_each_batch(start: int) -> None:
    """The first stays open, all others are settled: as wide as it gets. Room is asked for once a batch of 200."""
    offsets = fresh(start)
    offset = start
    while offsets.has_room:
        for _ in range(200):
            assert offsets.take(offset)
            offset += 1
    for settled in range(start + 1, offset):
        offsets.settle(settled)
    assert offset - start >= LARGEST_SPAN
    again = restored(offsets)
    assert again.take(start)
    assert not any(again.take(settled) for settled in range(start + 1, offset))
    again.settle(start)
    assert again.watermark == offset


def test_what_was_settled_far_above_the_watermark_stays_settled_when_the_watermark_comes_near() -> None:
    """No commit has to come in between."""
    offsets = fresh()
    for offset in range(LARGEST_SPAN + 200):
        offsets.take(offset)
    for offset in range(1, LARGEST_SPAN + 200):
        offsets.settle(offset)
    again = restored(offsets)
    again.take(0)
    again.settle(0)
    assert not any(again.take(offset) for offset in range(1, LARGEST_SPAN + 200))


@pytest.mark.parametrize("gap", [LARGEST_SPAN - 1, LARGEST_SPAN + 1, 1_000_000])
def test_a_gap_in_the_log_loses_nothing_and_still_fits_into_a_commit(gap: int) -> None:
    offsets = fresh()
    offsets.take(0)
    offsets.take(gap)
    offsets.settle(gap)
    again = restored(offsets)
    assert again.watermark == 0
    assert again.take(0)
    again.settle(0)
    assert again.watermark == 1
    offsets.settle(0)
    assert restored(offsets).watermark == gap + 1


def test_a_first_start_far_into_the_log_costs_no_memory_for_what_is_below() -> None:
    offsets = fresh()
    offsets.take(10**12)
    offsets.settle(10**12)
    assert offsets.watermark == 10**12 + 1
    assert len(offsets._bits) < 100


def test_a_topic_that_was_made_anew_is_read_from_its_beginning() -> None:
    """What was committed lies beyond its end, so Kafka starts over at zero."""
    offsets = fresh()
    for offset in range(1000, 1050):
        offsets.take(offset)
        offsets.settle(offset)
    again = restored(offsets)
    assert all(again.take(offset) for offset in range(50))
    for offset in range(50):
        again.settle(offset)
    assert again.watermark == 50


@given(
    metadata=st.one_of(
        st.text(max_size=50),
        st.builds("2 {} {} {}".format, st.text(max_size=5), st.integers(), st.text(max_size=10)),
        st.sampled_from(
            ("2", "2 ", "2 1", "2 1 2", "2 1 2 A", "2 1 2 ====", "2 1 2 é", "1 AAAA", '{"offset":1}', "3 1 2 AA==")
        ),
    ),
    watermark=st.integers(0, 10**12),
)
def test_what_another_program_committed_is_a_watermark_and_nothing_else(metadata: str, watermark: int) -> None:
    bookmark = Bookmark.read(watermark, metadata)
    assert bookmark.watermark == watermark
    offsets = PartitionOffsets("campaign.jobs", 0, bookmark)
    assert offsets.watermark == offsets.position == watermark
    assert isinstance(offsets.take(watermark), bool)


@pytest.mark.parametrize("metadata", ["", "1 AAAA", "2 1 2 A", "2 1 2 !!!!", "another program's", "3 1 2 //8="])
def test_a_stranger_says_nothing_of_what_is_settled(metadata: str) -> None:
    assert Bookmark.read(7, metadata) == Bookmark(watermark=7)


@given(above=st.sets(st.integers(100, 400)), recalled=st.sets(st.integers(80, 400)))
def test_what_a_dead_owner_had_settled_after_its_last_commit_is_not_taken_again(
    above: set[int], recalled: set[int]
) -> None:
    offsets = fresh(100)
    for offset in range(100, 401):
        offsets.take(offset)
    for offset in above - {100}:
        offsets.settle(offset)
    again = restored(offsets)
    for offset in recalled:
        again.recall(offset)
    watermark = again.watermark
    taken = [offset for offset in range(watermark, 401) if again.take(offset)]
    assert taken == [offset for offset in range(watermark, 401) if offset not in (above - {100}) | recalled]


def test_a_page_of_the_journal_is_needed_until_all_its_jobs_are_settled() -> None:
    offsets = fresh()
    first, second = Page(), Page()
    for offset in range(4):
        offsets.take(offset)
    for offset in range(3):
        offsets.announce(offset, first)
    assert (first.open, second.open) == (3, 0)
    offsets.announce(2, second)  # it is sent once more
    assert (first.open, second.open) == (2, 1)
    for offset in (0, 1, 3):
        offsets.settle(offset)
    assert (first.open, second.open) == (0, 1)
    offsets.settle(2)
    assert (first.open, second.open) == (0, 0)
