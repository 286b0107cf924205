"""Which sender a recipient belongs to: weighted rendezvous hashing.

Each sender draws a score for each recipient, and the highest wins; when a sender goes, only its own recipients move.
The weighted score is the logarithmic one of Schindelhauer and Schomaker, "Weighted Distributed Hash Tables" (2005).
"""

from bisect import bisect
from collections.abc import Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import accumulate
from math import log
from struct import unpack
from zlib import crc32

# Recipients are hashed to slots first, and a slot's ranking is kept: the scores are drawn once a slot, not a message.
SLOTS = 65_536
# Hardly anybody gets to the ninth choice, so those are not kept.
CHOICES = 8
# A pool of more senders draws by groups: five thousand scores a slot would take hours before all slots are ranked.
MOST_ONE_BY_ONE = 32
_MOST_DRAWS = 4 * CHOICES
_GOLDEN = 0.6180339887498949
_ALL_ONES = 2**64 - 1
_SPAN = 2.0**64


class Ranking:
    """The order in which each recipient prefers *names*; a name's share of first places goes by its weight."""

    def __init__(self, names: Sequence[str], weights: Sequence[float]) -> None:
        self._seeds = [_hash(name.encode()) | 1 for name in names]
        # None where all weigh alike: then the draws stand in the order of their scores.
        self._rarities = [1 / weight for weight in weights] if len(set(weights)) > 1 else None
        self._groups = _Group(b"", names, weights, range(len(names))) if len(names) > MOST_ONE_BY_ONE else None
        self._first_of_slot = lru_cache(maxsize=SLOTS)(self._first)
        self._next_of_slot = lru_cache(maxsize=SLOTS)(self._next)
        # All of them side by side on a line, each as long as its weight.
        self._in_line = sorted(range(len(names)), key=names.__getitem__)
        self._ends = list(accumulate(weights[index] for index in self._in_line))

    def best(self, recipient: str) -> Iterator[int]:
        """Point to the indices of the names that *recipient* prefers, best first, up to `CHOICES` of them.

        Mostly the first is enough, so the others are ranked when somebody asks for them.
        """
        if not self._seeds:
            return
        slot = _slot(recipient)
        first = self._first_of_slot(slot)
        yield first
        yield from self._next_of_slot(slot) if self._groups is None else self._next_of_many(first, recipient)

    def others(self, recipient: str) -> tuple[int, ...]:
        """Return the indices that come after the best ones; they are worked out each time."""
        if len(self._seeds) <= CHOICES:
            return ()
        best = set(self.best(recipient))
        return tuple(index for index in self._rank(_slot(recipient)) if index not in best)

    def _first(self, slot: int) -> int:
        if self._groups is not None:
            return self._groups.draw(slot.to_bytes(2, "big") + b"\0")
        scores = self._scores(slot)
        return max(range(len(scores)), key=scores.__getitem__)

    def _next(self, slot: int) -> tuple[int, ...]:
        return self._rank(slot)[1:CHOICES]

    def _next_of_many(self, first: int, recipient: str) -> Iterator[int]:
        """Point to places in the line, after *first*, which is drawn by groups.

        Where all senders have much to do, everyone asks for more, and a draw takes 45 us. The places are a recipient's,
        not its slot's: senders that few slots draw first live on being the next choice of others. They are a golden
        section apart, so two seldom hit one sender.
        """
        found = {first}
        hashed, length = crc32(recipient.encode()), self._ends[-1]
        for number in range(_MOST_DRAWS):
            place = (hashed + number) * _GOLDEN % 1.0
            index = self._in_line[bisect(self._ends, place * length)]
            if index not in found:
                yield index
                found.add(index)
                if len(found) == CHOICES:
                    return

    def _rank(self, slot: int) -> tuple[int, ...]:
        scores = self._scores(slot)
        return tuple(sorted(range(len(scores)), key=scores.__getitem__, reverse=True))

    def _scores(self, slot: int) -> list[int] | list[float]:
        if len(self._seeds) == 1:
            return [0]
        # One hash a slot and one a name, multiplied: a hash for each pair takes four times as long, and a new
        # campaign's recipients touch every slot. The product's upper bits are uniform, and independent between names.
        hashed = _hash(slot.to_bytes(2, "big"))
        scores: list[int] | list[float] = [hashed * seed & _ALL_ONES for seed in self._seeds]
        if self._rarities is not None:
            scores = [log((drawn + 0.5) / _SPAN) * rarity for drawn, rarity in zip(scores, self._rarities, strict=True)]
        return scores


class _Group:
    """Names whose hashes begin alike, in up to sixteen smaller groups by what follows; the last ones are single names.

    A group draws scores with the weight of all that is in it, so in the end each name wins by its own weight. When a
    name goes, its groups become lighter, and about as many recipients leave these as it had itself.
    """

    __slots__ = ("_members", "_prefix")

    def __init__(self, prefix: bytes, names: Sequence[str], weights: Sequence[float], indices: Sequence[int]) -> None:
        self._prefix = prefix
        by_digit: dict[int, list[int]] = {}
        for index in indices:
            by_digit.setdefault(_digit(names[index], len(prefix)), []).append(index)
        self._members: list[tuple[int, float, _Group | int]] = []
        for digit, inside in sorted(by_digit.items()):
            weight = sum(weights[index] for index in inside)
            member = inside[0] if len(inside) == 1 else _Group(prefix + bytes([digit]), names, weights, inside)
            self._members.append((digit, weight, member))

    def draw(self, key: bytes) -> int:
        """Return the index of the name that wins with *key*."""
        # Eight scores a hash.
        halves = [blake2b(self._prefix, key=key, person=half).digest() for half in (b"0", b"1")]
        drawn = unpack("<16Q", b"".join(halves))
        best, winner = 0.0, self._members[0][2]
        for digit, weight, member in self._members:
            if (score := _score(drawn[digit], weight)) > best:
                best, winner = score, member
        return winner if isinstance(winner, int) else winner.draw(key)


def _digit(name: str, place: int) -> int:
    """Return the hexadecimal digit at *place* of a name's hash."""
    byte = blake2b(name.encode()).digest()[place // 2]
    return byte & 15 if place % 2 else byte >> 4


def _score(drawn: int, weight: float) -> float:
    """Turn the 64 bits *drawn* into a score; 53 of them are as many as a float tells apart, so it never is infinite."""
    return -weight / log(((drawn >> 11) + 1) / (2**53 + 1))


def _hash(value: bytes) -> int:
    return int.from_bytes(blake2b(value, digest_size=8).digest(), "big")


def _slot(recipient: str) -> int:
    return crc32(recipient.encode()) & (SLOTS - 1)
