from datetime import UTC, datetime, timedelta

import pytest

from dispatcher.control.senders import resume, slow_down, suspend
from dispatcher.domain.control import Cut, Order, SenderRecord

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def until(hours: float | None) -> datetime | None:
    return None if hours is None else NOW + timedelta(hours=hours)


@pytest.mark.parametrize(("before", "after", "holds"), [(1, 2, 2), (2, 1, 2), (None, 1, None), (1, None, None)])
def test_of_two_suspensions_the_longer_one_holds(
    before: float | None, after: float | None, holds: float | None
) -> None:
    record = suspend(SenderRecord(), Order(by="ana", at=NOW, until=until(before)))
    record = suspend(record, Order(by="a rule", at=NOW, until=until(after)))
    assert record.suspension is not None
    assert record.suspension.until == until(holds)


@pytest.mark.parametrize(("first", "second", "by"), [((0.5, 2), (0.8, 1), "ana"), ((0.5, 1), (0.8, 2), "a rule")])
def test_a_cut_gives_way_to_what_cuts_deeper_or_longer(
    first: tuple[float, float], second: tuple[float, float], by: str
) -> None:
    record = slow_down(SenderRecord(), Cut(by="ana", at=NOW, factor=first[0], until=until(first[1])))
    record = slow_down(record, Cut(by="a rule", at=NOW, factor=second[0], until=until(second[1])))
    assert record.cut is not None
    assert record.cut.by == by


def test_resumed_nothing_holds() -> None:
    order = Order(by="ana", at=NOW)
    assert resume(SenderRecord(suspension=order, cut=Cut(by="ana", at=NOW, factor=0.5))) == SenderRecord()
