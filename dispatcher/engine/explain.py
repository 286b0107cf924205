"""Why a message would go by which sender, and what it would meet there: worked out, and nothing is sent."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf
from random import Random

from dispatcher.clock import Clock
from dispatcher.domain.control import SenderRecord
from dispatcher.domain.errors import DispatcherError
from dispatcher.domain.fleet import Carrier, Sender
from dispatcher.domain.job import Job
from dispatcher.domain.message import JournalPage, Message
from dispatcher.domain.settings import Settings
from dispatcher.domain.standing import standing
from dispatcher.engine.placement import Placement
from dispatcher.pacing.hierarchy import Hierarchy
from dispatcher.pacing.pacer import Pacer


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One sender of the pool, in the order in which the recipient prefers them: *why* it is, or is not, the one."""

    number: str
    is_chosen: bool
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Who would send a message, by which *limits* (each a sentence), and how many seconds it would wait.

    *wait* is for the sender's return alone: what waits before it and what lies in Twilio's queue nobody knows here. It
    is inf where that has no end.
    """

    candidates: tuple[Candidate, ...]
    limits: tuple[str, ...]
    wait: float


def explain(
    settings: Settings,
    records: Mapping[str, SenderRecord],
    clock: Clock,
    *,
    to: str,
    pool: str,
    carrier: Carrier | None = None,
    has_media: bool = False,
) -> Explanation:
    """Say by whom a message to the number *to* would go, through *pool*, while *records* hold for the senders.

    `DispatcherError` when there is no such pool.
    """
    fleet = settings.fleet
    if pool not in fleet.pools:
        raise DispatcherError(f'the config has no pool "{pool}"; its pools are {", ".join(sorted(fleet.pools))}')
    pacer = Pacer(admit=lambda *_: False, depart=lambda *_: None, run_dry=lambda *_: None)
    hierarchy = Hierarchy(
        fleet,
        weights=[priority.weight for priority in settings.priorities],
        queue_target=settings.twilio.queue_target,
        random=Random(0),  # noqa: S311 - nothing is drawn
        hold=pacer.hold,
    )
    placement = Placement(fleet, hierarchy, pacer)
    now = clock.monotonic()
    for number, record in records.items():
        stands = standing(record, clock.now())
        if stands.is_suspended:
            left = inf if stands.until is None else (stands.until - clock.now()).total_seconds()
            placement.health.suspend(number, now + left)
        hierarchy.scale(number, stands.factor, now)
    media = ("https://example.com/explain.png",) if has_media else ()
    job = Job(id="explain", campaign="explain", to=to, pool=pool, body="explain", media_urls=media, carrier=carrier)
    message = Message(job=job, origin=_Nowhere(), offset=0, priority=0, cost=1, appended_at=0.0)
    chosen = placement.router.choose(message, now)
    candidates = []
    for sender in placement.router.ranked(pool, to):
        is_chosen = sender is chosen
        why = _why(placement, sender, message, records, clock, is_chosen=is_chosen)
        candidates.append(Candidate(number=sender.number, is_chosen=is_chosen, why=why))
    if chosen is None:
        return Explanation(candidates=tuple(candidates), limits=(), wait=inf)
    wait = placement.lane_of(chosen, message).suspended_for(now)
    factor = hierarchy.factor(chosen.number)
    limits = tuple(_limits(settings, chosen, carrier, factor, has_media=has_media))
    return Explanation(candidates=tuple(candidates), limits=limits, wait=wait)


def _why(
    placement: Placement,
    sender: Sender,
    message: Message,
    records: Mapping[str, SenderRecord],
    clock: Clock,
    *,
    is_chosen: bool,
) -> str:
    if not placement.router.can_take(sender, message):
        if not message.job.media_urls:
            return f"it reaches {', '.join(sender.prefixes)} alone"
        return (
            f"it sends media to {', '.join(sender.media_prefixes)} alone"
            if sender.media_prefixes
            else "it carries no media"
        )
    record = records.get(sender.number, SenderRecord())
    if standing(record, clock.now()).is_suspended:
        waits = ": all that could take it are out, and this is the first choice, so it waits here" if is_chosen else ""
        return f"suspended {record.suspension}{waits}"
    if is_chosen:
        return "the recipient prefers it to all others that can take it now"
    return "the recipient prefers another"


def _limits(
    settings: Settings, sender: Sender, carrier: Carrier | None, factor: float, *, has_media: bool
) -> Iterable[str]:
    fleet = settings.fleet
    rates, unit = (fleet.media_rates(sender), "messages with media") if has_media else (fleet.rates(sender), "segments")
    cut = f", at {factor:.0%} of it now" if factor < 1 else ""
    whose = f"10DLC campaign {sender.a2p_campaign}" if sender.a2p_campaign else f"sender {sender.number}"
    if None in rates:
        yield f"{whose}: {rates[None]} {unit}{cut}"
    elif carrier is not None:
        yield f"{whose} with {carrier}: {rates[carrier]} {unit}{cut}"
    else:
        every = ", ".join(f"{name} {rate}" for name, rate in rates.items())
        yield f"{whose}, its carrier not known, so all of them: {every} {unit}{cut}"
    yield f"its queue at Twilio: at most {settings.twilio.queue_target:g} s of that rate"
    account = fleet.accounts[sender.account]
    if account.daily_cap is not None:
        yield f"account {account.name}: {account.daily_cap:,} messages a day (UTC)"
    brand = fleet.brands[fleet.a2p_campaigns[sender.a2p_campaign].brand] if sender.a2p_campaign is not None else None
    if brand is not None and brand.tmobile_daily_cap is not None and carrier in {"tmobile", None}:
        yield f"brand {brand.name} with T-Mobile: {brand.tmobile_daily_cap:,} segments a day (US Pacific)"
    if account.rate is not None:
        yield f"account {account.name}: {account.rate} messages"
    shared = fleet.media_family_rates().get((account.family, sender.kind))
    if has_media and shared is not None:
        yield f"all {sender.kind} senders of account family {account.family}: {shared} messages with media"
    yield f"account family {account.family}: {fleet.family_rate} messages"
    yield f"account {account.name}: at most {account.max_concurrency} requests in flight"


class _Nowhere:
    """Where a message comes from that is none."""

    topic = ""
    partition = 0
    is_owned = True

    def announce(self, offset: int, page: JournalPage) -> None:
        """Nothing is announced."""

    def settle(self, offset: int) -> None:
        """Nothing is settled."""

    def is_settled(self, _offset: int) -> bool:
        """Nothing is settled."""
        return False
