"""What stands still is found, whatever else moves; what moved, or had no need to, is never called stuck."""

from collections.abc import Hashable
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from dispatcher.intake.watchdog import PATIENCE, RELAPSE, Mechanism, Watchdog

Thing = tuple[Mechanism, Hashable]
Sight = dict[Thing, object]
THINGS: st.SearchStrategy[Thing] = st.tuples(st.sampled_from(Mechanism), st.integers(0, 1))
# A thing's progress is drawn from few values, so that it often stays; None is a progress too: an unknown position.
SIGHTS: st.SearchStrategy[Sight] = st.dictionaries(THINGS, st.sampled_from([None, 0, 0, 0, 1]), max_size=4)
# Long stretches of the same sight, with changes between them.
STORIES = st.lists(st.tuples(SIGHTS, st.integers(1, PATIENCE + 2)), min_size=1, max_size=5).map(
    lambda stretches: [sight for sight, times in stretches for _ in range(times)]
)


def stood_still(sights: list[Sight], thing: Thing) -> bool:
    """Whether *thing* had to move at each of the last looks, and did not."""
    latest = sights[-PATIENCE - 1 :]
    return (
        len(latest) > PATIENCE
        and all(thing in sight for sight in latest)
        and all(before[thing] == after[thing] for before, after in pairwise(latest))
    )


@given(STORIES)
def test_stuck_is_what_had_to_move_at_so_many_looks_in_a_row_and_did_not(
    sights: list[Sight],
) -> None:
    watchdog = Watchdog()
    for count, sight in enumerate(sights, start=1):
        stuck = {thing[0] for thing in sight if stood_still(sights[:count], thing)}
        first = next((mechanism for mechanism in Mechanism if mechanism in stuck), None)
        assert watchdog.look(sight) is first


@given(STORIES)
def test_another_consumer_starts_with_a_clean_sheet(sights: list[Sight]) -> None:
    watchdog, fresh = Watchdog(), Watchdog()
    for sight in sights:
        watchdog.look(sight)
    watchdog.may_replace(Mechanism.GROUP, has_worked=True)
    for sight in sights:
        assert watchdog.look(sight) is fresh.look(sight)


@given(st.integers(0, 2 * RELAPSE), st.sampled_from(Mechanism), st.booleans())
def test_a_second_replacement_is_for_one_that_worked_for_long_or_breaks_after_it_worked(
    looks: int,
    stuck: Mechanism,
    has_worked: bool,  # noqa: FBT001 - hypothesis fills it in
) -> None:
    watchdog = Watchdog()
    assert watchdog.may_replace(stuck, has_worked=has_worked), "the first is always worth a try"
    for _ in range(looks):
        watchdog.look({})
    helped = has_worked if stuck is Mechanism.BREAKING else looks > RELAPSE
    assert watchdog.may_replace(stuck, has_worked=has_worked) is helped
