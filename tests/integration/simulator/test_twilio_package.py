"""The real `twilio` package against the stand-in: what it takes for Twilio's, our code may, too."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest
from asyncio_throttle.throttler import Throttler
from twilio.base.exceptions import TwilioRestException
from twilio.http.async_http_client import AsyncTwilioHttpClient
from twilio.http.http_client import TwilioHttpClient
from twilio.rest import Client
from yarl import URL

from dispatcher.clock import SystemClock
from dispatcher.delivery.control_plane import ThrottledHttpClient
from dispatcher.domain.segments import count_segments
from dispatcher.simulator.line import messaging_service_sid
from dispatcher.simulator.server import Simulator
from dispatcher.transport.http import open_http

MAIN, PROMO = "AC" + "1" * 32, "AC" + "2" * 32
TOKEN = "main-token"

MakeClient = Callable[..., Any]

# The package hands aiohttp its credentials in a way that aiohttp gives up.
pytestmark = [
    pytest.mark.filterwarnings("ignore:BasicAuth is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The 'auth' parameter is deprecated:DeprecationWarning"),
]


@pytest.fixture
def client_for(simulator: Simulator) -> MakeClient:
    """Make a client of the package whose API is the stand-in."""

    def make(user: str = MAIN, password: str = TOKEN, account: str | None = None, **changes: Any) -> Any:
        client = Client(user, password, account, **changes)
        client.api.base_url = simulator.url
        return client

    return make


@pytest.fixture(params=["the package's own", "wire", "aiohttp"])
async def http_client(request: pytest.FixtureRequest, simulator: Simulator) -> AsyncIterator[Any]:
    """What the package speaks by: the same must come of it by our clients as by its own."""
    if request.param not in {"wire", "aiohttp"}:
        async with AsyncTwilioHttpClient() as http_client:
            yield http_client
        return
    async with open_http(request.param, simulator.url, request_timeout=10.0, clock=SystemClock()) as send:
        yield ThrottledHttpClient(send, URL(simulator.url), Throttler(rate_limit=1_000_000, period=1.0))


@pytest.fixture
def client(client_for: MakeClient, http_client: Any) -> Any:
    return client_for(http_client=http_client)


def text(**changes: Any) -> dict[str, Any]:
    fields = {"to": "+12065550142", "from_": "72345", "body": "Hi Ana"} | changes
    return {name: value for name, value in fields.items() if value is not None}


async def test_the_blocking_client_sends_fetches_and_lists(client_for: MakeClient) -> None:
    http_client = TwilioHttpClient()
    client = client_for(http_client=http_client)

    def talk() -> tuple[Any, Any, Any]:
        sent = client.messages.create(**text())
        return sent, client.messages(sent.sid).fetch(), client.messages.list(to="+12065550142")

    sent, fetched, listed = await asyncio.to_thread(talk)
    assert http_client.session is not None
    http_client.session.close()
    assert (sent.status, sent.direction, sent.num_segments) == ("queued", "outbound-api", "1")
    assert (sent.from_, sent.to, sent.body, sent.error_code) == ("72345", "+12065550142", "Hi Ana", None)
    assert fetched.sid == sent.sid
    assert fetched.date_created == sent.date_created
    assert [message.sid for message in listed] == [sent.sid]


async def test_the_async_client_sends_what_unicode_there_is(client: Any, simulator: Simulator) -> None:
    body = "Ça va, Zoë? 👋🏽 50 % & mehr = „gut“" * 4
    sent = await client.messages.create_async(**text(body=body))
    assert sent.body == body
    assert sent.num_segments == str(count_segments(body))
    assert simulator.report()["senders"]["72345"]["segments"] == count_segments(body)


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"to": "+15005550001"}, 400, 21211),
        ({"to": "+15005550004"}, 400, 21610),
        ({"to": "Ana"}, 400, 21211),
        ({"from_": "+15005550007"}, 400, 21606),
        ({"from_": "+15005550008"}, 429, 21611),
        ({"from_": "+12065559999"}, 400, 21659),
        ({"from_": "+12065550100"}, 400, 21660),
        ({"from_": None}, 400, 21603),
        ({"body": None}, 400, 21602),
        ({"body": "x" * 1601}, 400, 21617),
        ({"from_": None, "messaging_service_sid": messaging_service_sid("nobody")}, 400, 21701),
        ({"from_": "+18885550100", "body": "x" * 700}, 429, 21611),
    ],
)
async def test_a_refusal_raises_with_its_code(
    client: Any, simulator: Simulator, changes: dict[str, Any], status: int, code: int
) -> None:
    with pytest.raises(TwilioRestException) as caught:
        await client.messages.create_async(**text(**changes))
    assert (caught.value.status, caught.value.code) == (status, code)
    assert simulator.report()["accounts"]["main"]["refusals"] == {str(code): 1}


@pytest.mark.parametrize(("user", "password"), [(MAIN, "wrong"), (PROMO, "promo-token")])
async def test_credentials_that_do_not_hold_are_refused(
    client_for: MakeClient, http_client: Any, user: str, password: str
) -> None:
    client = client_for(user, password, MAIN, http_client=http_client)
    with pytest.raises(TwilioRestException) as caught:
        await client.messages.create_async(**text())
    assert (caught.value.status, caught.value.code) == (401, 20003)


async def test_a_parent_sends_for_its_subaccount(client_for: MakeClient, http_client: Any) -> None:
    client = client_for(account=PROMO, http_client=http_client)
    sent = await client.messages.create_async(**text(from_="+12065550100"))
    assert (await client.api.accounts(PROMO).fetch_async()).owner_account_sid == MAIN
    assert sent.account_sid == PROMO


async def test_through_a_service_the_sender_comes_later(client: Any) -> None:
    service = messaging_service_sid("marketing")
    sent = await client.messages.create_async(**text(from_=None, messaging_service_sid=service))
    assert (sent.status, sent.from_, sent.num_segments, sent.messaging_service_sid) == ("accepted", None, "0", service)
    fetched = await client.messages(sent.sid).fetch_async()
    assert (fetched.from_, fetched.num_segments) == ("72345", "1")


async def test_media_make_an_mms_that_counts_as_one(client: Any) -> None:
    urls = ["https://example.com/a.png", "https://example.com/b.png"]
    sent = await client.messages.create_async(**text(body="x" * 500, media_url=urls))
    assert (sent.sid[:2], sent.num_media, sent.num_segments) == ("MM", "2", "1")


async def test_lists_come_newest_first_page_by_page_and_filtered(client: Any) -> None:
    sids = []
    for number in range(7):
        to = "+12065550142" if number % 2 == 0 else "+12065550143"
        sids.append((await client.messages.create_async(**text(to=to, body=str(number)))).sid)
    sids.reverse()
    assert [message.sid for message in await client.messages.list_async()] == sids
    assert [message.sid for message in await client.messages.list_async(page_size=2)] == sids
    assert [message.sid for message in await client.messages.list_async(page_size=3, limit=5)] == sids[:5]
    to_first = await client.messages.list_async(to="+12065550142", from_="72345", page_size=3)
    assert [message.sid for message in to_first] == sids[::2]
    assert await client.messages.list_async(to="+12065550142", from_="+18885550100") == []


async def test_lists_by_date_show_only_what_was_sent(client: Any) -> None:
    queued = await client.messages.create_async(**text(from_="+18885550100"))
    sent = await client.messages.create_async(**text())
    async with asyncio.timeout(10):
        while (fetched := await client.messages(sent.sid).fetch_async()).date_sent is None:
            pass
    assert (await client.messages(queued.sid).fetch_async()).date_sent is None
    day = timedelta(days=1)
    for asked, found in (
        ({"date_sent": fetched.date_sent}, [sent.sid]),
        ({"date_sent_after": fetched.date_sent - day}, [sent.sid]),
        ({"date_sent_before": fetched.date_sent + day}, [sent.sid]),
        ({"date_sent_before": fetched.date_sent - day}, []),
        ({"date_sent_after": fetched.date_sent + day}, []),
    ):
        assert [message.sid for message in await client.messages.list_async(**asked)] == found


async def test_a_message_of_another_account_is_not_found(client_for: MakeClient, client: Any, http_client: Any) -> None:
    sid = (await client.messages.create_async(**text())).sid
    promo = client_for(PROMO, "promo-token", http_client=http_client)
    with pytest.raises(TwilioRestException) as caught:
        await promo.messages(sid).fetch_async()
    assert await promo.messages.list_async() == []
    assert (caught.value.status, caught.value.code) == (404, 20404)


async def test_the_accounts_numbers_are_listed(client: Any) -> None:
    numbers = await client.incoming_phone_numbers.list_async()
    assert [number.phone_number for number in numbers] == ["+18885550100"]
    assert numbers[0].capabilities["sms"] is True
    assert await client.incoming_phone_numbers.list_async(phone_number="+12065550100") == []
    codes = await client.api.account.short_codes.list_async()
    assert [code.short_code for code in codes] == ["72345"]


async def test_the_report_says_what_was_sent(client: Any, simulator: Simulator) -> None:
    bodies = ["x" * length for length in (1, 161, 1600)] + ["ж" * length for length in (70, 71)]
    for body in bodies:
        await client.messages.create_async(**text(body=body))
    seen = simulator.report()["senders"]["72345"]
    segments = [count_segments(body) for body in bodies]
    assert (seen["messages"], seen["segments"], seen["largest"]) == (5, sum(segments), max(segments))
    assert seen["peak_1s"] <= sum(segments)
    assert simulator.report()["accounts"]["main"]["requests"] == 5
