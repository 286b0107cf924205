"""What to change so that every flow reaches its rate: a sentence for each thing that binds, with the key to change."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final

from dispatcher.bench.findings import Flow, Measured, binding, keeps_up

# Requests at once have to be so many more than rate and answers alone ask for: answers take now longer, now less.
ROOM: Final = 1.25
# What binds all senders of an account alike, so that one sentence is enough for them.
_BY_ACCOUNT: Final = frozenset({"account", "concurrency", "queue"})
_MOST_NAMED: Final = 4


@dataclass(frozen=True, slots=True)
class Advice:
    """What to change: a key of the config, an option or a thing; and a sentence."""

    key: str
    sentence: str


def advice(measured: Measured) -> list[Advice]:
    """Return what to change so that every flow reaches its rate; nothing when all do."""
    by_cause: dict[tuple[str, str], list[Flow]] = {}
    for flow in measured.flows:
        if not keeps_up(flow, measured.seconds):
            cause = binding(flow, measured)
            by_cause.setdefault((cause, _whose(cause, flow, measured)), []).append(flow)
    found = [_SENTENCES[cause](measured, whose, flows) for (cause, whose), flows in by_cause.items()]
    return found + _of_the_stand_in(measured)


def _whose(cause: str, flow: Flow, measured: Measured) -> str:
    if cause == "family":
        return measured.accounts[flow.account].family
    return flow.account if cause in _BY_ACCOUNT else ""


def _account(measured: Measured, whose: str, flows: Sequence[Flow]) -> Advice:
    return Advice(
        f"accounts.{whose}.rate",
        f"the senders of account {whose} would need {_needed(measured, account=whose):,} messages/s, and it is held to "
        f"{measured.accounts[whose].rate}; raise that if Twilio grants as much, or move {_named(flows)} to another "
        "account",
    )


def _family(measured: Measured, whose: str, _flows: Sequence[Flow]) -> Advice:
    return Advice(
        "twilio.family_rate",
        f"the senders of {whose} and its subaccounts would need {_needed(measured, family=whose):,} messages/s, and "
        f"such a family has {measured.family_rate} at Twilio; give some of them an account without that parent",
    )


def _concurrency(measured: Measured, whose: str, flows: Sequence[Flow]) -> Advice:
    account = measured.accounts[whose]
    needed = _needed(measured, account=whose)
    took = "" if account.typical is None else f" at {account.typical * 1000:.0f} ms an answer"
    if account.throttled:
        return Advice(
            "senders.account",
            f"Twilio answered 429 {account.throttled:,} times, so account {whose} is held to about {account.at_once} "
            f"requests at once, and it would need {needed:,} messages/s{took}; have Twilio raise its limit (the "
            f"stand-in: simulator.concurrency), or move {_named(flows)} to another account",
        )
    at_once = max(account.max_concurrency + 1, ceil(needed * (account.typical or 0.0) * ROOM))
    return Advice(
        f"accounts.{whose}.max_concurrency",
        f"account {whose} would need {needed:,} messages/s{took}, more than {account.max_concurrency} requests at once "
        f"can carry; allow {at_once}",
    )


def _queue(measured: Measured, whose: str, flows: Sequence[Flow]) -> Advice:
    slowest = measured.accounts[whose].slowest or 0.0
    wanted = ceil(max(2 * measured.queue_target, slowest))
    return Advice(
        "twilio.queue_target",
        f"what is unanswered counts as queued, answers to {whose} take up to {slowest:.1f} s (p99), and "
        f"{_named(flows)} may have {measured.queue_target:g}s queued; allow {wanted}s, or find out why answers take "
        "so long",
    )


def _suspended(measured: Measured, _whose: str, flows: Sequence[Flow]) -> Advice:
    codes = _listed([f"{code} ({count:,} times)" for code, count in measured.errors.items()])
    return Advice(
        "senders",
        f"{_named(flows)} went into quarantine, as Twilio answered with {codes or 'errors'}; correct number or account",
    )


def _worker(measured: Measured, _whose: str, flows: Sequence[Flow]) -> Advice:
    configured = sum(flow.configured for flow in measured.flows if flow.pools)
    reached = max(1.0, measured.segments / measured.seconds)
    workers = max(2, ceil(configured / reached * measured.cpu))
    bound = "" if workers <= measured.partitions else f" ({workers} would be needed, and kafka.partitions as many)"
    return Advice(
        "--workers",
        f"the worker used {measured.cpu:.0%} of a core, and {_named(flows)} fell short; share the work by "
        f"`dispatcher run --workers {min(workers, measured.partitions)}`{bound}, with a core for each",
    )


def _machine(measured: Measured, _whose: str, flows: Sequence[Flow]) -> Advice:
    return Advice(
        "the machine",
        f"this one is too busy for {_named(flows)}: {measured.machine:.0%} of its cores are used, of which the worker "
        f"has {measured.cpu:.0%} of one, and timers are {measured.late * 1000:.0f} ms late; let Kafka, the stand-in "
        "and whatever else runs here run elsewhere",
    )


def _stand_in(measured: Measured, _whose: str, flows: Sequence[Flow]) -> Advice:
    return Advice(
        "twilio.base_url",
        f"the stand-in used {measured.stand_in_cpu:.0%} of a core and answered {_named(flows)} too late, which Twilio "
        "would not; rehearse this much with Twilio's test credentials, or run the stand-in on a faster machine",
    )


def _kafka(measured: Measured, _whose: str, flows: Sequence[Flow]) -> Advice:
    journal = "too long" if measured.journal is None else f"{measured.journal * 1000:.0f} ms"
    return Advice(
        "kafka.bootstrap_servers",
        f"{_named(flows)} waited for Kafka, which took {journal} (p99) until an intent was safe; run the worker nearer "
        "to the brokers, or give those faster disks",
    )


def _no_pool(_measured: Measured, _whose: str, flows: Sequence[Flow]) -> Advice:
    return Advice("pools", f"no pool names {_named(flows)}; add it to one, or take it out of senders")


def _idle(_measured: Measured, _whose: str, flows: Sequence[Flow]) -> Advice:
    pools = _listed(sorted({pool for flow in flows for pool in flow.pools}))
    return Advice(
        "--seconds", f"{_named(flows)} ran out of messages in {pools}; rehearse for less long, or with more recipients"
    )


def _own_rate(_measured: Measured, _whose: str, flows: Sequence[Flow]) -> Advice:
    return Advice(
        "--seconds",
        f"{_named(flows)} fell short though nothing but the own rate kept messages waiting; rehearse again, for longer",
    )


_SENTENCES: Final[Mapping[str, Callable[[Measured, str, Sequence[Flow]], Advice]]] = {
    "account": _account,
    "family": _family,
    "concurrency": _concurrency,
    "queue": _queue,
    "suspended": _suspended,
    "worker": _worker,
    "machine": _machine,
    "stand-in": _stand_in,
    "kafka": _kafka,
    "no pool": _no_pool,
    "idle": _idle,
    "sender": _own_rate,
}


def _of_the_stand_in(measured: Measured) -> list[Advice]:
    found = [
        Advice(
            "senders.rate",
            f"the stand-in drains {name} at {factor:g} of its rate (simulator.rate_factors), and a queue grows there "
            "of which nothing tells the dispatcher yet; configure what it really drains",
        )
        for name, factor in measured.slowed.items()
    ]
    if measured.foreign:
        found.append(
            Advice(
                "twilio.base_url",
                f"the stand-in took {measured.foreign:,} messages of somebody else meanwhile; stop every "
                "`dispatcher run` that uses it, and rehearse again",
            )
        )
    return found


def _needed(measured: Measured, *, account: str | None = None, family: str | None = None) -> int:
    """Return the messages a second that the senders of *account*, or of *family*, would send at their rates."""
    segments = sum(
        flow.configured
        for flow in measured.flows
        if flow.pools and (flow.account == account or measured.accounts[flow.account].family == family)
    )
    mean = max(1.0, measured.segments / max(1, measured.messages))
    return ceil(segments / mean)


def _named(flows: Sequence[Flow]) -> str:
    return _listed([flow.name for flow in flows])


def _listed(names: Iterable[str]) -> str:
    shown = list(names)
    if len(shown) > _MOST_NAMED:
        shown = [*shown[: _MOST_NAMED - 1], f"{len(shown) - _MOST_NAMED + 1} more"]
    return " and ".join(filter(None, (", ".join(shown[:-1]), *shown[-1:])))
