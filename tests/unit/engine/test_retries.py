"""What came to nothing goes again, as often and for as long as it makes sense, and its result tells of all of it."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.delivery.judge import judge
from dispatcher.delivery.request import Request
from dispatcher.delivery.retry import IN_DOUBT, RETRIES
from dispatcher.delivery.verdict import Reaction, Verdict
from dispatcher.domain.fleet import CARRIERS, Fleet, Pool
from dispatcher.domain.journal import Intent, Tried
from dispatcher.domain.outcome import Attempt, Result
from dispatcher.domain.parking import read_headers
from dispatcher.domain.rate import Rate
from dispatcher.engine.retries import speed
from tests.unit.engine.stage import Stage, accepted, declined
from tests.unit.pacing.making import make_account, make_fleet, make_sender

FULL = declined(21611, 429)
DOUBTFUL = judge(500, b"<html>")


def fleet_of(*numbers: str, validity: float | None = None, rate: float = 100, share: float = 0.2) -> Fleet:
    """One account with these senders, in one pool."""
    return make_fleet(
        [make_sender(number, rate) for number in numbers],
        accounts=[replace(make_account("main"), retry_share=share)],
        pools=[Pool(name="all", senders=numbers, validity=validity)],
    )


def stage_of(fleet: Fleet, replies: Iterable[Verdict], then: Verdict | None = None) -> Stage:
    """Return a stage on which Twilio gives *replies* one by one, and then always *then*; None: it accepts."""
    left = iter(replies)
    return Stage(fleet, twilio=lambda request: next(left, None) or then or accepted(request))


def pass_time(stage: Stage, seconds: float) -> None:
    """Let time pass; nothing is found at Twilio of what is in doubt."""
    for _ in range(int(seconds / 10)):
        stage.run(10)
        for doubt in stage.pipeline.doubts.due():
            stage.pipeline.doubts.not_found(doubt)


def told(result: Result) -> list[tuple[str | None, int | None]]:
    """Return the sender and the code of each attempt in the history of *result*."""
    assert isinstance(result.history, tuple)
    return [(attempt.sender, attempt.code) for attempt in result.history]


# ---------------------------------------------------------------------- history


def test_a_result_of_one_attempt_has_no_history() -> None:
    stage = stage_of(fleet_of("72345"), [])
    stage.receive()
    stage.run(1)
    assert stage.results[0].history is msgspec.UNSET
    assert b"history" not in msgspec.json.encode(stage.results[0])


def test_a_result_tells_of_every_attempt() -> None:
    stage = stage_of(fleet_of("72345", "72346", "72347"), [declined(21612), declined(21606)])
    stage.receive()
    stage.run(5)
    (result,) = stage.results
    senders = stage.senders()
    assert len(set(senders)) == 3
    assert told(result) == [(senders[0], 21612), (senders[1], 21606), (senders[2], None)]
    assert isinstance(result.history, tuple)
    assert [attempt.reason for attempt in result.history] == [
        "the sender cannot reach this recipient",
        "the sender does not belong to the account or cannot send messages",
        None,
    ]
    assert [attempt.at for attempt in result.history] == sorted(attempt.at for attempt in result.history)
    assert result.history[-1].at == result.at


def test_a_message_that_ends_while_it_waits_for_another_attempt_tells_what_it_waited_for() -> None:
    stage = stage_of(fleet_of("72345"), [FULL])
    stage.receive()
    stage.run(20)
    stage.obey("spring", state="cancelled")
    stage.run(60)
    (result,) = stage.results
    assert (result.status, result.attempts, told(result)) == ("cancelled", 1, [("72345", 21611)])


def test_history_survives_parking_and_a_sender_that_never_takes_it_stays_barred() -> None:
    stage = stage_of(fleet_of("72345", "72346"), [declined(21612), FULL])
    stage.receive()
    stage.run(10)
    first, second = stage.senders()
    (record,) = stage.parked
    parked = read_headers(record.headers)
    assert [(attempt.sender, attempt.code) for attempt in parked.history] == [(first, 21612), (second, 21611)]
    stage.run(90)
    (result,) = stage.results
    assert (result.status, told(result)) == ("accepted", [(first, 21612), (second, 21611), (second, None)])
    assert result.attempts == 3


def test_history_survives_a_crash_while_it_waits() -> None:
    """As the journal tells it; of the job's own attempt nothing is in doubt."""
    stage = stage_of(fleet_of("72345", "72346"), [])
    history = (Attempt("2026-11-24T17:59:00.000+00:00", "72345", 21612, "no"),)
    place = (stage.desk.topic, stage.desk.partition, 0)
    tried = Tried(*place, history)
    stage.pipeline.recover({}, (), {}, {place: tried})
    stage.receive()
    stage.run(1)
    (result,) = stage.results
    assert (result.attempts, told(result)) == (2, [("72345", 21612), ("72346", None)])


def test_history_survives_a_crash_in_the_middle_of_the_next_attempt() -> None:
    stage = stage_of(fleet_of("72345"), [])
    place = (stage.desk.topic, stage.desk.partition, 0)
    history = (Attempt("2026-11-24T17:59:00.000+00:00", "72345", 21611, "no"),)
    intent = Intent(*place, "job-0", 2, "72345", stage.clock.epoch())
    stage.pipeline.recover({place: intent}, (), {}, {place: Tried(*place, history)})
    stage.receive()
    stage.run(30)
    for doubt in stage.pipeline.doubts.due():
        stage.pipeline.doubts.found(doubt, "SM1", 1, "list")
    (result,) = stage.results
    assert (result.status, result.attempts, told(result)) == ("accepted", 2, [("72345", 21611), ("72345", None)])


# ---------------------------------------------------------------------- how often, how long


def test_where_another_sender_can_it_goes_at_once() -> None:
    stage = stage_of(fleet_of("72345", "72346"), [FULL])
    stage.receive()
    stage.run(1)
    assert [result.status for result in stage.results] == ["accepted"]
    assert not stage.parked


def test_who_has_to_wait_for_the_same_sender_is_parked_and_each_pause_is_longer() -> None:
    stage = stage_of(fleet_of("72345"), [FULL] * 4)
    stage.receive()
    stage.run(3600)
    (result,) = stage.results
    assert (result.status, result.attempts) == ("accepted", 5)
    pauses = [later - sooner for sooner, later in zip(stage.times, stage.times[1:], strict=False)]
    assert all(30 * 2**number <= pause for number, pause in enumerate(pauses)), pauses
    assert stage.parked


def test_the_table_says_how_often_a_code_is_tried() -> None:
    senders = [str(72300 + number) for number in range(12)]
    stage = stage_of(fleet_of(*senders), [], then=declined(21612))
    stage.receive()
    stage.run(5)
    (result,) = stage.results
    most = RETRIES[Reaction.TRY_ANOTHER].most
    assert (result.status, result.code, result.attempts, len(told(result))) == ("refused", 21612, most, most)
    assert result.reason == f"the sender cannot reach this recipient; it was tried {most} times"


def test_what_is_never_found_ends_as_unknown() -> None:
    stage = stage_of(fleet_of("72345"), [], then=DOUBTFUL)
    stage.receive()
    pass_time(stage, 4000)
    (result,) = stage.results
    assert (result.status, result.attempts) == ("unknown", IN_DOUBT.most)
    assert result.reason == f"Twilio answered 500; it was tried {IN_DOUBT.most} times"
    assert told(result) == [("72345", None)] * IN_DOUBT.most


@pytest.mark.parametrize("what", ["expires_at", "validity"])
def test_no_attempt_comes_after_the_end(what: str) -> None:
    stage = stage_of(fleet_of("72345", validity=300 if what == "validity" else None), [], then=FULL)
    ends = stage.clock.now() + timedelta(seconds=300)
    stage.receive(expires_at=ends if what == "expires_at" else None)
    stage.run(3000)
    (result,) = stage.results
    assert (result.status, result.code) == ("expired", 21611)
    assert len(stage.sent) == result.attempts
    assert 1 < result.attempts < 5
    assert result.reason is not None
    assert "would come too late" in result.reason
    assert datetime.fromisoformat(result.at) < ends


def test_what_is_tried_again_goes_before_what_has_not_waited_yet() -> None:
    stage = stage_of(fleet_of("72345", rate=1), [FULL])
    stage.receive(id="tried")
    stage.run(1)
    for _ in range(200):
        stage.receive()
    stage.run(60)
    assert "tried" in {result.id for result in stage.results}


# ---------------------------------------------------------------------- the budget


def of_retries(stage: Stage, since: float, until: float) -> int:
    """Return how many requests of that time were for a message that was tried before."""
    seen: Counter[str] = Counter()
    again = 0
    for request, at in zip(stage.sent, stage.times, strict=True):
        again += bool(seen[request.message.job.id]) and since <= at < until
        seen[request.message.job.id] += 1
    return again


@settings(max_examples=15, deadline=None)
@given(share=st.sampled_from([0.05, 0.2, 0.5]), seconds=st.integers(60, 200), failing=st.floats(0.3, 1.0))
def test_a_storm_of_retries_takes_its_share_of_the_account_and_no_more(
    share: float, seconds: int, failing: float
) -> None:
    """Two senders of 10/s; one reaches few recipients, so their messages go by the other."""
    asked = 0

    def twilio(request: Request) -> Verdict:
        nonlocal asked
        asked += 1
        is_bad = b"From=72345" in request.form and (asked * 0.618) % 1 < failing
        return declined(21612) if is_bad else accepted(request)

    stage = Stage(fleet_of("72345", "72346", rate=10, share=share), twilio=twilio)
    for _ in range(20 * (seconds + 20)):
        stage.receive()
    stage.run(seconds)
    start = stage.times[0]
    budget = share * 20 * seconds + max(10, share * 20 * 10) + 1
    assert of_retries(stage, start, start + seconds) <= budget
    assert len(stage.sent) >= 0.9 * 20 * seconds, "the account does not idle meanwhile"


def only_by_another(request: Request) -> Verdict:
    """Decline what leaves by the first sender."""
    return declined(21612) if b"From=72345" in request.form else accepted(request)


def test_what_waits_for_the_budget_is_sent_once_and_none_is_lost() -> None:
    stage = Stage(fleet_of("72345", "72346", rate=50, share=0.1), twilio=only_by_another)
    for _ in range(600):
        stage.receive()
    stage.run(120)
    assert Counter(result.status for result in stage.results) == {"accepted": 600}
    assert len({result.id for result in stage.results}) == 600


def test_urgent_messages_do_not_wait_for_the_retries_of_others() -> None:
    stage = Stage(fleet_of("72345", "72346", rate=50, share=0.1), twilio=only_by_another)
    for _ in range(2000):
        stage.receive()
    stage.run(10)
    for number in range(5):
        stage.receive(0, id=f"urgent-{number}")
    stage.run(2)
    assert sum(result.id.startswith("urgent") for result in stage.results) == 5


def test_a_worker_has_its_share_of_the_budget() -> None:
    stage = Stage(fleet_of("72345", "72346", rate=100, share=0.2), twilio=only_by_another)
    stage.pipeline.share([0], 4)
    for _ in range(5000):
        stage.receive()
    stage.run(60)
    start = stage.times[0]
    assert of_retries(stage, start, start + 60) <= (200 * 0.2 / 4) * 70 + 1


def test_the_numbers_of_a_10dlc_campaign_count_once() -> None:
    fleet = make_fleet(
        [make_sender("72345", 100), *(make_sender(f"+1206555010{number}", a2p="promo") for number in range(3))],
        a2p={"promo": dict.fromkeys(CARRIERS, 10.0)},
    )
    assert speed(fleet, "main") == 140
    limited = replace(fleet, accounts={"main": replace(fleet.accounts["main"], rate=Rate(50, "s"))})
    assert speed(limited, "main") == 50
