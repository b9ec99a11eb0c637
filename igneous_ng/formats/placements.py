"""What an operator says of how sections lie, which always wins: lines of JSON; a later line is stronger."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from igneous_ng.errors import SpecError
from igneous_ng.formats import json_lines

_KEYS = {
    "exclude": {"z"},
    "place": {"z", "matrix", "shift"},
    "source": {"z", "source"},
    "inverted": {"z"},
    "upright": {"z"},
    "ignore": {"pair"},
    "match": {"pair", "matrix", "shift"},
    "swap": {"pair"},
}
_POINTS = {"pair", "points"}  # the other way to say how a pair matches
_LENGTHS = {"pair": 2, "matrix": 4, "shift": 2}
_FEWEST = 2  # points that say how a pair lies


@dataclass(frozen=True)
class Placement:
    """One line: of section ``z``, or of the pair ``z`` and ``other``."""

    line: int
    """Where it stands in the file."""
    action: str
    z: int
    other: int | None = None
    matrix: tuple[float, ...] = ()
    """a, b, c, d: x to a x + b y, y to c x + d y."""
    shift: tuple[float, ...] = ()
    points: tuple[tuple[float, ...], ...] = ()
    """x, y in section ``z``, and where they are seen in ``other``."""
    source: int | None = None

    @property
    def words(self) -> str:
        """The line, for people."""
        which = f"section {self.z}" if self.other is None else f"pair {self.z}, {self.other}"
        return f"line {self.line}: {self.action} {which}"


def parse(data: bytes, where: str) -> tuple[Placement, ...]:
    """The lines of a file; SpecError names the line of ``where`` and what is wrong with it."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SpecError(f"{where}: is no text in UTF-8; give lines of JSON") from None
    return tuple(_placement(row, line, f"{where}, line {line}") for line, row in json_lines.parse(text, where))


def _placement(row: dict[str, Any], line: int, where: str) -> Placement:
    action = row.get("action")
    if action not in _KEYS:
        raise SpecError(f"{where}: action is {action!r}; expected one of {', '.join(_KEYS)}")
    wanted = _POINTS if action == "match" and "points" in row else _KEYS[action]
    given = row.keys() - {"action", "note"}
    if unknown := sorted(given - wanted):
        raise SpecError(f"{where}: {action} has no field {unknown[0]!r}; it has: {', '.join(sorted(wanted))}")
    if missing := sorted(wanted - given):
        raise SpecError(f"{where}: {action} lacks {missing[0]}; give {', '.join(sorted(wanted))}")
    found = {key: _value(key, row[key], where) for key in given}
    if "pair" in found:
        found["z"], found["other"] = found.pop("pair")
        _checked_pair(action, found["z"], found["other"], where)
    return Placement(line=line, action=action, **found)


def _checked_pair(action: str, z: int, other: int, where: str) -> None:
    if z == other:
        raise SpecError(f"{where}: a pair of {z} and itself")
    if action == "swap" and abs(z - other) != 1:
        raise SpecError(f"{where}: {z} and {other} are no neighbours; say with source what is shown at a place")


def _value(key: str, value: Any, where: str) -> Any:
    if key in ("z", "source", "pair"):
        found = value if key == "pair" else [value]
        if isinstance(found, list) and all(type(one) is int for one in found) and len(found) == _LENGTHS.get(key, 1):
            return tuple(found) if key == "pair" else value
        raise SpecError(
            f"{where}: {key} is {value!r}; expected {'two numbers' if key == 'pair' else 'the number'} of sections"
        )
    if key == "points":
        if not isinstance(value, list) or len(value) < _FEWEST:
            raise SpecError(f"{where}: points are {value!r}; expected {_FEWEST} or more of [x, y, x', y']")
        return tuple(_numbers(key, one, 4, where) for one in value)
    numbers = _numbers(key, value, _LENGTHS[key], where)
    if key == "matrix" and abs(numbers[0] * numbers[3] - numbers[1] * numbers[2]) < 1e-3:
        raise SpecError(f"{where}: matrix {value!r} leaves nothing of a section; give a, b, c, d")
    return numbers


def _numbers(key: str, value: Any, count: int, where: str) -> tuple[float, ...]:
    if isinstance(value, list) and len(value) == count and all(type(one) in (int, float) for one in value):
        found = tuple(float(one) for one in value)
        if all(map(math.isfinite, found)):
            return found
    raise SpecError(f"{where}: {key} is {value!r}; expected {count} numbers")
