"""What is known of a tile before its file is opened: a line of JSON in the manifest of its section.

Positions are those of the stage, in nm; the tile's frame has the centre of its first pixel at (0, 0) and x along a row.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from igneous_ng.errors import DataError

IDENTITY = (1.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Picture:
    """Where the pixels of one channel of a tile are: a file, or a part of one."""

    url: str
    """The file."""
    kind: str = ""
    """What reads it (a name in ``pictures.KINDS``); empty: what its suffix says."""
    part: str = ""
    """Which page, dataset or slice of a file of several; empty: the file is the picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One picture of one place of one section, as the microscope's files describe it."""

    tile: str
    """The name, the same for all channels of a tile; unique in its section but for repeated acquisitions."""
    z: int
    """Number of the section."""
    x: float
    """Stage position of the first pixel's centre along x, in nm."""
    y: float
    """The same along y."""
    pixel: float
    """Size of a pixel in nm."""
    url: str
    """The file."""
    kind: str = ""
    """See :class:`Picture`."""
    part: str = ""
    """See :class:`Picture`."""
    channel: int = 0
    """Which channel this is."""
    width: int | None = None
    """Pixels along x, where known."""
    height: int | None = None
    """Pixels along y, where known."""
    row: int | None = None
    """Place in a lattice of tiles, counted along y."""
    col: int | None = None
    """The same along x."""
    matrix: tuple[float, float, float, float] = IDENTITY
    """The linear part ``a, b, c, d`` of a given transform: x' = a x + b y, y' = c x + d y."""
    camera: str = ""
    """The camera or beam: tiles of one share a flat field and a lens."""
    time: str = ""
    """When it was taken, ISO 8601: the later of two at one place counts."""
    size: int | None = None
    """Bytes of the file when it was listed."""
    digest: str = ""
    """What its bytes should be, as ``sha256:HEX`` or ``md5:HEX``."""

    @property
    def picture(self) -> Picture:
        """Where its pixels are."""
        return Picture(self.url, self.kind, self.part)


_TYPES: dict[str, tuple[type, ...]] = {
    "tile": (str,),
    "z": (int,),
    "x": (int, float),
    "y": (int, float),
    "pixel": (int, float),
    "url": (str,),
    "kind": (str,),
    "part": (str,),
    "channel": (int,),
    "width": (int, type(None)),
    "height": (int, type(None)),
    "row": (int, type(None)),
    "col": (int, type(None)),
    "matrix": (list, tuple),
    "camera": (str,),
    "time": (str,),
    "size": (int, type(None)),
    "digest": (str,),
}
_DEFAULTS = {f.name: f.default for f in dataclasses.fields(Tile)}


def encode(tiles: Iterable[Tile]) -> bytes:
    """A line a tile, in the order given; what has its default is left out."""
    lines = []
    for tile in tiles:
        values = {name: getattr(tile, name) for name in _TYPES}
        kept = {name: value for name, value in values.items() if value != _DEFAULTS[name]}
        lines.append(json.dumps(kept, separators=(",", ":"), ensure_ascii=False) + "\n")
    return "".join(lines).encode()


def decode(data: bytes, where: str) -> list[Tile]:
    """The tiles of a manifest; DataError names the line of ``where`` and the field that is wrong."""
    lines = data.removesuffix(b"\n").split(b"\n") if data else []
    return [_tile(line, f"{where}, line {n}") for n, line in enumerate(lines, 1)]


def _tile(line: bytes, where: str) -> Tile:
    try:
        raw: Any = json.loads(line)
    except ValueError:
        raise DataError(f"{where}: is no JSON; plan the ingest again") from None
    if not isinstance(raw, dict):
        raise DataError(
            f"{where}: expected a tile, found {line[:60].decode(errors='replace')!r}; plan the ingest again"
        )
    if unknown := sorted(raw.keys() - _TYPES.keys()):
        raise DataError(f"{where}: a tile has no field {unknown[0]!r}; there are: {', '.join(_TYPES)}")
    for name, kinds in _TYPES.items():
        value = raw.get(name, _DEFAULTS[name])
        if value is dataclasses.MISSING or not isinstance(value, kinds) or isinstance(value, bool):
            raise DataError(f"{where}: {name} is {raw.get(name)!r}; expected {kinds[0].__name__}")
    matrix = tuple(raw.get("matrix", IDENTITY))
    if len(matrix) != 4 or not all(isinstance(n, (int, float)) for n in matrix):
        raise DataError(f"{where}: matrix is {raw['matrix']!r}; expected four numbers")
    return checked(Tile(**{**raw, "matrix": matrix}), where)


def checked(tile: Tile, where: str) -> Tile:
    """``tile``, if its numbers can be used; DataError, naming ``where``, otherwise."""
    numbers = (tile.x, tile.y, tile.pixel, *tile.matrix)
    if not all(map(math.isfinite, numbers)):
        raise DataError(f"{where}: tile {tile.tile!r} has a position or size that is no number: {numbers}")
    if abs(tile.matrix[0] * tile.matrix[3] - tile.matrix[1] * tile.matrix[2]) < 1e-9:
        raise DataError(f"{where}: tile {tile.tile!r} has the matrix {tile.matrix}; which is flat")
    if tile.pixel <= 0 or tile.channel < 0 or min(tile.width or 1, tile.height or 1) < 1:
        raise DataError(
            f"{where}: tile {tile.tile!r} has a pixel of {tile.pixel} nm, channel {tile.channel}, "
            f"{tile.width} x {tile.height} pixels; sizes must be positive"
        )
    return tile
