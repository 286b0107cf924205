from datetime import UTC, datetime
from typing import Literal
from urllib.parse import urlencode

import orjson
import pytest

from dispatcher.domain.callback import Callback
from dispatcher.domain.fleet import Account, Secret
from dispatcher.webhooks.callbacks import Form, encode, key_of, read_callback

ACCOUNT = Account(name="promo", sid="AC" + "2" * 32, auth_token=Secret("token"))
AT = datetime(2026, 11, 24, 18, 0, 0, 123456, tzinfo=UTC)
FIELDS = {
    "AccountSid": ACCOUNT.sid,
    "From": "72345",
    "To": "+12065550142",
    "MessageSid": "SM1",
    "SmsSid": "SM1",
    "MessageStatus": "undelivered",
    "SmsStatus": "undelivered",
    "ErrorCode": "30005",
    "Body": "only they should read this",
    "New": "",
}


def read(
    fields: dict[str, str] = FIELDS,
    query: str = "mid=spring%2F000042&a=2",
    kind: Literal["status", "inbound"] = "status",
    token: str = "event-1",  # noqa: S107 - no secret
) -> Callback:
    return read_callback(kind, Form(query), Form(urlencode(fields)), account=ACCOUNT, token=token, at=AT)


def test_the_record_of_a_status() -> None:
    assert orjson.loads(encode(read())) == {
        "kind": "status",
        "mid": "spring/000042",
        "attempt": 2,
        "account": "promo",
        "sid": "SM1",
        "status": "undelivered",
        "error_code": 30005,
        "token": "event-1",
        "parameters": {name: value for name, value in FIELDS.items() if name != "Body"},
        "received_at": "2026-11-24T18:00:00.123+00:00",
    }
    assert key_of(read()) == b"spring/000042"


def test_the_record_of_an_inbound_message_is_keyed_by_who_sent_it() -> None:
    fields = {
        "AccountSid": ACCOUNT.sid,
        "From": "+12065550142",
        "SmsSid": "SM2",
        "SmsStatus": "received",
        "Body": "STOP",
    }
    callback = read(fields, query="mid=x&a=1", kind="inbound")
    assert (callback.kind, callback.mid, callback.attempt, callback.sid) == ("inbound", None, None, "SM2")
    assert callback.status == "received"
    assert key_of(callback) == b"+12065550142"
    assert b"STOP" not in encode(callback)


def test_a_status_of_a_message_that_is_none_of_ours_is_keyed_by_its_sid() -> None:
    callback = read(query="")
    assert (callback.mid, callback.attempt) == (None, None)
    assert key_of(callback) == b"SM1"


@pytest.mark.parametrize("text", ["", "x", "-1", "1.5", "²", "9" * 10])
def test_what_is_no_number_is_left_out(text: str) -> None:
    callback = read({**FIELDS, "ErrorCode": text}, query=urlencode({"mid": "m", "a": text}))
    assert (callback.attempt, callback.error_code) == (None, None)


@pytest.mark.parametrize("token", ["", "\udcff", "é"])
def test_what_is_no_token_is_left_out(token: str) -> None:
    callback = read(token=token)
    assert callback.token is None
    assert encode(callback)


def test_of_a_parameter_that_comes_twice_the_last_one_counts() -> None:
    form = Form("a=1&b=2&a=3")
    assert (form.get("a"), form.getall("a"), list(form), len(form)) == ("3", ["1", "3"], ["a", "b"], 2)


def test_bytes_that_are_no_text_do_no_harm() -> None:
    callback = read_callback("status", Form("mid=%FF"), Form("To=%ff%C3"), account=ACCOUNT, token="", at=AT)
    assert callback.mid == "�"
    assert orjson.loads(encode(callback))["parameters"] == {"To": "��"}
    assert key_of(callback) == "�".encode()


def test_too_many_parameters_are_refused() -> None:
    with pytest.raises(ValueError, match="fields"):
        Form("&".join(["a=1"] * 501))
