"""SBEMimage: the image lists and metadata of all runs of a stack, in ``meta/logs`` of its base folder.

A line of ``imagelist_DATE.txt`` is ``path;x;y;z;slice``, the upper left corner in nm. ``metadata_DATE.txt`` holds
Python's own dictionaries after ``SESSION:`` (pixel sizes of the grids, in nm) and ``TILE:`` (width, height, time).
Both are as ``acquisition.py`` of https://github.com/SBEMimage/SBEMimage writes them. A tile that was taken again, under
the same path, is as its last line says. A grid is a camera: its pictures have one size, pixel and dwell time.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from igneous_ng.adapters import texts
from igneous_ng.adapters.base import Choices
from igneous_ng.errors import DataError
from igneous_ng.formats.tiles import Tile, checked
from igneous_ng.io import IO

NAME = "sbemimage"
_LOGS = "meta/logs"
_GRID = re.compile(r"(g\d+)_(t\d+)_s\d+[.]\w+$")


@dataclass
class _Known:
    """What metadata say: of grids the size of a pixel, of pictures their ``TILE`` and their pixel."""

    pixels: dict[str, float] = field(default_factory=dict)
    tiles: dict[str, tuple[dict[str, Any], float | None]] = field(default_factory=dict)

    def take(self, line: str, where: str) -> None:
        """Learn from a line of metadata; those of other kinds are passed over."""
        word, _, rest = line.partition(":")
        if word == "SESSION":
            said = _dictionary(rest, where)
            self.pixels = dict(zip(said.get("grids", ()), said.get("pixel_sizes", ()), strict=False))
        elif word == "TILE":
            said = _dictionary(rest, where)
            if "filename" not in said:
                raise DataError(f"{where}: a tile without filename; expected what SBEMimage writes")
            grid = str(said.get("tileid", "")).partition(".")[0]
            self.tiles[str(said["filename"])] = (said, self.pixels.get(grid))


def tiles(io: IO, source: str, choices: Choices) -> Iterator[Tile]:
    """The tiles of all lists below the base folder ``source``."""
    logs = f"{source}/{_LOGS}"
    lists = texts.files(io, logs, r"imagelist_.*[.]txt")
    if not lists:
        raise DataError(f"{logs}: there is no imagelist_*.txt; give the base folder of a stack of SBEMimage")
    known = _Known()
    for url in texts.files(io, logs, r"metadata_.*[.]txt"):
        for where, line in texts.lines(io, url):
            known.take(line, where)
    latest = {line.partition(";")[0]: (where, line) for url in lists for where, line in texts.lines(io, url)}
    for where, line in latest.values():
        yield checked(_tile(source, line, known, choices, where), where)


def _tile(source: str, line: str, known: _Known, choices: Choices, where: str) -> Tile:
    parts = line.split(";")
    if len(parts) != 5:
        raise DataError(f"{where}: expected path;x;y;z;slice, found {line[:120]!r}")
    path = parts[0].replace("\\", "/")
    said, pixel = known.tiles.get(path, ({}, None))
    hit = _GRID.search(path)
    return Tile(
        tile=f"{hit[1]}_{hit[2]}" if hit else texts.stem(path),
        z=texts.whole(parts[4], "the slice", where) + choices.z,
        x=texts.number(parts[1], "x", where),
        y=texts.number(parts[2], "y", where),
        pixel=texts.pixel(choices, pixel, f"{where}: {source}/{_LOGS}/metadata_*.txt"),
        url=texts.picture(path, source, where),
        width=said.get("tile_width"),
        height=said.get("tile_height"),
        camera=hit[1] if hit else "",
        time=datetime.fromtimestamp(said["timestamp"], UTC).isoformat() if "timestamp" in said else "",
    )


def _dictionary(text: str, where: str) -> dict[str, Any]:
    try:
        found = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise DataError(f"{where}: expected a dictionary of Python, found {text[:120]!r}; the line is torn")
    return found
