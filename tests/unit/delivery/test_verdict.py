import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dispatcher.delivery.judge import judge
from dispatcher.delivery.verdict import CODES, Accepted, Declined, InDoubt, Reaction, Throttled, Unreached

VERDICTS = (Accepted, Throttled, Unreached, Declined, InDoubt)


def body(**fields: object) -> bytes:
    return msgspec.json.encode(fields)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(("code", "sid", "x")), inner, max_size=3)
    ),
    max_leaves=6,
)
bodies = st.one_of(
    st.binary(max_size=60),
    json_values.map(msgspec.json.encode),
    st.builds(lambda code: b'{"code":' + code + b"}", st.binary(max_size=10)),
    st.sampled_from(list(CODES)).map(lambda code: body(code=code)),
)


@settings(max_examples=400, deadline=None)
@given(status=st.integers(100, 599), content=bodies, retry_after=st.none() | st.floats(0, 60))
@example(status=404, content=b'{"message":"\xff"}', retry_after=None)
@example(status=201, content=b'{"sid":"\xff"}', retry_after=None)
@example(status=500, content=b'{"x":' + b"[" * 100_000, retry_after=None)
@example(status=201, content=b'{"x":' + b"[" * 100_000, retry_after=None)
@example(status=201, content=b'{"sid":"SM1","num_segments":"' + b"9" * 5000 + b'"}', retry_after=None)
def test_every_answer_there_can_be_has_a_verdict(status: int, content: bytes, retry_after: float | None) -> None:
    verdict = judge(status, content, retry_after)
    assert isinstance(verdict, VERDICTS)
    # Only a 2xx says that Twilio has it, and only what surely was not processed may be sent again.
    assert isinstance(verdict, Accepted) <= (200 <= status < 300)
    if isinstance(verdict, Throttled):
        assert status == 429
    if status >= 500 and not isinstance(verdict, InDoubt):
        assert isinstance(verdict, Declined)
        assert verdict.code in CODES, "Twilio itself said so, in so many words"


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("status", [400, 429])
def test_a_code_decides_whatever_the_status(code: int, status: int) -> None:
    reaction, reason = CODES[code]
    assert judge(status, body(code=code, message="no", status=status)) == Declined(reaction, code, reason)


# twilio.md's table, spelt out once more: a line that moves here has to move there.
@pytest.mark.parametrize(
    ("reaction", "codes"),
    [
        (Reaction.WAIT_FOR_SENDER, {21611}),
        (Reaction.SWITCH_SENDER, {21606, 21212, 21659, 21660, 21661, 21701, 21703, 21704, 21705}),
        (Reaction.TRY_ANOTHER, {21612, 21657}),
        (Reaction.REFUSE, {21211, 21614, 21635, 21602, 21617, 21619, 21620, 21623}),
        (Reaction.OPTED_OUT, {21610}),
        (Reaction.CLOSE_COUNTRY, {21408}),
        (Reaction.STOP_ACCOUNT, {20003, 20005, 10001, 90010, 30002, 30037, 63038, 30454}),
        (Reaction.SLOW_FAMILY, {63017}),
        (Reaction.OUR_BUG, {21603, 21604, 21609, 21624, 21626}),
    ],
)
def test_the_table_is_that_of_twilios_documentation(reaction: Reaction, codes: set[int]) -> None:
    assert {code for code, (its, _) in CODES.items() if its is reaction} == codes


def test_of_two_429_the_code_tells_which_it_is() -> None:
    assert judge(429, body(code=20429, message="Too Many Requests")) == Throttled(None)
    queue_full = judge(429, body(code=21611, message="SMS queue is full."))
    assert isinstance(queue_full, Declined)
    assert queue_full.reaction is Reaction.WAIT_FOR_SENDER


@pytest.mark.parametrize("content", [b"", b"<html>slow down</html>", b'{"message":"\xff"}', body(code=None)])
def test_a_429_without_a_code_is_about_too_many_requests(content: bytes) -> None:
    assert judge(429, content, 3.0) == Throttled(3.0)


@pytest.mark.parametrize("status", [500, 502, 503, 504, 599])
@pytest.mark.parametrize("content", [b"", b"<html>", body(code=20500), b'{"code":"x"}', b"\xff\xfe"])
def test_a_server_error_leaves_it_in_doubt(status: int, content: bytes) -> None:
    assert isinstance(judge(status, content), InDoubt)


@pytest.mark.parametrize(
    "content",
    [b"", b"OK", b"{}", b"[]", b'{"sid":null}', b'{"sid":7}', b'{"sid":""}', b'{"sid":"","num_segments":"1"}', b"\xff"],
)
def test_a_success_without_a_sid_leaves_it_in_doubt(content: bytes) -> None:
    assert isinstance(judge(201, content), InDoubt)


@pytest.mark.parametrize(
    ("segments", "counted"),
    [
        ("2", 2),
        (2, 2),
        ("0", 0),
        (None, 0),
        ("", 0),
        ("many", 0),
        ("-1", 0),
        (-1, 0),
        ([], 0),
        (1.5, 0),
        ("99999", 99999),
        ("100000", 0),
        (True, 0),
    ],
)
def test_with_a_sid_it_is_accepted_whatever_the_segments_look_like(segments: object, counted: int) -> None:
    """The SID is the proof; to call it in doubt for a count would end it as unknown, or text twice."""
    assert judge(201, body(sid="SM1", num_segments=segments)) == Accepted("SM1", counted)
    assert judge(200, body(sid="SM1")) == Accepted("SM1", 0)


@pytest.mark.parametrize("status", [199, 300, 302, 500])
def test_a_sid_in_what_is_no_success_proves_nothing(status: int) -> None:
    assert isinstance(judge(status, body(sid="SM1", num_segments="1")), InDoubt)


@pytest.mark.parametrize("status", [400, 403, 404, 410, 422])
def test_a_refusal_with_an_unknown_code_is_one_of_this_message(status: int) -> None:
    verdict = judge(status, body(code=29999))
    assert isinstance(verdict, Declined)
    assert (verdict.reaction, verdict.code) == (Reaction.REFUSE, 29999)


def test_a_401_without_a_code_stops_the_account() -> None:
    verdict = judge(401, b"<html>")
    assert isinstance(verdict, Declined)
    assert verdict.reaction is Reaction.STOP_ACCOUNT
