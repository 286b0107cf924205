from collections import Counter
from itertools import islice
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.bench.load import (
    SEGMENTS_A_MESSAGE,
    URGENT_BOUNDS,
    addressed,
    capacity,
    invented,
    kind_of,
    recipients,
    streams,
)
from dispatcher.domain.errors import DispatcherError
from dispatcher.domain.fleet import CARRIERS, Carrier, Fleet, Pool, SenderKind
from dispatcher.domain.phone import is_e164
from dispatcher.domain.segments import count_segments
from dispatcher.sharding.rendezvous import Ranking
from dispatcher.simulator.line import carrier_of
from tests.unit.pacing.making import make_account, make_fleet, make_sender

MIXED = make_fleet(
    [
        make_sender("72345", 100, prefixes=("+1",)),
        make_sender("+18885550100", 3, prefixes=("+1",)),
        make_sender("+12065550100", a2p="promo", account="promo"),
        make_sender("+12065550101", a2p="promo", account="promo"),
        make_sender("+447400000000", 10, prefixes=("+44", "+353")),
    ],
    accounts=[make_account(), make_account("promo")],
    a2p={"promo": dict(zip(CARRIERS, (40, 40, 20, 10), strict=True))},
    pools=[
        Pool(name="marketing", senders=("72345", "+18885550100", "+12065550100", "+12065550101")),
        Pool(name="otp", senders=("+18885550100", "+447400000000")),
    ],
)
SECONDS = 30.0


def demand(found: Fleet, seconds: float = SECONDS) -> Counter[tuple[str, Carrier | None]]:
    """Where the jobs that wait go, in segments by sender and carrier, when recipients are hashed as they will be."""
    rankings = {
        name: Ranking(pool.senders, [capacity(found, found.senders[number]) for number in pool.senders])
        for name, pool in found.pools.items()
    }
    goes: Counter[tuple[str, Carrier | None]] = Counter()
    for job in invented("bench", found, seconds, Random(1)).waiting:
        senders = [found.senders[found.pools[job.pool].senders[index]] for index in rankings[job.pool].best(job.to)]
        takes = next(one for one in senders if job.to.startswith(one.prefixes))
        goes[takes.number, job.carrier if takes.a2p_campaign else None] += count_segments(job.body or "")
    return goes


def test_every_sender_has_work_for_all_the_time_with_every_carrier() -> None:
    goes = demand(MIXED)
    for number, rate in (("72345", 100), ("+18885550100", 3), ("+447400000000", 10)):
        assert goes[number, None] >= rate * SECONDS, number
    for carrier, rate in zip(CARRIERS, (40, 40, 20, 10), strict=True):
        for number in ("+12065550100", "+12065550101"):
            assert goes[number, carrier] >= rate / 2 * SECONDS, (number, carrier)


def test_a_service_has_work_at_home_and_letters_where_they_reach() -> None:
    fleet = make_fleet(
        [
            make_sender("MG" + "5" * 32, 60, kind=SenderKind.MESSAGING_SERVICE, prefixes=("+1",)),
            make_sender("ACME", 10, kind=SenderKind.ALPHANUMERIC, prefixes=("+44",)),
        ]
    )
    assert {(kind.prefix, kind.segments) for kind in streams(fleet)} == {("+1", 60), ("+44", 10)}
    goes = demand(fleet)
    assert goes["MG" + "5" * 32, None] >= 60 * SECONDS
    assert goes["ACME", None] >= 10 * SECONDS


rates = st.fixed_dictionaries({carrier: st.floats(0.5, 200) for carrier in CARRIERS})


@given(st.floats(0.5, 200), rates, rates)
def test_of_each_carrier_there_is_what_each_campaign_needs(
    shared: float, one: dict[Carrier, float], other: dict[Carrier, float]
) -> None:
    numbers = [make_sender("72345", shared), make_sender("+12065550100", a2p="1"), make_sender("+12065550101", a2p="2")]
    total = shared + sum(one.values()) + sum(other.values())
    for kind in streams(make_fleet(numbers, a2p={"1": one, "2": other})):
        assert kind.carrier is not None
        for needed in (one, other):
            # A campaign's part of what there is, hashed by its rate, is enough for the carrier.
            assert kind.segments * sum(needed.values()) / total >= needed[kind.carrier] * (1 - 1e-9)


def test_without_10dlc_nobody_has_to_know_carriers() -> None:
    found = make_fleet([make_sender("72345", 100)])
    assert {job.carrier for job in invented("bench", found, 1, Random(1)).waiting} == {None}


def test_texts_are_of_one_segment_and_of_several() -> None:
    found = Counter(count_segments(job.body or "") for job in invented("bench", MIXED, SECONDS, Random(1)).waiting)
    assert set(found) == {1, 2, 3}
    mean = sum(segments * jobs for segments, jobs in found.items()) / found.total()
    assert mean == pytest.approx(SEGMENTS_A_MESSAGE, rel=0.01)


def test_all_waiting_and_urgent_jobs_are_others_and_their_ids_say_what_they_are() -> None:
    load = invented("bench", MIXED, SECONDS, Random(1))
    jobs = [*load.waiting, *islice(load.urgent, 500)]
    assert len(jobs) == load.jobs + 500
    assert len({job.id for job in jobs}) == len(jobs)
    assert len({job.body for job in jobs}) == len(jobs)
    for job in jobs:
        assert kind_of(job.id, MIXED) == (job.pool, job.carrier)


def test_urgent_jobs_are_few_beside_the_others_but_never_none() -> None:
    least, most = URGENT_BOUNDS
    for rate, expected in ((0.25, least), (100, 2.0), (100_000, most)):
        found = make_fleet([make_sender("72345", rate)])
        assert invented("bench", found, 1, Random(1)).urgent_rate == expected


@pytest.mark.parametrize("carrier", [*CARRIERS, None])
def test_recipients_are_numbers_that_nobody_has(carrier: Carrier | None) -> None:
    numbers = list(islice(recipients("+1", carrier), 20_000))
    assert len(set(numbers)) == len(numbers)
    for number in numbers:
        assert is_e164(number)
        assert number[5:8] == "555"
        assert number[8:] != "1212"
        assert carrier in {None, carrier_of(number)}


def test_abroad_they_begin_with_zeros() -> None:
    numbers = list(islice(recipients("+44", None), 5000))
    assert len(set(numbers)) == len(numbers)
    assert all(is_e164(number) and number.startswith("+44000") for number in numbers)


def test_recipients_of_a_file_get_one_message_each_and_nobody_else_any(tmp_path: Path) -> None:
    given = [f"+1206555{line}" for line in range(1000, 1100)]
    file = tmp_path / "colleagues.csv"
    file.write_text("to,carrier\n" + "".join(f"{number},att\n" for number in [*given, given[3]]), encoding="utf-8")
    load = addressed("bench", MIXED, file, 30, Random(1))
    waiting, urgent = list(load.waiting), list(load.urgent)
    assert sorted(job.to for job in (*waiting, *urgent)) == given
    assert len(waiting) == load.jobs
    assert len(urgent) == 5
    for job in (*waiting, *urgent):
        assert kind_of(job.id, MIXED) == (job.pool, "att")
        assert count_segments(job.body or "") == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [("to\n", "names no recipient"), ("to\n+1206\n", ":2: to is no number"), ("number\n1\n", 'no column "to"')],
)
def test_a_file_that_names_nobody_is_refused(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "colleagues.csv"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(DispatcherError, match=says):
        addressed("bench", MIXED, file, 30, Random(1))
