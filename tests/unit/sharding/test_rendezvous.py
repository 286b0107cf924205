import subprocess
import sys
from collections import Counter
from math import sqrt
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.sharding import rendezvous
from dispatcher.sharding.rendezvous import CHOICES, MOST_ONE_BY_ONE, Ranking

recipients = st.integers(2_000_000_000, 9_999_999_999).map(lambda number: f"+1{number}")
names = st.lists(st.integers(10_000, 99_999).map(str), min_size=1, max_size=20, unique=True)
# So many that they are drawn by groups, also when some of them go.
many_names = st.lists(
    st.integers(10_000, 99_999).map(str), min_size=MOST_ONE_BY_ONE + 2, max_size=3 * MOST_ONE_BY_ONE, unique=True
)


def some_recipients(many: int, seed: int = 0) -> list[str]:
    random = Random(seed)
    return [f"+1{random.randrange(2_000_000_000, 9_999_999_999)}" for _ in range(many)]


def first_of(ranking: Ranking, recipient: str) -> int:
    return next(iter(ranking.best(recipient)))


@given(names, recipients)
def test_who_weighs_alike_is_ranked_as_if_weighed(names: list[str], recipient: str) -> None:
    """Equal weights are not weighed; a last name that is all but weightless has the others weighed, and comes last."""
    alike = Ranking(names, [3.0] * len(names))
    weighed = Ranking([*names, "last"], [3.0] * len(names) + [1e-12])
    assert [*weighed.best(recipient), *weighed.others(recipient)] == [
        *alike.best(recipient),
        *alike.others(recipient),
        len(names),
    ]


@pytest.mark.parametrize(
    "weights",
    [(1, 1), (100, 3), (100, 100, 3, 3, 75, 10), (1,), (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11), (*range(1, 50),) * 2],
    ids=len,
)
def test_each_sender_gets_recipients_by_its_rate(weights: tuple[int, ...]) -> None:
    many = 40_000
    ranking = Ranking([f"7234{index}" for index in range(len(weights))], weights)
    first = Counter(first_of(ranking, recipient) for recipient in some_recipients(many))
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


@pytest.mark.parametrize("gone", ["7000", "7031", "7063"])
def test_when_one_of_many_goes_hardly_any_but_its_own_recipients_move(gone: str) -> None:
    names = [str(7000 + number) for number in range(64)]
    left = [name for name in names if name != gone]
    before, after = Ranking(names, [1.0] * 64), Ranking(left, [1.0] * 63)
    many = some_recipients(20_000)
    owners = [(names[first_of(before, recipient)], left[first_of(after, recipient)]) for recipient in many]
    moved = sum(own not in {gone, then} for own, then in owners)
    # Those who leave its groups, which have become lighter.
    assert moved / len(many) <= 2 / 64


def test_the_recipients_of_one_of_many_that_goes_are_spread_over_the_others() -> None:
    ranking = Ranking([f"7{number}" for number in range(64)], [1.0] * 64)
    ranked = [tuple(ranking.best(recipient))[:2] for recipient in some_recipients(40_000)]
    second = Counter(other for own, other in ranked if own == 7)
    assert len(second) >= 60


def test_each_of_thousands_is_the_next_choice_of_as_many_recipients_as_its_rate_says() -> None:
    """Also one that hardly any recipient draws first: it has nothing to do but what is too much for others."""
    weights = [1.0 + index % 2 for index in range(2000)]
    ranking = Ranking([f"+1206{index:07}" for index in range(2000)], weights)
    next_three = Counter(other for recipient in some_recipients(80_000) for other in [*ranking.best(recipient)][1:4])
    for index, weight in enumerate(weights):
        fair = 3 * 80_000 * weight / sum(weights)
        assert next_three[index] == pytest.approx(fair, rel=5 / sqrt(fair))


@settings(max_examples=50, deadline=None)
@given(names=st.one_of(names, many_names), recipient=recipients)
def test_every_sender_is_ranked_once(names: list[str], recipient: str) -> None:
    ranking = Ranking(names, [1.0] * len(names))
    best, others = tuple(ranking.best(recipient)), ranking.others(recipient)
    assert len(best) == min(CHOICES, len(names))
    assert sorted((*best, *others)) == list(range(len(names)))


@given(names=st.one_of(names, many_names), recipient=recipients, seed=st.integers(0, 100))
def test_the_order_in_the_config_does_not_matter(names: list[str], recipient: str, seed: int) -> None:
    shuffled = list(names)
    Random(seed).shuffle(shuffled)
    ranked = names[first_of(Ranking(names, [1.0] * len(names)), recipient)]
    assert shuffled[first_of(Ranking(shuffled, [1.0] * len(names)), recipient)] == ranked


def test_every_process_ranks_alike() -> None:
    program = """
from dispatcher.sharding.rendezvous import Ranking
ranking = Ranking(["72345", "+18885550100", "+12065550100"], [100.0, 3.0, 75.0])
print([[*ranking.best(f"+1206555{number:04}")] for number in range(500)])
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
    here = str([[*ranking.best(f"+1206555{number:04}")] for number in range(500)])
    assert outputs == {f"{here}\n".encode()}


@pytest.mark.parametrize("byte", [b"\x00", b"\xff"])
def test_the_lowest_and_the_highest_draw_are_scores_too(monkeypatch: pytest.MonkeyPatch, byte: bytes) -> None:
    monkeypatch.setattr(rendezvous, "_hash", lambda _: int.from_bytes(byte * 8, "big"))
    assert sorted(Ranking(["72345", "72346"], [1.0, 2.0]).best("+12065550142")) == [0, 1]
