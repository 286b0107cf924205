from collections import Counter
from typing import Any

import pytest

from dispatcher.bench.promises import Seen
from dispatcher.bench.tally import Tally


def report(messages: int, *, peak: int = 100, cpu: float = 0.0) -> dict[str, Any]:
    flow = {"rate": 100.0, "peak_1s": peak, "largest": 1, "deepest_segments": 1.0}
    return {
        "messages": messages,
        "cpu_seconds": cpu,
        "senders": {"72345": flow},
        "media": {},
        "campaigns": {"promo": {"att": flow, "other": flow}},
        "accounts": {"main": {"refusals": {}}},
    }


def tally(accepted: int, twice: int = 0) -> Tally:
    return Tally(statuses=Counter(accepted=accepted), twice=twice)


def test_what_was_accepted_and_no_more_breaks_no_promise() -> None:
    seen = Seen(report(0), report(500))
    assert list(seen.broken(tally(500), is_shared=False)) == []
    assert seen.foreign(tally(500), 0) == 0


@pytest.mark.parametrize(("in_doubt", "foreign"), [(0, 20), (15, 5), (20, 0), (30, 0)])
def test_messages_of_others_are_those_that_not_even_a_doubt_explains(in_doubt: int, foreign: int) -> None:
    assert Seen(report(70), report(590)).foreign(tally(500), in_doubt) == foreign


def test_an_accepted_message_that_the_stand_in_does_not_know_breaks_a_promise() -> None:
    [trouble] = Seen(report(70), report(569)).broken(tally(500), is_shared=False)
    assert trouble == "500 results say accepted, and the stand-in accepted 499 messages"


def test_a_second_result_breaks_a_promise_wherever_it_was_sent() -> None:
    assert list(Seen().broken(tally(500, twice=2), is_shared=False)) == ["2 jobs have more than one result"]


def test_overruns_break_promises() -> None:
    troubles = list(Seen(report(0), report(500, peak=120)).broken(tally(500), is_shared=False))
    assert [trouble.partition(" got ")[0] for trouble in troubles] == ["72345", "promo/att", "promo/other"]


@pytest.mark.parametrize(
    ("slowed", "blamed"),
    [
        ({"72345": 0.5}, ["promo/att", "promo/other"]),
        ({"promo": 0.5}, ["72345"]),
        ({"promo/att": 0.5, "72345": 0.5}, ["promo/other"]),
    ],
)
def test_who_is_drained_slower_than_configured_is_not_blamed(slowed: dict[str, float], blamed: list[str]) -> None:
    troubles = Seen(report(0), report(500, peak=120), slowed).broken(tally(500), is_shared=False)
    assert [trouble.partition(" got ")[0] for trouble in troubles] == blamed


@pytest.mark.parametrize(("earlier", "is_shared"), [(7, False), (0, True)])
def test_overruns_that_may_be_somebody_elses_are_not_judged(earlier: int, is_shared: bool) -> None:  # noqa: FBT001
    seen = Seen(report(earlier), report(500 + earlier, peak=120))
    assert list(seen.broken(tally(500), is_shared=is_shared)) == []


def test_the_stand_ins_cpu_is_that_of_the_time_it_had_to_do() -> None:
    assert Seen(report(0, cpu=3.0), report(1, cpu=21.0), busy_for=20.0).cpu == pytest.approx(0.9)
    assert Seen().cpu == 0.0
