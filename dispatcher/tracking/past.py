"""What came to pass lately, as the view has it: a tracker that starts anew goes on counting where the last one was."""

import sqlite3
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from dispatcher.tracking.lifecycle import STAGES, End
from dispatcher.tracking.recent import Step

# Only so many of the latest messages are looked at: minutes of them, at any rate that there is.
_LATEST: Final = 1_000_000
STEP_OF: Final[Mapping[End, Step]] = {End.DELIVERED: "delivered", End.FAILED: "failed", End.REFUSED: "refused"}


class Passed(NamedTuple):
    """So many *messages* came to *step* within the second that begins at *at*; *code* is what they ended with."""

    campaign: str
    sender: str
    step: Step
    at: int
    code: int | None
    messages: int


def since(db: sqlite3.Connection, begin: float) -> Iterator[Passed]:
    """Yield what came to pass from *begin* on, in seconds of the epoch."""
    at_twilio = [name for name, stage in STAGES.items() if stage.rank >= STAGES["accepted"].rank]
    left = [name for name, stage in STAGES.items() if stage.left]
    yield from _found(db, "accepted", at_twilio, "coalesce(accepted_at, changed_at)", "NULL", begin)
    yield from _found(db, "left", left, "coalesce(left_at, changed_at)", "NULL", begin)
    for end, step in STEP_OF.items():
        ended = [name for name, stage in STAGES.items() if stage.end is end]
        yield from _found(db, step, ended, "changed_at", "code", begin)


def _found(
    db: sqlite3.Connection, step: Step, statuses: list[str], at: str, code: str, begin: float
) -> Iterator[Passed]:
    query = f"""
        SELECT campaigns.name, coalesce(sender, ''), CAST({at} AS INTEGER) AS second, {code}, count(*)
        FROM messages JOIN campaigns ON campaigns.id = messages.campaign
        WHERE messages.id > (SELECT max(id) FROM messages) - {_LATEST} AND {at} >= ?
            AND status IN ({", ".join("?" * len(statuses))})
        GROUP BY 1, 2, 3, 4
    """  # noqa: S608 - our own words
    for campaign, sender, second, found, messages in db.execute(query, (begin, *statuses)):
        yield Passed(campaign, sender, step, second, found, messages)
