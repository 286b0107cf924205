"""What waits for long waits in Kafka, and comes back when it may go on: no later, and no sooner."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.domain.control import Order
from dispatcher.domain.outcome import Position
from dispatcher.domain.parking import read_headers
from dispatcher.engine.campaigns import PATIENCE
from dispatcher.engine.later import AT_ONCE
from dispatcher.engine.pipeline import CLOCKS_DIFFER
from tests.unit.engine.stage import LOOK, TOO_MANY, Stage, accepted
from tests.unit.pacing.making import make_fleet, make_sender

START = datetime(2026, 11, 24, 18, tzinfo=UTC)


def stage_of(rate: float = 100, **more: Any) -> Stage:
    return Stage(make_fleet([make_sender("72345", rate)]), **more)


def order(stage: Stage, ago: float = 0.0) -> Order:
    return Order(by="ana", at=stage.clock.now() - timedelta(seconds=ago))


def test_a_campaign_that_is_held_for_long_is_parked_and_pins_nothing() -> None:
    stage = stage_of()
    stage.obey("spring", state="paused")
    for _ in range(3 * AT_ONCE):
        stage.receive(campaign="spring")
    stage.run(PATIENCE - 0.1)
    assert not stage.parked
    stage.run(0.2)
    assert len(stage.parked) == 3 * AT_ONCE == len(stage.desk.settled)
    stage.receive(campaign="spring")  # what comes meanwhile does not stay either
    assert len(stage.parked) == 3 * AT_ONCE + 1
    (lane,) = stage.pipeline.hierarchy.lanes()
    assert lane.queue.count == 0
    assert not stage.results


def test_a_campaign_that_is_held_for_a_moment_is_not_parked() -> None:
    stage = stage_of()
    stage.obey("spring", state="paused")
    stage.receive()
    stage.run(PATIENCE - 1)
    stage.obey("spring", state="running", order=order(stage))
    stage.run(PATIENCE)
    assert not stage.parked
    assert len(stage.sent) == 1


@pytest.mark.parametrize("paused", [PATIENCE + 1, 60.0, 3 * 3600.0])
def test_a_resumed_campaign_goes_on_at_once_in_its_order_and_each_message_once(paused: float) -> None:
    stage = stage_of()
    stage.obey("spring", state="paused")
    for row in range(300):
        stage.receive(id=f"spring-{row}")
    stage.run(paused)
    assert not stage.sent
    resumed_at = stage.clock.monotonic()
    stage.obey("spring", state="running", order=order(stage))
    stage.run(10)
    assert stage.ids() == [f"spring-{row}" for row in range(300)]
    assert stage.times[0] - resumed_at < LOOK + 0.1
    assert Counter(result.status for result in stage.results) == {"accepted": 300}
    assert {result.attempts for result in stage.results} == {1}


def test_another_campaign_that_is_let_go_leaves_the_held_ones_parked() -> None:
    stage = stage_of()
    for campaign in ("spring", "summer"):
        stage.obey(campaign, state="paused")
        for _ in range(100):
            stage.receive(campaign=campaign)
    stage.run(60)
    stage.obey("summer", state="running", order=order(stage))
    stage.run(60)
    assert {request.message.job.campaign for request in stage.sent} == {"summer"}
    assert len(stage.in_tiers) == 100
    assert len(stage.parked) == 300, "it is written once more for each word that lets another one go"


def test_what_comes_back_from_twilio_when_its_campaign_is_parked_is_parked_too() -> None:
    stage = stage_of(twilio=lambda _: None)
    stage.receive()
    stage.run(0.1)
    stage.obey("spring", state="paused")
    stage.run(PATIENCE + 1)
    stage.reply(stage.open[0], TOO_MANY)
    stage.run(1)
    assert len(stage.parked) == 1
    assert stage.journal.voided
    stage.obey("spring", state="running", order=order(stage))
    stage.twilio = accepted
    stage.run(LOOK + 1)
    assert [(result.status, result.attempts) for result in stage.results] == [("accepted", 1)]


def test_a_cancelled_campaign_has_all_its_results_at_once_and_what_else_is_parked_stays_so() -> None:
    stage = stage_of()
    due = {"spring": stage.clock.now() + timedelta(hours=5), "summer": stage.clock.now() + timedelta(hours=6)}
    for row in range(500):
        campaign = ("spring", "summer")[row % 2]
        stage.receive(campaign=campaign, send_at=due[campaign].isoformat())
    stage.obey("autumn", state="paused")
    for _ in range(250):
        stage.receive(campaign="autumn")
    stage.run(1800)
    assert not stage.results
    stage.obey("spring", state="cancelled", order=order(stage))
    stage.obey("autumn", state="cancelled", order=order(stage))
    stage.run(LOOK + 0.1)
    assert Counter((result.campaign, result.status) for result in stage.results) == {
        ("spring", "cancelled"): 250,
        ("autumn", "cancelled"): 250,
    }
    stage.run(6 * 3600)
    assert Counter(result.campaign for result in stage.results)["summer"] == 250
    assert stage.times[0] - 1000.0 >= 6 * 3600


@pytest.mark.parametrize("state", ["running", "cancelled"])
def test_an_old_word_that_a_worker_hears_at_its_start_concerns_what_was_parked_before_it(state: str) -> None:
    stage = stage_of()
    calls: list[float] = []
    stage.pipeline._call_back = lambda _, before: calls.append(before)
    stage.obey("spring", state=state, order=order(stage, ago=3600))
    stage.obey("summer", state=state, order=order(stage, ago=1))
    stage.obey("autumn", state="running")
    now = stage.clock.epoch()
    assert calls == [now - 3600 + CLOCKS_DIFFER, now]


def test_of_much_that_is_due_together_some_is_taken_out_at_a_time() -> None:
    stage = stage_of()
    due = stage.clock.now() + timedelta(seconds=5)
    for _ in range(1000):
        stage.receive(send_at=due.isoformat())
    stage.clock.advance(5)
    (lane,) = stage.pipeline.hierarchy.lanes()
    stage.pipeline.run()
    assert lane.queue.count + lane.prepared + len(stage.sent) == AT_ONCE
    assert stage.pipeline.next_due() <= stage.clock.monotonic()
    stage.run(11)
    assert len(stage.sent) == 1000


STATES = st.sampled_from(["running", "paused", "cancelled"])


@settings(max_examples=60, deadline=None)
@given(
    words=st.lists(
        st.tuples(st.sampled_from(["spring", "summer"]), STATES, st.floats(0.1, 2 * PATIENCE)), min_size=1, max_size=12
    ),
    schedule=st.lists(st.sampled_from([0, 5, 30, 700]), min_size=20, max_size=60),
)
def test_whatever_is_said_each_job_has_one_result_and_nothing_leaves_that_is_stopped(
    words: list[tuple[str, str, float]], schedule: list[int]
) -> None:
    stage = stage_of(5)
    for row, seconds in enumerate(schedule):
        send_at = (START + timedelta(seconds=seconds)).isoformat() if seconds else None
        stage.receive(id=f"job-{row}", campaign=("spring", "summer")[row % 2], send_at=send_at)
    states = dict.fromkeys(("spring", "summer"), "running")
    for campaign, state, pause in words:
        stage.obey(campaign, state=state, order=order(stage))
        states[campaign] = "cancelled" if states[campaign] == "cancelled" else state
        before = len(stage.sent)
        stage.run(pause)
        left = {request.message.job.campaign for request in stage.sent[before:]}
        assert all(states[campaign] == "running" for campaign in left)
    for campaign, state in states.items():
        if state == "paused":
            stage.obey(campaign, state="running", order=order(stage))
    stage.run(3600)
    assert sorted(result.id for result in stage.results) == sorted(f"job-{row}" for row in range(len(schedule)))
    statuses = {campaign: {one.status for one in stage.results if one.campaign == campaign} for campaign in states}
    assert all("cancelled" not in statuses[name] for name, state in states.items() if state != "cancelled")
    assert not stage.in_tiers


def test_what_was_about_to_be_parked_when_its_campaign_is_let_go_goes_on() -> None:
    stage = stage_of()
    stage.obey("spring", state="paused")
    for _ in range(2 * AT_ONCE):
        stage.receive()
    stage.clock.advance(PATIENCE)
    stage.pipeline.run()
    assert len(stage.parked) == AT_ONCE
    stage.obey("spring", state="running", order=order(stage))
    stage.run(10)
    assert len(stage.parked) == AT_ONCE
    assert len(stage.sent) == 2 * AT_ONCE


def test_a_parked_message_is_of_the_moment_in_which_it_was_decided_however_late_it_is_written() -> None:
    stage = stage_of()
    stage.obey("spring", state="paused")
    stage.receive()
    stage.run(60)
    assert [record.timestamp for record in stage.parked] == [int((START.timestamp() + PATIENCE) * 1000)]


def test_a_copy_says_which_record_is_settled_by_it_on_each_hop() -> None:
    stage = stage_of()
    offset = stage.receive(send_at=(START + timedelta(seconds=75)).isoformat())
    stage.run(80)
    copied = [read_headers(record.headers).copied for record in stage.parked]
    settled = [Position(desk.topic, 0, at) for desk in (stage.desk, *stage.tiers.values()) for at in desk.settled]
    assert len(copied) == 2
    assert copied[0] == Position(stage.desk.topic, 0, offset)
    assert {str(one) for one in copied} < {str(one) for one in settled}
