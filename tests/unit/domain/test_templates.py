import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.domain.templates import Template, render


def test_fills_in_the_values() -> None:
    assert render("Hi {{ name }}, see you at {{ time }}!", {"name": "Ana", "time": "7"}) == "Hi Ana, see you at 7!"


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_value_is_text_and_nothing_in_it_is_interpreted(value: str) -> None:
    assert render("<{{ value }}>", {"value": value}) == f"<{value}>"


def test_knows_the_variables_that_it_needs() -> None:
    source = (
        "{% set x = a %}{{ x }} {{ b | default('friend') }} {% for i in range(3) %}{{ i }}{{ loop.index }}{% endfor %}"
    )

    assert Template(source).variables == {"a", "b"}


def test_a_column_may_have_any_name_that_the_engine_itself_uses() -> None:
    assert (
        render("{{ self }} {{ template_name }} {{ name }}", {"self": "a", "template_name": "b", "name": "c"}) == "a b c"
    )


def test_a_missing_value_is_named() -> None:
    with pytest.raises(ValueError, match=r"^there is no value for code, name$"):
        render("Hi {{ name }}, {{ code }} {{ place }}", {"place": "Seattle"})


def test_an_empty_value_can_have_a_stand_in() -> None:
    assert render("Hi {{ name or 'friend' }}", {"name": ""}) == "Hi friend"


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("Hi {{ name", "syntax error: unexpected end of input, expected end of variable block in line 1"),
        ("Hi\n{{ first name }}", "syntax error: unexpected identifier, expected end of variable block in line 2"),
        ("{% if name %}", "syntax error: .* in line 1"),
    ],
)
def test_a_malformed_template_is_refused_with_its_line(source: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=f"^{complaint}$"):
        Template(source)


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("{{ name | nope }}", "unknown filter: filter nope is unknown in line 1"),
        ("{{ name.nope() }}", "unknown method: string has no method named nope in line 1"),
        ("{{ name.nope.nope }}", "undefined value in line 1"),
    ],
)
def test_a_template_that_fails_at_work_says_where(source: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=f"^{complaint}$"):
        render(source, {"name": "Ana"})


@pytest.mark.parametrize(
    "source",
    [
        "{{ secret | int / 0 }}",
        "{{ secret | int | nope }}",
        "{% include secret %}",
        "{{ secret + 1 }}",
        "{{ missing }}{{ secret }}",
        "{{ secret.nope.nope }}",
    ],
)
def test_no_complaint_shows_a_recipients_value(source: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        render(source, {"secret": "417"})

    assert "417" not in str(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    "source",
    [
        "{% for i in range(100000) %}x{% endfor %}",
        "{{ 'x' * 100000000 }}",
        "{{ ('x' * 5000) | replace('x', 'y' * 5000) }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% set n = namespace(s='x') %}{% for i in range(40) %}{% set n.s = n.s ~ n.s %}{% endfor %}{{ n.s }}",
    ],
)
def test_a_hostile_template_is_stopped(source: str) -> None:
    with pytest.raises(ValueError, match=r"ran out of fuel|invalid operation"):
        render(source, {})
