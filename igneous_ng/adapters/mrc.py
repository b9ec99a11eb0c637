"""MRC stacks (IMOD, SerialEM): a file, or several in a folder, whose slices are sections of one tile."""

from __future__ import annotations

from collections.abc import Iterator

from igneous_ng import pictures
from igneous_ng.adapters import stacks
from igneous_ng.adapters.base import Choices
from igneous_ng.formats.tiles import Picture, Tile
from igneous_ng.io import IO

NAME = "mrc"
_SUFFIXES = (".mrc", ".mrcs", ".st", ".rec")


def tiles(io: IO, source: str, choices: Choices) -> Iterator[Tile]:
    """A tile a slice; the size of a pixel is that of the header, where it is the same along x and y."""

    def look(url: str) -> stacks.Stack:
        planes = pictures.header(io, Picture(url))
        count = planes.shape[0]
        return stacks.Stack(stacks.parts(count), [planes.size] * count, planes.pixel)

    return stacks.tiles(io, source, choices, _SUFFIXES, look)
