"""Fills a campaign's template with one recipient's values; knows which values it needs.

Templates are written by people and read by others, so they are bounded: each render has a supply of fuel that every
step and every copied character uses up, and nothing can be loaded or included.
"""

from collections.abc import Mapping
from functools import lru_cache

from minijinja import Environment, TemplateError

_FUEL = 10_000
_NAME = "body"
# What the engine says about these speaks of the template; about all others it may show a recipient's value.
_SPEAKS_OF_TEMPLATE = frozenset({"SyntaxError", "UnknownFilter", "UnknownTest", "UnknownFunction", "UnknownMethod"})


class Template:
    """A text with `{{ variables }}`. *variables* are all it may ask for, also where it has a default for them."""

    __slots__ = ("_environment", "variables")

    def __init__(self, source: str) -> None:
        """Read *source*; `ValueError` says what is wrong with it and in which line."""
        # Missing values are an error: better no message than "Hi , your code is ".
        self._environment = Environment(fuel=_FUEL, undefined_behavior="strict", debug=False)
        try:
            self._environment.add_template(_NAME, source)
            asked_for = self._environment.undeclared_variables_in_template(_NAME)
        except TemplateError as error:
            raise ValueError(_sentence(error)) from None
        self.variables = frozenset(asked_for) - self._environment.globals.keys()

    def render(self, values: Mapping[str, str]) -> str:
        """Return the text with *values* filled in; the `ValueError` holds none of them."""
        try:
            return self._environment.render_template(_NAME, **values)
        except TemplateError as error:
            missing = sorted(self.variables - values.keys())
            if error.kind == "UndefinedError" and missing:
                raise ValueError(f"there is no value for {', '.join(missing)}") from None
            raise ValueError(_sentence(error)) from None


@lru_cache(maxsize=256)
def compiled(source: str) -> Template:
    """Return *source* as a template, remembered from the last time; `ValueError` as for `Template`."""
    return Template(source)


def render(source: str, values: Mapping[str, str]) -> str:
    """Return *source* with *values* filled in; the `ValueError` holds none of them."""
    return compiled(source).render(values)


def _sentence(error: TemplateError) -> str:
    what = error.message.partition(" (in ")[0]
    if error.kind not in _SPEAKS_OF_TEMPLATE:
        what = what.partition(":")[0]
    return f"{what} in line {error.line}" if error.line else what
