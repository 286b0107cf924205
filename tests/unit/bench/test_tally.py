from collections.abc import Iterator
from datetime import UTC, datetime

from dispatcher.bench.tally import Tally
from dispatcher.domain.fleet import CARRIERS, Pool
from dispatcher.domain.outcome import Position, Result, Status
from tests.unit.pacing.making import make_account, make_fleet, make_sender

FLEET = make_fleet(
    [make_sender("72345", 100), make_sender("+12065550100", a2p="acme", account="promo")],
    accounts=[make_account(), make_account("promo")],
    a2p={"acme": dict.fromkeys(CARRIERS, 10.0)},
    pools=[Pool(name="marketing", senders=("72345", "+12065550100")), Pool(name="a-b", senders=("72345",))],
)


def result(
    job: str, at: float, *, sender: str | None = "72345", segments: int = 1, status: Status = "accepted"
) -> Result:
    shown = datetime.fromtimestamp(at, UTC).isoformat()
    position = Position("jobs", 0, 0)
    return Result(
        id=job, campaign="bench", to="+12065550142", status=status, sender=sender, segments=segments, job=position,
        at=shown,
    )  # fmt: skip


def results() -> Iterator[Result]:
    yield result("bench-1-0-att", 999.9, segments=4)
    yield result("bench-2-0-att", 1000.0, segments=2)
    yield result("bench-3-0-att", 1001.0, sender="+12065550100", segments=3)
    yield result("bench-4-0-unknown", 1002.0, sender="+12065550100")
    yield result("bench-5-1-unknown", 1009.9)
    yield result("bench-6-1-unknown", 1010.0)
    yield result("bench-7-1-unknown", 1005.0, status="refused", segments=0)
    yield result("bench-8-1-unknown", 1005.0, sender=None, status="refused")
    yield result("bench-5-1-unknown", 1010.5)


def tally() -> Tally:
    found = Tally()
    for one in results():
        found.add(one, FLEET, since=1000.0, until=1010.0)
    return found


def test_what_was_accepted_in_the_time_that_counts_is_summed_up_by_all_that_limits_it() -> None:
    found = tally()
    assert {name: (sums.segments, sums.messages) for name, sums in found.flows.items()} == {
        "72345": (3, 2),
        "acme/att": (3, 1),
        "acme/unknown": (1, 1),
    }
    assert found.accounts == {"main": 2, "promo": 2}
    assert found.pools == {"marketing": 6, "a-b": 1}


def test_all_results_count_for_the_promises() -> None:
    found = tally()
    assert found.statuses == {"accepted": 7, "refused": 2}
    assert found.twice == 1
    assert found.largest == 4
