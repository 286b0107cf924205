"""Whether settings agree that are right each by itself."""

from collections.abc import Iterator
from dataclasses import asdict

from dispatcher.config.build import DEFAULT_PRIORITIES
from dispatcher.config.document import Document, Loc
from dispatcher.domain.duration import parse_duration
from dispatcher.domain.errors import Mistake
from dispatcher.domain.settings import TwilioSettings
from dispatcher.domain.topics import Topics

_PLAIN = "PLAINTEXT"
_PROTOCOLS = (_PLAIN, "SSL", "SASL_PLAINTEXT", "SASL_SSL")
_PASSWORD_KEYS = ("sasl_plain_username", "sasl_plain_password")


def contradictions(document: Document) -> Iterator[Mistake]:
    """Yield every setting in *document* that another one rules out."""
    for rule in (_kafka_security, _topics, _times, _addresses):
        yield from rule(document)


def _kafka_security(document: Document) -> Iterator[Mistake]:
    protocol = document.text("kafka", "security_protocol") if document.has("kafka", "security_protocol") else _PLAIN
    if protocol not in _PROTOCOLS:
        return
    mechanism = document.text("kafka", "sasl_mechanism") or "PLAIN"
    given = [key for key in document.keys("kafka") if document.has("kafka", key)]
    for key in given:
        if key.startswith("sasl_") and "SASL" not in protocol:
            what = f'"{key}" has no effect without SASL; write "security_protocol: SASL_SSL" too'
        elif key.startswith("ssl_") and "SSL" not in protocol:
            what = f'"{key}" has no effect without TLS; write "security_protocol: SSL" or "SASL_SSL" too'
        else:
            continue
        yield document.mistake(("kafka", key), what, at_key=True)
    if "SASL" in protocol and mechanism != "GSSAPI":
        for key in _PASSWORD_KEYS:
            if key not in given:
                yield document.mistake(("kafka", "security_protocol"), f'"{key}" is missing; "{mechanism}" needs it')


def _topics(document: Document) -> Iterator[Mistake]:
    taken: dict[str, str] = {}
    places: list[tuple[Loc, str]] = [
        (("priorities", name, "topic"), f"jobs of {name}") for name in document.keys("priorities")
    ]
    if not places:
        taken = {jobs.topic: f"jobs of {jobs.name}" for jobs in DEFAULT_PRIORITIES}
    for key, default in asdict(Topics()).items():
        places.append((("topics", key), key))
        if not document.text("topics", key):
            taken[default] = key
    for loc, use in places:
        topic = document.text(*loc)
        if topic and taken.setdefault(topic, use) != use:
            yield document.mistake(loc, f'"{topic}" is the topic for {taken[topic]} already; name another')


def _times(document: Document) -> Iterator[Mistake]:
    time_out = _seconds(document, "twilio", "request_timeout") or TwilioSettings().request_timeout
    hold_off = _seconds(document, "twilio", "in_doubt_hold_off")
    if hold_off is not None and hold_off < time_out:
        what = f"a request may still be under way then; write at least the request_timeout, {time_out:g}s"
        yield document.mistake(("twilio", "in_doubt_hold_off"), what)
    latency = ("simulator", "latency")
    for lower, upper in (("low", "high"), ("high", "tail")):
        bounds = _seconds(document, *latency, lower), _seconds(document, *latency, upper)
        if bounds[0] is not None and bounds[1] is not None and bounds[0] > bounds[1]:
            yield document.mistake((*latency, upper), f'"{upper}" is below "{lower}"; write at least as much')


def _seconds(document: Document, *loc: str) -> float | None:
    try:
        return parse_duration(document.text(*loc) or "")
    except ValueError:
        return None


def _addresses(document: Document) -> Iterator[Mistake]:
    taken: dict[str, str] = {}
    for loc in (("webhooks", "listen"), ("webhooks", "metrics_listen"), ("metrics", "listen")):
        address, key = document.text(*loc), ".".join(loc)
        port = address.rpartition(":")[2] if address else "0"
        if port != "0" and taken.setdefault(port, key) != key:
            yield document.mistake(loc, f"{taken[port]} has this port already; write another")
