"""The rules: what is wrong when, by the figures of recent windows. Pure; handed the time.

Each has two thresholds, so that a figure that hovers about one of them raises one alert and not many: above the first
something is wrong, and only below the second, half as high, all is well again. Shares are of at least so many messages
that ended, so that a handful of them raises nothing.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from dispatcher.domain.alert import Severity
from dispatcher.domain.counts import Counts, Scope
from dispatcher.domain.feedback import Rule
from dispatcher.domain.sender_health import SenderHealth
from dispatcher.domain.settings import AlertSettings

EVERYTHING: Final = Scope("all", "")
# All is well below so much of a threshold.
CALM: Final = 0.5
# Seconds of the short window.
_SHORT: Final = 20
_FILTERED: Final = 30007
_ADVICE: Final[Mapping[int, str]] = {
    21610: "they have opted out; take them off the list",
    30003: "their phones are off or away; later may be better",
    30005: "their numbers do not exist; clean the list",
    30006: "their numbers are landlines; clean the list",
    _FILTERED: "carriers filter what it says; pause it and change the text",
    30008: "carriers do not say why; see whether it is one carrier's customers",
    30034: "the sender is not registered for US 10DLC; register it or send by another",
}


class Counted(Protocol):
    """Counts of recent windows, `dispatcher.tracking.recent.Recent`."""

    def scopes(self, now: float) -> Collection[Scope]:
        """Return the scopes with anything in their windows."""

    def counts(self, scope: Scope, span: int, now: float) -> Counts:
        """Return what came to pass within the *span* seconds that end at *now*."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What is known now. None: it is not known.

    *rates* are the senders' segments a second. *overdue* messages' callbacks did not come in time. *lag* counts the
    jobs in Kafka that are not settled. *suspended* says of each suspended sender by whom, until when and why.
    """

    recent: Counted
    senders: Collection[SenderHealth] = ()
    rates: Mapping[str, float] = field(default_factory=dict)
    overdue: int | None = None
    lag: int | None = None
    suspended: Mapping[str, str] = field(default_factory=dict)


class Finding(NamedTuple):
    """A rule's figure: *is_wrong* above the first threshold, *is_calm* below the second, neither in between."""

    alert: str
    subject: str
    severity: Severity
    value: float
    threshold: float
    is_wrong: bool
    is_calm: bool
    why: str


def spans_of(settings: AlertSettings) -> tuple[int, int]:
    """Return the windows over which shares are judged, in seconds."""
    return _SHORT, settings.within


def judge(figures: Figures, settings: AlertSettings, now: float, own: Collection[Rule] = ()) -> Iterator[Finding]:
    """Yield what the rules find; what is not known, or of too few messages, is not judged and so is calm.

    *own* are rules of the config that call for an alert.
    """
    yield from _deliveries(figures.recent, settings, now)
    yield from _own_rules(figures.recent, own, now)
    yield from _queues(figures, settings)
    yield from _flow(figures, settings, now)
    for number, order in figures.suspended.items():
        why = f"sender {number} is suspended {order}; `dispatcher sender resume {number}` ends it"
        yield _above("sender_suspended", f"sender {number}", "ticket", 1.0, 0.0, why)


def _deliveries(recent: Counted, settings: AlertSettings, now: float) -> Iterator[Finding]:
    """Judge how messages end, by campaign, by sender, and altogether: of the two windows by the worse one.

    What begins in the middle of a campaign is a small share of the long window for minutes; the short one shows it.
    """
    found: dict[tuple[str, str], Finding] = {}
    for scope in recent.scopes(now):
        for span in spans_of(settings):
            counts = recent.counts(scope, span, now)
            if counts.concluded < settings.of_at_least:
                continue
            for finding in (*_arrivals(scope, counts, span, settings), *_codes(scope, counts, span, settings)):
                key = finding.alert, finding.subject
                if key not in found or finding.value > found[key].value:
                    found[key] = finding
    yield from found.values()


def _arrivals(scope: Scope, counts: Counts, span: int, settings: AlertSettings) -> Iterator[Finding]:
    # What never came to Twilio is no delivery; its codes are judged for themselves.
    ended = counts.delivered + counts.failed
    if not ended:
        return
    subject, failed = _subject(scope), counts.failed / ended
    why = (
        f"of the messages of {subject} that ended within {_time(span)} only {1 - failed:.0%} arrived (less than "
        f"{settings.delivery_below:.0%}); the most frequent error is {_commonest(counts)}"
    )
    yield _above("delivery_rate", subject, "page", failed, round(1.0 - settings.delivery_below, 9), why)


def _codes(scope: Scope, counts: Counts, span: int, settings: AlertSettings) -> Iterator[Finding]:
    if scope == EVERYTHING:
        return
    subject = _subject(scope)
    for code in counts.codes:
        why = (
            f"error {code} ended {counts.share(code):.1%} of the messages of {subject} within {_time(span)} (more than "
            f"{settings.code_share:.0%}); {_advice(code, scope)}"
        )
        yield _above("code_spike", f"{subject}, error {code}", "page", counts.share(code), settings.code_share, why)


def _own_rules(recent: Counted, own: Collection[Rule], now: float) -> Iterator[Finding]:
    for scope in recent.scopes(now) if own else ():
        for rule in own:
            if scope.kind != rule.deed.scope:
                continue
            counts = recent.counts(scope, rule.within, now)
            if counts.concluded < rule.of_at_least:
                continue
            # A subject for each rule: of two about one code, each is raised and cleared by itself.
            subject, share = _subject(scope), counts.share(rule.code)
            limit = f"{rule.share:.4%}".rstrip("0%").rstrip(".") + "%"
            why = (
                f"error {rule.code} ended {share:.1%} of the messages of {subject} within {_time(rule.within)}, above "
                f"the {limit} of feedback.rules; {_advice(rule.code, scope)}"
            )
            about = f"{subject}, error {rule.code} above {limit} within {_time(rule.within)}"
            yield _above("feedback_rule", about, "page", share, rule.share, why)


def _queues(figures: Figures, settings: AlertSettings) -> Iterator[Finding]:
    """Judge what waits at Twilio."""
    for sender in figures.senders:
        subject = f"sender {sender.sender}"
        if sender.queue_delay_p95 is not None:
            why = (
                f"one in twenty messages of {subject} leaves Twilio {_time(sender.queue_delay_p95)} after Twilio took "
                f"it (above {_time(settings.slow_delivery)}); its rate is set too high, or somebody else sends by it"
            )
            yield _above("slow_delivery", subject, "page", sender.queue_delay_p95, settings.slow_delivery, why)
        if rate := figures.rates.get(sender.sender):
            depth = sender.queued_segments / rate
            why = (
                f"{sender.queued_segments} segments of {subject} wait at Twilio, {_time(depth)} of its rate (above "
                f"{_time(settings.queue_depth)}); Twilio keeps 10 hours and refuses more"
            )
            yield _above("queue_depth", subject, "ticket", depth, settings.queue_depth, why)


def _flow(figures: Figures, settings: AlertSettings, now: float) -> Iterator[Finding]:
    """Judge whether messages leave, and whether Twilio calls back."""
    if figures.overdue is not None:
        why = (
            f"nobody called back about {figures.overdue} messages in time (more than {settings.callbacks_missing}); "
            "can Twilio reach webhooks.public_url, and does `dispatcher receive` run? `dispatcher doctor` tries it"
        )
        yield _above(
            "callbacks_missing", "everything", "page", float(figures.overdue), float(settings.callbacks_missing), why
        )
    if figures.lag is None:
        return
    counts = figures.recent.counts(EVERYTHING, settings.stalled_after, now)
    waiting = 0 if counts.accepted or counts.refused else figures.lag
    why = (
        f"{figures.lag} jobs wait, and for {_time(settings.stalled_after)} not one has come to Twilio; does "
        "`dispatcher run` run, and are campaigns paused? dispatcher_waiting_messages says at which limit they wait"
    )
    yield _above("dispatch_stalled", "everything", "page", float(waiting), 0.0, why)
    why = (
        f"{figures.lag} jobs wait in Kafka (more than {settings.lag}); more is published than the senders can take, or "
        "workers are missing"
    )
    yield _above("lag", "everything", "ticket", float(figures.lag), float(settings.lag), why)


def _above(alert: str, subject: str, severity: Severity, value: float, threshold: float, why: str) -> Finding:
    is_wrong = value > threshold
    return Finding(
        alert, subject, severity, value, threshold, is_wrong, not is_wrong and value <= threshold * CALM, why
    )


def _subject(scope: Scope) -> str:
    return "everything" if scope.kind == "all" else f"{scope.kind} {scope.name}"


def _advice(code: int, scope: Scope) -> str:
    advice = _ADVICE.get(code, f"see https://www.twilio.com/docs/api/errors/{code}")
    if code == _FILTERED and scope.kind == "campaign":
        return f"{advice} (`dispatcher campaign pause {scope.name}`)"
    return advice


def _commonest(counts: Counts) -> str:
    code = max(counts.codes, key=lambda one: counts.codes[one], default=None)
    return "not named" if code is None else f"{code}, see https://www.twilio.com/docs/api/errors/{code}"


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min" if minutes and not rest else f"{seconds:.0f} s"
