"""Tells alerts to webhooks, each in its own time: a slow or dead one holds up nobody.

An alert is tried again with growing pauses for about ten minutes; whoever refuses it for good (a 4xx) is not asked
again. The URLs are secrets: whoever knows one can write to the channel behind it. So they are named by their hosts.
"""

import asyncio
from collections import deque
from collections.abc import Iterable
from http import HTTPStatus
from random import Random
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import msgspec
import orjson
import structlog

from dispatcher.clock import Clock
from dispatcher.domain.alert import Alert
from dispatcher.domain.settings import AlertWebhook
from dispatcher.telemetry import metrics

log = structlog.get_logger()

TIMEOUT: Final = 10.0
# Pauses double from the first to the longest, each a little shorter by chance.
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 120.0
TRIES: Final = 12
# Alerts that wait for one webhook; of more the oldest is dropped, which is still in the topic.
MOST_WAITING: Final = 100
_AGAIN = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.TOO_EARLY})


class Webhook:
    """One webhook and what waits for it."""

    def __init__(self, webhook: AlertWebhook, http: aiohttp.ClientSession, clock: Clock, random: Random) -> None:
        self._webhook = webhook
        self._host = urlsplit(webhook.url.reveal()).hostname
        self._http = http
        self._clock = clock
        self._random = random
        self._waiting: deque[Alert] = deque()
        self._wake = asyncio.Event()

    def tell(self, alert: Alert) -> None:
        """Tell *alert* when those before it are told."""
        if len(self._waiting) == MOST_WAITING:
            dropped = self._waiting.popleft()
            self._ended(dropped, "dropped", "too many wait")
        self._waiting.append(alert)
        self._wake.set()

    async def run(self) -> None:
        """Tell what waits, for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                await self._deliver(self._waiting.popleft())

    async def _deliver(self, alert: Alert) -> None:
        body = orjson.dumps(body_of(alert, self._webhook.format))
        pause = FIRST_PAUSE
        reason = ""
        for _ in range(TRIES):
            reason, is_final = await self._try(body)
            if not reason:
                self._ended(alert, "told", "")
                return
            if is_final:
                break
            await self._clock.sleep(pause * self._random.uniform(0.5, 1.0))
            pause = min(LONGEST_PAUSE, pause * 2)
        self._ended(alert, "refused", reason)

    async def _try(self, body: bytes) -> tuple[str, bool]:
        """Return why it did not work, nothing where it did, and whether trying again is of no use."""
        try:
            async with self._http.post(
                self._webhook.url.reveal(),
                data=body,
                headers={"Content-Type": "application/json"},
                timeout=aiohttp.ClientTimeout(total=TIMEOUT),
                allow_redirects=False,
            ) as response:
                if response.ok and response.status < HTTPStatus.MULTIPLE_CHOICES:
                    return "", True
                is_final = response.status < HTTPStatus.INTERNAL_SERVER_ERROR and response.status not in _AGAIN
                return f"it answers {response.status}", is_final
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            # What an error says may hold the URL.
            return type(error).__name__, False

    def _ended(self, alert: Alert, result: str, reason: str) -> None:
        metrics.ALERT_WEBHOOKS.labels(result).inc()
        if result != "told":
            log.warning(
                "an alert did not get to its webhook; it is in the alerts topic",
                alert=alert.alert,
                subject=alert.subject,
                webhook=self._host,
                reason=reason,
            )


class Webhooks:
    """All of them; `run` is to be called beside everything else."""

    def __init__(
        self, webhooks: Iterable[AlertWebhook], http: aiohttp.ClientSession, clock: Clock, random: Random
    ) -> None:
        self._webhooks = [Webhook(webhook, http, clock, random) for webhook in webhooks]

    def tell(self, alert: Alert) -> None:
        """Tell *alert* to each, without waiting for any."""
        for webhook in self._webhooks:
            webhook.tell(alert)

    async def run(self) -> None:
        """Tell what waits, for ever."""
        async with asyncio.TaskGroup() as tasks:
            for number, webhook in enumerate(self._webhooks):
                tasks.create_task(webhook.run(), name=f"alert-webhook-{number}")


def body_of(alert: Alert, form: str) -> Any:
    """Return what is posted: the record as it is in the topic, or a message of Slack's.

    https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
    """
    if form == "json":
        return msgspec.to_builtins(alert)
    sign = {"raised": ":rotating_light:", "cleared": ":white_check_mark:"}[alert.state]
    why = alert.why.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return {"text": f"{sign} *{alert.alert}* {alert.state}: {why}"}
