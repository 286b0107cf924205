from io import StringIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from dispatcher.bench.drive import Progress
from dispatcher.bench.findings import Verdict
from dispatcher.bench.report import Report, fields, report_on
from dispatcher.cli.bench import headline, print_report
from dispatcher.domain.fleet import CARRIERS, Pool
from tests.unit.bench.making import account, flow, measured
from tests.unit.pacing.making import make_account, make_fleet, make_sender

FLEET = make_fleet(
    [
        make_sender("72345", 100),
        make_sender("+18885550100", 3),
        make_sender("+12065550100", a2p="acme", account="promo"),
    ],
    accounts=[make_account(), make_account("promo")],
    a2p={"acme": dict.fromkeys(CARRIERS, 10.0)},
    pools=[
        Pool(name="marketing", senders=("72345", "+18885550100", "+12065550100")),
        Pool(name="otp", senders=("+18885550100",)),
    ],
)


def report(*, short: bool = False, troubles: tuple[str, ...] = (), is_judged: bool = True, **changes: Any) -> Report:
    flows = [
        flow(segments=500 if short else 1000, messages=700, places={"account": 40}, deepest=0.1),
        flow(name="+18885550100", configured=3.0, segments=30, messages=30, pools=("marketing", "otp"), deepest=0.9),
        *[
            flow(name=f"acme/{carrier}", account="promo", configured=10.0, segments=100, messages=70)
            for carrier in CARRIERS
        ],
    ]
    accounts = {"main": account(throttled=2), "promo": account(name="promo", typical=None)}
    found = measured(*flows, accounts=accounts, pools={"marketing": 1515, "otp": 15}, **changes)
    return report_on(Verdict(measured=found, troubles=troubles, is_judged=is_judged), FLEET)


def printed(found: Report) -> str:
    console = Console(file=StringIO(), width=80)
    print_report(found, console, is_terminal=False)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_there_is_a_row_for_each_sender_campaign_and_carrier_account_and_pool() -> None:
    rows = {(row.kind, row.name): (row.configured, row.reached, row.bound_by) for row in report(short=True).rows}
    assert rows == {
        ("sender", "72345"): (100, 50, "account"),
        ("sender", "+18885550100"): (3, 3, "sender"),
        **{("campaign", f"acme/{carrier}"): (10, 10, "sender") for carrier in CARRIERS},
        ("account", "main"): (103, 53, "account"),
        ("account", "promo"): (40, 40, "sender"),
        # The toll-free number is shared by both pools.
        ("pool", "marketing"): (141.5, 151.5, "account"),
        ("pool", "otp"): (1.5, 1.5, "sender"),
    }


@pytest.mark.parametrize(
    ("given", "code"),
    [({}, 0), ({"short": True}, 2), ({"troubles": ("72345 got 130 segments",)}, 1),
     ({"short": True, "troubles": ("72345 got 130 segments",)}, 1)],
)  # fmt: skip
def test_the_exit_code_says_how_it_went(given: dict[str, Any], code: int) -> None:
    assert report(**given).exit_code == code
    assert fields(report(**given))["exit_code"] == code


def test_a_pipe_gets_whole_lines() -> None:
    lines = printed(report(short=True, urgent=(0.012, 0.345), urgent_messages=60)).splitlines()
    assert lines[1].split() == ["72345", "100/s", "50.0/s", "50%", "account's", "rate", "0.10", "s"]
    assert any(line.startswith("account promo ") for line in lines)
    assert "Answers to account main: 100 ms (p50), 200 ms (p99); 2 x 429, 0 in doubt, 20 at once." in lines
    assert "60 urgent messages beside them: 12 ms (p50), 345 ms (p99) from the append to Kafka to the request." in lines
    assert lines[-1].startswith("Change accounts.main.rate: the senders of account main would need ")


def test_of_many_senders_those_that_fell_short_are_shown() -> None:
    numbers = [f"72{number}" for number in range(300, 400)]
    flows = [flow(name=number, segments=1000 if number != "72350" else 500) for number in numbers]
    fleet = make_fleet([make_sender(number, 100) for number in numbers])
    verdict = Verdict(measured=measured(*flows), troubles=(), is_judged=True)
    found = report_on(verdict, fleet)
    assert len(found.rows) == 102
    lines = printed(found).splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["72350", "account", "pool"]
    assert lines[4] == "99 more are not shown here; --json has them."


@pytest.mark.parametrize(
    ("given", "last"),
    [
        ({}, "Every sender reached its rate; none was overrun."),
        ({"is_judged": False}, "Every sender reached its rate; a stand-in not used before would tell of overruns."),
        ({"troubles": ("72345 got [130] segments",)}, "Not as promised: 72345 got [130] segments."),
    ],
)
def test_the_last_line_is_the_verdict(given: dict[str, Any], last: str) -> None:
    assert printed(report(**given)).splitlines()[-1] == last


@given(done=st.floats(0, 600), total=st.floats(1, 600), rate=st.floats(0, 20_000))
def test_how_far_it_is_fits_into_a_line(done: float, total: float, rate: float) -> None:
    for progress in (
        Progress("Measuring", done, total, rate),
        Progress("Publishing", done, total),
        Progress("X", 0, 0),
    ):
        assert len(headline(progress)) < 80
