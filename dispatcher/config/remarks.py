"""What is allowed in a config and still deserves a second look."""

from collections.abc import Iterator

from dispatcher.config.document import Document
from dispatcher.domain.errors import Mistake
from dispatcher.domain.fleet import SenderKind
from dispatcher.domain.settings import Settings


def remarks(document: Document, settings: Settings) -> Iterator[Mistake]:
    """Yield what a careful colleague would ask about; none of it keeps the dispatcher from working."""
    fleet = settings.fleet
    first: dict[str, str] = {}
    for name, account in fleet.accounts.items():
        if first.setdefault(account.sid, name) != name:
            what = f'"{first[account.sid]}" has the same SID, so its limits are counted twice'
            yield document.mistake(("accounts", name, "sid"), what)
    pooled = {number for pool in fleet.pools.values() for number in pool.senders}
    for index, (number, sender) in enumerate(fleet.senders.items()):
        loc = ("senders", index, "service" if sender.kind is SenderKind.MESSAGING_SERVICE else "number")
        if number not in pooled:
            yield document.mistake(loc, f'"{number}" is in no pool, so it sends nothing')
        elif sender.kind is SenderKind.ALPHANUMERIC and "opt_out" in settings.content.rules:
            what = "nobody can answer STOP to letters; let the texts of its pools name another way to opt out"
            yield document.mistake(loc, what)
