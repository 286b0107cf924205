"""What `dispatcher campaign` does: looks at campaigns, and has every worker obey what an operator says of them."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from dispatcher.clock import Clock
from dispatcher.control.board import Board, open_board
from dispatcher.control.campaigns import finish
from dispatcher.control.progress import WORTH_REMEMBERING, Progress, count_results
from dispatcher.domain.control import CampaignRecord, Order
from dispatcher.domain.errors import DispatcherError
from dispatcher.domain.settings import Settings
from dispatcher.transport.kafka import ensure_topics, make_admin, make_consumer, running
from dispatcher.transport.topics import topic

Change = Callable[[str, CampaignRecord, Order], CampaignRecord]


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What is known of a campaign: its record, and whether all of it is published. *workers* are those that run.

    *progress* is None where its results were not counted.
    """

    name: str
    record: CampaignRecord
    is_published: bool
    workers: tuple[str, ...]
    progress: Progress | None = None

    def state(self, now: datetime) -> str:
        """Return its state at *now*; a running campaign is `scheduled` before its time."""
        begun = self.record.begun
        if self.record.state == "running" and begun is not None and begun.not_before and begun.not_before > now:
            return "scheduled"
        return self.record.state

    def waits_for(self, now: datetime) -> str:
        """Return what it waits for at *now*, as far as can be told from here; empty when for nothing."""
        record, begun = self.record, self.record.begun
        if record.state in {"finished", "cancelled"}:
            return ""
        if record.is_held:
            order = f" ({record.state} {record.order})" if record.order else ""
            return f"`dispatcher campaign resume`{order}"
        if begun is not None and begun.not_before and begun.not_before > now:
            return f"its beginning at {begun.not_before:%Y-%m-%d %H:%M} UTC"
        if not self.workers:
            return "a worker: none runs, so start `dispatcher run`"
        rate = f"its own rate of {record.rate}, or " if record.rate else ""
        pool = f'the senders of the pool "{begun.pool}"' if begun else "its senders"
        return f"{rate}{pool}; dispatcher_waiting_messages of the workers says which limit"


async def list_campaigns(settings: Settings, clock: Clock) -> list[Look]:
    """Return every campaign of which anything was said, the latest first."""
    async with open_board(settings, clock) as board:
        workers = await board.members()
        looks = [_look(board, name, workers) for name in board.campaigns]
    return sorted(looks, key=_latest, reverse=True)


async def show_campaign(settings: Settings, clock: Clock, name: str, *, progress: Callable[[int, int], None]) -> Look:
    """Return what is known of the campaign *name*, its results counted.

    When each of its recipients has one it is finished, and that is written down: results are not kept for ever.
    """
    kafka, results = settings.kafka, settings.topics.results
    async with open_board(settings, clock) as board, running(make_consumer(kafka, group=False), kafka) as consumer:
        record = known(board, name)
        async with running(make_admin(kafka), kafka) as admin:
            await ensure_topics(admin, kafka, [topic(settings, results)])
        begun = record.begun
        before = board.counted.get(name)
        found, counted = await count_results(
            consumer,
            clock,
            topic=results,
            partitions=kafka.partitions,
            campaign=name,
            since=begun.at if begun else None,
            before=before if before is not None and before.mark == board.mark(name) else None,
            progress=progress,
        )
        if counted.records >= WORTH_REMEMBERING:
            await board.remember(name, counted.remembered(board.mark(name)))
        is_complete = begun is not None and board.is_published(name) and found.done >= begun.recipients
        if is_complete and record.state == "running":
            order = Order(by="dispatcher", at=clock.now(), why="every recipient has a result")
            await board.change_campaign(name, lambda before: finish(name, before or record, order))
        return _look(board, name, await board.members(), found)


async def change_campaign(
    settings: Settings, clock: Clock, name: str, change: Change, order: Order, *, unknown: bool = False
) -> list[str]:
    """Write what *change* makes of the campaign *name*; return the workers, all of which obey it then.

    *unknown*: also when nobody has said anything about it yet.
    """
    async with open_board(settings, clock) as board:
        if not unknown:
            known(board, name)
        offset = await board.change_campaign(name, lambda before: change(name, before or CampaignRecord(), order))
        return await board.wait_until_obeyed(offset)


def known(board: Board, name: str) -> CampaignRecord:
    """Return the record of the campaign *name*; `DispatcherError` when nothing was said of it."""
    record = board.campaigns.get(name)
    if record is None:
        names = ", ".join(sorted(board.campaigns)[:10]) or "none"
        raise DispatcherError(
            f'nothing is known of a campaign "{name}" (known: {names}); where other programs publish its jobs, '
            "say --unknown"
        )
    return record


def _look(board: Board, name: str, workers: list[str], progress: Progress | None = None) -> Look:
    return Look(
        name=name,
        record=board.campaigns[name],
        is_published=board.is_published(name),
        workers=tuple(workers),
        progress=progress,
    )


def _latest(look: Look) -> float:
    record = look.record
    times = [one.at for one in (record.order, record.begun) if one is not None]
    return max((at.timestamp() for at in times), default=0.0)
