"""Counts over spans that end now, held against counting everything again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.domain.counts import NOTHING, Counts, Scope
from dispatcher.tracking.recent import Recent, Step

SPRING = Scope("campaign", "spring")
steps: st.SearchStrategy[Step] = st.sampled_from(["accepted", "left", "delivered", "failed", "refused"])
events = st.lists(
    st.tuples(st.integers(0, 40), st.floats(-12, 0), steps, st.sampled_from([None, 30003, 30007])), max_size=60
)


def count(found: list[tuple[float, Step, int | None]], span: int, now: float) -> Counts:
    kept = [(step, code) for at, step, code in found if int(at) > int(now) - span]
    codes = {code for _, code in kept if code is not None}
    return Counts(
        **{
            name: sum(step == name for step, _ in kept)
            for name in ("accepted", "left", "delivered", "failed", "refused")
        },
        codes={code: sum(code == other for _, other in kept) for code in codes},
    )


@given(events)
def test_every_span_counts_what_came_to_pass_in_it_whatever_order_events_come_in(
    drawn: list[tuple[int, float, Step, int | None]],
) -> None:
    recent, seen, now = Recent([5, 20]), list[tuple[float, Step, int | None]](), 1000.0
    for pause, age, step, code in drawn:
        now += pause / 4
        # What is older than a span when it comes is dropped: here nothing that still counts ever is.
        recent.add(SPRING, step, now + age, code=code)
        seen.append((now + age, step, code))
        for span in (5, 20):
            assert recent.counts(SPRING, span, now) == count(seen, span, now)


def test_scopes_are_told_apart_and_forgotten_when_idle() -> None:
    recent = Recent([10])
    recent.add(SPRING, "delivered", 100.0)
    recent.add(Scope("sender", "spring"), "failed", 105.0, code=30007)
    assert recent.counts(SPRING, 10, 105.0) == Counts(delivered=1)
    assert set(recent.scopes(109.0)) == {SPRING, Scope("sender", "spring")}
    assert recent.scopes(110.5) == [Scope("sender", "spring")]
    assert recent.scopes(200.0) == []
    assert recent.counts(SPRING, 10, 200.0) == NOTHING


@pytest.mark.parametrize(
    ("counts", "share", "failed_share"),
    [
        (Counts(), 0.0, 0.0),
        (Counts(accepted=100, left=90), 0.0, 0.0),
        (Counts(delivered=92, failed=8, codes={30007: 6, 30003: 2}), 0.06, 0.08),
        (Counts(delivered=5, failed=3, refused=2, codes={30007: 1}), 0.1, 0.5),
    ],
)
def test_a_share_is_of_the_messages_that_ended(counts: Counts, share: float, failed_share: float) -> None:
    assert counts.share(30007) == share
    assert counts.failed_share == failed_share
