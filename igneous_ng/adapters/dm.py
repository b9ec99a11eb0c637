"""Gatan's DM3 and DM4 (3View): a file, or several in a folder, whose pictures are sections of one tile.

Files of one section in several tiles are for the format `folder`, whose pattern says which is which.
"""

from __future__ import annotations

from collections.abc import Iterator

from igneous_ng import pictures
from igneous_ng.adapters import stacks
from igneous_ng.adapters.base import Choices
from igneous_ng.formats.tiles import Picture, Tile
from igneous_ng.io import IO

NAME = "dm"
_SUFFIXES = (".dm3", ".dm4")


def tiles(io: IO, source: str, choices: Choices) -> Iterator[Tile]:
    """A tile a slice; pixel and time are those of the tags."""

    def look(url: str) -> stacks.Stack:
        planes = pictures.header(io, Picture(url))
        count = planes.shape[0]
        return stacks.Stack(stacks.parts(count), [planes.size] * count, planes.pixel, planes.time)

    return stacks.tiles(io, source, choices, _SUFFIXES, look)
