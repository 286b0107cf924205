"""What a tally shows is what the client library's own metric would."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from dispatcher.telemetry.tallies import TallyCounter, TallyHistogram

BUCKETS = (0.01, 0.5, 1, 15)


def lines(registry: CollectorRegistry) -> set[str]:
    text = generate_latest(registry).decode()
    return {line for line in text.splitlines() if "_created" not in line}


@given(st.lists(st.tuples(st.sampled_from(["a", 'b"\\']), st.integers(0, 5)), max_size=30))
def test_a_counter_shows_what_the_librarys_would(counted: list[tuple[str, int]]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    tally = TallyCounter("things", "Things.", ["kind"], registry=ours)
    counter = Counter("things", "Things.", ["kind"], registry=theirs)
    for kind, amount in counted:
        tally.labels(kind).inc(amount)
        counter.labels(kind).inc(amount)
    assert lines(ours) == lines(theirs)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.one_of(st.sampled_from(BUCKETS), st.integers(0, 80))), max_size=30))
def test_a_histogram_shows_what_the_librarys_would(seen: list[tuple[str, float]]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    tally = TallyHistogram("seconds", "Seconds.", ["kind"], buckets=BUCKETS, registry=ours)
    histogram = Histogram("seconds", "Seconds.", ["kind"], buckets=BUCKETS, registry=theirs)
    for kind, value in seen:
        tally.labels(kind).observe(value)
        histogram.labels(kind).observe(value)
    assert lines(ours) == lines(theirs)


def test_a_name_is_declared_once() -> None:
    registry = CollectorRegistry(auto_describe=True)
    TallyCounter("things", "Things.", ["kind"], registry=registry)
    with pytest.raises(ValueError, match="Duplicated"):
        TallyCounter("things", "Things.", ["kind"], registry=registry)
