"""Whether the names in a config lead somewhere.

The rules look at the file rather than at its sections, so that they find their mistakes beside all others.
"""

from collections.abc import Iterator

from dispatcher.compliance.content import PROHIBITED_WORDS, RULES
from dispatcher.config.document import Document, Loc
from dispatcher.config.nearest import unknown
from dispatcher.config.senders import misfit_senders, names_of_senders
from dispatcher.domain.errors import Mistake
from dispatcher.domain.places import is_place


def broken_references(document: Document) -> Iterator[Mistake]:
    """Yield every name in *document* that leads nowhere, and every sender that is not of its kind."""
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
            yield document.mistake(where, unknown("account", parent, [other for other in names if other != name]))
        elif grandparent:
            what = f'"{parent}" is a subaccount itself; Twilio has one level of them, so write its parent'
            yield document.mistake(where, f'{what}, "{grandparent}"')


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
            yield document.mistake(("content", "rules", rule), unknown("rule", rule, known), at_key=True)
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
            yield document.mistake(loc, unknown("brand", brand, brands))


def _pools(document: Document) -> Iterator[Mistake]:
    known = names_of_senders(document)
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
                yield document.mistake(loc, unknown("sender", number, known))
            seen.add(number)


def _rate_factors(document: Document) -> Iterator[Mistake]:
    known = names_of_senders(document)
    for number in document.keys("simulator", "rate_factors"):
        if known and number not in known:
            loc = ("simulator", "rate_factors", number)
            yield document.mistake(loc, unknown("sender", number, known), at_key=True)


def _tmobile_caps(document: Document) -> Iterator[Mistake]:
    brands = document.keys("brands")
    for brand in document.keys("simulator", "tmobile_caps"):
        if brand not in brands:
            loc = ("simulator", "tmobile_caps", brand)
            yield document.mistake(loc, unknown("brand", brand, brands), at_key=True)


def _replies(document: Document) -> Iterator[Mistake]:
    known = names_of_senders(document)
    for number in document.keys("opt_outs", "replies"):
        loc = ("opt_outs", "replies", number)
        if known and number not in known:
            yield document.mistake(loc, unknown("sender", number, known), at_key=True)
            continue
        index = known.index(number) if known else -1
        kind = document.text("senders", index, "kind")
        if kind in {"toll_free", "long_code"} or document.has("senders", index, "service"):
            what = f"Twilio answers for a {kind or 'service'} itself; drop this, or set the words up at Twilio"
            what += " (Advanced Opt-Out)"
            yield document.mistake(loc, what, at_key=True)
        elif kind == "alphanumeric":
            yield document.mistake(loc, "nobody can answer to letters; drop this", at_key=True)


_RULES = (
    _accounts,
    misfit_senders,
    _countries,
    _places,
    _content_rules,
    _campaigns,
    _pools,
    _replies,
    _rate_factors,
    _tmobile_caps,
)
