"""What may speak against sending a message."""

import msgspec

from dispatcher.domain.outcome import Status


class Objection(msgspec.Struct, frozen=True, gc=False):
    """Why a message is not sent, as a result's status and a sentence."""

    status: Status
    reason: str


class Postponed(msgspec.Struct, frozen=True, gc=False):
    """Why a message is not sent before *until*, in seconds of the epoch; *reason* is one or two words."""

    until: float
    reason: str
