"""From the config file to `Settings`, or every mistake in it at once."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from dispatcher.config.agreement import contradictions
from dispatcher.config.build import settings_of
from dispatcher.config.document import Document, read_document
from dispatcher.config.references import broken_references
from dispatcher.config.remarks import remarks
from dispatcher.config.shape import shape
from dispatcher.domain.errors import ConfigError, DispatcherError, Mistake
from dispatcher.domain.settings import Settings

ENVIRONMENT_VARIABLE = "DISPATCHER_CONFIG"


def load_from(option: Path | None, environ: Mapping[str, str]) -> Settings:
    """Load the file that *option* names, or else the environment's `DISPATCHER_CONFIG`."""
    return load(config_path(option, environ), environ)


def config_path(option: Path | None, environ: Mapping[str, str]) -> Path:
    """Return where the config is: *option*, or else what `DISPATCHER_CONFIG` says; `DispatcherError` for neither."""
    if option is not None:
        return option
    if path := environ.get(ENVIRONMENT_VARIABLE):
        return Path(path)
    raise DispatcherError(f"no config file is named; use -c FILE or set {ENVIRONMENT_VARIABLE}")


def load(path: Path, environ: Mapping[str, str]) -> Settings:
    """Return what the file at *path* says, its variables taken from *environ*.

    `ConfigError` carries all its mistakes; `DispatcherError` says why it cannot be read.
    """
    return settings_in(read_document(path, environ))


def examine(path: Path, environ: Mapping[str, str]) -> tuple[Settings, tuple[Mistake, ...]]:
    """As `load`, and what is allowed in the file but deserves a second look."""
    document = read_document(path, environ)
    settings = settings_in(document)
    return settings, in_order(remarks(document, settings))


def settings_in(document: Document) -> Settings:
    """Return what *document* says; `ConfigError` carries all its mistakes."""
    config = shape(document)
    wrong = in_order(
        document.mistakes,
        config if isinstance(config, list) else (),
        (*broken_references(document), *contradictions(document)),
    )
    if wrong or isinstance(config, list):
        raise ConfigError(wrong)
    return settings_of(config)


def in_order(*stages: Iterable[Mistake]) -> tuple[Mistake, ...]:
    """Sort mistakes by place. Where an earlier stage found one, those of later stages follow from it and go."""
    found: list[Mistake] = []
    for stage in stages:
        taken = {(mistake.line, mistake.column) for mistake in found}
        found += [mistake for mistake in stage if (mistake.line, mistake.column) not in taken]
    return tuple(sorted(found, key=lambda mistake: (mistake.line, mistake.column)))
