"""Who must not be texted: by nobody, by a pool, by a sender. Ten million numbers take some 120 MB."""

from array import array
from bisect import bisect_left

from dispatcher.domain.suppression import EVERYWHERE, SuppressionScope

# A set is cut into so many sorted arrays, by the numbers' last digits: of ten million numbers each holds 150, so that
# looking one up, and putting one in, moves next to nothing.
_SLOTS = 65_536


class Numbers:
    """A set of phone numbers in E.164, of some ten bytes each when there are many."""

    __slots__ = ("_count", "_slots")

    def __init__(self) -> None:
        self._slots: dict[int, array[int]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, number: str) -> bool:
        rest, index = divmod(int(number), _SLOTS)
        slot = self._slots.get(index)
        if slot is None:
            return False
        place = bisect_left(slot, rest)
        return place < len(slot) and slot[place] == rest

    def add(self, number: str) -> None:
        """Take *number* in, if it is not there."""
        rest, index = divmod(int(number), _SLOTS)
        slot = self._slots.get(index)
        if slot is None:
            slot = self._slots[index] = array("Q")
        place = bisect_left(slot, rest)
        if place == len(slot) or slot[place] != rest:
            slot.insert(place, rest)
            self._count += 1

    def discard(self, number: str) -> None:
        """Take *number* out, if it is there."""
        rest, index = divmod(int(number), _SLOTS)
        slot = self._slots.get(index)
        if slot is None:
            return
        place = bisect_left(slot, rest)
        if place < len(slot) and slot[place] == rest:
            del slot[place]
            self._count -= 1


class SuppressionList:
    """What the suppressions topic says: which numbers each scope must not text."""

    __slots__ = ("_by_scope", "_everywhere", "is_empty")

    def __init__(self) -> None:
        self.is_empty = True  # kept current, since every message asks
        self._everywhere = Numbers()
        self._by_scope: dict[SuppressionScope, Numbers] = {EVERYWHERE: self._everywhere}

    def __len__(self) -> int:
        return sum(map(len, self._by_scope.values()))

    def suppress(self, number: str, scope: SuppressionScope) -> None:
        """From now on nothing goes to *number* within *scope*."""
        numbers = self._by_scope.get(scope)
        if numbers is None:
            numbers = self._by_scope[scope] = Numbers()
        numbers.add(number)
        self.is_empty = False

    def lift(self, number: str, scope: SuppressionScope) -> None:
        """*scope* as such stands against *number* no more."""
        if (numbers := self._by_scope.get(scope)) is not None:
            numbers.discard(number)
            self.is_empty = not any(self._by_scope.values())

    def covering(self, number: str, pool: str, sender: str | None = None) -> SuppressionScope | None:
        """Return the scope that keeps *number* from being texted through *pool* (and by *sender*); None for none."""
        if self.is_empty:
            return None
        if number in self._everywhere:
            return EVERYWHERE
        if len(self._by_scope) == 1:  # no narrow one has ever been named
            return None
        for scope in (SuppressionScope("pool", pool), SuppressionScope("sender", sender or "")):
            if number in self._by_scope.get(scope, ()):
                return scope
        return None
