"""How the stand-in's day goes: how long answers take and what goes wrong, drawn from seeds.

Each concern has its own seed, so that turning one up doesn't change what the others draw.
"""

from enum import Enum, auto
from random import Random

from dispatcher.domain.settings import SimulatorSettings

# Seconds: while a sender's queue is not longer than a second, what is sent and delivered is so by then.
_LATE_ANSWER = (1.5, 2.5)


class Fault(Enum):
    """What goes wrong with a request."""

    REFUSED_429 = auto()
    REFUSED_500 = auto()
    ACCEPTED_THEN_500 = auto()
    ACCEPTED_THEN_DROPPED = auto()
    ACCEPTED_THEN_HUNG = auto()


class CallbackFate(Enum):
    """What goes wrong with a callback."""

    LOST = auto()
    DUPLICATED = auto()
    LATE = auto()


class Weather:
    """Draws by *settings*, which may be replaced at any time."""

    def __init__(self, settings: SimulatorSettings) -> None:
        self.settings = settings
        self._latency = Random(f"{settings.seed}-latency")  # noqa: S311 - a play of chance that repeats, no secret
        self._faults = Random(f"{settings.seed}-faults")  # noqa: S311 - same
        self._callbacks = Random(f"{settings.seed}-callbacks")  # noqa: S311 - same
        self._late_answers = Random(f"{settings.seed}-late-answers")  # noqa: S311 - same
        self._forgers = Random(f"{settings.seed}-forgers")  # noqa: S311 - same

    def latency(self) -> float:
        """Return the seconds that an answer takes."""
        settings = self.settings
        if settings.tail_share and self._latency.random() < settings.tail_share:
            return self._latency.uniform(settings.latency_high, settings.tail_high)
        return self._latency.uniform(settings.latency_low, settings.latency_high)

    def fault(self) -> Fault | None:
        """Return what goes wrong with a request; the shares are parts of one whole."""
        settings = self.settings
        point = self._faults.random()
        for share, fault in (
            (settings.refuse_429_share, Fault.REFUSED_429),
            (settings.refuse_500_share, Fault.REFUSED_500),
            (settings.accept_then_500_share, Fault.ACCEPTED_THEN_500),
            (settings.accept_then_drop_share, Fault.ACCEPTED_THEN_DROPPED),
            (settings.accept_then_hang_share, Fault.ACCEPTED_THEN_HUNG),
        ):
            if point < share:
                return fault
            point -= share
        return None

    def lateness(self) -> float:
        """Return the seconds that the answer to an accepted message is late by, so that its callbacks come first."""
        share = self.settings.callback_early_share
        return self._late_answers.uniform(*_LATE_ANSWER) if share and self._late_answers.random() < share else 0.0

    def is_forged_beside(self) -> bool:
        """Say whether a callback comes with one that somebody else signed."""
        share = self.settings.callback_forged_share
        return bool(share) and self._forgers.random() < share

    def callback_fate(self, *, may_be_late: bool) -> CallbackFate | None:
        """Return what goes wrong with a callback; only one that another follows can be late."""
        settings = self.settings
        point = self._callbacks.random()
        if point < settings.callback_loss_share:
            return CallbackFate.LOST
        point -= settings.callback_loss_share
        if point < settings.callback_duplicate_share:
            return CallbackFate.DUPLICATED
        point -= settings.callback_duplicate_share
        if may_be_late and point < settings.callback_reorder_share:
            return CallbackFate.LATE
        return None

    def delay(self, low: float, high: float) -> float:
        """Return seconds between *low* and *high* for a callback to wait."""
        return self._callbacks.uniform(low, high)
