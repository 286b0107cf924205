import asyncio
import socket
from collections import Counter
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from twilio.request_validator import RequestValidator

from dispatcher.simulator.line import messaging_service_sid
from dispatcher.simulator.server import Simulator

if TYPE_CHECKING:
    from tests.integration.simulator.conftest import OpenSimulator, Receiver

MAIN, PROMO = "AC" + "1" * 32, "AC" + "2" * 32
TOKEN = "main-token"


async def send(simulator: Simulator, callback: str, *, token: str = TOKEN, **changes: Any) -> dict[str, Any]:
    fields = {"To": "+12065550142", "From": "72345", "Body": "Hi", "StatusCallback": callback} | changes
    account = PROMO if token == "promo-token" else MAIN
    headers = {"Authorization": aiohttp.encode_basic_auth(account, token)}
    url = f"{simulator.url}/2010-04-01/Accounts/{account}/Messages.json"
    form = {name: value for name, value in fields.items() if value is not None}
    async with aiohttp.ClientSession() as session, session.post(url, data=form, headers=headers) as response:
        assert response.status == 201, await response.text()
        body: dict[str, Any] = await response.json()
        return body


async def test_sent_and_delivered_are_called_back_with_the_url_as_it_was_given(
    simulator: Simulator, receiver: "Receiver"
) -> None:
    url = f"{receiver.url}?mid=spring%2F1&a=2"
    created = await send(simulator, f"{url}#rc=5&rp=all")
    sent, delivered = await receiver.receive(2)
    assert (sent.status, delivered.status) == ("sent", "delivered")
    assert sent.url == delivered.url == url
    assert sent.parameters == {
        "AccountSid": MAIN,
        "ApiVersion": "2010-04-01",
        "From": "72345",
        "To": "+12065550142",
        "MessageSid": created["sid"],
        "SmsSid": created["sid"],
        "MessageStatus": "sent",
        "SmsStatus": "sent",
    }
    assert len(delivered.parameters["RawDlrDoneDate"]) == 10
    assert sent.token != delivered.token


@pytest.mark.parametrize("token", ["main-token", "promo-token"])
async def test_callbacks_are_signed_with_the_token_of_the_messages_account(
    simulator: Simulator, receiver: "Receiver", token: str
) -> None:
    sender = "+12065550100" if token == "promo-token" else "72345"
    await send(simulator, f"{receiver.url}?mid=m1&a=1#rc=5", token=token, From=sender)
    for callback in await receiver.receive(2):
        signed = callback.url, callback.parameters, callback.signature
        assert RequestValidator(token).validate(*signed)
        assert not RequestValidator("other").validate(*signed)


async def test_through_a_service_queued_comes_first(simulator: Simulator, receiver: "Receiver") -> None:
    service = messaging_service_sid("marketing")
    await send(simulator, receiver.url, From=None, MessagingServiceSid=service)
    callbacks = await receiver.receive(3)
    assert [callback.status for callback in callbacks] == ["queued", "sent", "delivered"]
    assert {callback.parameters["MessagingServiceSid"] for callback in callbacks} == {service}


async def test_what_expires_in_the_queue_fails(simulator: Simulator, receiver: "Receiver") -> None:
    await send(simulator, receiver.url, From="+18885550100")
    await send(simulator, receiver.url, From="+18885550100", ValidityPeriod="1")
    (failed,) = await receiver.receive(1)
    assert (failed.status, failed.parameters["ErrorCode"]) == ("failed", "30036")


async def test_a_full_queue_fails_what_came_through_a_service(simulator: Simulator, receiver: "Receiver") -> None:
    service = messaging_service_sid("slow")
    await send(simulator, receiver.url, From=None, MessagingServiceSid=service, Body="x" * 700)
    (failed,) = await receiver.receive(1)
    assert (failed.status, failed.parameters["ErrorCode"]) == ("failed", "30001")


async def test_what_does_not_arrive_says_why(simulator_with: "OpenSimulator", receiver: "Receiver") -> None:
    simulator = await simulator_with(undelivered_share=1.0)
    await send(simulator, receiver.url)
    _, undelivered = await receiver.receive(2)
    assert undelivered.status == "undelivered"
    assert undelivered.parameters["ErrorCode"] in {"30003", "30005", "30008"}


async def test_an_error_of_ours_is_not_retried_unless_the_fragment_asks_for_it(
    simulator: Simulator, receiver: "Receiver"
) -> None:
    receiver.statuses = [500, 500]
    await send(simulator, receiver.url)
    assert [callback.status for callback in await receiver.receive(2)] == ["sent", "delivered"]
    assert simulator.report()["callbacks"]["retried"] == 0
    receiver.statuses = [500, 503]
    await send(simulator, f"{receiver.url}#rc=2&rp=5xx")
    callbacks = await receiver.receive(4)
    assert Counter(callback.status for callback in callbacks).total() == 4
    assert simulator.report()["callbacks"]["retried"] == 2
    tokens = Counter(callback.token for callback in callbacks)
    assert len(tokens) == 2  # the same on its retries


async def test_a_refused_connection_is_tried_once_more(simulator: Simulator, receiver: "Receiver") -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        await send(simulator, f"http://127.0.0.1:{unused.getsockname()[1]}/")
        await send(simulator, receiver.url)  # behind it in every respect but the wait for the second try
        await receiver.receive(2)
        await send(simulator, receiver.url)
        await receiver.receive(2)
    assert simulator.report()["callbacks"]["retried"] >= 1


@pytest.mark.parametrize("host", ["hooks.example.com", "192.0.2.1", "localhost.example.com"])
async def test_only_this_machine_is_called(simulator: Simulator, receiver: "Receiver", host: str) -> None:
    await send(simulator, f"http://{host}/twilio/status")
    await send(simulator, receiver.url)
    await receiver.receive(2)
    counts = simulator.report()["callbacks"]
    assert counts["not_loopback"] >= 1
    assert counts["failed"] == 0


async def test_a_duplicate_has_the_same_token(simulator_with: "OpenSimulator", receiver: "Receiver") -> None:
    simulator = await simulator_with(callback_duplicate_share=1.0)
    await send(simulator, receiver.url)
    tokens = Counter(callback.token for callback in await receiver.receive(4))
    assert sorted(tokens.values()) == [2, 2]


async def test_a_late_callback_comes_after_the_final_one(simulator_with: "OpenSimulator", receiver: "Receiver") -> None:
    simulator = await simulator_with(callback_reorder_share=1.0)
    await send(simulator, receiver.url)
    assert [callback.status for callback in await receiver.receive(2)] == ["delivered", "sent"]


async def test_a_forgery_says_something_else_and_no_token_of_an_account_signed_it(
    simulator_with: "OpenSimulator", receiver: "Receiver"
) -> None:
    simulator = await simulator_with(callback_forged_share=1.0)
    receiver.statuses = [204, 403, 204, 204]
    await send(simulator, f"{receiver.url}#rc=5&rp=5xx")
    callbacks = await receiver.receive(4)
    assert Counter(callback.status for callback in callbacks) == {"failed": 2, "sent": 1, "delivered": 1}
    for callback in callbacks:
        signed = callback.url, callback.parameters, callback.signature
        assert RequestValidator(TOKEN).validate(*signed) is (callback.status != "failed")


async def test_an_answer_can_come_after_the_callbacks(simulator_with: "OpenSimulator", receiver: "Receiver") -> None:
    simulator = await simulator_with(callback_early_share=1.0)
    async with asyncio.TaskGroup() as tasks:
        sending = tasks.create_task(send(simulator, receiver.url))
        await receiver.receive(1)
        assert not sending.done()


@pytest.mark.parametrize("settings", [{"callbacks": False}, {"callback_loss_share": 1.0}])
async def test_callbacks_can_be_turned_off_or_lost(
    simulator_with: "OpenSimulator", receiver: "Receiver", settings: dict[str, Any]
) -> None:
    silent, speaking = await simulator_with(**settings), await simulator_with()
    await send(silent, f"{receiver.url}?mid=silent")
    for _ in range(3):
        await send(speaking, f"{receiver.url}?mid=speaking")
        assert {callback.url.partition("=")[2] for callback in await receiver.receive(2)} == {"speaking"}
    assert silent.report()["reached"] == {"sent": 1, "delivered": 1}
