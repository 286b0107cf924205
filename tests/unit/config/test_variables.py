import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.config.variables import expand_variables


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("${HOST}", "kafka"),
        ("${HOST}:${PORT}", "kafka:9092"),
        ("a ${HOST} b", "a kafka b"),
        ("${NONE:-default}", "default"),
        ("${NONE:-}", ""),
        ("${EMPTY}", ""),
        ("${EMPTY:-default}", "default"),
        ("${HOST:-default}", "kafka"),
        ("${NONE:-http://127.0.0.1:8010}", "http://127.0.0.1:8010"),
        ("${NESTED}", "${HOST}"),
        ("$HOST $$ $ a$", "$HOST $$ $ a$"),
        (r"\${HOST}", "${HOST}"),
        (r"C:\dir\$x", r"C:\dir\$x"),
    ],
)
def test_a_variable_stands_for_its_value(text: str, expanded: str) -> None:
    environ = {"HOST": "kafka", "PORT": "9092", "EMPTY": "", "NESTED": "${HOST}"}
    assert expand_variables(text, environ) == expanded


@pytest.mark.parametrize(
    "text", ["${", "${}", "${A", "${A:=b}", "${A:?}", "${!A}", "${#A}", "${A-b}", "${1}", "a ${A B}"]
)
def test_what_looks_like_a_variable_and_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="this is no variable"):
        expand_variables(text, {"A": "a"})


def test_all_variables_that_are_not_set_are_named_once() -> None:
    with pytest.raises(ValueError, match=r"^A and B are not set in the environment; export them,"):
        expand_variables("${A}${B}${A}", {})


@given(text=st.text().filter(lambda text: "${" not in text))
def test_text_without_variables_stays_as_it_is(text: str) -> None:
    assert expand_variables(text, {}) == text


@given(value=st.text())
def test_a_value_is_not_expanded_again(value: str) -> None:
    assert expand_variables("<${A}>", {"A": value}) == f"<{value}>"
