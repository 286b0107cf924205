"""What a client sees of the receiver."""

import asyncio
import gzip
import logging
from io import BytesIO
from typing import Any
from urllib.parse import urlencode

import orjson
import pytest

from dispatcher.domain.errors import DispatcherError
from dispatcher.webhooks import door, server
from tests.integration.webhooks.conftest import FIELDS, MAIN, STATUS, Caller, Keeper, open_caller, signed

LARGEST = door.LARGEST_BODY


def head(headers: str) -> bytes:
    """Return the head of a request for the status path."""
    return f"POST {STATUS} HTTP/1.1\r\nHost: h\r\n{headers}\r\n".encode()


async def test_a_status_is_answered_204_and_kept(caller: Caller, keeper: Keeper) -> None:
    response = await caller.post()
    assert response.status == 204
    (value,) = keeper.values
    record = orjson.loads(value)
    assert (record["kind"], record["mid"], record["sid"], record["status"]) == (
        "status",
        "spring-1",
        "SM1",
        "delivered",
    )


async def test_an_inbound_message_is_answered_with_nothing_to_say(caller: Caller, keeper: Keeper) -> None:
    fields = {"AccountSid": MAIN.sid, "MessageSid": "SM2", "From": "+12065550142", "Body": "tell nobody"}
    response = await caller.post("/twilio/inbound", fields)
    assert (response.status, response.content_type) == (200, "text/xml")
    assert await response.text() == '<?xml version="1.0" encoding="UTF-8"?><Response/>'
    assert orjson.loads(keeper.values[0])["kind"] == "inbound"
    assert b"nobody" not in keeper.values[0]


@pytest.mark.parametrize(
    ("number", "body", "named", "word", "said"),
    [
        ("72345", "Stop!", None, "stop", "You get no more &lt;Acme&gt; alerts."),
        ("72345", "arrêt", None, "stop", "C'est fini."),
        ("72345", "AIDE", None, "help", "Acme &amp; Co."),
        ("72345", "START", None, "start", None),
        ("72345", "stop it please, you", None, None, None),
        # Twilio has obeyed and answered itself, in a language of whose words we know none.
        ("72345", "Basta", "STOP", "stop", None),
        ("72345", "STOP", "STOP", "stop", None),
        ("+18885550100", "STOP", None, "stop", None),
    ],
)
async def test_of_what_an_inbound_message_says_only_the_word_is_kept_and_answered(
    caller: Caller, keeper: Keeper, number: str, body: str, named: str | None, word: str | None, said: str | None
) -> None:
    fields = {"AccountSid": MAIN.sid, "MessageSid": "SM2", "From": "+12065550142", "To": number, "Body": body}
    response = await caller.post("/twilio/inbound", fields | ({"OptOutType": named} if named else {}))
    assert (response.status, response.content_type) == (200, "text/xml")
    element = f"<Response><Message>{said}</Message></Response>" if said else "<Response/>"
    assert await response.text() == f'<?xml version="1.0" encoding="UTF-8"?>{element}'
    record = orjson.loads(keeper.values[0])
    assert record.get("word") == word
    assert "Body" not in record["parameters"]


async def test_of_a_status_no_word_is_read(caller: Caller, keeper: Keeper) -> None:
    fields = {**FIELDS, "Body": "STOP", "OptOutType": "STOP"}
    assert (await caller.post(fields=fields)).status == 204
    assert "word" not in orjson.loads(keeper.values[0])


async def test_what_nobody_knows_of_is_signed_kept_and_does_no_harm(caller: Caller, keeper: Keeper) -> None:
    fields = {**FIELDS, "Fresh": "new", "Ümläut": "ß", "Empty": "", "RawDlrDoneDate": "2611241800"}
    assert (await caller.post(fields=fields)).status == 204
    assert orjson.loads(keeper.values[0])["parameters"] == fields


async def test_nobody_is_answered_before_what_was_said_is_durable(caller: Caller, keeper: Keeper) -> None:
    keeper.is_slow = True
    async with asyncio.TaskGroup() as tasks:
        answer = tasks.create_task(caller.post())
        await keeper.came.wait()
        # Another one goes through meanwhile: the first is not just slow.
        await caller.post(method="GET")
        assert not answer.done()
        keeper.settle()
    assert answer.result().status == 204


async def test_what_cannot_be_kept_is_answered_503_on_a_connection_that_stays(caller: Caller, keeper: Keeper) -> None:
    keeper.is_full = True
    response = await caller.post()
    assert response.status == 503
    assert "Connection" not in response.headers


@pytest.mark.parametrize("public_url", ["https://hooks.example.com/one/two", "https://hooks.example.com/twilio"])
@pytest.mark.parametrize("is_stripped", [False, True])
async def test_a_proxy_may_take_the_path_of_the_public_url_away(
    caller: Caller, public_url: str, *, is_stripped: bool
) -> None:
    path = STATUS if is_stripped else public_url.removeprefix("https://hooks.example.com") + STATUS
    assert (await caller.post(path=path, public_url=public_url)).status == 204


@pytest.mark.parametrize(
    ("status", "request_"),
    [
        (405, {"method": "GET"}),
        (405, {"method": "PUT"}),
        (405, {"method": "DELETE", "target": "/twilio/inbound"}),
        (404, {"target": "/"}),
        (404, {"target": "/twilio/status/"}),
        (404, {"target": "/metrics", "method": "GET"}),
        (403, {"headers": {}}),
        (403, {"headers": {"X-Twilio-Signature": "x" * 28}}),
        (403, {"path": "/twilio/status?mid=spring-2&a=1"}),
        (403, {"path": "/twilio/inbound"}),
        (403, {"data": urlencode({**FIELDS, "MessageStatus": "failed"}).encode()}),
        (403, {"data": b""}),
        (403, {"data": b"\xff\xfe\x00"}),
        (403, {"data": b'{"AccountSid": "AC1"}'}),
        (
            403,
            {
                "headers": {**signed(STATUS, FIELDS), "Content-Encoding": "gzip"},
                "data": gzip.compress(urlencode(FIELDS).encode()),
            },
        ),
        (400, {"data": b"a=1&" * 501}),
        (413, {"data": b"a=" + b"x" * LARGEST}),
        (413, {"data": BytesIO(b"a=" + b"x" * 1024 * 1024)}),
    ],
)
async def test_who_asks_wrongly_is_refused_and_not_kept_connected(
    caller: Caller, keeper: Keeper, status: int, request_: dict[str, Any]
) -> None:
    response = await caller.post(**request_)
    assert response.status == status
    assert response.headers["Connection"] == "close"
    assert ("Allow" in response.headers) is (status == 405)
    assert not keeper.values


async def test_a_body_of_the_largest_size_is_taken(caller: Caller, keeper: Keeper) -> None:
    fields = {**FIELDS, "New": ""}
    fields["New"] = "x" * (LARGEST - len(urlencode(fields)))
    assert (await caller.post(fields=fields)).status == 204
    assert len(keeper.values) == 1


async def test_a_callback_may_come_in_pieces(caller: Caller, keeper: Keeper) -> None:
    body = urlencode(FIELDS).encode()
    headers = "".join(f"{name}: {value}\r\n" for name, value in signed(STATUS, FIELDS).items())
    request = head(f"{headers}Connection: close\r\nContent-Length: {len(body)}\r\n") + body
    answer = await caller.say(*[request[at : at + 7] for at in range(0, len(request), 7)])
    assert answer.startswith(b"HTTP/1.1 204 No Content\r\n")
    assert len(keeper.values) == 1


@pytest.mark.parametrize("said", [b"", b"POST /twilio/status HTTP/1.1\r\nHost:"])
async def test_who_does_not_say_what_they_want_has_to_leave(
    caller: Caller, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr(door, "HEAD_TIMEOUT", 0.05)
    assert await caller.say(said) == b""


async def test_who_waits_for_an_answer_may_stay(
    caller: Caller, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "HEAD_TIMEOUT", 0.05)
    keeper.is_slow = True
    asyncio.get_running_loop().call_later(0.2, keeper.settle)
    assert (await caller.post()).status == 204


async def test_who_has_nothing_more_to_say_has_to_leave(keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "KEEP_ALIVE", 0.05)
    body = urlencode(FIELDS).encode()
    headers = "".join(f"{name}: {value}\r\n" for name, value in signed(STATUS, FIELDS).items())
    async with open_caller(keeper) as caller:
        answer = await caller.say(head(f"{headers}Content-Length: {len(body)}\r\n") + body)
    assert answer.startswith(b"HTTP/1.1 204 No Content\r\n")
    assert b"Connection: close" not in answer


async def test_a_callback_is_not_logged(caller: Caller, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert (await caller.post()).status == 204
    assert not caplog.records


async def test_a_body_that_does_not_come_is_not_waited_for(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "BODY_TIMEOUT", 0.05)
    answer = await caller.say(head("Content-Length: 100\r\n"), b"AccountSid=")
    assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert b"Connection: close" in answer


@pytest.mark.parametrize(
    "said",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"POST /twilio/status?mid=\xe9 HTTP/1.1\r\n\r\n",
        b"POST /" + b"x" * 10_000 + b" HTTP/1.1\r\n\r\n",
        b"POST /twilio/status HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n",
        b"POST /twilio/status HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nrubbish\r\n",
        b"POST /twilio/status HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_answered_400_and_fills_no_log(
    caller: Caller, keeper: Keeper, caplog: pytest.LogCaptureFixture, said: bytes
) -> None:
    assert (await caller.say(said)).startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))
    assert not keeper.values
    assert not caplog.records


async def test_who_leaves_in_the_middle_leaves_nothing_behind(
    caller: Caller, keeper: Keeper, caplog: pytest.LogCaptureFixture
) -> None:
    async with caller.connect() as (_, writer):
        writer.write(head("Content-Length: 100\r\n") + b"AccountSid=")
        await writer.drain()
    assert (await caller.post()).status == 204
    assert len(keeper.values) == 1
    assert not caplog.records


async def test_a_full_door_turns_away_who_comes_and_serves_who_is_in(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "MOST_CONNECTIONS", 2)
    assert (await caller.post()).status == 204
    async with caller.connect():
        # With the one that `post` keeps these are two.
        assert await caller.say(head("Content-Length: 0\r\nConnection: close\r\n")) == b""
        assert (await caller.post()).status == 204


async def test_who_has_called_is_answered_before_the_receiver_leaves(keeper: Keeper) -> None:
    keeper.is_slow = True
    async with asyncio.TaskGroup() as tasks, open_caller(keeper) as caller:
        async with caller.receiving:
            answer = tasks.create_task(caller.post())
            await keeper.came.wait()
            asyncio.get_running_loop().call_later(0.05, keeper.settle)
        assert (await answer).status == 204
        with pytest.raises(ConnectionRefusedError):
            await caller.say()


async def test_a_port_that_is_taken_is_named(caller: Caller, keeper: Keeper) -> None:
    with pytest.raises(DispatcherError, match=r"cannot listen on webhooks\.listen 127\.0\.0\.1:"):
        async with open_caller(keeper, listen=caller.listen):
            pass
