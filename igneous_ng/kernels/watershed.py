"""Basins of affinities: every voxel joins over its best face. Arrays in, arrays out.

One round of Boruvka's minimum spanning tree; Zlateski and Seung (2015, arXiv 1505.00249) take the same steepest ascent,
with plateaus that are divided. Here faces are in a strict order, and there are no plateaus: by falling affinity, then
by falling sum of the affinities above the lower limit of all faces of both voxels, then by rising number. So of equal
faces of a voxel that counts first whose other voxel is joined best, which leads inwards where boundaries of grey values
make most faces equal; then those before it, then x, y, z. Affinities are uint8 ``[x, y, z, 3]`` in Fortran order;
channel a at p is the face of p and the voxel before it along a.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from igneous_ng.native import watershed as native

Array = npt.NDArray[Any]
Limits = tuple[int, int]
_FULL = 255


@dataclass(frozen=True)
class Basins:
    """The basins of a block, and of each, in the order of ids:

    size: voxels. faces: which faces of the block it touches, bits 0 to 5 for x-, x+, y-, y+, z-, z+.
    first: the linear index of its first voxel in the block, x fastest.
    """

    size: Array
    faces: Array
    first: Array
    _found: native.Basins

    def paint(self, start: int, out: Array) -> None:
        """Write the ids of the voxels of slices from ``start`` on to ``out``, uint64 ``[x, y, z]`` in Fortran order."""
        self._found.paint(start, out)


def limits(low: float, high: float) -> Limits:
    """Grey values for affinities from 0 to 1: a face above the first may join, one from the second on does."""
    least = math.floor(_FULL * low)
    return least, max(math.ceil(_FULL * high), least + 1)


def basins(affinities: Array, within: Limits, base: int) -> Basins:
    """The basins of a block, called ``base + 1`` and on in the order of their first voxels.

    ``affinities`` are those of the block, of 1 voxel before it and of 2 behind it along each axis. A voxel without a
    face above the lower limit is 0. A face that leads out of the block can be the best of a voxel; it joins nothing.
    """
    found = native.basins(affinities, *within, base)
    return Basins(found.size, found.faces, found.first, found)


def cut(affinities: Array, left_out: Array) -> None:
    """Set to 0 all faces of voxels that are ``left_out``, which has 1 voxel more before the block along each axis."""
    for axis in range(3):
        values = affinities[..., axis]
        before = tuple(slice(0, -1) if a == axis else slice(1, None) for a in range(3))
        np.copyto(values, 0, where=left_out[1:, 1:, 1:])
        np.copyto(values, 0, where=left_out[before])
