from datetime import timedelta
from math import inf

import pytest

from dispatcher.domain.control import Cut, Order, SenderRecord
from dispatcher.domain.errors import DispatcherError
from dispatcher.domain.fleet import SenderKind
from dispatcher.engine.explain import Explanation, explain
from tests.clock import FakeClock
from tests.unit.control.settings import settings_of
from tests.unit.pacing.making import make_fleet, make_sender

SETTINGS = settings_of(
    make_fleet(
        [make_sender("72345", 100), make_sender("72346", 100), make_sender("+447700900000", 1, prefixes=("+44",))]
    )
)


def asked(clock: FakeClock, said: dict[str, SenderRecord] | None = None) -> Explanation:
    return explain(SETTINGS, said or {}, clock, to="+12065550142", pool="all")


def chosen(found: Explanation) -> list[str]:
    return [one.number for one in found.candidates if one.is_chosen]


def test_the_first_choice_of_the_recipient_is_named_with_its_limits(clock: FakeClock) -> None:
    found = asked(clock)
    (number,) = chosen(found)
    assert found.wait == 0
    assert found.limits[0] == f"sender {number}: 100/s segments"
    reasons = {one.number: one.why for one in found.candidates}
    assert reasons["+447700900000"] == "it reaches +44 alone"


def test_a_suspended_sender_says_by_whom_and_until_when_and_the_next_is_chosen(clock: FakeClock) -> None:
    (own,) = chosen(asked(clock))
    order = Order(by="ana", at=clock.now(), until=clock.now() + timedelta(minutes=10), why="complaints")
    found = asked(clock, {own: SenderRecord(suspension=order)})
    assert chosen(found) == [{"72345": "72346", "72346": "72345"}[own]]
    why = {one.number: one.why for one in found.candidates}[own]
    assert why == "suspended by ana until 2026-11-24 18:10:00 UTC: complaints"


@pytest.mark.parametrize(("minutes", "wait"), [(10, 600.0), (None, inf)])
def test_when_all_are_suspended_it_waits_for_its_own(clock: FakeClock, minutes: float | None, wait: float) -> None:
    until = None if minutes is None else clock.now() + timedelta(minutes=minutes)
    record = SenderRecord(suspension=Order(by="ana", at=clock.now(), until=until))
    found = asked(clock, {"72345": record, "72346": record})
    assert chosen(found) == chosen(asked(clock))
    assert found.wait == wait


def test_a_cut_rate_is_told(clock: FakeClock) -> None:
    cut = SenderRecord(cut=Cut(by="ana", at=clock.now(), factor=0.5))
    found = asked(clock, {"72345": cut, "72346": cut})
    assert found.limits[0].endswith("100/s segments, at 50% of it now")


def test_of_media_it_tells_who_carries_them_and_what_their_kind_has_together(clock: FakeClock) -> None:
    settings = settings_of(
        make_fleet([make_sender("72345", 100), make_sender("+18885550100", 3, mms=10, kind=SenderKind.TOLL_FREE)])
    )
    found = explain(settings, {}, clock, to="+12065550142", pool="all", has_media=True)
    assert chosen(found) == ["+18885550100"]
    assert {one.number: one.why for one in found.candidates}["72345"] == "it carries no media"
    assert found.limits[0] == "sender +18885550100: 10/s messages with media"
    assert "all toll_free senders of account family main: 25/s messages with media" in found.limits
    abroad = explain(settings, {}, clock, to="+447911123456", pool="all", has_media=True)
    assert {one.why for one in abroad.candidates} == {"it carries no media", "it sends media to +1 alone"}


def test_a_recipient_whom_no_sender_reaches_is_told_why(clock: FakeClock) -> None:
    settings = settings_of(make_fleet([make_sender("+447700900000", 1, prefixes=("+44",))]))
    found = explain(settings, {}, clock, to="+12065550142", pool="all")
    assert (chosen(found), found.limits, found.wait) == ([], (), inf)


def test_a_pool_that_is_not_there_is_one_sentence(clock: FakeClock) -> None:
    with pytest.raises(DispatcherError, match='no pool "gold"; its pools are all'):
        explain(SETTINGS, {}, clock, to="+12065550142", pool="gold")
