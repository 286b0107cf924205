"""What an answer of Twilio's may mean for a message, and a table with one line a code.

https://www.twilio.com/docs/api/errors lists the codes.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Annotated

import msgspec


class Reaction(Enum):
    """What is done about a code; the value says it to a person."""

    SWITCH_SENDER = "the sender is quarantined and the message goes by another"
    TRY_ANOTHER = "the message goes by another sender"
    WAIT_FOR_SENDER = "the sender is quarantined; the message goes by another or waits"
    REFUSE = "the message is refused"
    OPTED_OUT = "the recipient has opted out"
    CLOSE_COUNTRY = "the account may not send to this country; the message goes by another account"
    STOP_ACCOUNT = "all senders of the account are quarantined; the message goes by another account or waits"
    SLOW_FAMILY = "the account and its subaccounts pause"
    OUR_BUG = "the request was malformed; the job becomes a dead letter"


CODES: Mapping[int, tuple[Reaction, str]] = {
    # The sender can't send, or not this way.
    21611: (Reaction.WAIT_FOR_SENDER, "the sender's queue at Twilio is full"),
    21606: (Reaction.SWITCH_SENDER, "the sender does not belong to the account or cannot send messages"),
    21212: (Reaction.SWITCH_SENDER, "the sender is no valid number"),
    21612: (Reaction.TRY_ANOTHER, "the sender cannot reach this recipient"),
    21657: (Reaction.TRY_ANOTHER, "the sender's letters are not supported, or not registered, in this country"),
    21659: (Reaction.SWITCH_SENDER, "the sender is no number or short code of Twilio"),
    21660: (Reaction.SWITCH_SENDER, "the sender belongs to another account"),
    21661: (Reaction.SWITCH_SENDER, "the sender cannot send SMS"),
    21701: (Reaction.SWITCH_SENDER, "the messaging service does not exist"),
    21703: (Reaction.SWITCH_SENDER, "the messaging service has no sender"),
    21704: (Reaction.SWITCH_SENDER, "the messaging service has no sender that fits"),
    21705: (Reaction.SWITCH_SENDER, "the messaging service is invalid"),
    # The recipient, for good.
    21211: (Reaction.REFUSE, "the recipient is no valid phone number"),
    21614: (Reaction.REFUSE, "the recipient is no mobile number"),
    21635: (Reaction.REFUSE, "the recipient is a landline"),
    21610: (Reaction.OPTED_OUT, "the recipient has opted out of messages from this sender"),
    # The content.
    21602: (Reaction.REFUSE, "the message has no body"),
    21617: (Reaction.REFUSE, "the body is longer than 1,600 characters"),
    21619: (Reaction.REFUSE, "the message has neither a body nor media"),
    21620: (Reaction.REFUSE, "a media URL is invalid"),
    21623: (Reaction.REFUSE, "the message has more media than Twilio takes"),
    # The country, the account, the family.
    21408: (Reaction.CLOSE_COUNTRY, "the account may not send to this country"),
    20003: (Reaction.STOP_ACCOUNT, "Twilio refuses the account's credentials"),
    20005: (Reaction.STOP_ACCOUNT, "the account is not active"),
    10001: (Reaction.STOP_ACCOUNT, "the account is not active"),
    90010: (Reaction.STOP_ACCOUNT, "the account is not active"),
    30002: (Reaction.STOP_ACCOUNT, "the account is suspended"),
    30037: (Reaction.STOP_ACCOUNT, "the account's messaging is disabled"),
    63038: (Reaction.STOP_ACCOUNT, "the account has reached its daily message limit"),
    30454: (Reaction.STOP_ACCOUNT, "the account is not allowed to send"),
    63017: (Reaction.SLOW_FAMILY, "the account and its subaccounts send more than Twilio allows them together"),
    # What we should never have sent.
    21603: (Reaction.OUR_BUG, "the request names no sender"),
    21604: (Reaction.OUR_BUG, "the request names no recipient"),
    21609: (Reaction.OUR_BUG, "the status callback URL is invalid"),
    21624: (Reaction.OUR_BUG, "the validity period is out of range"),
    21626: (Reaction.OUR_BUG, "a header or parameter is invalid"),
}


class Accepted(msgspec.Struct, frozen=True, gc=False, rename={"segments": "num_segments"}):
    """Twilio has the message, and says so in these words. *segments* is 0 where Twilio does not know yet."""

    sid: Annotated[str, msgspec.Meta(min_length=1)]
    segments: Annotated[int, msgspec.Meta(ge=0, lt=100_000)] = 0


class Throttled(msgspec.Struct, frozen=True, gc=False):
    """Too many requests in flight; this one was never processed."""

    retry_after: float | None


class Unreached(msgspec.Struct, frozen=True, gc=False):
    """The request can't have reached Twilio: it failed before the first byte was written."""

    reason: str


class Declined(msgspec.Struct, frozen=True, gc=False):
    """Twilio declined the message: what is done, which code, and what it means. *code* is None where none came."""

    reaction: Reaction
    code: int | None
    reason: str


class InDoubt(msgspec.Struct, frozen=True, gc=False):
    """Twilio may or may not have the message."""

    reason: str


Verdict = Accepted | Throttled | Unreached | Declined | InDoubt


class SidAlone(msgspec.Struct, gc=False):
    """As much of a success as proves that the message was taken."""

    sid: Annotated[str, msgspec.Meta(min_length=1)]


class ErrorBody(msgspec.Struct, gc=False):
    """What Twilio says when it declines."""

    code: int | None = None
    message: str | None = None
