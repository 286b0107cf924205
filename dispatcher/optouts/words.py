"""The words by which recipients stop messages, want them again, or ask for help: a table, and what reads it.

They are those of the languages that Twilio knows by itself: English, and French, which short codes in Canada have to
speak. It obeys them for long codes and toll-free numbers, and for senders in a Messaging Service with Advanced Opt-Out,
whose words are what its owner has made them, in any language: then it says in `OptOutType` what a message was. A short
code outside of such a service gets nothing of that.

https://help.twilio.com/articles/223134027 (English)
https://www.twilio.com/docs/proxy/opt-out-keywords (ARRET and its spellings)
https://help.twilio.com/articles/223181928 (short codes in Canada: AIDE, ARRET, UNSUB; answered in their language)
"""

import re
import unicodedata
from collections.abc import Mapping
from typing import NamedTuple

from dispatcher.domain.callback import Language, Word


class Spoken(NamedTuple):
    """What a recipient wants, and in which language they said it."""

    word: Word
    language: Language


WORDS: Mapping[str, Spoken] = {
    "stop": Spoken("stop", "en"),
    "stopall": Spoken("stop", "en"),
    "unsubscribe": Spoken("stop", "en"),
    "unsub": Spoken("stop", "en"),
    "cancel": Spoken("stop", "en"),
    "end": Spoken("stop", "en"),
    "quit": Spoken("stop", "en"),
    "optout": Spoken("stop", "en"),
    "revoke": Spoken("stop", "en"),
    "arret": Spoken("stop", "fr"),
    "arrete": Spoken("stop", "fr"),
    "arreter": Spoken("stop", "fr"),
    "arrett": Spoken("stop", "fr"),
    "start": Spoken("start", "en"),
    "unstop": Spoken("start", "en"),
    "yes": Spoken("start", "en"),
    "help": Spoken("help", "en"),
    "info": Spoken("help", "en"),
    "aide": Spoken("help", "fr"),
}

_LONGEST = 40
# People write "Stop.", "STOP ALL" and "opt-out"; an accent, taken from its letter, is between letters, too.
_BETWEEN = re.compile(r"[\W_]+")
_TYPES: Mapping[str, Word] = {"STOP": "stop", "START": "start", "HELP": "help"}


def read_word(body: str) -> Spoken | None:
    """Return what *body* says when it is one of the words, in whatever case and with whatever accents; else None."""
    if len(body) > _LONGEST:
        return None
    return WORDS.get(_BETWEEN.sub("", unicodedata.normalize("NFKD", body.casefold())))


def read_type(opt_out_type: str | None) -> Word | None:
    """Return what Twilio found a message to be, and has obeyed and answered itself.

    https://www.twilio.com/docs/messaging/tutorials/advanced-opt-out
    """
    return _TYPES.get(opt_out_type or "")
