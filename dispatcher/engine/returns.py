"""Messages that were chosen to leave and come back unsent: to their lane, to another sender, or to their result."""

from collections.abc import Callable

from dispatcher.clock import Clock
from dispatcher.delivery.ledger import Ledger
from dispatcher.delivery.verdict import Declined
from dispatcher.domain.message import Message
from dispatcher.domain.phone import country_prefix
from dispatcher.domain.places import country_of, place_of
from dispatcher.engine.placement import Placement
from dispatcher.engine.retries import Retries
from dispatcher.outcomes.results import Outcomes
from dispatcher.pacing.lane import Lane
from dispatcher.pacing.pacer import Pacer


class Returns:
    """Takes messages back that Twilio did not process, or that never left, and finds another way for them.

    *give_back* is called with those that were charged to caps.
    """

    def __init__(
        self,
        pacer: Pacer,
        placement: Placement,
        retries: Retries,
        ledger: Ledger,
        outcomes: Outcomes,
        clock: Clock,
        give_back: Callable[[Message], None],
    ) -> None:
        self._give_back = give_back
        self._pacer = pacer
        self._placement = placement
        self._retries = retries
        self._ledger = ledger
        self._outcomes = outcomes
        self._clock = clock

    def back_in_line(self, message: Message, lane: Lane) -> None:
        """*message* was never processed: it goes again, the next of its lane, with no attempt lost."""
        lane.give_back(message)
        if lane.suspended_for(self._clock.monotonic()):
            self.choose_anew(message, lane)
        else:
            self._pacer.go_again(lane, message)

    def by_another(self, message: Message, lane: Lane, verdict: Declined, *, barred: bool = False) -> None:
        """*message* was not processed: it goes again, maybe by another sender; *barred*: this one never takes it."""
        lane.give_back(message)
        lane.unchoose(message)
        if not message.origin.is_owned:
            return
        if barred:
            message.tried = (*message.tried, lane.sender.number)
        self._outcomes.failed(message, lane.sender.number, verdict.code, verdict.reason)
        self.retract(message)
        self._retries.declined(message, verdict)

    def not_found(self, message: Message, sender: str, reason: str) -> None:
        """Twilio does not have *message*, as far as can be known: the request that left by *sender* came to nothing."""
        self._outcomes.failed(message, sender, None, reason)
        self.retract(message)
        self._retries.not_found(message, reason)

    def choose_anew(self, message: Message, lane: Lane) -> None:
        """Place *message*, which has not left by *lane* after all."""
        self.take_back(message, lane)
        if not self._placement.place(message, self._clock.monotonic(), front=True):
            self._outcomes.conclude(message, "refused", reason=no_sender(message))

    def take_back(self, message: Message, lane: Lane) -> None:
        """*message* was chosen and announced, and does not leave by *lane* after all."""
        message.attempts -= 1
        lane.unchoose(message)
        self.retract(message)

    def refuse_stranded(self, messages: list[Message]) -> None:
        """Give *messages* their result: nobody can send them any more."""
        for message in messages:
            message.attempts -= message.is_announced  # it did not leave
            self._outcomes.conclude(message, "refused", reason=no_sender(message))

    def retract(self, message: Message) -> None:
        """Let the journal say that no request for *message* was processed since it was announced.

        Only while its partition is ours: a new owner may have announced it, too.
        """
        if message.charged:
            self._give_back(message)
        if message.is_announced and message.origin.is_owned:
            message.is_announced = False
            self._ledger.void(message)


def no_sender(message: Message) -> str:
    """Return the reason of a message that no sender of its pool can take."""
    to, pool = message.job.to, message.job.pool
    what = "send media" if message.job.media_urls else "send"
    return (
        f"no sender of pool {pool!r} can {what} to {country_prefix(to)} ({country_of(place_of(to))}); add one to the "
        "pool, or the country to the sender or its account"
    )
