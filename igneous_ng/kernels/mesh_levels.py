"""Levels of detail of a mesh, cut into the boxes of an octree.

Vertices of a level lie on a lattice that runs through all its boxes, with points on each of their faces: where boxes
meet, they have the same vertices, and put together they are the closed surface that was cut.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import DataError
from igneous_ng.geometry import Vec3, Vec3f
from igneous_ng.kernels.meshing import Mesh, simplify
from igneous_ng.native import octree

Array = npt.NDArray[Any]
_REDUCTION = 4.0  # from level to level: as boxes grow to four times the area
_MOST = 12  # levels: boxes 2,048 times as wide as the finest


@dataclass(frozen=True)
class Part:
    """What is in a box of a level: its number along each axis, integer vertices [n, 3] in it, and faces [m, 3]."""

    place: Vec3
    vertices: Array
    faces: Array


def levels(mesh: Mesh, max_error: float, chunk: Vec3f, count: int) -> list[Mesh]:
    """``mesh`` and coarser ones, each simplified from the one before with twice its error.

    There are ``count``; where that is 0, so many that one or two boxes along each axis hold the coarsest.
    """
    spread = np.ptp(mesh[0], axis=0) / chunk
    count = count or min(_MOST, 1 + int(np.ceil(np.log2(max(1.0, spread.max())))))
    made = [mesh]
    for level in range(1, count):
        made.append(simplify(*made[-1], max_error * 2**level, _REDUCTION))
    return made


def corner(meshes: Iterable[Mesh]) -> Vec3f:
    """The lowest corner of all vertices, as a float32 number that is not above it."""
    low = np.min([vertices.min(axis=0) for vertices, _ in meshes], axis=0)
    single = low.astype(np.float32)
    x, y, z = np.where(single > low, np.nextafter(single, np.float32(-np.inf)), single).tolist()
    return x, y, z


def parts(mesh: Mesh, origin: Vec3f, chunk: Vec3f, level: int, bits: int) -> list[Part]:
    """``mesh`` in the boxes of a level, ``chunk * 2**level`` wide from ``origin`` on, in the order of a Z curve.

    A box's coordinates go from 0 to ``2**bits - 1``. Above level 0 no face crosses the middle of a box, either.
    """
    vertices, faces = mesh
    side = (1 << bits) - 1
    lattice = np.rint((vertices - origin) * (side / (np.array(chunk) * 2**level))).astype(np.int64)
    try:
        found = octree.split(lattice, faces, side, 1 << bits - 1 if level else 0)
    except ValueError as error:
        raise DataError(f"an object cannot be cut into boxes of {chunk} nm: {error}; give a larger --chunk") from error
    return [Part((place[0], place[1], place[2]), points, triangles) for place, points, triangles in found]


def with_parents(places: list[list[Vec3]]) -> list[list[Vec3]]:
    """The boxes of each level, finest first, with those that hold one of the finer level, in the order of a Z curve."""
    found: list[list[Vec3]] = []
    for level in places:
        above = [(x >> 1, y >> 1, z >> 1) for x, y, z in found[-1]] if found else []
        found.append(sorted({*level, *above}, key=_morton))
    return found


def _morton(place: Vec3) -> int:
    return sum((n >> bit & 1) << 3 * bit + axis for axis, n in enumerate(place) for bit in range(n.bit_length()))
