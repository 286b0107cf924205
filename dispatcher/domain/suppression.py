"""Who must not be texted, and through what: the contract with whoever reads or writes the suppressions topic.

The topic is compacted. Its keys name a recipient and, where not everything is meant, a pool or a sender:

    +12065550142                     nothing goes to this number
    +12065550142/pool/marketing      nothing through this pool
    +12065550142/sender/72345        nothing from this sender

Each key stands for itself, so that whoever writes one needs to know of no other: a narrow opt-out never takes the place
of a wide one, nor of another narrow one. A record without a value lifts what its key says, and that alone. A value that
cannot be read suppresses all the same: who is not texted by mistake can ask; who is, may sue.
"""

from typing import Final, Literal, NamedTuple

import msgspec

from dispatcher.domain.phone import is_e164

SuppressionReach = Literal["global", "pool", "sender"]
SuppressionReason = Literal["opt_out", "dead_number", "blocked"]


class SuppressionScope(NamedTuple):
    """What a suppression covers: everything, or the pool or sender (by its number) called *name*."""

    reach: SuppressionReach
    name: str = ""


EVERYWHERE: Final = SuppressionScope("global")


class Suppression(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The value of a record; *scope* and *name* say again what the key says.

    *reason*: `opt_out` is the recipient's own word (a STOP, Twilio's 21610, a list of opt-outs), `dead_number` means
    that nobody is there, `blocked` is the operator's decision. *since* is RFC 3339 in UTC. *source* tells a person
    where it comes from: `STOP to 72345`, `error 21614`, `import of optouts.csv`.
    """

    scope: SuppressionReach
    name: str = ""
    reason: SuppressionReason
    since: str
    source: str


def suppression_key(number: str, scope: SuppressionScope = EVERYWHERE) -> bytes:
    """Return the key for the E.164 *number* and *scope*."""
    return (number if scope.reach == "global" else f"{number}/{scope.reach}/{scope.name}").encode()


def read_suppression_key(key: bytes) -> tuple[str, SuppressionScope] | None:
    """Return the number and the scope that *key* names; None where it is no key of this topic."""
    number, *rest = key.decode("utf-8", "replace").split("/", 2)
    if not is_e164(number):
        return None
    match rest:
        case []:
            return number, EVERYWHERE
        case ["pool" | "sender" as reach, name] if name:
            return number, SuppressionScope(reach, name)
        case _:
            return None


encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Suppression).decode
