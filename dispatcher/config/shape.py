"""Holds the values of a file against the sections: the config, or what is wrong in words of the file."""

import re
from types import NoneType
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from dispatcher.config.document import Document, Loc
from dispatcher.config.nearest import nearest, suggestion
from dispatcher.config.sections import Config
from dispatcher.config.values import UnquotedError
from dispatcher.domain.errors import Mistake

_SENTENCES = {
    "too_short": "this is empty; write at least one",
    "list_type": 'a list is needed here, like ["a", "b"]',
    "dict_type": "names are needed here, with a section for each",
}


def shape(document: Document) -> Config | list[Mistake]:
    """Return the config that *document* holds, or every place where it has the wrong keys or values."""
    try:
        return Config.model_validate(document.values)
    except ValidationError as error:
        return _mistakes(document, error.errors(include_url=False))


def _mistakes(document: Document, errors: list[ErrorDetails]) -> list[Mistake]:
    found: list[Mistake] = []
    # A key that is missing because it is misspelt is one mistake, not two.
    misspelt: set[Loc] = set()
    for error in errors:
        if error["type"] == "extra_forbidden":
            *section, key = error["loc"]
            right = nearest(str(key), _section(tuple(section)).model_fields)
            misspelt.add((*section, str(right)))
    for error in errors:
        loc = error["loc"]
        if error["type"] == "extra_forbidden":
            what = f'unknown key "{loc[-1]}"; {suggestion(str(loc[-1]), _section(loc[:-1]).model_fields)}'
            found.append(document.mistake(loc, what, at_key=True))
        elif loc not in misspelt:
            found.append(document.mistake(loc, _sentence(document, error)))
    return found


def _sentence(document: Document, error: ErrorDetails) -> str:
    loc = error["loc"]
    match error["type"]:
        case "missing":
            field = _section(loc[:-1]).model_fields[str(loc[-1])]
            return f'"{loc[-1]}" is missing: {field.description}'
        case "value_error":
            return _reason(document, loc, error["ctx"]["error"])
        case "literal_error" | "enum":
            options = re.findall(r"'([^']+)'", error["ctx"]["expected"])
            return f'"{document.text(*loc) or ""}" is not known here; {suggestion(str(error["input"]), options)}'
        case "model_type":
            return f"a section is needed here, with the keys {', '.join(_section(loc).model_fields)}"
        case other:
            return _SENTENCES.get(other, error["msg"])


def _reason(document: Document, loc: Loc, reason: ValueError) -> str:
    if not isinstance(reason, UnquotedError):
        return str(reason)
    text = document.text(*loc)
    return f'YAML reads {text} as a number; quote it: "{text}"'


def _section(loc: Loc) -> type[BaseModel]:
    """Return the section that stands at *loc* by the rules."""
    annotation: Any = Config
    for part in loc:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            annotation = annotation.model_fields[str(part)].annotation
        # Of `list[X]`, `dict[str, X]` and `X | None`, it is X that counts.
        else:
            annotation = get_args(annotation)[-1]
        if NoneType in get_args(annotation):
            annotation = get_args(annotation)[0]
    section: type[BaseModel] = annotation
    return section
