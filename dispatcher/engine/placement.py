"""Puts messages into lanes and moves them to others: where sharding (which sender) meets pacing (when)."""

from collections.abc import Callable, Iterable, Sequence
from math import inf

from dispatcher.domain.fleet import Fleet, Sender
from dispatcher.domain.message import Message
from dispatcher.pacing.hierarchy import Hierarchy
from dispatcher.pacing.lane import Lane
from dispatcher.pacing.pacer import Pacer
from dispatcher.sharding.health import Health
from dispatcher.sharding.reach import narrowed_senders, pools_of
from dispatcher.sharding.router import Router

# A lane that ran dry takes over this much work at once, in seconds of its rate, and at most so many messages.
TAKEN_OVER = 0.25
MOST_TAKEN_OVER = 64
# A lane that found nothing to take over looks again after this many seconds.
LOOK_AGAIN = 1.0


class Placement:
    """Every waiting message is in the lane of a sender that can take it.

    A message is placed once, with the sender it belongs to. It moves when that sender is quarantined, and when a
    sender of its pool has nothing to do while it would still wait longer than the pool's *spill_after*: behind others,
    or because its own is suspended. *rests* says that a message cannot leave by a sender, for a cap of some day.
    """

    def __init__(
        self,
        fleet: Fleet,
        hierarchy: Hierarchy,
        pacer: Pacer,
        rests: Callable[[Sender, Message], bool] | None = None,
    ) -> None:
        self._rests = rests
        self._hierarchy = hierarchy
        self._pacer = pacer
        self.health = Health(self._suspend)
        self.moved = 0
        self._use(fleet)

    def _use(self, fleet: Fleet) -> None:
        hierarchy = self._hierarchy
        self._fleet = fleet
        self.router = Router(
            fleet,
            self.health,
            weight=lambda sender: hierarchy.capacity(sender.number),
            wait=self._wait if self._rests is None else self._wait_or_rest,
        )
        # The lanes of each pool that were too full for a message when it was placed, oldest first.
        self._overfull: dict[str, dict[Lane, None]] = {name: {} for name in fleet.pools}
        self._pools_of = pools_of(fleet)
        self._look_again_at: dict[Lane, float] = {}

    def adopt(self, fleet: Fleet, *, weights: Sequence[int], queue_target: float, now: float) -> list[Lane]:
        """Send with *fleet* from *now* on; return the lanes that are no more, with what waits in them.

        Whoever had one keeps its quarantine.
        """
        narrowed = narrowed_senders(self._fleet, fleet)
        gone = self._hierarchy.adopt(fleet, weights=weights, queue_target=queue_target, anew=narrowed, now=now)
        overfull = self._overfull
        self._use(fleet)
        for pool, lanes in self._overfull.items():
            lanes.update(overfull.get(pool, {}))
        for number in fleet.senders:
            if until := self.health.out_until(number):
                self._suspend(number, until)
        self._pacer.look_again(self._hierarchy.gates())
        for lane in self._hierarchy.lanes():
            self._pacer.visit(lane, now)  # with what is new it may have time for others
        return gone

    def place_anew(self, lanes: Iterable[Lane], now: float) -> list[Message]:
        """Place what waits in *lanes* with whoever can take it now; return what nobody can."""
        waiting = [message for lane in lanes for message in self._pacer.drain(lane)]
        return [message for message in waiting if not self.place(message, now)]

    def knows(self, pool: str) -> bool:
        """Say whether the config has *pool*."""
        return pool in self._fleet.pools

    def lane_of(self, sender: Sender, message: Message) -> Lane:
        """Return the lane in which *message* waits for *sender*."""
        job = message.job
        if job.media_urls:
            return self._hierarchy.media_lane(sender, job.carrier)
        return self._hierarchy.lane(sender, job.carrier)

    def place(self, message: Message, now: float, *, front: bool = False) -> bool:
        """Let *message* wait in the lane of its sender; False when no sender of its pool can ever take it."""
        sender, is_late = self.router.seek(message, now)
        if sender is None:
            return False
        lane = self._put(message, sender)
        if is_late:
            self._overfull[message.job.pool][lane] = None
        self._pacer.offer(lane, message, front=front)
        return True

    def relieve(self, dry: Lane, now: float) -> None:
        """Let *dry*, which has nothing left to send, take over from a lane that makes others wait too long."""
        if dry.suspended_for(now) or self._look_again_at.get(dry, 0.0) > now:
            return
        is_any_left = False
        for pool in self._pools_of[dry.sender.number]:
            overfull = self._overfull[pool.name]
            for lane in list(overfull):
                if lane.backlog() + lane.suspended_for(now) <= pool.spill_after or not lane.queue.count:
                    del overfull[lane]
                elif lane is not dry and self._take_over(dry, lane, pool.name, now):
                    return
                else:
                    is_any_left = True
        if is_any_left:
            self._look_again_at[dry] = now + LOOK_AGAIN
            self._pacer.visit(dry, now + LOOK_AGAIN)

    def quarantine(self, senders: Iterable[Sender], reason: str, now: float) -> list[Message]:
        """Take *senders* out for a while and place their messages anew; return those that nobody can take any more."""
        fresh = [sender for sender in senders if not self.health.is_out(sender.number, now)]
        for sender in fresh:
            self.health.quarantine(sender.number, reason, now)
        return self._place_anew_of([sender.number for sender in fresh], now)

    def suspend(self, number: str, until: float, now: float) -> list[Message]:
        """Take the sender with *number* out until *until* (0: let it back), as in `quarantine`."""
        was_out = self.health.is_out(number, now)
        self.health.suspend(number, until)
        if self.health.is_out(number, now):
            return self._place_anew_of([number], now) if not was_out else []
        for lane in self._hierarchy.lanes_of(number):
            self._pacer.look_again((lane.suspension,))
            self._pacer.visit(lane, now)
        return []

    def _place_anew_of(self, numbers: Iterable[str], now: float) -> list[Message]:
        return self.place_anew((lane for number in numbers for lane in self._hierarchy.lanes_of(number)), now)

    def quarantine_account(self, account: str, reason: str, now: float) -> list[Message]:
        """Take every sender of *account* out, as in `quarantine`."""
        senders = self._fleet.senders.values()
        return self.quarantine((sender for sender in senders if sender.account == account), reason, now)

    def _take_over(self, dry: Lane, full: Lane, pool: str, now: float) -> bool:
        """Move the first of *full*'s messages that *dry* can take; say whether there were any."""
        wanted = min(MOST_TAKEN_OVER, max(1.0, dry.rate * TAKEN_OVER))
        taken: list[Message] = []
        passed_over: list[Message] = []
        while len(taken) + len(passed_over) < MOST_TAKEN_OVER and wanted > 0:
            message = full.queue.pop(now)
            if message is None:
                break
            if self._fits(message, dry, pool):
                taken.append(message)
                wanted -= message.cost
            else:
                passed_over.append(message)
        for message in reversed(passed_over):
            full.queue.push(message, front=True)
        for message in taken:
            self._pacer.offer(self._put(message, dry.sender), message)
        self.moved += len(taken)
        return bool(taken)

    def _fits(self, message: Message, lane: Lane, pool: str) -> bool:
        return (
            message.job.pool == pool
            and self.router.can_take(lane.sender, message)
            and self.lane_of(lane.sender, message) is lane
            and (self._rests is None or not self._rests(lane.sender, message))
        )

    def _wait(self, sender: Sender, message: Message) -> float:
        return self.lane_of(sender, message).wait(message.priority)

    def _wait_or_rest(self, sender: Sender, message: Message) -> float:
        assert self._rests is not None  # noqa: S101 - chosen by that
        return inf if self._rests(sender, message) else self._wait(sender, message)

    def _put(self, message: Message, sender: Sender) -> Lane:
        message.sender = sender
        message.lane = lane = self.lane_of(sender, message)
        return lane

    def _suspend(self, number: str, until: float) -> None:
        for lane in self._hierarchy.lanes_of(number):
            lane.suspension.open_from = until
            self._pacer.visit(lane, until)  # it may have nothing of its own then, and others too much
