"""What the journal holds: before a request leaves, that it is about to; and when it surely was not processed, that too.

A page is one record of the journal: everything that happened to one worker's jobs within a tick.
"""

from collections.abc import Iterable

import msgspec

from dispatcher.domain.caps import Charge
from dispatcher.domain.outcome import Attempt, Position

# A job's place: the topic, the partition and the offset of its record.
Place = tuple[str, int, int]


class Intent(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The job at *offset* of *partition* of *topic* is about to be sent. *at* is in seconds of the epoch.

    *first* is where the job stood before it was parked, *charges* what it is charged to caps.
    """

    topic: str
    partition: int
    offset: int
    id: str
    attempt: int
    sender: str
    at: float
    first: Position | None = None
    charges: tuple[Charge, ...] = ()


class Tried(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The attempts to send the job at *offset* of *partition* of *topic* that came to nothing."""

    topic: str
    partition: int
    offset: int
    history: tuple[Attempt, ...]

    @property
    def place(self) -> Place:
        """Where the job stands."""
        return self.topic, self.partition, self.offset


class Page(msgspec.Struct, omit_defaults=True):
    """One record: requests about to leave, and jobs whose last request was not processed.

    *owner* names who wrote it. Of jobs that were *tried* before it says so with each request, and with each that came
    to nothing: earlier pages need not be there any more.
    """

    owner: str
    intents: list[Intent] = []
    void: list[Place] = []
    tried: list[Tried] = []


encode_page = msgspec.json.Encoder().encode
decode_page = msgspec.json.Decoder(Page).decode


def open_intents(pages: Iterable[Page]) -> dict[Place, Intent]:
    """Return the last intent of each job that *pages*, in order, do not take back.

    Each owner takes back its own alone: a page of a former one, who was frozen, may stand behind the next one's.
    """
    found: dict[tuple[str, str, int, int], Intent] = {}
    for page in pages:
        # A page voids what earlier pages announced: within a tick a job is voided before it is announced again.
        for topic, partition, offset in page.void:
            found.pop((page.owner, topic, partition, offset), None)
        for intent in page.intents:
            found[page.owner, intent.topic, intent.partition, intent.offset] = intent
    return {(topic, partition, offset): intent for (_, topic, partition, offset), intent in found.items()}


def tried_before(pages: Iterable[Page]) -> dict[Place, Tried]:
    """Return what *pages* say of the jobs whose attempts came to nothing.

    The longest history counts: a page of a former owner, who was frozen, may stand behind the next one's.
    """
    found: dict[Place, Tried] = {}
    for page in pages:
        for tried in page.tried:
            known = found.get(tried.place)
            if known is None or len(known.history) <= len(tried.history):
                found[tried.place] = tried
    return found
