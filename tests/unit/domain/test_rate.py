import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.domain.rate import Rate

amounts = st.one_of(
    st.integers(1, 10**6).map(float),
    st.integers(1, 10**12).map(lambda millionths: millionths / 10**6),
)
rates = st.builds(Rate, amounts, st.sampled_from(["s", "min", "h", "day"]), st.none() | st.integers(1, 10_000))


@pytest.mark.parametrize(
    ("text", "per_second"),
    [("100/s", 100.0), ("1.25/s", 1.25), ("240/min", 4.0), ("3600/h", 1.0), ("86400/day", 1.0), (" 75 / s ", 75.0)],
)
def test_a_rate_is_read_as_operators_say_it(text: str, per_second: float) -> None:
    assert Rate.parse(text).per_second == per_second


def test_a_burst_is_read_with_its_rate() -> None:
    assert Rate.parse("100/s burst 20") == Rate(100.0, "s", 20)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("100", "is no rate"),
        ("100/sec", "is no rate"),
        ("-1/s", "is no rate"),
        ("1e3/s", "is no rate"),
        ("nan/s", "is no rate"),
        ("\u0661/s", "is no rate"),
        ("", "is no rate"),
        ("100/s burst", "is no rate"),
        ("0/s", "would never send"),
        ("0.0/day", "would never send"),
        ("100/s burst 0", "would let nothing through"),
    ],
)
def test_what_is_no_rate_is_refused_with_what_would_be_right(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Rate.parse(text)


@pytest.mark.parametrize(
    "text", ["100/s", "75/s", "240/min", "200000/day", "100/s burst 20", "1.25/s", "0.00001/s", "1234567.5/day"]
)
def test_a_rate_prints_as_it_was_written(text: str) -> None:
    assert str(Rate.parse(text)) == text


def test_a_rate_made_from_a_whole_number_prints_it() -> None:
    assert str(Rate(2000, "s")) == "2000/s"


@given(rates)
def test_every_rate_reads_back_as_it_prints(rate: Rate) -> None:
    assert Rate.parse(str(rate)) == rate
