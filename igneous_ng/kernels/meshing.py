"""Surfaces of labelled voxels: marching cubes on exact coordinates, joining, simplification.

Marching cubes: Lorensen & Cline 1987 (SIGGRAPH), in native/march and native/surface. Coordinates are in *half voxels*:
voxel i fills [2i, 2i + 2] and has its centre at 2i + 1, so every vertex is an integer and pieces join exactly.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.errors import DataError
from igneous_ng.geometry import Box, Vec3, vec
from igneous_ng.native import march as native_march
from igneous_ng.native import simplify as native_simplify
from igneous_ng.native import smooth as native_smooth
from igneous_ng.native import surface as native_surface
from igneous_ng.native.components import sets

Array = npt.NDArray[Any]
Mesh = tuple[Array, Array]
"""Vertices [n, 3] and faces [m, 3], corners in the right-hand order seen from outside."""
Sides = tuple[bool, bool, bool]
FEWEST = 4
"""Faces of the smallest closed surface."""


@dataclass(frozen=True)
class Piece:
    """What a box holds of a surface: the voxel of its first corner, its cubes along each axis, and which they are."""

    corner: Vec3
    cubes: Vec3
    code: bytes


@dataclass(frozen=True)
class Found:
    """A label in a box: its voxels, its triangles, and its surface, of which the code is empty where there is none.

    The surface lies in ``box``, in voxels.
    """

    label: int
    voxels: int
    triangles: int
    box: Box
    piece: Piece


def march(labels: Array, corner: Vec3, own: Vec3, low: Sides, high: Sides) -> Iterator[Found]:
    """Each label but 0 in ``labels`` [x, y, z], of any unsigned integers, in ascending order.

    ``corner`` is the voxel of the array's first corner; of the array the first ``own`` voxels are counted. A surface
    covers the space between the voxels' centres, and half a voxel more at each end that ``low`` or ``high`` names.
    """
    first = vec(c - end for c, end in zip(corner, low, strict=True))
    cubes = vec(n - 1 + a + b for n, a, b in zip(labels.shape, low, high, strict=True))
    for label, voxels, triangles, start, stop, code in native_march.march(labels, own, low, high):
        box = Box(vec(start), vec(stop)).grow((0, 0, 0), (1, 1, 1)).shift(first)  # a cube of corners spans two voxels
        yield Found(label, voxels, triangles, box, Piece(first, cubes, code))


def join(pieces: Sequence[Piece]) -> Mesh:
    """The mesh of an object from its pieces: vertices int32 in half voxels, distinct, and faces uint32.

    Equal surfaces give equal arrays, whatever the pieces: vertices are sorted by z, y, x, and each face starts at its
    lowest corner. Each edge belongs to two faces, but where the surface ends. DataError where a piece is damaged or all
    span too much.
    """
    try:
        return native_surface.surface([(piece.corner, piece.cubes, piece.code) for piece in pieces])
    except ValueError as error:
        raise DataError(f"an object cannot be joined: {error}") from error


def weld(surfaces: Sequence[Mesh]) -> Mesh:
    """One mesh of surfaces that have the same vertices, to the bit, where they meet: distinct ones, in sorted order."""
    starts = np.cumsum([0, *(len(vertices) for vertices, _ in surfaces)])
    vertices, index = np.unique(np.concatenate([v for v, _ in surfaces]), axis=0, return_inverse=True)
    shifted = [faces.astype(np.int64) + start for (_, faces), start in zip(surfaces, starts, strict=False)]
    faces = index.reshape(-1)[np.concatenate(shifted)].astype(np.uint32)
    a, b, c = faces.T
    return vertices, faces[(a != b) & (b != c) & (c != a)]


def simplify(vertices: Array, faces: Array, max_error: float, reduction: float) -> Mesh:
    """``vertices`` [n, 3] and ``faces`` with up to ``reduction`` times fewer triangles, as the error allows.

    Edges are collapsed (Garland & Heckbert 1997) while the surface stays within ``max_error``; units are those of
    ``vertices``, and the space must be isotropic (nm). Its topology is kept: what is closed stays closed, nothing joins
    or parts. The same input gives the same output.
    """
    target = max(FEWEST, int(len(faces) / reduction))
    if max_error <= 0 or len(faces) <= target:
        return vertices, faces
    origin = vertices.min(axis=0)  # single precision goes farthest around 0
    near = (vertices - origin).astype(np.float32)
    found, left = native_simplify.simplify(near, faces, max_error, target)
    return found.astype(np.float64) + origin, left


def smooth(vertices: Array, faces: Array, rounds: int) -> Array:
    """``vertices`` [n, 3], in an isotropic space (nm), without the steps of voxels; the volume stays (Taubin 1995).

    Where a surface ends, it stays as it is.
    """
    return native_smooth.smooth(vertices, faces, rounds)


def filled(vertices: Array, faces: Array) -> Mesh:
    """A closed mesh with integer ``vertices`` without its surfaces that face inwards: the walls of its cavities.

    What lies inside of a cavity stays.
    """
    ends = np.concatenate([faces[:, :2], faces[:, 1:]])
    surface = sets(len(vertices), ends[:, 0], ends[:, 1])[faces[:, 0]]
    a, b, c = (vertices[faces[:, i]] - vertices[0].astype(np.float64) for i in range(3))
    volumes = np.bincount(surface, np.einsum("ij,ij->i", a, np.cross(b, c)))
    kept = faces[volumes[surface] > 0]
    used, index = np.unique(kept, return_inverse=True)
    return vertices[used], index.reshape(-1, 3).astype(np.uint32)
