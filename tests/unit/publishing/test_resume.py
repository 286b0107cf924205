import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.publishing.recipients import job_id
from dispatcher.publishing.resume import row_of


@given(st.integers(1, 10**9))
def test_a_job_tells_the_row_it_was_made_from(row: int) -> None:
    assert row_of(b'{"id":"%s","campaign":"spring"}' % job_id("spring", row).encode(), "spring") == row


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"not json",
        b"\xff",
        b"[]",
        b'{"id":"spring-000042"}',
        b'{"id":42,"campaign":"spring"}',
        b'{"id":"spring-000042","campaign":"spring-2"}',
        b'{"id":"autumn-000042","campaign":"spring"}',
        b'{"id":"spring-42","campaign":"spring"}',
        b'{"id":"spring-0000042","campaign":"spring"}',
        b'{"id":"spring-00004x","campaign":"spring"}',
        b'{"id":"spring-","campaign":"spring"}',
        b'{"id":"000042","campaign":"spring"}',
        '{"id":"spring-00004\u0662","campaign":"spring"}'.encode(),
    ],
)
def test_whatever_else_is_in_the_topic_is_passed_over(value: bytes | None) -> None:
    assert row_of(value, "spring") is None


def test_a_campaign_whose_name_begins_like_another_is_told_apart() -> None:
    assert row_of(b'{"id":"spring-2-000042","campaign":"spring-2"}', "spring") is None
    assert row_of(b'{"id":"spring-2-000042","campaign":"spring-2"}', "spring-2") == 42
