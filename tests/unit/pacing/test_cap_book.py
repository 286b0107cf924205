"""Whoever reads the same records knows the same: what each index was granted of a day."""

import pytest

from dispatcher.domain.claims import CapRecord, Claim, Closed, Takeover
from dispatcher.pacing.cap_book import CapBook

DAY = "2026-11-24"


def claim(index: int, want: int, *, epoch: int = 0, seq: int = 1, spent: int = 0, limit: int = 10) -> Claim:
    return Claim(
        cap="tmobile/acme", day=DAY, limit=limit, index=index, epoch=epoch, seq=seq, want=want, spent=spent, results=0
    )


def granted(records: list[CapRecord]) -> dict[int, int]:
    book = CapBook()
    for offset, record in enumerate(records):
        book.apply(offset, record)
    return {index: stake.granted for index, stake in book.day("tmobile/acme", DAY).stakes.items()}


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([claim(0, 4), claim(1, 4)], {0: 4, 1: 4}),
        ([claim(0, 8), claim(1, 8)], {0: 8, 1: 2}),
        ([claim(0, 8), claim(0, 5, seq=2), claim(1, 8)], {0: 5, 1: 5}),
        # The same record once more, and an older one that comes late.
        ([claim(0, 8), claim(0, 8), claim(1, 1)], {0: 8, 1: 1}),
        ([claim(0, 8, seq=2), claim(0, 3, seq=1), claim(1, 9)], {0: 8, 1: 2}),
        # A limit that was lowered takes nothing away, and grants nothing more.
        ([claim(0, 8), claim(0, 9, seq=2, limit=5), claim(1, 1, limit=5)], {0: 8, 1: 0}),
        ([claim(0, 10), claim(1, 5, limit=12)], {0: 10, 1: 2}),
        # A former owner speaks after it was succeeded: it gives nothing back, and takes nothing.
        ([claim(0, 8), Takeover(owner="b", indices=(0,)), claim(0, 2, seq=2), claim(1, 9)], {0: 8, 1: 2}),
        ([claim(0, 2), Takeover(owner="b", indices=(0,)), claim(0, 9, seq=2)], {0: 2}),
        ([claim(0, 2), Takeover(owner="b", indices=(0,)), claim(0, 9, epoch=1, seq=1)], {0: 9}),
        # Whoever begins to read when the takeover is no longer there still believes the later owner.
        ([claim(0, 5, epoch=700), claim(0, 9, epoch=600, seq=9)], {0: 5}),
    ],
)
def test_claims_are_granted_in_the_order_of_the_topic(records: list[CapRecord], expected: dict[int, int]) -> None:
    assert granted(records) == expected


def test_a_day_is_scarce_once_somebody_got_less_than_it_wanted() -> None:
    book = CapBook()
    book.apply(0, claim(0, 10))
    assert not book.day("tmobile/acme", DAY).is_scarce
    book.apply(1, claim(1, 1))
    assert book.day("tmobile/acme", DAY).is_scarce


def test_what_was_granted_and_not_spent_is_open() -> None:
    book = CapBook()
    book.apply(0, claim(0, 6, spent=1))
    book.apply(1, claim(1, 2, spent=2))
    assert book.day("tmobile/acme", DAY).open == 5


def test_days_and_caps_have_nothing_to_do_with_each_other() -> None:
    book = CapBook()
    book.apply(0, claim(0, 10))
    other = Claim(cap="tmobile/b", day=DAY, limit=10, index=0, epoch=0, seq=1, want=7, spent=0, results=0)
    book.apply(1, other)
    tomorrow = Claim(
        cap="tmobile/acme", day="2026-11-25", limit=10, index=0, epoch=0, seq=1, want=3, spent=0, results=0
    )
    book.apply(2, tomorrow)
    book.apply(3, Closed(cap="tmobile/b", day=DAY, by="30023"))
    assert book.day("tmobile/b", DAY).granted == 7
    assert book.day("tmobile/acme", "2026-11-25").granted == 3
    assert book.day("tmobile/b", DAY).is_closed
    assert not book.day("tmobile/acme", DAY).is_closed


def test_days_long_past_are_forgotten() -> None:
    book = CapBook()
    for day in range(1, 9):
        record = Claim(cap="c", day=f"2026-11-{day:02}", limit=10, index=0, epoch=0, seq=1, want=1, spent=0, results=0)
        book.apply(day, record)
    assert len([*book.stakes_of(0)]) == 3
