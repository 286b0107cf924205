"""Makes the bytes of a request to Twilio's Messages API: prepared once a sender, completed for each message."""

import re
from collections.abc import Mapping
from functools import lru_cache
from math import inf
from urllib.parse import quote, quote_plus

from dispatcher.domain.fleet import Pool, Sender, SenderKind
from dispatcher.domain.message import Message

# Twilio retries a callback that was not taken only when the URL's fragment asks for it.
# https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides
_RETRY_CALLBACKS = quote_plus("#rc=5&rp=all")
STATUS_PATH = "/twilio/status"
# The most that Twilio takes, and what it takes for granted. Seconds.
LONGEST_VALIDITY = 36000
_NEEDS_NO_QUOTES = re.compile(r"[A-Za-z0-9_.~-]*")
# `str.translate` over a table is four times as fast as `quote_plus` on a text of ASCII characters.
_QUOTED = {code: quote_plus(chr(code)) for code in range(128)}


class Request:
    """A POST that creates one message. *account* is a name of the config."""

    __slots__ = ("account", "form", "message")

    def __init__(self, account: str, form: bytes, message: Message) -> None:
        self.account = account
        self.form = form
        self.message = message


class RequestMaker:
    """Makes requests for the messages of *pools*; *public_url* is where Twilio sends its callbacks, if anywhere.

    With *only_number* everything is sent from that, whoever its sender is.
    """

    def __init__(self, pools: Mapping[str, Pool], public_url: str | None, only_number: str | None = None) -> None:
        self._only_number = only_number
        # The parameter up to the message's id.
        self._callback = (
            f"&StatusCallback={quote_plus(public_url.rstrip('/') + STATUS_PATH + '?mid=')}" if public_url else ""
        )
        self._heads: dict[tuple[str, str], str] = {}
        self.adopt(pools)

    def adopt(self, pools: Mapping[str, Pool]) -> None:
        """Make requests for the messages of *pools* from now on."""
        self._validities = {name: inf if pool.validity is None else pool.validity for name, pool in pools.items()}

    def make(self, message: Message, sender: Sender, most: float = inf) -> Request:
        """Return the request that sends *message* by *sender*, to lie at Twilio for *most* seconds."""
        job = message.job
        head = self._heads.get((job.pool, sender.number))
        if head is None:
            head = self._heads[job.pool, sender.number] = f"{self._origin(sender)}&To=%2B"
        form = f"{head}{job.to[1:]}"
        if job.body:
            form += f"&Body={_quoted(job.body)}"
        for url in job.media_urls:
            form += f"&MediaUrl={_quoted(url)}"
        if (validity := min(self._validities[job.pool], most)) <= LONGEST_VALIDITY:
            form += f"&ValidityPeriod={max(1, int(validity))}"
        if self._callback:
            mid = job.id if _NEEDS_NO_QUOTES.fullmatch(job.id) else quote_plus(quote(job.id, safe=""))
            form += f"{self._callback}{mid}%26a%3D{message.attempts}{_RETRY_CALLBACKS}"
        return Request(sender.account, form.encode("ascii"), message)

    def _origin(self, sender: Sender) -> str:
        if sender.kind is SenderKind.MESSAGING_SERVICE and self._only_number is None:
            return f"MessagingServiceSid={sender.number}"
        return f"From={quote_plus(self._only_number or sender.number)}"


@lru_cache(maxsize=256)  # most of a campaign's messages have their text, or their picture, in common
def _quoted(text: str) -> str:
    return text.translate(_QUOTED) if text.isascii() else quote_plus(text)
