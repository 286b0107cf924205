"""What a day cap does to messages on their way: who waits, who goes by another sender, and when they go."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.delivery.request import Request
from dispatcher.delivery.verdict import InDoubt, Verdict
from dispatcher.domain.caps import Charge
from dispatcher.domain.claims import Claim
from dispatcher.domain.counts import Counts
from dispatcher.domain.fleet import CARRIERS, Brand
from dispatcher.domain.frequency import FrequencySettings
from dispatcher.domain.journal import Intent
from dispatcher.domain.message import Message
from dispatcher.domain.sender_health import SenderHealth
from dispatcher.telemetry import metrics
from tests.unit.engine.stage import TOO_MANY, Stage, accepted, declined
from tests.unit.engine.test_caps import NUMBER, fleet
from tests.unit.pacing.making import make_fleet, make_sender

# 10:00 in California, and the midnight after.
MORNING = datetime(2026, 11, 24, 18, tzinfo=UTC)
MIDNIGHT = datetime(2026, 11, 25, 8, tzinfo=UTC)
TMOBILE = {"carrier": "tmobile"}


def standing_by(stage: Stage) -> list[Message]:
    """Return what is announced and waits for its turn."""
    return [message for lane in stage.pipeline.hierarchy.lanes() for message in lane.ready]


def receive(stage: Stage, count: int, **job: str) -> None:
    for _ in range(count):
        stage.receive(1, **{**TMOBILE, **job})


def test_as_much_as_the_cap_leaves_today_and_the_rest_when_the_next_day_begins() -> None:
    stage = Stage(fleet(10), now=MORNING)
    receive(stage, 25)
    stage.run(60)
    assert len(stage.sent) == 10
    assert len(stage.parked) == 15
    assert [result.status for result in stage.results] == ["accepted"] * 10
    stage.run((MIDNIGHT - stage.clock.now()).total_seconds())
    assert len(stage.sent) == 10
    stage.run(30)
    assert len(stage.sent) == 20
    stage.run(24 * 3600)
    assert Counter(result.status for result in stage.results) == {"accepted": 25}


@pytest.mark.parametrize(("limit", "sent"), [(12, 12), (18, 18), (40, 25), (None, 25), (10, 10)])
def test_who_was_put_off_goes_the_same_day_once_the_cap_is_raised(limit: int | None, sent: int) -> None:
    stage = Stage(fleet(10), now=MORNING)
    receive(stage, 25)
    stage.run(60)
    stage.adopt(fleet(limit))
    stage.run(60)
    assert len(stage.sent) == sent
    stage.run(3 * 24 * 3600)
    assert Counter(result.status for result in stage.results) == {"accepted": 25}


@pytest.mark.parametrize("seconds", [0.01, 0.2])
@pytest.mark.parametrize("cap", [1, 4, 8, 10, 15, 20, 26])
def test_nobody_is_left_standing_however_long_a_claim_takes(cap: int, seconds: float) -> None:
    """Whoever was chosen may come short all at once, with nothing else on its way that would bring the lane back."""
    stage = Stage(fleet(cap), now=MORNING, claims=seconds)
    receive(stage, 25)
    stage.run(120)
    assert len(stage.sent) == min(cap, 25)
    assert len(stage.parked) == 25 - len(stage.sent)


def moody(random: Random) -> Callable[[Request], Verdict]:
    """Return a Twilio that declines some, has too many of some, and is silent about some."""
    p_declined, p_throttled, p_silent = (random.choice([0.0, p]) for p in (0.4, 0.1, 0.1))

    def reply(request: Request) -> Verdict:
        if random.random() < p_declined:
            return declined(21610)
        if random.random() < p_throttled:
            return TOO_MANY
        return InDoubt("the connection broke") if random.random() < p_silent else accepted(request)

    return reply


def another_claims(stage: Stage, seq: int, cap: str, want: int) -> None:
    assert stage.caps is not None
    limit = stage.caps.rules.caps[cap].limit
    claim = Claim(cap=cap, day="2026-11-24", limit=limit, index=1, epoch=0, seq=seq, want=want, spent=0, results=0)
    stage.caps.heard(1_000_000 + seq, claim)


def used(stage: Stage) -> Counter[str]:
    """Return how much of each cap those took that Twilio has, or may have."""
    found = Counter[str]()
    for result in stage.results:
        for charge in result.charges or () if result.status in {"accepted", "unknown"} else ():
            found[charge.cap] += charge.amount
    return found


@given(seed=st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_everybody_leaves_or_waits_for_tomorrow_whatever_happens_on_the_way(seed: int) -> None:
    random = Random(seed)
    stage = Stage(
        fleet(random.randint(1, 60), daily=random.choice([None, random.randint(1, 60)])),
        now=MORNING,
        twilio=moody(random),
        claims=random.choice([0.01, 0.1, 0.5, 2.5]),
        journal=random.choice([0.0, 0.02, 0.5]),
        latency=random.choice([0.05, 0.5, 2.0]),
    )
    assert stage.caps is not None
    limits = {name: cap.limit for name, cap in stage.caps.rules.caps.items()}
    received = 0
    for step in range(random.randint(1, 5)):
        received += (some := random.randint(1, 40))
        pool, carrier = random.choice(["all", "all", "both"]), random.choice(["tmobile", "att"])
        receive(stage, some, pool=pool, carrier=carrier)
        stage.run(random.choice([0.0, 0.05, 0.3, 2.0]))
        if random.random() < 0.2:
            now = stage.clock.monotonic()
            stage.pipeline.placement.suspend(NUMBER, now + random.choice([0.2, 5.0]), now)
        if random.random() < 0.5:
            another_claims(stage, 1 + step, random.choice([*limits]), random.randint(0, 40))
    for name in limits:
        another_claims(stage, 100, name, 0)
    for _ in range(40):
        stage.run(31)
        for doubt in stage.pipeline.doubts.due():
            stage.pipeline.doubts.not_found(doubt)
    assert len(stage.results) + len(stage.in_tiers) == received
    assert all(used(stage)[name] <= limit for name, limit in limits.items())
    # Nobody was put off while anything was left.
    assert not stage.in_tiers or any(used(stage)[name] == limit for name, limit in limits.items())


def test_other_carriers_and_other_senders_are_not_held_up() -> None:
    stage = Stage(fleet(10), now=MORNING)
    receive(stage, 100)
    receive(stage, 30, carrier="att")
    receive(stage, 100, pool="both")
    stage.run(20)
    left_by = Counter(stage.senders())
    # Those of the pool that has a short code, too, all left: by it, or within the cap.
    within = sum(request.message.job.pool == "both" for request in stage.sent)
    assert within == 100
    assert left_by[NUMBER] == 10 + 30
    assert sum(request.message.job.carrier == "att" for request in stage.sent) == 30


@pytest.mark.parametrize(("capped", "others"), [(6, 2), (4, 1), (1, 7)])
def test_however_many_senders_share_a_cap_that_is_used_up_what_others_of_the_pool_can_take_waits_for_no_tomorrow(
    capped: int, others: int
) -> None:
    rates = {f"promo-{number}": dict.fromkeys(CARRIERS, 5.0) for number in range(capped)}
    senders = [make_sender(f"+1206555{number:04}", a2p=name) for number, name in enumerate(rates)]
    senders += [make_sender(f"7234{number}", 5.0) for number in range(others)]
    capped_fleet = replace(make_fleet(senders, a2p=rates), brands={"acme": Brand(name="acme", tmobile_daily_cap=10)})
    stage = Stage(capped_fleet, now=MORNING)
    receive(stage, 100)
    stage.run(120)
    assert len(stage.sent) == 100
    assert stage.parked == []


def test_what_twilio_declines_is_given_to_others() -> None:
    answers = iter(range(1000))

    def every_third_has_opted_out(request: Request) -> Verdict:
        return declined(21610) if next(answers) % 3 == 0 else accepted(request)

    stage = Stage(fleet(10), twilio=every_third_has_opted_out, now=MORNING)
    receive(stage, 60)
    stage.run(60)
    assert Counter(result.status for result in stage.results)["accepted"] == 10


def test_what_is_in_doubt_counts_until_twilio_turns_out_not_to_have_it() -> None:
    def silent(request: Request) -> Verdict:
        return InDoubt("the connection broke") if request.message.job.id == "job-3" else accepted(request)

    stage = Stage(fleet(10), twilio=silent, now=MORNING)
    receive(stage, 30)
    stage.run(20)
    assert len(stage.results) == 9
    # The others wait for what becomes of it, and not until tomorrow.
    assert not stage.parked
    stage.twilio = accepted
    stage.run(20)
    for _ in range(2):
        for doubt in stage.pipeline.doubts.due():
            stage.pipeline.doubts.not_found(doubt)
        stage.run(10)
    assert Counter(result.status for result in stage.results)["accepted"] == 10
    assert len(stage.parked) >= 20


def test_results_and_intents_say_what_was_charged_and_others_say_nothing_of_it() -> None:
    stage = Stage(fleet(10, daily=100), now=MORNING)
    stage.receive(carrier="tmobile", body="x" * 300)
    stage.receive(carrier="att")
    stage.run(5)
    charges = {result.id: {one.cap: one.amount for one in result.charges or ()} for result in stage.results}
    # Twilio, as it plays here, counts one segment whatever was sent, and has the last word.
    assert charges == {"job-0": {"account/main": 1, "tmobile/acme": 1}, "job-1": {"account/main": 1}}
    assert {intent.id: len(intent.charges) for intent in stage.journal.intents} == {"job-0": 2, "job-1": 1}
    plain = Stage(fleet(None), now=MORNING)
    plain.receive(carrier="tmobile")
    plain.run(5)
    assert not plain.results[0].charges
    assert not plain.journal.intents[0].charges


def test_an_accounts_cap_counts_messages_and_begins_anew_at_midnight_utc() -> None:
    stage = Stage(fleet(None, daily=7), now=MORNING)
    receive(stage, 10, carrier="att", body="x" * 300)
    stage.run(60)
    assert len(stage.sent) == 7
    stage.run(6 * 3600 + 30)
    assert len(stage.sent) == 10


def test_nothing_leaves_so_late_that_it_may_count_for_the_next_day() -> None:
    stage = Stage(fleet(100), now=datetime(2026, 11, 25, 7, 59, 50, tzinfo=UTC))
    receive(stage, 5)
    stage.run(11)
    assert not stage.sent
    stage.run(5)
    assert len(stage.sent) == 5


def test_what_was_charged_for_a_day_and_did_not_leave_in_it_is_charged_anew() -> None:
    stage = Stage(fleet(10), now=datetime(2026, 11, 25, 7, 59, 37, tzinfo=UTC), journal=3.0)
    receive(stage, 10)
    stage.run(60)
    assert {charge.day for result in stage.results for charge in result.charges or ()} == {"2026-11-25"}
    assert len(stage.sent) == 10


def test_what_was_charged_and_is_parked_since_its_sender_was_lost_takes_nothing_of_the_cap() -> None:
    stage = Stage(fleet(10), now=MORNING)
    receive(stage, 40, pool="both")
    stage.run(0.02)
    now = stage.clock.monotonic()
    placement = stage.pipeline.placement
    assert any(message.charged for message in standing_by(stage))
    placement.suspend(NUMBER, now + 10_000, now)
    stage.obey("spring", state="paused")
    stage.run(200)
    assert stage.parked
    placement.suspend(NUMBER, 0.0, stage.clock.monotonic())
    receive(stage, 40, campaign="summer")
    stage.run(60)
    assert stage.senders().count(NUMBER) == 10


@pytest.mark.parametrize(("seconds", "asked"), [(0.5, 4), (5.0, 0)])
def test_the_gauge_counts_who_waits_for_a_claim_and_who_for_what_comes_back(seconds: float, asked: int) -> None:
    stage = Stage(fleet(1), twilio=lambda _: None, now=MORNING, claims=1.0)
    receive(stage, 10)
    stage.run(seconds)
    stage.pipeline.measure()
    counted = {
        reason: metrics.registry.get_sample_value("dispatcher_waiting_messages", {"reason": reason}) or 0
        for reason in ("cap", "campaign", "sender")
    }
    assert stage.caps is not None
    assert len(stage.caps.asked()) == asked
    assert counted["cap"] == (asked or 9)
    assert sum(counted.values()) == (10 if asked else 9)


def test_a_cancelled_campaign_gets_its_results_though_it_waits_for_a_cap() -> None:
    stage = Stage(fleet(1), twilio=lambda _: None, now=MORNING)
    receive(stage, 5)
    stage.run(5)
    stage.obey("spring", state="cancelled")
    stage.run(5)
    assert Counter(result.status for result in stage.results) == {"cancelled": 4}


def test_what_a_former_owner_left_in_doubt_stays_charged_for_what_that_one_charged() -> None:
    stage = Stage(fleet(10), now=MORNING)
    place = (stage.desk.topic, stage.desk.partition, 0)
    charges = (Charge("tmobile/acme", "2026-11-24", 1),)
    intent = Intent(*place, "job-0", 1, NUMBER, stage.clock.epoch(), charges=charges)
    assert stage.caps is not None
    stage.caps.recover([0], {}, {place: charges})
    stage.pipeline.recover({place: intent}, (), {}, {})
    receive(stage, 1)
    stage.run(26)
    [doubt] = stage.pipeline.doubts.due()
    stage.pipeline.doubts.found(doubt, "SM1", 1, "list")
    assert [result.charges for result in stage.results] == [charges]


def test_who_waits_for_a_claim_when_the_partition_is_given_up_stands_by_no_more() -> None:
    stage = Stage(fleet(10), now=MORNING, claims=1.0)
    receive(stage, 10)
    stage.run(0.5)
    assert stage.caps is not None
    assert stage.caps.asked()
    stage.pipeline.forget()
    assert not stage.caps.asked()
    assert not any(lane.prepared or lane.queue.count for lane in stage.pipeline.hierarchy.lanes())


def over_the_cap(stage: Stage) -> SenderHealth:
    """Return what tracking says when T-Mobile took a message for one too many."""
    return SenderHealth(
        sender=NUMBER,
        at=stage.clock.now().isoformat(),
        queue_delay=None,
        queue_delay_p95=None,
        delays=0,
        queued_messages=0,
        queued_segments=0,
        left_segments=0,
        counts=Counts(failed=1, codes={30023: 1}),
    )


def test_when_tmobile_says_that_the_day_is_used_up_nothing_more_leaves_in_it() -> None:
    stage = Stage(fleet(1000), now=MORNING)
    receive(stage, 5)
    stage.run(5)
    assert stage.caps is not None
    stage.caps.hear(over_the_cap(stage))
    stage.run(2)
    receive(stage, 5)
    stage.run(60)
    assert len(stage.sent) == 5
    stage.run((MIDNIGHT - stage.clock.now()).total_seconds() + 10)
    assert len(stage.sent) == 10


@pytest.mark.parametrize("seconds", [10, 110])
def test_what_tmobile_says_just_after_midnight_is_of_the_day_before(seconds: int) -> None:
    stage = Stage(fleet(1000), now=MIDNIGHT)
    stage.run(seconds)
    assert stage.caps is not None
    stage.caps.hear(over_the_cap(stage))
    receive(stage, 5)
    stage.run(5)
    assert len(stage.sent) == 5


@pytest.mark.parametrize(("limit", "expected"), [(20, 20), (None, 30), (5, 10)])
def test_a_limit_that_is_changed_under_way_holds_from_then_on(limit: int | None, expected: int) -> None:
    stage = Stage(fleet(10), now=MORNING, twilio=lambda request: accepted(request) if len(stage.sent) != 5 else None)
    receive(stage, 30)
    stage.run(5)
    assert len(stage.sent) == 10  # one is in flight, so the others wait here and not until tomorrow
    stage.adopt(fleet(limit))
    stage.run(5)
    assert len(stage.sent) == expected


def test_recipients_are_texted_as_often_as_they_may_be_and_later_messages_wait_or_say_why() -> None:
    stage = Stage(fleet(None), now=MORNING, frequency=FrequencySettings(per_day=2, at_least_between=3600.0))
    for _ in range(4):
        stage.receive(to="+12065550143")
    stage.receive(to="+12065550144")
    stage.run(60)
    assert len(stage.sent) == 2
    stage.run(2 * 3600)
    assert len(stage.sent) == 3
    reasons = Counter(result.reason for result in stage.results if result.status == "suppressed")
    assert reasons == {"the recipient was texted 2 times within a day, which is all that may be": 2}
    stage.run(24 * 3600)
    assert len(stage.sent) == 3


def test_a_pool_may_be_exempt_and_its_texts_count_for_others() -> None:
    everything = fleet(None)
    codes = replace(everything.pools["all"], name="codes", frequency=False)
    stage = Stage(
        replace(everything, pools={**everything.pools, "codes": codes}),
        now=MORNING,
        frequency=FrequencySettings(per_day=1),
    )
    for _ in range(3):
        stage.receive(to="+12065550143", pool="codes")
    stage.run(5)
    stage.receive(to="+12065550143")
    stage.run(5)
    assert Counter(result.status for result in stage.results) == {"accepted": 3, "suppressed": 1}


def test_of_two_that_are_due_together_one_leaves_and_the_other_waits_for_its_outcome() -> None:
    stage = Stage(fleet(None), now=MORNING, frequency=FrequencySettings(per_campaign=1), latency=3.0)
    stage.receive(to="+12065550143")
    stage.receive(to="+12065550143")
    stage.run(2)
    assert len(stage.sent) == 1
    assert not stage.results
    stage.run(20)
    assert Counter(result.status for result in stage.results) == {"accepted": 1, "suppressed": 1}
