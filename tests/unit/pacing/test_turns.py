"""Several workers share a limit: what each of them does alone, held against what they do together."""

from collections import deque
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.pacing.gates import HEADROOM, QueueGate, RateGate
from dispatcher.pacing.turns import Share, Turns

NOW = 1_000_000.0
rates = st.floats(0.2, 500)


@st.composite
def splits(draw: st.DrawFn) -> list[Share]:
    """Split some indices among workers as the group does (side by side), or in any other way."""
    of = draw(st.integers(2, 40))
    workers = draw(st.integers(2, min(of, 6)))
    indices = list(range(of))
    if draw(st.booleans()):
        Random(draw(st.integers(0, 99))).shuffle(indices)
    cuts = sorted(draw(st.sets(st.integers(1, of - 1), min_size=workers - 1, max_size=workers - 1)))
    epoch = draw(st.floats(-1e9, 0))
    return [Share(frozenset(indices[a:b]), of, epoch) for a, b in pairwise([0, *cuts, of])]


def even_split(workers: int, of: int = 12) -> list[Share]:
    each = of // workers
    return [Share(frozenset(range(number * each, (number + 1) * each)), of, -1.7e9) for number in range(workers)]


@given(split=splits(), rate=rates, after=st.floats(0, 1e5))
def test_each_turn_is_one_workers(split: list[Share], rate: float, after: float) -> None:
    middle = NOW + after
    everybodys = [Turns(share, rate) for share in split]
    begun = sorted(turns.begins(turns.next(middle) + ahead) for turns in everybodys for ahead in range(3))
    assert len(begun) == 3 * len(split)
    for before, following in pairwise(begun):
        assert following - before >= (1 - 1e-3) / rate


@given(split=splits(), rate=rates, number=st.integers(0, 10**7))
def test_turns_are_counted_as_they_come(split: list[Share], rate: float, number: int) -> None:
    turns = Turns(split[0], rate)
    begins = turns.begins(number)
    assert turns.next(begins) == number
    assert turns.next(begins - 0.9 / rate) == number
    assert turns.next(begins + 0.001 / rate) == number + 1
    assert turns.begins(number - 0.5) == begins


@pytest.mark.parametrize("workers", [2, 3, 4, 6, 12])
def test_a_workers_turns_are_spread_over_the_round(workers: int) -> None:
    for share in even_split(workers):
        turns = Turns(share, 1.0)
        gaps = [turns.begins(number + 1) - turns.begins(number) for number in range(24)]
        assert max(gaps) <= 2 * workers


def send_together(
    split: list[Share], rate: float, offered: list[tuple[int, float]], *, seconds: float, late: float, random: Random
) -> list[tuple[float, int]]:
    """Let workers send what each is *offered* (its number, and when) by a sender of *rate*; return who sent when."""
    gates = [RateGate("sender", rate, by_turns=True) for _ in split]
    for gate, share in zip(gates, split, strict=True):
        gate.share(share, NOW)
    sent = []
    for worker, gate in enumerate(gates):
        now = NOW
        for _, at in sorted((each for each in offered if each[0] == worker), key=lambda each: each[1]):
            now = max(now, NOW + at)
            while (opens_at := gate.opens_at(now)) > now:
                now = opens_at + random.uniform(0, late)
            if now > NOW + seconds:
                break
            gate.take(1, now)
            sent.append((now, worker))
    return sorted(sent)


def peak(sent: list[tuple[float, int]]) -> int:
    """Return how many messages the fullest second holds."""
    most = first = 0
    for last, (at, _) in enumerate(sent):
        while sent[first][0] <= at - 1.0:
            first += 1
        most = max(most, last - first + 1)
    return most


@settings(max_examples=150, deadline=None)
@given(split=splits(), rate=st.floats(0.2, 60), pauses=st.lists(st.floats(0, 20), max_size=4), seed=st.integers(0, 999))
def test_together_workers_never_drive_a_sender_over_its_rate(
    split: list[Share], rate: float, pauses: list[float], seed: int
) -> None:
    """Also when all of them get something to send in the same moment, after a pause."""
    starts = [sum(pauses[:number]) for number in range(len(pauses) + 1)]
    offered = [(worker, at) for worker in range(len(split)) for at in starts for _ in range(int(3 * rate) + 2)]
    sent = send_together(split, rate, offered, seconds=100, late=0.015, random=Random(seed))
    assert peak(sent) <= rate * 1.05 + 1


@settings(max_examples=100, deadline=None)
@given(split=splits(), rate=st.floats(0.2, 100), seed=st.integers(0, 999))
def test_together_workers_use_the_whole_rate(split: list[Share], rate: float, seed: int) -> None:
    seconds = max(20.0, 60 * split[0].of / rate)
    wanted = rate * HEADROOM * seconds
    offered = [(worker, 0.0) for worker in range(len(split)) for _ in range(int(wanted) + 1)]
    sent = send_together(split, rate, offered, seconds=seconds, late=0.015, random=Random(seed))
    assert len(sent) >= 0.98 * wanted - len(split) - split[0].of


@settings(max_examples=100, deadline=None)
@given(split=splits(), rate=st.floats(0.2, 500), latency=st.floats(0.0, 0.9))
def test_the_modelled_queue_costs_a_worker_none_of_its_turns(split: list[Share], rate: float, latency: float) -> None:
    share = split[0]
    sender, queue = RateGate("sender", rate, by_turns=True), QueueGate(rate, 1.0)
    for gate in (sender, queue):
        gate.share(share, NOW)
    now = NOW
    answers: deque[float] = deque()
    for _ in range(3 * share.of):
        now = turn = max(now, sender.opens_at(now))
        while answers and answers[0] <= now:
            queue.model.accept(1, answers.popleft())
        assert queue.opens_at(now) <= now, turn
        for gate in (sender, queue):
            gate.take(1, now)
        answers.append(now + latency)


def test_who_is_alone_needs_no_turns() -> None:
    assert Share(frozenset(range(12)), 12).turns(1.0) is None
