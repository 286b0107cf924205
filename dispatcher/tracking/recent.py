"""Counts over spans of time that end now: what rules are held against. Pure; it is handed the time.

Time is that of the events themselves, in seconds of the epoch, so that reading old records again raises no alarm.
"""

from collections import Counter
from collections.abc import Collection
from typing import Literal

from dispatcher.domain.counts import NOTHING, Counts, Scope

Step = Literal["accepted", "left", "delivered", "failed", "refused"]


class Recent:
    """Counts messages by scope over each of *spans* (whole seconds), to the second.

    `counts` is exact for events that come in any order, as long as they come within the span; later ones are dropped.
    Adding and asking cost the same however long a span is.
    """

    def __init__(self, spans: Collection[int]) -> None:
        self._spans = tuple(sorted(set(spans)))
        self._windows: dict[Scope, dict[int, _Window]] = {}

    def add(self, scope: Scope, step: Step, at: float, *, code: int | None = None, messages: int = 1) -> None:
        """Count *messages* of *scope* that came to *step* at *at*; *code* is Twilio's, where they ended with one."""
        windows = self._windows.get(scope)
        if windows is None:
            windows = self._windows[scope] = {span: _Window(span) for span in self._spans}
        for window in windows.values():
            window.add(step, code, int(at), messages)

    def counts(self, scope: Scope, span: int, now: float) -> Counts:
        """Return what came to pass within the *span* (one of ours) that ends at *now*, this second included."""
        windows = self._windows.get(scope)
        return windows[span].counts(int(now)) if windows else NOTHING

    @property
    def longest(self) -> int:
        """The longest span."""
        return self._spans[-1]

    def scopes(self, now: float) -> list[Scope]:
        """Return the scopes with anything in their longest span, and forget all others."""
        idle = [scope for scope, windows in self._windows.items() if windows[self._spans[-1]].is_empty(int(now))]
        for scope in idle:
            del self._windows[scope]
        return list(self._windows)


class _Window:
    """The counts of each second of one span, and their sum: what leaves the span is taken from it."""

    __slots__ = ("_oldest", "_seconds", "_span", "_sum")

    def __init__(self, span: int) -> None:
        self._span = span
        self._oldest = 0
        self._seconds: dict[int, Counter[Step | int]] = {}
        self._sum: Counter[Step | int] = Counter()

    def add(self, step: Step, code: int | None, second: int, messages: int) -> None:
        if second < self._oldest:
            return
        counter = self._seconds.get(second)
        if counter is None:
            counter = self._seconds[second] = Counter()
        counter[step] += messages
        self._sum[step] += messages
        if code is not None:
            counter[code] += messages
            self._sum[code] += messages

    def counts(self, now: int) -> Counts:
        self._forget_before(now - self._span + 1)
        found = self._sum
        return Counts(
            accepted=found["accepted"],
            left=found["left"],
            delivered=found["delivered"],
            failed=found["failed"],
            refused=found["refused"],
            codes={code: count for code, count in found.items() if isinstance(code, int)},
        )

    def is_empty(self, now: int) -> bool:
        self._forget_before(now - self._span + 1)
        return not self._seconds

    def _forget_before(self, oldest: int) -> None:
        passed = range(self._oldest, oldest)
        self._oldest = max(oldest, self._oldest)
        # After a long time without a look there are fewer seconds than have passed.
        for second in passed if len(passed) < len(self._seconds) else sorted(self._seconds):
            if second >= oldest:
                break
            if (counter := self._seconds.pop(second, None)) is not None:
                self._sum -= counter
