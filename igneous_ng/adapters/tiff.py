"""TIFF stacks: a file, or several in a folder, whose pages are sections of one tile.

What TIFF says of the size of a pixel is most often that of a screen, so it must be given.
"""

from __future__ import annotations

from collections.abc import Iterator

from igneous_ng import pictures
from igneous_ng.adapters import stacks
from igneous_ng.adapters.base import Choices
from igneous_ng.formats.tiles import Picture, Tile
from igneous_ng.io import IO

NAME = "tiff"
_SUFFIXES = (".tif", ".tiff")


def tiles(io: IO, source: str, choices: Choices) -> Iterator[Tile]:
    """A tile a page."""

    def look(url: str) -> stacks.Stack:
        pages = pictures.pages(io, Picture(url))
        return stacks.Stack([part for part, _ in pages], [size for _, size in pages])

    return stacks.tiles(io, source, choices, _SUFFIXES, look)
