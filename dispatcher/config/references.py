"""Whether the names in a config lead somewhere, and whether the numbers are of their kind.

The rules look at the file rather than at its sections, so that they find their mistakes beside all others.
"""

import re
from collections.abc import Iterator

from dispatcher.compliance.content import PROHIBITED_WORDS, RULES
from dispatcher.config.document import Document, Loc
from dispatcher.config.nearest import suggestion
from dispatcher.domain.errors import Mistake
from dispatcher.domain.phone import is_e164, is_short_code
from dispatcher.domain.places import is_place

# The toll-free area codes of the North American Numbering Plan.
_TOLL_FREE = re.compile(r"\+18(?:00|33|44|55|66|77|88)[0-9]{7}")


def broken_references(document: Document) -> Iterator[Mistake]:
    """Yield every name in *document* that leads nowhere, and every number that is not of its kind."""
    for rule in _RULES:
        yield from rule(document)


def _accounts(document: Document) -> Iterator[Mistake]:
    names = document.keys("accounts")
    for name in names:
        loc = ("accounts", name)
        has_key, has_secret = (document.has(*loc, key) for key in ("api_key_sid", "api_key_secret"))
        if has_key and not has_secret:
            yield document.mistake((*loc, "api_key_sid"), '"api_key_secret" is missing: the secret of this API key')
        if has_secret and not has_key:
            yield document.mistake((*loc, "api_key_secret"), '"api_key_sid" is missing: the API key of this secret')
        parent = document.text(*loc, "parent")
        if not parent:
            continue
        where = (*loc, "parent")
        grandparent = document.text("accounts", parent, "parent")
        if parent == name:
            yield document.mistake(where, f'"{name}" cannot be its own parent; drop the key')
        elif parent not in names:
            yield document.mistake(where, _unknown("account", parent, [other for other in names if other != name]))
        elif grandparent:
            what = f'"{parent}" is a subaccount itself; Twilio has one level of them, so write its parent'
            yield document.mistake(where, f'{what}, "{grandparent}"')


def _senders(document: Document) -> Iterator[Mistake]:
    accounts, campaigns = document.keys("accounts"), document.keys("a2p_campaigns")
    first: dict[str, int] = {}
    for index in document.keys("senders"):
        loc = ("senders", index)
        number, account = document.text(*loc, "number"), document.text(*loc, "account")
        kind, campaign = document.text(*loc, "kind"), document.text(*loc, "a2p_campaign")
        if number in first:
            what = f'"{number}" is a sender already, in line {first[number]}; drop one of them'
            yield document.mistake((*loc, "number"), what)
        elif number:
            first[number] = document.mistake((*loc, "number"), "").line
            if wrong := _misfit(number, kind):
                yield document.mistake((*loc, "number"), wrong)
        if account and accounts and account not in accounts:
            yield document.mistake((*loc, "account"), _unknown("account", account, accounts))
        if campaign is None:
            continue
        if kind in {"short_code", "toll_free"}:
            what = f"10DLC campaigns are for long codes, and this is a {kind}; drop a2p_campaign"
            yield document.mistake((*loc, "a2p_campaign"), what, at_key=True)
        elif campaign not in campaigns:
            yield document.mistake((*loc, "a2p_campaign"), _unknown("10DLC campaign", campaign, campaigns))
        if kind == "long_code" and document.has(*loc, "rate"):
            what = "the rates of a2p_campaign hold for this number; drop rate"
            yield document.mistake((*loc, "rate"), what, at_key=True)


def _misfit(number: str, kind: str | None) -> str | None:
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
        case _:
            return None


def _countries(document: Document) -> Iterator[Mistake]:
    lists = [("senders", index, "countries") for index in document.keys("senders")]
    lists += [("accounts", name, "countries") for name in document.keys("accounts")]
    for loc in lists:
        for place in document.keys(*loc):
            country = document.text(*loc, place)
            if country and not _is_country(country):
                what = f'"{country}" is no country; write its ISO code, like "US" or "GB"'
                yield document.mistake((*loc, place), what)


def _places(document: Document) -> Iterator[Mistake]:
    for key in ("hours", "holidays"):
        for place in document.keys("quiet_hours", key):
            if not is_place(place) and (key, place) != ("hours", "default"):
                what = f'"{place}" is no place that numbers tell; write a country or a US state, like "GB" or "US-TX"'
                yield document.mistake(("quiet_hours", key, place), what, at_key=True)


def _content_rules(document: Document) -> Iterator[Mistake]:
    known = [*RULES, *PROHIBITED_WORDS, *document.keys("content", "words")]
    for rule in document.keys("content", "rules"):
        if rule not in known:
            yield document.mistake(("content", "rules", rule), _unknown("rule", rule, known), at_key=True)
    for category in document.keys("content", "words"):
        if category not in document.keys("content", "rules"):
            what = f'no rule uses these words; write "{category}: refuse" or "{category}: warn" under content.rules'
            yield document.mistake(("content", "words", category), what, at_key=True)


def _is_country(code: str) -> bool:
    # Loads for 0.1 s, and most configs have no countries.
    import phonenumbers  # noqa: PLC0415

    return bool(phonenumbers.country_code_for_region(code))


def _campaigns(document: Document) -> Iterator[Mistake]:
    brands = document.keys("brands")
    for name in document.keys("a2p_campaigns"):
        loc = ("a2p_campaigns", name, "brand")
        brand = document.text(*loc)
        if brand and brand not in brands:
            yield document.mistake(loc, _unknown("brand", brand, brands))


def _pools(document: Document) -> Iterator[Mistake]:
    known = _numbers(document)
    for pool in document.keys("pools"):
        seen: set[str] = set()
        for index in document.keys("pools", pool, "senders"):
            loc: Loc = ("pools", pool, "senders", index)
            number = document.text(*loc)
            if not number:
                continue
            if number in seen:
                yield document.mistake(loc, f'"{number}" is in this pool already; drop one of them')
            elif known and number not in known:
                yield document.mistake(loc, _unknown("sender", number, known))
            seen.add(number)


def _rate_factors(document: Document) -> Iterator[Mistake]:
    known = _numbers(document)
    for number in document.keys("simulator", "rate_factors"):
        if known and number not in known:
            loc = ("simulator", "rate_factors", number)
            yield document.mistake(loc, _unknown("sender", number, known), at_key=True)


def _replies(document: Document) -> Iterator[Mistake]:
    known = _numbers(document)
    for number in document.keys("opt_outs", "replies"):
        loc = ("opt_outs", "replies", number)
        if known and number not in known:
            yield document.mistake(loc, _unknown("sender", number, known), at_key=True)
            continue
        kind = document.text("senders", known.index(number), "kind") if known else None
        if kind in {"toll_free", "long_code"}:
            what = f"Twilio answers for a {kind} itself; drop this, or set the words up at Twilio (Advanced Opt-Out)"
            yield document.mistake(loc, what, at_key=True)


def _numbers(document: Document) -> list[str]:
    """Return the senders' numbers, or none while one is missing: nobody can tell then which one is meant."""
    numbers = [document.text("senders", index, "number") for index in document.keys("senders")]
    known = [number for number in numbers if number]
    return known if len(known) == len(numbers) else []


def _unknown(what: str, name: str, known: list[str] | tuple[str, ...]) -> str:
    return f'there is no {what} "{name}"; {suggestion(name, known)}'


_RULES = (_accounts, _senders, _countries, _places, _content_rules, _campaigns, _pools, _replies, _rate_factors)
