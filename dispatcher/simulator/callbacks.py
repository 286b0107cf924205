"""Sends status callbacks: signed, late, twice, out of order or never, as the settings have it."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from heapq import heappop, heappush
from ipaddress import ip_address
from itertools import count
from typing import Final
from urllib.parse import urlencode, urlsplit

from twilio.request_validator import RequestValidator

from dispatcher.clock import Clock
from dispatcher.domain.fleet import Fleet
from dispatcher.simulator.carrier import Carriers
from dispatcher.simulator.message import FINAL, Change
from dispatcher.simulator.poster import Poster
from dispatcher.simulator.report import CallbackCounts
from dispatcher.simulator.resources import API_VERSION
from dispatcher.simulator.retry_policy import Failure, read_policy
from dispatcher.simulator.weather import CallbackFate, Weather

DELIVERERS: Final = 64

# After so long, tries included, Twilio gives up.
_ALL_TRIES_SECONDS: Final = 15.0
# Seconds that a callback is late by so that the final one, at most half a second behind it, overtakes it.
_LATE: Final = (1.0, 3.0)
_DUPLICATE_AFTER: Final = (0.0, 2.0)
_FIRST_BACKOFF: Final = 0.1
# Whoever forges a callback has no account's token.
_FORGER: Final = RequestValidator("a-guess")
_FORGED_CODE: Final = 30002


@dataclass(slots=True)
class _Callback:
    """What has changed, the token of the event, and how often it was tried since *first_due*."""

    change: Change
    token: str
    first_due: float
    tries: int = 0
    is_forged: bool = False


class Callbacks:
    """Holds what is to be sent until it is due; `deliver` runs in as many tasks as there may be requests at a time."""

    def __init__(self, fleet: Fleet, carriers: Carriers, weather: Weather, clock: Clock) -> None:
        self.counts = CallbackCounts()
        self._carriers = carriers
        self._weather = weather
        self._clock = clock
        self._poster = Poster()
        self._validators = {
            account.sid: RequestValidator(account.auth_token.reveal()) for account in fleet.accounts.values()
        }
        self._scheduled: list[tuple[float, int, _Callback]] = []
        self._order = count()
        self._due: asyncio.Queue[_Callback] = asyncio.Queue(maxsize=DELIVERERS)

    def close(self) -> None:
        """Drop the connections; nobody delivers any more."""
        self._poster.close()

    def announce(self, changes: Iterable[Change]) -> None:
        """Schedule the callbacks for *changes*."""
        for change in changes:
            if change.callback is None or not self._weather.settings.callbacks:
                continue
            if not _is_loopback(*urlsplit(change.callback)[:2]):
                self.counts.not_loopback += 1
                continue
            fate = self._weather.callback_fate(may_be_late=change.status not in FINAL)
            if fate is CallbackFate.LOST:
                self.counts.lost += 1
                continue
            token = f"{self._carriers.sid(change.message)}-{change.status}"
            late = self._weather.delay(*_LATE) if fate is CallbackFate.LATE else 0.0
            self.counts.late += fate is CallbackFate.LATE
            self._schedule(_Callback(change, token, change.at + late), change.at + late)
            if fate is CallbackFate.DUPLICATED:
                self.counts.duplicated += 1
                again = change.at + self._weather.delay(*_DUPLICATE_AFTER)
                self._schedule(_Callback(change, token, again), again)
            if self._weather.is_forged_beside():
                # It says what nobody told of yet: counted, it would show.
                lie = change._replace(status="failed", code=_FORGED_CODE)
                self._schedule(_Callback(lie, f"{token}-forged", change.at, is_forged=True), change.at)

    def release(self, now: float) -> None:
        """Give the deliverers what is due by *now*; what they can't take yet stays scheduled."""
        while self._scheduled and self._scheduled[0][0] <= now and not self._due.full():
            self._due.put_nowait(heappop(self._scheduled)[2])
        self.counts.waiting = len(self._scheduled) + self._due.qsize()

    async def deliver(self) -> None:
        """Send one callback after the other, until cancelled."""
        while True:
            callback = await self._due.get()
            failure = await self._post(callback)
            if callback.is_forged:
                self.counts.forged += failure is not None
                self.counts.forged_taken += failure is None
            elif failure is None:
                self.counts.sent += 1
            else:
                self._retry(callback, failure)
            self.release(self._clock.monotonic())

    def _schedule(self, callback: _Callback, due: float) -> None:
        heappush(self._scheduled, (due, next(self._order), callback))

    async def _post(self, callback: _Callback) -> Failure | None:
        """Send *callback* and return how that failed."""
        url = (callback.change.callback or "").partition("#")[0]
        parameters = self._parameters(callback.change)
        validator = _FORGER if callback.is_forged else self._validators[callback.change.message.account]
        signature = validator.compute_signature(url, parameters)
        headers = {
            "User-Agent": "TwilioProxy/1.1",
            "X-Twilio-Signature": signature,
            "I-Twilio-Idempotency-Token": callback.token,
        }
        return await self._poster.post(url, urlencode(parameters).encode(), headers)

    def _retry(self, callback: _Callback, failure: Failure) -> None:
        """Schedule *callback* again where its URL's retry policy says so."""
        policy = read_policy((callback.change.callback or "").partition("#")[2])
        callback.tries += 1
        due = self._clock.monotonic() + self._weather.delay(_FIRST_BACKOFF, _FIRST_BACKOFF * 2.0**callback.tries)
        is_in_time = due - callback.first_due < _ALL_TRIES_SECONDS
        if failure not in policy.failures or callback.tries > policy.retries or not is_in_time:
            self.counts.failed += 1
            return
        self.counts.retried += 1
        self._schedule(callback, due)

    def _parameters(self, change: Change) -> dict[str, str]:
        message, sid = change.message, self._carriers.sid(change.message)
        parameters = {
            "AccountSid": message.account,
            "ApiVersion": API_VERSION,
            "From": message.sender,
            "To": message.to,
            "MessageSid": sid,
            "SmsSid": sid,
            "MessageStatus": change.status,
            "SmsStatus": change.status,
        }
        if message.service is not None:
            parameters["MessagingServiceSid"] = message.service
        if change.code is not None:
            parameters["ErrorCode"] = str(change.code)
        if change.status in {"delivered", "undelivered"}:
            parameters["RawDlrDoneDate"] = f"{self._carriers.almanac.wall(change.at):%y%m%d%H%M}"
        return parameters


@lru_cache(maxsize=128)
def _is_loopback(scheme: str, netloc: str) -> bool:
    """Say whether a URL with this start stays on this machine."""
    host = urlsplit(f"{scheme}://{netloc}").hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
