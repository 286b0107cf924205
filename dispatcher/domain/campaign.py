"""A campaign: what is said to whom, through which pool, how urgently and when."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from dispatcher.domain.fleet import PriorityClass
from dispatcher.domain.rate import Rate
from dispatcher.domain.templates import Template


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """A campaign as its file says it; the pool and the class exist, the template compiles.

    At most one of *body* (the same for everybody) and *template* is set; with neither there are *media_urls*.
    No message leaves before *not_before*, nor later than *expires_at*, nor than *stale_after* seconds after it was to.
    *rate* is the campaign's own throttle, in segments, on top of what the senders allow. *recipients* is a CSV file.
    """

    name: str
    file: Path
    recipients: Path
    pool: str
    priority: PriorityClass
    body: str | None = None
    template: Template | None = None
    media_urls: tuple[str, ...] = ()
    rate: Rate | None = None
    not_before: datetime | None = None
    expires_at: datetime | None = None
    stale_after: float | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
