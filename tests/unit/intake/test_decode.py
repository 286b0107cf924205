from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dispatcher.domain.job import Job
from dispatcher.intake.decode import NotAJobError, decode

TO = "+12065550199"
BODY = "Hi Ana, your secret code is 4711"
GOOD: dict[str, Any] = {"id": "spring-1", "campaign": "spring", "to": TO, "pool": "all", "body": BODY}


def encoded(**changes: Any) -> bytes:
    """Return the usual job with *changes*; None leaves a field out."""
    return msgspec.json.encode({name: value for name, value in (GOOD | changes).items() if value is not None})


def read(value: bytes | None) -> Job | str:
    """Return the job in *value*, or the complaint about it."""
    try:
        return decode(value)
    except NotAJobError as error:
        return str(error)


def complaint(value: bytes | None) -> str:
    found = read(value)
    assert isinstance(found, str)
    return found


def test_a_job_with_all_there_can_be_is_read() -> None:
    value = encoded(
        media_urls=["https://example.com/a.png"], send_at="2026-11-24T18:00:00Z",
        expires_at="2026-11-24T20:00:00+01:00", timezone="America/Denver", carrier="tmobile", tags={"segment": "a"},
    )  # fmt: skip
    assert decode(value) == Job(
        **GOOD, media_urls=("https://example.com/a.png",), send_at=datetime(2026, 11, 24, 18, tzinfo=UTC),
        expires_at=datetime(2026, 11, 24, 19, tzinfo=UTC), timezone="America/Denver", carrier="tmobile",
        tags={"segment": "a"},
    )  # fmt: skip


def test_a_template_is_filled_with_its_values() -> None:
    job = decode(encoded(body=None, template="Hi {{ name }}!", vars={"name": "Zoë"}))
    assert (job.body, job.template, job.vars) == ("Hi Zoë!", None, None)


def test_media_are_content_enough() -> None:
    assert decode(encoded(body=None, media_urls=["https://example.com/a.png"])).body is None


@pytest.mark.parametrize("field", ["id", "campaign", "to", "pool"])
def test_what_is_needed_is_asked_for_by_name(field: str) -> None:
    assert f"`{field}`" in complaint(encoded(**{field: None}))


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"to": "12065550142"}, "to"),
        ({"to": "+1206"}, "to"),
        ({"to": "+02065550142"}, "to"),
        ({"to": "+12065550142\n"}, "to"),
        ({"to": "+1206555014২"}, "to"),
        ({"to": 12065550142}, "to"),
        ({"id": ""}, "id"),
        ({"id": "x" * 129}, "id"),
        ({"id": 42}, "id"),
        ({"campaign": ["spring"]}, "campaign"),
        ({"pool": {}}, "pool"),
        ({"body": 7}, "body"),
        ({"body": None, "template": "Hi", "vars": {"name": 7}}, "vars"),
        ({"media_urls": "https://example.com/a.png"}, "media_urls"),
        ({"media_urls": [f"https://example.com/{number}.png" for number in range(11)]}, "media_urls"),
        ({"media_urls": ["https://example.com/a.png", "ftp://example.com/a.png"]}, "media_urls[1]"),
        ({"media_urls": ["https:///a.png"]}, "media_urls[0]"),
        ({"media_urls": ["https://ana:secret@example.com/a.png"]}, "media_urls[0]"),
        ({"media_urls": ["https://example.com/a picture.png"]}, "media_urls[0]"),
        ({"media_urls": ["https://example.com/\u00e4.png"]}, "media_urls[0]"),
        ({"media_urls": ["https://example.com/" + "a" * 2029]}, "media_urls[0]"),
        ({"send_at": "tomorrow"}, "send_at"),
        ({"send_at": "2026-11-24T18:00:00"}, "send_at"),
        ({"expires_at": 1795543200}, "expires_at"),
        ({"carrier": "sprint"}, "carrier"),
        ({"tags": ["a"]}, "tags"),
        ({"tags": {"a": 1}}, "tags"),
        ({"priority": 1}, "priority"),
        ({"Body": "Hi"}, "Body"),
        ({"template": "Hi"}, "template"),
        ({"body": None}, "body"),
        ({"body": None, "template": "Hi {{ name }}"}, "name"),
        ({"body": None, "template": "Hi {{ name", "vars": {"name": "Ana"}}, "template"),
        ({"body": None, "template": "{% for i in range(10000000) %}x{% endfor %}"}, "template"),
    ],
)  # fmt: skip
def test_a_complaint_names_the_field_and_shows_no_data(changes: dict[str, Any], names: str) -> None:
    text = complaint(encoded(**changes))
    assert names in text
    assert TO not in text
    assert "2065550199" not in text
    assert "4711" not in text
    assert "Ana" not in text


@pytest.mark.parametrize("field", sorted(set(Job.__struct_fields__) - {"id", "campaign", "pool"}))
@pytest.mark.parametrize("value", [TO, BODY, [TO], {"x": TO}, {TO: [BODY]}, [[BODY]]])
def test_a_value_in_the_wrong_place_is_not_shown_either(field: str, value: Any) -> None:
    found = read(encoded(**{field: value}))
    if isinstance(found, str):
        assert field in found
        assert "2065550199" not in found
        assert "4711" not in found


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "the record is empty"),
        (b"", "the record is empty"),
        (b"{", "the record is not JSON"),
        (b"null", "`object`"),
        (b"[]", "`object`"),
        (b'"job"', "`object`"),
        (b"42", "`object`"),
        (b"\xff\xfe", "the record is not JSON"),
        (b'{"id":"\xff"}', "the record is not JSON"),
        (b"\x00\x00\x00\x00\x05spring", "the record is not JSON"),
        (b"[" * 100_000, "`object`"),
    ],
)
def test_what_is_not_even_an_object_is_called_that(value: bytes | None, text: str) -> None:
    assert text in complaint(value)


def test_a_record_of_a_megabyte_is_read_or_refused_like_any_other() -> None:
    assert len(decode(encoded(body="x" * 1_000_000)).body or "") == 1_000_000
    assert len(complaint(encoded(body="x" * 1_000_000, priority=1))) < 200
    assert len(complaint(b"x" * 1_000_000)) < 200
    assert len(complaint(encoded(**{"y" * 1_000_000: 1}))) < 300


@settings(max_examples=500, deadline=None)
@given(value=st.binary(max_size=200))
@example(value=b'{"to":' + b"[" * 50_000)
@example(value=encoded(vars={"a": "b"}) + b"\xff")
@example(
    value=encoded(body="\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16")).replace(b"\xf0", b"\xed")
)
@example(value=encoded().replace(b"Hi", b"\\ud800"))
def test_bytes_are_a_job_or_they_are_not(value: bytes) -> None:
    found = read(value)
    assert found
    if isinstance(found, Job):
        assert (found.body or "").encode() is not None, "it can be sent"


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_job_with_bytes_torn_out_is_a_job_or_it_is_not(data: st.DataObject) -> None:
    value = bytearray(
        encoded(template="Hi {{ name }}", body=None, vars={"name": "Zoë"}, send_at="2026-11-24T18:00:00Z")
    )
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(value) - 1))
        value[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    found = read(bytes(value))
    assert isinstance(found, Job) or "2065550199" not in found
