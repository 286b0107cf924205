"""Day caps: what this worker may still send of each, message by message, exactly, whatever crashes.

Each partition index has a *purse* of each day of a cap. A message is charged to the purse of its own index before it is
announced, and the charge stands in the journal and then in its result. So whoever takes the index over knows what was
spent, and nothing of a day is lost with a worker or counted twice. What a purse holds is claimed through a topic
(`pacing.cap_book`), where what is not needed goes back.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from enum import Enum

import structlog

from dispatcher.clock import Clock
from dispatcher.domain.caps import Cap, CapRules, Charge, Day
from dispatcher.domain.claims import CapRecord, Claim, Closed
from dispatcher.domain.fleet import Sender
from dispatcher.domain.message import Message
from dispatcher.domain.outcome import Status
from dispatcher.domain.sender_health import COUNT_SPAN, SenderHealth
from dispatcher.engine.purse import Asked, Purse
from dispatcher.engine.shelf import Shelf
from dispatcher.pacing.cap_book import CapBook, DayBook

log = structlog.get_logger()

# At first a purse takes this part of what is left, divided by all indices: claims are few, and little lies idle.
LEASE = 8
# T-Mobile's code for a message beyond its cap; it comes some time after the message, seldom later than so.
OVER_DAILY_CAP = 30023
SETTLED_BY = 60.0
# What was spent is written down again when it is so many seconds old, so that a successor has no more to read.
NOTE_EVERY = 60.0


class Leave(Enum):
    """Whether a message may be announced."""

    GRANTED = "it may"
    ASKED = "its purse has too little; more was claimed, and `granted` or `short` is called with it"
    SHORT = "nothing is left for it now"


class Caps:
    """Charges messages to the caps of *rules*, and knows who has to wait.

    A message that left may come to Twilio as late as *arrival* seconds after. *results_end* says where the safe results
    of an index end; `wake` is called when there may be `claims` to be written.
    """

    def __init__(
        self,
        rules: CapRules,
        *,
        partitions: int,
        arrival: float,
        clock: Clock,
        results_end: Callable[[int], int],
    ) -> None:
        self.rules = rules
        self.book = CapBook()
        self.shelf = Shelf()
        self._partitions = partitions
        self._arrival = arrival
        self._clock = clock
        self._results_end = results_end
        self.wake: Callable[[], None] = _nobody
        self._granted: Callable[[Message], None] = _nobody
        self._short: Callable[[Message], None] = _nobody
        self._epoch = -1
        self._purses: dict[tuple[str, str, int], Purse] = {}
        self._days: dict[str, Day] = {}
        self._inherited: dict[tuple[str, int, int], tuple[Charge, ...]] = {}
        self._closings: list[Closed] = []

    def tell(self, *, granted: Callable[[Message], None], short: Callable[[Message], None]) -> None:
        """Call *granted* with each message that was `Leave.ASKED` and may be announced now, or else *short*."""
        self._granted, self._short = granted, short

    def adopt(self, rules: CapRules) -> list[Message]:
        """From now on *rules* hold; return who waits, as it may be for nothing now.

        A limit that was lowered takes nothing back: what was sent was sent.
        """
        self.rules = rules
        self._days.clear()
        for purse in self._purses.values():
            purse.cap = rules.caps.get(purse.cap.name, purse.cap)
        self.wake()
        return self.shelf.take_all()

    # ------------------------------------------------------------------ messages

    def reserve(self, message: Message, sender: Sender) -> Leave:
        """Charge *message*, which is to leave by *sender*, to everything that caps it, or to nothing."""
        leave = self._reserve(message, sender)
        if leave is Leave.ASKED:
            self.wake()
        return leave

    def _reserve(self, message: Message, sender: Sender) -> Leave:
        if message.charged:
            if self.is_charged_for(message, sender):
                return Leave.GRANTED
            self.give_back(message)
        needs: list[tuple[Purse, int]] = []
        has_enough = True
        for cap, amount in self.rules.of(sender.number, message.job, message.cost):
            day = self._day(cap)
            if day.opens > self._clock.epoch():
                return Leave.SHORT
            purse = self._purse(cap, day.name, message.origin.partition)
            if purse.free < amount:
                if self._is_short(cap, self._book_of(purse), amount):
                    return Leave.SHORT
                has_enough = False
            needs.append((purse, amount))
        if not has_enough:
            asked = Asked(message, sender, tuple(needs))
            for purse, _ in needs:
                purse.waiting.append(asked)
            return Leave.ASKED
        for purse, amount in needs:
            purse.open += amount
        message.charged = tuple(Charge(purse.cap.name, purse.day, amount) for purse, amount in needs)
        return Leave.GRANTED

    def is_charged_for(self, message: Message, sender: Sender) -> bool:
        """Say whether what *message* is charged is what it takes to leave by *sender* now."""
        wanted = self.rules.of(sender.number, message.job, message.cost)
        now = self._clock.epoch()
        today = tuple((cap.name, day.name, amount) for cap, amount in wanted if (day := self._day(cap)).opens <= now)
        return today == tuple((charge.cap, charge.day, charge.amount) for charge in message.charged)

    def rests(self, sender: Sender, message: Message) -> bool:
        """Say whether *message* could not leave by *sender* as things are."""
        return self._what_lacks(sender, message) is not None

    def give_back(self, message: Message) -> None:
        """*message* was charged for nothing: it was not processed."""
        for charge in message.charged if message.origin.is_owned else ():
            if (purse := self._purses.get((charge.cap, charge.day, message.origin.partition))) is not None:
                purse.open -= charge.amount
                if self._is_needed(purse):
                    self.wake()
        message.charged = ()

    def conclude(self, message: Message, status: Status, segments: int) -> None:
        """*message* gets its result: it is charged for what Twilio has, or may have."""
        if not message.charged:
            return
        if status not in {"accepted", "unknown"}:
            self.give_back(message)
            return
        charges = []
        for charge in message.charged:
            # Twilio has the last word on how many segments it is.
            amount = segments if segments and self.rules.counts_segments(charge.cap) else charge.amount
            charges.append(Charge(charge.cap, charge.day, amount))
            if (purse := self._purses.get((charge.cap, charge.day, message.origin.partition))) is not None:
                purse.open += amount - charge.amount
                purse.concluded.append((message.origin, message.offset, amount))
        message.charged = tuple(charges)

    def inherit(self, message: Message) -> None:
        """*message* is in doubt since its former owner: it stays charged for what that one charged."""
        place = (message.origin.topic, message.origin.partition, message.offset)
        message.charged = self._inherited.pop(place, ())

    # ------------------------------------------------------------------ who waits

    def asked(self) -> list[Message]:
        """Return the messages that wait for what was claimed, chosen by their lanes to leave."""
        waiting = dict.fromkeys(asked for purse in self._purses.values() for asked in purse.waiting)
        return [asked.message for asked in waiting]

    def put_on_shelf(self, message: Message, sender: Sender) -> None:
        """*message* has to wait until there is more, or until tomorrow."""
        cap, amount = self._what_lacks(sender, message) or self.rules.of(sender.number, message.job, message.cost)[0]
        self.shelf.put(cap, amount, message)

    def serve(self) -> tuple[list[Message], list[tuple[Message, float, str]]]:
        """Take off the shelf, a few milliseconds of work: who may try again; who is put off until when, and why."""
        again: list[Message] = []
        put_off: list[tuple[Message, float, str]] = []
        for cap in self.shelf.stirred():
            day, now = self._day(cap), self._clock.epoch()
            book = self.book.day(cap.name, day.name)
            left = cap.limit - book.granted
            tomorrow = cap.day_at(day.closes, self._arrival).opens
            taken, kept = self.shelf.take_some(cap), []
            for one in taken:
                if day.opens > now:
                    put_off.append((one.message, day.opens, cap.reason))
                elif book.is_closed or cap.limit - book.spent < one.amount:
                    put_off.append((one.message, tomorrow, cap.reason))
                elif left >= one.amount:
                    left -= one.amount
                    again.append(one.message)
                else:
                    kept.append(one)
            self.shelf.put_back(cap, kept)
            if len(kept) == len(taken):
                self.shelf.settle(cap)
        return again, put_off

    def _what_lacks(self, sender: Sender, message: Message) -> tuple[Cap, int] | None:
        """Return the cap that has too little left for *message* to leave by *sender*, and how much it takes of it."""
        for cap, amount in self.rules.of(sender.number, message.job, message.cost):
            day = self._day(cap)
            if day.opens > self._clock.epoch():
                return cap, amount
            purse = self._purses.get((cap.name, day.name, message.origin.partition))
            if (purse is None or purse.free < amount) and self._is_short(
                cap, self.book.day(cap.name, day.name), amount
            ):
                return cap, amount
        return None

    # ------------------------------------------------------------------ the topic

    def heard(self, offset: int, record: CapRecord) -> None:
        """The topic has *record* at *offset*."""
        self.book.apply(offset, record)
        if isinstance(record, Claim | Closed):
            if isinstance(record, Claim) and record.epoch == self._epoch:
                self._read_own(record)
            if (cap := self.rules.caps.get(record.cap)) is not None:
                self.shelf.stir(cap)
                if self.book.day(record.cap, record.day).is_scarce:
                    self.wake()

    def begin(self, epoch: int, indices: Collection[int]) -> Mapping[int, int]:
        """From now on *indices* are ours, which the topic says at the offset *epoch*.

        Return from where on the results of each have to be read, where that is needed to know what was spent.
        """
        self.forget()
        self._epoch = epoch
        since: dict[int, int] = {}
        for index in indices:
            for name, day, stake in self.book.stakes_of(index):
                if (cap := self.rules.caps.get(name)) is not None and day >= self._day(cap).name:
                    since[index] = min(stake.results, since.get(index, stake.results))
        return since

    def recover(
        self,
        indices: Collection[int],
        charged: Mapping[int, Sequence[tuple[int, tuple[Charge, ...]]]],
        in_doubt: Mapping[tuple[str, int, int], tuple[Charge, ...]],
    ) -> None:
        """Fill the purses of *indices* as their last owners left them.

        *charged* are results by index, each with its offset; *in_doubt* jobs by topic, partition and offset.
        """
        self._inherited = dict(in_doubt)
        for index in indices:
            for name, day, stake in self.book.stakes_of(index):
                if (cap := self.rules.caps.get(name)) is None:
                    continue
                purse = self._purse(cap, day, index)
                purse.granted, purse.spent, purse.noted = stake.granted, stake.spent, stake.spent
                for offset, charges in charged.get(index, ()):
                    if offset >= stake.results:
                        purse.spent += sum(one.amount for one in charges if (one.cap, one.day) == (name, day))
        for (_, index, _), charges in in_doubt.items():
            for charge in charges:
                if (found := self._purses.get((charge.cap, charge.day, index))) is not None:
                    found.open += charge.amount
        self.wake()

    def forget(self) -> list[Message]:
        """Nothing is ours any more; return the messages that waited for a grant."""
        waiting = self.asked()
        self._epoch = -1
        self._purses.clear()
        self._inherited.clear()
        self.shelf.clear()
        return waiting

    def hear(self, health: SenderHealth) -> None:
        """Tracking counted how a sender's messages ended: T-Mobile may say that its brand has used up its day."""
        cap = self.rules.tmobile_cap(health.sender)
        if cap is None or not health.counts.codes.get(OVER_DAILY_CAP):
            return
        day = self._day(cap)
        # What is counted at first may have ended before midnight.
        has_begun = day.opens + COUNT_SPAN + SETTLED_BY <= self._clock.epoch()
        if has_begun and not self.book.day(cap.name, day.name).is_closed:
            log.warning("T-Mobile says that a brand has used up its day", cap=cap.name, day=day.name)
            self._closings.append(Closed(cap=cap.name, day=day.name, by=f"{OVER_DAILY_CAP} of {health.sender}"))
            self.wake()

    def look(self) -> None:
        """See, about once a second, what has become safe meanwhile, and whether a day has begun or ended."""
        for key, purse in [*self._purses.items()]:
            purse.sweep()
            if not purse.open and not purse.waiting and purse.day < self._day(purse.cap).name:
                del self._purses[key]
        self.shelf.stir_all()
        self.wake()

    def claims(self) -> list[CapRecord]:
        """Return what is to be written into the topic now."""
        closings, self._closings = self._closings, []
        if self._epoch < 0:
            return []
        now = self._clock.monotonic()
        claims = [claim for purse in [*self._purses.values()] if (claim := self._claim(purse, now)) is not None]
        return [*closings, *claims]

    def _claim(self, purse: Purse, now: float) -> Claim | None:
        if purse.unread:
            return None
        purse.sweep()
        if purse.waiting:
            # What they wait for may have come back here meanwhile, or gone to others.
            self._serve(purse)
        want = self._wants(purse)
        is_noteworthy = purse.spent != purse.noted and (
            now - purse.noted_at >= NOTE_EVERY or (self._book_of(purse).is_scarce and not purse.open)
        )
        if want == purse.granted and not is_noteworthy:
            return None
        purse.seq += 1
        purse.unread = True
        # What goes back is others' as soon as they read of it: nobody here may take it any more.
        purse.granted = min(purse.granted, want)
        purse.noted, purse.noted_at = purse.spent, now
        return Claim(
            cap=purse.cap.name,
            day=purse.day,
            limit=purse.cap.limit,
            index=purse.index,
            epoch=self._epoch,
            seq=purse.seq,
            want=want,
            spent=purse.spent,
            results=self._results_end(purse.index),
        )

    def _serve(self, purse: Purse) -> None:
        """Let those that wait at *purse* go for which there is enough, and tell those for which nothing is left."""
        for asked in [*purse.waiting]:
            for needed, _ in asked.needs:
                needed.waiting.remove(asked)
            match self._reserve(asked.message, asked.sender):
                case Leave.GRANTED:
                    self._granted(asked.message)
                case Leave.SHORT:
                    self._short(asked.message)
                case Leave.ASKED:
                    pass

    def _wants(self, purse: Purse) -> int:
        """Return how much *purse* wants to hold in all."""
        book = self._book_of(purse)
        lacks = sum(asked.of(purse) for asked in purse.waiting) - purse.free
        if lacks <= 0:
            # What came back here may be what others wait for.
            return purse.granted + lacks if book.is_scarce or book.is_closed else purse.granted
        left = purse.cap.limit - book.granted
        if book.is_scarce:
            return purse.granted + min(lacks, max(0, left))
        return purse.granted + max(lacks, left // (LEASE * self._partitions))

    def _read_own(self, claim: Claim) -> None:
        purse = self._purses.get((claim.cap, claim.day, claim.index))
        if purse is None or claim.seq != purse.seq:
            return
        stake = self._book_of(purse).stakes.get(claim.index)
        if stake is None or stake.version != (claim.epoch, claim.seq):
            return  # another speaks for the index by now; the group is about to tell us
        purse.unread = False
        purse.granted = stake.granted
        self._serve(purse)
        self.wake()

    @staticmethod
    def _is_short(cap: Cap, book: DayBook, amount: int) -> bool:
        return book.is_closed or (book.is_scarce and cap.limit - book.granted < amount)

    def _is_needed(self, purse: Purse) -> bool:
        return bool(purse.waiting) or self._book_of(purse).is_scarce

    def _book_of(self, purse: Purse) -> DayBook:
        return self.book.day(purse.cap.name, purse.day)

    def _purse(self, cap: Cap, day: str, index: int) -> Purse:
        purse = self._purses.get((cap.name, day, index))
        if purse is None:
            purse = self._purses[cap.name, day, index] = Purse(cap, day, index)
        return purse

    def _day(self, cap: Cap) -> Day:
        """Return the day that is open, or opens next."""
        now = self._clock.epoch()
        day = self._days.get(cap.name)
        if day is None or not day.opens <= now < day.closes:
            day = self._days[cap.name] = cap.day_at(now, self._arrival)
        return day


def _nobody(_message: Message | None = None) -> None:
    """Nobody has said yet what is to be done."""
