import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.domain.hours import Hours

DAY = (8 * 60, 21 * 60)
SPANS = st.tuples(st.integers(0, 1439), st.integers(1, 1440)).filter(lambda span: span[0] < span[1])
WEEKS = st.tuples(*[st.none() | SPANS] * 7).map(Hours)


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("08:00-21:00", (DAY,) * 7),
        ("mon-sat 08:00-21:00", (*(DAY,) * 6, None)),
        ("08:00-21:00, Sun 12:00 - 21:00", (*(DAY,) * 6, (720, 1260))),
        ("sat-mon 08:00-21:00", (DAY, None, None, None, None, DAY, DAY)),
        ("wed 00:00-24:00", (None, None, (0, 1440), None, None, None, None)),
    ],
)
def test_hours_are_read_as_operators_write_them(text: str, days: tuple[object, ...]) -> None:
    assert Hours.parse(text).days == days


@pytest.mark.parametrize("text", ["", "8-21", "21:00-08:00", "08:00-08:00", "08:00-24:01", "08:60-09:00", "08:00-,"])
def test_what_are_no_hours_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"hours|clock|begins"):
        Hours.parse(text)


@given(WEEKS)
def test_hours_print_as_they_are_read(hours: Hours) -> None:
    if any(hours.days):
        assert Hours.parse(str(hours)) == hours
    else:
        assert not str(hours)


@given(WEEKS, WEEKS, st.integers(0, 6), st.integers(0, 1439))
def test_within_is_open_when_both_are(one: Hours, two: Hours, day: int, minute: int) -> None:
    def is_open(hours: Hours) -> bool:
        span = hours.days[day]
        return span is not None and span[0] <= minute < span[1]

    assert is_open(one.within(two)) is (is_open(one) and is_open(two))
