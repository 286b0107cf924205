from collections import Counter
from datetime import timedelta
from math import inf
from typing import Any

import pytest

from dispatcher.domain.control import Cut, Order, SenderRecord
from dispatcher.domain.counts import Counts
from dispatcher.domain.fleet import CARRIERS
from dispatcher.domain.sender_health import SenderHealth
from tests.unit.engine.stage import Stage, accepted, declined
from tests.unit.pacing.making import make_fleet, make_sender


def two(rate: float = 50) -> Stage:
    return Stage(make_fleet([make_sender("72345", rate), make_sender("72346", rate)]))


def say(stage: Stage, number: str = "72345", **said: Any) -> None:
    stage.pipeline.senders.obey(number, SenderRecord(**said))


def order(stage: Stage, seconds: float | None = None) -> Order:
    now = stage.clock.now()
    return Order(by="ana", at=now, until=None if seconds is None else now + timedelta(seconds=seconds))


def cut(stage: Stage, factor: float, seconds: float | None = None) -> Cut:
    until = order(stage, seconds).until
    return Cut(by="ana", at=stage.clock.now(), until=until, factor=factor)


def run(stage: Stage, seconds: int) -> Counter[str]:
    """Let *seconds* pass, with a look at the orders each; return what left by each sender."""
    before = len(stage.sent)
    for _ in range(seconds):
        stage.run(1)
        stage.pipeline.senders.look()
    return Counter(stage.senders()[before:])


def fill(stage: Stage, count: int = 4000) -> None:
    for _ in range(count):
        stage.receive()


def test_nothing_leaves_by_a_suspended_sender_and_others_take_over() -> None:
    stage = two()
    fill(stage, 400)
    run(stage, 1)
    say(stage, suspension=order(stage))
    assert set(run(stage, 10)) == {"72346"}
    say(stage)
    fill(stage, 400)
    assert run(stage, 2)["72345"] == pytest.approx(99, abs=3)


def test_what_only_a_suspended_sender_can_take_waits_for_it() -> None:
    stage = Stage(make_fleet([make_sender("72345", 50)]))
    say(stage, suspension=order(stage, 60))
    fill(stage, 10)
    run(stage, 59)
    assert stage.sent == []
    assert stage.results == []
    run(stage, 2)
    assert len(stage.sent) == 10


@pytest.mark.parametrize("moment", ["announced", "ready"])
def test_what_was_announced_when_its_sender_was_suspended_goes_by_another(moment: str) -> None:
    stage = Stage(make_fleet([make_sender("72345", 1), make_sender("72346", 1)]), journal=inf)
    fill(stage, 20)
    for _ in range(30):
        stage.run(0.05)
        if moment == "ready":
            stage.hand_over_intents()
    say(stage, suspension=order(stage))
    before = len(stage.sent)
    for _ in range(400):
        stage.run(0.1)
        stage.hand_over_intents()
    assert set(stage.senders()[before:]) == {"72346"}
    assert len(stage.sent) == 20


def test_a_cut_sender_sends_at_that_part_of_its_rate_and_returns_in_steps() -> None:
    stage = Stage(make_fleet([make_sender("72345", 100)]))
    fill(stage)
    run(stage, 1)
    say(stage, cut=cut(stage, 0.5, 5))
    assert run(stage, 5)["72345"] == pytest.approx(5 * 49.5, abs=3)
    assert run(stage, 10)["72345"] == pytest.approx(10 * 74.25, abs=30)
    assert run(stage, 10)["72345"] == pytest.approx(10 * 99, abs=30)


def test_a_share_of_a_cut_sender_is_a_share_of_the_cut() -> None:
    stage = Stage(make_fleet([make_sender("72345", 100)]))
    say(stage, cut=cut(stage, 0.5))
    stage.pipeline.share(range(6), 12)
    fill(stage)
    assert run(stage, 10)["72345"] == pytest.approx(247, abs=4)


def test_the_numbers_of_a_10dlc_campaign_are_cut_together() -> None:
    fleet = make_fleet(
        [make_sender("+12065550100", a2p="promo"), make_sender("+12065550101", a2p="promo")],
        a2p={"promo": dict.fromkeys(CARRIERS, 20.0)},
    )
    stage = Stage(fleet)
    for _ in range(500):
        stage.receive(carrier="att")
    say(stage, "+12065550100", cut=cut(stage, 0.5))
    assert sum(run(stage, 10).values()) == pytest.approx(99, abs=4)


def health(stage: Stage, number: str = "72345", **known: Any) -> SenderHealth:
    usual = {"queue_delay_p95": None, "delays": 100, "queued_messages": 0, "queued_segments": 0, "counts": Counts()}
    at = stage.clock.now().isoformat()
    return SenderHealth(sender=number, at=at, **usual | {"left_segments": 500, "queue_delay": 0.5} | known)


def test_feedback_and_orders_leave_the_lower_of_both() -> None:
    stage = Stage(make_fleet([make_sender("72345", 100)]))
    fill(stage)
    stage.pipeline.senders.hear(health(stage, queue_delay=4.0, left_segments=300))
    assert run(stage, 5)["72345"] == pytest.approx(5 * 99 * 0.27, abs=4)
    say(stage, cut=cut(stage, 0.1))
    assert run(stage, 10)["72345"] == pytest.approx(99, abs=4)
    say(stage)
    for _ in range(20):
        stage.pipeline.senders.hear(health(stage))
        run(stage, 5)
    fill(stage, 1000)
    assert run(stage, 5)["72345"] == pytest.approx(495, abs=6)


def test_a_full_queue_at_twilio_slows_its_sender_down_after_its_quarantine() -> None:
    answers = iter([declined(21611, 429)])
    stage = Stage(make_fleet([make_sender("72345", 100)]), twilio=lambda one: next(answers, None) or accepted(one))
    fill(stage)
    run(stage, 31)
    assert run(stage, 5)["72345"] == pytest.approx(5 * 99 * 0.7, abs=6)


def test_what_is_said_of_a_sender_of_another_config_is_nothing_to_us() -> None:
    stage = two()
    say(stage, "99999", suspension=order(stage))
    stage.pipeline.senders.hear(health(stage, "99999", queue_delay=60.0))
    fill(stage, 10)
    assert sum(run(stage, 2).values()) == 10
