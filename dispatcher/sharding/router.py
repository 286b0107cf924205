"""Chooses the sender of a message: its own by rendezvous hashing, or the next when that one can't or is too slow."""

from collections.abc import Callable, Mapping
from math import inf

from dispatcher.domain.fleet import Fleet, Pool, Sender
from dispatcher.domain.message import Message
from dispatcher.domain.places import country_of, place_of
from dispatcher.sharding.health import Health
from dispatcher.sharding.rendezvous import CHOICES, MOST_ONE_BY_ONE, Ranking

# In a pool of many so many of the senders that can take a message are asked how long it would wait. Where all have
# much to do each message comes to that, and asking more levels their lanes hardly better (Mitzenmacher, "The Power of
# Two Choices", 2001).
ASKED_OF_MANY = 3


class Router:
    """Chooses among the senders of a message's pool.

    *weight* gives a sender's rate in segments a second; *wait* the seconds that a message would wait with a sender, inf
    when a cap of the day has nothing left for it there.
    """

    def __init__(
        self,
        fleet: Fleet,
        health: Health,
        *,
        weight: Callable[[Sender], float],
        wait: Callable[[Sender, Message], float],
    ) -> None:
        self._health = health
        self._wait = wait
        # All countries that each account may send to, where its config says so.
        self._countries = {
            name: account.countries for name, account in fleet.accounts.items() if account.countries is not None
        }
        self._pools: Mapping[str, _Candidates] = {
            name: _Candidates(pool, fleet, weight) for name, pool in fleet.pools.items()
        }

    def knows(self, pool: str) -> bool:
        """Say whether the config has *pool*."""
        return pool in self._pools

    def ranked(self, pool: str, recipient: str) -> list[Sender]:
        """Return all senders of *pool* in the order in which *recipient* prefers them."""
        candidates = self._pools[pool]
        indices = [*candidates.ranking.best(recipient), *candidates.ranking.others(recipient)]
        return [candidates.senders[index] for index in indices]

    def choose(self, message: Message, now: float) -> Sender | None:
        """Return the sender for *message*; None when no sender of its pool can ever take it.

        The recipient's own sender, unless it is in quarantine or would make it wait longer than the pool's
        *spill_after* and another would not. Who has nothing left of a cap comes after all who only take long,
        and who is in quarantine after that. When all are out, the first to which it belongs: it waits there.
        """
        return self.seek(message, now)[0]

    def seek(self, message: Message, now: float) -> tuple[Sender | None, bool]:
        """Choose the sender for *message*; return it, and whether it waits longer than *spill_after* even there."""
        try:
            candidates = self._pools[message.job.pool]
        except KeyError:
            return None, False  # the config had that pool when the message came
        own: Sender | None = None
        used_up: Sender | None = None
        out: Sender | None = None
        asked = 0
        for ranked in (candidates.ranking.best, candidates.ranking.others):
            for index in ranked(message.job.to):
                sender = candidates.senders[index]
                if not self.can_take(sender, message):
                    continue
                if self._health.is_out(sender.number, now):
                    out = out or sender
                elif (wait := self._wait(sender, message)) <= candidates.spill_after:
                    return sender, False
                elif wait == inf:
                    used_up = used_up or sender
                else:
                    own = own or sender
                    asked += 1
                    if asked == candidates.most_asked:
                        return own, True
            if own is not None or used_up is not None:
                break
        return own or used_up or out, True

    def can_take(self, sender: Sender, message: Message) -> bool:
        """Say whether *sender* may ever send *message*."""
        to = message.job.to
        return (
            to.startswith(sender.media_prefixes if message.job.media_urls else sender.prefixes)
            and sender.number not in message.tried
            and self._health.may_reach(sender.account, to)
            and (not self._countries or self._is_allowed(sender.account, to))
        )

    def _is_allowed(self, account: str, to: str) -> bool:
        countries = self._countries.get(account)
        return countries is None or country_of(place_of(to)) in countries


class _Candidates:
    """The senders of one pool, and the order in which each recipient prefers them."""

    def __init__(self, pool: Pool, fleet: Fleet, weight: Callable[[Sender], float]) -> None:
        self.pool = pool
        self.spill_after = pool.spill_after
        self.most_asked = ASKED_OF_MANY if len(pool.senders) > MOST_ONE_BY_ONE else CHOICES
        self.senders = tuple(fleet.senders[number] for number in pool.senders)
        self.ranking = Ranking(pool.senders, [weight(sender) for sender in self.senders])
