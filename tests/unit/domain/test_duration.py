import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.domain.duration import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("20s", 20.0),
        ("250ms", 0.25),
        ("5min", 300.0),
        ("5m", 300.0),
        ("2h", 7200.0),
        ("1d", 86400.0),
        (" 1.5 s ", 1.5),
        ("0s", 0.0),
    ],
)
def test_a_duration_is_read_as_operators_write_it(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "20", "s", "-1s", "1h30min", "5 minutes", "1e3s", "٣s"])
def test_what_is_no_duration_is_refused_with_what_would_be_right(text: str) -> None:
    with pytest.raises(ValueError, match='write a number and a unit, like "20s"'):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (0.85, "850 ms"),
        (0.9996, "1 s"),
        (1, "1 s"),
        (42.4, "42 s"),
        (59.6, "1 min"),
        (200, "3 min 20 s"),
        (3600, "1 h"),
        (3599.7, "1 h"),
        (50_700, "14 h 5 min"),
        (50_759, "14 h 5 min"),
        (183_600, "2 d 3 h"),
    ],
)
def test_a_duration_is_shown_as_a_person_reads_it(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.floats(0, 1e9))
def test_what_is_shown_is_never_off_by_more_than_its_smallest_unit(seconds: float) -> None:
    shown = format_duration(seconds).split()
    total = sum(parse_duration(f"{amount}{unit}") for amount, unit in zip(shown[::2], shown[1::2], strict=True))
    smallest = {"d": 86_400, "h": 3600, "min": 60, "s": 1, "ms": 0.001}[shown[-1]]

    assert abs(total - seconds) <= smallest
