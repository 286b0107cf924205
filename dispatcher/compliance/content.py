"""What carriers filter and the law wants, looked for in a body: prohibited words, short links, a way out, gaps.

Carriers filter messages about sex, hate, alcohol, firearms and tobacco or cannabis ("SHAFT"), and those whose links
hide where they lead (Twilio's 30007). The words are a beginning: a config adds its own.
"""

import re
from collections.abc import Callable, Mapping
from typing import Literal

from dispatcher.domain.job import Job

Action = Literal["refuse", "warn"]


def _listed(text: str) -> tuple[str, ...]:
    return tuple(text.split())


PROHIBITED_WORDS: Mapping[str, tuple[str, ...]] = {
    "sex": ("porn", "pornography", "xxx", "escort service", "nude pics", "onlyfans", "sex chat", "hookup"),
    "hate": ("white power", "white supremacy", "heil hitler", "kill all", "ethnic cleansing"),
    "alcohol": ("beer", "wine", "whiskey", "whisky", "vodka", "tequila", "liquor", "booze", "happy hour"),
    "firearms": ("firearm", "firearms", "handgun", "handguns", "rifle", "rifles", "ammo", "ammunition", "gun sale"),
    "tobacco": _listed(
        "tobacco cigarette cigarettes cigar cigars vape vapes vaping e-cigarette nicotine cannabis marijuana weed thc "
        "cbd dispensary kratom kush"
    ),
}
# Shared by everybody, so that carriers cannot tell whose link it is.
SHORTENERS = _listed(
    "bit.ly bitly.com tinyurl.com t.co goo.gl ow.ly is.gd v.gd buff.ly rebrand.ly cutt.ly rb.gy tiny.cc shorturl.at "
    "t.ly bl.ink s.id qr.ae soo.gd clck.ru x.co"
)
# The job's tag by which a publisher says that the recipient hears from it for the first time.
FIRST_CONTACT = "first_contact"
_WAY_OUT = re.compile(r"\b(?:stop|unsubscribe|opt[ -]?out|stopall|arr[eê]t|alto|baja|sair)\b", re.IGNORECASE)
# Placeholders of the usual tools: {{ name }}, ${name}, {name}, %NAME%, *|NAME|*, [[name]], <NAME>.
_PLACEHOLDER = re.compile(
    r"\{\{[^{}]*\}\}|\$?\{[A-Za-z_][\w.]*\}|%[A-Za-z_]{2,}%|\*\|\w+\|\*|\[\[\w+\]\]|<[A-Z][A-Z_]+>"
)

Rule = Callable[[Job, str], str | None]


def _short_link() -> re.Pattern[str]:
    hosts = "|".join(map(re.escape, SHORTENERS))
    return re.compile(rf"(?<![\w.@-])(?:www\.)?({hosts})(?=[/\s?]|$)", re.IGNORECASE)


_SHORT_LINK = _short_link()


def _links(_job: Job, body: str) -> str | None:
    match = _SHORT_LINK.search(body)
    return (
        match
        and f"the body has a link of {match[1].lower()}, a shortener that everybody shares; use a domain of your own"
    )


def _opt_out(job: Job, body: str) -> str | None:
    if not job.tags or job.tags.get(FIRST_CONTACT) != "true" or _WAY_OUT.search(body):
        return None
    return 'the first message to a recipient does not say how to opt out; add "Reply STOP to opt out"'


def _variables(_job: Job, body: str) -> str | None:
    match = _PLACEHOLDER.search(body)
    return match and f"the body has a variable without a value, {match[0][:40]}"


RULES: Mapping[str, Rule] = {"links": _links, "opt_out": _opt_out, "variables": _variables}


class ContentRules:
    """The rules of a config, by name: those of `RULES`, and categories of words, each with what is to be done.

    *words* are added to `PROHIBITED_WORDS`. *warned* is told the rule, the job and a sentence where a rule only warns.
    """

    def __init__(
        self,
        rules: Mapping[str, Action],
        words: Mapping[str, tuple[str, ...]],
        warned: Callable[[str, Job, str], None],
    ) -> None:
        self._warned = warned
        self._rules = [
            (name, action, RULES.get(name) or _prohibition(name, PROHIBITED_WORDS.get(name, ()) + words.get(name, ())))
            for name, action in rules.items()
        ]

    def finding(self, job: Job) -> str | None:
        """Return why *job* is to be refused, as a sentence; None where nothing speaks against its body."""
        if not job.body:
            return None
        for name, action, rule in self._rules:
            if (found := rule(job, job.body)) is None:
                continue
            if action == "refuse":
                return found
            self._warned(name, job, found)
        return None


def _prohibition(category: str, words: tuple[str, ...]) -> Rule:
    longest_first = sorted(map(re.escape, words), key=len, reverse=True)
    pattern = re.compile(rf"(?<!\w)(?:{'|'.join(longest_first)})(?!\w)", re.IGNORECASE)

    def rule(_job: Job, body: str) -> str | None:
        match = pattern.search(body)
        return match and f'the body speaks of "{match[0].lower()}", which the category {category} prohibits'

    return rule
