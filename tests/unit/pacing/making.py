"""Fleets, jobs and messages made in a line."""

from collections.abc import Mapping, Sequence
from itertools import count

from dispatcher.domain.fleet import (
    CARRIERS,
    A2PCampaign,
    Account,
    Brand,
    Carrier,
    Fleet,
    Pool,
    Secret,
    Sender,
    SenderKind,
)
from dispatcher.domain.job import Job
from dispatcher.domain.message import Message
from dispatcher.domain.rate import Rate

_ids = count()


class Desk:
    """The partition that messages come from; keeps what is announced and settled, in order."""

    def __init__(self, topic: str = "campaign.jobs", partition: int = 0) -> None:
        self.topic = topic
        self.partition = partition
        self.is_owned = True
        self.announced: list[int] = []
        self.settled: list[int] = []

    def announce(self, offset: int, _page: object) -> None:
        self.announced.append(offset)

    def is_settled(self, offset: int) -> bool:
        return offset in self.settled

    def settle(self, offset: int) -> None:
        self.settled.append(offset)


def make_account(name: str = "main", *, concurrency: int = 80, rate: Rate | None = None, parent: str = "") -> Account:
    return Account(
        name=name,
        sid="AC" + name,
        auth_token=Secret("token"),
        max_concurrency=concurrency,
        rate=rate,
        parent=parent or None,
    )


def make_sender(
    number: str,
    rate: float | None = None,
    *,
    account: str = "main",
    a2p: str = "",
    prefixes: tuple[str, ...] = ("+",),
    mms: float | None = None,
    kind: SenderKind | None = None,
) -> Sender:
    """Return a sender with *rate* segments and *mms* messages with media a second, or one of the 10DLC campaign *a2p*.

    Media go to numbers that begin with +1.
    """
    return Sender(
        number=number,
        kind=kind or (SenderKind.LONG_CODE if a2p else SenderKind.SHORT_CODE),
        account=account,
        rate=None if rate is None else Rate(rate, "s"),
        a2p_campaign=a2p or None,
        prefixes=prefixes,
        mms_rate=None if mms is None else Rate(mms, "s"),
        media_prefixes=("+1",) if a2p or mms else (),
    )


def make_fleet(
    senders: Sequence[Sender],
    *,
    accounts: Sequence[Account] = (),
    a2p: Mapping[str, Mapping[Carrier, float]] | None = None,
    pools: Sequence[Pool] = (),
    family_rate: float = 2000,
) -> Fleet:
    """Return a fleet of *senders*; its pool "all" has them all unless *pools* says otherwise."""
    return Fleet(
        accounts={account.name: account for account in accounts or (make_account(),)},
        senders={sender.number: sender for sender in senders},
        a2p_campaigns={
            name: A2PCampaign(
                name=name, brand="acme", rates={carrier: Rate(rates[carrier], "s") for carrier in CARRIERS}
            )
            for name, rates in (a2p or {}).items()
        },
        brands={"acme": Brand(name="acme")},
        pools={
            pool.name: pool for pool in pools or (Pool(name="all", senders=tuple(sender.number for sender in senders)),)
        },
        family_rate=Rate(family_rate, "s"),
    )


def make_message(
    campaign: str = "spring",
    *,
    cost: int = 1,
    priority: int = 0,
    to: str = "+12065550142",
    pool: str = "all",
    carrier: Carrier | None = None,
    offset: int = 0,
    has_media: bool = False,
) -> Message:
    """Return a message that waits to be placed, with an id of its own."""
    media = ("https://example.com/a.png",) if has_media else ()
    name = f"{campaign}-{next(_ids)}"
    job = Job(id=name, campaign=campaign, to=to, pool=pool, body="Hi", media_urls=media, carrier=carrier)
    return Message(job=job, origin=Desk(), offset=offset, priority=priority, cost=cost, appended_at=0.0)
