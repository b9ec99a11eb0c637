"""CATMAID's file-based image stack: ``z/row_column_zoom.suffix``, tiles that meet without overlap.

Tile source type 1 of https://catmaid.readthedocs.io/en/stable/tile_sources.html: the first number of a name is the
row. Tiles of zoom level 0 are taken; those of other levels are their averages.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from igneous_ng.adapters import folder
from igneous_ng.adapters.base import Choices
from igneous_ng.formats.tiles import Tile
from igneous_ng.io import IO

NAME = "catmaid"
_PATTERN = r"(?P<z>\d+)/(?P<row>\d+)_(?P<col>\d+)_0[.]\w+"


def tiles(io: IO, source: str, choices: Choices) -> Iterator[Tile]:
    """The tiles of the finest level; a tile's size is that of the first picture."""
    return folder.tiles(io, source, dataclasses.replace(choices, pattern=_PATTERN, overlap=(0.0, 0.0), first=0))
