"""Which sender a recipient belongs to: weighted rendezvous hashing.

Each sender draws a score for each recipient, and the highest wins; when a sender goes, only its own recipients move.
The weighted score is the logarithmic one of Schindelhauer and Schomaker, "Weighted Distributed Hash Tables" (2005).
"""

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from math import log
from zlib import crc32

# Recipients are hashed to slots first, and a slot's ranking is kept: the scores are drawn once a slot, not a message.
SLOTS = 65_536
# Hardly anybody gets to the ninth choice, so those are not kept.
CHOICES = 8


class Ranking:
    """The order in which each recipient prefers *names*; a name's share of first places goes by its weight."""

    def __init__(self, names: Sequence[str], weights: Sequence[float]) -> None:
        self._seeds = [name.encode() for name in names]
        self._weights = weights
        self._best_of_slot = lru_cache(maxsize=SLOTS)(self._best)

    def best(self, recipient: str) -> tuple[int, ...]:
        """Return the indices of the names that *recipient* prefers, best first, up to `CHOICES` of them."""
        return self._best_of_slot(_slot(recipient))

    def others(self, recipient: str) -> tuple[int, ...]:
        """Return the indices that come after the best ones; they are worked out each time."""
        return self._rank(_slot(recipient))[CHOICES:] if len(self._seeds) > CHOICES else ()

    def _best(self, slot: int) -> tuple[int, ...]:
        return self._rank(slot)[:CHOICES]

    def _rank(self, slot: int) -> tuple[int, ...]:
        if len(self._seeds) == 1:
            return (0,)
        key = slot.to_bytes(2, "big")
        scores = []
        for index, (seed, weight) in enumerate(zip(self._seeds, self._weights, strict=True)):
            # 53 bits: as many as a float tells apart, so that the largest is still below 1.
            drawn = int.from_bytes(blake2b(seed, digest_size=8, key=key).digest(), "big") >> 11
            uniform = (drawn + 1) / (2**53 + 1)
            scores.append((-weight / log(uniform), index))
        scores.sort(reverse=True)
        return tuple(index for _, index in scores)


def _slot(recipient: str) -> int:
    return crc32(recipient.encode()) & (SLOTS - 1)
