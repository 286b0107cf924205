"""What messages are sent with: accounts, senders, 10DLC campaigns, brands and the pools made of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from dispatcher.domain.rate import Rate

Carrier = Literal["att", "tmobile", "verizon", "other"]
CARRIERS: tuple[Carrier, ...] = ("att", "tmobile", "verizon", "other")


class SenderKind(StrEnum):
    """The kinds of sender that Twilio tells apart when it sets a throughput."""

    SHORT_CODE = "short_code"
    TOLL_FREE = "toll_free"
    LONG_CODE = "long_code"
    ALPHANUMERIC = "alphanumeric"
    MESSAGING_SERVICE = "messaging_service"


# Message segments a second when the config gives none; a long code in a 10DLC campaign has its campaign's rates, and
# what a Messaging Service can send goes by the senders in it.
# https://help.twilio.com/articles/115002943027 (short code, toll-free, long code to Canada, other countries)
DEFAULT_RATES: Mapping[SenderKind, Rate] = {
    SenderKind.SHORT_CODE: Rate(100, "s"),
    SenderKind.TOLL_FREE: Rate(3, "s"),
    SenderKind.LONG_CODE: Rate(1, "s"),
    SenderKind.ALPHANUMERIC: Rate(10, "s"),
}


# The same in messages with media, which have queues of their own. A long code in a 10DLC campaign has its campaign's.
DEFAULT_MMS_RATES: Mapping[SenderKind, Rate] = {
    SenderKind.SHORT_CODE: Rate(40, "s"),
    SenderKind.TOLL_FREE: Rate(25, "s"),
    SenderKind.LONG_CODE: Rate(1, "s"),
}
# What all senders of a kind have together over an account and its subaccounts, in messages with media.
# https://help.twilio.com/articles/360034954613
MMS_FAMILY_RATES: Mapping[SenderKind, Rate] = {
    SenderKind.TOLL_FREE: Rate(25, "s"),
    SenderKind.LONG_CODE: Rate(50, "s"),
}


class Secret:
    """A value that must not be seen: it prints as `***`, and only `reveal` gives it out."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the value; for the one place that puts it on the wire."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A Twilio account or subaccount. *parent* names the account whose family it belongs to.

    *countries* are all that it may send to (see `domain.places`); None is every country. Of what it can send,
    *retry_share* is for messages that were tried before. *daily_cap* is in messages a day (UTC).
    """

    name: str
    sid: str
    auth_token: Secret
    api_key_sid: str | None = None
    api_key_secret: Secret | None = None
    max_concurrency: int = 80
    rate: Rate | None = None
    parent: str | None = None
    countries: frozenset[str] | None = None
    retry_share: float = 0.2
    daily_cap: int | None = None

    @property
    def family(self) -> str:
        """Name of the account at the top; Twilio limits it and its subaccounts together."""
        return self.parent or self.name

    @property
    def credentials(self) -> tuple[str, str]:
        """User and password for HTTP Basic: the API key where there is one, else SID and token."""
        if self.api_key_sid is not None and self.api_key_secret is not None:
            return self.api_key_sid, self.api_key_secret.reveal()
        return self.sid, self.auth_token.reveal()


@dataclass(frozen=True, slots=True, kw_only=True)
class A2PCampaign:
    """A registered US 10DLC campaign: all its numbers share one rate for each carrier.

    *mms_rates* are those in messages with media; what a carrier grants of them goes with what it grants of segments, so
    without them they are as many.
    """

    name: str
    brand: str
    rates: Mapping[Carrier, Rate]
    mms_rates: Mapping[Carrier, Rate] | None = None

    def mms_rate(self, carrier: Carrier) -> Rate:
        """Return how many messages with media *carrier* takes."""
        if self.mms_rates is not None:
            return self.mms_rates[carrier]
        return min(self.rates[carrier], MMS_FAMILY_RATES[SenderKind.LONG_CODE], key=lambda rate: rate.per_second)


@dataclass(frozen=True, slots=True, kw_only=True)
class Brand:
    """Who is behind 10DLC campaigns; T-Mobile caps its segments a day (US Pacific)."""

    name: str
    tmobile_daily_cap: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """What messages are sent from: a number, a name in letters, or a Messaging Service, which chooses among its own.

    *number* is what Twilio calls it: E.164, a short code, the letters, or the service's SID. *rate* is None exactly
    when *a2p_campaign* is set: the campaign's rates hold then. *prefixes* are the E.164 prefixes it can reach, and
    *media_prefixes* those with media, at *mms_rate* messages a second (or its campaign's).
    """

    number: str
    kind: SenderKind
    account: str
    rate: Rate | None = None
    a2p_campaign: str | None = None
    prefixes: tuple[str, ...] = ("+",)
    mms_rate: Rate | None = None
    media_prefixes: tuple[str, ...] = ()


# What recipients' carriers and handsets refuse for now: what is worth another attempt later.
# https://www.twilio.com/docs/api/errors
TRANSIENT_CODES = frozenset({30003, 30008, 30017, 30410, 30450, 30453, 30500})


@dataclass(frozen=True, slots=True, kw_only=True)
class Redelivery:
    """How often a message that ended undelivered, with one of *codes*, goes again, *after* so many seconds each."""

    codes: tuple[int, ...] = (30003, 30008)
    attempts: int = 1
    after: float = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Senders that may stand in for each other, and how the pool's messages are treated.

    *spill_after* and *validity* are seconds. With *quiet_hours*, recipients are texted only while their hours say so;
    without *frequency*, however often they were texted. *retry_undelivered* is None where what was not delivered is not
    sent again.
    """

    name: str
    senders: tuple[str, ...]
    spill_after: float = 10.0
    in_doubt: Literal["resend", "unknown"] = "resend"
    validity: float | None = None
    quiet_hours: bool = False
    frequency: bool = True
    retry_undelivered: Redelivery | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorityClass:
    """A topic of jobs and its weight against the other classes while both wait."""

    name: str
    topic: str
    weight: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """Everything one can send with; every name in it resolves."""

    accounts: Mapping[str, Account]
    senders: Mapping[str, Sender]
    a2p_campaigns: Mapping[str, A2PCampaign]
    brands: Mapping[str, Brand]
    pools: Mapping[str, Pool]
    # Messages a second over an account and its subaccounts; above it Twilio answers 63017.
    family_rate: Rate = Rate(2000, "s")

    def rates(self, sender: Sender) -> Mapping[Carrier | None, Rate]:
        """Return how many segments *sender* may send a second: to each carrier, or (None) to all."""
        if sender.a2p_campaign is None:
            return {} if sender.rate is None else {None: sender.rate}
        campaign = self.a2p_campaigns[sender.a2p_campaign]
        return {carrier: campaign.rates[carrier] for carrier in CARRIERS}

    def media_rates(self, sender: Sender) -> Mapping[Carrier | None, Rate]:
        """Return how many messages with media *sender* may send a second: to each carrier, or (None) to all."""
        if not sender.media_prefixes:
            return {}
        if sender.a2p_campaign is None:
            return {} if sender.mms_rate is None else {None: sender.mms_rate}
        campaign = self.a2p_campaigns[sender.a2p_campaign]
        return {carrier: campaign.mms_rate(carrier) for carrier in CARRIERS}

    def media_family_rates(self) -> Mapping[tuple[str, SenderKind], Rate]:
        """Return what all senders of a kind have together in a family, in messages with media; not all kinds have that.

        It is more than what Twilio sets where the config says that one of them has more.
        """
        found: dict[tuple[str, SenderKind], Rate] = {}
        for sender in self.senders.values():
            if (granted := MMS_FAMILY_RATES.get(sender.kind)) is not None:
                key = self.accounts[sender.account].family, sender.kind
                rates = (found.get(key, granted), *self.media_rates(sender).values())
                found[key] = max(rates, key=lambda rate: rate.per_second)
        return found
