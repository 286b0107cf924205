"""What of the things that Twilio says means that somebody must not be texted any more, or may be again.

What is heard late (Twilio promises no order, and a callback may have waited on a disk) never undoes what was said
later: a recipient's latest word counts, as long as it is remembered.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Final, NamedTuple

import msgspec

from dispatcher.domain.callback import Word
from dispatcher.domain.fleet import Pool
from dispatcher.domain.phone import is_e164
from dispatcher.domain.suppression import (
    EVERYWHERE,
    Suppression,
    SuppressionReach,
    SuppressionReason,
    SuppressionScope,
    encode,
    suppression_key,
)

OPTED_OUT: Final = 21610
# Nobody is there, or nobody who could read, as Twilio knows before it sends. https://www.twilio.com/docs/api/errors
DEAD_NUMBERS: Final = frozenset({21211, 21614, 21635})
# The same as carriers say it: unknown; a landline, or out of a short code's reach. One wrong word of theirs must not
# silence a number for good: it counts when they say it of a second message, and none arrived in between.
# https://www.twilio.com/docs/api/errors/30006
CALLED_DEAD: Final = frozenset({30005, 30006})
_OUT_OF_REACH: Final = 30006
# So many recipients' latest words are remembered, and so many numbers that were called dead once.
_REMEMBERED = 100_000


class Entry(NamedTuple):
    """A record of the suppressions topic; without a value it lifts what its key says."""

    key: bytes
    value: bytes | None


class _Parties(msgspec.Struct, gc=False):
    sender: str = msgspec.field(name="From", default="")
    to: str = msgspec.field(name="To", default="")
    service: str = msgspec.field(name="MessagingServiceSid", default="")


class Heard(msgspec.Struct, gc=False):
    """What is read of a callback (`dispatcher.domain.callback`)."""

    kind: str
    received_at: datetime
    parameters: _Parties
    sid: str = ""
    status: str | None = None
    word: Word | None = None
    error_code: int | None = None


class Answered(msgspec.Struct, gc=False):
    """What is read of a result (`dispatcher.domain.outcome`)."""

    to: str
    at: datetime
    sender: str | None = None
    code: int | None = None


class Decider:
    """Knows the *reach* of an opt-out: everything, the pools of the number that it came to, or that number alone."""

    def __init__(self, reach: SuppressionReach, pools: Iterable[Pool]) -> None:
        self._reach = reach
        self._latest: dict[str, datetime] = {}
        # By the key of the record that would follow: the SID of the first message. Who starts anew forgets it, which
        # costs one more message.
        self._called_dead: dict[bytes, str] = {}
        self._pools: dict[str, list[str]] = {}
        for pool in pools:
            for number in pool.senders:
                self._pools.setdefault(number, []).append(pool.name)

    def hear(self, heard: Heard) -> list[Entry]:
        """Return what a callback changes."""
        parties = heard.parameters
        if heard.kind != "inbound":
            sender = self._ours(parties.sender, parties.service)
            if heard.error_code in CALLED_DEAD:
                return self._call_dead(heard, sender)
            if heard.status == "delivered" and self._called_dead:
                self._called_dead.pop(suppression_key(parties.to), None)
                self._called_dead.pop(suppression_key(parties.to, SuppressionScope("sender", sender)), None)
            return self._conclude(parties.to, sender, heard.error_code, heard.received_at)
        ours = self._ours(parties.to, parties.service)
        match heard.word:
            case "stop":
                return self._opt_out(parties.sender, ours, f"STOP to {parties.to}", heard.received_at)
            case "start" if self._is_latest(parties.sender, heard.received_at):
                # Exactly what a STOP to the same number sets: what was decided elsewhere stays.
                return [Entry(key, None) for key, _ in self._keys(parties.sender, ours)]
            case _:
                return []

    def conclude(self, answered: Answered) -> list[Entry]:
        """Return what a result changes."""
        return self._conclude(answered.to, answered.sender, answered.code, answered.at)

    def _ours(self, number: str, service: str) -> str:
        """Return what the config calls the sender with *number*: by its Messaging Service, where it names that alone.

        Twilio, too, keeps opt-outs for the whole of a service.
        """
        return service if service in self._pools and number not in self._pools else number

    def _conclude(self, number: str, sender: str | None, code: int | None, at: datetime) -> list[Entry]:
        if code == OPTED_OUT:
            return self._opt_out(number, sender or "", f"error {code}", at)
        if code in DEAD_NUMBERS and is_e164(number):
            return [_entry(suppression_key(number), EVERYWHERE, "dead_number", f"error {code}", at)]
        return []

    def _call_dead(self, heard: Heard, sender: str) -> list[Entry]:
        """Return what follows when a carrier says that nobody is there."""
        number, is_short_code = heard.parameters.to, heard.parameters.sender.isdecimal()
        if not is_e164(number):
            return []
        out_of_reach = is_short_code and heard.error_code == _OUT_OF_REACH
        scope = SuppressionScope("sender", sender) if out_of_reach else EVERYWHERE
        key = suppression_key(number, scope)
        first = self._called_dead.setdefault(key, heard.sid)
        if len(self._called_dead) > _REMEMBERED:
            del self._called_dead[next(iter(self._called_dead))]
        if first == heard.sid:
            return []
        return [_entry(key, scope, "dead_number", f"error {heard.error_code}", heard.received_at)]

    def _opt_out(self, number: str, sender: str, source: str, at: datetime) -> list[Entry]:
        if not self._is_latest(number, at):
            return []
        return [_entry(key, scope, "opt_out", source, at) for key, scope in self._keys(number, sender)]

    def _is_latest(self, number: str, at: datetime) -> bool:
        """Say whether nothing later is known of *number*, and remember that."""
        if at < self._latest.get(number, at):
            return False
        self._latest.pop(number, None)
        self._latest[number] = at
        if len(self._latest) > _REMEMBERED:
            del self._latest[next(iter(self._latest))]
        return True

    def _keys(self, number: str, sender: str) -> list[tuple[bytes, SuppressionScope]]:
        # Short codes and other channels' addresses text, too.
        if not is_e164(number):
            return []
        return [(suppression_key(number, scope), scope) for scope in self._scopes(sender)]

    def _scopes(self, sender: str) -> list[SuppressionScope]:
        pools = self._pools.get(sender, [])
        match self._reach:
            case "pool" if pools:
                return [SuppressionScope("pool", pool) for pool in pools]
            case "sender" | "pool" if sender:
                return [SuppressionScope("sender", sender)]
            case _:
                # Where nobody knows who was meant, everybody was.
                return [EVERYWHERE]


def _entry(key: bytes, scope: SuppressionScope, reason: SuppressionReason, source: str, at: datetime) -> Entry:
    since = at.isoformat(timespec="milliseconds")
    return Entry(
        key, encode(Suppression(scope=scope.reach, name=scope.name, reason=reason, since=since, source=source))
    )


_heard = msgspec.json.Decoder(Heard).decode
_answered = msgspec.json.Decoder(Answered).decode


def read_callback(value: bytes) -> Heard:
    """Return what a callback's record says; `ValueError` when it is none."""
    return _heard(value)


def read_result(value: bytes) -> Answered:
    """Return what a result's record says; `ValueError` when it is none."""
    return _answered(value)
