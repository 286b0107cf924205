"""`${VAR}` and `${VAR:-default}` in a value, from the environment that is handed in.

expandvars, which knows all of the shell, was tried: its `${VAR:=text}` changes the environment, its `$$` is the
process, a variable named EXPANDVARS_RECOVER_NULL makes up for all that are not set, and it names one of those at a
time.
"""

import re
from collections.abc import Mapping

# A `${` behind a backslash, a variable, or a `${` that begins none.
_VARIABLE = re.compile(r"\\\$\{|\$\{(?:([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\})?")


def expand_variables(text: str, environ: Mapping[str, str]) -> str:
    r"""Return *text* with its variables replaced; `ValueError` naming all that are not set.

    A default holds for a variable that is empty, too, as in a shell. `\${` stands for a plain `${`.
    """
    unset: list[str] = []

    def value(match: re.Match[str]) -> str:
        name, default = match.groups()
        if match[0].startswith("\\"):
            return "${"
        if name is None:
            raise ValueError('this is no variable; write "${NAME}" or "${NAME:-default}"')
        if default is not None:
            return environ.get(name) or str(default)
        if name not in environ:
            unset.append(name)
        return environ.get(name, "")

    expanded = _VARIABLE.sub(value, text)
    if unset:
        names = list(dict.fromkeys(unset))
        are, them = ("is", "it") if len(names) == 1 else ("are", "them")
        raise ValueError(
            f"{' and '.join(names)} {are} not set in the environment; export {them}, "
            f'or write a default: "${{{names[0]}:-default}}"'
        )
    return expanded
