"""What Twilio called us about: the contract with whoever reads the callbacks topic."""

from collections.abc import Mapping
from typing import Literal

import msgspec

# What a recipient may ask for: no more messages, messages again, or help.
Word = Literal["stop", "start", "help"]
# In which languages we know words for it.
Language = Literal["en", "fr"]


class Callback(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """One request of Twilio's whose signature fits, or, where none came, what Twilio said when it was asked.

    A `status` tells what became of a message of ours: *mid* is its job's id and *attempt* the request that made it,
    both as we wrote them into the callback's URL; null where somebody else sent the message. A `polled` is the same,
    but that we asked for it; of parameters it has From and To. An `inbound` is a message to one of our numbers. *token*
    is the same whenever Twilio, or we after a crash, repeat a callback: readers fold by it. *parameters* is all that
    came, but never what a message says; of that only *word* is kept, when it asks for something in a word that we or
    Twilio know. *received_at* is RFC 3339 in UTC.
    """

    kind: Literal["status", "inbound", "polled"]
    mid: str | None
    attempt: int | None
    account: str
    sid: str
    status: str
    error_code: int | None
    token: str | None
    parameters: Mapping[str, str]
    received_at: str
    word: Word | None = None
