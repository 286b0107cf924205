from urllib.parse import parse_qs, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.simulator.form import first, parse_form

texts = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.lists(st.tuples(texts, texts)))
def test_it_reads_what_urllib_reads(fields: list[tuple[str, str]]) -> None:
    encoded = urlencode(fields)
    assert parse_form(encoded) == parse_qs(encoded, keep_blank_values=True)


@pytest.mark.parametrize("raw", ["", "&&", "a", "a=%", "a=%zz", "a=%2", "a=1=2", "%41=1", "a=%2b%2B+%c3%A9"])
def test_it_reads_odd_forms_as_urllib_does(raw: str) -> None:
    assert parse_form(raw) == parse_qs(raw, keep_blank_values=True)


def test_an_empty_value_counts_as_absent() -> None:
    assert first({"a": [""], "b": ["1", "2"]}, "a") is None
    assert first({"a": [""], "b": ["1", "2"]}, "b") == "1"
    assert first({}, "c") is None
