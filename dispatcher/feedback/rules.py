"""Holds rules against what was counted of campaigns and senders: which of them apply now. Pure."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from dispatcher.domain.counts import Counts, Scope
from dispatcher.domain.feedback import Rule

# From a scope and a span in whole seconds to what ended within it.
CountsOf = Callable[[Scope, int], Counts]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """*rule* applies to the campaign or the sender with *name*, and *why*."""

    rule: Rule
    name: str
    why: str


class Judge:
    """Finds out which of *rules* apply.

    One that has applied to somebody does so again only when its span has passed: what it counted then is what it has
    acted on already, and an operator may have taken that back.
    """

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules = tuple(rules)
        self._rests_until: dict[tuple[Rule, str], float] = {}

    def judge(self, scopes: Iterable[Scope], counts: CountsOf, now: float) -> Iterator[Finding]:
        """Yield what applies to *scopes* at *now*, in seconds of any clock that only goes forward."""
        for key in [key for key, until in self._rests_until.items() if until <= now]:
            del self._rests_until[key]
        for scope in scopes:
            for rule in self._rules:
                if rule.deed.scope != scope.kind or (rule, scope.name) in self._rests_until:
                    continue
                found = counts(scope, rule.within)
                if found.concluded >= rule.of_at_least and found.share(rule.code) > rule.share:
                    self._rests_until[rule, scope.name] = now + rule.within
                    yield Finding(rule=rule, name=scope.name, why=_why(rule, found))

    def again(self, finding: Finding) -> None:
        """What *finding* calls for could not be done: find it again."""
        self._rests_until.pop((finding.rule, finding.name), None)


def _why(rule: Rule, found: Counts) -> str:
    count = found.codes.get(rule.code, 0)
    return f"{count} of {found.concluded} messages ({found.share(rule.code):.1%}) ended with {rule.code}"
