"""A purse: what one partition index may send of one day of a cap, and who waits for more."""

from collections import deque
from dataclasses import dataclass

from dispatcher.domain.caps import Cap
from dispatcher.domain.fleet import Sender
from dispatcher.domain.message import Message, Origin


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """*message*, which is to leave by *sender*, waits at each purse that it *needs* something of."""

    message: Message
    sender: Sender
    needs: "tuple[tuple[Purse, int], ...]"

    def of(self, purse: "Purse") -> int:
        """Return how much it needs of *purse*."""
        return sum(amount for one, amount in self.needs if one is purse)


class Purse:
    """What one partition index may send of one day of a cap.

    *granted* by the book; *open* is charged for messages whose results are not safe yet, *spent* for those whose are.
    *concluded* are those that have a result on its way; *waiting* is who has too little, here or at another.
    """

    __slots__ = (
        "cap",
        "concluded",
        "day",
        "granted",
        "index",
        "noted",
        "noted_at",
        "open",
        "seq",
        "spent",
        "unread",
        "waiting",
    )

    def __init__(self, cap: Cap, day: str, index: int) -> None:
        self.cap = cap
        self.day = day
        self.index = index
        self.granted = 0
        self.open = 0
        self.spent = 0
        self.concluded: deque[tuple[Origin, int, int]] = deque()
        self.waiting: list[Asked] = []
        self.seq = 0
        self.unread = False
        self.noted = 0
        self.noted_at = 0.0

    @property
    def free(self) -> int:
        """How much is left in it."""
        return self.granted - self.open - self.spent

    def sweep(self) -> None:
        """Count as spent what has a safe result by now."""
        for _ in range(len(self.concluded)):
            origin, offset, amount = self.concluded.popleft()
            if origin.is_settled(offset):
                self.open -= amount
                self.spent += amount
            else:
                self.concluded.append((origin, offset, amount))
