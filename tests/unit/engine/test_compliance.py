"""What the law and the recipients want, held against a whole pipeline whose clock is moved over days."""

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from math import inf
from random import Random
from urllib.parse import parse_qs
from zoneinfo import ZoneInfo

import pytest

from dispatcher.delivery.request import Request
from dispatcher.delivery.verdict import InDoubt, Verdict
from dispatcher.domain.fleet import Fleet, Pool
from dispatcher.domain.hours import Hours
from dispatcher.domain.places import place_of
from dispatcher.domain.quiet_hours import DEFAULT_HOURS, QuietHoursSettings
from dispatcher.domain.suppression import EVERYWHERE, SuppressionScope
from tests.unit.engine.stage import ARRIVAL, TOO_MANY, Stage, accepted
from tests.unit.pacing.making import make_fleet, make_sender

# An area code of each state and its zones, as the maps show them.
EASTERN, CENTRAL, MOUNTAIN, PACIFIC = "America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles"
AREAS = {
    "212": (EASTERN,), "404": (EASTERN,), "617": (EASTERN,), "305": (EASTERN,), "401": (EASTERN,), "203": (EASTERN,),
    "850": (EASTERN, CENTRAL), "502": ("America/Kentucky/Louisville",), "270": (EASTERN, CENTRAL),
    "312": (CENTRAL,), "214": (CENTRAL,), "504": (CENTRAL,), "205": (CENTRAL,), "601": (CENTRAL,), "405": (CENTRAL,),
    "605": (CENTRAL, MOUNTAIN), "701": (CENTRAL, MOUNTAIN), "303": (MOUNTAIN,), "801": (MOUNTAIN,), "307": (MOUNTAIN,),
    "602": ("America/Phoenix",), "208": (MOUNTAIN, PACIFIC), "206": (PACIFIC,), "213": (PACIFIC,), "702": (PACIFIC,),
    "907": ("America/Anchorage", "America/Adak"), "808": ("Pacific/Honolulu",), "787": ("America/Puerto_Rico",),
    "671": ("Pacific/Guam",),
}  # fmt: skip


def fleet(rate: float = 100, *, validity: float | None = None, senders: Iterable[str] = ("72345",)) -> Fleet:
    numbers = tuple(senders)
    pool = Pool(name="all", senders=numbers, quiet_hours=True, validity=validity)
    return make_fleet([make_sender(number, rate) for number in numbers], pools=[pool])


def is_quiet(moment: float, zones: Iterable[str], hours: Hours) -> bool:
    for zone in zones:
        local = datetime.fromtimestamp(moment, ZoneInfo(zone))
        span = hours.days[local.weekday()]
        if span is None or not span[0] * 60 <= local.hour * 3600 + local.minute * 60 + local.second < span[1] * 60:
            return True
    return False


def hours_of(number: str) -> Hours:
    place = place_of(number)
    return DEFAULT_HOURS["US"].within(DEFAULT_HOURS.get(place, DEFAULT_HOURS["US"]))


@pytest.mark.parametrize(
    "start",
    [
        datetime(2026, 3, 7, 22, tzinfo=UTC),  # the night in which the clock goes forward
        datetime(2026, 10, 31, 22, tzinfo=UTC),  # and back
        datetime(2026, 11, 24, 18, tzinfo=UTC),
    ],
)
def test_over_a_day_nobody_is_texted_outside_their_hours_and_nobody_is_forgotten(start: datetime) -> None:
    """20,000 recipients over all zones: accepted within their hours, with no longer validity than these last."""
    random = Random(start.day)

    def twilio(request: Request) -> Verdict:
        return TOO_MANY if random.random() < 0.02 else accepted(request)

    # So slow that evenings come before all have left.
    stage = Stage(fleet(rate=0.1, senders=[f"7234{digit}" for digit in range(6)]), twilio=twilio, now=start)
    areas = list(AREAS)
    for row in range(20_000):
        to = f"+1{random.choice(areas)}555{row % 10_000:04}"
        stage.receive(id=f"spring-{row:06}", to=to, body="Hi")
    for _ in range(120):
        stage.run(3600)
        if len(stage.results) == 20_000:
            break
    assert Counter(result.status for result in stage.results) == {"accepted": 20_000}
    assert len({result.id for result in stage.results}) == 20_000
    assert len(stage.desk.settled) == len(set(stage.desk.settled)) == 20_000
    for request, monotonic in zip(stage.sent, stage.times, strict=True):
        job = request.message.job
        left = start.timestamp() + monotonic - 1000.0
        form = parse_qs(request.form.decode())
        validity = float(form.get("ValidityPeriod", ["36000"])[0])
        zones, hours = AREAS[job.to[2:5]], hours_of(job.to)
        # It may have come to Twilio at once, or as late as a request may; and may leave Twilio as late as that.
        for moment in (left, left + ARRIVAL, left + ARRIVAL + validity - 0.001):
            assert not is_quiet(moment, zones, hours), (job.to, datetime.fromtimestamp(moment, UTC))


def test_what_comes_at_night_waits_for_the_morning_and_leaves_over_the_spread() -> None:
    start = datetime(2026, 11, 24, 11, tzinfo=UTC)  # 3:00 in Seattle
    stage = Stage(fleet(), now=start, quiet_hours=QuietHoursSettings(spread=600.0))
    for row in range(600):
        stage.receive(id=f"spring-{row}", to=f"+1206555{row:04}")
    stage.run(5 * 3600 - 1)
    assert not stage.sent
    stage.run(700)
    assert len(stage.sent) == 600
    per_minute = Counter(int((moment - stage.times[0]) // 60) for moment in stage.times)
    assert max(per_minute.values()) < 100
    assert stage.times[-1] - 1000.0 < 5 * 3600 + 610


def test_a_job_with_a_time_zone_goes_by_that_and_not_by_its_number() -> None:
    stage = Stage(fleet(), now=datetime(2026, 11, 24, 14, tzinfo=UTC))
    stage.receive(id="seattle", to="+12065550142")
    stage.receive(id="moved", to="+12065550143", timezone="America/New_York")
    stage.run(60)
    assert stage.ids() == ["moved"]


def test_a_scheduled_job_keeps_quiet_hours_too() -> None:
    stage = Stage(fleet(), now=datetime(2026, 11, 24, 18, tzinfo=UTC))
    stage.receive(to="+12065550142", send_at="2026-11-25T06:00:00Z")  # 22:00 in Seattle
    stage.run(21 * 3600)
    assert not stage.sent
    stage.run(2 * 3600)
    assert len(stage.sent) == 1


def test_what_waits_behind_others_when_the_day_ends_waits_for_the_next() -> None:
    stage = Stage(fleet(rate=1), now=datetime(2026, 11, 25, 3, 50, tzinfo=UTC))  # 19:50 in Seattle
    for row in range(1000):
        stage.receive(to=f"+1206555{row:04}")
    stage.run(3600)
    sent = len(stage.sent)
    assert 550 < sent < 600
    assert not stage.results[sent:]
    assert len(stage.journal.voided) == len(set(stage.journal.voided))
    stage.run(24 * 3600)
    assert Counter(result.status for result in stage.results) == {"accepted": 1000}
    assert {result.attempts for result in stage.results} == {1}


def test_a_message_that_would_still_lie_in_twilios_queue_is_not_sent() -> None:
    long = "x" * 1500  # ten segments, ten seconds of this sender
    stage = Stage(fleet(rate=1), now=datetime(2026, 11, 25, 3, 59, 25, tzinfo=UTC))  # 35 s left in Seattle
    stage.receive(id="short", to="+12065550142")
    stage.receive(id="long", to="+12065550143", body=long)
    stage.receive(id="none", to="+12065550144", body=long)
    stage.run(60)
    assert stage.ids() == ["short", "long"]


@pytest.mark.parametrize(("left", "validity"), [(3600, 300), (120, 99), (21.5, 1)])
def test_the_pools_validity_ends_with_the_day(left: float, validity: int) -> None:
    closes = datetime(2026, 11, 25, 4, tzinfo=UTC)
    stage = Stage(fleet(validity=300.0, rate=1000), now=closes - timedelta(seconds=left))
    stage.receive(to="+12065550142")
    stage.run(1)
    assert int(parse_qs(stage.sent[0].form.decode())["ValidityPeriod"][0]) == pytest.approx(validity, abs=1)


def test_a_pool_without_quiet_hours_texts_at_night() -> None:
    stage = Stage(make_fleet([make_sender("72345", 100)]), now=datetime(2026, 11, 24, 11, tzinfo=UTC))
    stage.receive(to="+12065550142")
    stage.run(1)
    assert "ValidityPeriod" not in parse_qs(stage.sent[0].form.decode())


def test_what_is_resent_after_doubt_keeps_quiet_hours() -> None:
    stage = Stage(fleet(), twilio=lambda _: InDoubt("silence"), now=datetime(2026, 11, 25, 3, 59, tzinfo=UTC))
    stage.receive(to="+12065550142")
    stage.run(100)
    doubt = stage.pipeline.doubts.due()[0]
    stage.pipeline.doubts.not_found(doubt)
    stage.run(30)
    stage.pipeline.doubts.not_found(stage.pipeline.doubts.due()[0])
    stage.run(60)
    assert len(stage.sent) == 1
    stage.run(13 * 3600)
    assert len(stage.sent) == 2


# ---------------------------------------------------------------------- suppressions


@pytest.mark.parametrize(
    ("scope", "status", "word"),
    [
        (EVERYWHERE, "suppressed", "on the suppression list"),
        (SuppressionScope("pool", "all"), "suppressed", "for the pool all"),
        (SuppressionScope("sender", "72345"), "suppressed", "for every sender of pool 'all'"),
        (SuppressionScope("pool", "other"), "accepted", ""),
        (SuppressionScope("sender", "999"), "accepted", ""),
    ],
)
@pytest.mark.parametrize("is_waiting", [False, True])
def test_who_is_suppressed_is_not_texted(scope: SuppressionScope, status: str, word: str, *, is_waiting: bool) -> None:
    stage = Stage(make_fleet([make_sender("72345", 1)]))
    if is_waiting:  # behind others, when the STOP comes
        for _ in range(3):
            stage.receive()
        stage.receive(id="theirs", to="+12065550142")
        stage.run(0.5)
        stage.suppressions.suppress("+12065550142", scope)
    else:
        stage.suppressions.suppress("+12065550142", scope)
        stage.receive(id="theirs", to="+12065550142")
    stage.run(20)
    result = next(result for result in stage.results if result.id == "theirs")
    assert result.status == status
    assert word in (result.reason or "")
    assert ("theirs" in stage.ids()) is (status == "accepted")


def test_who_is_suppressed_for_a_sender_is_texted_by_another() -> None:
    stage = Stage(make_fleet([make_sender("72345", 10), make_sender("72346", 10)]))
    for row in range(40):
        stage.suppressions.suppress(f"+1206555{row:04}", SuppressionScope("sender", "72345"))
        stage.receive(to=f"+1206555{row:04}")
    stage.run(60)
    assert set(stage.senders()) == {"72346"}
    assert {(result.status, result.attempts) for result in stage.results} == {("accepted", 1)}
    assert len(stage.results) == 40


def test_who_came_back_is_texted_again() -> None:
    stage = Stage(make_fleet([make_sender("72345", 10)]))
    stage.suppressions.suppress("+12065550142", EVERYWHERE)
    stage.suppressions.lift("+12065550142", EVERYWHERE)
    stage.receive(to="+12065550142")
    stage.run(1)
    assert len(stage.sent) == 1


def test_a_message_that_is_in_flight_when_the_stop_comes_keeps_its_result() -> None:
    stage = Stage(make_fleet([make_sender("72345", 10)]), twilio=lambda _: None, journal=0.0, latency=inf)
    stage.receive(to="+12065550142")
    stage.run(1)
    stage.suppressions.suppress("+12065550142", EVERYWHERE)
    stage.reply(stage.sent[0], accepted(stage.sent[0]))
    stage.run(1)
    assert [result.status for result in stage.results] == ["accepted"]
