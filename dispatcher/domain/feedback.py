"""What is done by itself when deliveries go wrong, as the config says it."""

import re
from dataclasses import dataclass
from typing import Literal

from dispatcher.domain.duration import format_duration, parse_duration

# How long a cut rate holds before it comes back in steps, unless its rule says otherwise. Seconds.
CUT_FOR = 600.0
_RATE = re.compile(r"rate\s+x\s*(0?\.\d+)(?:\s+(\S+))?", re.ASCII)
_SUSPEND = re.compile(r"suspend_sender\s+(\S+)", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """What a rule does: *seconds* is for how long, 0 until somebody takes it back; *factor* is that of a cut rate."""

    what: Literal["suspend_sender", "rate", "pause_campaign", "alert"]
    seconds: float = 0.0
    factor: float = 1.0

    @classmethod
    def parse(cls, text: str) -> "Deed":
        """Return what *text* stands for; `ValueError` with what would be right."""
        if text.strip() == "pause_campaign":
            return cls(what="pause_campaign")
        if text.strip() == "alert":
            return cls(what="alert")
        if (rest := _SUSPEND.fullmatch(text.strip())) and (seconds := parse_duration(rest[1])):
            return cls(what="suspend_sender", seconds=seconds)
        if (cut := _RATE.fullmatch(text.strip())) and float(cut[1]):
            seconds = parse_duration(cut[2]) if cut[2] else CUT_FOR
            return cls(what="rate", factor=float(cut[1]), seconds=seconds or CUT_FOR)
        raise ValueError(
            f'"{text}" is nothing to do; write "suspend_sender 10min", "rate x0.5" (or "rate x0.5 10min"), '
            '"pause_campaign" or "alert"'
        )

    @property
    def scope(self) -> Literal["campaign", "sender"]:
        """Whose messages are counted for it."""
        return "sender" if self.what in {"suspend_sender", "rate"} else "campaign"

    def __str__(self) -> str:
        lasts = f" for {format_duration(self.seconds)}" if self.seconds else ""
        return f"rate x{self.factor:g}{lasts}" if self.what == "rate" else f"{self.what}{lasts}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """When more than *share* of the messages that ended *within* seconds ended with *code*, do *deed*.

    Only when so many (*of_at_least*) ended.
    """

    code: int
    share: float
    of_at_least: int
    within: int
    deed: Deed


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackSettings:
    """How deliveries act on dispatch. *queue_delay* (seconds): above it a sender's queue at Twilio is too long."""

    queue_delay: float = 3.0
    rules: tuple[Rule, ...] = ()
