"""What the topic of caps holds: how workers share out a day among partition indices. Its order decides.

Every reader makes the same of it (`pacing.cap_book`), so nobody has to be asked.
"""

from typing import Final

import msgspec

# For so long records are kept: longer than a day is looked back at. Milliseconds.
RETENTION: Final = str(3 * 24 * 3600 * 1000)


class Takeover(msgspec.Struct, frozen=True, kw_only=True, tag_field="is", tag="takeover"):
    """From here on *owner* speaks for the partition *indices*; the record's offset is the epoch it speaks in."""

    owner: str
    indices: tuple[int, ...]


class Claim(msgspec.Struct, frozen=True, kw_only=True, tag_field="is", tag="claim"):
    """The owner of *index* wants *want* of the *day* of *cap* in all, of which it has *spent* so much for good.

    What is *spent* stands in the results before the offset *results* of the same index. *limit* is the cap as the owner
    knows it. Of one *epoch* a claim counts only when its *seq* is higher than that of the last.
    """

    cap: str
    day: str
    limit: int
    index: int
    epoch: int
    seq: int
    want: int
    spent: int
    results: int


class Closed(msgspec.Struct, frozen=True, kw_only=True, tag_field="is", tag="closed"):
    """Nothing more leaves on the *day* of *cap*, says *by*: the other side counts it as used up."""

    cap: str
    day: str
    by: str


CapRecord = Takeover | Claim | Closed

encode = msgspec.json.Encoder().encode
decode: msgspec.json.Decoder[CapRecord] = msgspec.json.Decoder(CapRecord)
