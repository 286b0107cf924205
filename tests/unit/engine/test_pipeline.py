"""The life of a job: whatever Twilio says, it ends with one result or is sent once more."""

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import timedelta
from math import inf
from random import Random
from typing import Literal
from urllib.parse import parse_qs

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.delivery.judge import judge
from dispatcher.delivery.request import Request
from dispatcher.delivery.verdict import CODES, InDoubt, Reaction, Unreached, Verdict
from dispatcher.domain.fleet import Fleet, Pool
from dispatcher.domain.journal import Intent
from dispatcher.domain.rate import Rate
from dispatcher.engine.doubts import LOOKS
from dispatcher.engine.pipeline import AHEAD
from dispatcher.sharding.rendezvous import Ranking
from tests.unit.engine.stage import TOO_MANY, Stage, accepted, declined
from tests.unit.pacing.making import Desk, make_account, make_fleet, make_sender

Policy = Literal["resend", "unknown"]
# A recipient that belongs to the first of the senders 72345 and 72346.
TO_FIRST = next(
    to
    for to in (f"+1206555{number:04}" for number in range(100))
    if next(iter(Ranking(["72345", "72346"], [100.0, 100.0]).best(to))) == 0
)
ACCOUNTS = (make_account("main"), make_account("promo", parent="main"))


def two_senders(in_doubt: Policy = "resend") -> Fleet:
    """A pool of two senders, one in each account."""
    senders = [make_sender("72345", 100), make_sender("72346", 100, account="promo")]
    return make_fleet(
        senders, accounts=ACCOUNTS, pools=[Pool(name="all", senders=("72345", "72346"), in_doubt=in_doubt)]
    )


def one_sender(rate: float = 100) -> Fleet:
    return make_fleet([make_sender("72345", rate)])


def script(
    replies: Iterable[Verdict | None], then: Callable[[Request], Verdict] = accepted
) -> Callable[[Request], Verdict | None]:
    """Return a Twilio that gives *replies* one by one, and then does as *then* says."""
    left = iter(replies)

    def twilio(request: Request) -> Verdict | None:
        return next(left, None) or then(request)

    return twilio


# ---------------------------------------------------------------------- the usual


def test_a_job_is_sent_accepted_and_settled() -> None:
    stage = Stage(one_sender(), public_url="https://hooks.example.com")
    offset = stage.receive(id="spring-1", body="Hi Ana", to="+12065550142")
    stage.run(1)
    form = parse_qs(stage.sent[0].form.decode())
    assert (form["From"], form["To"], form["Body"]) == (["72345"], ["+12065550142"], ["Hi Ana"])
    result = stage.results[0]
    assert (result.id, result.status, result.sender, result.account) == ("spring-1", "accepted", "72345", "main")
    assert (result.sid, result.segments, result.attempts) == ("SM-spring-1", 1, 1)
    assert (result.job.topic, result.job.offset) == ("campaign.jobs", offset)
    assert result.at == "2026-11-24T18:00:00.100+00:00"
    assert stage.desk.settled == [offset]


def test_where_twilio_does_not_know_the_segments_our_count_stands() -> None:
    stage = Stage(one_sender(), twilio=lambda _: judge(201, b'{"sid":"SM1","num_segments":"0"}'))
    stage.receive(body="x" * 400)
    stage.run(1)
    assert stage.results[0].segments == 3


def test_a_message_with_media_counts_as_one() -> None:
    fleet = make_fleet([make_sender("72345", 100, mms=40)])
    stage = Stage(fleet, twilio=lambda _: judge(201, b'{"sid":"MM1","num_segments":"0"}'))
    stage.receive(body="x" * 400, media_urls=["https://example.com/a.png"])
    stage.run(1)
    assert stage.results[0].segments == 1


def test_media_that_no_sender_of_the_pool_carries_are_refused_with_the_reason() -> None:
    stage = Stage(one_sender())
    stage.receive(media_urls=["https://example.com/a.png"])
    stage.run(1)
    assert (stage.sent, stage.results[0].status) == ([], "refused")
    assert str(stage.results[0].reason).startswith("no sender of pool 'all' can send media to +1 (US); ")


@pytest.mark.parametrize("value", [None, b"", b"{", b"[]", b'{"id":"a"}'])
def test_what_is_no_job_becomes_a_dead_letter_and_stops_nothing(value: bytes | None) -> None:
    stage = Stage(one_sender())
    stage.receive_bytes(value)
    stage.receive()
    stage.run(1)
    assert [result.status for result in stage.results] == ["accepted"]
    assert len(stage.letters) == 1
    assert stage.letters[0].value == (value or b"")
    assert stage.desk.settled == [0, 1]


def test_a_job_for_a_pool_that_nobody_knows_becomes_a_dead_letter() -> None:
    stage = Stage(one_sender())
    stage.receive(pool="newsletter")
    stage.run(1)
    assert not stage.sent
    assert b"no pool 'newsletter'" in dict(stage.letters[0].headers)["reason"]


def test_a_recipient_that_no_sender_of_the_pool_reaches_is_refused() -> None:
    stage = Stage(make_fleet([make_sender("72345", 100, prefixes=("+1",))]))
    stage.receive(to="+447911123456")
    stage.run(1)
    assert [(result.status, result.attempts) for result in stage.results] == [("refused", 0)]
    assert "+44" in (stage.results[0].reason or "")
    assert "7911123456" not in (stage.results[0].reason or "")


def test_a_body_that_twilio_would_not_take_is_refused_unsent() -> None:
    stage = Stage(one_sender())
    stage.receive(body="x" * 1601)
    stage.run(1)
    assert not stage.sent
    assert [result.status for result in stage.results] == ["refused"]


# ---------------------------------------------------------------------- what Twilio says


EXPECTED = {
    Reaction.REFUSE: "refused",
    Reaction.OPTED_OUT: "suppressed",
    Reaction.OUR_BUG: "dead",
}


@pytest.mark.parametrize("code", CODES)
def test_every_code_leads_to_one_result_or_to_another_request(code: int) -> None:
    reaction, reason = CODES[code]
    stage = Stage(two_senders(), twilio=script([declined(code)]))
    stage.receive()
    stage.run(3)
    [result] = stage.results
    if reaction in EXPECTED:
        assert (result.status, result.code, result.reason) == (EXPECTED[reaction], code, reason)
        assert len(stage.sent) == 1
        return
    assert result.status == "accepted"
    first, second = stage.senders()
    assert (first == second) is (reaction is Reaction.SLOW_FAMILY)
    # What Twilio refused as such is an attempt; what it had no time for is none.
    assert result.attempts == (1 if reaction is Reaction.SLOW_FAMILY else 2)
    assert result.sender == second


@settings(max_examples=60, deadline=None)
@given(data=st.data(), seed=st.integers(0, 1000), journal=st.sampled_from((0.0, 0.01, 0.2)))
def test_whatever_is_answered_in_whatever_order_each_job_ends_with_one_result(
    data: st.DataObject, seed: int, journal: float
) -> None:
    random = Random(seed)
    replies: list[Verdict] = [
        declined(random.choice(tuple(CODES))),
        TOO_MANY,
        judge(500, b"<html>"),
        InDoubt("Twilio did not answer in time"),
        Unreached("no connection"),
        judge(404, b"{}"),
        judge(201, b"garbage"),
    ]

    def twilio(request: Request) -> Verdict | None:
        if random.random() < 0.1:
            return None
        # From the sixth request for a message on, Twilio has had enough.
        again = stage.ids().count(request.message.job.id)
        return accepted(request) if again > 5 or random.random() < 0.5 else random.choice(replies)

    stage = Stage(two_senders(in_doubt="unknown"), twilio=twilio, journal=journal)
    count = data.draw(st.integers(1, 40))
    for _ in range(count):
        stage.receive(campaign=random.choice("ab"))
        if random.random() < 0.3:
            stage.run(random.uniform(0, 0.2))
    # Who has to wait for the same sender does so for up to 45 minutes.
    for seconds in (60,) * 40 + (3600,) * 10:
        stage.run(seconds)
        for request in list(stage.open):
            stage.reply(request, accepted(request))
        for doubt in stage.pipeline.doubts.due():
            stage.pipeline.doubts.not_found(doubt)
    assert Counter(result.job.offset for result in stage.results) == Counter(stage.desk.settled)
    assert len({result.id for result in stage.results}) == len(stage.results) == count
    for result in stage.results:
        assert result.history is msgspec.UNSET or len(result.history) == result.attempts
    assert {result.status for result in stage.results} <= {"accepted", "refused", "suppressed", "dead", "unknown"}
    assert stage.pipeline.answers.in_flight == 0
    assert stage.pipeline.answers.quiet.is_set()


def test_a_429_costs_no_attempt_and_the_campaign_keeps_its_order() -> None:
    stage = Stage(one_sender(1000), twilio=lambda _: None)
    for _ in range(10):
        stage.receive()
    stage.run(0.05)
    assert stage.ids() == [f"job-{number}" for number in range(10)]
    for request in reversed(list(stage.open)):
        stage.reply(request, TOO_MANY)
    del stage.sent[:]
    stage.twilio = accepted
    stage.run(30)
    assert stage.ids() == [f"job-{number}" for number in range(10)]
    assert {result.attempts for result in stage.results} == {1}
    assert len(stage.results) == 10


def test_retry_after_is_waited_for() -> None:
    stage = Stage(one_sender(), twilio=script([judge(429, b"", retry_after=5.0)]))
    stage.receive()
    stage.run(20)
    first, second = stage.times
    assert second - first >= 5.0
    assert stage.results[0].status == "accepted"


def test_when_twilio_cannot_be_reached_the_message_goes_again_and_again() -> None:
    stage = Stage(one_sender(), twilio=script([Unreached("no connection to Twilio")] * 7))
    stage.receive()
    stage.run(120)
    assert [(result.status, result.attempts) for result in stage.results] == [("accepted", 1)]
    assert len(stage.sent) == 8


def test_a_sender_whose_queue_is_full_rests_and_its_messages_go_by_another() -> None:
    fleet = two_senders()
    stage = Stage(
        fleet, twilio=lambda request: declined(21611, 429) if b"From=72345" in request.form else accepted(request)
    )
    for _ in range(300):
        stage.receive()
    stage.run(29)
    assert Counter(result.status for result in stage.results) == {"accepted": 300}
    assert {result.sender for result in stage.results} == {"72346"}
    # What was in flight met it too; then nothing more was tried.
    assert 1 <= stage.senders().count("72345") <= 30
    stage.twilio = accepted
    stage.run(2)
    stage.receive(to=next(result.to for result in stage.results if result.attempts == 2))
    stage.run(5)
    assert stage.senders()[-1] == "72345", "its quarantine has ended by itself"


def test_when_all_senders_rest_their_messages_wait_and_are_not_lost() -> None:
    stage = Stage(one_sender(), twilio=script([declined(21611, 429)]))
    stage.receive()
    stage.run(1)
    stage.receive()
    stage.run(28.9)
    assert not stage.results
    # Who met the refusal comes back at a time of its own, the other as soon as the sender does.
    stage.run(1)
    assert [(result.status, result.attempts) for result in stage.results] == [("accepted", 1)]
    stage.run(20)
    assert [(result.status, result.attempts) for result in stage.results] == [("accepted", 1), ("accepted", 2)]


def test_of_two_resting_senders_the_one_that_is_back_first_takes_all() -> None:
    """The other may rest for half an hour; a message does not wait for it."""
    fleet = two_senders()
    stage = Stage(fleet)
    health = stage.pipeline.placement.health
    for _ in range(4):
        now = stage.clock.monotonic()
        health.quarantine("72345", "its queue is full", now)
        stage.run(health.quarantines["72345"].until - now)
    stage.pipeline.placement.quarantine(fleet.senders.values(), "stopped", stage.clock.monotonic())
    assert health.quarantines["72345"].length > 400
    for _ in range(20):
        stage.receive()
    stage.run(35)
    assert Counter(stage.senders()) == {"72346": 20}


def test_an_account_that_is_stopped_sends_nothing_and_its_messages_go_by_another() -> None:
    stage = Stage(
        two_senders(),
        twilio=lambda request: declined(20003, 401) if request.account == "main" else accepted(request),
    )
    for _ in range(100):
        stage.receive()
    stage.run(20)
    assert Counter(result.status for result in stage.results) == {"accepted": 100}
    assert {result.account for result in stage.results} == {"promo"}


def test_a_429_that_comes_when_its_sender_rests_already_is_no_reason_to_wait_with_it() -> None:
    stage = Stage(two_senders(), twilio=lambda _: None)
    for _ in range(40):
        stage.receive()
    stage.run(0.3)
    by_first = [request for request in stage.open if b"From=72345" in request.form]
    stage.twilio = accepted
    stage.reply(by_first[0], declined(21611, 429))
    for request in by_first[1:]:
        stage.reply(request, TOO_MANY)
    for request in list(stage.open):
        if request not in by_first:
            stage.reply(request, accepted(request))
    stage.run(25)
    assert len(stage.results) == 40, "nothing waits for the sender that rests"


def test_a_message_that_no_sender_can_send_is_refused_with_twilios_reason() -> None:
    stage = Stage(two_senders(), twilio=lambda _: declined(21612))
    stage.receive()
    stage.run(5)
    assert [(result.status, result.code, result.attempts) for result in stage.results] == [("refused", 21612, 2)]
    assert set(stage.senders()) == {"72345", "72346"}


def test_a_closed_country_is_left_to_the_other_account() -> None:
    stage = Stage(
        two_senders(), twilio=lambda request: declined(21408) if request.account == "main" else accepted(request)
    )
    for number in range(50):
        stage.receive(to=f"+4479111234{number:02}")
    stage.run(5)
    tried = stage.senders().count("72345")
    for number in range(50):
        stage.receive(to=f"+4479111235{number:02}")
    stage.run(5)
    assert stage.senders().count("72345") == tried, "once it is known, nobody tries"
    assert {result.status for result in stage.results} == {"accepted"}
    stage.receive(to="+12065550100", id="us")
    stage.twilio = accepted
    stage.run(1)
    assert stage.results[-1].status == "accepted"


def test_a_family_that_is_too_fast_pauses_as_a_whole() -> None:
    stage = Stage(two_senders(), twilio=script([declined(63017, 429)]))
    for _ in range(20):
        stage.receive()
    stage.run(0.2)
    paused_at = stage.times[0] + stage.latency
    stage.run(10)
    assert not [at for at in stage.times if paused_at < at < paused_at + 0.99]
    assert {result.attempts for result in stage.results} == {1}
    assert len(stage.results) == 20


# ---------------------------------------------------------------------- in doubt


@pytest.mark.parametrize(
    "reply", [judge(500, b'{"code":20500}'), judge(503, b""), judge(201, b"{"), InDoubt("the connection broke")]
)
def test_what_may_have_been_accepted_is_not_sent_again_and_not_concluded(reply: Verdict) -> None:
    stage = Stage(two_senders(), twilio=script([reply]))
    stage.receive()
    stage.run(24.9)
    assert len(stage.sent) == 1
    assert not stage.results
    assert not stage.pipeline.doubts.due(), "its hold-off is not over"
    stage.run(0.2)
    assert len(stage.pipeline.doubts.due()) == 1


def test_what_is_in_doubt_may_lie_in_twilios_queue_so_no_other_takes_its_place() -> None:
    stage = Stage(one_sender(rate=5), twilio=lambda _: None)
    for _ in range(50):
        stage.receive()
    stage.run(20)
    assert len(stage.sent) == 6, "a second of the rate, and one message"
    for request in list(stage.open):
        stage.reply(request, InDoubt("Twilio did not answer in time"))
    stage.run(0.15)
    assert len(stage.sent) == 6
    stage.twilio = accepted
    stage.run(12)
    assert len(stage.sent) == 50, "it drains there, and the rest follows"


def test_what_arrives_in_another_second_than_it_left_in_counts_in_that_one() -> None:
    """Answers that are late by seconds come one by one while others wait: a second holds both no more than the rate."""
    stage = Stage(one_sender(rate=10), twilio=accepted)
    stage.receive()
    stage.run(1)
    stage.twilio = lambda _: None
    for _ in range(10):
        stage.receive()
    stage.run(4)
    assert len(stage.open) == 10
    stage.twilio = accepted
    for _ in range(20):
        stage.receive()
    before = len(stage.sent)
    for request in list(stage.open):
        stage.reply(request, accepted(request))
        stage.run(0.1)
    assert len(stage.sent) - before <= 1
    stage.run(3)
    assert len(stage.sent) - before == 20


def test_what_was_found_at_twilio_is_accepted() -> None:
    stage = Stage(two_senders(), twilio=script([judge(500, b"")]))
    stage.receive()
    stage.run(26)
    [doubt] = stage.pipeline.doubts.due()
    stage.pipeline.doubts.found(doubt, "SM1", 0, "list")
    assert [(result.status, result.sid, result.segments) for result in stage.results] == [("accepted", "SM1", 1)]
    assert stage.pipeline.doubts.is_of_another("SM1", "another")


def test_a_message_is_no_others_when_its_partition_comes_back_before_its_result_was_written() -> None:
    """Its SID is known here: Twilio said it to this very worker."""
    stage = Stage(two_senders())
    stage.receive()
    stage.run(1)
    [result] = stage.results
    assert result.sid is not None
    assert not stage.pipeline.doubts.is_of_another(result.sid, result.id)
    assert stage.pipeline.doubts.is_of_another(result.sid, "another")


@pytest.mark.parametrize(("policy", "status", "requests"), [("unknown", "unknown", 1), ("resend", "accepted", 2)])
def test_what_was_not_found_is_up_to_its_pool(policy: Policy, status: str, requests: int) -> None:
    stage = Stage(two_senders(in_doubt=policy), twilio=script([InDoubt("Twilio did not answer in time")]))
    stage.receive()
    stage.run(26)
    for _ in range(2):
        assert not stage.results, "Twilio's list may be behind: it is looked at twice"
        [doubt] = stage.pipeline.doubts.due()
        stage.pipeline.doubts.not_found(doubt)
        stage.run(6)
    assert [result.status for result in stage.results] == [status]
    assert len(stage.sent) == requests


@pytest.mark.parametrize("off_by", [-86400, -3600, -1, 0, 3600, 86400])
def test_what_a_former_owner_left_in_doubt_is_held_off_and_found_whatever_its_clock_showed(off_by: float) -> None:
    stage = Stage(two_senders())
    at = stage.clock.epoch() + off_by
    intent = Intent(stage.desk.topic, stage.desk.partition, 0, "job-0", 1, "72345", at)
    stage.pipeline.recover({(stage.desk.topic, stage.desk.partition, 0): intent}, (), {}, {})
    stage.receive()
    stage.run(24.9)
    assert not stage.pipeline.doubts.due(), "its request may have left this moment"
    stage.run(0.2)
    [doubt] = stage.pipeline.doubts.due()
    assert not stage.sent
    assert stage.clock.monotonic() - doubt.left_at >= max(600, -off_by), "or as long ago as the clock says"


def test_a_worker_that_gives_its_partitions_up_decides_no_doubt_any_more() -> None:
    stage = Stage(two_senders(in_doubt="unknown"), twilio=script([judge(500, b""), judge(500, b"")]))
    stage.receive()
    stage.receive()
    stage.run(26)
    found, not_found = stage.pipeline.doubts.due()
    not_found.looks = LOOKS - 1
    stage.pipeline.halt()
    stage.pipeline.doubts.found(found, "SM1", 0, "list")
    stage.pipeline.doubts.not_found(not_found)
    stage.pipeline.doubts.postpone(not_found)
    assert not len(stage.pipeline.doubts)
    assert not stage.results, "the next owner may have read the results already"


# ---------------------------------------------------------------------- announced first


def test_nothing_leaves_before_its_intent_is_safe() -> None:
    stage = Stage(one_sender(), journal=inf)
    offset = stage.receive()
    stage.run(60)
    assert not stage.sent
    [intent] = stage.journal.intents
    assert (intent.topic, intent.offset, intent.id, intent.attempt, intent.sender) == (
        "campaign.jobs", offset, "job-0", 1, "72345",
    )  # fmt: skip
    stage.hand_over_intents()
    stage.run(1)
    assert stage.ids() == ["job-0"]


def test_a_429_needs_no_second_intent_and_another_sender_does() -> None:
    stage = Stage(two_senders(), twilio=script([TOO_MANY, declined(21606)]))
    offset = stage.receive()
    stage.run(30)
    assert [(intent.attempt, intent.sender) for intent in stage.journal.intents] == [
        (1, stage.senders()[0]),
        (2, stage.senders()[2]),
    ]
    assert stage.journal.voided == [offset]


def test_the_journal_is_told_when_a_message_that_is_announced_ahead_will_leave() -> None:
    """By the lane's rate, after those that are announced before it."""
    stage = Stage(one_sender(100), journal=inf)
    for _ in range(8):
        stage.receive()
    stage.run()
    assert stage.journal.aheads == pytest.approx([0.0, 0.01, 0.02, 0.03, 0.04], rel=0.02)


def test_the_journal_is_told_when_the_next_message_of_a_slow_sender_will_leave() -> None:
    stage = Stage(one_sender(1), journal=0.01)
    for _ in range(4):
        stage.receive()
    stage.run(10)
    assert stage.journal.aheads == pytest.approx([0.0, AHEAD, AHEAD, AHEAD], abs=1e-3)


def test_what_leaves_when_an_answer_comes_is_not_said_to_have_time() -> None:
    fleet = make_fleet([make_sender("72345", 100)], accounts=[make_account(concurrency=1)])
    stage = Stage(fleet, twilio=lambda _: None, journal=0.01)
    for _ in range(4):
        stage.receive()
    stage.run(1)
    assert max(stage.journal.aheads) == pytest.approx(0.01, rel=0.02), "nobody knows when, but behind another"


def test_what_was_announced_and_did_not_leave_is_taken_back() -> None:
    stage = Stage(one_sender(1), twilio=lambda _: None, journal=0.01)
    for _ in range(5):
        stage.receive()
    stage.run(20)
    announced = {intent.offset for intent in stage.journal.intents}
    left = {request.message.offset for request in stage.sent}
    stage.pipeline.halt()
    stage.pipeline.forget()
    assert set(stage.journal.voided) == announced - left


@pytest.mark.parametrize("concurrency", [1, 5])
@pytest.mark.parametrize("lanes", [2, 3])
def test_no_fast_sender_keeps_another_from_being_announced(concurrency: int, lanes: int) -> None:
    account = make_account(concurrency=concurrency)
    fleet = make_fleet([make_sender(f"7234{lane}", 1000) for lane in range(lanes)], accounts=[account])
    stage = Stage(fleet, journal=0.01)
    for _ in range(3000):
        stage.receive()
    stage.run(20)
    sent = Counter(stage.senders())
    assert sent.total() >= 0.95 * concurrency / 0.1 * 20
    assert min(sent.values()) >= 0.7 * sent.total() / lanes


def test_when_a_sender_rests_what_stood_by_for_it_makes_room_for_others() -> None:
    """Its messages had taken all the room that the account has for what is announced."""
    fleet = make_fleet(
        [make_sender("72345", 1000, prefixes=("+1",)), make_sender("72346", 1000, prefixes=("+44",))],
        accounts=[make_account(concurrency=2)],
    )
    stage = Stage(fleet, twilio=lambda _: None, journal=0.01)
    for _ in range(100):
        stage.receive()
    stage.run(1)
    for number in range(20):
        stage.receive(to=f"+4479111234{number:02}")
    stage.run(1)
    assert set(stage.senders()) == {"72345"}
    for request in list(stage.open):
        stage.reply(request, declined(21611, 429))
    stage.twilio = accepted
    stage.run(10)
    assert stage.senders().count("72346") == 20


def test_what_came_back_does_not_wait_for_room_that_it_takes_itself() -> None:
    fleet = make_fleet(
        [make_sender("72345", 1000, prefixes=("+1",)), make_sender("72346", 1000, prefixes=("+44",))],
        accounts=[make_account(concurrency=10)],
    )
    stage = Stage(fleet, twilio=lambda _: None, journal=0.01)
    for number in range(100):
        stage.receive()
        stage.receive(to=f"+4479111234{number:02}")
    stage.run(1)
    for request in list(stage.open):
        stage.reply(request, TOO_MANY)
    stage.twilio = accepted
    stage.run(60)
    assert len(stage.results) == 200


def test_after_a_rebalance_nothing_stands_by_for_the_partitions_that_went() -> None:
    """Intents were on their way to Kafka when the lease ran out: they come back when the books are closed."""
    stage = Stage(one_sender(1000), journal=inf)
    for _ in range(100):
        stage.receive()
    stage.run(1)
    assert stage.journal.unsafe
    stage.pipeline.halt()
    stage.pipeline.forget()
    stage.desk.is_owned = False
    stage.hand_over_intents()
    stage.desk = Desk()
    stage.pipeline.resume()
    for number in range(50):
        stage.receive(id=f"again-{number}")
    for _ in range(50):
        stage.run(0.1)
        stage.hand_over_intents()
    assert len(stage.results) == 50
    assert all(result.id.startswith("again") for result in stage.results)
    for lane in stage.pipeline.hierarchy.lanes():
        assert (lane.prepared, lane.prepared_cost, lane.standby.count) == (0, 0, 0)


def test_what_was_announced_for_a_sender_that_nobody_can_replace_ends_without_an_attempt() -> None:
    fleet = make_fleet([make_sender("72345", 1), make_sender("72346", 1, account="promo")], accounts=ACCOUNTS)
    stage = Stage(fleet, twilio=lambda _: declined(21408), journal=0.01)
    for _ in range(6):
        stage.receive(to="+447911123456")
    stage.run(30)
    assert Counter(result.status for result in stage.results) == {"refused": 6}
    sent = Counter(stage.ids())
    assert {result.id: result.attempts for result in stage.results} == {
        result.id: sent[result.id] for result in stage.results
    }
    assert all((result.sender is None) == (not sent[result.id]) for result in stage.results)


# ---------------------------------------------------------------------- times


def test_a_job_is_not_sent_before_its_time() -> None:
    stage = Stage(one_sender())
    for seconds in (60, 30, 90):
        stage.receive(send_at=(stage.clock.now() + timedelta(seconds=seconds)).isoformat(), id=f"in-{seconds}")
    began = stage.clock.monotonic()
    stage.run(29.9)
    assert not stage.sent
    stage.run(120)
    assert stage.ids() == ["in-30", "in-60", "in-90"]
    for at, due in zip(stage.times, (30, 60, 90), strict=True):
        assert at - began == pytest.approx(due, abs=0.001)
    assert stage.runs < 20, "nothing polls for it"


def test_a_job_whose_turn_comes_too_late_expires_unsent() -> None:
    stage = Stage(one_sender(rate=1))
    for number in range(5):
        stage.receive(id=f"job-{number}", expires_at=(stage.clock.now() + timedelta(seconds=2.5)).isoformat())
    stage.run(20)
    assert stage.ids() == ["job-0", "job-1", "job-2"]
    assert Counter(result.status for result in stage.results) == {"accepted": 3, "expired": 2}
    assert {result.attempts for result in stage.results if result.status == "expired"} == {0}


def test_a_job_whose_time_was_missed_expires_and_says_by_how_much() -> None:
    stage = Stage(one_sender())
    due = stage.clock.now() - timedelta(hours=3)
    stage.receive(send_at=due.isoformat(), expires_at=(due + timedelta(hours=2)).isoformat())
    stage.run(1)
    assert not stage.sent
    (result,) = stage.results
    assert result.status == "expired"
    assert result.reason == (
        "it expired at 2026-11-24T17:00:00+00:00, before its turn came; "
        "it was to leave at 2026-11-24T15:00:00+00:00, which was missed by 3 h"
    )


def test_a_campaigns_window_holds_for_every_message_of_it() -> None:
    stage = Stage(one_sender(rate=2))
    opens, closes = (stage.clock.now() + timedelta(seconds=seconds) for seconds in (30, 40))
    for _ in range(40):
        stage.receive(send_at=opens.isoformat(), expires_at=closes.isoformat())
    stage.run(120)
    assert Counter(result.status for result in stage.results) == {"accepted": 20, "expired": 20}
    start = stage.clock.monotonic() - 120
    assert all(start + 30 <= at < start + 40 for at in stage.times)


def test_a_job_that_came_too_late_expires_at_once() -> None:
    stage = Stage(one_sender())
    stage.receive(expires_at=(stage.clock.now() - timedelta(seconds=1)).isoformat())
    assert [result.status for result in stage.results] == ["expired"]


# ---------------------------------------------------------------------- stop and go


def test_nothing_leaves_while_it_is_halted_and_quiet_says_when_all_is_back() -> None:
    stage = Stage(one_sender(1000), twilio=lambda _: None)
    for _ in range(30):
        stage.receive()
    stage.run(0.01)
    in_flight = len(stage.open)
    assert stage.pipeline.answers.in_flight == in_flight > 0
    stage.pipeline.halt()
    stage.receive()
    stage.run(10)
    for number, request in enumerate(list(stage.open)):
        assert not stage.pipeline.answers.quiet.is_set()
        stage.reply(request, TOO_MANY if number % 2 else accepted(request))
    assert stage.pipeline.answers.quiet.is_set()
    stage.run(10)
    assert len(stage.sent) == in_flight


def test_what_waited_when_it_was_halted_leaves_when_it_goes_on() -> None:
    stage = Stage(one_sender(1000), twilio=lambda _: None)
    for _ in range(100):
        stage.receive()
    stage.run(0.5)
    stage.pipeline.halt()
    for request in list(stage.open):
        stage.reply(request, accepted(request))
    stage.twilio = accepted
    stage.pipeline.resume()
    stage.run(10)
    assert len(stage.results) == 100


@pytest.mark.parametrize("rate", [1000, 2], ids=["at the account's concurrency", "at Twilio's queue"])
def test_after_a_rebalance_in_full_flight_the_jobs_read_anew_leave(rate: float) -> None:
    """Everything waits for answers, which come while nothing may leave; then partitions are handed out anew."""
    stage = Stage(one_sender(rate), twilio=lambda _: None)
    for _ in range(100):
        stage.receive()
    stage.run(20)
    stage.pipeline.halt()
    for request in list(stage.open):
        stage.reply(request, accepted(request))
    stage.pipeline.forget()
    before = len(stage.results)
    stage.twilio = accepted
    stage.pipeline.share(range(6), 12)
    stage.pipeline.resume()
    for _ in range(10):
        stage.receive()
    stage.run(30)
    assert len(stage.results) == before + 10


def test_after_the_lease_ran_out_and_was_renewed_what_waits_leaves() -> None:
    stage = Stage(one_sender(1000), twilio=lambda _: None)
    for _ in range(100):
        stage.receive()
    stage.run(0.5)
    stage.fence.close()
    for request in list(stage.open):
        stage.reply(request, accepted(request))
    sent = len(stage.sent)
    stage.run(5)
    assert len(stage.sent) == sent
    stage.twilio = accepted
    stage.fence.renew(stage.clock.monotonic())
    stage.run(10)
    assert len(stage.results) == 100


def test_what_was_forgotten_is_not_sent() -> None:
    stage = Stage(one_sender(10))
    stage.receive(send_at=(stage.clock.now() + timedelta(seconds=5)).isoformat())
    for _ in range(50):
        stage.receive()
    stage.run(1)
    stage.pipeline.halt()
    stage.run(1)
    stage.pipeline.forget()
    stage.pipeline.resume()
    sent = len(stage.sent)
    stage.run(60)
    assert len(stage.sent) == sent
    assert len(stage.results) == sent


def test_a_429_that_comes_after_the_partition_has_gone_is_not_followed_by_another_request() -> None:
    stage = Stage(one_sender(), twilio=lambda _: None)
    stage.receive()
    stage.run(0.1)
    stage.pipeline.halt()
    stage.pipeline.forget()
    stage.desk.is_owned = False
    stage.pipeline.resume()
    stage.reply(stage.open[0], TOO_MANY)
    stage.run(60)
    assert len(stage.sent) == 1, "its new owner sends it"
    assert not stage.results


# ---------------------------------------------------------------------- campaigns


def test_a_throttled_campaign_goes_at_its_own_rate() -> None:
    stage = Stage(one_sender(100))
    stage.throttle("slow", Rate(5, "s"))
    for _ in range(200):
        stage.receive(campaign="slow")
    stage.run(10)
    assert 48 <= len(stage.sent) <= 51


@pytest.mark.parametrize("rate", [None, Rate(50, "s")])
def test_a_throttle_that_is_lifted_or_raised_holds_nobody_any_longer(rate: Rate | None) -> None:
    stage = Stage(one_sender(100))
    stage.throttle("slow", Rate(1, "h"))
    for _ in range(20):
        stage.receive(campaign="slow")
    stage.run(10)
    assert len(stage.sent) == 1
    stage.throttle("slow", rate)
    stage.run(5)
    assert len(stage.sent) == 20


def test_a_throttle_holds_what_waits_already() -> None:
    stage = Stage(one_sender(10))
    for _ in range(100):
        stage.receive(campaign="slow")
    stage.run(1)
    sent = len(stage.sent)
    stage.throttle("slow", Rate(1, "s"))
    stage.run(10)
    assert len(stage.sent) - sent <= 11


@pytest.mark.parametrize("journal", [0.0, 0.01])
def test_a_throttle_does_not_count_what_another_sender_has_to_send(journal: float) -> None:
    stage = Stage(two_senders(), twilio=script([declined(21606)]), journal=journal)
    stage.throttle("spring", Rate(1, "h"))
    stage.receive()
    stage.run(5)
    assert [(result.status, result.attempts) for result in stage.results] == [("accepted", 2)]


@pytest.mark.parametrize("moment", ["announced", "ready"])
def test_a_throttle_does_not_count_what_its_sender_could_not_send_any_more(moment: str) -> None:
    """It was chosen, and before it left its sender had to rest."""
    fleet = make_fleet(
        [make_sender("72345", 100), make_sender("72346", 100, account="promo")],
        accounts=[make_account("main", concurrency=1), make_account("promo", concurrency=1, parent="main")],
    )
    stage = Stage(fleet, twilio=lambda _: None, journal=inf)
    stage.throttle("slow", Rate(1, "h"))
    stage.receive(to=TO_FIRST)
    stage.run(0.1)
    stage.hand_over_intents()
    stage.run(0.1)
    assert stage.senders() == ["72345"]
    stage.receive(campaign="slow", to=TO_FIRST)
    stage.run(0.1)
    if moment == "ready":
        stage.hand_over_intents()
    stage.reply(stage.open[0], declined(21611, 429))
    stage.twilio = accepted
    for _ in range(50):
        stage.hand_over_intents()
        stage.run(0.1)
    assert {result.campaign: result.sender for result in stage.results} == {"spring": "72346", "slow": "72346"}


def test_a_throttle_is_shared_among_workers_like_any_limit() -> None:
    """Whether it was there first or came later."""
    stage = Stage(one_sender(100))
    stage.throttle("first", Rate(10, "s"))
    stage.pipeline.share(range(6), 12)
    stage.throttle("second", Rate(10, "s"))
    for _ in range(200):
        stage.receive(campaign="first")
        stage.receive(campaign="second")
    stage.run(10)
    sent = Counter(request.message.job.campaign for request in stage.sent)
    assert sent == {"first": pytest.approx(50, abs=2), "second": pytest.approx(50, abs=2)}


def test_an_urgent_message_goes_before_bulk() -> None:
    stage = Stage(one_sender(10))
    for _ in range(100):
        stage.receive(priority=1)
    stage.run(2)
    stage.receive(priority=0, id="code")
    stage.run(0.35)
    assert "code" in stage.ids()


def test_the_gauges_can_be_read_at_any_time() -> None:
    stage = Stage(two_senders(), twilio=lambda _: None)
    stage.pipeline.measure()
    stage.throttle("spring", Rate(1, "s"))
    for _ in range(100):
        stage.receive()
    stage.run(2)
    stage.pipeline.measure()
