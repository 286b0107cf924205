from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.domain.fleet import (
    CARRIERS,
    DEFAULT_MMS_RATES,
    A2PCampaign,
    Account,
    Brand,
    Carrier,
    Fleet,
    Pool,
    Secret,
    Sender,
    SenderKind,
)
from dispatcher.domain.rate import Rate
from dispatcher.publishing.estimate import Estimate, estimate


def rates(att: float, tmobile: float, verizon: float, other: float) -> Mapping[Carrier, Rate]:
    return {carrier: Rate(rate, "s") for carrier, rate in zip(CARRIERS, (att, tmobile, verizon, other), strict=True)}


def sender(number: str, rate: float | None = None, campaign: str | None = None, account: str = "main") -> Sender:
    return Sender(
        number=number,
        kind=SenderKind.LONG_CODE if campaign else SenderKind.SHORT_CODE,
        account=account,
        rate=None if rate is None else Rate(rate, "s"),
        a2p_campaign=campaign,
    )


def needed(
    senders: list[Sender],
    segments: Mapping[Carrier | None, int],
    *,
    messages: int = 0,
    throttle: Rate | None = None,
    account_rate: Rate | None = None,
    a2p: Mapping[Carrier, Rate] | None = None,
) -> Estimate:
    accounts = {
        "main": Account(name="main", sid="AC1", auth_token=Secret("x"), rate=account_rate),
        "promo": Account(name="promo", sid="AC2", auth_token=Secret("x"), parent="main"),
        "apart": Account(name="apart", sid="AC3", auth_token=Secret("x"), rate=account_rate),
    }
    fleet = Fleet(
        accounts=accounts,
        senders={sender.number: sender for sender in senders},
        a2p_campaigns={"a2p": A2PCampaign(name="a2p", brand="acme", rates=a2p)} if a2p else {},
        brands={"acme": Brand(name="acme")},
        pools={},
    )
    pool = Pool(name="marketing", senders=tuple(sender.number for sender in senders))
    return estimate(pool, fleet, segments, messages=messages, throttle=throttle)


def test_senders_share_the_work() -> None:
    found = needed([sender("1", 100), sender("2", 3)], {None: 10_300})

    assert found.seconds == pytest.approx(100)
    assert found.bottleneck == 'the senders of the pool "marketing"'


def test_more_numbers_make_a_10dlc_campaign_no_faster() -> None:
    a2p = rates(75, 75, 75, 10)
    one = needed([sender("1", campaign="a2p")], {"att": 7500}, a2p=a2p)
    three = needed([sender(number, campaign="a2p") for number in "123"], {"att": 7500}, a2p=a2p)

    assert one.seconds == three.seconds == pytest.approx(100)


def test_each_carrier_has_its_own_rate_in_a_10dlc_campaign() -> None:
    found = needed(
        [sender("1", campaign="a2p")],
        {"att": 7500, "tmobile": 7500, "verizon": 100, "other": 2000},
        a2p=rates(75, 75, 75, 10),
    )

    assert found.seconds == pytest.approx(200)
    assert found.bottleneck == 'the senders of the pool "marketing" to other'


def test_other_senders_take_what_the_slowest_carriers_leave() -> None:
    # 100/s for all, and 50/s for each of the big three: in 40 s, att and tmobile leave 2,000 each to the short code.
    found = needed(
        [sender("1", 100), sender("2", campaign="a2p")],
        {"att": 4000, "tmobile": 4000, "verizon": 1000},
        a2p=rates(50, 50, 50, 10),
    )

    assert found.seconds == pytest.approx(40)
    assert found.bottleneck == 'the senders of the pool "marketing" to att and tmobile'


def test_an_unknown_carrier_takes_room_at_all_of_them() -> None:
    found = needed([sender("1", campaign="a2p")], {None: 100}, a2p=rates(75, 75, 75, 10))

    assert found.seconds == pytest.approx(10)


def test_the_campaigns_own_rate_can_be_what_holds_it_up() -> None:
    found = needed([sender("1", 100)], {None: 1000}, throttle=Rate(50, "s"))

    assert found == Estimate(20, "the campaign's own rate, 50/s")


def test_twilio_limits_an_account_and_its_subaccounts_together() -> None:
    found = needed([sender("1", 9000), sender("2", 9000, account="promo")], {None: 4000}, messages=4000)

    assert found == Estimate(2, "the 2000/s messages of an account and its subaccounts")
    assert needed([sender("1", 9000), sender("2", 9000, account="apart")], {None: 4000}, messages=4000).seconds == 1


def test_an_accounts_messages_a_second_count_when_every_account_has_them() -> None:
    limited = needed([sender("1", 100)], {None: 100}, messages=100, account_rate=Rate(10, "s"))
    free = needed(
        [sender("1", 100), sender("2", 100, account="promo")], {None: 100}, messages=100, account_rate=Rate(10, "s")
    )

    assert limited == Estimate(10, "the messages a second of main")
    assert free.seconds == pytest.approx(0.5)


demands = st.dictionaries(st.sampled_from([*CARRIERS, None]), st.integers(0, 10**7), min_size=1)
speeds = st.floats(0.25, 500)


@given(demands, speeds, st.tuples(speeds, speeds, speeds, speeds))
def test_the_time_is_enough_and_no_less_would_be(
    segments: Mapping[Carrier | None, int], shared: float, apart: tuple[float, float, float, float]
) -> None:
    """Held against the bound that each set of carriers sets: its segments over all that can carry them."""
    found = needed([sender("1", shared), sender("2", campaign="a2p")], segments, a2p=rates(*apart))

    known = {carrier: segments.get(carrier, 0) for carrier in CARRIERS}
    bounds = []
    for mask in range(1, 16):
        members = [index for index in range(4) if mask >> index & 1]
        demand = sum(known[CARRIERS[index]] for index in members)
        bounds.append(demand / (shared + sum(apart[index] for index in members)))
    if not segments.get(None):
        assert found.seconds == pytest.approx(max(bounds), rel=1e-6, abs=1e-9)
    else:
        assert found.seconds >= max(bounds) * (1 - 1e-6)
        assert found.seconds <= sum(segments.values()) / shared * (1 + 1e-6)


@pytest.mark.parametrize(
    ("kind", "numbers", "seconds", "bottleneck"),
    [
        (SenderKind.SHORT_CODE, 1, 250.0, 'the senders of the pool "marketing"'),
        (SenderKind.SHORT_CODE, 2, 125.0, 'the senders of the pool "marketing"'),
        # However many there are.
        (
            SenderKind.TOLL_FREE,
            4,
            400.0,
            "the messages with media of all toll_free senders of an account and its subaccounts",
        ),
    ],
)
def test_media_take_what_their_senders_and_their_family_have_of_them(
    kind: SenderKind, numbers: int, seconds: float, bottleneck: str
) -> None:
    senders = [
        replace(sender(f"7234{place}", 1000), kind=kind, mms_rate=DEFAULT_MMS_RATES[kind], media_prefixes=("+1",))
        for place in range(numbers)
    ]
    fleet = Fleet(
        accounts={"main": Account(name="main", sid="AC1", auth_token=Secret("x"))},
        senders={one.number: one for one in (*senders, sender("72350", 1000))},
        a2p_campaigns={},
        brands={},
        pools={},
    )
    pool = Pool(name="marketing", senders=tuple(fleet.senders))
    found = estimate(pool, fleet, {None: 10_000}, messages=10_000, has_media=True)
    assert found.seconds == pytest.approx(seconds)
    assert found.bottleneck == bottleneck
