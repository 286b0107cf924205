"""Asks Twilio about messages whose callbacks never came, and writes what it says to the callbacks topic.

There it is read like a callback: the view has one source, and can be built anew from it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import msgspec
import structlog

from dispatcher.clock import Clock
from dispatcher.delivery.control_plane import Fetched
from dispatcher.domain.callback import Callback
from dispatcher.domain.errors import DispatcherError
from dispatcher.telemetry import metrics
from dispatcher.tracking.follower import ViewThread
from dispatcher.tracking.view import Overdue, View
from dispatcher.tracking.writing import Entry

log = structlog.get_logger()

LOOK_EVERY = 1.0
# When Twilio cannot be asked at all.
RETRY_AFTER = 10.0
# So many are asked about side by side; the control plane's throttle sets the pace.
SIDE_BY_SIDE = 16
# Messages that are asked about before looking again which campaigns are the newest.
ROUND = 200

# From an account's name and a SID to what Twilio says; None where it has no such message.
Fetch = Callable[[str, str], Awaitable[Fetched | None]]
_encode = msgspec.json.Encoder().encode


class Poller:
    """Looks for overdue messages in *view* for ever; not while *is_current* says that callbacks are yet to be read."""

    def __init__(
        self,
        view: View,
        thread: ViewThread,
        clock: Clock,
        *,
        fetch: Fetch,
        post: Callable[[Entry], None],
        is_current: Callable[[], bool],
    ) -> None:
        self._view = view
        self._thread = thread
        self._clock = clock
        self._fetch = fetch
        self._post = post
        self._is_current = is_current
        # Messages whose callbacks did not come in time; None while nobody knows.
        self.overdue: int | None = None

    async def run(self) -> None:
        """Ask about what is overdue."""
        while True:
            await self._clock.sleep(LOOK_EVERY)
            if not self._is_current():
                self.overdue = None
                continue
            now = self._clock.epoch()
            self.overdue = await self._thread.do(self._view.count_overdue, now)
            metrics.CALLBACKS_MISSING.set(self.overdue)
            if due := await self._thread.do(self._view.overdue, now, ROUND):
                await self._ask(due)

    async def _ask(self, due: Sequence[Overdue]) -> None:
        waiting = iter(due)
        asked: list[str] = []
        failed: list[DispatcherError] = []

        async def ask_some() -> None:
            for message in waiting:
                try:
                    result = await self._ask_about(message)
                    asked.append(message.mid)
                except DispatcherError as error:
                    result = "failed"
                    failed.append(error)
                metrics.POLLS.labels(result).inc()

        async with asyncio.TaskGroup() as tasks:
            for number in range(min(SIDE_BY_SIDE, len(due))):
                tasks.create_task(ask_some(), name=f"poll-{number}")
        if failed:
            log.warning(
                "Twilio does not say what became of messages; asking later", messages=len(failed), reason=str(failed[0])
            )
        # Where Twilio answers about others, those it does not answer about wait for their turn.
        if asked:
            await self._thread.do(self._view.asked, due, self._clock.epoch())
        else:
            await self._clock.sleep(RETRY_AFTER)

    async def _ask_about(self, message: Overdue) -> str:
        """Ask about *message*, and return what that came to."""
        found = await self._fetch(message.account, message.sid)
        if found is None:
            return "not_found"
        if found.status == message.status:
            return "unchanged"
        callback = Callback(
            kind="polled",
            mid=message.mid,
            attempt=message.attempt,
            account=message.account,
            sid=message.sid,
            status=found.status,
            error_code=found.code,
            token=None,
            parameters={"From": found.sender, "To": found.to},
            received_at=self._clock.now().isoformat(timespec="milliseconds"),
        )
        self._post(Entry(message.mid.encode(), _encode(callback)))
        return "changed"
