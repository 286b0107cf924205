"""An agenda gives back what a sorted list would, whenever it is asked."""

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from dispatcher.pacing.agenda import SLOT, Agenda

# Many of one slot, some of one time, and steps of every length.
TIMES = st.integers(0, 400).map(lambda number: number * SLOT / 7) | st.just(inf)
STEPS = st.lists(st.lists(TIMES, max_size=20) | st.integers(0, 100).map(lambda number: number * SLOT / 3), max_size=30)


@given(STEPS)
def test_everything_is_taken_out_once_in_order_and_when_it_is_due(steps: list[list[float] | float]) -> None:
    agenda: Agenda[int] = Agenda()
    kept: list[tuple[float, int]] = []
    now, number = 0.0, 0
    for step in steps:
        if isinstance(step, list):
            for when in step:
                agenda.add(when, number)
                kept.append((when, number))
                number += 1
        else:
            now += step
            assert agenda.take(now) == sorted(entry for entry in kept if entry[0] <= now)
            kept = [entry for entry in kept if entry[0] > now]
        assert agenda.next_due == min((when for when, _ in kept), default=inf)
