import sys
from collections.abc import Iterable
from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from dispatcher.compliance.suppression import Numbers, SuppressionList
from dispatcher.domain.suppression import EVERYWHERE, SuppressionScope

NUMBERS = st.integers(10**6, 10**15 - 1).map(lambda digits: f"+{digits}")
SCOPES = st.sampled_from(
    [EVERYWHERE, SuppressionScope("pool", "a"), SuppressionScope("pool", "72345"), SuppressionScope("sender", "72345")]
)
Step = tuple[Literal["suppress", "lift"], str, SuppressionScope]


@given(
    numbers=st.lists(NUMBERS, min_size=1, max_size=5),
    steps=st.lists(st.tuples(st.sampled_from(["suppress", "lift"]), st.integers(0, 4), SCOPES), max_size=40),
)
def test_each_scope_stands_for_itself_and_the_last_word_counts(
    numbers: list[str], steps: Iterable[tuple[str, int, SuppressionScope]]
) -> None:
    suppressions, expected = SuppressionList(), set[tuple[str, SuppressionScope]]()
    for what, index, scope in steps:
        entry = (numbers[index % len(numbers)], scope)
        getattr(suppressions, what)(*entry)
        (expected.add if what == "suppress" else expected.discard)(entry)
        assert suppressions.is_empty is (not expected), "then nobody has to ask it"
    assert len(suppressions) == len(expected)
    for number in numbers:
        for pool in ("a", "72345"):
            for sender in (None, "72345", "a"):
                against = [EVERYWHERE, SuppressionScope("pool", pool), SuppressionScope("sender", sender or "-")]
                found = suppressions.covering(number, pool, sender)
                assert found == next((scope for scope in against if (number, scope) in expected), None)


@given(st.sets(NUMBERS, max_size=60), st.sets(NUMBERS, max_size=20))
def test_a_set_of_numbers_is_a_set(members: set[str], others: set[str]) -> None:
    numbers = Numbers()
    for number in [*members, *members]:
        numbers.add(number)
    assert len(numbers) == len(members)
    assert {number for number in members | others if number in numbers} == members
    for number in others:
        numbers.discard(number)
    assert {number for number in members | others if number in numbers} == members - others
    assert len(numbers) == len(members - others)


def test_numbers_that_end_alike_are_kept_apart() -> None:
    numbers = Numbers()
    alike = [f"+{120655501 * 10**6 + 65_536 * step}" for step in range(2000)]
    for number in alike:
        numbers.add(number)
    assert all(number in numbers for number in alike)
    assert f"+{120655501 * 10**6 + 1}" not in numbers
    assert len(numbers) == 2000


def test_many_numbers_take_little_more_than_their_eight_bytes() -> None:
    numbers = Numbers()
    for step in range(1_000_000):
        numbers.add(f"+{12_000_000_000 + 7919 * step}")
    bytes_used = sum(map(sys.getsizeof, numbers._slots.values())) + sys.getsizeof(numbers._slots)
    # Fifteen a slot: the arrays' own 80 bytes weigh more here than among ten million.
    assert bytes_used / len(numbers) < 20
