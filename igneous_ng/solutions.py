"""The maps of the tiles of a section: records of one size in one file, so that a reader depends on those it reads.

Layout, little endian: the magic; uint32 number of tiles, lenses, and nodes along x and y; then the lenses (float64
centre x, y, radius and the terms ``[term, 2]``), each a span; then the tiles (:data:`_TILE`, then nodes, float32
``[nx, ny, 2]``), each a span. Positions are rounded to 1/64 px, slopes so that no pixel moves by more.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import DataError
from igneous_ng.kernels.tile_maps import POWERS, Lens, TileMap

Array = npt.NDArray[Any]
MAGIC = b"igngmap1"
HEAD_SPAN = (0, 24)
"""The bytes of the header."""
STEP = 1 / 64
"""What positions are rounded to, in pixels."""
_HEAD = struct.Struct("<8s4I")
_TILE = struct.Struct("<6dIIiI")  # matrix a b c d, shift x y, width, height, lens or -1, component
_LENS = 8 * (3 + 2 * len(POWERS))


@dataclass(frozen=True)
class Head:
    """What is where in a file of maps."""

    tiles: int
    lenses: int
    nodes: tuple[int, int]

    @property
    def record(self) -> int:
        """Bytes of a tile."""
        return _TILE.size + 8 * self.nodes[0] * self.nodes[1]

    def lens(self, index: int) -> tuple[int, int]:
        """The span of a lens."""
        at = _HEAD.size + index * _LENS
        return at, at + _LENS

    def tile(self, index: int) -> tuple[int, int]:
        """The span of a tile."""
        at = _HEAD.size + self.lenses * _LENS + index * self.record
        return at, at + self.record


def rounded(found: TileMap) -> TileMap:
    """``found`` as it is stored: no pixel moves by more than two of :data:`STEP`."""
    fine = 2.0 ** -np.ceil(np.log2(max(found.size) / STEP))
    matrix, shift = np.round(found.matrix / fine) * fine, np.round(found.shift / STEP) * STEP
    nodes = (np.round(found.nodes / STEP) * STEP).astype(np.float32).astype(np.float64)
    return TileMap(found.size, matrix, shift, found.lens, nodes)


def encode(maps: Sequence[TileMap], components: Sequence[int]) -> bytes:
    """The file of ``maps``, of which all have nodes alike, each with the number of its component.

    Lenses are told apart by identity; give rounded maps.
    """
    lenses: list[Lens] = []
    places: dict[int, int] = {}
    for one in maps:
        if one.lens is not None and id(one.lens) not in places:
            places[id(one.lens)] = len(lenses)
            lenses.append(one.lens)
    nodes = maps[0].nodes.shape[:2] if maps else (0, 0)
    parts = [_HEAD.pack(MAGIC, len(maps), len(lenses), *nodes)]
    parts += [struct.pack("<3d", *lens.centre, lens.radius) + lens.terms.astype("<f8").tobytes() for lens in lenses]
    for one, component in zip(maps, components, strict=True):
        place = -1 if one.lens is None else places[id(one.lens)]
        parts.append(_TILE.pack(*one.matrix.ravel(), *one.shift, *one.size, place, component))
        parts.append(one.nodes.astype("<f4").tobytes())
    return b"".join(parts)


def head(data: bytes, where: str) -> Head:
    """The header; DataError, naming ``where``, if it is none."""
    if len(data) < _HEAD.size or data[:8] != MAGIC:
        raise DataError(f"{where}: is no file of maps; run `stitch solve` again")
    _, tiles, lenses, nx, ny = _HEAD.unpack_from(data)
    return Head(tiles, lenses, (nx, ny))


def lens(data: bytes) -> Lens:
    """The lens of a span."""
    x, y, radius = struct.unpack_from("<3d", data)
    return Lens((x, y), radius, np.frombuffer(data, "<f8", offset=24).reshape(len(POWERS), 2))


def lens_of(data: bytes) -> int:
    """Which lens the tile of a span has; -1: none."""
    return int(_TILE.unpack_from(data)[8])


def tile(data: bytes, at: Head, bent: Lens | None) -> tuple[TileMap, int]:
    """The map of a tile's span, with its lens, and the number of its component."""
    a, b, c, d, x, y, width, height, _, component = _TILE.unpack_from(data)
    nodes = np.frombuffer(data, "<f4", offset=_TILE.size).reshape(*at.nodes, 2).astype(np.float64)
    return TileMap((width, height), np.array([[a, b], [c, d]]), np.array([x, y]), bent, nodes), component


def decode(data: bytes, where: str) -> tuple[list[TileMap], list[int]]:
    """All maps of a file and their components."""
    at = head(data, where)
    if len(data) != at.tile(at.tiles)[0]:
        raise DataError(f"{where}: has {len(data)} bytes, not {at.tile(at.tiles)[0]}; run `stitch solve` again")
    lenses = [lens(data[slice(*at.lens(n))]) for n in range(at.lenses)]
    found = []
    for n in range(at.tiles):
        span = data[slice(*at.tile(n))]
        place = lens_of(span)
        found.append(tile(span, at, None if place < 0 else lenses[place]))
    return [one for one, _ in found], [component for _, component in found]
