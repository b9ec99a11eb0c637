"""Bill Karsh's aligner: layout text with an affine a tile, or a list of stage positions, in pixels.

A layout's line is ``Z id a00 a01 a02 a10 a11 a12 col row cam path``, parted by tabs: x' = a00 x + a01 y + a02, and col
and row are -999 where there is no lattice. A line of stage positions is ``name x y z``. Both are read as ``CTileSet``
of https://github.com/billkarsh/Alignment_Projects writes and reads them; its tutorial's data are such files.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from igneous_ng.adapters import texts
from igneous_ng.adapters.base import Choices
from igneous_ng.errors import DataError
from igneous_ng.formats.tiles import Tile, checked
from igneous_ng.io import IO

NAME = "karsh"
_LAYOUT, _STAGE = 12, 4
_NONE = -999  # of a row or column
_WHAT = "the 12 fields of a layout (Z id a00 a01 a02 a10 a11 a12 col row cam path) or the 4 of a position (name x y z)"


def tiles(io: IO, source: str, choices: Choices) -> Iterator[Tile]:
    """The tiles of the file, whose lines are all of one kind."""
    pixel, count = texts.pixel(choices, None, source), 0
    for where, line in texts.lines(io, source):
        parts = texts.fields(line, (count,) if count else (_LAYOUT, _STAGE), _WHAT, where)
        count = len(parts)
        read = _laid_out if count == _LAYOUT else _staged
        found = read(parts, source.rpartition("/")[0], pixel, where)
        yield checked(dataclasses.replace(found, z=found.z + choices.z), where)
    if not count:
        raise DataError(f"{source}: is empty; expected {_WHAT} a line")


def _laid_out(parts: list[str], folder: str, pixel: float, where: str) -> Tile:
    z, ident, *affine, col, row, camera, path = parts
    a, b, x, c, d, y = (texts.number(word, "the affine", where) for word in affine)
    place = [texts.whole(word, "row or column", where) for word in (row, col)]
    return Tile(
        tile=ident,
        z=texts.whole(z, "Z", where),
        x=x * pixel,
        y=y * pixel,
        pixel=pixel,
        url=texts.picture(path, folder, where),
        row=None if place[0] == _NONE else place[0],
        col=None if place[1] == _NONE else place[1],
        matrix=(a, b, c, d),
        camera=camera,
    )


def _staged(parts: list[str], folder: str, pixel: float, where: str) -> Tile:
    name, *place, z = parts
    x, y = (texts.number(word, what, where) for word, what in zip(place, "xy", strict=True))
    return Tile(
        tile=texts.stem(name),
        z=texts.whole(z, "z", where),
        x=x * pixel,
        y=y * pixel,
        pixel=pixel,
        url=texts.picture(name, folder, where),
    )
