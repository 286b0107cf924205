"""Where a message waits that is not due for longer than seconds: in a topic, by how long it stays there.

A tier hands each record back when it is as old as the tier says, so it is first in, first out, whatever is due when.
Who waits for hours stays in several, one after the other; the last seconds are waited for in memory.
Who waits for an operator's word is in a topic beside the tiers, until that is said.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from dispatcher.domain.outcome import Attempt, Position

# By name: how long a record stays, in seconds, unless it is called back.
TIERS: Mapping[str, float] = {"10s": 10.0, "1min": 60.0, "10min": 600.0, "1h": 3600.0}
# What is of held campaigns. It is called back when one of them is let go; else looked at after so long: one may have
# expired, or its word been given by a clock that was wrong.
HELD = "held"
EVERY_TIER = frozenset({*TIERS, HELD})
_HELD_FOR = 3600.0
# A tier is for who is due at least so much later than it hands back.
MARGIN = 1.0


class NotParkedError(Exception):
    """A record of a tier is not of the dispatcher's making; it becomes a dead letter."""


class Whereabouts(NamedTuple):
    """Where the job of an id stood *first*, and where its present record stands: None while it is parked."""

    first: Position
    now: Position | None


class Parked(NamedTuple):
    """What a parked record says beside its job: when it is *due* (seconds of the epoch) and where it was *first*.

    *priority* is the name of its class, *history* the attempts that came to nothing. *is_booked*: it is due when its
    turn is thought to be, and could leave earlier. *copied* is where it stood just before, which is settled by it.
    """

    due: float
    first: Position
    priority: str
    attempts: int
    history: tuple[Attempt, ...] = ()
    is_booked: bool = False
    copied: Position | None = None


_encode_history = msgspec.json.Encoder().encode
_decode_history = msgspec.json.Decoder(tuple[Attempt, ...]).decode


def tier_for(wait: float) -> str | None:
    """Return the tier for who is due in *wait* seconds; None: that is too soon for any."""
    return next((name for name, stay in reversed([*TIERS.items()]) if stay + MARGIN <= wait), None)


def parked_topics(prefix: str) -> Mapping[str, float]:
    """Return the topic of each tier, and of what is held, and how long a record stays in it at most."""
    return {f"{prefix}.{name}": stay for name, stay in {**TIERS, HELD: _HELD_FOR}.items()}


def write_headers(parked: Parked) -> tuple[tuple[str, bytes], ...]:
    """Return *parked* as a record's headers."""
    headers = (
        ("due", str(round(parked.due * 1000)).encode()),
        ("first", _write_place(parked.first)),
        ("priority", parked.priority.encode()),
        ("attempts", str(parked.attempts).encode()),
        *((("booked", b"1"),) if parked.is_booked else ()),
        *((("copied", _write_place(parked.copied)),) if parked.copied else ()),
    )
    return (*headers, ("history", _encode_history(parked.history))) if parked.history else headers


def read_headers(headers: Iterable[tuple[str, bytes]]) -> Parked:
    """Return what *headers* say; `NotParkedError` where they are not ours."""
    texts = {name: value.decode("utf-8", "replace") for name, value in headers}
    try:
        return Parked(
            int(texts["due"]) / 1000,
            _read_place(texts["first"]),
            texts["priority"],
            int(texts["attempts"]),
            _decode_history(texts.get("history", "[]")),
            "booked" in texts,
            _read_place(texts["copied"]) if "copied" in texts else None,
        )
    except (KeyError, ValueError) as error:  # msgspec's errors are of the latter
        raise NotParkedError("the record does not say where it was first; only the dispatcher parks jobs") from error


def _write_place(place: Position) -> bytes:
    return f"{place.topic}/{place.partition}/{place.offset}".encode()


def _read_place(text: str) -> Position:
    topic, partition, offset = text.rsplit("/", 2)
    return Position(topic, int(partition), int(offset))
