from hypothesis import given
from hypothesis import strategies as st

from dispatcher.domain.outcome import Position
from dispatcher.domain.parking import Whereabouts
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


def test_of_two_records_of_one_job_the_second_is_a_needless_copy_while_the_other_is_cared_for() -> None:
    repeats, job, first, second = Repeats(600.0), at(1), at(20), at(21)
    assert repeats.seen_before("a", first, 0.0, job) is None
    assert repeats.seen_before("a", second, 1.0, job) is second
    assert repeats.seen_before("a", job, 2.0) is job  # read again after a crash
    assert repeats.seen_before("a", first, 3.0, job) is None  # read again after a rebalance


def test_a_job_that_was_parked_comes_back_as_itself_and_another_with_its_id_does_not() -> None:
    repeats, job, copy = Repeats(600.0), at(1), at(20)
    assert repeats.seen_before("a", job, 0.0) is None
    repeats.park("a", job)
    assert repeats.seen_before("a", at(2), 1.0) == job
    assert repeats.seen_before("a", copy, 2.0, job) is None
    assert repeats.seen_before("a", at(30), 3.0, at(2)) == job


def test_what_is_in_doubt_or_has_a_result_makes_its_copies_needless() -> None:
    repeats, job, done = Repeats(600.0), at(1), at(20)
    repeats.start_with({"a": Whereabouts(job, done)}, 0.0)
    copy = at(21)
    assert repeats.seen_before("a", copy, 1.0, job) is copy
    assert repeats.seen_before("a", at(2), 1.0) == job
    assert repeats.seen_before("a", done, 1.0, job) is None  # its own record: the doubt is about that
