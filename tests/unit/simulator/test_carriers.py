from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from dispatcher.domain.fleet import Fleet
from dispatcher.domain.rate import Rate
from dispatcher.simulator import carrier
from dispatcher.simulator.carrier import Carriers
from dispatcher.simulator.line import carrier_of, messaging_service_sid
from dispatcher.simulator.message import Message, Submission

PROMO = "AC" + "2" * 32
ATT, TMOBILE = "+12065550140", "+12065550143"

Make = Callable[..., Submission]


def accepted(outcome: Message | int) -> Message:
    assert isinstance(outcome, Message)
    return outcome


@pytest.mark.parametrize(("digits", "name"), [("012", "att"), ("345", "tmobile"), ("678", "verizon"), ("9", "other")])
def test_the_last_digit_is_the_carrier(digits: str, name: str) -> None:
    assert {carrier_of(f"+120655501{digit}{digit}") for digit in digits} == {name}


def test_a_message_is_sent_when_the_queue_drained_it_then_delivered(carriers: Carriers, submission: Make) -> None:
    carriers.accept(submission(segments=20), 0.0)
    second = accepted(carriers.accept(submission(segments=10), 0.5))
    assert (second.status, second.seq) == ("queued", 2)
    changes = carriers.advance(2.9)
    assert [(change.message.seq, change.status) for change in changes] == [(1, "sent"), (1, "delivered")]
    assert changes[0].at == 2.0
    assert 2.05 <= changes[1].at <= 2.5
    changes = carriers.advance(10.0)
    assert [(change.message.seq, change.status) for change in changes] == [(2, "sent"), (2, "delivered")]
    assert changes[0].at == 3.0
    assert carriers.advance(20.0) == []


def test_each_change_carries_the_callback_and_the_message_forgets_it(carriers: Carriers, submission: Make) -> None:
    message = accepted(carriers.accept(submission(), 0.0))
    changes = carriers.advance(10.0)
    assert {change.callback for change in changes} == {"http://127.0.0.1:1/status?mid=m1&a=1"}
    assert message.callback is None


def test_a_share_of_messages_does_not_arrive(make_carriers: Callable[..., Carriers], submission: Make) -> None:
    carriers = make_carriers(undelivered_share=0.25)
    for number in range(400):
        carriers.accept(submission(), float(number))
    undelivered = [change for change in carriers.advance(1e4) if change.status == "undelivered"]
    assert 70 <= len(undelivered) <= 130
    assert {change.code for change in undelivered} == {30003, 30005, 30008}


def test_carriers_filter_a_share_of_what_has_a_text_in_it_and_nothing_else(
    carriers: Carriers, submission: Make
) -> None:
    carriers.filtered = {"SALE": 0.25}
    for number in range(400):
        carriers.accept(submission(body="the SALE of the year"), float(number))
        carriers.accept(submission(body="your code is 123"), float(number))
    filtered = [change.message.body for change in carriers.advance(1e4) if change.code == 30007]
    assert 70 <= len(filtered) <= 130
    assert set(filtered) == {"the SALE of the year"}


def test_a_full_queue_refuses_a_message_that_names_its_sender(carriers: Carriers, submission: Make) -> None:
    toll_free = submission(sender="+18885550100", segments=36)
    assert accepted(carriers.accept(toll_free, 0.0)).status == "queued"
    assert carriers.accept(toll_free, 0.0) == 21611
    assert len(carriers.messages) == 1


def test_a_full_queue_takes_a_message_through_a_service_and_fails_it_later(
    carriers: Carriers, submission: Make
) -> None:
    through_service = submission(sender=None, service=messaging_service_sid("slow"), segments=36)
    carriers.accept(through_service, 0.0)
    second = accepted(carriers.accept(through_service, 0.0))
    assert [(change.message.seq, change.status, change.code) for change in carriers.advance(0.1)] == [
        (1, "queued", None),
        (2, "failed", 30001),
    ]
    assert (second.status, second.code) == ("failed", 30001)
    assert carriers.lines["+18885550100"].failures == {30001: 1}
    assert carriers.lines["+18885550100"].meter.messages == 1


def test_a_service_sticks_to_one_sender_for_a_recipient_and_uses_them_all(carriers: Carriers, submission: Make) -> None:
    service = messaging_service_sid("marketing")
    for last in range(30):
        message = submission(sender=None, service=service, to=f"+120655501{last:02}")
        assert accepted(carriers.accept(message, 0.0)).sender == accepted(carriers.accept(message, 0.0)).sender
    assert {message.sender for message in carriers.messages} == {"72345", "+18885550100"}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"sender": "+12065559999"}, 21659),
        ({"sender": "+12065550100"}, 21660),
        ({"account": PROMO}, 21660),
        ({"sender": None, "service": messaging_service_sid("nobody")}, 21701),
        ({"sender": None, "service": messaging_service_sid("marketing"), "account": PROMO}, 21701),
    ],
)
def test_a_sender_that_is_not_the_accounts_is_refused(
    carriers: Carriers, submission: Make, changes: dict[str, Any], code: int
) -> None:
    assert carriers.accept(submission(**changes), 0.0) == code
    assert carriers.messages == []


def test_numbers_of_a_10dlc_campaign_share_a_queue_for_each_carrier(carriers: Carriers, submission: Make) -> None:
    for number in ("+12065550100", "+12065550101"):
        for to in (ATT, TMOBILE):
            carriers.accept(submission(account=PROMO, sender=number, to=to, segments=2), 0.0)
    sent = {change.message.seq: change.at for change in carriers.advance(10.0) if change.status == "sent"}
    assert sent == {1: 0.5, 3: 1.0, 2: 1.0, 4: 2.0}
    assert carriers.queues["promo-10dlc/att"].meter.segments == 4
    assert carriers.lines["+12065550100"].meter.segments == 4


def test_the_family_is_refused_above_its_rate_and_only_while_the_second_lasts(
    carriers: Carriers, submission: Make
) -> None:
    promo = submission(account=PROMO, sender="+12065550100")
    outcomes = [carriers.accept(promo if number % 2 else submission(), 0.5) for number in range(110)]
    assert sum(outcome == 63017 for outcome in outcomes) == 5
    assert carriers.accept(submission(), 1.49) == 63017
    assert isinstance(carriers.accept(submission(), 1.5), Message)
    assert carriers.family_peaks["main"].peak == 105


def test_the_brands_day_with_tmobile_ends_at_midnight_pacific(carriers: Carriers, submission: Make) -> None:
    def to_tmobile(segments: int) -> Submission:
        return submission(account=PROMO, sender="+12065550100", to=TMOBILE, segments=segments)

    for segments in (3, 2, 1):
        carriers.accept(to_tmobile(segments), 0.0)
    carriers.accept(submission(account=PROMO, sender="+12065550100", to=ATT, segments=9), 0.0)
    after_midnight = 61.0
    carriers.accept(to_tmobile(5), after_midnight)
    final = {
        change.message.seq: (change.status, change.code)
        for change in carriers.advance(100.0)
        if change.status in {"delivered", "undelivered"}
    }
    delivered = "delivered", None
    assert final == {1: delivered, 2: delivered, 3: ("undelivered", 30023), 4: delivered, 5: delivered}


def test_a_factor_slows_a_sender_or_a_campaign_or_one_of_its_carriers(
    make_carriers: Callable[..., Carriers], submission: Make
) -> None:
    factors = {"72345": 0.5, "promo-10dlc": 0.5, "promo-10dlc/tmobile": 0.25}
    carriers = make_carriers(factors=factors)
    carriers.accept(submission(segments=10), 0.0)
    carriers.accept(submission(account=PROMO, sender="+12065550100", to=ATT, segments=2), 0.0)
    carriers.accept(submission(account=PROMO, sender="+12065550101", to=TMOBILE, segments=2), 0.0)
    sent = {change.message.seq: change.at for change in carriers.advance(10.0) if change.status == "sent"}
    assert sent == {1: 2.0, 2: 1.0, 3: 4.0}
    carriers.slow_to({}, 10.0)
    carriers.accept(submission(segments=10), 10.0)
    assert next(change.at for change in carriers.advance(20.0)) == 11.0
    assert carriers.queues_of("nobody") == []


def test_a_text_is_sent_twice_when_its_id_is_accepted_again(carriers: Carriers, submission: Make) -> None:
    for mid in ("a", "b", "a", "a", None, None):
        carriers.accept(submission(mid=mid), 0.0)
    assert carriers.repeated == {"a": 2}


def test_sending_again_what_reached_nobody_is_no_second_text(carriers: Carriers, submission: Make) -> None:
    carriers.accept(submission(segments=50), 0.0)
    carriers.accept(submission(mid="a", validity=1), 0.0)
    carriers.advance(2.0)
    assert carriers.messages[1].code == 30036
    carriers.accept(submission(mid="a"), 2.0)
    assert not carriers.repeated
    carriers.accept(submission(mid="a"), 2.0)
    assert carriers.repeated == {"a": 1}


def test_a_message_is_found_by_its_sid_alone(carriers: Carriers, submission: Make) -> None:
    sms = accepted(carriers.accept(submission(), 0.0))
    mms = accepted(carriers.accept(submission(media=1), 0.0))
    assert carriers.sid(sms)[:2] == "SM"
    assert carriers.sid(mms)[:2] == "MM"
    assert {len(carriers.sid(message)) for message in (sms, mms)} == {34}
    assert carriers.find(carriers.sid(sms)) is sms
    assert carriers.find(carriers.sid(mms)) is mms
    for stranger in ("", "SM", "SM" + "0" * 32, carriers.sid(mms).replace("MM", "SM"), carriers.sid(mms)[:-1] + "3"):
        assert carriers.find(stranger) is None


def test_messages_to_one_recipient_are_chained_from_the_latest_on(carriers: Carriers, submission: Make) -> None:
    for to in (ATT, TMOBILE, ATT):
        carriers.accept(submission(to=to), 0.0)
    latest = carriers.latest_to(ATT)
    assert latest is not None
    assert (latest.seq, latest.older) == (3, 1)
    assert carriers.latest_to("+12065559999") is None


def test_old_bodies_are_forgotten(carriers: Carriers, submission: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carrier, "BODIES_KEPT", 2)
    for _ in range(3):
        carriers.accept(submission(), 0.0)
    assert [message.body for message in carriers.messages] == [None, "Hi", "Hi"]


def test_a_pretended_message_leaves_no_trace(carriers: Carriers, submission: Make) -> None:
    assert carriers.pretend(submission(), 0.0).status == "queued"
    assert carriers.messages == []
    assert carriers.advance(10.0) == []


def test_a_sole_account_is_its_own_family(
    make_carriers: Callable[..., Carriers], fleet: Fleet, submission: Make
) -> None:
    carriers = make_carriers(fleet=replace(fleet, family_rate=Rate(1, "s")))
    assert isinstance(carriers.accept(submission(), 0.0), Message)
    assert isinstance(carriers.accept(submission(), 0.1), Message)
    assert carriers.accept(submission(), 0.2) == 63017
