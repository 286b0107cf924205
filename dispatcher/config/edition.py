"""Editions of the config file: the one that a program runs by, and the next, which may be none to run by."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from dispatcher.config.changes import needing_restart
from dispatcher.config.document import Document, read_text
from dispatcher.config.load import in_order, settings_in
from dispatcher.domain.errors import ConfigError
from dispatcher.domain.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Edition:
    """What the config file said once. *version* tells its text from others."""

    version: str
    settings: Settings


def read_edition(path: Path, environ: Mapping[str, str], running: Edition | None = None) -> Edition:
    """Return what the file at *path* says now, for a worker that is *running* by what it said before, if one is.

    `ConfigError` names all that is wrong with it, or else all that needs a restart; `DispatcherError` says why the file
    cannot be read.
    """
    text = read_text(path)
    version = sha256(text.encode()).hexdigest()[:12]
    if running is not None and version == running.version:
        return running
    document = Document(str(path), text, environ)
    settings = settings_in(document)
    if running is not None and (fixed := in_order(needing_restart(document, running.settings, settings))):
        raise ConfigError(fixed)
    return Edition(version=version, settings=settings)
