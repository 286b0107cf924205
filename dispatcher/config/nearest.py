"""The right word for a wrong one."""

import difflib
from collections.abc import Iterable

_MOST_SHOWN = 12


def nearest(word: str, right: Iterable[str]) -> str | None:
    """Return the one of the *right* words that *word* was most likely meant to be."""
    folded = {option.lower(): option for option in reversed(list(right))}
    found = difflib.get_close_matches(word.lower(), folded, n=1)
    return folded[found[0]] if found else None


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """Return the sentence for a *name* that is none of the *known* ones; *what* says of what kind they are."""
    return f'there is no {what} "{name}"; {suggestion(name, known)}'


def suggestion(word: str, right: Iterable[str]) -> str:
    """Return the end of a sentence that says what would be right instead of *word*."""
    options = list(dict.fromkeys(right))
    if (found := nearest(word, options)) is not None:
        return f'did you mean "{found}"?'
    shown = [f'"{option}"' for option in options[:_MOST_SHOWN]]
    if len(options) > len(shown):
        shown.append("...")
    return f"there {'is' if len(options) == 1 else 'are'} {', '.join(shown)}" if shown else "there is none yet"
