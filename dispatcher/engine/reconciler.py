"""Looks into what is in doubt: first for a callback, then in Twilio's list of messages."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime

import structlog

from dispatcher.clock import Clock
from dispatcher.delivery.evidence import Listed, find
from dispatcher.domain.errors import DispatcherError, KafkaUnavailableError
from dispatcher.engine.doubts import Doubt, Doubts
from dispatcher.telemetry import metrics

log = structlog.get_logger()

LOOK_EVERY = 0.5
# So many messages are looked up in Twilio's list side by side; the control plane's throttle sets the pace.
SIDE_BY_SIDE = 8

# From message ids and the earliest time of interest to the SIDs that callbacks tell.
Proofs = Callable[[set[str], datetime], Awaitable[Mapping[str, str]]]
# From the number of a sender and a recipient to what Twilio lists.
LookUp = Callable[[str, str], Awaitable[Sequence[Listed]]]


class Reconciler:
    """Resolves *doubts*, for ever."""

    def __init__(self, doubts: Doubts, clock: Clock, *, proofs: Proofs | None, look_up: LookUp) -> None:
        self._doubts = doubts
        self._clock = clock
        self._proofs = proofs
        self._look_up = look_up

    async def run(self) -> None:
        """Look into each message once its hold-off is over."""
        while True:
            await self._clock.sleep(LOOK_EVERY)
            metrics.IN_DOUBT.set(len(self._doubts))
            if due := self._doubts.due():
                await self._look_into(due)

    async def _look_into(self, due: list[Doubt]) -> None:
        proofs = await self._read_proofs(due)
        unproved = []
        for doubt in due:
            sid = proofs.get(doubt.message.job.id)
            if sid is None:
                unproved.append(doubt)
            else:
                self._doubts.found(doubt, sid, 0, "callback")
        log.info("looking into messages in doubt", due=len(due), by_callback=len(due) - len(unproved))
        waiting = iter(unproved)

        async def look_up_some() -> None:
            for doubt in waiting:
                await self._list(doubt)

        async with asyncio.TaskGroup() as tasks:
            for number in range(min(SIDE_BY_SIDE, len(unproved))):
                tasks.create_task(look_up_some(), name=f"look-up-{number}")

    async def _read_proofs(self, due: list[Doubt]) -> Mapping[str, str]:
        if self._proofs is None:
            return {}
        wanted = {doubt.message.job.id for doubt in due}
        try:
            return await self._proofs(wanted, min(doubt.sent_at for doubt in due))
        except KafkaUnavailableError as error:
            log.warning("callbacks cannot be read; Twilio's list decides", error=str(error))
            return {}

    async def _list(self, doubt: Doubt) -> None:
        """Look for one message in Twilio's list; a look that fails does not count."""
        job = doubt.message.job
        try:
            listed = await self._look_up(doubt.sender, job.to)
        except DispatcherError as error:
            log.warning("Twilio's list cannot be read; trying again", error=str(error))
            self._doubts.postpone(doubt)
            return
        message = find(
            listed,
            body=job.body or "",
            media=len(job.media_urls),
            within=self._clock.monotonic() - doubt.left_at,
            is_taken=lambda sid: self._doubts.is_of_another(sid, job.id),
        )
        if message is not None:
            self._doubts.found(doubt, message.sid, message.segments, "list")
        else:
            self._doubts.not_found(doubt)
