"""`dispatcher sender`: see, suspend and resume senders, and ask why a message would go by which."""

import json
import os
from collections.abc import Callable
from typing import Annotated

import typer

from dispatcher.cli.console import ConfigOption, JsonOption, operator, quiet_kafka
from dispatcher.domain.duration import format_duration, parse_duration
from dispatcher.domain.errors import DispatcherError

_Number = Annotated[
    str, typer.Argument(metavar="NUMBER", help="The sender's number, letters or service SID.", show_default=False)
]
_Why = Annotated[str, typer.Option("--why", metavar="TEXT", help="Why; whoever looks at it reads that.")]


def list_(config: ConfigOption, *, json_output: JsonOption = False) -> None:
    """List the senders: who is suspended or slowed down, by whom, why and until when.

    Examples:
        dispatcher sender list -c production.yaml
        dispatcher sender list -c production.yaml --json
    """
    import asyncio

    from dispatcher.app.senders import sender_records
    from dispatcher.clock import SystemClock
    from dispatcher.config.load import load_from
    from dispatcher.domain.standing import standing

    quiet_kafka()
    clock = SystemClock()
    settings = load_from(config, os.environ)
    records = asyncio.run(sender_records(settings, clock))
    rows = []
    for number, record in records.items():
        stands = standing(record, clock.now())
        sender = settings.fleet.senders[number]
        why = [f"suspended {record.suspension}"] if stands.is_suspended else []
        if stands.factor < 1:
            why.append(f"cut {record.cut}" if record.cut else "coming back in steps after a suspension")
        rows.append(
            {
                "sender": number,
                "kind": sender.kind,
                "account": sender.account,
                "rate": str(sender.rate) if sender.rate else f"10DLC campaign {sender.a2p_campaign}",
                "mms_rate": str(sender.mms_rate) if sender.mms_rate and sender.media_prefixes else None,
                "state": "suspended" if stands.is_suspended else "sending",
                "factor": round(stands.factor, 3),
                "until": stands.until.isoformat() if stands.until else None,
                "why": "; ".join(why) or None,
            }
        )
    if json_output:
        typer.echo(json.dumps(rows, indent=2))
        return
    width = max((len(number) for number in records), default=0)
    for row in rows:
        factor = f" at {row['factor']:.0%}" if row["factor"] != 1 else ""
        media = f", MMS {row['mms_rate']}" if row["mms_rate"] else ""
        typer.echo(
            f"{row['sender']:<{width}} {row['state']:<9} {row['rate']}{media}{factor}  {row['why'] or ''}".rstrip()
        )


def suspend(
    config: ConfigOption,
    number: _Number,
    *,
    until: Annotated[
        str | None, typer.Option("--for", metavar="TIME", help='For how long, like "10min"; until resumed without it.')
    ] = None,
    rate: Annotated[
        float | None, typer.Option("--rate", min=0.01, max=0.99, metavar="FACTOR", help="Slow it down to this instead.")
    ] = None,
    why: _Why = "",
    json_output: JsonOption = False,
) -> None:
    """Let nothing leave by a sender; its messages go by others of their pool. Comes back when every worker obeys.

    When the time is over it comes back in steps: at a quarter of its rate, half as much again every 10 s.

    Examples:
        dispatcher sender suspend -c production.yaml 72345
        dispatcher sender suspend -c production.yaml +18885550100 --for 10min --why "the carrier complains"
        dispatcher sender suspend -c production.yaml 72345 --rate 0.5 --for 1h
    """
    from datetime import timedelta

    from dispatcher.clock import SystemClock
    from dispatcher.control.senders import slow_down
    from dispatcher.control.senders import suspend as rest
    from dispatcher.domain.control import Cut, Order, SenderRecord

    clock = SystemClock()
    try:
        seconds = None if until is None else parse_duration(until)
    except ValueError as error:
        raise DispatcherError(f"--for: {error}") from error
    end = None if seconds is None else clock.now() + timedelta(seconds=seconds)

    def change(record: SenderRecord) -> SenderRecord:
        if rate is not None:
            return slow_down(record, Cut(by=operator(), at=clock.now(), why=why, until=end, factor=rate))
        return rest(record, Order(by=operator(), at=clock.now(), why=why, until=end))

    done = f"slowed down to {rate:.0%}" if rate is not None else "suspended"
    lasts = f" for {format_duration(seconds)}" if seconds is not None else " until `dispatcher sender resume`"
    _obeyed(config, number, change, f"{done}{lasts}", json_output=json_output)


def resume(config: ConfigOption, number: _Number, *, json_output: JsonOption = False) -> None:
    """Let a sender send at its whole rate again, at once, whoever suspended it or slowed it down.

    Examples:
        dispatcher sender resume -c production.yaml 72345
    """
    from dispatcher.control.senders import resume as change

    _obeyed(config, number, change, "sending at its rate", json_output=json_output)


def explain(
    config: ConfigOption,
    *,
    to: Annotated[str, typer.Option("--to", metavar="NUMBER", help="The recipient, in E.164.")],
    pool: Annotated[str, typer.Option("--pool", metavar="POOL", help="The pool of the job.")],
    carrier: Annotated[
        str | None,
        typer.Option("--carrier", metavar="NAME", help="att, tmobile, verizon or other; unknown without it."),
    ] = None,
    media: Annotated[bool, typer.Option("--media", help="For a message with media (MMS).")] = False,
    json_output: JsonOption = False,
) -> None:
    """Say by which sender a message would go and why, which limits it would pass, and whether it would have to wait.

    Worked out from the config and what is decided about senders now; what waits already is not known here.

    Examples:
        dispatcher sender explain -c production.yaml --to +12065550142 --pool marketing
        dispatcher sender explain -c production.yaml --to +12065550142 --pool marketing --carrier tmobile --json
    """
    import asyncio
    from math import inf

    from dispatcher.app.senders import explain_message
    from dispatcher.clock import SystemClock
    from dispatcher.config.load import load_from
    from dispatcher.domain.fleet import CARRIERS
    from dispatcher.domain.phone import is_e164

    quiet_kafka()
    if not is_e164(to):
        raise DispatcherError(f'--to: "{to}" is no number in E.164; write one like +12065550142')
    if carrier is not None and carrier not in CARRIERS:
        raise DispatcherError(f'--carrier: there is no carrier "{carrier}"; write one of {", ".join(CARRIERS)}')
    settings = load_from(config, os.environ)
    found = asyncio.run(explain_message(settings, SystemClock(), to=to, pool=pool, carrier=carrier, has_media=media))
    if json_output:
        candidates = [{"sender": one.number, "chosen": one.is_chosen, "why": one.why} for one in found.candidates]
        wait = None if found.wait == inf else round(found.wait, 1)
        typer.echo(json.dumps({"candidates": candidates, "limits": found.limits, "wait_seconds": wait}, indent=2))
        return
    for one in found.candidates:
        typer.echo(f"{'->' if one.is_chosen else '  '} {one.number}: {one.why}")
    for limit in found.limits:
        typer.echo(f"   passes {limit}")
    if not found.limits:
        typer.echo("No sender of the pool can take it: it would be refused")
    elif found.wait == inf:
        typer.echo("It would wait until `dispatcher sender resume`")
    elif found.wait:
        typer.echo(f"It would wait {format_duration(found.wait)} for the sender's return")
    else:
        typer.echo("With nothing before it, it would leave at once")


def _obeyed(config: ConfigOption, number: str, change: Callable[..., object], state: str, *, json_output: bool) -> None:
    import asyncio
    from typing import Any, cast

    from dispatcher.app.senders import change_sender
    from dispatcher.clock import SystemClock
    from dispatcher.config.load import load_from

    quiet_kafka()
    settings = load_from(config, os.environ)
    workers = asyncio.run(change_sender(settings, SystemClock(), number, cast("Any", change)))
    if json_output:
        typer.echo(json.dumps({"sender": number, "state": state, "workers": workers}, indent=2))
    else:
        typer.echo(f"{number} is {state} ({len(workers)} workers obey)")


COMMANDS: dict[Callable[..., None], str] = {
    list_: "Every sender, and what was decided about it.",
    suspend: "Let nothing leave by a sender, or slow it down.",
    resume: "Let a sender go on at its whole rate.",
    explain: "By which sender a message would go, and why.",
}
