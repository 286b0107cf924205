"""Calls the receiver as Twilio does: signed status callbacks at a steady pace, over kept connections."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import urlencode

from twilio.request_validator import RequestValidator

from dispatcher.clock import SystemClock
from dispatcher.simulator.poster import Poster

# More than a receiver in good health ever needs, and fewer than it lets in.
_AT_ONCE = 400


class Callers:
    """Callers for *account*, whose receiver is at *public_url*.

    *kept* are the ids of the callbacks that were answered with 2xx, *answer_times* how long that took from when each
    was due (seconds): a receiver that stalls is not given time by callers who wait for it.
    """

    def __init__(self, public_url: str, account: Mapping[str, str]) -> None:
        self.kept: set[str] = set()
        self.refused: set[str] = set()
        self.answer_times: list[float] = []
        self._public_url = public_url
        self._account = account["sid"]
        self._validator = RequestValidator(account["auth_token"])
        self._clock = SystemClock()
        self._poster = Poster()

    async def call(self, mids: Iterable[str], *, rate: float) -> None:
        """Make a callback for each of *mids*, *rate* a second, and come back when all are answered."""
        start = self._clock.monotonic()
        due = ((start + number / rate, mid) for number, mid in enumerate(mids))
        async with asyncio.TaskGroup() as tasks:
            for _ in range(_AT_ONCE):
                tasks.create_task(self._call_in_turn(due))

    def close(self) -> None:
        """Drop the connections."""
        self._poster.close()

    async def _call_in_turn(self, due: Iterator[tuple[float, str]]) -> None:
        for at, mid in due:
            await asyncio.sleep(max(0.0, at - self._clock.monotonic()))
            url, form, headers = self._request(mid)
            failure = await self._poster.post(url, form, headers)
            self.answer_times.append(self._clock.monotonic() - at)
            (self.refused if failure else self.kept).add(mid)

    def _request(self, mid: str) -> tuple[str, bytes, dict[str, str]]:
        url = f"{self._public_url}/twilio/status?mid={mid}&a=1"
        fields = {
            "AccountSid": self._account,
            "ApiVersion": "2010-04-01",
            "From": "72345",
            "To": "+12065550142",
            "MessageSid": f"SM{mid:>032}",
            "SmsSid": f"SM{mid:>032}",
            "MessageStatus": "delivered",
            "SmsStatus": "delivered",
            "RawDlrDoneDate": "2611241800",
        }
        headers = {
            "X-Twilio-Signature": self._validator.compute_signature(url, fields),
            "I-Twilio-Idempotency-Token": f"{mid}-delivered",
        }
        return url, urlencode(fields).encode(), headers
