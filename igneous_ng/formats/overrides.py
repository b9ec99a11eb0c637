"""What an operator says of tiles, which always wins: lines of JSON, or CSV with a header; a later line is stronger."""

from __future__ import annotations

import csv
import io as memory
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from igneous_ng import spelling
from igneous_ng.errors import SpecError
from igneous_ng.formats import json_lines

ACTIONS = ("use", "drop", "move")
_FIELDS = ("z", "tile", "channel", "action", "x", "y", "note")


@dataclass(frozen=True, slots=True)
class Override:
    """One line: use a tile whatever is wrong with it, drop it, or say where its first pixel lies."""

    line: int
    """Where it stands in the file."""
    z: int
    tile: str
    action: str
    """One of :data:`ACTIONS`."""
    channel: int | None = None
    """Only the picture of this channel; all where None."""
    x: float | None = None
    """Where to move it, in nm."""
    y: float | None = None
    note: str = ""

    @property
    def words(self) -> str:
        """The line, for people."""
        where = f" to {self.x:g}, {self.y:g} nm" if self.x is not None and self.y is not None else ""
        which = "" if self.channel is None else f" channel {self.channel}"
        return f"line {self.line}: {self.action}{which}{where}" + (f" ({self.note})" if self.note else "")


def parse(data: bytes, where: str) -> tuple[Override, ...]:
    """The overrides of a file; SpecError names the line of ``where`` and what is wrong with it."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SpecError(f"{where}: is no text in UTF-8; give lines of JSON, or CSV with a header") from None
    rows = _json_rows(text, where) if text.lstrip().startswith("{") else _csv_rows(text, where)
    return tuple(_override(row, line, f"{where}, line {line}") for line, row in rows)


def _json_rows(text: str, where: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for line, row in json_lines.parse(text, where):
        yield line, {name: value for name, value in row.items() if value is not None}


def _csv_rows(text: str, where: str) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(memory.StringIO(text, newline=""), strict=True)
    try:
        if reader.fieldnames is None or "tile" not in reader.fieldnames:
            if not text.strip():
                return
            raise SpecError(f"{where}: its first line is no header with z, tile, action; or give lines of JSON")
        for row in reader:
            if None in row or None in row.values():
                raise SpecError(f"{where}, line {reader.line_num}: has not as many fields as the header")
            yield reader.line_num, {name: _number(name, value) for name, value in row.items() if value != ""}
    except csv.Error as error:
        raise SpecError(f"{where}, line {reader.line_num}: is no CSV ({error})") from None


def _number(name: str, value: str) -> Any:
    """A field of CSV as JSON would have it, as far as it is a number."""
    try:
        if name in ("z", "channel"):
            return int(value)
        if name in ("x", "y"):
            return float(value)
    except ValueError:
        pass
    return value


def _override(row: dict[str, Any], line: int, where: str) -> Override:
    if unknown := sorted(row.keys() - set(_FIELDS)):
        raise SpecError(f"{where}: there is no field {unknown[0]!r}; {spelling.choices(unknown[0], _FIELDS)}")
    kinds: dict[str, Any] = {"z": int, "channel": int, "x": (int, float), "y": (int, float)}
    for name, value in row.items():
        if not isinstance(value, kinds.get(name, str)) or isinstance(value, bool):
            raise SpecError(f"{where}: {name} is {value!r}; expected {'a number' if name in kinds else 'text'}")
    for name in ("z", "tile", "action"):
        if name not in row:
            raise SpecError(f"{where}: lacks {name}; give z, tile and action")
    if row["action"] not in ACTIONS:
        raise SpecError(f"{where}: action is {row['action']!r}; expected one of {', '.join(ACTIONS)}")
    return _placed(Override(**{"line": line, **row}), where)


def _placed(one: Override, where: str) -> Override:
    given = [value is not None for value in (one.x, one.y)]
    if one.action == "move" and (one.channel is not None or not all(given)):
        raise SpecError(f"{where}: a tile is moved with all its channels, and needs x and y in nm")
    if one.action != "move" and any(given):
        raise SpecError(f"{where}: x and y are for move, and the action is {one.action}")
    if not all(math.isfinite(value) for value in (one.x or 0.0, one.y or 0.0)):
        raise SpecError(f"{where}: x and y are {one.x}, {one.y}; expected numbers")
    return one
