"""Whether each sender is what its section says: a number, a name in letters or a Messaging Service, and its limits."""

import re
from collections.abc import Iterator

from dispatcher.config.document import Document, Loc
from dispatcher.config.nearest import unknown
from dispatcher.config.sections import SenderSection
from dispatcher.domain.errors import Mistake
from dispatcher.domain.fleet import SenderKind
from dispatcher.domain.phone import is_alphanumeric, is_e164, is_short_code

# The toll-free area codes of the North American Numbering Plan.
_TOLL_FREE = re.compile(r"\+18(?:00|33|44|55|66|77|88)[0-9]{7}")
_NORTH_AMERICA = 1


def misfit_senders(document: Document) -> Iterator[Mistake]:
    """Yield what is wrong with each sender of *document*, by itself and beside the others."""
    first: dict[str, int] = {}
    for index in document.keys("senders"):
        loc: Loc = ("senders", index)
        if not set(document.keys(*loc)) <= set(SenderSection.model_fields):
            continue  # a key is misspelt, and may be the one that seems to be missing
        kind = _kind(document, loc)
        yield from _names(document, loc, kind, first)
        yield from _references(document, loc)
        yield from _limits(document, loc, kind)
        if kind == SenderKind.ALPHANUMERIC:
            yield from _alphanumeric(document, loc)


def names_of_senders(document: Document) -> list[str]:
    """Return what the senders are called, or none while one has no name: nobody can tell then which one is meant."""
    names = [_name(document, ("senders", index)) for index in document.keys("senders")]
    known = [name for name in names if name]
    return known if len(known) == len(names) else []


def _name(document: Document, loc: Loc) -> str | None:
    return document.text(*loc, "number") or document.text(*loc, "service")


def _kind(document: Document, loc: Loc) -> str | None:
    return SenderKind.MESSAGING_SERVICE if document.has(*loc, "service") else document.text(*loc, "kind")


def _names(document: Document, loc: Loc, kind: str | None, first: dict[str, int]) -> Iterator[Mistake]:
    is_service, is_number = document.has(*loc, "service"), document.has(*loc, "number")
    key = "service" if is_service else "number"
    name = document.text(*loc, key)
    if not is_service and not is_number:
        what = '"number" is missing: the short code, E.164 number or letters; or "service", a Messaging Service\'s SID'
        yield document.mistake((*loc, "number"), what)
    elif is_service and is_number:
        what = "a sender is a number or a Messaging Service; drop one of the two"
        yield document.mistake((*loc, "service"), what, at_key=True)
    elif is_service and document.text(*loc, "kind") not in {None, SenderKind.MESSAGING_SERVICE}:
        yield document.mistake((*loc, "kind"), "a service is a messaging_service; drop kind")
    elif not is_service and not document.has(*loc, "kind"):
        yield document.mistake((*loc, "kind"), f'"kind" is missing: {SenderSection.model_fields["kind"].description}')
    elif name in first:
        what = f'"{name}" is a sender already, in line {first[name]}; drop one of them'
        yield document.mistake((*loc, key), what)
    elif name:
        first[name] = document.mistake((*loc, key), "").line
        if is_number and (wrong := _misfit(name, kind)):
            yield document.mistake((*loc, key), wrong)


def _references(document: Document, loc: Loc) -> Iterator[Mistake]:
    for key, section, what in (("account", "accounts", "account"), ("a2p_campaign", "a2p_campaigns", "10DLC campaign")):
        name, known = document.text(*loc, key), document.keys(section)
        if name and name not in known and (known or key == "a2p_campaign"):
            yield document.mistake((*loc, key), unknown(what, name, known))


def _limits(document: Document, loc: Loc, kind: str | None) -> Iterator[Mistake]:
    if document.text(*loc, "a2p_campaign") is None:
        if kind == SenderKind.MESSAGING_SERVICE and not document.has(*loc, "rate"):
            what = (
                '"rate" is missing: what its senders may send together, in segments, like "100/s"; Twilio cannot tell'
            )
            yield document.mistake((*loc, "rate"), what)
    elif kind in {SenderKind.SHORT_CODE, SenderKind.TOLL_FREE, SenderKind.ALPHANUMERIC}:
        what = f"10DLC campaigns are for long codes and services, and this is {_A[kind]}; drop a2p_campaign"
        yield document.mistake((*loc, "a2p_campaign"), what, at_key=True)
    elif kind is not None:
        for key in ("rate", "mms_rate"):
            if document.has(*loc, key):
                what = f"the {key}s of a2p_campaign hold for this sender; drop {key}"
                yield document.mistake((*loc, key), what, at_key=True)


def _alphanumeric(document: Document, loc: Loc) -> Iterator[Mistake]:
    if document.has(*loc, "mms_rate"):
        yield document.mistake((*loc, "mms_rate"), "letters carry no media; drop mms_rate", at_key=True)
    if not document.has(*loc, "countries"):
        what = '"countries" is missing: where these letters are registered, or need not be, like ["GB", "DE"]'
        yield document.mistake((*loc, "countries"), what)
    for place in document.keys(*loc, "countries"):
        if _calling_code(document.text(*loc, "countries", place) or "") == _NORTH_AMERICA:
            what = "numbers that begin with +1 get no messages from letters; drop it, or send from a number there"
            yield document.mistake((*loc, "countries", place), what)


def _calling_code(country: str) -> int:
    # Loads for 0.1 s, and most configs have no such senders.
    import phonenumbers  # noqa: PLC0415

    return int(phonenumbers.country_code_for_region(country))


_A = {"short_code": "a short_code", "toll_free": "a toll_free", "alphanumeric": "an alphanumeric one"}


def _misfit(number: str, kind: str | None) -> str | None:  # noqa: PLR0911 - a return a kind
    """Say why *number* cannot be of *kind*."""
    toll_free = _TOLL_FREE.fullmatch(number) is not None
    match kind:
        case "short_code" if not is_short_code(number):
            return f'"{number}" is no short code; it has 3 to 8 digits and no plus, like "72345"'
        case "toll_free" if not toll_free:
            return f'"{number}" is no toll-free number; it starts with +1 and 800, 833, 844, ..., like "+18885550100"'
        case "long_code" if toll_free:
            return f'"{number}" is a toll-free number; write "kind: toll_free"'
        case "long_code" if not is_e164(number):
            return f'"{number}" is no long code; it is a number in E.164, like "+12065550100"'
        case "alphanumeric" if not is_alphanumeric(number):
            return f'"{number}" is no alphanumeric sender; it has 2 to 11 letters, digits and spaces, like "ACME"'
        case "messaging_service":
            return f'"{number}" is no Messaging Service; write "service:" and its SID, which begins with MG'
        case _:
            return None
