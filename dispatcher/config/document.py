"""Reads YAML into plain values and remembers where each stands, so that a mistake can be pointed at."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode
from ruamel.yaml.reader import ReaderError

from dispatcher.config.variables import expand_variables
from dispatcher.domain.errors import ConfigError, DispatcherError, Mistake

Loc = tuple[str | int, ...]

_TAGS = "tag:yaml.org,2002:"
# YAML's own words are for who writes parsers; these are for who wrote the file.
_HINTS = (
    ("mapping values are not allowed here", 'there is a ":" too many, or the indentation is off; quote the value'),
    (r"found character '\t'", "there is a tab; indent with spaces"),
    ("that cannot start any token", "a value cannot start with this character; quote it"),
    ("undefined alias", 'a "*" starts a reference to an anchor, and there is no such anchor; quote the value'),
    ("undefined tag handle", 'a "!" starts a tag, and there is no such tag; quote the value'),
    ("another document", 'a second document starts here; drop the "---" and what follows'),
)


def read_document(path: Path, environ: Mapping[str, str]) -> "Document":
    """Read the file at *path*; `DispatcherError` where that cannot be, `ConfigError` where it is no YAML."""
    return Document(str(path), read_text(path), environ)


def read_text(path: Path) -> str:
    """Return what the file at *path* holds; `DispatcherError` where it cannot be read."""
    try:
        # Editors on Windows begin a file with a byte order mark.
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DispatcherError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from error
    except UnicodeDecodeError as error:
        raise DispatcherError(f"{path} is no UTF-8 text; save it as UTF-8") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a value stands: its key (the value itself in a list) and the value, each as line and column from 1.

    *text* is what is written there, whatever YAML takes it for, with its variables replaced. It is None where there is
    no such text: for a list, a mapping, null, or a variable that is not set.
    """

    key: tuple[int, int]
    value: tuple[int, int]
    text: str | None = None


class Document:
    """A YAML file as plain values: strings, numbers, booleans, None, lists and dicts.

    *mistakes* are what is wrong with the file already: keys given twice, variables that are not set.
    """

    def __init__(self, file: str, text: str, environ: Mapping[str, str]) -> None:
        """Read *text*; `ConfigError` where it is no YAML."""
        self.file = file
        self.mistakes: list[Mistake] = []
        self._environ = environ
        self._places: dict[Loc, Place] = {(): Place(key=(1, 1), value=(1, 1))}
        # What came from the environment, and how the file writes it.
        self._filled_in: dict[str, str] = {}
        try:
            root = YAML(typ="safe", pure=True).compose(text)
            self.values: Any = self._read(root, (), (1, 1), ()) if root is not None else None
        except YAMLError as error:
            raise ConfigError((_syntax_mistake(file, text, error),)) from None
        except RecursionError:
            raise ConfigError((Mistake(file=file, line=1, column=1, what="this is nested too deeply"),)) from None

    def mistake(self, loc: Loc, what: str, *, at_key: bool = False) -> Mistake:
        """Say *what* is wrong at *loc*, or at the nearest thing around it that is there.

        A value that came from the environment is shown as the file writes it: it may be a secret in the wrong place.
        """
        if loc not in self._places:
            while loc not in self._places:
                loc = loc[:-1]
            at_key = True
        place = self._places[loc]
        for text, written in self._filled_in.items():
            what = what.replace(f'"{text}"', f'"{written}"')
        line, column = place.key if at_key else place.value
        return Mistake(file=self.file, line=line, column=column, what=what)

    def text(self, *loc: str | int) -> str | None:
        """Return the text at *loc*, variables replaced; None where there is none."""
        place = self._places.get(loc)
        return place.text if place else None

    def has(self, *loc: str | int) -> bool:
        """Say whether anything stands at *loc*, be it a variable that is not set."""
        return self._value(loc) is not None

    def keys(self, *loc: str | int) -> tuple[Any, ...]:
        """Return the names in the mapping at *loc*, or the indices of the list there."""
        found = self._value(loc)
        if isinstance(found, dict):
            return tuple(found)
        return tuple(range(len(found))) if isinstance(found, list) else ()

    def _value(self, loc: Loc) -> Any:
        found: Any = self.values
        for part in loc:
            try:
                found = found[part]
            except (KeyError, IndexError, TypeError):
                return None
        return found

    def _read(self, node: Node, loc: Loc, key: tuple[int, int] | None, around: tuple[Node, ...]) -> Any:
        start = (node.start_mark.line + 1, node.start_mark.column + 1)
        self._places[loc] = place = Place(key=key or start, value=start)
        if node in around:
            self.mistakes.append(self.mistake(loc, "this refers to what it is part of; write it out"))
            return None
        if not str(node.tag).startswith(_TAGS):
            self.mistakes.append(self.mistake(loc, 'a "!" starts a tag, and there is no such tag; quote the value'))
            return None
        match node:
            case ScalarNode():
                return self._read_scalar(node, loc, place)
            case MappingNode():
                return self._read_mapping(node, loc, (*around, node))
            case _:
                return [self._read(item, (*loc, i), None, (*around, node)) for i, item in enumerate(node.value)]

    def _read_mapping(self, node: MappingNode, loc: Loc, around: tuple[Node, ...]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key, value in node.value:
            at = (key.start_mark.line + 1, key.start_mark.column + 1)
            if not isinstance(key, ScalarNode):
                self.mistakes.append(Mistake(file=self.file, line=at[0], column=at[1], what="a key has to be text"))
            elif key.value in values:
                first = self._places[*loc, key.value].key[0]
                what = f'"{key.value}" is given twice, first in line {first}; keep one of them'
                self.mistakes.append(Mistake(file=self.file, line=at[0], column=at[1], what=what))
            else:
                values[key.value] = self._read(value, (*loc, key.value), at, around)
        return values

    def _read_scalar(self, node: ScalarNode, loc: Loc, place: Place) -> Any:
        text: str = node.value
        # Where nothing is written, YAML's mark is at whatever comes next.
        at = place.value if text or node.style else place.key
        self._places[loc] = Place(key=place.key, value=at)
        if node.anchor and not text:
            self.mistakes.append(self.mistake(loc, 'a "&" names what follows, and nothing does; quote the value'))
        try:
            expanded = expand_variables(text, self._environ)
        except ValueError as error:
            self.mistakes.append(self.mistake(loc, str(error)))
            return text
        # A variable's value is text, whatever it looks like: a token of digits alone must not become a number.
        value = expanded if expanded != text else _plain(str(node.tag).removeprefix(_TAGS), text)
        if value is not None:
            self._places[loc] = Place(key=place.key, value=at, text=expanded)
        if expanded and expanded != text:
            self._filled_in.setdefault(expanded, text)
        return value


def _plain(tag: str, text: str) -> Any:
    """Return what YAML reads *text* as; text for all that a config has no use for (dates, hexadecimal numbers)."""
    try:
        match tag:
            case "null":
                return None
            case "bool":
                return text.lower() == "true"
            case "int":
                return int(text)
            case "float":
                return float(text)
            case _:
                return text
    except ValueError:
        return text


def _syntax_mistake(file: str, text: str, error: YAMLError) -> Mistake:
    if isinstance(error, ReaderError):
        before = text[: error.position]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        return Mistake(file=file, line=line, column=column, what="this character cannot stand in YAML; remove it")
    if not isinstance(error, MarkedYAMLError) or error.problem_mark is None:
        return Mistake(file=file, line=1, column=1, what="this is no YAML")
    mark, context = error.problem_mark, error.context_mark
    line, column = mark.line + 1, mark.column + 1
    if text[mark.index - 1 : mark.index + 1] == "${":
        what = 'inside { } and [ ] a variable needs quotes: "${NAME}"'
        return Mistake(file=file, line=line, column=column - 1, what=what)
    problem = str(error.problem)
    what = next((hint for sign, hint in _HINTS if sign in problem), "")
    if not what:
        what = f"this is no YAML: {problem}"
        if error.context and context is not None and context.line != mark.line:
            what += f" ({error.context} that began in line {context.line + 1})"
    return Mistake(file=file, line=line, column=column, what=what)
