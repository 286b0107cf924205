"""Messages with media beside texts: rates of their own, and what a family's senders of a kind have together."""

from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.domain.fleet import CARRIERS, Carrier, Fleet, SenderKind
from dispatcher.domain.message import Message
from dispatcher.pacing.turns import Share
from tests.unit.pacing.making import make_account, make_fleet, make_message, make_sender
from tests.unit.pacing.traffic import Departure, Traffic, largest_in_a_second

ACCOUNTS = (make_account("main"), make_account("promo", parent="main"))


def segments(departure: Departure) -> float:
    return departure.message.cost


def rate_of(departures: Sequence[Departure]) -> float:
    """Return how many messages left a second, from the first to the last."""
    return (len(departures) - 1) / (departures[-1].at - departures[0].at)


def has_media(departure: Departure) -> bool:
    return bool(departure.message.job.media_urls)


def offer_backlogs(traffic: Traffic, numbers: Sequence[str], many: int, carriers: Sequence[Carrier | None]) -> None:
    random = Random(1)
    for number in numbers:
        messages = [
            make_message(cost=1, carrier=random.choice(carriers), has_media=bool(place % 2))
            for place in range(2 * many)
        ]
        traffic.offer(number, messages)


@settings(max_examples=40, deadline=None)
@given(
    texts=st.sampled_from((3.0, 20.0, 100.0)),
    media=st.sampled_from((1.0, 25.0, 40.0)),
    part=st.sampled_from((1, 3, 12)),
    late=st.sampled_from((0.0, 0.015)),
)
def test_texts_and_media_each_leave_at_their_own_rate(texts: float, media: float, part: int, late: float) -> None:
    traffic = Traffic(make_fleet([make_sender("72345", texts, mms=media)]), late=late)
    traffic.hierarchy.share(Share(frozenset(range(part)), 12, 0.0), traffic.now)
    offer_backlogs(traffic, ["72345"], int(7 * max(texts, media)), [None])
    traffic.run(6.0)
    for rate, chosen in ((texts, False), (media, True)):
        left = [each for each in traffic.departures if has_media(each) is chosen]
        assert largest_in_a_second(left, segments) <= rate * part / 12 * 1.05 + 1
        if rate * part / 12 >= 5:
            # The account's requests in flight are felt out first.
            assert rate_of([each for each in left if each.at > 1.0]) >= 0.97 * rate * part / 12


def test_a_queue_at_twilio_that_is_full_of_texts_keeps_no_media_waiting() -> None:
    fleet = make_fleet([make_sender("72345", 5, mms=5)])
    # Nothing is answered, so the modelled queue of texts is full after a second of them.
    traffic = Traffic(fleet, latency=lambda _: 100.0)
    traffic.offer("72345", [make_message() for _ in range(50)])
    traffic.run(5.0)
    assert len(traffic.departures) <= 6
    traffic.offer("72345", [make_message(has_media=True)])
    traffic.run(0.1)
    assert has_media(traffic.departures[-1])


@pytest.mark.parametrize(
    ("kind", "each", "together"),
    [(SenderKind.TOLL_FREE, 25.0, 25.0), (SenderKind.LONG_CODE, 20.0, 50.0), (SenderKind.TOLL_FREE, 40.0, 40.0)],
)
def test_senders_of_a_kind_share_what_their_family_has_of_media(kind: SenderKind, each: float, together: float) -> None:
    senders = [
        make_sender(f"+1888555010{place}", 3, account=("main", "promo")[place % 2], mms=each, kind=kind)
        for place in range(4)
    ]
    traffic = Traffic(make_fleet(senders, accounts=ACCOUNTS))
    offer_backlogs(traffic, [sender.number for sender in senders], 200, [None])
    traffic.run(6.0)
    media = [departure for departure in traffic.departures if has_media(departure)]
    assert largest_in_a_second(media, segments) <= together * 1.05 + 1
    assert rate_of(media) >= 0.97 * together
    for sender in senders:
        assert sum(departure.lane.sender is sender for departure in media) >= len(media) / 8, "they take turns"


def campaign_fleet(rates: dict[Carrier, float]) -> Fleet:
    numbers = [make_sender(f"+1206555010{place}", a2p="promo") for place in range(2)]
    return make_fleet(numbers, a2p={"promo": rates})


@given(late=st.sampled_from((0.0, 0.015)), is_known=st.booleans())
@settings(max_examples=20, deadline=None)
def test_media_of_a_10dlc_campaign_have_a_limit_for_each_carrier(late: float, is_known: bool) -> None:  # noqa: FBT001
    rates: dict[Carrier, float] = {"att": 8, "tmobile": 4, "verizon": 75, "other": 1.25}
    fleet = campaign_fleet(rates)
    traffic = Traffic(fleet, late=late)
    offer_backlogs(traffic, list(fleet.senders), 300, CARRIERS if is_known else (None, *CARRIERS))
    traffic.run(8.0)
    media = [departure for departure in traffic.departures if has_media(departure)]
    for carrier in CARRIERS:
        reached = [each for each in media if each.message.job.carrier in {carrier, None}]
        granted = fleet.a2p_campaigns["promo"].mms_rate(carrier).per_second
        assert granted == min(rates[carrier], 50.0)
        assert largest_in_a_second(reached, segments) <= granted * 1.05 + 1
    assert largest_in_a_second(media, segments) <= 50 * 1.05 + 1


@pytest.mark.parametrize("is_open_before", [True, False])
def test_a_cut_rate_holds_for_media_too_whichever_number_of_the_campaign_opened_them(*, is_open_before: bool) -> None:
    fleet = campaign_fleet(dict.fromkeys(CARRIERS, 40.0))
    first, second = fleet.senders
    traffic = Traffic(fleet)
    if is_open_before:
        traffic.offer(first, [make_message(carrier="att", has_media=True)])
        traffic.run(1.0)
    traffic.hierarchy.scale(second, 0.5, traffic.now)
    messages: list[Message] = [make_message(carrier="att", has_media=True) for _ in range(100)]
    traffic.offer(first, messages)
    traffic.run(4.0)
    left = [departure for departure in traffic.departures if departure.message in messages]
    assert 0.97 * 20 <= rate_of(left) <= 20
    assert traffic.hierarchy.media_lane(fleet.senders[first], "att").rate == 10.0, "a half, for each of two"


def test_lanes_for_media_are_there_only_once_they_are_needed() -> None:
    fleet = make_fleet([make_sender("72345", 10, mms=10)])
    traffic = Traffic(fleet)
    assert [lane.name for lane in traffic.hierarchy.lanes()] == ["72345"]
    traffic.offer("72345", [make_message(has_media=True)])
    assert [lane.name for lane in traffic.hierarchy.lanes()] == ["72345", "72345 mms"]


def test_a_sender_whose_rest_began_before_its_first_media_rests_for_them_too() -> None:
    fleet = make_fleet([make_sender("72345", 10, mms=10)])
    traffic = Traffic(fleet)
    for lane in traffic.hierarchy.lanes_of("72345"):
        lane.suspension.open_from = traffic.now + 5.0
    traffic.offer("72345", [make_message(has_media=True)])
    traffic.run(4.9)
    assert traffic.departures == []
    traffic.run(0.2)
    assert len(traffic.departures) == 1
