import asyncio
import io
from base64 import b64encode
from typing import TYPE_CHECKING

import aiohttp
import pytest

from dispatcher.simulator.server import Simulator

if TYPE_CHECKING:
    from tests.integration.simulator.conftest import OpenSimulator

MAIN = "AC" + "1" * 32
PATH = f"/2010-04-01/Accounts/{MAIN}/Messages.json"
HEADERS = {"Authorization": aiohttp.encode_basic_auth(MAIN, "main-token")}
HEALTH_CHECK = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
FORM = {"To": "+12065550142", "From": "72345", "Body": "Hi"}


def raw_post(to: str, *, extra: str = "") -> bytes:
    body = f"To=%2B{to}&From=72345&Body=Hi"
    authorization = b64encode(f"{MAIN}:main-token".encode()).decode()
    return (
        f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nauthorization: Basic {authorization}\r\n{extra}"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


async def read_response(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.partition(b"Content-Length: ")[2].split(b"\r\n")[0])
    return await reader.readexactly(length)


async def test_beyond_the_concurrency_requests_meet_20429(simulator_with: "OpenSimulator") -> None:
    simulator = await simulator_with(concurrency=2, latency_low=1.0, latency_high=1.0)
    answers: list[tuple[int, int | None, str]] = []

    async def send(session: aiohttp.ClientSession) -> None:
        async with session.post(simulator.url + PATH, data=FORM, headers=HEADERS) as response:
            body = await response.json()
            answers.append((response.status, body.get("code"), response.headers["Twilio-Concurrent-Requests"]))

    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as tasks:
        for _ in range(10):
            tasks.create_task(send(session))
    assert sorted(answers, key=str) == [(201, None, "1"), (201, None, "2")] + [(429, 20429, "2")] * 8
    seen = simulator.report()["accounts"]["main"]
    assert (seen["concurrency_peak"], seen["requests"], seen["refusals"]) == (2, 10, {"20429": 8})


async def test_an_accepted_message_may_never_be_answered(simulator_with: "OpenSimulator") -> None:
    simulator = await simulator_with(accept_then_drop_share=1.0)
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientError):
            await session.post(simulator.url + PATH, data=FORM, headers=HEADERS)
    assert simulator.report()["messages"] == 1


async def test_a_client_that_leaves_early_is_in_flight_until_its_answer(simulator_with: "OpenSimulator") -> None:
    simulator = await simulator_with(concurrency=1, latency_low=60.0, latency_high=60.0)
    async with aiohttp.ClientSession() as session:
        timeout = aiohttp.ClientTimeout(total=0.5)
        with pytest.raises(TimeoutError):
            await session.post(simulator.url + PATH, data=FORM, headers=HEADERS, timeout=timeout)
        async with session.post(simulator.url + PATH, data=FORM, headers=HEADERS) as response:
            assert response.status == 429
    assert simulator.report()["messages"] == 1


async def test_pipelined_requests_are_taken_in_at_once_and_answered_in_order(simulator_with: "OpenSimulator") -> None:
    simulator = await simulator_with(latency_low=0.0, latency_high=0.2)
    reader, writer = await asyncio.open_connection(simulator.address.host, simulator.address.port)
    numbers = [f"1206555{number:04}" for number in range(20)]
    writer.write(b"".join(map(raw_post, numbers)))
    async with asyncio.timeout(10):
        answers = [await read_response(reader) for _ in numbers]
    assert [number.encode() in answer for number, answer in zip(numbers, answers, strict=True)] == [True] * 20
    assert simulator.report()["accounts"]["main"]["concurrency_peak"] == 20
    writer.close()


async def test_a_quick_answer_waits_for_the_late_one_before_it(simulator_with: "OpenSimulator") -> None:
    simulator = await simulator_with(latency_low=0.2, latency_high=0.2)
    reader, writer = await asyncio.open_connection(simulator.address.host, simulator.address.port)
    writer.write(raw_post("12065550142") + HEALTH_CHECK)
    async with asyncio.timeout(10):
        assert b'"status":"queued"' in await read_response(reader)
        assert await read_response(reader) == b'{"status":"ok"}'
    writer.close()


async def test_a_late_answer_is_not_hurried_by_the_quick_one_behind_it(simulator_with: "OpenSimulator") -> None:
    simulator = await simulator_with(latency_low=60.0, latency_high=60.0, concurrency=1)
    _, writer = await asyncio.open_connection(simulator.address.host, simulator.address.port)
    writer.write(raw_post("12065550142") + HEALTH_CHECK)
    async with asyncio.timeout(10), aiohttp.ClientSession(simulator.url) as session:
        while simulator.report()["messages"] == 0:
            await (await session.get("/healthz")).read()
        async with session.post(PATH, data=FORM, headers=HEADERS) as response:
            assert response.status == 429
    writer.close()


async def test_a_request_that_comes_byte_by_byte_is_read(simulator: Simulator) -> None:
    reader, writer = await asyncio.open_connection(simulator.address.host, simulator.address.port)
    for byte in raw_post("12065550142"):
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0)
    async with asyncio.timeout(10):
        assert b'"status":"queued"' in await read_response(reader)
    writer.close()


async def test_the_connection_ends_when_the_client_says_so(simulator: Simulator) -> None:
    reader, writer = await asyncio.open_connection(simulator.address.host, simulator.address.port)
    writer.write(raw_post("12065550142", extra="Connection: close\r\n"))
    async with asyncio.timeout(10):
        assert b"201 CREATED" in await reader.read()
    writer.close()


@pytest.mark.parametrize("rubbish", [b"rubbish\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n"])
async def test_what_is_no_http_ends_the_connection(simulator: Simulator, rubbish: bytes) -> None:
    reader, writer = await asyncio.open_connection(simulator.address.host, simulator.address.port)
    writer.write(rubbish)
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await reader.readexactly(1)
    writer.close()


async def test_a_body_without_end_ends_the_connection(simulator: Simulator) -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientError):
            await session.post(f"{simulator.url}/_simulator/knobs", data=io.BytesIO(b"x" * 9_999_999))


async def test_its_own_pages_are_on_the_wire(simulator: Simulator) -> None:
    async with aiohttp.ClientSession(simulator.url) as session:
        async with session.post(PATH, data=FORM, headers=HEADERS) as response:
            assert response.status == 201
        async with session.get("/_simulator/report") as response:
            assert (await response.json())["senders"]["72345"]["messages"] == 1
        async with session.get("/_simulator/messages", params={"after": 0, "limit": 10}) as response:
            assert [entry["seq"] for entry in (await response.json())["messages"]] == [1]
        async with session.post("/_simulator/knobs", json={"refuse_429_share": 1.0}) as response:
            assert response.status == 200
        async with session.post(PATH, data=FORM, headers=HEADERS) as response:
            assert response.status == 429
        async with session.get("/healthz") as response:
            assert response.status == 200
