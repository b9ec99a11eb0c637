"""Zeiss MultiSEM: ``full_image_coordinates.txt`` of a section, ``image_coordinates.txt`` of its fields of view.

A line is path, x, y and 0, parted by tabs, in pixels, and a picture's name SECTION_FIELD_BEAM_TIME, such as
``001_000007_055_2021-05-25T2146499297643.bmp``; both as importers of independent laboratories read them (feabas,
``mSEM.py``; EM_recon_pipeline of Janelia, ``msem_to_render``). Where a section's own file lacks pictures, those of
its fields of view complete it, for the positions are in one frame. The beam is the tile's camera.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from igneous_ng.adapters import texts
from igneous_ng.adapters.base import Choices
from igneous_ng.errors import DataError
from igneous_ng.formats.tiles import Tile, checked
from igneous_ng.io import IO

NAME = "multisem"
_FULL, _PART = "full_image_coordinates.txt", "image_coordinates.txt"
_PICTURE = re.compile(r"(\d+)_(\d+)_(\d+)_(\d{4}-\d\d-\d\d)T(\d\d)(\d\d)(\d\d)(\d*)[.]\w+")
_DEPTH = 3  # folders below the source: wafer, section, field of view


def tiles(io: IO, source: str, choices: Choices) -> Iterator[Tile]:
    """The tiles of one file of coordinates, or of a field of view, a section, or a folder of sections."""
    pixel = texts.pixel(choices, None, source)
    found = False
    for section in [[source]] if io.exists(source) else _sections(io, source, _DEPTH):
        known: set[str] = set()
        for url in section:
            rows = [one for one in _rows(io, url, pixel, choices.z) if one.url not in known]
            known.update(one.url for one in rows)
            found = found or bool(rows)
            yield from rows
    if not found:
        raise DataError(f"{source}: neither {_FULL} nor {_PART} with a picture is here, nor below; check the path")


def _sections(io: IO, folder: str, depth: int) -> Iterator[list[str]]:
    """The files of coordinates of each section: its own first, then those of its fields of view."""
    names = sorted(io.list(folder), key=texts.natural)
    own = [f"{folder}/{name}" for name in (_FULL, _PART) if name in names]
    below = [f"{folder}/{name}" for name in names if "." not in name] if depth else []
    if f"{folder}/{_FULL}" in own:
        yield own + [f"{one}/{_PART}" for one in below if io.exists(f"{one}/{_PART}")]
        return
    if own:
        yield own
    for one in below:
        yield from _sections(io, one, depth - 1)


def _rows(io: IO, url: str, pixel: float, first: int) -> Iterator[Tile]:
    for where, line in texts.lines(io, url):
        path, x, y, _ = texts.fields(line, (4,), "a path, x, y and 0", where)
        hit = _PICTURE.fullmatch(path.replace("\\", "/").rpartition("/")[2])
        if hit is None:
            raise DataError(f"{where}: {path!r} is no picture's name; expected SECTION_FIELD_BEAM_TIME and a suffix")
        section, field, beam, day, hour, minute, second, fraction = hit.groups()
        made = Tile(
            tile=f"{field}_{beam}",
            z=int(section) + first,
            x=texts.number(x, "x", where) * pixel,
            y=texts.number(y, "y", where) * pixel,
            pixel=pixel,
            url=texts.picture(path, url.rpartition("/")[0], where),
            camera=beam,
            time=f"{day}T{hour}:{minute}:{second}" + (f".{fraction}" if fraction else ""),
        )
        yield checked(made, where)
