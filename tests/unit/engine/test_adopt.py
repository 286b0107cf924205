"""The config changes while messages wait, are announced, and are in flight."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.paced import peak
from dispatcher.domain.control import Order, SenderRecord
from dispatcher.domain.fleet import CARRIERS, Fleet, Pool
from dispatcher.domain.rate import Rate
from tests.unit.engine.stage import PRIORITIES, Stage, accepted, declined
from tests.unit.pacing.making import make_account, make_fleet, make_sender

A, B, C = "72345", "72346", "72347"


def fleet_of(*rates: float, pools: tuple[Pool, ...] = ()) -> Fleet:
    """Return a fleet of senders with these *rates*, in one pool unless *pools* says otherwise."""
    return make_fleet([make_sender(number, rate) for number, rate in zip((A, B, C), rates, strict=False)], pools=pools)


def fill(stage: Stage, count: int, pool: str = "all") -> None:
    for _ in range(count):
        stage.receive(pool=pool)


def left_since(stage: Stage, before: int) -> Counter[str]:
    return Counter(stage.senders()[before:])


# ---------------------------------------------------------------------- rates


@settings(max_examples=25, deadline=None)
@given(before=st.sampled_from((10, 50, 100, 200)), after=st.sampled_from((5, 25, 50, 100, 300)), at=st.floats(1, 2))
def test_from_the_change_on_the_new_rate_holds_to_the_message(before: float, after: float, at: float) -> None:
    stage = Stage(fleet_of(before), latency=0.02)
    stage.pipeline.share([0], 1)
    fill(stage, 1700)
    stage.run(at)
    count = len(stage.times)
    stage.adopt(fleet_of(after))
    stage.run(4)
    times = stage.times[count:]
    assert peak(times, 1.0) <= after * 1.02 + 1
    # What lay at Twilio when the rate was cut has to drain first, at the new one.
    assert len(times) >= 4 * after * 0.97 - 2 - before * stage.latency
    # Nor is there a burst between what left before and what leaves then.
    assert peak(stage.times, 1.0) <= max(before, after) * 1.02 + 1


@settings(max_examples=25, deadline=None)
@given(before=st.sampled_from((2, 20, 100)), after=st.sampled_from((1, 10, 50, 200)), split=st.integers(1, 11))
def test_workers_that_change_in_the_same_moment_hold_the_rate_together(before: float, after: float, split: int) -> None:
    stages = [Stage(fleet_of(before)), Stage(fleet_of(before))]
    for stage, owned in zip(stages, (range(split), range(split, 12)), strict=True):
        stage.pipeline.share(owned, 12)
        fill(stage, 1200)
        stage.run(3)
        stage.adopt(fleet_of(after))
        stage.run(5)
    begun = stages[0].clock.monotonic() - 5
    times = sorted(stages[0].times + stages[1].times)
    assert peak(times, 1.0) <= max(before, after) * 1.02 + 1
    since = [at for at in times if at >= begun]
    assert peak(since, 1.0) <= after * 1.02 + 1
    assert len(since) >= 5 * after * 0.95 - 3 - before * stage.latency


def test_a_sender_that_did_not_change_does_not_notice() -> None:
    changed, left_alone = Stage(fleet_of(50, 20)), Stage(fleet_of(50, 20))
    for stage in (changed, left_alone):
        fill(stage, 1000)
        stage.run(2)
    changed.adopt(fleet_of(50, 40))
    for stage in (changed, left_alone):
        stage.run(2)
    assert left_since(changed, 0)[A] == left_since(left_alone, 0)[A]
    times = [at for at, number in zip(changed.times, changed.senders(), strict=True) if number == A]
    assert max(later - at for at, later in pairwise(times)) < 0.03


def test_a_raised_rate_holds_at_once_though_the_next_message_was_far_off() -> None:
    stage = Stage(fleet_of(0.02))
    fill(stage, 100)
    stage.run(1)
    assert len(stage.sent) == 1
    stage.adopt(fleet_of(100))
    stage.run(2)
    assert len(stage.sent) > 90


def test_the_rates_of_a_10dlc_campaign_change_for_all_its_numbers() -> None:
    def numbers(rate: float) -> Fleet:
        senders = [make_sender(number, a2p="promo") for number in ("+12065550100", "+12065550101")]
        return make_fleet(senders, a2p={"promo": dict.fromkeys(CARRIERS, rate)})

    stage = Stage(numbers(100))
    for _ in range(1000):
        stage.receive(carrier="att")
    stage.run(1)
    before = len(stage.sent)
    stage.adopt(numbers(20))
    stage.run(5)
    assert len(stage.sent) - before == pytest.approx(99, abs=3)


def test_accounts_are_limited_anew() -> None:
    def with_account(**limits: object) -> Fleet:
        return make_fleet([make_sender(A, 1000)], accounts=[make_account(**limits)])  # type: ignore[arg-type]

    stage = Stage(with_account(concurrency=5))
    fill(stage, 3000)
    stage.run(2)
    assert len(stage.sent) == pytest.approx(100, abs=10)
    stage.adopt(with_account(concurrency=100))
    stage.run(2)
    stage.adopt(with_account(concurrency=100, rate=Rate(30, "s")))
    before = len(stage.sent)
    stage.run(10)
    assert len(stage.sent) - before == pytest.approx(300, abs=8)
    stage.adopt(with_account(concurrency=100))
    before = len(stage.sent)
    stage.run(1)
    assert len(stage.sent) - before > 500
    assert stage.results[0].status == "accepted"


def test_a_lower_queue_target_holds_at_once() -> None:
    fleet = make_fleet([make_sender(A, 100)])
    burst = replace(fleet, senders={A: replace(fleet.senders[A], rate=Rate(100, "s", burst=90))})
    stage = Stage(burst)
    fill(stage, 60)
    stage.run(1)
    stage.adopt(burst, queue_target=0.2)
    fill(stage, 90)
    before = len(stage.sent)
    stage.run(0.05)
    assert len(stage.sent) - before <= 26


def test_classes_may_weigh_otherwise() -> None:
    stage = Stage(fleet_of(100))
    for _ in range(500):
        stage.receive(priority=0)
        stage.receive(priority=1)
    stage.run(1)
    stage.adopt(fleet_of(100), priorities=[replace(PRIORITIES[0], weight=1), PRIORITIES[1]])
    before = len(stage.sent)
    stage.run(4)
    by_class = Counter(request.message.priority for request in stage.sent[before:])
    assert by_class[0] == pytest.approx(by_class[1], abs=8)


def test_what_feedback_saw_a_queue_drain_is_what_it_was() -> None:
    stage = Stage(fleet_of(100), twilio=lambda _: declined(21611, 429))
    stage.receive()
    stage.run(1)
    assert stage.pipeline.hierarchy.own_factor(A) == pytest.approx(0.7)
    stage.adopt(fleet_of(200))
    assert stage.pipeline.hierarchy.own_factor(A) == pytest.approx(0.35)
    stage.adopt(fleet_of(50))
    assert stage.pipeline.hierarchy.own_factor(A) == 1.0


# -------------------------------------------------------------------- senders


def test_a_new_sender_takes_its_part_of_what_comes_and_of_what_waits_for_too_long() -> None:
    stage = Stage(fleet_of(50))
    fill(stage, 2000)
    stage.run(1)
    before = len(stage.sent)
    stage.adopt(fleet_of(50, 100))
    stage.run(5)
    left = left_since(stage, before)
    assert left[A] == pytest.approx(5 * 49.5, abs=4)
    assert left[B] == pytest.approx(5 * 99, abs=12)


def test_of_a_new_sender_this_worker_has_its_share() -> None:
    stage = Stage(fleet_of(50))
    stage.pipeline.share(range(4), 12)
    stage.adopt(fleet_of(50, 90))
    fill(stage, 2000)
    stage.run(10)
    assert left_since(stage, 0)[B] == pytest.approx(300, abs=6)


@pytest.mark.parametrize("journal", [0.0, 0.012])
def test_by_a_sender_that_is_gone_nothing_leaves_any_more_and_others_send_it(journal: float) -> None:
    stage = Stage(fleet_of(50, 50), journal=journal)
    fill(stage, 300)
    stage.run(1)
    before = len(stage.sent)
    stage.adopt(fleet_of(50))
    stage.run(10)
    assert set(left_since(stage, before)) == {A}
    assert sorted(stage.ids()) == sorted(f"job-{offset}" for offset in range(300))
    assert {result.status for result in stage.results} == {"accepted"}
    assert len(stage.results) == 300


def test_what_was_announced_for_a_sender_that_is_gone_goes_by_another() -> None:
    stage = Stage(fleet_of(50, 50), journal=inf)
    fill(stage, 50)
    stage.run(0.2)
    assert {intent.sender for intent in stage.journal.intents} == {A, B}
    stage.adopt(fleet_of(50))
    for _ in range(200):
        stage.hand_over_intents()
        stage.run(0.02)
    assert set(stage.senders()) == {A}
    assert len(stage.results) == 50
    assert {result.attempts for result in stage.results} == {1}


def test_where_nobody_is_left_messages_are_refused_and_the_result_says_why() -> None:
    pools = (Pool(name="all", senders=(A,)), Pool(name="otp", senders=(B,)))
    stage = Stage(fleet_of(5, 5, pools=pools))
    fill(stage, 5)
    fill(stage, 50, "otp")
    stage.run(0.1)
    stage.adopt(fleet_of(5))
    stage.run(20)
    refused = [result for result in stage.results if result.status == "refused"]
    assert len(refused) >= 48
    assert "no sender of pool 'otp'" in (refused[0].reason or "")
    assert len(stage.results) == 55


def test_what_is_in_flight_by_a_sender_that_is_gone_is_concluded() -> None:
    stage = Stage(fleet_of(50, 50), twilio=lambda _: None)
    fill(stage, 60)
    stage.run(0.5)
    by_b = [request for request, number in zip(stage.sent, stage.senders(), strict=True) if number == B]
    assert len(by_b) >= 5
    stage.adopt(fleet_of(50))
    answers = (accepted(by_b[0]), declined(21611, 429), declined(21606), declined(20429, 429), declined(63017, 429))
    stage.twilio = accepted
    for request, answer in zip(by_b, answers, strict=False):
        stage.reply(request, answer)
    stage.run(5)
    results = {result.id: result for result in stage.results}
    assert results[by_b[0].message.job.id].sender == B
    for request in by_b[1:5]:
        assert results[request.message.job.id].sender == A
        assert results[request.message.job.id].status == "accepted"


def test_a_sender_that_is_gone_and_comes_back_sends_no_burst() -> None:
    stage = Stage(fleet_of(5, 20))
    stage.pipeline.share([0], 1)
    fill(stage, 500)
    stage.run(2)
    for _ in range(5):
        stage.adopt(fleet_of(5))
        stage.run(0.1)
        stage.adopt(fleet_of(5, 20))
        stage.run(0.1)
    stage.run(2)
    times = [at for at, number in zip(stage.times, stage.senders(), strict=True) if number == B]
    assert peak(times, 1.0) <= 21
    assert left_since(stage, len(stage.sent) - 30)[B] > 15


def test_an_order_about_a_sender_holds_when_the_config_comes_to_have_it() -> None:
    stage = Stage(fleet_of(50))
    order = Order(by="ana", at=stage.clock.now(), until=None)
    stage.pipeline.senders.obey(B, SenderRecord(suspension=order))
    fill(stage, 200)
    stage.adopt(fleet_of(50, 50))
    stage.run(2)
    assert set(stage.senders()) == {A}
    stage.adopt(fleet_of(50))
    stage.pipeline.senders.obey(B, None)
    stage.adopt(fleet_of(50, 50))
    fill(stage, 200)
    stage.run(2)
    assert B in stage.senders()


def test_who_leaves_a_pool_sends_for_the_others_alone() -> None:
    both = (Pool(name="all", senders=(A, B)), Pool(name="otp", senders=(A, B)))
    one = (both[0], Pool(name="otp", senders=(A,)))
    stage = Stage(fleet_of(20, 20, pools=both), journal=0.012)
    fill(stage, 200)
    fill(stage, 200, "otp")
    stage.run(1)
    before = len(stage.sent)
    stage.adopt(fleet_of(20, 20, pools=one))
    stage.run(30)
    by_b = {request.message.job.pool for request in stage.sent[before:] if request.message.sender.number == B}  # type: ignore[union-attr]
    assert by_b == {"all"}
    assert len(stage.results) == 400


def test_a_country_that_an_account_may_no_longer_send_to_is_closed_for_what_waits() -> None:
    def account(*countries: str) -> Fleet:
        return make_fleet(
            [make_sender(A, 5)], accounts=[replace(make_account(), countries=frozenset(countries) or None)]
        )

    stage = Stage(account())
    for row in range(20):
        stage.receive(to=f"+1206555{row:04}")
        stage.receive(to=f"+4420794600{row:02}")
    stage.run(1)
    before = len(stage.sent)
    stage.adopt(account("US"))
    stage.run(10)
    assert all(request.message.job.to.startswith("+1") for request in stage.sent[before:])
    assert len(stage.results) == 40


@settings(max_examples=30, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.sets(st.sampled_from((A, B, C)), min_size=1), st.integers(1, 200), st.floats(0, 1.5)), max_size=6
    ),
    journal=st.sampled_from((0.0, 0.012)),
)
def test_whatever_changes_every_message_has_one_result(
    steps: list[tuple[set[str], int, float]], journal: float
) -> None:
    stage = Stage(fleet_of(40, 40, 40), journal=journal)
    fill(stage, 300)
    stage.run(0.5)
    for numbers, rate, seconds in steps:
        stage.adopt(make_fleet([make_sender(number, rate) for number in sorted(numbers)]))
        fill(stage, 20)
        stage.run(seconds)
    stage.adopt(fleet_of(400))
    stage.run(20)
    count = 300 + 20 * len(steps)
    assert sorted(result.id for result in stage.results) == sorted(f"job-{offset}" for offset in range(count))
    assert sorted(stage.ids()) == sorted(f"job-{offset}" for offset in range(count))
