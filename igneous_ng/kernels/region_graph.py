"""The graph of regions that touch: the faces between each two of them, summed. Arrays in, arrays out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from igneous_ng.geometry import Box, Vec3
from igneous_ng.kernels.watershed import Limits
from igneous_ng.native import region_graph as native

Array = npt.NDArray[Any]
_COLUMNS = ("u", "v", "sum", "num", "key", "must", "max", "bins")


@dataclass(frozen=True)
class Regions:
    """The regions of a leaf: those from ``first`` on, so many, are in it, and no other; 0 is none.

    slices: uint64 ``[x, y, z]``, of one part of the leaf's slices after the other, and of the voxels before them that
    are inside of the bounds. Each is looked at before the next is asked for.
    """

    first: int
    count: int
    slices: Iterable[Array]


def edges(
    affinities: Array, regions: Regions, within: Limits, leaf: Box, bounds: Box, histogram: bool
) -> dict[str, Array]:
    """The edges of the faces that belong to the voxels of ``leaf``: those to the voxels before them.

    affinities: uint8 ``[x, y, z, 3]`` in Fortran order, of the leaf and 2 voxels around.

    Columns, by ascending (u, v): u < v; sum and num, of affinities and faces; key, the smallest number of a face,
    3 * p + axis, p being the linear index of its voxel in ``bounds``, x fastest; max; must, 1 where
    a face between this leaf and another joins basins within these limits: see :mod:`igneous_ng.kernels.watershed`. With
    ``histogram`` also bins, int32 ``[n, 32]``: faces by affinity / 8.
    """
    steps = _steps(bounds)
    start = 3 * sum((a - o) * step for a, o, step in zip(leaf.lo, bounds.lo, steps, strict=True))
    x, y, z = (int(a > o) for a, o in zip(leaf.lo, bounds.lo, strict=True))
    own = regions.first, regions.count
    graph = native.Graph(affinities, own, (x, y, z), within, start, steps, histogram)
    for ids in regions.slices:
        graph.add(ids)
    return {name: column for name, column in zip(_COLUMNS, graph.edges(), strict=True) if column is not None}


def _steps(bounds: Box) -> Vec3:
    """From voxel to voxel along each axis, in linear indices."""
    nx, ny, _ = bounds.shape
    return 1, nx, nx * ny
