"""Janelia's FIB-SEM: ``.dat`` files in a folder, ``SCOPE_yy-mm-dd_HHMMSS_SECTION-ROW-COLUMN.dat``, a tile each.

Names and positions are as EM_recon_pipeline (https://github.com/JaneliaSciComp/EM_recon_pipeline) reads them: files
of one time are one section, sections are numbered in the order of time, and ``FirstX`` and ``FirstY`` of the header are
the position in pixels. Before version 9 there are none: those tiles lie in a lattice. Channels are the detectors.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from igneous_ng import pictures
from igneous_ng.adapters import stacks, texts
from igneous_ng.adapters.base import Choices
from igneous_ng.adapters.listing import Found
from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats.fibsem import Header
from igneous_ng.formats.picture_heads import Size
from igneous_ng.formats.tiles import Picture, Tile
from igneous_ng.io import IO

NAME = "dat"
_NAME = re.compile(r"(?:.*/)?([^/]*)_(\d\d-\d\d-\d\d_\d{6})_(\d+)-(\d+)-(\d+)[^/]*[.]dat", re.IGNORECASE)


@dataclass(frozen=True)
class _File:
    """A file, and what its name says."""

    url: str
    found: Found
    scope: str
    time: str
    section: int
    row: int
    col: int

    @property
    def layer(self) -> tuple[str, str, int]:
        """Which section it is of; they sort as sections do."""
        return self.time, self.scope, self.section


@dataclass(frozen=True)
class _Place:
    """Where a tile lies, in nm, and how many channels it has."""

    x: float
    y: float
    pixel: float
    channels: int


def tiles(io: IO, source: str, choices: Choices) -> Iterator[Tile]:
    """The tiles of all files with such names; those with other names are none.

    A file whose header is torn lies where the one before it of its row and column lay: `ingest verify` tells of it.
    """
    if not all(0 <= part < 1 for part in choices.overlap):
        raise SpecError(f"--overlap {choices.overlap}: a tile shares a fraction of itself with the next, from 0 to 1")
    files = sorted(_files(io, source), key=lambda file: (file.layer, file.row, file.col))
    if not files:
        raise DataError(f"{source}: no file is called SCOPE_yy-mm-dd_HHMMSS_SECTION-ROW-COLUMN.dat")
    numbers = {layer: z for z, layer in enumerate(sorted({file.layer for file in files}), choices.z)}
    latest: dict[tuple[int, int], _Place] = {}
    for file in files:
        size: Size | None = None
        try:
            header = pictures.dat_header(io, Picture(file.url, "dat"))
            size = header.planes.size
            latest[file.row, file.col] = _place(file, header, size, choices)
        except DataError:
            if (file.row, file.col) not in latest:
                raise
        yield from _tiles(file, numbers[file.layer], latest[file.row, file.col], size)


def _files(io: IO, source: str) -> Iterator[_File]:
    for url, found in stacks.files(io, source, (".dat",)):
        hit = _NAME.fullmatch(found.path)
        if hit is None:
            continue
        try:
            time = datetime.strptime(hit[2], "%y-%m-%d_%H%M%S").isoformat()
        except ValueError:
            raise DataError(f"{url}: {hit[2]} is no time; expected yy-mm-dd_HHMMSS") from None
        yield _File(url, found, hit[1], time, int(hit[3]), int(hit[4]), int(hit[5]))


def _place(file: _File, header: Header, size: Size, choices: Choices) -> _Place:
    pixel = texts.pixel(choices, header.planes.pixel, file.url)
    if "FirstX" in header.fields:
        x, y = header.fields["FirstX"], header.fields["FirstY"]
    else:
        x = (file.col - choices.first) * size.width * (1 - choices.overlap[0])
        y = (file.row - choices.first) * size.height * (1 - choices.overlap[1])
    return _Place(x * pixel, y * pixel, pixel, size.channels)


def _tiles(file: _File, z: int, place: _Place, size: Size | None) -> Iterator[Tile]:
    for channel, part in enumerate(stacks.parts(place.channels)):
        yield Tile(
            tile=f"{file.section}-{file.row}-{file.col}",
            z=z,
            x=place.x,
            y=place.y,
            pixel=place.pixel,
            url=file.url,
            part=part,
            channel=channel,
            width=size and size.width,
            height=size and size.height,
            row=file.row,
            col=file.col,
            camera=file.scope,
            time=file.time,
            size=file.found.size,
        )
