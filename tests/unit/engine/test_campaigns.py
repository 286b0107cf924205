from collections import Counter
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.delivery.request import Request
from dispatcher.delivery.verdict import Verdict
from dispatcher.domain.control import Order
from tests.unit.engine.stage import TOO_MANY, Stage, accepted, declined
from tests.unit.pacing.making import make_fleet, make_sender

ORDER = Order(by="ana", at=datetime(2026, 11, 24, tzinfo=UTC), why="sold out")


def stage_of(rate: float = 100, **more: Any) -> Stage:
    return Stage(make_fleet([make_sender("72345", rate)]), **more)


def sent_of(stage: Stage, campaign: str) -> int:
    return sum(request.message.job.campaign == campaign for request in stage.sent)


@pytest.mark.parametrize("state", ["paused", "draft"])
def test_nothing_of_a_held_campaign_leaves_and_others_have_the_whole_rate(state: str) -> None:
    stage = stage_of()
    for _ in range(400):
        stage.receive(campaign="spring")
        stage.receive(campaign="summer")
    stage.run(1)
    before = sent_of(stage, "spring")
    stage.obey("spring", state=state)
    stage.run(2)
    assert sent_of(stage, "spring") == before > 0
    assert sent_of(stage, "summer") == pytest.approx(50 + 2 * 99, abs=3)


@pytest.mark.parametrize("moment", ["announced", "ready"])
def test_what_was_announced_when_its_campaign_was_paused_is_taken_back_and_goes_first_later(moment: str) -> None:
    stage = stage_of(1, journal=inf)
    first = stage.receive()
    stage.run(0.1)
    stage.hand_over_intents()
    stage.run(0.1)
    second = stage.receive()
    stage.receive()
    stage.run(0.83)
    assert [intent.offset for intent in stage.journal.intents] == [first, second]
    if moment == "ready":
        stage.hand_over_intents()
    stage.obey("spring", state="paused")
    stage.run(0.1)
    stage.hand_over_intents()
    stage.run(5)
    assert stage.journal.voided == [second]
    assert len(stage.sent) == 1
    stage.obey("spring", state="running")
    stage.run(0.1)
    stage.hand_over_intents()
    stage.run(0.1)
    assert [request.message.offset for request in stage.sent] == [first, second]
    assert stage.sent[1].message.attempts == 1


def test_what_is_in_flight_when_its_campaign_is_paused_waits_if_twilio_refuses_it() -> None:
    stage = stage_of(twilio=lambda _: None)
    stage.receive()
    stage.run(0.1)
    stage.obey("spring", state="paused")
    stage.reply(stage.open[0], TOO_MANY)
    stage.run(30)
    assert len(stage.sent) == 1
    stage.obey("spring", state="running")
    stage.run(1)
    assert len(stage.sent) == 2


def test_a_paused_campaign_that_is_resumed_goes_at_its_own_rate_again() -> None:
    stage = stage_of()
    stage.obey("spring", state="paused", rate="10/s")
    for _ in range(100):
        stage.receive()
    stage.run(5)
    assert stage.sent == []
    stage.obey("spring", rate="10/s")
    stage.run(5)
    assert 48 <= len(stage.sent) <= 51


def test_messages_of_a_paused_campaign_wait_for_that() -> None:
    stage = stage_of()
    stage.obey("spring", state="paused")
    stage.receive()
    stage.run(1)
    (lane,) = stage.pipeline.hierarchy.lanes()
    assert stage.pipeline.campaigns.held_in(lane) == 1


def test_each_message_of_a_cancelled_campaign_that_has_not_left_gets_a_result_that_says_so() -> None:
    stage = stage_of()
    for _ in range(1000):
        stage.receive(campaign="spring")
        stage.receive(campaign="summer")
    stage.receive(campaign="spring", send_at=(stage.clock.now() + timedelta(hours=1)).isoformat())
    stage.run(1)
    stage.obey("spring", state="cancelled", order=ORDER)
    stage.run(1)
    left = sent_of(stage, "spring")
    stage.receive(campaign="spring")
    stage.run(3600)  # so long one of it may be parked
    statuses = Counter(result.status for result in stage.results if result.campaign == "spring")
    assert statuses == {"accepted": left, "cancelled": 1002 - left}
    assert sent_of(stage, "spring") == left
    (reason,) = {result.reason for result in stage.results if result.status == "cancelled"}
    assert reason == "the campaign was cancelled by ana: sold out"
    assert {result.attempts for result in stage.results if result.status == "cancelled"} == {0}


def test_results_of_a_large_cancelled_campaign_do_not_make_others_miss_their_beats() -> None:
    stage = stage_of()
    for _ in range(20_000):
        stage.receive(campaign="spring")
    for _ in range(300):
        stage.receive(campaign="summer")
    stage.obey("spring", state="cancelled")
    before = len(stage.results)
    stage.pipeline.run()
    assert len(stage.results) - before <= 200
    stage.run(2)
    assert sent_of(stage, "summer") == pytest.approx(198, abs=3)
    assert sum(result.status == "cancelled" for result in stage.results) == 20_000


def test_a_cancel_is_for_good() -> None:
    stage = stage_of()
    stage.obey("spring", state="cancelled")
    stage.obey("spring", state="running")
    stage.receive()
    stage.run(1)
    assert [result.status for result in stage.results] == ["cancelled"]


def test_what_is_in_doubt_when_its_campaign_is_cancelled_is_not_sent_again() -> None:
    stage = stage_of(twilio=lambda _: None)
    stage.receive()
    stage.run(0.1)
    stage.reply(stage.open[0], declined(20500, 500))
    stage.obey("spring", state="cancelled")
    for _ in range(2):
        stage.run(60)
        for doubt in stage.pipeline.doubts.due():
            stage.pipeline.doubts.not_found(doubt)
    stage.run(2)
    assert [result.status for result in stage.results] == ["cancelled"]
    assert len(stage.sent) == 1


def test_what_waits_for_its_result_when_its_partition_goes_is_left_to_the_next_owner() -> None:
    stage = stage_of()
    for _ in range(1000):
        stage.receive()
    stage.obey("spring", state="cancelled")
    stage.pipeline.halt()
    stage.pipeline.forget()
    stage.pipeline.resume()
    stage.run(10)
    assert stage.results == []


words = st.lists(
    st.tuples(st.floats(0.0, 0.5), st.sampled_from(["paused", "running", "cancelled", "draft", "slow"])), max_size=8
)
refusals = st.lists(st.sampled_from([None, TOO_MANY, declined(21611, 429), declined(21606)]), max_size=30)


@settings(max_examples=60, deadline=None)
@given(words=words, refusals=refusals, journal=st.sampled_from([0.0, 0.01]))
def test_every_message_gets_one_result_whatever_is_said_of_its_campaign(
    words: list[tuple[float, str]], refusals: list[Verdict | None], journal: float
) -> None:
    said = iter(refusals)

    def twilio(request: Request) -> Verdict:
        return next(said, None) or accepted(request)

    fleet = make_fleet([make_sender("72345", 20), make_sender("72346", 20)])
    stage = Stage(fleet, twilio=twilio, journal=journal)
    for _ in range(30):
        stage.receive(campaign="spring")
        stage.receive(campaign="summer")
    held = False
    for after, word in words:
        stage.run(after)
        held = word in {"paused", "draft"}
        stage.obey("spring", **({"rate": "5/s"} if word == "slow" else {"state": word}))
        before = sent_of(stage, "spring")
        stage.run(0.3)
        if held:
            assert sent_of(stage, "spring") == before
    stage.obey("spring", state="running")
    stage.run(3000)
    assert Counter(result.id for result in stage.results) == Counter(f"job-{offset}" for offset in range(60))
    accepted_ids = [result.id for result in stage.results if result.status == "accepted"]
    assert {request.message.job.id for request in stage.sent} >= set(accepted_ids)
