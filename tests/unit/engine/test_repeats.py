from hypothesis import given
from hypothesis import strategies as st

from dispatcher.domain.outcome import Position
from dispatcher.engine.repeats import MOST_IN_A_GENERATION, Repeats

HORIZON = 600.0


def at(offset: int) -> Position:
    return Position("jobs", 0, offset)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, HORIZON / 10)), min_size=1, max_size=50))
def test_within_the_horizon_only_the_first_of_an_id_is_new(published: list[tuple[str, float]]) -> None:
    repeats = Repeats(HORIZON)
    now = 0.0
    last_new: dict[str, tuple[int, float]] = {}
    for offset, (job_id, pause) in enumerate(published):
        now += pause
        seen = repeats.seen_before(job_id, at(offset), now)
        if seen is None:
            assert job_id not in last_new or now - last_new[job_id][1] >= HORIZON
            last_new[job_id] = offset, now
        else:
            assert seen == at(last_new[job_id][0])
            assert now - last_new[job_id][1] <= 2 * HORIZON


def test_the_same_record_again_is_no_repeat() -> None:
    repeats = Repeats(HORIZON)
    assert repeats.seen_before("a", at(7), 0.0) is None
    assert repeats.seen_before("a", at(7), 1.0) is None
    assert repeats.seen_before("a", at(8), 2.0) == at(7)


def test_what_the_last_owner_concluded_is_remembered_and_nothing_else() -> None:
    repeats = Repeats(HORIZON)
    repeats.seen_before("mine", at(1), 0.0)
    repeats.start_with({"theirs": at(5)}, 1.0)
    assert repeats.seen_before("theirs", at(9), 2.0) == at(5)
    assert repeats.seen_before("mine", at(2), 2.0) is None


def test_a_flood_of_ids_makes_it_forget_early_and_not_grow() -> None:
    repeats = Repeats(HORIZON)
    repeats.seen_before("first", at(0), 0.0)
    for offset in range(1, 2 * MOST_IN_A_GENERATION + 2):
        repeats.seen_before(str(offset), at(offset), 1.0)
    assert repeats.seen_before("first", at(10**6), 2.0) is None
