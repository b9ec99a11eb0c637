"""Values in a TOML file: parameters, and texts in which ``{name}`` stands for the value of one."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from string import Formatter
from typing import Any

from igneous_ng import spelling
from igneous_ng.errors import SpecError

Table = dict[str, Any]


def table(text: str) -> Table:
    """The TOML document ``text``; SpecError says in which line it is none."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"not TOML: {error}; mend this line") from None


def parameters(own: Table, profile: Table, given: Mapping[str, str]) -> Table:
    """The parameters ``own``, some with the values of a profile, some as ``given`` in text; later ones may use earlier.

    Text is taken as it is where the parameter is a text, else as TOML would write the value; types stay what they are.
    """
    names: Table = {}
    for name in (*profile, *given):
        if name not in own:
            raise SpecError(f"no parameter is called {name!r}; {spelling.choices(name, own)}")
    for name, value in own.items():
        value = profile.get(name, value)
        value = _given(name, value, given[name]) if name in given else filled(value, names, f"parameter {name}")
        if isinstance(value, dict):
            raise SpecError(f"parameter {name}: a table cannot be a value; name its parts")
        names[name] = value
    return names


def _given(name: str, old: Any, text: str) -> Any:
    if isinstance(old, str):
        return text
    try:
        values = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        values = {}
    value = values.get("value")
    same = type(value) is type(old) or (type(old), type(value)) == (float, int)
    if len(values) != 1 or not same:
        raise SpecError(f"parameter {name}: {text!r} is no {type(old).__name__} as {old!r} is; write it as TOML does")
    return value


def filled(value: Any, names: Table, where: str) -> Any:
    """``value`` with the parameters ``names`` put in, in texts and in what lists and tables hold."""
    if isinstance(value, str):
        return _text(value, names, where)
    if isinstance(value, list):
        return [filled(one, names, where) for one in value]
    if isinstance(value, dict):
        return {key: filled(one, names, f"{where}.{key}") for key, one in value.items()}
    return value


def _text(text: str, names: Table, where: str) -> Any:
    try:
        parts = list(Formatter().parse(text))
    except ValueError as error:
        raise SpecError(f"{where}: {text!r}: {error}; write {{{{ or }}}} for a brace itself") from None
    for _, name, form, conversion in parts:
        if name is not None and (name not in names or form or conversion):
            raise SpecError(f"{where}: {text!r}: no parameter is called {name!r}; {spelling.choices(name, names)}")
    if len(parts) == 1 and not parts[0][0] and parts[0][1] is not None:
        return names[parts[0][1]]
    return "".join(literal + (_word(names[name], where) if name is not None else "") for literal, name, *_ in parts)


def _word(value: Any, where: str) -> str:
    """A value inside of a text."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise SpecError(f"{where}: {value!r} cannot stand inside of a text; only texts and numbers can")
    return str(value)
