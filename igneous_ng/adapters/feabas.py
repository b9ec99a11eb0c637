"""FEABAS: a table of tiles a section, ``stitch/stitch_coord/SECTION.txt``, positions in pixels.

The format is described in the README of https://github.com/YuelongWu/feabas, under "stitch coordinate files": lines
``{ROOT_DIR}``, ``{RESOLUTION}`` (nm) and ``{TILE_SIZE}`` (height, then width), then path, x and y, parted by tabs.
Sections are numbered from 0 in alphabetical order, or in that of ``section_order.txt`` in the working folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from igneous_ng.adapters import texts
from igneous_ng.adapters.base import Choices
from igneous_ng.errors import DataError
from igneous_ng.formats.tiles import Tile, checked
from igneous_ng.io import IO

NAME = "feabas"
_COORD = "stitch/stitch_coord"
_ORDER = "section_order.txt"


def tiles(io: IO, source: str, choices: Choices) -> Iterator[Tile]:
    """The tiles of a table, of a folder of tables, or of FEABAS's working folder."""
    for z, url in enumerate(_tables(io, source), choices.z):
        yield from _section(io, url, z, choices)


def _tables(io: IO, source: str) -> list[str]:
    """The tables, in the order of sections."""
    found = texts.files(io, source, r".*[.]txt")
    order = f"{source}/{_ORDER}"
    if not [url for url in found if url != order]:
        found += texts.files(io, f"{source}/{_COORD}", r".*[.]txt")
    tables = sorted(url for url in found if url != order)  # alphabetical, as FEABAS has it
    if not tables:
        raise DataError(f"{source}: there is no .txt here, nor in {_COORD}; give a table or FEABAS's working folder")
    return _ordered(io, order, tables) if order in found else tables


def _ordered(io: IO, order: str, tables: list[str]) -> list[str]:
    named = {url.rpartition("/")[2].removesuffix(".txt"): url for url in tables}
    found = []
    for where, line in texts.lines(io, order):
        if line.strip() not in named:
            raise DataError(f"{where}: there is no table of the section {line.strip()!r}")
        found.append(named.pop(line.strip()))
    if named:
        raise DataError(f"{order}: does not name the section {min(named)!r}; add it, or take its table away")
    return found


@dataclass
class _Head:
    """What stands before the tiles."""

    root: str
    resolution: float | None = None
    size: tuple[int, int] | None = None
    """Width and height."""

    def take(self, line: str, where: str) -> bool:
        """Whether the line is one of the head's, which is then known."""
        key, *values = line.split("\t")
        if not key.startswith("{"):
            return False
        if key == "{ROOT_DIR}" and len(values) == 1:
            self.root = texts.picture(values[0].strip(), self.root, where).rstrip("/")
        elif key == "{RESOLUTION}" and len(values) == 1:
            self.resolution = texts.number(values[0], "the resolution", where)
        elif key == "{TILE_SIZE}" and len(values) == 2:
            height, width = (texts.whole(value, "the size of a tile", where) for value in values)
            self.size = (width, height)
        else:
            raise DataError(
                f"{where}: found {line[:120]!r}; expected {{ROOT_DIR}} and a path, {{RESOLUTION}} and nm, "
                "or {TILE_SIZE}, height and width, parted by tabs"
            )
        return True


def _section(io: IO, url: str, z: int, choices: Choices) -> Iterator[Tile]:
    head = _Head(url.rpartition("/")[0])
    for where, line in texts.lines(io, url):
        if head.take(line, where):
            continue
        path, x, y = _row(line, where)
        pixel = texts.pixel(choices, head.resolution, url)
        made = Tile(
            tile=texts.stem(path),
            z=z,
            x=x * pixel,
            y=y * pixel,
            pixel=pixel,
            url=texts.picture(path, head.root, where),
            width=head.size and head.size[0],
            height=head.size and head.size[1],
        )
        yield checked(made, where)


def _row(line: str, where: str) -> tuple[str, float, float]:
    parts = line.split("\t")
    if len(parts) != 3:
        raise DataError(f"{where}: expected a path, x and y, parted by tabs; found {line[:120]!r}")
    return parts[0].strip(), texts.number(parts[1], "x", where), texts.number(parts[2], "y", where)
