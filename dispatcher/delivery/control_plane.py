"""Asks Twilio about itself, seldom: which account this is, what numbers it has. Never on the way of a message.

The `twilio` package does the asking; requests go by the client that messages go by, which has time-outs, and through a
throttle, so that look-ups never take from the messages' share of an account's concurrency.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import urlencode

from aiohttp import encode_basic_auth
from asyncio_throttle.throttler import Throttler
from twilio.base.exceptions import TwilioException, TwilioRestException
from twilio.http import AsyncHttpClient
from twilio.http.response import Response
from twilio.rest import Client
from yarl import URL

from dispatcher.delivery.evidence import Listed
from dispatcher.domain.errors import DispatcherError
from dispatcher.domain.fleet import Account, Sender, SenderKind
from dispatcher.domain.phone import is_service_sid
from dispatcher.domain.rate import Rate
from dispatcher.transport.exchange import ExchangeError, Head, Send
from dispatcher.transport.http import ask

# For an account; Twilio publishes no figure, and a start-up has few look-ups.
LOOK_UPS = Rate(20, "s")
# So many of the latest messages between two numbers are looked at.
LISTED = 50
_TWILIO = URL("https://api.twilio.com")
_TWILIO_MESSAGING = URL("https://messaging.twilio.com")


class Fetched(NamedTuple):
    """What Twilio says of one message of its own: its *status*, and the *code* of what went wrong."""

    status: str
    code: int | None
    sender: str
    to: str


class ControlPlane:
    """Looks things up for one account, *rate* at the most; `DispatcherError` when Twilio refuses or does not answer."""

    def __init__(self, http: Send, account: Account, base_url: str, rate: Rate = LOOK_UPS) -> None:
        self._account = account
        user, password = account.credentials
        # In whole requests: fewer than one a second are one in more seconds.
        at_once = max(1, int(rate.per_second))
        throttler = Throttler(rate_limit=at_once, period=at_once / rate.per_second)
        self._http_client = ThrottledHttpClient(http, URL(base_url), throttler)
        client = Client(user, password, account_sid=account.sid, http_client=self._http_client)
        self._resources = client.api.v2010.accounts(account.sid)
        self._services = client.messaging.v1.services

    async def status(self) -> str:
        """Return the account's status: `active`, `suspended` or `closed`."""
        with self._in_a_sentence():
            return str((await self._resources.fetch_async()).status)

    async def trouble_with(self, sender: Sender) -> str:
        """Say why *sender* could not send for the account; nothing where it can. The account has to be active."""
        number, lacking = sender.number, f"account {self._account.name} has no such sender"
        with self._in_a_sentence():
            match sender.kind:
                case SenderKind.SHORT_CODE:
                    codes = await self._resources.short_codes.list_async(short_code=number, limit=20)
                    return "" if any(code.short_code == number for code in codes) else lacking
                case SenderKind.MESSAGING_SERVICE:
                    return await self._trouble_with_service(number)
                case SenderKind.ALPHANUMERIC:
                    return ""  # it belongs to nobody; where it may be used Twilio says when it is
                case _:
                    numbers = await self._resources.incoming_phone_numbers.list_async(phone_number=number, limit=20)
                    return "" if any(one.phone_number == number for one in numbers) else lacking

    async def _trouble_with_service(self, sid: str) -> str:
        service = self._services(sid)
        try:
            await service.fetch_async()
        except TwilioRestException as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return f"account {self._account.name} has no such Messaging Service"
            raise
        for senders in (service.phone_numbers, service.short_codes, service.alpha_senders):
            if await senders.list_async(limit=1):
                return ""
        return "the Messaging Service has no sender; add one at Twilio"

    async def messages(self, *, sender: str, to: str) -> list[Listed]:
        """Return the latest messages that Twilio has from *sender* to *to*.

        Not filtered by time: Twilio filters by `DateSent`, which is null while a message is queued. Nor does it filter
        by Messaging Service: of the latest messages to a recipient those of the service are picked here, since by which
        number it sends nobody knows before, and `from` is null until it has chosen.
        """
        is_service = is_service_sid(sender)
        origin = {} if is_service else {"from_": sender}
        with self._in_a_sentence():
            found = await self._resources.messages.list_async(to=to, **origin, limit=LISTED, page_size=LISTED)
        if is_service:
            found = [message for message in found if message.messaging_service_sid == sender]
        now = self._http_client.twilios_time
        return [
            Listed(
                sid=message.sid,
                body=message.body or "",
                # Without a time nothing can be ruled out by its age.
                age=0.0 if now is None else (now - message.date_created).total_seconds(),
                segments=int(message.num_segments or 0),
                media=int(message.num_media or 0),
            )
            for message in found
        ]

    async def message(self, sid: str) -> Fetched | None:
        """Return what Twilio says of the message with *sid*; None where it has no such message."""
        with self._in_a_sentence():
            try:
                found = await self._resources.messages(sid).fetch_async()
            except TwilioRestException as error:
                if error.status == HTTPStatus.NOT_FOUND:
                    return None
                raise
        return Fetched(str(found.status), found.error_code, found.from_ or "", found.to or "")

    @contextmanager
    def _in_a_sentence(self) -> Iterator[None]:
        """Turn what may go wrong into a `DispatcherError`."""
        try:
            yield
        except TwilioRestException as error:
            raise DispatcherError(
                f"Twilio refuses account {self._account.name} ({error.code or error.status}: {error.msg}); "
                "check its sid and credentials"
            ) from error
        except (ExchangeError, TwilioException) as error:
            raise DispatcherError(
                f"Twilio cannot be asked for account {self._account.name}: {error}; "
                "check twilio.base_url and the network"
            ) from error


class ThrottledHttpClient(AsyncHttpClient):  # type: ignore[misc]  # the package is untyped
    """Lets the `twilio` package speak by *http*, to the host that the config names.

    The package's own client has no time-out at all, whatever it is told, and a pool of its own. *twilios_time* is what
    Twilio's clock showed in its last answer, None before.
    """

    def __init__(self, http: Send, base_url: URL, throttler: Throttler) -> None:
        super().__init__(logger=None, is_async=True, timeout=None)
        self.twilios_time: datetime | None = None
        self._http = http
        self._base_url = base_url
        self._throttler = throttler

    async def request(
        self,
        method: str,
        url: str,
        params: dict[str, object] | None = None,
        data: dict[str, object] | None = None,
        headers: dict[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        timeout: float | None = None,  # noqa: ARG002, ASYNC109 - the package's signature; the client has time-outs
        allow_redirects: bool = False,  # noqa: ARG002, FBT001, FBT002 - same; none is followed
    ) -> Response:
        """Send one request of the package's."""
        target = URL(url)
        if target.origin() == _TWILIO:
            target = self._base_url.join(target.relative())
        elif target.origin() == _TWILIO_MESSAGING:
            target = _beside(self._base_url).join(target.relative())
        sent = {"Accept-Encoding": "identity"} | (headers or {})
        if auth is not None:
            sent["Authorization"] = encode_basic_auth(*auth)
        head = Head(method.upper(), target.extend_query(_pairs(params)), sent)
        async with self._throttler:
            reply = await ask(self._http, head, urlencode(_pairs(data)).encode())
        named = {name.decode("latin-1"): value.decode("latin-1") for name, value in reply.headers}
        self.twilios_time = _date_in(named) or self.twilios_time
        return Response(reply.status, reply.body.decode(errors="replace"), named)


def _beside(base_url: URL) -> URL:
    """Return where Messaging Services are asked about: Twilio has a host for them, its stand-in has not."""
    host = base_url.host or ""
    return base_url.with_host(f"messaging.{host.removeprefix('api.')}") if host.startswith("api.") else base_url


def _date_in(headers: Mapping[str, str]) -> datetime | None:
    """Return what the header `Date` says; None where it is missing or no date."""
    shown = next((value for name, value in headers.items() if name.lower() == "date"), "")
    try:
        return parsedate_to_datetime(shown)
    except ValueError:
        return None


def _pairs(values: dict[str, Any] | None) -> list[tuple[str, str]]:
    """Return what the package gives as a dict; a list in it is a parameter that repeats."""
    return [
        (name, str(one))
        for name, value in (values or {}).items()
        for one in (value if isinstance(value, list) else [value])
        if one is not None
    ]
