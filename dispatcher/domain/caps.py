"""Caps on what may be sent in a day: which there are, when their days begin and end, and what a message counts."""

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Final, Literal, NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from dispatcher.domain.fleet import Fleet
from dispatcher.domain.job import Job

# T-Mobile counts a brand's segments by the day in US Pacific time (twilio.com/docs/errors/30023).
TMOBILE_ZONE: Final = "America/Los_Angeles"
# Twilio does not say when an account's day begins; its usage records go by UTC.
ACCOUNT_ZONE: Final = "UTC"
# Twilio's clock may be so many seconds ahead of ours, or behind.
CLOCKS_DIFFER: Final = 2.0


class Charge(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """*amount* of the *day*, an ISO date, of the cap with that name."""

    cap: str
    day: str
    amount: int


class Day(NamedTuple):
    """A day of a cap: what leaves from *opens* on and before *closes* (seconds of the epoch) surely counts for it."""

    name: str
    opens: float
    closes: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Cap:
    """At most *limit* of *unit* a day of *zone*. *reason* is what waiting for the next day is called."""

    name: str
    limit: int
    unit: Literal["segments", "messages"]
    zone: str
    reason: str

    def day_at(self, at: float, arrival: float) -> Day:
        """Return the day that is open *at* (seconds of the epoch), or else the one that opens next.

        A message may arrive *arrival* seconds after it left. For as long before midnight nothing leaves, since nobody
        could tell which day it counts for.
        """
        before = 0 if at < _midnight(self.zone, at, 1) - arrival - CLOCKS_DIFFER else 1
        opens, ends = _midnight(self.zone, at, before), _midnight(self.zone, at, before + 1)
        name = datetime.fromtimestamp(opens, ZoneInfo(self.zone)).date().isoformat()
        return Day(name, opens + CLOCKS_DIFFER, ends - arrival - CLOCKS_DIFFER)


class CapRules:
    """Which caps count a message, and how much of each."""

    def __init__(self, fleet: Fleet) -> None:
        brands = {
            name: Cap(
                name=f"tmobile/{name}",
                limit=brand.tmobile_daily_cap,
                unit="segments",
                zone=TMOBILE_ZONE,
                reason="tmobile_cap",
            )
            for name, brand in fleet.brands.items()
            if brand.tmobile_daily_cap is not None
        }
        accounts = {
            name: Cap(
                name=f"account/{name}",
                limit=account.daily_cap,
                unit="messages",
                zone=ACCOUNT_ZONE,
                reason="account_cap",
            )
            for name, account in fleet.accounts.items()
            if account.daily_cap is not None
        }
        self.caps = {cap.name: cap for cap in (*brands.values(), *accounts.values())}
        self._accounts = {
            number: accounts[sender.account] for number, sender in fleet.senders.items() if sender.account in accounts
        }
        self._brands = {
            number: brands[brand]
            for number, sender in fleet.senders.items()
            if sender.a2p_campaign is not None and (brand := fleet.a2p_campaigns[sender.a2p_campaign].brand) in brands
        }

    def __bool__(self) -> bool:
        return bool(self.caps)

    def of(self, sender: str, job: Job, segments: int) -> tuple[tuple[Cap, int], ...]:
        """Return the caps that count *job* when it leaves by the number *sender*, and how much each.

        A recipient of whom nobody knows the carrier may be with T-Mobile: it counts, since T-Mobile would refuse all
        that comes after the cap. An account's cap counts messages, whatever their size.
        """
        account, brand = self._accounts.get(sender), self._brands.get(sender)
        found = () if account is None else ((account, 1),)
        if brand is None or not (job.carrier == "tmobile" or (job.carrier is None and job.to.startswith("+1"))):
            return found
        return (*found, (brand, segments))

    def counts_segments(self, cap: str) -> bool:
        """Say whether the cap with this name counts segments."""
        return cap in self.caps and self.caps[cap].unit == "segments"

    def allow_more_than(self, former: "CapRules") -> bool:
        """Say whether some cap is higher than it was by the *former* rules, or gone."""
        caps = self.caps
        return any(name not in caps or caps[name].limit > cap.limit for name, cap in former.caps.items())

    def tmobile_cap(self, sender: str) -> Cap | None:
        """Return the cap of the brand behind the number *sender*; None where it has none."""
        return self._brands.get(sender)


def _midnight(zone: str, at: float, days_later: int) -> float:
    """Return the midnight in *zone* with which the day of *at* begins, or one so many days later."""
    day = datetime.fromtimestamp(at, ZoneInfo(zone)).date() + timedelta(days=days_later)
    return datetime.combine(day, time(), ZoneInfo(zone)).timestamp()
