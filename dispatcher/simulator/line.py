"""Who sends in the stand-in's world: each sender with the queues that it fills, and the carriers of recipients."""

from collections import Counter
from collections.abc import Mapping
from hashlib import sha256
from zlib import crc32

from dispatcher.domain.fleet import Carrier, Sender
from dispatcher.simulator.fifo import SenderQueue
from dispatcher.simulator.meter import Meter

_CARRIER_BY_DIGIT: tuple[Carrier, ...] = (
    *("att", "att", "att"),
    *("tmobile", "tmobile", "tmobile"),
    *("verizon", "verizon", "verizon"),
    "other",
)


def carrier_of(number: str) -> Carrier:
    """Return the carrier of *number* in the stand-in's world, by its last digit.

    0 to 2 is AT&T, 3 to 5 T-Mobile, 6 to 8 Verizon, 9 any other.
    """
    return _CARRIER_BY_DIGIT[ord(number[-1]) - ord("0")]


def messaging_service_sid(pool: str) -> str:
    """Return the SID of the Messaging Service that the stand-in has for *pool*: the pool's senders of one account."""
    return "MG" + sha256(pool.encode()).hexdigest()[:32]


def numbers_of_service(sid: str, count: int) -> list[str]:
    """Return the *count* numbers that are in the Messaging Service with *sid*, which the config names and knows as one.

    They are of exchange 555, which no subscriber has.
    """
    first = crc32(sid.encode()) % 10_000
    return [f"+1415555{(first + place) % 10_000:04}" for place in range(count)]


class Line:
    """A sender: whose account it is on, and the queue that it fills for each carrier of a recipient.

    *media* are the queues of messages with media; without, Twilio makes texts with links of those. *brand* is None for
    a sender with queues of its own; numbers of a 10DLC campaign share their campaign's queues.
    """

    __slots__ = ("account", "brand", "failures", "media", "meter", "queues", "sender")

    def __init__(
        self,
        sender: Sender,
        account: str,
        queues: Mapping[Carrier, SenderQueue],
        media: Mapping[Carrier, SenderQueue],
        brand: str | None,
    ) -> None:
        self.sender = sender
        self.account = account
        self.queues = queues
        self.media = media
        self.brand = brand
        self.meter = next(iter(queues.values())).meter if brand is None else Meter()
        self.failures: Counter[int] = Counter()

    def queue(self, to: str, *, has_media: bool) -> SenderQueue:
        """Return the queue in which a message to *to* waits."""
        is_media = has_media and self.media and to.startswith(self.sender.media_prefixes)
        return (self.media if is_media else self.queues)[carrier_of(to)]
