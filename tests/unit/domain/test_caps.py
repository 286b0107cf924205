"""Whose day it is, and what counts for which cap."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.domain.caps import TMOBILE_ZONE, Cap, CapRules
from dispatcher.domain.fleet import Carrier
from dispatcher.domain.job import Job
from tests.unit.engine.test_caps import NUMBER, fleet

CAP = Cap(name="tmobile/acme", limit=10, unit="segments", zone=TMOBILE_ZONE, reason="tmobile_cap")
ARRIVAL = 20.0


# Two years, with every change of the clocks.
MOMENTS = st.floats(datetime(2026, 1, 1, tzinfo=UTC).timestamp(), datetime(2027, 12, 31, tzinfo=UTC).timestamp())


@given(MOMENTS, st.floats(-2.0, ARRIVAL + 2.0))
def test_what_leaves_while_a_day_is_open_arrives_within_it(epoch: float, late: float) -> None:
    day = CAP.day_at(epoch, ARRIVAL)
    if day.opens <= epoch < day.closes:
        arrived = datetime.fromtimestamp(epoch + late, UTC).astimezone(ZoneInfo(TMOBILE_ZONE))
        assert arrived.date().isoformat() == day.name
    else:  # the rest at midnight
        assert 0 < day.opens - epoch <= ARRIVAL + 4.0


@given(MOMENTS)
def test_the_next_day_opens_when_this_one_has_closed(epoch: float) -> None:
    day = CAP.day_at(epoch, ARRIVAL)
    following = CAP.day_at(day.closes, ARRIVAL)
    assert following.opens - day.closes == pytest.approx(ARRIVAL + 4.0)
    assert datetime.fromisoformat(following.name) - datetime.fromisoformat(day.name) == timedelta(days=1)


@pytest.mark.parametrize(
    ("sender", "carrier", "to", "expected"),
    [
        (NUMBER, "tmobile", "+12065550143", {"tmobile/acme": 3, "account/main": 1}),
        (NUMBER, None, "+12065550143", {"tmobile/acme": 3, "account/main": 1}),
        (NUMBER, None, "+447700900123", {"account/main": 1}),
        (NUMBER, "att", "+12065550143", {"account/main": 1}),
        ("72345", "tmobile", "+12065550143", {"account/main": 1}),
    ],
)
def test_segments_count_for_the_brand_and_messages_for_the_account(
    sender: str, carrier: Carrier | None, to: str, expected: dict[str, int]
) -> None:
    rules = CapRules(fleet(daily=5))
    job = Job(id="1", campaign="spring", to=to, pool="all", body="Hi", carrier=carrier)
    assert {cap.name: amount for cap, amount in rules.of(sender, job, 3)} == expected


def test_without_caps_there_are_no_rules() -> None:
    assert not CapRules(fleet(None))
    assert CapRules(fleet(None, daily=1))
