"""Twilio behind its API, and the carriers behind Twilio: takes messages, queues, sends and delivers them.

Pure: it is handed the time and draws from a seed.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import date
from hashlib import sha256
from heapq import heappop, heappush
from random import Random
from typing import Final
from zlib import crc32

from dispatcher.domain.fleet import CARRIERS, Fleet, Sender, SenderKind
from dispatcher.simulator.almanac import Almanac
from dispatcher.simulator.fifo import SenderQueue
from dispatcher.simulator.line import Line, carrier_of, messaging_service_sid, numbers_of_service
from dispatcher.simulator.message import FINAL, Change, Due, Message, Status, Submission
from dispatcher.simulator.meter import PeakWindow
from dispatcher.simulator.refusals import FAMILY_TOO_FAST, NOT_BETWEEN_THESE, QUEUE_FULL, SERVICE_IS_EMPTY

# Twilio doesn't publish over what time it measures the family's rate; this much above it passes in one second, so
# that a sender which is exact is not refused for what the network bunched.
FAMILY_TOLERANCE: Final = 1.05
# Bodies are remembered for this many of the latest messages: lists and fetches of older ones show none.
BODIES_KEPT: Final = 100_000

# What the names of queues of messages with media end with.
MEDIA: Final = " mms"

_QUEUE_OVERFLOW = 30001
# Where letters are no sender.
_WITHOUT_LETTERS: Final = ("+1",)
_OVER_DAILY_CAP = 30023
_FILTERED = 30007
_UNDELIVERED = (30003, 30005, 30008)
# Seconds between `sent` and what the handset says.
_HANDSET_DELAY = (0.05, 0.5)


class Carriers:
    """Every queue at Twilio, every message it took, and what becomes of each."""

    def __init__(
        self,
        fleet: Fleet,
        *,
        seed: int,
        undelivered_share: float,
        factors: Mapping[str, float],
        almanac: Almanac,
        service_senders: int = 3,
    ) -> None:
        self.almanac = almanac
        self.undelivered_share = undelivered_share
        # How many numbers are in each Messaging Service that the config names.
        self.service_senders = service_senders
        # By a text that is in a body, the share that is filtered.
        self.filtered: Mapping[str, float] = {}
        self.messages: list[Message] = []
        self.repeated: Counter[str] = Counter()
        self.reached: Counter[Status] = Counter()
        self.account_peaks = {account.sid: PeakWindow(1.0) for account in fleet.accounts.values()}
        self.family_peaks = {account.family: PeakWindow(1.0) for account in fleet.accounts.values()}
        self.family_rate = fleet.family_rate.per_second
        self._families = {account.sid: self.family_peaks[account.family] for account in fleet.accounts.values()}
        self._family_names = {account.sid: account.family for account in fleet.accounts.values()}
        self.queues: dict[str, SenderQueue] = {}
        self.lines = {number: self._line(fleet, sender) for number, sender in fleet.senders.items()}
        self._services = {
            messaging_service_sid(name): tuple(self.lines[number] for number in pool.senders)
            for name, pool in fleet.pools.items()
        } | {number: (line,) for number, line in self.lines.items() if line.sender.kind is SenderKind.MESSAGING_SERVICE}
        # What senders of a kind got of messages with media, in an account's family.
        self.media_peaks: dict[tuple[str, SenderKind], PeakWindow] = {}
        # Segments to T-Mobile by brand and day (US Pacific), and what it takes of each brand a day.
        self.tmobile_days: Counter[tuple[str, date]] = Counter()
        self._configured_caps = {
            name: brand.tmobile_daily_cap for name, brand in fleet.brands.items() if brand.tmobile_daily_cap is not None
        }
        self._caps: Mapping[str, int] = self._configured_caps
        self._latest_to: dict[str, int] = {}
        self._texted: set[str] = set()
        self._handsets: list[Due] = []
        self._changes: list[Change] = []
        self._random = Random(f"{seed}-carrier")  # noqa: S311 - a play of chance that repeats, no secret
        self._filters = Random(f"{seed}-filters")  # noqa: S311 - same
        # Two runs never share a SID: a dispatcher that outlives the stand-in would mistake one message for another.
        self._sid_prefix = sha256(f"{seed}-{almanac.wall(0.0)}".encode()).hexdigest()[:16]
        self.slow_to(factors, 0.0)

    def accept(self, submission: Submission, now: float) -> Message | int:
        """Take *submission* in at *now* and return the message, or the code that it is refused with."""
        route = self._route(submission)
        if isinstance(route, int):
            return route
        line, number = route
        family = self._families[line.account]
        if family.amount(now) >= self.family_rate * FAMILY_TOLERANCE:
            return FAMILY_TOO_FAST
        queue = line.queue(submission.to, has_media=submission.media > 0)
        self._drain(queue, now)
        has_room = queue.has_room(submission.segments, now)
        if not has_room and submission.service is None:
            return QUEUE_FULL
        family.add(1, now)
        self.account_peaks[line.account].add(1, now)
        message = self._record(submission, line, number, now)
        if not has_room:
            message.status, message.code = "failed", _QUEUE_OVERFLOW
            self._announce(message, now)
            return message
        queue.put(message, now)
        if line.brand is not None:
            line.meter.add(message.segments, now)
        if message.media:
            self._media_peak(line).add(1, now)
        if message.mid is not None:
            if message.mid in self._texted:
                self.repeated[message.mid] += 1
            self._texted.add(message.mid)
        if message.service is not None:
            message.status = "queued"
            self._announce(message, now)
        return message

    def pretend(self, submission: Submission, now: float) -> Message:
        """Return what *submission* would become, as Twilio does for its magic numbers: nothing is kept or sent."""
        return self._message(submission, submission.sender or "", now)

    def advance(self, now: float) -> list[Change]:
        """Let everything happen that is due up to *now*; return the changes since the last call, each once."""
        for queue in self.queues.values():
            self._drain(queue, now)
        while self._handsets and self._handsets[0].at <= now:
            due = heappop(self._handsets)
            message = due.message
            message.code = self._objection(message)
            message.status = "undelivered" if message.code else "delivered"
            self._announce(message, due.at)
        changes, self._changes = self._changes, []
        return changes

    def slow_to(self, factors: Mapping[str, float], now: float) -> None:
        """Drain what each name of *factors* fills at so many times its rate from *now* on, all else at its rate.

        A name is a sender's, a 10DLC campaign's or `campaign/carrier`.
        """
        for queue in self.queues.values():
            self._drain(queue, now)
            queue.slow_to(1.0, now)
        for name, factor in factors.items():
            for queue in self.queues_of(name):
                queue.slow_to(factor, now)

    def cap(self, caps: Mapping[str, int]) -> None:
        """Hold the brands in *caps* to so many segments a day to T-Mobile, all others to what the config says."""
        self._caps = {**self._configured_caps, **caps}

    def queues_of(self, name: str) -> list[SenderQueue]:
        """Return the queues that *name*, a sender, a 10DLC campaign or `campaign/carrier`, fills; none for another."""
        if name in self.lines:
            return [*self.lines[name].queues.values(), *self.lines[name].media.values()]
        return [queue for known, queue in self.queues.items() if name in {known, known.partition("/")[0]}]

    def sid(self, message: Message) -> str:
        """Return the SID of *message*."""
        return f"{'MM' if message.media else 'SM'}{self._sid_prefix}{message.seq:016x}"

    def find(self, sid: str) -> Message | None:
        """Return the message with *sid*."""
        try:
            message = self.messages[int(sid[18:], 16) - 1]
        except (ValueError, IndexError):
            return None
        return message if self.sid(message) == sid else None

    def latest_to(self, to: str) -> Message | None:
        """Return the latest message to *to*."""
        seq = self._latest_to.get(to)
        return self.messages[seq - 1] if seq else None

    def _line(self, fleet: Fleet, sender: Sender) -> Line:
        account = fleet.accounts[sender.account].sid
        if sender.a2p_campaign is None:
            assert sender.rate is not None  # noqa: S101 - the fleet's own promise
            queue = self.queues.setdefault(sender.number, SenderQueue(sender.rate.per_second))
            media = {}
            if sender.mms_rate is not None:
                name = f"{sender.number}{MEDIA}"
                own = self.queues.setdefault(name, SenderQueue(sender.mms_rate.per_second))
                media = dict.fromkeys(CARRIERS, own)
            return Line(sender, account, dict.fromkeys(CARRIERS, queue), media, None)
        campaign = fleet.a2p_campaigns[sender.a2p_campaign]
        queues = {
            carrier: self.queues.setdefault(f"{campaign.name}/{carrier}", SenderQueue(rate.per_second))
            for carrier, rate in campaign.rates.items()
        }
        media = {
            carrier: self.queues.setdefault(
                f"{campaign.name}/{carrier}{MEDIA}", SenderQueue(campaign.mms_rate(carrier).per_second)
            )
            for carrier in CARRIERS
            if sender.media_prefixes
        }
        return Line(sender, account, queues, media, campaign.brand)

    def _route(self, submission: Submission) -> tuple[Line, str] | int:
        """Return the sender of *submission* and the number that it goes by, or the code that it is refused with."""
        line = self._choose_line(submission)
        if isinstance(line, int):
            return line
        match line.sender.kind:
            case SenderKind.ALPHANUMERIC if submission.to.startswith(_WITHOUT_LETTERS):
                return NOT_BETWEEN_THESE
            case SenderKind.MESSAGING_SERVICE:
                numbers = numbers_of_service(line.sender.number, self.service_senders)
                # Sticky, as below.
                return (line, numbers[crc32(submission.to.encode()) % len(numbers)]) if numbers else SERVICE_IS_EMPTY
            case _:
                return line, line.sender.number

    def _choose_line(self, submission: Submission) -> Line | int:
        """Return the sender that *submission* names or its Messaging Service picks, or why there is none."""
        service = None
        if submission.service is not None:
            service = [
                line for line in self._services.get(submission.service, ()) if line.account == submission.account
            ]
            if not service:
                return 21701
        if submission.sender is not None:
            line = self.lines.get(submission.sender)
            if line is None:
                return 21659
            return line if line.account == submission.account else 21660
        assert service is not None  # noqa: S101 - the API refuses a request with neither
        # Sticky, as Twilio's are: a recipient hears from one sender.
        return service[crc32(submission.to.encode()) % len(service)]

    def _record(self, submission: Submission, line: Line, number: str, now: float) -> Message:
        message = self._message(submission, number, now)
        message.seq = len(self.messages) + 1
        message.older = self._latest_to.get(message.to, 0)
        message.capped = self._is_capped(line, submission, now)
        self.messages.append(message)
        self._latest_to[message.to] = message.seq
        if message.seq > BODIES_KEPT:
            self.messages[message.seq - BODIES_KEPT - 1].body = None
        return message

    @staticmethod
    def _message(submission: Submission, sender: str, now: float) -> Message:
        return Message(
            at=now,
            account=submission.account,
            service=submission.service,
            sender=sender,
            to=submission.to,
            segments=submission.segments,
            media=submission.media,
            body=submission.body,
            callback=submission.callback,
            mid=submission.mid,
            attempt=submission.attempt,
            receiver=submission.receiver,
            validity=submission.validity,
            status="queued" if submission.service is None else "accepted",
        )

    def _media_peak(self, line: Line) -> PeakWindow:
        family = self._family_names[line.account]
        return self.media_peaks.setdefault((family, line.sender.kind), PeakWindow(1.0))

    def _is_capped(self, line: Line, submission: Submission, now: float) -> bool:
        """Say whether the brand is through with T-Mobile for today (US Pacific), counting this message."""
        if line.brand is None or carrier_of(submission.to) != "tmobile":
            return False
        today = line.brand, self.almanac.pacific_day(now)
        self.tmobile_days[today] += submission.segments
        cap = self._caps.get(line.brand)
        return cap is not None and self.tmobile_days[today] > cap

    def _drain(self, queue: SenderQueue, now: float) -> None:
        for message, at in queue.advance(now):
            if message.status == "sent":
                heappush(self._handsets, Due(at + self._random.uniform(*_HANDSET_DELAY), message.seq, message))
            self._announce(message, at)

    def _objection(self, message: Message) -> int | None:
        """Return the code that the carrier doesn't deliver *message* with."""
        if message.capped:
            return _OVER_DAILY_CAP
        if any(
            text in (message.body or "") and self._filters.random() < share for text, share in self.filtered.items()
        ):
            return _FILTERED
        if self._random.random() < self.undelivered_share:
            return self._random.choice(_UNDELIVERED)
        return None

    def _announce(self, message: Message, at: float) -> None:
        self.reached[message.status] += 1
        self._changes.append(Change(message, message.status, message.code, at, message.callback))
        if message.status in FINAL:
            message.callback = None
        if message.code is not None:
            name = message.service if message.service in self.lines else message.sender
            self.lines[name].failures[message.code] += 1
        if message.status in {"failed", "undelivered"} and message.mid is not None:
            # It reached nobody: sending it again texts nobody twice.
            self._texted.discard(message.mid)
