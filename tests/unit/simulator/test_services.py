"""What the config names by a Messaging Service's SID, and what it names by letters, as the stand-in has them."""

from collections.abc import Callable
from typing import Any

import pytest

from dispatcher.domain.fleet import Account, Fleet, Pool, Secret, Sender, SenderKind
from dispatcher.domain.rate import Rate
from dispatcher.simulator.carrier import Carriers
from dispatcher.simulator.line import numbers_of_service
from dispatcher.simulator.message import Message, Submission
from tests.unit.simulator.conftest import MAIN

Make = Callable[..., Submission]
SERVICE = "MG" + "5" * 32
PROMO = "AC" + "2" * 32


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    """A service of 2/s for texts and 4/s for media, and letters for Great Britain."""
    senders = (
        Sender(
            number=SERVICE, kind=SenderKind.MESSAGING_SERVICE, account="main", rate=Rate(2, "s"),
            mms_rate=Rate(4, "s"), media_prefixes=("+1",),
        ),
        Sender(
            number="ACME", kind=SenderKind.ALPHANUMERIC, account="main", rate=Rate(10, "s"), prefixes=("+44",)
        ),
    )  # fmt: skip
    return Fleet(
        accounts={
            "main": Account(name="main", sid=MAIN, auth_token=Secret("main-token")),
            "promo": Account(name="promo", sid=PROMO, auth_token=Secret("promo-token")),
        },
        senders={sender.number: sender for sender in senders},
        a2p_campaigns={},
        brands={},
        pools={"all": Pool(name="all", senders=(SERVICE, "ACME"))},
    )


def taken(found: Message | int) -> Message:
    assert isinstance(found, Message)
    return found


def test_a_service_chooses_among_its_numbers_and_sticks_to_one_for_a_recipient(
    carriers: Carriers, submission: Make
) -> None:
    numbers = numbers_of_service(SERVICE, 3)
    for last in range(30):
        text = submission(sender=None, service=SERVICE, to=f"+120655501{last:02}")
        first, second = (taken(carriers.accept(text, 0.0)) for _ in range(2))
        assert first.sender == second.sender
    assert {message.sender for message in carriers.messages} == set(numbers)
    assert {change.status for change in carriers.advance(0.0)} == {"queued"}


def test_a_service_has_one_queue_whatever_number_it_chooses(carriers: Carriers, submission: Make) -> None:
    for last in range(10):
        carriers.accept(submission(sender=None, service=SERVICE, to=f"+120655501{last:02}"), 0.0)
    left = [change.at for change in carriers.advance(60.0) if change.status == "sent"]
    assert left == [0.5 * place for place in range(1, 11)]


def test_a_full_service_takes_a_message_and_fails_it_with_30001(carriers: Carriers, submission: Make) -> None:
    full = submission(sender=None, service=SERVICE, segments=72_000)
    carriers.accept(full, 0.0)
    overflown = taken(carriers.accept(full, 0.0))
    assert (overflown.status, overflown.code) == ("failed", 30001)
    assert carriers.lines[SERVICE].failures == {30001: 1}


@pytest.mark.parametrize(
    ("changes", "senders", "code"),
    [
        ({}, 0, 21703),
        ({"service": "MG" + "6" * 32}, 3, 21701),
        ({"account": PROMO}, 3, 21701),
    ],
)
def test_a_service_that_cannot_send_is_refused(
    make_carriers: Callable[..., Carriers], submission: Make, changes: dict[str, Any], senders: int, code: int
) -> None:
    carriers = make_carriers(service_senders=senders)
    assert carriers.accept(submission(**{"sender": None, "service": SERVICE} | changes), 0.0) == code


def test_messages_with_media_have_a_queue_of_their_own_where_they_can_be_sent(
    carriers: Carriers, submission: Make
) -> None:
    for number in range(4):
        carriers.accept(submission(sender=None, service=SERVICE), 0.0)
        carriers.accept(submission(sender=None, service=SERVICE, media=1), 0.0)
        carriers.accept(submission(sender=None, service=SERVICE, media=1, to=f"+4477009000{number:02}"), 0.0)
    changes = [change for change in carriers.advance(60.0) if change.status == "sent"]
    at_home = [change.at for change in changes if change.message.media and change.message.to.startswith("+1")]
    as_text = [change.at for change in changes if not change.message.media or change.message.to.startswith("+44")]
    assert at_home == [0.25, 0.5, 0.75, 1.0]
    assert as_text == [0.5 * place for place in range(1, 9)]


@pytest.mark.parametrize(("to", "is_taken"), [("+447700900123", True), ("+12065550142", False)])
def test_letters_reach_nobody_whose_number_begins_with_1(
    carriers: Carriers, submission: Make, to: str, *, is_taken: bool
) -> None:
    found = carriers.accept(submission(sender="ACME", to=to), 0.0)
    assert (found != 21612) is is_taken
    assert [message.sender for message in carriers.messages] == ["ACME"] * is_taken
