"""What became of a message after Twilio took it: the contract with whoever reads the deliveries topic."""

import msgspec


class Delivery(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A message came to another delivery status; the record's key is *id*, the message's.

    *status* is Twilio's: queued, sending, sent, delivered, undelivered, failed, canceled, read. It never goes back: of
    news that came out of order only those are told which lead on, so `sent` may be missing before `delivered`. *before*
    is the status that was told last (`accepted` or `unknown`, the results topic's, in the first record). *code* is
    Twilio's error code. *at*, RFC 3339 in UTC, is when we heard of it, and *by* from whom: Twilio's callback, or our
    own asking when none came.

    A record is written at least once: after a crash the latest may come again, the same to the byte. Whoever adds up
    folds by (*id*, *status*). A message is told of once its result is known, which is where *campaign* and *carrier*
    come from. *job* is where the job stands (topic/partition/offset); it is there where a pool of the config tries
    undelivered messages again.
    """

    id: str
    campaign: str
    to: str
    sender: str | None
    account: str | None
    carrier: str | None
    sid: str
    status: str
    before: str
    code: int | None
    segments: int
    at: str
    by: str
    job: str | msgspec.UnsetType = msgspec.UNSET
