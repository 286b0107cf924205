import subprocess
import sys
from collections import Counter
from math import sqrt
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.sharding import rendezvous
from dispatcher.sharding.rendezvous import CHOICES, Ranking

recipients = st.integers(2_000_000_000, 9_999_999_999).map(lambda number: f"+1{number}")
names = st.lists(st.integers(10_000, 99_999).map(str), min_size=1, max_size=20, unique=True)


def some_recipients(many: int, seed: int = 0) -> list[str]:
    random = Random(seed)
    return [f"+1{random.randrange(2_000_000_000, 9_999_999_999)}" for _ in range(many)]


@pytest.mark.parametrize(
    "weights", [(1, 1), (100, 3), (100, 100, 3, 3, 75, 10), (1,), (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)]
)
def test_each_sender_gets_recipients_by_its_rate(weights: tuple[int, ...]) -> None:
    many = 40_000
    ranking = Ranking([f"7234{index}" for index in range(len(weights))], weights)
    first = Counter(ranking.best(recipient)[0] for recipient in some_recipients(many))
    for index, weight in enumerate(weights):
        share = weight / sum(weights)
        # Five standard deviations of so many throws, and of the slots that recipients fall into first.
        tolerance = 5 * sqrt(share * (1 - share)) * (1 / sqrt(many) + 1 / sqrt(rendezvous.SLOTS))
        assert first[index] / many == pytest.approx(share, abs=tolerance + 1e-9)


@settings(max_examples=50, deadline=None)
@given(names=names, recipients=st.lists(recipients, min_size=1, max_size=50), data=st.data())
def test_when_a_sender_goes_only_its_own_recipients_move(
    names: list[str], recipients: list[str], data: st.DataObject
) -> None:
    gone = data.draw(st.sampled_from(names))
    left = [name for name in names if name != gone]
    weights = {name: 1.0 + int(name) % 100 for name in names}
    before = Ranking(names, [weights[name] for name in names])
    after = Ranking(left, [weights[name] for name in left])
    for recipient in recipients:
        order_before = [names[index] for index in (*before.best(recipient), *before.others(recipient))]
        order_after = [left[index] for index in (*after.best(recipient), *after.others(recipient))]
        assert order_after == [name for name in order_before if name != gone]


@settings(max_examples=50, deadline=None)
@given(names=names, recipient=recipients)
def test_every_sender_is_ranked_once(names: list[str], recipient: str) -> None:
    ranking = Ranking(names, [1.0] * len(names))
    best, others = ranking.best(recipient), ranking.others(recipient)
    assert len(best) == min(CHOICES, len(names))
    assert sorted((*best, *others)) == list(range(len(names)))


@given(names=names, recipient=recipients, seed=st.integers(0, 100))
def test_the_order_in_the_config_does_not_matter(names: list[str], recipient: str, seed: int) -> None:
    shuffled = list(names)
    Random(seed).shuffle(shuffled)
    ranked = names[Ranking(names, [1.0] * len(names)).best(recipient)[0]]
    assert shuffled[Ranking(shuffled, [1.0] * len(names)).best(recipient)[0]] == ranked


def test_every_process_ranks_alike() -> None:
    program = """
from dispatcher.sharding.rendezvous import Ranking
ranking = Ranking(["72345", "+18885550100", "+12065550100"], [100.0, 3.0, 75.0])
print([ranking.best(f"+1206555{number:04}") for number in range(500)])
"""
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    ranking = Ranking(["72345", "+18885550100", "+12065550100"], [100.0, 3.0, 75.0])
    here = str([ranking.best(f"+1206555{number:04}") for number in range(500)])
    assert outputs == {f"{here}\n".encode()}


def test_the_highest_draw_there_can_be_is_a_score_too(monkeypatch: pytest.MonkeyPatch) -> None:
    class Highest:
        def __init__(self, *_: Any, **__: Any) -> None: ...

        def digest(self) -> bytes:
            return b"\xff" * 8

    monkeypatch.setattr(rendezvous, "blake2b", Highest)
    assert Ranking(["72345", "72346"], [1.0, 2.0]).best("+12065550142") == (1, 0)
