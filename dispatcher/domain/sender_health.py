"""What tracking learned of a sender: the contract with whoever reads the senders topic."""

from typing import Final

import msgspec

from dispatcher.domain.counts import Counts

# What `SenderHealth` looks back at, in seconds.
DELAY_SPAN: Final = 10.0
COUNT_SPAN: Final = 60.0


class SenderHealth(msgspec.Struct, frozen=True, kw_only=True):
    """One sender's state, told once a second while anything changes; the record's key is *sender*.

    A sender of which nothing new is known is told once more, when its spans are empty, and then no longer: *at*
    (RFC 3339 in UTC) says how old a state is. A record may come twice; the latest counts.

    Delays are seconds from Twilio's acceptance to the first news that the message had left Twilio's queue, both by our
    own clocks, so callbacks that are slow themselves add to them. *queue_delay* follows the latest by an exponential
    mean (it forgets half within 2 s), *queue_delay_p95* is of the last `DELAY_SPAN` seconds; both are None when nothing
    left the queue within that span. *delays* is how many messages they speak of.

    *queued_messages* and *queued_segments* were accepted, and nothing says that they left; what callbacks were lost of
    counts here until it is polled. *left_segments* left the queue within the last `DELAY_SPAN` seconds: divided by it,
    what the sender really drains at while its queue is not empty. *counts* is of the last `COUNT_SPAN` seconds.
    """

    sender: str
    at: str
    queue_delay: float | None
    queue_delay_p95: float | None
    delays: int
    queued_messages: int
    queued_segments: int
    left_segments: int
    counts: Counts
