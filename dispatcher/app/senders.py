"""What `dispatcher sender` does: looks at senders, and has every worker obey what an operator says of them."""

from collections.abc import Callable

from dispatcher.clock import Clock
from dispatcher.control.board import open_board
from dispatcher.domain.control import SenderRecord
from dispatcher.domain.errors import DispatcherError
from dispatcher.domain.fleet import Carrier
from dispatcher.domain.settings import Settings
from dispatcher.engine.explain import Explanation, explain


async def sender_records(settings: Settings, clock: Clock) -> dict[str, SenderRecord]:
    """Return what was said of each sender of the config, by number."""
    async with open_board(settings, clock) as board:
        return {number: board.senders.get(number, SenderRecord()) for number in settings.fleet.senders}


async def change_sender(
    settings: Settings, clock: Clock, number: str, change: Callable[[SenderRecord], SenderRecord]
) -> list[str]:
    """Write what *change* makes of the sender with *number*; return the workers, all of which obey it then."""
    if number not in settings.fleet.senders:
        numbers = ", ".join(list(settings.fleet.senders)[:10])
        raise DispatcherError(f'the config has no sender "{number}"; its senders are {numbers}')
    async with open_board(settings, clock) as board:
        offset = await board.change_sender(number, change)
        return await board.wait_until_obeyed(offset)


async def explain_message(
    settings: Settings, clock: Clock, *, to: str, pool: str, carrier: Carrier | None, has_media: bool
) -> Explanation:
    """Say by whom a message would go now, and what it would meet there."""
    records = await sender_records(settings, clock)
    return explain(settings, records, clock, to=to, pool=pool, carrier=carrier, has_media=has_media)
