from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from math import inf
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.domain.fleet import Fleet, Pool, Sender
from dispatcher.domain.message import Message
from dispatcher.sharding.health import Health
from dispatcher.sharding.router import Router
from tests.unit.pacing.making import make_account, make_fleet, make_message, make_sender

NOW = 1000.0
ACCOUNTS = (make_account("main"), make_account("promo", parent="main"))


def make_router(
    fleet: Fleet, health: Health | None = None, *, wait: Callable[[Sender], float] = lambda _: 0.0
) -> Router:
    return Router(
        fleet,
        health or Health(lambda _number, _until: None),
        weight=lambda sender: sender.rate.per_second if sender.rate else 1.0,
        wait=lambda sender, _message: wait(sender),
    )


def some_messages(many: int = 200, prefix: str = "+1") -> list[Message]:
    random = Random(1)
    return [make_message(to=f"{prefix}{random.randrange(2_000_000_000, 9_999_999_999)}") for _ in range(many)]


def test_a_recipient_stays_with_a_sender() -> None:
    router = make_router(make_fleet([make_sender(f"7234{digit}", 100) for digit in range(5)]))
    for message in some_messages():
        again = make_message("autumn", to=message.job.to)
        assert router.choose(message, NOW) is router.choose(again, NOW + 1000)


def test_only_senders_of_the_pool_that_reach_the_recipient_are_chosen() -> None:
    senders = [
        make_sender("72345", 100, prefixes=("+1",)),
        make_sender("+447700900100", 10, prefixes=("+44", "+353")),
        make_sender("+18885550100", 3, prefixes=("+1",)),
    ]
    pools = [Pool(name="all", senders=("72345", "+447700900100")), Pool(name="otp", senders=("+18885550100",))]
    router = make_router(make_fleet(senders, pools=pools))
    assert {router.choose(message, NOW) for message in some_messages()} == {senders[0]}
    assert router.choose(make_message(to="+447911123456"), NOW) is senders[1]
    assert router.choose(make_message(to="+353871234567"), NOW) is senders[1]
    assert router.choose(make_message(to="+4930123456"), NOW) is None
    assert router.choose(make_message(pool="otp"), NOW) is senders[2]
    assert router.knows("otp")
    assert not router.knows("newsletter")


def test_media_go_by_senders_that_carry_them_to_that_country() -> None:
    senders = [make_sender("72345", 100), make_sender("+18885550100", 3, mms=25)]
    router = make_router(make_fleet(senders))
    assert {router.choose(message, NOW) for message in some_messages()} == set(senders)
    for message in some_messages():
        media = make_message(to=message.job.to, has_media=True)
        assert router.choose(media, NOW) is senders[1]
    assert router.choose(make_message(to="+447911123456", has_media=True), NOW) is None


def test_an_account_sends_to_its_countries_alone_though_others_share_their_calling_code() -> None:
    accounts = (replace(ACCOUNTS[0], countries=frozenset({"US", "CA"})), ACCOUNTS[1])
    senders = [make_sender("72345", 100), make_sender("72346", 1, account="promo")]
    both = make_router(make_fleet(senders, accounts=accounts))
    only = make_router(make_fleet(senders[:1], accounts=accounts))
    for to, is_allowed in (("+12065550142", True), ("+14165550142", True), ("+18765550142", False)):
        message = make_message(to=to)
        assert (only.choose(message, NOW) is not None) is is_allowed
        assert both.choose(message, NOW) is (senders[0] if is_allowed else senders[1])


@pytest.mark.parametrize("others", [1, 7, 8, 30])
def test_the_one_sender_that_can_is_found_among_however_many_that_cannot(others: int) -> None:
    senders = [make_sender(f"723{index:02}", 100, prefixes=("+1",)) for index in range(others)]
    the_one = make_sender("+447700900100", 0.1, prefixes=("+44",))
    router = make_router(make_fleet([*senders, the_one]))
    for number in range(50):
        assert router.choose(make_message(to=f"+4479111234{number:02}"), NOW) is the_one


@pytest.mark.parametrize("others", [1, 8, 30])
def test_the_one_sender_that_is_healthy_is_found_among_however_many_that_are_not(others: int) -> None:
    senders = [make_sender(f"723{index:02}", 100) for index in range(others)]
    the_one = make_sender("72999", 0.1, account="promo")
    health = Health(lambda _number, _until: None)
    for sender in senders:
        health.quarantine(sender.number, "the account is stopped", NOW)
    router = make_router(make_fleet([*senders, the_one], accounts=ACCOUNTS), health)
    for message in some_messages(50):
        assert router.choose(message, NOW) is the_one


def test_what_a_sender_in_quarantine_would_get_goes_to_the_others_and_the_rest_stays() -> None:
    fleet = make_fleet([make_sender(f"7234{digit}", 100) for digit in range(4)])
    health = Health(lambda _number, _until: None)
    router = make_router(fleet, health)
    messages = some_messages(400)
    before = [router.choose(message, NOW) for message in messages]
    health.quarantine("72340", "its queue is full", NOW)
    after = [router.choose(message, NOW) for message in messages]
    moved = Counter(now.number for was, now in zip(before, after, strict=True) if was and now and was is not now)
    assert all(was is now for was, now in zip(before, after, strict=True) if was and was.number != "72340")
    assert moved.total() == sum(was is not None and was.number == "72340" for was in before)
    assert set(moved) == {"72341", "72342", "72343"}, "they share them"
    assert [router.choose(message, NOW + 31) for message in messages] == before


def test_when_all_are_out_a_message_waits_with_its_own() -> None:
    fleet = make_fleet([make_sender(f"7234{digit}", 100) for digit in range(3)])
    health = Health(lambda _number, _until: None)
    router = make_router(fleet, health)
    messages = some_messages(50)
    before = [router.choose(message, NOW) for message in messages]
    for number in fleet.senders:
        health.quarantine(number, "the account is stopped", NOW)
    assert [router.choose(message, NOW) for message in messages] == before


def test_a_sender_that_could_not_take_it_is_not_tried_again() -> None:
    fleet = make_fleet([make_sender(f"7234{digit}", 100) for digit in range(12)])
    router = make_router(fleet)
    message = make_message()
    while (sender := router.choose(message, NOW)) is not None:
        assert sender.number not in message.tried
        message.tried = (*message.tried, sender.number)
    assert set(message.tried) == set(fleet.senders)


def test_a_country_closed_for_an_account_is_reached_by_another() -> None:
    senders = [make_sender("72345", 1000), make_sender("72346", 1, account="promo")]
    health = Health(lambda _number, _until: None)
    router = make_router(make_fleet(senders, accounts=ACCOUNTS), health)
    health.close_country("main", "+44")
    assert router.choose(make_message(to="+447911123456"), NOW) is senders[1]
    health.close_country("promo", "+44")
    assert router.choose(make_message(to="+447911123456"), NOW) is None
    assert router.choose(make_message(to="+12065550142"), NOW) is not None


@settings(max_examples=100, deadline=None)
@given(waits=st.lists(st.floats(0, 20), min_size=1, max_size=8), data=st.data())
def test_a_message_spills_only_when_its_own_is_too_slow_and_another_is_not(
    waits: list[float], data: st.DataObject
) -> None:
    senders = [make_sender(f"723{index:02}", 100) for index in range(len(waits))]
    wait = {sender.number: seconds for sender, seconds in zip(senders, waits, strict=True)}
    pool = Pool(name="all", senders=tuple(wait), spill_after=10.0)
    fleet = make_fleet(senders, pools=[pool])
    message = make_message(to=f"+1206555{data.draw(st.integers(0, 9999)):04}")
    own = make_router(fleet).choose(message, NOW)
    chosen = make_router(fleet, wait=lambda sender: wait[sender.number]).choose(message, NOW)
    assert own is not None
    assert chosen is not None
    if wait[own.number] <= 10 or min(waits) > 10:
        assert chosen is own
    else:
        assert wait[chosen.number] <= 10


@pytest.mark.parametrize("used_up", [1, 3, 7])
def test_senders_that_have_nothing_left_of_a_cap_are_passed_over_for_any_that_has(used_up: int) -> None:
    fleet = make_fleet([make_sender(f"723{index:02}", 100) for index in range(8)])
    ranked = make_router(fleet).ranked("all", make_message().job.to)
    rests = {sender.number for sender in ranked[:used_up]}
    router = make_router(fleet, wait=lambda sender: inf if sender.number in rests else 100.0)
    assert router.choose(make_message(), NOW) is ranked[used_up], "however long that one takes"


def test_a_message_waits_with_its_first_sender_whose_cap_is_used_up_when_all_are() -> None:
    fleet = make_fleet([make_sender(f"723{index:02}", 100) for index in range(12)])
    ranked = make_router(fleet).ranked("all", make_message().job.to)
    health = Health(lambda _number, _until: None)
    health.quarantine(ranked[0].number, "for a while", NOW)
    assert make_router(fleet, health, wait=lambda _: inf).choose(make_message(), NOW) is ranked[1]


@pytest.mark.parametrize(("many", "asked"), [(12, 8), (32, 8), (33, 3)])
def test_in_a_large_pool_a_message_spills_no_further_than_to_some_choice(many: int, asked: int) -> None:
    """To look at all of a pool that is saturated would cost more than it gains."""
    senders = [make_sender(f"723{index:02}", 100) for index in range(many)]
    fleet = make_fleet(senders)
    looked_at: list[Sender] = []

    def wait(sender: Sender) -> float:
        looked_at.append(sender)
        return 100.0

    own = make_router(fleet).choose(make_message(), NOW)
    assert make_router(fleet, wait=wait).choose(make_message(), NOW) is own
    assert len(looked_at) == asked
