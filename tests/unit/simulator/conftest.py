from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from dispatcher.domain.fleet import A2PCampaign, Account, Brand, Fleet, Pool, Secret, Sender, SenderKind
from dispatcher.domain.rate import Rate
from dispatcher.simulator.almanac import Almanac
from dispatcher.simulator.carrier import Carriers
from dispatcher.simulator.message import Submission

MAIN = "AC" + "1" * 32
PROMO = "AC" + "2" * 32


@pytest.fixture(scope="session")
def fleet() -> Fleet:
    """A short code, two numbers of a 10DLC campaign in a subaccount, and a toll-free number."""
    return Fleet(
        accounts={
            "main": Account(name="main", sid=MAIN, auth_token=Secret("main-token")),
            "promo": Account(
                name="promo",
                sid=PROMO,
                auth_token=Secret("promo-token"),
                api_key_sid="SK" + "3" * 32,
                api_key_secret=Secret("key-secret"),
                parent="main",
            ),
        },
        senders={
            "72345": Sender(number="72345", kind=SenderKind.SHORT_CODE, account="main", rate=Rate(10, "s")),
            "+18885550100": Sender(
                number="+18885550100", kind=SenderKind.TOLL_FREE, account="main", rate=Rate(0.001, "s")
            ),
            "+12065550100": Sender(
                number="+12065550100", kind=SenderKind.LONG_CODE, account="promo", a2p_campaign="promo-10dlc"
            ),
            "+12065550101": Sender(
                number="+12065550101", kind=SenderKind.LONG_CODE, account="promo", a2p_campaign="promo-10dlc"
            ),
        },
        a2p_campaigns={
            "promo-10dlc": A2PCampaign(
                name="promo-10dlc",
                brand="acme",
                rates={"att": Rate(4, "s"), "tmobile": Rate(2, "s"), "verizon": Rate(4, "s"), "other": Rate(1, "s")},
            )
        },
        brands={"acme": Brand(name="acme", tmobile_daily_cap=5)},
        pools={
            "marketing": Pool(name="marketing", senders=("72345", "+18885550100")),
            "slow": Pool(name="slow", senders=("+18885550100",)),
        },
        family_rate=Rate(100, "s"),
    )


@pytest.fixture
def make_carriers(fleet: Fleet) -> Callable[..., Carriers]:
    """Make carriers whose monotonic clock starts at 0 at 23:59 US Pacific, and that deliver everything."""

    def make(**changes: Any) -> Carriers:
        almanac = Almanac(monotonic=0.0, wall=datetime(2026, 11, 24, 7, 59, tzinfo=UTC))
        settings: dict[str, Any] = {"seed": 1, "undelivered_share": 0.0, "factors": {}} | changes
        return Carriers(settings.pop("fleet", fleet), almanac=almanac, **settings)

    return make


@pytest.fixture
def carriers(make_carriers: Callable[..., Carriers]) -> Carriers:
    return make_carriers()


@pytest.fixture(scope="session")
def submission() -> Callable[..., Submission]:
    """Make a submission of one segment from the short code to AT&T, but for what is given."""

    def make(**changes: Any) -> Submission:
        return Submission(
            **{
                "account": MAIN,
                "to": "+12065550140",
                "sender": "72345",
                "service": None,
                "body": "Hi",
                "segments": 1,
                "media": 0,
                "validity": 36_000,
                "callback": "http://127.0.0.1:1/status?mid=m1&a=1",
                "mid": None,
                "attempt": None,
            }
            | changes
        )

    return make
