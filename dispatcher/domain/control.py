"""What the control topic holds: what publishers, operators and rules say about campaigns and senders.

Its keys are `campaign/NAME`, `sender/NUMBER`, `published/NAME`, `counted/NAME` (how far its results were counted) and,
for each worker, `worker/NAME`: what it obeys already. The latest record of a key counts.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Final, Literal

import msgspec

CAMPAIGN: Final = "campaign/"
COUNTED: Final = "counted/"
PUBLISHED: Final = "published/"
SENDER: Final = "sender/"
WORKER: Final = "worker/"

# What a campaign can be told to be. `scheduled` is not among them: a running campaign is that before its time.
State = Literal["draft", "running", "paused", "finished", "cancelled"]


class Order(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who decided something, when, why, and until when it holds: None is until it is taken back."""

    by: str
    at: datetime
    why: str = ""
    until: datetime | None = None

    def __str__(self) -> str:
        until = f" until {self.until:%Y-%m-%d %H:%M:%S} UTC" if self.until else ""
        return f"by {self.by}{until}" + (f": {self.why}" if self.why else "")


class Begun(msgspec.Struct, frozen=True, kw_only=True):
    """What a publisher began: enough to find out what of it is in the jobs topic already.

    *start_offsets* are the ends of the partitions of *topic* before the first job; *sha256* stands for the campaign
    file and its recipients.
    """

    pool: str
    priority: str
    topic: str
    rows: int
    recipients: int
    start_offsets: Mapping[int, int]
    sha256: str
    at: datetime
    not_before: datetime | None = None
    expires_at: datetime | None = None

    @property
    def mark(self) -> str:
        """What tells it from what was begun under the same name at another time: the record under `published/`."""
        return self.at.isoformat()


class CampaignRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A campaign: its *state*, by whose *order*, its own *rate*, and what was published of it.

    Jobs may also come from elsewhere: then nothing was *begun*, and it can be held all the same.
    """

    state: State = "running"
    order: Order | None = None
    rate: str | None = None
    begun: Begun | None = None

    @property
    def is_held(self) -> bool:
        """Whether its messages wait until it is told to run."""
        return self.state in {"draft", "paused"}


class Cut(Order, frozen=True, kw_only=True):
    """An order to send at *factor* of the rate, above 0 and below 1."""

    factor: Annotated[float, msgspec.Meta(gt=0, lt=1)]

    def __str__(self) -> str:
        return f"to {self.factor:.0%} {super().__str__()}"


class SenderRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A sender: whether it is suspended, and whether its rate is cut. Neither: it is as the config says."""

    suspension: Order | None = None
    cut: Cut | None = None


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """A campaign's results before *offsets*, by partition: how many by status and by Twilio's code, and the segments.

    *mark* is that of what was begun under its name (`Begun.mark`), if anything was.
    """

    mark: str
    offsets: Mapping[int, int]
    statuses: Mapping[str, int]
    codes: Mapping[int, int]
    segments: int


class Applied(msgspec.Struct, frozen=True, kw_only=True):
    """A worker obeys every record of the control topic before the offset *before*."""

    before: int


encode = msgspec.json.Encoder().encode
decode_campaign = msgspec.json.Decoder(CampaignRecord).decode
decode_sender = msgspec.json.Decoder(SenderRecord).decode
decode_counted = msgspec.json.Decoder(Counted).decode
decode_applied = msgspec.json.Decoder(Applied).decode
