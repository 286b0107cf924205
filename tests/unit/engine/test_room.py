"""Memory is short: what waits for minutes waits in Kafka, comes back before its turn, and hides nobody."""

from collections import Counter
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import inf
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.domain.control import Order
from dispatcher.domain.fleet import Pool
from dispatcher.domain.outcome import Position
from dispatcher.domain.parking import Parked, write_headers
from dispatcher.engine.room import CALM, EARLY, KEPT
from tests.unit.engine.stage import LOOK, Arrived, Stage
from tests.unit.pacing.making import make_fleet, make_sender

START = datetime(2026, 11, 24, 18, tzinfo=UTC)


def stage_of(rate: float = 10, **more: Any) -> Stage:
    return Stage(make_fleet([make_sender("72345", rate)]), **more)


def fill(stage: Stage, count: int, **job: Any) -> None:
    for _ in range(count):
        stage.receive(**job)


def set_rate(stage: Stage, rate: float) -> None:
    (lane,) = stage.pipeline.hierarchy.lanes()
    now = stage.clock.monotonic()
    for limit in lane.rates:
        limit.limit_to(rate, now)
    for queue in lane.queues:
        queue.limit_to(rate, 1.0, now)
    lane.rate = rate


def make_room(stage: Stage) -> None:
    stage.pipeline.room.make()
    stage.run(0.1)


def test_what_waits_for_longer_than_a_minute_leaves_memory_and_each_is_sent_once_in_order() -> None:
    stage = stage_of()
    fill(stage, 3000)
    make_room(stage)
    assert len(stage.parked) == pytest.approx(3000 - 10 * KEPT, abs=2)
    stage.run(400)
    assert stage.ids() == [f"job-{row}" for row in range(3000)]
    assert Counter(result.status for result in stage.results) == {"accepted": 3000}


def test_the_sender_never_waits_for_what_is_parked() -> None:
    stage = stage_of()
    fill(stage, 6000)
    make_room(stage)
    stage.run(700)
    assert len(stage.sent) == 6000
    assert max(later - earlier for earlier, later in pairwise(stage.times)) < 0.2


def test_parking_costs_a_message_a_few_copies_for_each_hour_that_it_waits() -> None:
    stage = stage_of(1)
    fill(stage, 1800)
    for _ in range(8):  # memory is short again and again
        make_room(stage)
        stage.run(100)
    stage.run(1800)
    assert len(stage.sent) == 1800
    assert len(stage.parked) / 1800 < 12


def test_what_may_leave_soon_stays_in_memory() -> None:
    stage = stage_of()
    fill(stage, int(10 * KEPT) - 10)
    make_room(stage)
    assert not stage.parked


def test_small_campaigns_stay_and_the_largest_makes_room() -> None:
    stage = stage_of()
    fill(stage, 3000, campaign="spring")
    fill(stage, 50, campaign="summer")
    make_room(stage)
    parked = Counter(b"spring" in record.value for record in stage.parked)
    assert parked[False] == 0
    assert parked[True] == pytest.approx(3000 - (10 * KEPT - 50), abs=2)
    stage.run(20)
    assert sum(request.message.job.campaign == "summer" for request in stage.sent) == 50


def test_a_campaign_with_a_slow_rate_of_its_own_keeps_a_minute_of_that_and_comes_back_by_it() -> None:
    stage = Stage(make_fleet([make_sender("72345", 100), make_sender("72346", 100)]))
    stage.obey("spring", rate="1/s")
    fill(stage, 600, campaign="spring")
    fill(stage, 100, campaign="summer")
    make_room(stage)
    assert len(stage.parked) == pytest.approx(600 - KEPT, abs=3)
    stage.run(640)
    sent = [at for request, at in zip(stage.sent, stage.times, strict=True) if request.message.job.campaign == "spring"]
    assert len(sent) == 600
    assert max(later - earlier for earlier, later in pairwise(sent)) < 1.2


def test_of_a_sender_that_is_out_everything_leaves_and_comes_back_when_it_is() -> None:
    stage = stage_of()
    fill(stage, 200)
    stage.run(0.1)
    stage.pipeline.placement.suspend("72345", inf, stage.clock.monotonic())
    make_room(stage)
    (lane,) = stage.pipeline.hierarchy.lanes()
    assert lane.queue.count == 0
    stage.run(1800)
    before = len(stage.sent)
    stage.pipeline.placement.suspend("72345", 0.0, stage.clock.monotonic())
    stage.run(30)
    assert len(stage.sent) == 200 > before
    assert stage.times[before] - 1000.0 < 1801 + LOOK


def test_a_lane_that_became_faster_has_back_what_is_parked_but_seldom() -> None:
    stage = stage_of(1)
    fill(stage, 4000)
    make_room(stage)
    calls: list[float] = []
    call_back = stage.pipeline.room._call_back

    def noted(tiers: Collection[str], before: float) -> None:
        calls.append(stage.clock.monotonic())
        call_back(tiers, before)

    stage.pipeline.room._call_back = noted
    for rate in (100.0, 1.0, 100.0):
        set_rate(stage, rate)
        stage.run(2)
        make_room(stage)
        stage.run(10)
    assert len(calls) == 1, "the second time it is left to the appointments, for a while"
    stage.run(CALM)
    assert len(stage.sent) == 4000
    assert all(later - earlier >= CALM for earlier, later in pairwise(calls))


def test_what_is_scheduled_is_not_sent_early_when_appointments_are_called_back() -> None:
    stage = stage_of(1)
    due = stage.clock.now() + timedelta(hours=3)
    stage.receive(id="scheduled", send_at=due.isoformat())
    fill(stage, 600)
    make_room(stage)
    stage.pipeline._call_back(["10s", "1min", "10min", "1h"], stage.clock.epoch())
    stage.run(3600)
    assert "scheduled" not in stage.ids()
    stage.run(2.1 * 3600)
    assert "scheduled" in stage.ids()


def test_what_would_have_its_turn_after_it_expires_has_its_result_when_it_does() -> None:
    stage = stage_of(1)
    expires = stage.clock.now() + timedelta(seconds=300)
    for _ in range(1000):
        stage.receive(expires_at=expires.isoformat())
    make_room(stage)
    stage.run(302)
    statuses = Counter(result.status for result in stage.results)
    assert sum(statuses.values()) == 1000
    assert statuses["accepted"] == pytest.approx(300, abs=5)


STATES = st.sampled_from(["running", "paused", "cancelled", "no room", "no room"])


@settings(max_examples=40, deadline=None)
@given(
    words=st.lists(st.tuples(st.sampled_from(["spring", "summer"]), STATES, st.floats(0.1, 100.0)), max_size=10),
    rows=st.integers(1, 400),
)
def test_whatever_happens_while_memory_is_short_each_job_has_one_result(
    words: list[tuple[str, str, float]], rows: int
) -> None:
    pools = [Pool(name="all", senders=("72345",)), Pool(name="other", senders=("72346",))]
    stage = Stage(make_fleet([make_sender("72345", 1), make_sender("72346", 2)], pools=pools))
    for row in range(rows):
        stage.receive(id=f"job-{row}", campaign=("spring", "summer")[row % 2], pool=("all", "other")[row % 3 == 0])
    states = dict.fromkeys(("spring", "summer"), "running")
    for campaign, state, pause in words:
        if state == "no room":
            stage.pipeline.room.make()
        else:
            stage.obey(campaign, state=state, order=Order(by="ana", at=stage.clock.now()))
            states[campaign] = "cancelled" if states[campaign] == "cancelled" else state
        stage.run(pause)
    for campaign, state in states.items():
        if state == "paused":
            stage.obey(campaign, state="running", order=Order(by="ana", at=stage.clock.now()))
    stage.run(3600)
    assert sorted(result.id for result in stage.results) == sorted(f"job-{row}" for row in range(rows))
    assert not stage.in_tiers
    assert len(stage.desk.settled) == len(set(stage.desk.settled)) == rows


def test_appointments_are_before_the_turn() -> None:
    stage = stage_of(1)
    fill(stage, 1000)
    make_room(stage)
    dues = [int(dict(record.headers)["due"]) / 1000 - START.timestamp() for record in stage.parked]
    assert dues == sorted(dues)
    assert dues[0] == pytest.approx(KEPT - EARLY, abs=2)
    assert dues[-1] == pytest.approx(1000 - EARLY, abs=3)


def test_what_was_about_to_be_parked_when_its_campaign_is_cancelled_has_its_result() -> None:
    stage = stage_of()
    fill(stage, 1000)
    stage.pipeline.room.make()
    stage.obey("spring", state="cancelled", order=Order(by="ana", at=stage.clock.now()))
    stage.run(1)
    assert not stage.parked
    assert len(stage.results) == 1000


@pytest.mark.parametrize(("is_booked", "after"), [(True, 0.0), (False, 100.0)])
def test_only_what_waits_for_its_turn_goes_early_when_it_is_called_back(*, is_booked: bool, after: float) -> None:
    stage = stage_of()
    offset = stage.receive()
    stage.run(1)
    value = msgspec.json.encode(stage.sent[0].message.job)
    stage.pipeline._repeats.start_with({}, stage.clock.monotonic())
    parked = Parked(stage.clock.epoch() + 100, Position("campaign.jobs", 0, offset), "bulk", 0, is_booked=is_booked)
    stage.pipeline.room.called_back = stage.clock.epoch()
    stamp = int(stage.clock.epoch() * 1000)
    record = Arrived(offset=99, key=b"", value=value, timestamp=stamp, headers=write_headers(parked))
    back_at = stage.clock.monotonic()
    stage.pipeline.receive_parked(next(iter(stage.tiers.values())), [record])
    stage.run(200)
    assert stage.times[1] - back_at == pytest.approx(after, abs=1.5)
