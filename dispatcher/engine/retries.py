"""Messages whose attempts came to nothing: whether each goes again, by whom and when, within its account's budget."""

from datetime import UTC, datetime
from functools import cache
from random import Random

from dispatcher.clock import Clock
from dispatcher.delivery.retry import IN_DOUBT, RETRIES, Retry, ends_at
from dispatcher.delivery.verdict import Declined
from dispatcher.domain.fleet import Fleet, Sender
from dispatcher.domain.message import Message
from dispatcher.domain.outcome import Status
from dispatcher.engine.later import Later
from dispatcher.engine.placement import Placement
from dispatcher.outcomes.results import Outcomes
from dispatcher.pacing.bucket import TokenBucket
from dispatcher.telemetry import metrics

# What an account may save up of its budget: so many seconds of it, and so many attempts at least.
SAVED_UP = 10.0
LEAST_SAVED_UP = 10.0


class Retries:
    """Lets messages go again as the table says (`delivery.retry`), until it or their time ends.

    Of what an account can send, its `retry_share` is for messages that were tried before, those of each priority class
    by themselves. Who finds it used up waits until its own turn comes.
    """

    def __init__(
        self,
        fleet: Fleet,
        placement: Placement,
        later: Later,
        outcomes: Outcomes,
        clock: Clock,
        random: Random,
    ) -> None:
        self._fleet = fleet
        self._placement = placement
        self._later = later
        self._outcomes = outcomes
        self._clock = clock
        self._random = random
        self._part = 1.0
        self._budgets: dict[tuple[str, int], TokenBucket] = {}

    def share(self, part: float) -> None:
        """From now on this worker has *part* of every limit."""
        self._part = part
        self._budgets.clear()

    def adopt(self, fleet: Fleet) -> None:
        """From now on accounts, senders and pools are those of *fleet*."""
        self._fleet = fleet
        self._budgets.clear()

    def declined(self, message: Message, verdict: Declined) -> None:
        """Twilio declined *message* for a reason that another attempt may not meet."""
        now = self._clock.monotonic()
        retry = RETRIES[verdict.reaction]
        sender = self._placement.router.choose(message, now)
        if sender is None:
            self._outcomes.conclude(message, "refused", code=verdict.code, reason=verdict.reason)
            return
        pause = self._pause(message, retry) if self._placement.health.is_out(sender.number, now) else 0.0
        self._go_again(message, sender, retry, pause, "refused", verdict.code, verdict.reason)

    def not_found(self, message: Message, reason: str) -> None:
        """Twilio does not have *message*, as far as can be known, though a request for it left."""
        sender = self._placement.router.choose(message, self._clock.monotonic())
        pause = self._pause(message, IN_DOUBT)
        self._go_again(message, sender, IN_DOUBT, pause, "unknown", None, reason)

    def _pause(self, message: Message, retry: Retry) -> float:
        return retry.pause(message.attempts, self._random)

    def _go_again(
        self,
        message: Message,
        sender: Sender | None,
        retry: Retry,
        pause: float,
        otherwise: Status,
        code: int | None,
        reason: str,
    ) -> None:
        if message.attempts >= retry.most:
            reason = f"{reason}; it was tried {message.attempts} times"
            self._outcomes.conclude(message, otherwise, code=code, reason=reason)
            return
        now = self._clock.monotonic()
        if sender is not None:
            pause = max(pause, self._reserve(sender.account, message, now) - now)
        due = self._clock.epoch() + pause
        pool = self._fleet.pools.get(message.job.pool)  # the config may have dropped it
        ends = ends_at(message.job, message.history, pool.validity if pool is not None else None)
        if ends is not None and ends.timestamp() <= due:
            at = datetime.fromtimestamp(due, UTC)
            reason = f"{reason}; the next attempt, at {at:%Y-%m-%d %H:%M:%S} UTC, would come too late"
            self._outcomes.conclude(message, "expired" if code else otherwise, code=code, reason=reason)
            return
        _retries(sender.account if sender is not None else "none", str(code or "in_doubt")).inc()
        if pause > 0:
            self._later.wait(message, due)
        elif not self._placement.place(message, now, front=True):
            self._outcomes.conclude(message, otherwise, code=code, reason=reason)

    def _reserve(self, account: str, message: Message, now: float) -> float:
        """Return when *account* has room for another attempt of *message*, which takes that up."""
        budget = self._budgets.get((account, message.priority))
        if budget is None:
            rate = speed(self._fleet, account) * self._fleet.accounts[account].retry_share * self._part
            budget = TokenBucket(rate, leeway=max(SAVED_UP, LEAST_SAVED_UP / rate))
            self._budgets[account, message.priority] = budget
        opens_at = budget.opens_at(now)
        budget.take(message.cost, max(now, opens_at))
        return opens_at


def speed(fleet: Fleet, account: str) -> float:
    """Return the segments a second that the senders of *account* can send; the numbers of a 10DLC campaign share."""
    senders = [sender for sender in fleet.senders.values() if sender.account == account]
    own = sum(sender.rate.per_second for sender in senders if sender.rate is not None)
    campaigns = {sender.a2p_campaign for sender in senders if sender.a2p_campaign is not None}
    shared = sum(rate.per_second for name in campaigns for rate in fleet.a2p_campaigns[name].rates.values())
    limit = fleet.accounts[account].rate
    return own + shared if limit is None else min(own + shared, limit.per_second)


# Finding a metric's child costs more than counting in it.
_retries = cache(metrics.RETRIES.labels)
