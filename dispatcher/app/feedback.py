"""Does what the config's rules call for: pauses campaigns, suspends senders, cuts rates, by the control topic."""

from collections.abc import Callable, Iterable
from datetime import timedelta

import structlog

from dispatcher.clock import Clock
from dispatcher.control.board import Board, open_board
from dispatcher.control.campaigns import pause
from dispatcher.control.senders import slow_down, suspend
from dispatcher.domain.control import CampaignRecord, Cut, Order
from dispatcher.domain.counts import Counts, Scope
from dispatcher.domain.errors import DispatcherError, KafkaUnavailableError
from dispatcher.domain.settings import Settings
from dispatcher.feedback.rules import Finding, Judge
from dispatcher.telemetry import metrics

log = structlog.get_logger()

LOOK_EVERY = 1.0
BY = "a feedback rule"


async def follow_rules(
    settings: Settings,
    clock: Clock,
    *,
    scopes: Callable[[float], Iterable[Scope]],
    counts: Callable[[Scope, int, float], Counts],
    is_current: Callable[[], bool],
) -> None:
    """Hold the rules against what is counted, every second, for ever, and do what they call for.

    *scopes* and *counts* are asked with the present time in seconds of the epoch. While *is_current* is not, what is
    counted is of the past, and nothing is done about that.
    """
    # What is only to be told is one of the alerts.
    judge = Judge(rule for rule in settings.feedback.rules if rule.deed.what != "alert")

    def at_present(scope: Scope, span: int) -> Counts:
        return counts(scope, span, clock.epoch())

    while True:
        await clock.sleep(LOOK_EVERY)
        if not is_current():
            continue
        now = clock.epoch()
        for finding in list(judge.judge(scopes(now), at_present, now)):
            try:
                await _act(settings, clock, finding)
            except KafkaUnavailableError as error:
                log.warning("a rule could not act; trying again", rule=str(finding.rule.deed), error=str(error))
                judge.again(finding)


async def _act(settings: Settings, clock: Clock, finding: Finding) -> None:
    deed = finding.rule.deed
    log.warning("a feedback rule acts", does=str(deed), on=finding.name, because=finding.why)
    metrics.RULES_APPLIED.labels(deed.what).inc()
    async with open_board(settings, clock) as board:
        await _write(board, clock, finding)


async def _write(board: Board, clock: Clock, finding: Finding) -> None:
    deed, name, now = finding.rule.deed, finding.name, clock.now()
    until = now + timedelta(seconds=deed.seconds) if deed.seconds else None
    order = Order(by=BY, at=now, why=finding.why, until=until)
    match deed.what:
        case "pause_campaign":
            record = board.campaigns.get(name, CampaignRecord())
            if record.state != "running":
                return  # it is held already, or over
            try:
                await board.change_campaign(name, lambda before: pause(name, before or CampaignRecord(), order))
            except DispatcherError as error:  # an operator ended it at this moment
                log.info("there was nothing left to do", campaign=name, reason=str(error))
        case "suspend_sender":
            await board.change_sender(name, lambda before: suspend(before, order))
        case "rate":
            cut = Cut(by=BY, at=now, why=finding.why, until=until, factor=deed.factor)
            await board.change_sender(name, lambda before: slow_down(before, cut))
        case "alert":
            raise ValueError("an alert is raised by `Alerting`")
