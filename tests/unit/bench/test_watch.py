from bisect import bisect_left
from itertools import accumulate
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.bench.watch import Watch, percentile
from dispatcher.domain.fleet import CARRIERS, Fleet
from dispatcher.domain.rate import Rate
from tests.unit.engine.stage import TOO_MANY, Stage, declined
from tests.unit.pacing.making import make_account, make_fleet, make_sender

BOUNDS = (0.01, 0.1, 1.0, 10.0, inf)
FAST = make_sender("72345", 10_000)


def histogram(values: list[float]) -> dict[float, float]:
    counts = [0] * len(BOUNDS)
    for value in values:
        counts[bisect_left(BOUNDS, value)] += 1
    return dict(zip(BOUNDS, map(float, accumulate(counts)), strict=True))


values = st.lists(st.floats(0, 20), min_size=1, max_size=50)


@given(before=values, between=values, share=st.floats(0.01, 1))
def test_a_percentile_lies_in_the_bucket_of_its_value_and_forgets_what_was_before(
    before: list[float], between: list[float], share: float
) -> None:
    found = percentile(histogram(before), histogram(before + between), share)
    wanted = sorted(between)[max(0, -int(-share * len(between) // 1) - 1)]
    bucket = bisect_left(BOUNDS, wanted)
    assert found is not None
    assert (0.0, *BOUNDS)[bucket] <= found <= min(BOUNDS[bucket], BOUNDS[-2])


def test_without_values_there_is_no_percentile() -> None:
    assert percentile({}, {}, 0.5) is None
    assert percentile(histogram([1.0]), histogram([1.0]), 0.5) is None


def looked_at(fleet: Fleet, jobs: int = 200, **stage: Any) -> Watch:
    """Let a pipeline work for three seconds on so many jobs, and look at it all the time."""
    played = Stage(fleet, **stage)
    watch = Watch(fleet, played.clock, urgent="urgent")
    watch.begin(played.pipeline)
    for _ in range(jobs):
        played.receive()
    for _ in range(30):
        played.run(0.1)
        watch.look()
    return watch


@pytest.mark.parametrize(
    ("fleet", "stage", "place"),
    [
        (make_fleet([make_sender("72345", 10)]), {}, "sender"),
        (make_fleet([make_sender("72345", 5)]), {"latency": 30.0}, "queue"),
        (make_fleet([FAST], accounts=[make_account(rate=Rate(10, "s"))]), {}, "account"),
        (make_fleet([FAST], family_rate=10), {}, "family"),
        (make_fleet([FAST], accounts=[make_account(concurrency=2)]), {}, "concurrency"),
        (make_fleet([FAST]), {"twilio": lambda _: TOO_MANY}, "concurrency"),
        (make_fleet([FAST]), {"twilio": lambda _: declined(21611, 429)}, "suspended"),
        (make_fleet([FAST]), {"journal": inf}, "journal"),
        (make_fleet([FAST]), {"jobs": 0}, "idle"),
    ],
)
def test_it_sees_where_messages_wait(fleet: Fleet, stage: dict[str, Any], place: str) -> None:
    places = looked_at(fleet, **stage).flows["72345"].places
    assert places.most_common(1)[0][0] == place
    assert places.total() == 30


def test_numbers_of_a_10dlc_campaign_are_one_flow_a_carrier_and_idle_only_together() -> None:
    fleet = make_fleet(
        [make_sender("+12065550100", a2p="acme"), make_sender("+12065550101", a2p="acme")],
        a2p={"acme": dict.fromkeys(CARRIERS, 10.0)},
    )
    played = Stage(fleet)
    watch = Watch(fleet, played.clock, urgent="urgent")
    watch.begin(played.pipeline)
    played.receive(carrier="att")
    played.receive(carrier="att", to="+12065550001")
    played.run()
    watch.look()
    assert {name: set(sight.places) for name, sight in watch.flows.items()} == {
        "acme/att": {"sender"},
        "acme/tmobile": {"idle"},
        "acme/verizon": {"idle"},
        "acme/other": {"idle"},
    }
    assert not watch.is_idle


def test_what_is_in_flight_is_not_done() -> None:
    played = Stage(make_fleet([FAST]), twilio=lambda _: None)
    watch = Watch(make_fleet([FAST]), played.clock, urgent="urgent")
    watch.begin(played.pipeline)
    assert watch.is_idle
    played.receive()
    played.run()
    watch.look()
    assert watch.flows["72345"].places == {"idle": 1}
    assert not watch.is_idle


def test_the_deepest_queue_is_kept_until_it_is_told_to_forget() -> None:
    watch = looked_at(make_fleet([make_sender("72345", 10)]), latency=0.01)
    assert 0 < watch.flows["72345"].deepest <= 0.2
    watch.forget()
    assert watch.flows["72345"].deepest == 0
    assert not watch.flows["72345"].places


def test_it_reads_what_the_worker_counts() -> None:
    fleet = make_fleet([make_sender("72345", 1000)])
    watch = looked_at(fleet, jobs=0)
    before = watch.read()
    watch = looked_at(fleet, jobs=50)
    after = watch.read()
    assert after.received - before.received == 50
    assert sum(after.of("accepted")) - sum(before.of("accepted")) == 50
    assert after.answered["main"][inf] - before.answered["main"].get(inf, 0) == 50
    assert percentile(before.answered["main"], after.answered["main"], 0.5) == pytest.approx(0.1, abs=0.05)
    assert watch.is_idle
    assert 10 <= watch.at_once()["main"] <= 80
